package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fleet is a user with several hosts h1, h2 and so on, each with an sshd and a
// home of its own. The user's home and runs are those of the first.
type fleet struct {
	*world
	hosts []*world
}

func newFleet(t *testing.T, n int) *fleet {
	t.Helper()
	f := &fleet{}
	config := ""
	for i := range n {
		w := newWorld(t)
		config += fmt.Sprintf("Host h%d\n  HostName %s\n  Port %d\n  User root\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n  UserKnownHostsFile %s/.ssh/known_hosts\n  IdentityFile %s/.ssh/id_ed25519\n",
			i+1, w.addr, w.port, w.near, w.near)
		f.hosts = append(f.hosts, w)
	}
	f.world = f.hosts[0]
	write(t, filepath.Join(f.near, ".ssh", "config"), config)
	return f
}

// at is a path below the home of host i, counted from 1.
func (f *fleet) at(i int, name string) string { return filepath.Join(f.hosts[i-1].far, name) }

// clean demands that no host has anything unfinished or running.
func (f *fleet) clean() {
	f.t.Helper()
	for _, w := range f.hosts {
		w.clean(w.far)
	}
}

// ends gives the exit codes of the destinations in job.end.
func ends(t *testing.T, l []event) map[string]int {
	t.Helper()
	codes := make(map[string]int)
	dests, _ := l[len(l)-1]["dests"].([]any)
	for _, d := range dests {
		m, _ := d.(map[string]any)
		name, _ := m["dest"].(string)
		codes[name] = int(number(m, "exit"))
	}
	return codes
}

// TestFanout sends a file to a different place on each of three hosts, then finds
// it there, then sends it to the one where it is missing.
func TestFanout(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	data := content(120, 3<<20)
	put(t, filepath.Join(f.near, "f"), data)
	if err := os.Mkdir(f.at(2, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{"--json", "--progress=none", "f", "h1:", "h2:d/", "h3:g"}
	placed := []string{f.at(1, "f"), f.at(2, "d/f"), f.at(3, "g")}
	r := f.ok(args...)
	for _, p := range placed {
		holds(t, p, data)
	}
	l := checkEvents(t, r.out, 0)
	neverBack(t, l)
	seen := make(map[string]int64) // bytes by destination
	files := make(map[string]bool)
	for _, e := range l {
		dest, _ := e["dest"].(string)
		switch e["ev"] {
		case "job.start":
			if e["mode"] != "fanout" {
				t.Errorf("mode %v", e["mode"])
			}
		case "progress.dest":
			seen[dest] = number(e, "done_bytes")
		case "file":
			files[dest] = e["action"] == "new"
		case "plan":
			if dest == "" {
				t.Errorf("a plan for no destination: %v", e)
			}
		}
	}
	want := map[string]int64{"h1:": 3 << 20, "h2:d/": 3 << 20, "h3:g": 3 << 20}
	if !maps.Equal(seen, want) {
		t.Errorf("progress of destinations ended with %v, want %v", seen, want)
	}
	if !maps.Equal(files, map[string]bool{"h1:": true, "h2:d/": true, "h3:g": true}) {
		t.Errorf("files %v", files)
	}
	if end := l[len(l)-1]; number(end, "done_bytes") != 9<<20 || number(end, "total_bytes") != 9<<20 || number(end, "files_ok") != 3 {
		t.Errorf("end %v", end)
	}
	if !strings.Contains(r.err, "done  3.15 MB to each of 3 destinations in ") {
		t.Errorf("summary:\n%v", r)
	}
	r = f.ok(args[1:]...)
	if !strings.Contains(r.err, "done  nothing to do, 1 file already at each of 3 destinations\n") {
		t.Errorf("again:\n%v", r)
	}
	if err := os.Remove(placed[1]); err != nil {
		t.Fatal(err)
	}
	l = checkEvents(t, f.ok(args...).out, 0)
	if n := number(l[len(l)-1], "sent_bytes"); n != 3<<20 {
		t.Errorf("%d bytes sent to mend one destination", n)
	}
	holds(t, placed[1], data)
	f.clean()
}

// TestFanoutTree sends a tree to hosts of a list, below a path, in forms that no
// local file can change.
func TestFanoutTree(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	for i := range 40 {
		put(t, filepath.Join(f.near, "d", fmt.Sprint(i%4), fmt.Sprint("f", i)), content(byte(i), i*3000))
	}
	put(t, filepath.Join(f.near, "d", "big"), content(121, 1<<20))
	write(t, filepath.Join(f.near, "list"), "# the cluster\nh1\n\n  h2 # second\nh3\n")
	f.ok("-r", "--hosts=@list", "--dest=x", "d/")
	f.ok("-r", "d", "--to", "h1:", "--to", "h2:y/")
	want := list(t, filepath.Join(f.near, "d"))
	for _, p := range []string{f.at(1, "x"), f.at(2, "x"), f.at(3, "x"), f.at(1, "d"), f.at(2, "y/d")} {
		if got := list(t, p); !maps.Equal(got, want) {
			t.Errorf("%s has %d entries, not the %d of the source", p, len(got), len(want))
		}
	}
	f.clean()
}

// TestFanoutTrouble has one destination that dies midway, one with a full disk and
// one that cannot be logged into: the last one has its data, each other its own
// error, and when all is well again the same command sends what is missing.
func TestFanoutTrouble(t *testing.T) {
	// With nothing beside it: it kills while a part has arrived.
	f := newFleet(t, 4)
	data := content(122, 8<<20)
	put(t, filepath.Join(f.near, "f"), data)
	mount(t, f.at(3, "small"), "size=4m")
	f.hosts[3].stop()
	args := []string{"--json", "--progress=none", "--bwlimit-each=2MB", "--streams=2", "--retry-wait=100ms", "--give-up=300ms", "--no-space-check", "f", "h1:", "h2:", "h3:small/f", "h4:"}
	p := f.start(args...)
	await(t, patience, "a part has arrived at h2", func() bool {
		if !p.running() {
			t.Fatalf("ended too early:\n%v", p.wait())
		}
		for _, name := range leftovers(t, f.hosts[1].far) {
			if info, err := os.Stat(name); err == nil && info.Size() > 1<<20 {
				return true
			}
		}
		return false
	})
	// It has more than 3 s to go; kill and missing tell if this test was slower.
	agents := f.hosts[1].running()
	f.hosts[1].stop() // by which they may end, too
	f.hosts[1].killAll(agents)
	missing(t, f.at(2, "f"))
	r := p.wait()
	r.want(t, 3, "gomover: 3 of 4 destinations are incomplete\n", "\n  h2: ", "\n  h3:small/f: ", "\n  h4: ", "hint: the same command sends only what is missing")
	holds(t, f.at(1, "f"), data)
	if got, want := ends(t, checkEvents(t, r.out, 3)), map[string]int{"h1:": 0, "h2:": 7, "h3:small/f": 6, "h4:": 7}; !maps.Equal(got, want) {
		// Which of the two it was that h2 ended with is seen when it is tried again.
		want["h2:"] = 10
		if !maps.Equal(got, want) {
			t.Errorf("exit codes %v, want %v\n%v", got, want, r)
		}
	}
	if r.took > 25*time.Second { // a stream that nobody answers is given up after 30 s
		t.Errorf("it took %v", r.took)
	}
	r = f.run(append([]string{"--min-dests=1"}, args...)...)
	r.want(t, 0, "gomover: warning: 3 of 4 destinations are incomplete, which --min-dests permits\n")

	for _, i := range []int{1, 3} {
		restart(t, f, i)
	}
	r = f.ok("--json", "--progress=none", "f", "h1:", "h2:", "h3:g", "h4:")
	for _, p := range []string{f.at(1, "f"), f.at(2, "f"), f.at(3, "g"), f.at(4, "f")} {
		holds(t, p, data)
	}
	l := checkEvents(t, r.out, 0)
	// h1 had all, h2 a part, the other two nothing.
	if n := number(l[len(l)-1], "sent_bytes"); n < 16<<20 || n >= 24<<20 {
		t.Errorf("%d bytes were sent again", n)
	}
	for _, i := range []int{1, 2, 4} {
		if l := leftovers(t, f.hosts[i-1].far); len(l) > 0 {
			t.Errorf("h%d: left behind: %v", i, l)
		}
	}
}

// restart starts the sshd of host i, counted from 0, again.
func restart(t *testing.T, f *fleet, i int) {
	t.Helper()
	await(t, patience, "sshd has its port again", f.hosts[i].trySSHD)
}

// TestFanoutInterrupt ends a run by SIGINT and gives the command again. Both
// destinations together keep to the limit.
func TestFanoutInterrupt(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	data := content(123, 6<<20)
	put(t, filepath.Join(f.near, "f"), data)
	p := slowly(t, f.world, "--slow-dest=wait", "f", "h1:", "h2:a/b/f", "--mkpath")
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	r := p.wait()
	r.want(t, 130, "Z interrupted ", " of 12.6MB to 2 destinations in ", "to continue: gomover ")
	l := checkEvents(t, r.out, 130)
	end := l[len(l)-1]
	had := number(end, "done_bytes")
	// 50 ms of the limit may be caught up.
	if most := int64(8e6 * (r.took.Seconds() + 0.05)); had < 2<<20 || had > most {
		t.Errorf("%d bytes arrived within %v at 8 MB/s, at most %d can", had, r.took, most)
	}
	l = checkEvents(t, f.ok("--json", "--progress=none", "f", "h1:", "h2:a/b/f", "--mkpath").out, 0)
	if n := number(l[len(l)-1], "sent_bytes"); n > 12<<20-had {
		t.Errorf("%d bytes were sent where %d were missing", n, 12<<20-had)
	}
	holds(t, f.at(1, "f"), data)
	holds(t, f.at(2, "a/b/f"), data)
	f.clean()
}

// TestFanoutChain sends a tree along three hosts, of which only the first gets it
// from here.
func TestFanoutChain(t *testing.T) {
	// With nothing beside it, and a limit: when one login takes longer than another
	// one's copy, there is no chain.
	f := newFleet(t, 3)
	for i := range 40 {
		put(t, filepath.Join(f.near, "d", fmt.Sprint(i%4), fmt.Sprint("f", i)), content(byte(i), i*3000))
	}
	data := content(124, 8<<20)
	put(t, filepath.Join(f.near, "d", "big"), data)
	put(t, filepath.Join(f.near, "d", "bigger"), content(125, 9<<20))
	// The second one has a file already, which the third one has not.
	put(t, f.at(2, "x/big"), data)
	l := checkEvents(t, f.ok("--json", "--progress=none", "-r", "--fanout=chain", "--bwlimit-each=12MB", "--hosts=h1,h2,h3", "--dest=x", "d/").out, 0)
	want := list(t, filepath.Join(f.near, "d"))
	for i := 1; i <= 3; i++ {
		if got := list(t, f.at(i, "x")); !maps.Equal(got, want) {
			t.Errorf("h%d has %d entries, not the %d of the source", i, len(got), len(want))
		}
	}
	var all int64
	for _, e := range l {
		if e["ev"] == "scan" {
			all = number(e, "bytes")
		}
	}
	end := l[len(l)-1]
	// What was there before, 8 MiB, is not passed on without a look into it. Who has its
	// place behind another one while that ends may get some of the rest from here, too:
	// a login that takes half a second longer on a busy machine, 6 MB. The whole tree is 20 MB.
	if n := number(end, "sent_bytes"); n > all+16<<20 {
		t.Errorf("%d bytes were sent from here, of %d", n, all)
	}
	if n := number(end, "done_bytes"); n != 3*all {
		t.Errorf("%d bytes are done, of 3 times %d", n, all)
	}
	f.clean()
}

// TestFanoutChainBreaks kills the agent that passes on while it does: those behind
// it go on elsewhere, and the killed one comes back.
func TestFanoutChainBreaks(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	data := content(126, 24<<20)
	put(t, filepath.Join(f.near, "f"), data)
	p := f.start("--json", "--progress=none", "--fanout=chain", "--bwlimit-each=12MB", "--streams=2", "--retry-wait=100ms", "f", "h1:", "h2:", "h3:")
	via := make(map[string]string)
	await(t, patience, "a part has arrived everywhere", func() bool {
		if !p.running() {
			t.Fatalf("ended too early:\n%v", p.wait())
		}
		arrived := 0
		for _, h := range f.hosts {
			for _, name := range leftovers(t, h.far) {
				if info, err := os.Stat(name); err == nil && info.Size() > 2<<20 {
					arrived++
				}
			}
		}
		for _, line := range strings.Split(p.out.String(), "\n") {
			if e, ok := lastEvent(line, "progress.dest"); ok && e["via"] != nil {
				via[e["via"].(string)] = e["dest"].(string)
			}
		}
		return arrived == 3 && len(via) == 2
	})
	first := "" // passes on and gets it from here
	for name := range via {
		if _, ok := via[via[name]]; ok {
			first = name
		}
	}
	began := time.Now()
	for i, h := range f.hosts {
		if fmt.Sprintf("h%d:", i+1) != first {
			continue
		}
		h.kill()
	}
	r := p.wait()
	r.want(t, 0)
	for i := 1; i <= 3; i++ {
		holds(t, f.at(i, "f"), data)
	}
	l := checkEvents(t, r.out, 0)
	neverBack(t, l)
	// 2 s of data were left at the most; a stream that nobody answers is given up after 30 s.
	if took := time.Since(began); took > 25*time.Second {
		t.Errorf("it took %v after a host was lost", took)
	}
	f.clean()
}

// TestFanoutChainControl changes a chain while it runs: also what one host passes on to
// the next.
func TestFanoutChainControl(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2)
	data := content(127, 16<<20)
	put(t, filepath.Join(f.near, "f"), data)
	p := f.start("--json", "--fanout=chain", "--bwlimit=6MB", "--streams=2", "f", "h1:", "h2:")
	behind := ""
	await(t, patience, "one passes on to the other", func() bool {
		for line := range strings.Lines(p.out.String()) {
			var e map[string]any
			if json.Unmarshal([]byte(line), &e) == nil && e["ev"] == "progress.dest" && e["via"] != nil && number(e, "done_bytes") > 1<<20 {
				behind = e["dest"].(string)
			}
		}
		return behind != "" || !p.running()
	})
	id := jobOf(t, p)
	if r := f.ok("ctl", id); !strings.Contains(r.out, "limit") {
		t.Errorf("the limit of all is not told:\n%v", r)
	}
	f.ok("ctl", id, "streams=3")
	f.ok("ctl", id, "bwlimit=off")
	r := p.wait()
	r.want(t, 0)
	told := make(map[string]int)
	for _, e := range checkEvents(t, r.out, 0) {
		if e["ev"] == "tune" && e["what"] == "streams" && e["reason"] == "as asked while running" && e["to"] == 3.0 {
			told[e["dest"].(string)]++
		}
	}
	if told["h1:"] != 1 || told["h2:"] != 1 {
		t.Errorf("changed are %v, where %s gets its data from the other", told, behind)
	}
	holds(t, f.at(1, "f"), data)
	holds(t, f.at(2, "f"), data)
	f.clean()
}
