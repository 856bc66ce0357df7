package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// TestJSON checks the event stream of runs that end well and badly.
func TestJSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, name := range []string{"a", "b", "bad-\xff"} {
		put(t, filepath.Join(w.near, "tree", name), content(byte(i), 1<<20))
	}
	t.Log("# a good run, events on standard output")
	r := w.ok("-r", "--json", "tree", "far:")
	l := checkEvents(t, r.out, 0)
	neverBack(t, l)
	files := make(map[string]event)
	for _, e := range l {
		if e["ev"] == "file" {
			files[e["path"].(string)] = e
		}
	}
	for _, name := range []string{"tree/a", "tree/b", "tree/bad-\ufffd"} {
		if e := files[name]; e["action"] != "new" || number(e, "size_bytes") != 1<<20 || e["verified"] != "wire" || !strings.HasPrefix(e["hash"].(string), "blake3:") {
			t.Errorf("the event of %q is %v", name, e)
		}
	}
	if b := files["tree/bad-\ufffd"]["path_b64"]; b != "dHJlZS9iYWQt/w==" {
		t.Errorf("the raw name is %v", b)
	}
	end := l[len(l)-1]
	if number(end, "done_bytes") != 3<<20 || number(end, "total_bytes") != 3<<20 || number(end, "files_ok") != 3 || end["reason"] != "done" || end["resumable"] != false {
		t.Errorf("the end is %v", end)
	}
	start := l[0]
	if start["mode"] != "copy" || len(start["sources"].([]any)) != 1 || start["dests"].([]any)[0] != "far:" {
		t.Errorf("the start is %v", start)
	}

	t.Log("# to a file, and to a descriptor; standard output stays empty")
	r = w.ok("-r", "--json=events", "tree", "far:")
	checkEvents(t, string(get(t, filepath.Join(w.near, "events"))), 0)
	if r.out != "" {
		t.Errorf("standard output is not empty: %v", r)
	}
	f, err := os.Create(filepath.Join(w.near, "events3"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r = w.startWith(func(c *exec.Cmd) { c.ExtraFiles = []*os.File{f} }, "-r", "--json=fd:3", "tree", "far:").wait()
	r.want(t, 0)
	checkEvents(t, string(get(t, filepath.Join(w.near, "events3"))), 0)

	t.Log("# errors before and after the start of the job")
	for words, code := range map[string]int{"--json --strems 4 f far:": 1, "f far: --streams=0 --json": 1, "--json pull a:x b:x": 1, "-n --json f far:": 1,
		"--json --config=none f far:": 1, "--json f": 1, "--json ./gone far:": 4} {
		r := w.fails(code, nil, strings.Fields(words)...)
		_, said := lastEvent(r.out, "error")
		end, ended := lastEvent(r.out, "job.end")
		if strings.Count(r.out, "\n") != 2 || !said || !ended || number(end, "seq") != 2 || number(end, "exit") != int64(code) {
			t.Errorf("events of a refused command:\n%v", r)
		}
	}
	if r := w.fails(1, nil, "--strems", "4", "f", "far:", "--", "--json"); r.out != "" {
		t.Errorf("events that nobody asked for:\n%v", r)
	}
	r = w.ok("--json=/dev/full", "tree/a", "far:full")
	if !strings.Contains(r.err, "gomover: warning: events are missing from --json: write /dev/full: no space left on device\n") {
		t.Errorf("events are lost without a word:\n%v", r)
	}
	r = w.fails(4, nil, "--json", "./gone", "far:")
	e, _ := lastEvent(r.out, "error")
	if end, _ := lastEvent(r.out, "job.end"); strings.Count(r.out, "\n") != 2 || number(end, "seq") != 2 || number(end, "exit") != 4 {
		t.Errorf("not one error and the end:\n%v", r)
	}
	if e["message"] != "./gone: no such file or directory" || e["fatal"] != true || !strings.HasPrefix(e["code"].(string), "source") {
		t.Errorf("the error is %v", e)
	}
	w.stop()
	r = w.fails(7, nil, "--json", "tree/a", "far:")
	checkEvents(t, r.out, 7)
}

// TestQuiet prints nothing but errors.
func TestQuiet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, filepath.Join(w.near, "f"), content(70, 1000))
	for _, args := range [][]string{{"-q", "f", "far:"}, {"--quiet", "--encrypt=off", "far:f", "./back"}, {"-q", "f", "./local"}} {
		if r := w.ok(args...); r.out != "" || r.err != "" {
			t.Errorf("not quiet:\n%v", r)
		}
	}
	if r := w.fails(4, []string{"gomover: far:gone: no such file or directory\n"}, "-q", "far:gone", "./x"); r.out != "" || strings.Count(r.err, "\n") != 1 {
		t.Errorf("more than the error:\n%v", r)
	}
}

// TestPlainLog has lines with times, no carriage returns, and nothing on standard
// output.
func TestPlainLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, filepath.Join(w.near, "f"), content(71, 24<<20))
	r := w.ok("--bwlimit=12MB", "--progress-interval=500ms", "f", "far:")
	if r.out != "" || strings.ContainsAny(r.err, "\r\x1b") {
		t.Errorf("control characters or standard output:\n%v", r)
	}
	line := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (start|list|plan|tune|done|\d+%) +`)
	percent := 0
	for l := range strings.Lines(strings.TrimSuffix(r.err, "\n")) {
		if !line.MatchString(l) {
			t.Errorf("unexpected line %q", l)
		}
		if strings.Contains(l, "% ") && strings.Contains(l, " limited-by ") {
			percent++
		}
	}
	if percent < 2 || !strings.Contains(r.err, "Z start  job ") || !strings.Contains(r.err, "Z done   25.2MB in ") {
		t.Errorf("%d lines of progress:\n%v", percent, r)
	}
}

// TestTerminal shows progress in place and leaves a summary.
func TestTerminal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, filepath.Join(w.near, "f"), content(72, 24<<20))
	cmd := exec.Command(program, "--bwlimit=12MB", "f", "far:")
	cmd.Dir, cmd.Env = w.near, append(w.env(), "TERM=xterm")
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	timer := time.AfterFunc(runLimit, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	var screen strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := f.Read(buf)
		screen.Write(buf[:n])
		if err != nil {
			break // the terminal ends with the program
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v:\n%s", err, screen.String())
	}
	s := screen.String()
	for _, want := range []string{"f -> far:", "encrypted", "% ", "MB/s", "limited by: bwlimit", "stream", "done  25.2 MB in "} {
		if !strings.Contains(s, want) {
			t.Errorf("the terminal never showed %q:\n%q", want, s)
		}
	}
	if strings.Contains(s, "100%") && strings.LastIndex(s, "100%") < strings.LastIndex(s, "99%") {
		t.Errorf("100%% came before the end:\n%q", s)
	}
}

// TestClosedOutput closes standard error while a run goes on: the files count.
func TestClosedOutput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, filepath.Join(w.near, "f"), content(73, 8<<20))
	r, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	p := w.startWith(func(c *exec.Cmd) { c.Stdout, c.Stderr = pw, pw }, "--json", "--progress-interval=10ms", "f", "far:")
	pw.Close()
	if res := p.wait(); res.code != 0 {
		t.Errorf("a closed output ended the run: exit %d", res.code)
	}
	holds(t, filepath.Join(w.far, "f"), content(73, 8<<20))
}

// TestExplain says what was chosen and why.
func TestExplain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, filepath.Join(w.near, "f"), content(74, 1<<20))
	r := w.ok("--explain", "f", "far:")
	for _, want := range []string{"tcp", "rtt"} {
		if !strings.Contains(r.err, want) {
			t.Errorf("the explanation lacks %q:\n%v", want, r)
		}
	}
}

// TestHelp prints what is asked for on standard output, within its bounds.
func TestHelp(t *testing.T) {
	t.Parallel()
	w := newLocal(t)
	usage := w.run()
	if usage.code != 1 || strings.Count(usage.err, "\n") > 12 || !strings.HasPrefix(usage.err, "usage: gomover [options] SRC... DST\n") || usage.out != "" {
		t.Errorf("without words:\n%v", usage)
	}
	short, all := w.ok("--help"), w.ok("--help=all")
	if n := strings.Count(short.out, "\n"); n > 60 || n < 20 || short.err != "" {
		t.Errorf("--help has %d lines:\n%v", n, short)
	}
	if len(all.out) <= len(short.out) || all.err != "" {
		t.Errorf("--help=all is not longer:\n%v", all)
	}
	for _, later := range []string{"--tail", "completion", "--relay"} {
		if strings.Contains(all.out, later) {
			t.Errorf("the help shows %s, which does nothing yet", later)
		}
	}
	if r := w.ok("-h"); r.out != short.out {
		t.Errorf("-h is not --help:\n%v", r)
	}
	// Each option that the help shows is accepted.
	for _, name := range regexp.MustCompile(`(?m)^ .{4}(--(?:\[no-\])?[a-z0-9-]+)`).FindAllStringSubmatch(all.out, -1) {
		o := strings.Replace(name[1], "[no-]", "", 1)
		if r := w.run(o, "--no-such-option"); strings.Contains(r.err, "unknown option "+o+"\n") || strings.Contains(r.err, "not available") {
			t.Errorf("the help shows %s, which is refused:\n%v", o, r)
		}
	}
	v := w.ok("--version")
	if !regexp.MustCompile(`^gomover \d+\.\d+\.\d+ \(protocol \d+, events 1, linux/[a-z0-9]+\)\n$`).MatchString(v.out) {
		t.Errorf("--version:\n%v", v)
	}
	if r := w.ok("version"); r.out != v.out {
		t.Errorf("version is not --version:\n%v", r)
	}
	var m map[string]any
	if r := w.ok("version", "--json"); json.Unmarshal([]byte(r.out), &m) != nil || m["events"] != float64(1) {
		t.Errorf("version --json:\n%v", r)
	}
}
