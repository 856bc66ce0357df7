package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// killBytes is how much the killed runs move: long enough at killRate to be met
// in the middle.
const (
	killBytes = 48 << 20
	killRate  = "--bwlimit=16MB"
)

// journey is one file that is moved by runs that are killed.
type journey struct {
	*world
	src, dst string
	data     []byte
	args     []string
	watch    *watcher
}

func newJourney(t *testing.T, pull bool) *journey {
	t.Helper()
	j := &journey{world: newWorld(t), data: content(20, killBytes)}
	j.src, j.dst, j.args = filepath.Join(j.near, "f"), filepath.Join(j.far, "g"), []string{"f", "far:g"}
	if pull {
		j.src, j.dst, j.args = filepath.Join(j.far, "f"), filepath.Join(j.near, "g"), []string{"far:f", "./g"}
	}
	put(t, j.src, j.data)
	j.watch = watchFinal(t, j.dst, nil, j.data)
	return j
}

// begin starts a slow run and waits until a share of the file is confirmed.
func (j *journey) begin(confirmed int64) *process {
	j.t.Helper()
	// A probe beside the start would be another process to kill.
	p := j.start(append([]string{killRate, "--json", "--progress=none", "--probe=off"}, j.args...)...)
	await(j.t, patience, fmt.Sprintf("%d bytes are confirmed", confirmed), func() bool {
		if !p.running() {
			j.t.Fatalf("the run ended before it could be killed:\n%v", p.wait())
		}
		e, ok := lastEvent(p.out.String(), "progress")
		return ok && number(e, "done_bytes") >= confirmed
	})
	return p
}

// finish repeats the command and demands the whole file, without sending again
// what had arrived.
func (j *journey) finish(confirmed int64) {
	j.t.Helper()
	r := j.ok(append([]string{"--json", "--progress=none"}, j.args...)...)
	holds(j.t, j.dst, j.data)
	e, ok := lastEvent(r.out, "job.end")
	if !ok {
		j.t.Fatalf("no job.end:\n%v", r)
	}
	if again, limit := number(e, "sent_bytes"), int64(killBytes)-confirmed+(16<<20); again > limit {
		j.t.Errorf("%d bytes were sent again, more than %d: what had arrived was not kept", again, limit)
	}
	if n := j.watch.stop(); n < 10 {
		j.t.Errorf("the final name was looked at %d times only", n)
	}
	j.clean(j.near, j.far)
}

// TestKill kills one end or both in the middle, without warning.
func TestKill(t *testing.T) {
	t.Parallel()
	for _, pull := range []bool{false, true} {
		for _, who := range []string{"director", "agent and director", "sshd session"} {
			name := map[bool]string{false: "push", true: "pull"}[pull] + "/" + who
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				j := newJourney(t, pull)
				const confirmed = 12 << 20
				p := j.begin(confirmed)
				agents := j.agents()
				if len(agents) != 1 {
					t.Fatalf("agents %v are running, want one", agents)
				}
				switch who {
				case "director":
					kill(t, p.cmd.Process.Pid)
				case "agent and director":
					kill(t, agents[0])
					kill(t, p.cmd.Process.Pid)
				case "sshd session":
					kill(t, parent(t, agents[0]))
					kill(t, p.cmd.Process.Pid)
				}
				if r := p.wait(); r.code != -1 {
					t.Fatalf("the killed run was not killed:\n%v", r)
				}
				j.noAgent(agentEnds)
				missing(t, j.dst)
				j.finish(confirmed)
			})
		}
	}
}

// TestRestart kills the agent, or its connection, alone: the run logs in again
// and goes on by itself.
func TestRestart(t *testing.T) {
	t.Parallel()
	for _, pull := range []bool{false, true} {
		for _, who := range []string{"agent", "sshd session"} {
			t.Run(map[bool]string{false: "push", true: "pull"}[pull]+"/"+who, func(t *testing.T) {
				t.Parallel()
				j := newJourney(t, pull)
				p := j.begin(8 << 20)
				agents := j.agents()
				if len(agents) != 1 {
					t.Fatalf("agents %v are running, want one", agents)
				}
				pid := agents[0]
				if who != "agent" {
					pid = parent(t, pid)
				}
				kill(t, pid)
				r := p.wait()
				if r.code != 0 {
					t.Fatalf("the run did not go on:\n%v", r)
				}
				holds(t, j.dst, j.data)
				j.watch.stop()
				lost, back := 0, 0
				l := checkEvents(t, r.out, 0)
				neverBack(t, l)
				for _, e := range l {
					if e["ev"] == "host" && e["state"] == "lost" {
						lost++
					}
					if e["ev"] == "host" && lost > 0 && e["state"] == "ready" {
						back++
					}
				}
				if lost == 0 || back == 0 {
					t.Errorf("lost %d times and ready %d times afterwards:\n%v", lost, back, r)
				}
				e, _ := lastEvent(r.out, "job.end")
				if sent := number(e, "sent_bytes"); sent > killBytes+(16<<20) {
					t.Errorf("%d bytes were sent for a file of %d", sent, killBytes)
				}
				j.clean(j.near, j.far)
			})
		}
	}
}

// TestKillAnywhere kills runs at random moments from the start on, over and over
// on one file, until a run gets through.
func TestKillAnywhere(t *testing.T) {
	t.Parallel()
	for _, pull := range []bool{false, true} {
		t.Run(map[bool]string{false: "push", true: "pull"}[pull], func(t *testing.T) {
			t.Parallel()
			j := newJourney(t, pull)
			r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
			for i := range 12 {
				p := j.start(append([]string{"--bwlimit=60MB"}, j.args...)...)
				// The moment is what is tested, so only time can choose it.
				time.Sleep(time.Duration(r.IntN(900)) * time.Millisecond)
				who := r.IntN(3)
				if agents := j.agents(); who > 0 && len(agents) > 0 {
					_ = syscall.Kill(agents[0], syscall.SIGKILL) // it may have ended
				}
				if who != 1 {
					_ = p.cmd.Process.Kill() // it may have ended
				}
				res := p.wait()
				t.Logf("# run %d, victim %d: exit %d after %v", i, who, res.code, res.took.Round(time.Millisecond))
				if res.code == 0 {
					holds(t, j.dst, j.data)
				}
			}
			j.finish(0)
		})
	}
}

// TestKillTree kills a run amid many small files.
func TestKillTree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	src, dst := filepath.Join(w.near, "tree"), filepath.Join(w.far, "copy")
	for i := range 3000 {
		put(t, filepath.Join(src, fmt.Sprintf("d%d", i%30), fmt.Sprintf("f%d", i)), content(byte(i), 3000+i))
	}
	for _, n := range []int{100, 700, 1500} {
		p := w.start("-r", "--bwlimit=4MB", "tree/", "far:copy")
		await(t, patience, fmt.Sprintf("%d files have arrived", n), func() bool {
			if !p.running() {
				t.Fatalf("the run ended before it could be killed:\n%v", p.wait())
			}
			found, _ := filepath.Glob(filepath.Join(dst, "d*", "f*"))
			return len(found) >= n
		})
		kill(t, p.cmd.Process.Pid)
		p.wait()
		w.noAgent(agentEnds)
		found, _ := filepath.Glob(filepath.Join(dst, "d*", "f*"))
		for _, f := range found {
			rel, err := filepath.Rel(dst, f)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(get(t, f), get(t, filepath.Join(src, rel))) {
				t.Errorf("%s has wrong content under its final name", f)
			}
		}
	}
	r := w.ok("-r", "tree/", "far:copy")
	if !strings.Contains(r.err, "already there") {
		t.Errorf("nothing of the killed runs was kept:\n%v", r)
	}
	same(t, src, dst)
	w.clean(src, dst)
}

// TestSignals ends runs in order: state is kept, the code says which signal, and
// the command to go on is printed.
func TestSignals(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		sig  syscall.Signal
		code int
	}{{syscall.SIGINT, 130}, {syscall.SIGTERM, 143}, {syscall.SIGHUP, 129}} {
		for _, pull := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/pull=%t", tt.sig, pull), func(t *testing.T) {
				t.Parallel()
				j := newJourney(t, pull)
				const confirmed = 12 << 20
				p := j.begin(confirmed)
				sent := time.Now()
				if err := p.cmd.Process.Signal(tt.sig); err != nil {
					t.Fatal(err)
				}
				r := p.wait()
				r.want(t, tt.code, "to continue: gomover "+killRate, strings.Join(j.args, " "))
				if took := time.Since(sent); took > 20*time.Second {
					t.Errorf("the run took %v to end", took)
				}
				neverBack(t, checkEvents(t, r.out, tt.code))
				j.noAgent(agentEnds)
				missing(t, j.dst)
				j.finish(confirmed)
			})
		}
	}
}

// TestSecondInterrupt ends at once.
func TestSecondInterrupt(t *testing.T) {
	t.Parallel()
	j := newJourney(t, false)
	p := j.begin(8 << 20)
	for range 2 {
		if err := p.cmd.Process.Signal(os.Interrupt); err != nil && p.running() {
			t.Fatal(err)
		}
	}
	r := p.wait()
	r.want(t, 130)
	j.noAgent(agentEnds)
	j.finish(0)
}

// TestNohup goes on when HUP was ignored at the start.
func TestNohup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, filepath.Join(w.near, "f"), content(21, 12<<20))
	w.inside = []string{"nohup"}
	p := w.start("--bwlimit=4MB", "f", "far:g")
	await(t, patience, "something unfinished is there", func() bool { return len(leftovers(t, w.far)) > 0 })
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if r := p.wait(); r.code != 0 {
		t.Fatalf("HUP ended a run under nohup:\n%v", r)
	}
	holds(t, filepath.Join(w.far, "g"), content(21, 12<<20))
}

// TestStopAndGoOn stops a run like Ctrl-Z and lets it go on.
func TestStopAndGoOn(t *testing.T) {
	t.Parallel()
	j := newJourney(t, false)
	p := j.begin(8 << 20)
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	await(t, patience, "the run is stopped", func() bool {
		return strings.Contains(string(get(t, fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))), ") T ")
	})
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if r := p.wait(); r.code != 0 {
		t.Fatalf("%v", r)
	}
	holds(t, j.dst, j.data)
}

// TestTwoAtOnce starts the same job twice: the second one leaves the first alone.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	for _, pull := range []bool{false, true} {
		t.Run(fmt.Sprintf("pull=%t", pull), func(t *testing.T) {
			j := newJourney(t, pull)
			args := append([]string{"--bwlimit=4MB"}, j.args...)
			p := j.startWith(nil, append([]string{"--json", "--progress=none"}, args...)...)
			await(t, patience, "something unfinished is there", func() bool { return len(leftovers(t, j.near, j.far)) > 0 })
			r := j.run(args...)
			r.want(t, 16)
			job, _ := lastEvent(p.out.String(), "job.start")
			where := map[bool]string{false: "gomover: far: job %s is already running there (process %d)\n", true: "gomover: job %s is already running on this machine (process %d)\n"}[pull]
			holder := p.cmd.Process.Pid
			if !pull {
				holder = j.agents()[0]
			}
			if want := fmt.Sprintf(where, job["job"], holder); !strings.HasSuffix(r.err, want) {
				t.Errorf("want %q at the end:\n%v", want, r)
			}
			if !p.running() {
				t.Fatalf("the first run has ended:\n%v", p.wait())
			}
			if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			p.wait()
			j.finish(0)
		})
	}
}

// TestLocalKill kills a copy within this machine, and repeats it.
func TestLocalKill(t *testing.T) {
	t.Parallel()
	w := newLocal(t)
	data := content(22, killBytes)
	put(t, filepath.Join(w.near, "f"), data)
	dst := filepath.Join(w.near, "to", "g")
	if err := os.Mkdir(filepath.Dir(dst), 0o755); err != nil {
		t.Fatal(err)
	}
	watch := watchFinal(t, dst, nil, data)
	p := w.start(killRate, "f", "to/g")
	await(t, patience, "something unfinished is there", func() bool { return len(leftovers(t, w.near)) > 0 })
	kill(t, p.cmd.Process.Pid)
	p.wait()
	missing(t, dst)
	w.ok("f", "to/g")
	holds(t, dst, data)
	watch.stop()
	w.clean(w.near)
}

// kill ends a process that this test has started, without warning.
func kill(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("killing %d: %v", pid, err)
	}
}

// parent is the first process above pid that is sshd's for that one connection.
func parent(t testing.TB, pid int) int {
	t.Helper()
	for range 5 {
		out, err := exec.Command("ps", "-o", "ppid=,comm=", "-p", fmt.Sprint(pid)).Output()
		if err != nil {
			t.Fatalf("asking for the parent of %d: %v", pid, err)
		}
		var up int
		var name string
		if _, err := fmt.Sscan(string(out), &up, &name); err != nil {
			t.Fatalf("reading %q: %v", out, err)
		}
		if strings.HasPrefix(name, "sshd") {
			return pid
		}
		pid = up
	}
	t.Fatalf("no sshd above the agent")
	return 0
}
