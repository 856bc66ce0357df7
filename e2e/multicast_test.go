package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/forger"
	"github.com/gomover/gomover/internal/lab/labtest"
)

// cloud is a lab of a sender, h0, and hosts that multicast reaches.
func cloud(n int) string {
	s := `{"seed": 3, "hosts": [{"name": "h0", "multicast": true, "link": {"rate": "100mbit", "delay": "5ms"}}`
	for i := range n {
		s += fmt.Sprintf(`, {"name": "h%d", "multicast": true, "link": {"rate": "200mbit", "delay": "5ms"}}`, i+1)
	}
	return s + "]}"
}

// sender is the program on h0 of a lab.
type sender struct {
	t         *testing.T
	l         *labtest.Lab
	dir, conf string
}

func newSender(t *testing.T, topology string, dir string) *sender {
	t.Helper()
	l := labtest.Start(t, topology)
	return &sender{t: t, l: l, dir: dir, conf: l.SSH()}
}

// start prepares a run.
func (s *sender) start(args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	cmd := s.l.Command("h0", append([]string{program, "-F", s.conf, "--json", "--progress=none"}, args...)...)
	home := filepath.Join(s.dir, "home")
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_STATE_HOME="+home)
	out, errs := new(bytes.Buffer), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, errs
	return cmd, out, errs
}

// warm brings the program to the hosts, which share their files, and sets the counters
// to zero.
func (s *sender) warm() {
	s.t.Helper()
	put(s.t, filepath.Join(s.dir, "none"), nil)
	if cmd, out, errs := s.start(filepath.Join(s.dir, "none"), "h1:"+filepath.Join(s.dir, "none1")); cmd.Run() != nil {
		s.t.Fatalf("%v\n%s\n%s", cmd.ProcessState, out, errs)
	}
	s.l.Reset()
}

// places are one at each of n hosts.
func (s *sender) places(n int) (words []string) {
	for i := range n {
		words = append(words, fmt.Sprintf("h%d:%s/d%d/f", i+1, s.dir, i+1))
	}
	return words
}

// at is the path of a place.
func (s *sender) at(i int) string { return fmt.Sprintf("%s/d%d/f", s.dir, i) }

// left is what has left the sender, by unicast and in all. Unit: bytes.
func (s *sender) left() (unicast, all float64) {
	s.t.Helper()
	up := s.l.Stats().Link("h0.up")
	return float64(up.Unicast.Bytes), float64(up.Unicast.Bytes + up.Multicast.Bytes)
}

// transports gives the transports that destinations were told to have, by name.
func transports(l []event) map[string][]string {
	m := make(map[string][]string)
	for _, e := range l {
		if e["ev"] == "transport" {
			m[e["dest"].(string)] = append(m[e["dest"].(string)], e["to"].(string))
		}
	}
	return m
}

// TestMulticast sends one copy to three hosts: a file, and then a tree of which each
// has another part. Then nobody hears the group: each gets its own data, and the user
// is told once.
func TestMulticast(t *testing.T) {
	t.Parallel()
	s := newSender(t, cloud(3), t.TempDir())
	s.warm()
	const size = 4 << 20
	src, data := filepath.Join(s.dir, "f"), content(130, size)
	put(t, src, data)
	// Held below what the links carry: hosts that share a busy machine keep up with that.
	cmd, out, errs := s.start(append([]string{"--fanout=multicast", "--bwlimit=4MB", "--mkpath", src}, s.places(3)...)...)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, errs)
	}
	unicast, all := s.left()
	t.Logf("# %.3f times the size has left, %.3f of it by unicast", all/size, unicast/size)
	if all > 1.5*size { // 1.12; 2 if one gets its own copy
		t.Errorf("%.3f times the size has left, %.3f of it by unicast", all/size, unicast/size)
	}
	l := checkEvents(t, out.String(), 0)
	for i, place := range s.places(3) {
		holds(t, s.at(i+1), data)
		if got := transports(l)[place]; len(got) == 0 || got[0] != "multicast" {
			t.Errorf("%s gets its data by %q", place, got)
		}
	}
	end := l[len(l)-1]
	if n := number(end, "sent_bytes"); n < size || n > size*2 {
		t.Errorf("%d bytes were sent of %d", n, size)
	}
	for _, d := range end["dests"].([]any) {
		m := d.(map[string]any)
		if n := number(m, "multicast_bytes"); n < size/4 || number(m, "multicast_packets") < n/1500 {
			t.Errorf("counters %v", m)
		}
	}

	t.Log("# a tree")
	tree := filepath.Join(s.dir, "tree")
	for i := range 60 {
		put(t, filepath.Join(tree, fmt.Sprint(i%4), fmt.Sprint("f", i)), content(byte(i), i*3000))
	}
	put(t, filepath.Join(tree, "big"), content(131, 1<<20))
	put(t, filepath.Join(tree, "bigger"), content(132, 4<<20))
	// The first has a part of it, of the same time; the second one file.
	if err := exec.Command("cp", "-rp", tree, filepath.Join(s.dir, "t1")).Run(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"bigger", "2", "3"} {
		if err := os.RemoveAll(filepath.Join(s.dir, "t1", name)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(s.dir, "t2", "stays"), data[:100])
	s.l.Reset()
	args := []string{"--fanout=multicast", "--bwlimit=5MB", "-r", tree + "/"}
	for i := 1; i <= 3; i++ {
		args = append(args, "--to", fmt.Sprintf("h%d:%s/t%d", i, s.dir, i))
	}
	if cmd, out, errs = s.start(args...); cmd.Run() != nil {
		t.Fatalf("%v\n%s\n%s", cmd.ProcessState, out, errs)
	}
	if _, all := s.left(); all > 2*11e6 {
		t.Errorf("%.1f MB have left for a tree of 11 MB\n%s\n%s", all/1e6, out, errs)
	}
	if err := os.Remove(filepath.Join(s.dir, "t2", "stays")); err != nil {
		t.Fatal(err)
	}
	want := list(t, tree)
	for i := 1; i <= 3; i++ {
		if got := list(t, fmt.Sprintf("%s/t%d", s.dir, i)); !maps.Equal(got, want) {
			t.Errorf("h%d has %d entries, not the %d of the source", i, len(got), len(want))
		}
	}

	t.Log("# nobody hears it")
	if cmd, out, errs = s.start("--fanout=multicast", "--mcast-if=lo", src, "h1:"+s.at(4), "h2:"+s.at(5), "--mkpath"); cmd.Run() != nil {
		t.Fatalf("%v\n%s\n%s", cmd.ProcessState, out, errs)
	}
	holds(t, s.at(4), data)
	holds(t, s.at(5), data)
	told := 0
	for _, e := range checkEvents(t, out.String(), 0) {
		if e["ev"] == "warn" && e["code"] == "net.multicast" {
			told++
		}
	}
	if told != 1 || !strings.Contains(errs.String(), "gomover: warning: no multicast: ") {
		t.Errorf("told %d times\n%s", told, errs)
	}
}

// TestMulticastTrouble has one destination whose agent is killed midway, one with a
// full disk, and one that is cut off for a while: the other one has its data in time,
// the first and the last in the end, and the same command has nothing left to do for
// those.
func TestMulticastTrouble(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mount(t, filepath.Join(dir, "d3"), "size=6m") // before the hosts begin, which see it
	s := newSender(t, cloud(4), dir)
	s.warm()
	const size = 8 << 20
	src, data := filepath.Join(s.dir, "f"), content(133, size)
	put(t, src, data)
	args := append([]string{"--fanout=multicast", "--mkpath", "--no-space-check", "--retry-wait=100ms", "--give-up=20s", src}, s.places(4)...)
	cmd, out, errs := s.start(args...)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	await(t, patience, "a part has arrived at h2", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("ended too early: %v\n%s\n%s", err, out, errs)
		default:
		}
		for _, name := range leftovers(t, filepath.Join(s.dir, "d2")) {
			if info, err := os.Stat(name); err == nil && info.Size() > 3<<20 {
				return true
			}
		}
		return false
	})
	for _, pid := range s.agents("h2") {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Errorf("killing the agent: %v", err)
		}
	}
	s.l.Set("h4", "cut=true")
	done := time.Duration(0)
	await(t, patience, "h1 has all", func() bool {
		_, err := os.Stat(s.at(1))
		if err == nil && done == 0 {
			done = time.Since(began)
		}
		return err == nil
	})
	s.l.Set("h4", "cut=false")
	<-ended
	t.Logf("# h1 was done after %v, all after %v", done, time.Since(began))
	l := checkEvents(t, out.String(), 3)
	want := map[string]int{s.places(4)[0]: 0, s.places(4)[1]: 0, s.places(4)[2]: 6, s.places(4)[3]: 0}
	if got := ends(t, l); !maps.Equal(got, want) {
		t.Errorf("exit codes %v, want %v\n%s\n%s", got, want, out, errs)
	}
	for _, i := range []int{1, 2, 4} {
		holds(t, s.at(i), data)
	}
	if n := number(l[len(l)-1], "sent_bytes"); n > 3*size {
		t.Errorf("%d bytes were sent of %d to four", n, size)
	}
	cmd, out, _ = s.start("--fanout=multicast", src, s.places(4)[0], s.places(4)[1], s.places(4)[3])
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	if l = checkEvents(t, out.String(), 0); number(l[len(l)-1], "sent_bytes") != 0 {
		t.Errorf("again %d bytes were sent", number(l[len(l)-1], "sent_bytes"))
	}
}

// TestMulticastSix sends by IPv6, where MLD tells who listens, under a limit: what leaves
// for all together, heads of packets included, keeps to it.
func TestMulticastSix(t *testing.T) {
	t.Parallel()
	s := newSender(t, cloud(3), t.TempDir())
	s.warm()
	const size, rate = 3 << 20, 2_000_000
	src, data := filepath.Join(s.dir, "f"), content(135, size)
	put(t, src, data)
	var places []string
	for _, p := range s.places(3) {
		places = append(places, p[:2]+"-v6"+p[2:])
	}
	began := time.Now()
	cmd, out, errs := s.start(append([]string{"--fanout=multicast", "--bwlimit", fmt.Sprint(rate, "B"), "--mkpath", src}, places...)...)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, errs)
	}
	took := time.Since(began)
	_, all := s.left()
	up := s.l.Stats().Link("h0.up")
	l := checkEvents(t, out.String(), 0)
	for i, place := range places {
		holds(t, s.at(i+1), data)
		if got := transports(l)[place]; len(got) == 0 || got[0] != "multicast" {
			t.Errorf("%s gets its data by %q", place, got)
		}
	}
	if n := up.Multicast.Bytes; n < size/2 {
		t.Errorf("%d bytes have left to groups", n)
	}
	t.Logf("# %.3f times the size has left in %v", all/size, took)
	// Logins and their answers are not data.
	if most := rate*took.Seconds() + 200_000; all > most {
		t.Errorf("%.0f bytes have left within %v at %d bytes per second", all, took, rate)
	}
	// 1.15 where the hosts keep up; one that is starved gets a copy of its own.
	if all > 2.6*size {
		t.Errorf("%.3f times the size has left", all/size)
	}
}

// TestMulticastReturns kills an agent while a part has arrived, and pauses the job until it
// is back: its destination is taken into the group again, and what it has missed goes to it
// alone.
func TestMulticastReturns(t *testing.T) {
	t.Parallel()
	s := newSender(t, cloud(3), t.TempDir())
	s.warm()
	const size = 8 << 20
	src, data := filepath.Join(s.dir, "f"), content(134, size)
	put(t, src, data)
	cmd, _, errs := s.start(append([]string{"--fanout=multicast", "--bwlimit=1MB", "--mkpath", "--retry-wait=100ms", src}, s.places(3)...)...)
	out := new(lockedBuffer)
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	happens := func(what string, has func() bool) {
		t.Helper()
		await(t, patience, what, func() bool {
			select {
			case err := <-ended:
				t.Fatalf("ended too early: %v\n%s\n%s", err, out, errs)
			default:
			}
			return has()
		})
	}
	happens("a part has arrived at h2", func() bool {
		for _, name := range leftovers(t, filepath.Join(s.dir, "d2")) {
			if info, err := os.Stat(name); err == nil && info.Size() > size/16 {
				return true
			}
		}
		return false
	})
	e, _ := lastEvent(out.String(), "job.start")
	ctl := func(setting string) {
		if c, out, errs := s.start("ctl", e["job"].(string), setting); c.Run() != nil {
			t.Fatalf("%s: %v\n%s\n%s", setting, c.ProcessState, out, errs)
		}
	}
	ctl("pause")
	for _, pid := range s.agents("h2") {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Errorf("killing the agent: %v", err)
		}
	}
	happens("h2 is back", func() bool {
		return strings.Count(out.String(), `"host":"h2","role":"dest","state":"ready"`) == 2
	})
	ctl("bwlimit=4MB") // hosts that share a busy machine keep up with that
	ctl("continue")
	if err := <-ended; err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, errs)
	}
	_, all := s.left()
	l := checkEvents(t, out.String(), 0)
	for i, place := range s.places(3) {
		holds(t, s.at(i+1), data)
		way := strings.Join(transports(l)[place], " ")
		if strings.Count(way, "multicast") != map[int]int{0: 1, 1: 2, 2: 1}[i] {
			t.Errorf("%s got its data by %q", place, way)
		}
	}
	t.Logf("# %.3f times the size has left", all/size) // 1.3 where nothing else runs
}

// TestMulticastForged has a host in the group that is no destination: it sends again what it
// hears, sends it damaged, and, with the key out of the memory of a destination's agent,
// sends bytes of its own, all in the sender's name. Every destination has what was sent.
func TestMulticastForged(t *testing.T) {
	t.Parallel()
	s := newSender(t, cloud(4), t.TempDir())
	s.warm()
	const size = 4 << 20
	src, data := filepath.Join(s.dir, "f"), content(136, size)
	put(t, src, data)
	attack := forger.Attack{Key: forger.Member(strings.TrimSpace(s.l.Exec("h1", "readlink", "/proc/self/ns/net")))}
	for i := range 3 {
		attack.Ports = append(attack.Ports, netip.MustParseAddrPort(fmt.Sprintf("10.77.0.%d:50000", i+2)))
	}
	var f *forger.Forger
	s.l.In("h4", func() (err error) {
		f, err = forger.Open(t.Context(), netip.MustParseAddrPort("232.7.8.9:50009"), netip.MustParseAddr("10.77.0.1"))
		return err
	})
	ctx, stop := context.WithCancel(t.Context())
	var did forger.Counts
	ended := make(chan error, 1)
	go func() {
		n, err := f.Run(ctx, attack)
		did = n
		ended <- errors.Join(err, f.Close())
	}()
	cmd, out, errs := s.start(append([]string{"--fanout=multicast", "--mcast-group=232.7.8.9", "--ports=50000-50009", "--bwlimit=4MB", "--mkpath", src}, s.places(3)...)...)
	err := cmd.Run()
	stop()
	if err := errors.Join(err, <-ended); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, errs)
	}
	l := checkEvents(t, out.String(), 0)
	refused := int64(0)
	blocks := int64(0)
	for i, d := range l[len(l)-1]["dests"].([]any) {
		holds(t, s.at(i+1), data)
		m := d.(map[string]any)
		refused, blocks = refused+number(m, "refused_packets"), blocks+number(m, "refused_blocks")
		t.Logf("# h%d: %v blocks and %v datagrams refused", i+1, m["refused_blocks"], m["refused_packets"])
	}
	t.Logf("# the forger: %+v", did)
	if did.Repeated == 0 || did.Altered == 0 || refused == 0 {
		t.Errorf("nobody has disturbed: %+v, %d datagrams refused", did, refused)
	}
	if blocks > 0 && !strings.Contains(errs.String(), "gomover: warning: somebody who knows the group's key") {
		t.Errorf("the user is not told that somebody forges\n%s", errs)
	}
}

// agents are the processes of agents on a host.
func (s *sender) agents(host string) []int { return s.processes(host, "\x00agent\x00") }

// processes are those on a host whose command lines contain something.
func (s *sender) processes(host, what string) (pids []int) {
	s.t.Helper()
	net := strings.TrimSpace(s.l.Exec(host, "readlink", "/proc/self/ns/net"))
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, d := range dirs {
		if to, err := os.Readlink(d + "/ns/net"); err != nil || to != net {
			continue
		}
		if b, err := os.ReadFile(d + "/cmdline"); err == nil && bytes.Contains(b, []byte(what)) {
			if pid, err := strconv.Atoi(filepath.Base(d)); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	if len(pids) == 0 {
		s.t.Errorf("no process with %q runs on %s", what, host)
	}
	return pids
}
