package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slow are words for a chain that leaves time for logins on a busy machine, until fast is
// set.
var slow = []string{"--fanout=chain", "--bwlimit=1MB", "--streams=1", "--retry-wait=100ms"}

const fast = "bwlimit=16MB"

// silence bounds what these tests wait for who falls silent. It is said after some two
// seconds; without that a stream that nobody answers would be given up after 30 s.
const silence = 20 * time.Second

// line gives the destinations of a run in the order in which data goes through them, as
// its events tell by now; nil when they are not one line.
func line(out string, n int) (names []string) {
	via := make(map[string]string)
	for text := range strings.Lines(out) {
		var e event
		if json.Unmarshal([]byte(text), &e) != nil || e["ev"] != "progress.dest" {
			continue // the last line may still be on its way
		}
		from, _ := e["via"].(string)
		via[e["dest"].(string)] = from
	}
	for at := ""; ; {
		next := ""
		for name, from := range via {
			if from == at && next != "" {
				return nil // two get it from there
			}
			if from == at {
				next = name
			}
		}
		if next == "" {
			break
		}
		names, at = append(names, next), next
		if len(names) > n {
			return nil
		}
	}
	if len(names) != n {
		return nil
	}
	return names
}

// partly tells that an unfinished file of more than least bytes is in each directory.
func partly(t *testing.T, least int64, dirs ...string) bool {
	t.Helper()
	for _, d := range dirs {
		found := false
		for _, name := range leftovers(t, d) {
			info, err := os.Stat(name)
			found = found || err == nil && info.Size() > least
		}
		if !found {
			return false
		}
	}
	return true
}

// exists tells that all files are there.
func exists(paths ...string) bool {
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			return false
		}
	}
	return true
}

// TestFanoutChainStopped stops the agent that passes on without ending it: those behind
// it have all while it stands still, and it goes on when it may.
func TestFanoutChainStopped(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 3)
	data := content(128, 8<<20)
	put(t, filepath.Join(f.near, "f"), data)
	p := f.start(append([]string{"--json", "--progress=none", "f", "h1:", "h2:", "h3:"}, slow...)...)
	var order []string
	await(t, patience, "a part has arrived along the line", func() bool {
		if !p.running() {
			t.Fatalf("ended too early:\n%v", p.wait())
		}
		order = line(p.out.String(), 3)
		return order != nil && partly(t, 256<<10, f.at(1, ""), f.at(2, ""), f.at(3, ""))
	})
	var stopped []int
	var others []string
	for i, h := range f.hosts {
		if fmt.Sprintf("h%d:", i+1) == order[0] {
			stopped = h.running()
		} else {
			others = append(others, f.at(i+1, "f"))
		}
	}
	signal := func(s syscall.Signal) {
		for _, pid := range stopped {
			if err := syscall.Kill(pid, s); err != nil {
				t.Errorf("%v to the agent of %s: %v", s, order[0], err)
			}
		}
	}
	signal(syscall.SIGSTOP)
	f.ok("ctl", jobOf(t, p), fast)
	await(t, silence, "those behind have all", func() bool { return exists(others...) })
	signal(syscall.SIGCONT)
	p.wait().want(t, 0)
	for i := 1; i <= 3; i++ {
		holds(t, f.at(i, "f"), data)
	}
	f.clean()
}

// TestFanoutChainApart drops what one host of a chain sends to the next one, while both
// reach the user: the second one, and the one behind it, get the rest otherwise.
func TestFanoutChainApart(t *testing.T) {
	t.Parallel()
	s := newSender(t, cloud(3), t.TempDir())
	s.warm()
	const size = 8 << 20
	src, data := filepath.Join(s.dir, "f"), content(129, size)
	put(t, src, data)
	cmd, _, errs := s.start(append(append([]string{"--mkpath", src}, s.places(3)...), slow...)...)
	out := new(lockedBuffer)
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var order []string
	await(t, patience, "a part has arrived along the line", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("ended too early: %v\n%s\n%s", err, out, errs)
		default:
		}
		order = line(out.String(), 3)
		return order != nil && partly(t, 256<<10, filepath.Dir(s.at(1)), filepath.Dir(s.at(2)), filepath.Dir(s.at(3)))
	})
	first, second := order[0][:2], order[1][:2]
	from := strings.Fields(s.l.Exec(second, "getent", "ahostsv4", first))[0]
	s.l.Exec(second, "nft", "add table inet t")
	s.l.Exec(second, "nft", "add chain inet t in { type filter hook input priority 0 ; }")
	s.l.Exec(second, "nft", "add rule inet t in ip saddr "+from+" drop")
	cut := time.Now()
	e, _ := lastEvent(out.String(), "job.start")
	if c, out, errs := s.start("ctl", e["job"].(string), fast); c.Run() != nil {
		t.Fatalf("%v\n%s\n%s", c.ProcessState, out, errs)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, out, errs)
		}
	case <-time.After(silence):
		t.Fatalf("not over %v after the cut\n%s\n%s", silence, out, errs)
	}
	t.Logf("# all was there %v after the cut, %s", time.Since(cut), strings.Join(order, " "))
	for i := 1; i <= 3; i++ {
		holds(t, s.at(i), data)
	}
	checkEvents(t, out.String(), 0)
}
