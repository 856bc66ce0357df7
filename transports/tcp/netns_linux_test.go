package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/internal/sealed"
	"github.com/gomover/gomover/transports/transporttest"
)

// A space is a network namespace with a thread of its own that does what is to
// happen inside; it vanishes with the thread.
type space struct {
	t    testing.TB
	tid  int
	todo chan func()
}

func newSpace(t testing.TB) *space {
	t.Helper()
	s := &space{t: t, todo: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		s.tid = unix.Gettid()
		err := unix.Unshare(unix.CLONE_NEWNET)
		ready <- err
		for f := range s.todo {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatalf("making a network namespace (needs root): %v", err)
	}
	t.Cleanup(func() { close(s.todo) })
	s.run("ip link set lo up")
	return s
}

// do runs f on the namespace's thread; sockets made there belong to it.
func (s *space) do(f func()) {
	done := make(chan struct{})
	s.todo <- func() { defer close(done); f() }
	<-done
}

// run runs one command line inside.
func (s *space) run(line string) {
	s.t.Helper()
	var out []byte
	var err error
	words := strings.Fields(line)
	s.do(func() { out, err = exec.Command(words[0], words[1:]...).CombinedOutput() })
	if err != nil {
		s.t.Fatalf("%s: %v: %s", line, err, out)
	}
}

// await repeats a command inside until it prints want: the kernel reports a
// cable as plugged in a little after the command that plugs it.
func (s *space) await(line, want string) {
	s.t.Helper()
	words := strings.Fields(line)
	for start := time.Now(); ; {
		var out []byte
		s.do(func() { out, _ = exec.Command(words[0], words[1:]...).CombinedOutput() })
		if strings.Contains(string(out), want) {
			return
		}
		if time.Since(start) > patience {
			s.t.Fatalf("%s does not print %q: %s", line, want, out)
		}
	}
}

// filter loads nftables rules for packets that come in.
func (s *space) filter(rules ...string) {
	s.t.Helper()
	s.run("nft add table inet t")
	s.run("nft add chain inet t in { type filter hook input priority 0 ; }")
	s.run("nft add chain inet t out { type filter hook output priority 0 ; }")
	for _, r := range rules {
		s.run("nft add rule inet t " + r)
	}
}

// spaceNet is a network inside a space.
type spaceNet struct {
	s *space
	netx.Network
}

func (n *spaceNet) Listen(ctx context.Context, network, addr string) (ln net.Listener, err error) {
	n.s.do(func() { ln, err = n.Network.Listen(ctx, network, addr) })
	return ln, err
}

func (n *spaceNet) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	// Each on a thread of its own: one attempt must not wait for another.
	type result struct {
		c   net.Conn
		err error
	}
	got := make(chan result)
	go func() {
		runtime.LockOSThread()
		fd, err := unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", n.s.tid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		if err != nil {
			got <- result{nil, err}
			return
		}
		c, err := n.Network.Dial(ctx, network, addr)
		got <- result{c, err}
	}()
	r := <-got
	return r.c, r.err
}

// hosts are two namespaces joined by a cable, 10.9.0.1 and 10.9.0.2.
func hosts(t testing.TB) (near, far *space) {
	t.Helper()
	near, far = newSpace(t), newSpace(t)
	near.run(fmt.Sprintf("ip link add v0 type veth peer name v1 netns %d", far.tid))
	near.run("ip addr add 10.9.0.1/24 dev v0")
	far.run("ip addr add 10.9.0.2/24 dev v1")
	near.run("ip link set v0 up")
	far.run("ip link set v1 up")
	near.await("ip -o link show dev v0", "state UP")
	far.await("ip -o link show dev v1", "state UP")
	return near, far
}

// endIn is New inside a space.
func endIn(t testing.TB, s *space, p transports.Params) *endpoint { return wary(t, s, p, 0) }

// wary is an end inside a space that gives streams up after a time of silence.
func wary(t testing.TB, s *space, p transports.Params, silence time.Duration) *endpoint {
	t.Helper()
	var e *endpoint
	var err error
	p.Silence = silence
	s.do(func() { e, err = newEndpoint(t.Context(), p) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	e.net = &spaceNet{s, e.net}
	return e
}

func spaceParams(host string) transports.Params {
	p := transporttest.Params(host, transports.SealOn)
	p.Timeout = patience
	return p
}

func TestFirewalls(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, rule, want string }{
		{"dropped on arrival", "in tcp dport 50000-50019 drop", "timed out"},
		{"answers dropped", "out tcp sport 50000-50019 drop", "timed out"},
		{"reset", "in tcp dport 50000-50019 reject with tcp reset", "refused"},
		{"rejected", "in tcp dport 50000-50019 reject with icmp type host-unreachable", "host unreachable"},
		{"no listener", "in tcp dport 1 drop", "refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns, fs := hosts(t)
			fs.filter(tt.rule)
			far := endIn(t, fs, spaceParams("10.9.0.2"))
			p := spaceParams("10.9.0.1")
			p.Listen = false
			if tt.want == "timed out" {
				p.Timeout = time.Second
			}
			near := endIn(t, ns, p)
			if tt.name == "no listener" {
				far.Close()
			}
			_, err := near.Dial(t.Context(), far.Offer(), 1)
			var de *DialError
			if !errors.As(err, &de) || de.Reason() != tt.want {
				t.Fatalf("error %v, want reason %q", err, tt.want)
			}
			if want := "no data connection: 10.9.0.2:50000 (" + tt.want + ")"; err.Error() != want {
				t.Errorf("error %q, want %q", err, want)
			}
		})
	}
}

// TestSecondAddress: the first address leads nowhere, silently; the second is
// taken soon, not after a timeout.
func TestSecondAddress(t *testing.T) {
	t.Parallel()
	ns, fs := hosts(t)
	fs.run("ip addr add 10.9.0.3/24 dev v1")
	fs.filter("in ip daddr 10.9.0.3 drop")
	p := spaceParams("10.9.0.1")
	far := endIn(t, fs, spaceParams("10.9.0.2"))
	near := endIn(t, ns, p)
	good := far.Offer().Addrs[0]
	offer := transports.Offer{Addrs: []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("10.9.0.3"), good.Port()), good}}
	start := time.Now()
	d, err := near.Dial(t.Context(), offer, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if took := time.Since(start); took > p.Timeout/2 {
		t.Errorf("took %v, want little more than 100 ms", took)
	}
	if st := d.Stats(); st.Local.Addr() != p.Bind || st.Remote != good {
		t.Errorf("stream from %v to %v, want from %v to %v", st.Local, st.Remote, p.Bind, good)
	}
}

// TestSilence: a path that dies under a stream is noticed, at the end that sends
// and at the end that only waits.
func TestSilence(t *testing.T) {
	t.Parallel()
	ns, fs := hosts(t)
	far := endIn(t, fs, spaceParams("10.9.0.2"))
	const silent = 1500 * time.Millisecond
	near := wary(t, ns, spaceParams("10.9.0.1"), silent)
	d, a := transporttest.Connect(t, near, far, 1)
	transporttest.Exchange(t, d, a, "still alive")
	go func() {
		f := transports.NewFrame(transporttest.MaxBody)
		for a.Recv(f) == nil {
		}
	}()
	sent := make(chan struct{}, 1)
	fail := make(chan error, 1)
	go func() {
		f := transports.NewFrame(transporttest.MaxBody)
		for {
			f.Resize(f.Max())
			if err := d.Send(f); err != nil {
				fail <- err
				return
			}
			select {
			case sent <- struct{}{}:
			default:
			}
		}
	}()
	<-sent
	fs.filter("in drop")
	start := time.Now()
	err := <-fail
	if !errors.Is(err, syscall.ETIMEDOUT) || !strings.Contains(err.Error(), "no answer from 10.9.0.2") {
		t.Errorf("error %v", err)
	}
	if took := time.Since(start); took > sealed.Silence {
		t.Errorf("noticed after %v", took)
	}
}

// TestShutWindow: an end that takes nothing for long, for its disk is busy, is
// not dead.
func TestShutWindow(t *testing.T) {
	t.Parallel()
	ns, fs := hosts(t)
	far := endIn(t, fs, spaceParams("10.9.0.2"))
	const silent = 600 * time.Millisecond
	near := wary(t, ns, spaceParams("10.9.0.1"), silent)
	d, a := transporttest.Connect(t, near, far, 1)
	const frames = 200
	fail := make(chan error, 1)
	go func() {
		f := transports.NewFrame(transporttest.MaxBody)
		for range frames {
			f.Resize(f.Max())
			if err := d.Send(f); err != nil {
				fail <- err
				return
			}
		}
		fail <- nil
	}()
	for tick := time.Tick(silent / 10); d.Stats().SendBlocked < 5*silent; {
		select {
		case err := <-fail:
			t.Fatalf("while nothing was taken: %v", err)
		case <-tick:
		}
	}
	f := transports.NewFrame(transporttest.MaxBody)
	for i := range frames {
		if err := a.Recv(f); err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
	}
	if err := <-fail; err != nil {
		t.Fatal(err)
	}
	if st := d.Stats(); st.RwndLimited == 0 {
		t.Errorf("stats of a sender that had to wait: %+v", st)
	}
}

func TestStatsOnPath(t *testing.T) {
	t.Parallel()
	ns, fs := hosts(t)
	far := endIn(t, fs, spaceParams("10.9.0.2"))
	near := endIn(t, ns, spaceParams("10.9.0.1"))
	d, a := transporttest.Connect(t, near, far, 1)
	transporttest.Exchange(t, d, a, "one round")
	transporttest.Exchange(t, a, d, "and back")
	st := d.Stats()
	if st.RTT <= 0 || st.RTT > time.Second || st.MinRTT <= 0 || st.MinRTT > time.Second {
		t.Errorf("RTT %v, least %v", st.RTT, st.MinRTT)
	}
	if st.Cwnd <= 0 || st.DeliveryRate <= 0 || st.CC == "" || st.Retrans != 0 || st.Lost != 0 {
		t.Errorf("stats %+v", st)
	}
}

// TestWindowRefused: without the right to pass the system's limit a large window
// is granted in part, and the user hears of it once.
func TestWindowRefused(t *testing.T) {
	t.Parallel()
	s := newSpace(t)
	s.do(func() {
		// The thread's alone; it is not used for anything else.
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&hdr, &none[0]); err != nil {
			t.Errorf("giving up capabilities: %v", err)
		}
	})
	var warned []string
	p := spaceParams("127.0.0.1")
	p.Window = 1 << 30
	p.Warn = func(msg string) { warned = append(warned, msg) }
	endIn(t, s, p)
	if len(warned) != 1 || !strings.Contains(warned[0], "the system grants socket buffers of ") ||
		!strings.Contains(warned[0], "net.core.rmem_max and net.core.wmem_max") {
		t.Errorf("warnings %q", warned)
	}
}
