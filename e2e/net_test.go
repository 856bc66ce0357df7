package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// space is a network namespace, held by a process that ends with the test.
type space struct {
	t   testing.TB
	pid int
}

func newSpace(t testing.TB) *space {
	t.Helper()
	cmd := exec.Command("unshare", "-n", "cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("making a network namespace (needs root): %v", err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // cat ends with its input
	})
	s := &space{t, cmd.Process.Pid}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	await(t, patience, "the namespace is there", func() bool {
		other, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", s.pid))
		return err == nil && other != own
	})
	s.run("ip link set lo up")
	return s
}

// words are those that run a command inside, as the same process.
func (s *space) words() []string { return []string{"nsenter", "-t", fmt.Sprint(s.pid), "-n"} }

// run runs one command line inside.
func (s *space) run(line string) {
	s.t.Helper()
	words := append(s.words(), strings.Fields(line)...)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v: %s", line, err, out)
	}
}

// filter loads rules for packets that come in.
func (s *space) filter(rules ...string) {
	s.t.Helper()
	s.run("nft add table inet t")
	s.run("nft add chain inet t in { type filter hook input priority 0 ; }")
	for _, r := range rules {
		s.run("nft add rule inet t in " + r)
	}
}

// join lays a cable between two spaces and gives each end its name and address.
func join(a *space, aDev, aAddr string, b *space, bDev, bAddr string) {
	a.t.Helper()
	a.run(fmt.Sprintf("ip link add %s type veth peer name %s netns %d", aDev, bDev, b.pid))
	a.run("ip addr add " + aAddr + " dev " + aDev)
	b.run("ip addr add " + bAddr + " dev " + bDev)
	a.run("ip link set " + aDev + " up")
	b.run("ip link set " + bDev + " up")
}

// newCable is a world whose user and far host are namespaces joined by a cable:
// 10.77.0.1 and 10.77.0.2.
func newCable(t *testing.T) (w *world, near, far *space) {
	t.Helper()
	near, far = newSpace(t), newSpace(t)
	join(near, "v0", "10.77.0.1/24", far, "v1", "10.77.0.2/24")
	near.run("ip addr add fd77::1/64 dev v0 nodad")
	far.run("ip addr add fd77::2/64 dev v1 nodad")
	w = &world{t: t, addr: "10.77.0.2", inside: near.words(), sshdIn: far.words()}
	w.setUp()
	w.warm()
	put(t, filepath.Join(w.near, "f"), content(80, 6<<20))
	return w, near, far
}

// stranger is the rule that drops new connections to any port but ssh's.
func (w *world) stranger(verdict string) string {
	return fmt.Sprintf("tcp dport != %d ct state new %s", w.port, verdict)
}

// plans lists the transports that a run used, in order.
func plans(t *testing.T, r *result) (l []string) {
	t.Helper()
	for _, e := range checkEvents(t, r.out, r.code) {
		if e["ev"] == "plan" {
			l = append(l, e["transport"].(string))
		}
		if e["ev"] == "transport" {
			l = append(l, e["to"].(string))
		}
	}
	return l
}

// wantLast checks how the data of a run travelled in the end.
func wantLast(t *testing.T, r *result, way string) {
	t.Helper()
	if l := plans(t, r); len(l) == 0 || l[len(l)-1] != way {
		t.Errorf("the transports were %v, want %s in the end\n%v", l, way, r)
	}
}

// working is how long a run took from when the far end was started to the end: what the
// ways of the data cost, and not how long a busy machine takes to log in.
func working(t testing.TB, r *result) time.Duration {
	t.Helper()
	l := checkEvents(t, r.out, r.code)
	at := func(e event) time.Time {
		when, err := time.Parse(time.RFC3339Nano, fmt.Sprint(e["t"]))
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for _, e := range l {
		if e["ev"] == "host" && e["state"] == "ready" {
			return at(l[len(l)-1]).Sub(at(e))
		}
	}
	t.Fatalf("the far host was never ready:\n%v", r)
	return 0
}

// within makes a copy of f that must not take longer than so long once the far end was
// started, and gives what the run said.
func (w *world) within(most time.Duration, dst string, args ...string) (r *result) {
	w.t.Helper()
	took := runLimit
	for i := 0; i < tries && took > most; i++ {
		w.noAgent(agentEnds)
		// As for the first time: without the copy, and what is remembered of the path.
		for _, old := range []string{dst, filepath.Join(w.near, ".local"), filepath.Join(w.far, ".local")} {
			if err := os.RemoveAll(old); err != nil {
				w.t.Fatal(err)
			}
		}
		r = w.ok(args...)
		holds(w.t, dst, content(80, 6<<20))
		took = working(w.t, r)
	}
	if took > most {
		w.t.Errorf("it took %v, at most %v is right", took, most)
	}
	return r
}

// bothWays runs a test of a copy to the far host, and of one from there.
func bothWays(t *testing.T, name string, test func(t *testing.T, pull bool)) {
	for _, pull := range []bool{false, true} {
		t.Run(fmt.Sprintf("%s/pull=%t", name, pull), func(t *testing.T) {
			t.Parallel()
			test(t, pull)
		})
	}
}

// one gives the words for a copy of the 6 MiB of f, which is where it comes from,
// and the name of the copy.
func (w *world) one(pull bool) (words []string, dst string) {
	if !pull {
		return []string{"f", "far:g"}, filepath.Join(w.far, "g")
	}
	put(w.t, filepath.Join(w.far, "f"), content(80, 6<<20))
	return []string{"far:f", "./g"}, filepath.Join(w.near, "g")
}

// TestFirewalls copies through firewalls on either side: as long as one end can
// reach the other, data goes by its own connections.
func TestFirewalls(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		near, far string // verdict for new connections but ssh's
		last      string // the transport in the end
		most      time.Duration
	}{
		{"open", "", "", "tcp", 5 * time.Second},
		{"far drops", "", "drop", "tcp", 8 * time.Second},
		{"far rejects", "", "reject with tcp reset", "tcp", 5 * time.Second},
		{"near drops", "drop", "", "tcp", 5 * time.Second},
		{"both drop", "drop", "drop", "ssh", 20 * time.Second},
		{"both reject", "reject with tcp reset", "reject with tcp reset", "ssh", 20 * time.Second},
	} {
		bothWays(t, tt.name, func(t *testing.T, pull bool) {
			w, near, far := newCable(t)
			args, dst := w.one(pull)
			if tt.near != "" {
				near.filter(w.stranger(tt.near))
			}
			if tt.far != "" {
				far.filter(w.stranger(tt.far))
			}
			// Data must not be through before the way is found.
			rate := "--bwlimit=100MB"
			if tt.last == "ssh" {
				rate = "--bwlimit=600KB"
			}
			r := w.within(tt.most, dst, append([]string{"--json", rate}, args...)...)
			if !pull { // there the far end plans
				wantLast(t, r, tt.last)
				if slow := strings.Contains(r.err, "sending inside ssh, which is slow: at most about "); slow != (tt.last == "ssh") {
					t.Errorf("the warning that data goes through ssh: %t\n%v", slow, r)
				}
			}
			if tt.last == "ssh" {
				r := w.run(append([]string{"-q", "--transport=tcp", "--existing=replace"}, args...)...)
				r.want(t, 9, "gomover: far: ssh works, but no data connection does: ",
					"this machine cannot reach far (", "far cannot reach this machine (",
					"  hint: open one TCP port: --ports 50000-50000\n  hint: slower, but works now: --transport=ssh\n")
				if r.took > 45*time.Second {
					t.Errorf("it took %v to give up", r.took)
				}
			}
			w.clean(w.near, w.far)
		})
	}
}

// TestOnePortIsEnough opens the one port of --ports.
func TestOnePortIsEnough(t *testing.T) {
	t.Parallel()
	w, near, far := newCable(t)
	near.filter(w.stranger("drop"))
	far.filter("tcp dport 50000 accept", w.stranger("drop"))
	r := w.ok("--json", "--transport=tcp", "--ports=50000-50000", "f", "far:g")
	holds(t, filepath.Join(w.far, "g"), content(80, 6<<20))
	wantLast(t, r, "tcp")
}

// TestPortsTaken finds every port of --ports in use.
func TestPortsTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, filepath.Join(w.near, "f"), content(81, 1000))
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	r := w.run("-q", fmt.Sprintf("--ports=%d-%d", port, port), "f", "far:g")
	r.want(t, 9, fmt.Sprintf("gomover: local: all ports in %d-%d are in use\n  hint: give a wider range with --ports\n", port, port))
	missing(t, filepath.Join(w.far, "g"))
}

// TestIPv6 reaches the far host by its other address.
func TestIPv6(t *testing.T) {
	t.Parallel()
	w, _, _ := newCable(t)
	w.stop()
	w.addr = "fd77::2"
	w.sshd()
	w.config("")
	r := w.ok("--json", "--transport=tcp", "f", "far:g")
	holds(t, filepath.Join(w.far, "g"), content(80, 6<<20))
	plans(t, r)
	w.ok("-P", fmt.Sprint(w.port), "-i", ".ssh/id_ed25519", "f", "root@[fd77::2]:h")
	holds(t, filepath.Join(w.far, "h"), content(80, 6<<20))
}

// TestDataCutMidway drops the data connections, but not ssh, while data flows.
func TestDataCutMidway(t *testing.T) {
	t.Parallel()
	for _, verdict := range []string{"drop", "reject with tcp reset"} {
		t.Run(verdict, func(t *testing.T) {
			t.Parallel()
			w, near, far := newCable(t)
			data := content(82, 24<<20)
			put(t, filepath.Join(w.near, "f"), data)
			p := slowly(t, w, "--stall-timeout=2s", "f", "far:g")
			for _, s := range []*space{near, far} {
				s.filter(fmt.Sprintf("tcp dport %d accept", w.port), fmt.Sprintf("tcp sport %d accept", w.port), "meta l4proto tcp "+verdict)
			}
			r := p.wait()
			r.want(t, 0)
			holds(t, filepath.Join(w.far, "g"), data)
			list := checkEvents(t, r.out, 0)
			neverBack(t, list)
			told := false
			for _, e := range list {
				told = told || e["ev"] == "transport" && e["to"] == "ssh"
			}
			if !told {
				t.Errorf("nothing says that the data goes through ssh:\n%v", r)
			}
			w.clean(w.near, w.far)
		})
	}
}

// TestCableCut loses every connection for longer than the run may wait, and then
// for less.
func TestCableCut(t *testing.T) {
	t.Parallel()
	w, near, _ := newCable(t)
	w.config("  ServerAliveInterval 1\n")
	data := content(83, 24<<20)
	put(t, filepath.Join(w.near, "f"), data)
	p := slowly(t, w, "--stall-timeout=2s", "--give-up=4s", "f", "far:g")
	near.run("ip link set v0 down")
	r := p.wait()
	r.want(t, 10, "gomover: far: no answer for 4s", "to continue: gomover ")
	if r.took > 45*time.Second {
		t.Errorf("giving up took %v", r.took)
	}
	missing(t, filepath.Join(w.far, "g"))

	t.Log("# the cable is back: the same command goes on")
	near.run("ip link set v0 up")
	near.run("ip addr replace fd77::1/64 dev v0 nodad")
	p = slowly(t, w, "f", "far:g")
	near.run("ip link set v0 down")
	await(t, patience, "the run says that it lost the host", func() bool {
		e, ok := lastEvent(p.out.String(), "host")
		return ok && e["state"] == "lost"
	})
	near.run("ip link set v0 up")
	r = p.wait()
	r.want(t, 0)
	holds(t, filepath.Join(w.far, "g"), data)
	w.clean(w.near, w.far)
}
