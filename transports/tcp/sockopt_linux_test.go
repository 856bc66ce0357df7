package tcp

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/internal/sealed"
	"github.com/gomover/gomover/transports/transporttest"
)

// option reads a socket option of a stream.
func option(t *testing.T, s transports.Stream, level, opt int) int {
	t.Helper()
	rc, err := s.(*sealed.Stream).Conn().(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	v := -1
	if err := rc.Control(func(fd uintptr) { v, err = unix.GetsockoptInt(int(fd), level, opt) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestOptions(t *testing.T) {
	available, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil {
		t.Fatal(err)
	}
	cc := strings.Fields(string(available))[0]
	for _, host := range []string{"127.0.0.1", "::1"} {
		p := transporttest.Params(host, transports.SealOn)
		p.Window, p.CC, p.DSCP = 300_000, cc, 8
		p.Warn = func(msg string) { t.Errorf("%s: warned: %s", host, msg) }
		far := newEnd(t, p)
		near := newEnd(t, p)
		d, a := transporttest.Connect(t, near, far, 1)
		for i, s := range []transports.Stream{d, a} {
			if got := option(t, s, unix.SOL_SOCKET, unix.SO_SNDBUF); got != 2*p.Window {
				t.Errorf("%s, end %d: send buffer %d, want %d", host, i, got, 2*p.Window)
			}
			if got := option(t, s, unix.SOL_SOCKET, unix.SO_RCVBUF); got != 2*p.Window {
				t.Errorf("%s, end %d: receive buffer %d, want %d", host, i, got, 2*p.Window)
			}
			if got := s.Stats().CC; got != cc {
				t.Errorf("%s, end %d: congestion control %s, want %s", host, i, got, cc)
			}
			if option(t, s, unix.IPPROTO_TCP, unix.TCP_NODELAY) == 0 || option(t, s, unix.SOL_SOCKET, unix.SO_KEEPALIVE) == 0 {
				t.Errorf("%s, end %d: no TCP_NODELAY or no keepalive", host, i)
			}
			level, opt := unix.IPPROTO_IP, unix.IP_TOS
			if host == "::1" {
				level, opt = unix.IPPROTO_IPV6, unix.IPV6_TCLASS
			}
			if got := option(t, s, level, opt); got != 8<<2 {
				t.Errorf("%s, end %d: traffic class byte %d, want %d", host, i, got, 8<<2)
			}
		}
		if err := d.Retune(transports.Settings{Window: 500_000, PacingRate: 123_000_000}); err != nil {
			t.Error(err)
		}
		if got := option(t, d, unix.SOL_SOCKET, unix.SO_SNDBUF); got != 1_000_000 {
			t.Errorf("retuned send buffer %d, want 1000000", got)
		}
		if got := option(t, d, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE); got != 123_000_000 {
			t.Errorf("pacing %d, want 123000000", got)
		}
	}
}

// TestKernelTuning: without a window the kernel's own tuning must stay on, which
// setting a buffer to anything would end.
func TestKernelTuning(t *testing.T) {
	p := transporttest.Params("127.0.0.1", transports.SealOn)
	far, near := newEnd(t, p), newEnd(t, p)
	d, a := transporttest.Connect(t, near, far, 1)
	before := option(t, a, unix.SOL_SOCKET, unix.SO_RCVBUF)
	const frames = 300
	done := make(chan error, 1)
	go func() {
		f := transports.NewFrame(p.MaxBody)
		for range frames {
			f.Resize(p.MaxBody)
			if err := d.Send(f); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	f := transports.NewFrame(p.MaxBody)
	for range frames {
		if err := a.Recv(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if after := option(t, a, unix.SOL_SOCKET, unix.SO_RCVBUF); after <= before {
		t.Errorf("receive buffer %d before, %d after: it did not grow", before, after)
	}
}

func TestRefusedOptions(t *testing.T) {
	var warned []string
	p := transporttest.Params("127.0.0.1", transports.SealOn)
	p.CC = "no_such_control"
	p.Warn = func(msg string) { warned = append(warned, msg) }
	far := newEnd(t, p)
	near := newEnd(t, p)
	transporttest.Connect(t, near, far, 1)
	transporttest.Connect(t, near, far, 2)
	want := "congestion control no_such_control: not known to this kernel; its module may have to be loaded"
	if len(warned) != 2 || warned[0] != want || warned[1] != want { // once per end
		t.Errorf("warnings %q, want %q once at each end", warned, want)
	}
	if Permitted("no_such_control") {
		t.Error("a congestion control that does not exist is permitted")
	}
	if cc := far.p.CC; !Permitted("reno") {
		t.Errorf("reno is not permitted beside %s", cc)
	}
}
