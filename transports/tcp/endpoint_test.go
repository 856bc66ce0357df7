package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/internal/sealed"
	"github.com/gomover/gomover/transports/seal"
	"github.com/gomover/gomover/transports/transporttest"
)

// patience bounds what comes about at once, but for a machine that has much else to do.
const patience = time.Minute

// hidden is a network whose connections do not show what they are, like
// simulated ones.
type hidden struct{ netx.System }

type hiddenListener struct{ net.Listener }

type hiddenConn struct{ net.Conn }

func (h *hidden) Listen(ctx context.Context, network, addr string) (net.Listener, error) {
	ln, err := h.System.Listen(ctx, network, addr)
	return hiddenListener{ln}, err
}

func (h *hidden) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := h.System.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return hiddenConn{c}, nil
}

func (l hiddenListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return hiddenConn{c}, nil
}

func TestContractOnForeignNetwork(t *testing.T) {
	transporttest.Run(t, func(t *testing.T, seal transports.Seal) (a, b transports.Endpoint) {
		p := transporttest.Params("127.0.0.1", seal)
		p.Net, p.Window, p.CC, p.DSCP = new(hidden), 1<<20, "no-such", 8
		p.Warn = func(msg string) { t.Errorf("warned: %s", msg) }
		return newEnd(t, p), newEnd(t, p)
	})
}

func TestPorts(t *testing.T) {
	// An address of its own: at that of everybody somebody else may take the port that
	// is to be free.
	host := fmt.Sprintf("127.77.%d.%d", os.Getpid()>>8&0xff, os.Getpid()&0xff)
	ln, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	lo := sealed.AddrOf(ln.Addr()).Port()
	p := transporttest.Params(host, transports.SealOn)
	p.Ports = [2]uint16{lo, lo + 1}
	first := newEnd(t, p)
	if got := first.Offer().Addrs; len(got) != 1 || got[0].Port() != lo+1 {
		t.Errorf("offer %v, want port %d, the first free one", got, lo+1)
	}
	_, err = New(t.Context(), p)
	want := fmt.Sprintf("all ports in %d-%d are in use", lo, lo+1)
	if !errors.Is(err, ErrInUse) || err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	p.Ports = [2]uint16{}
	if e := newEnd(t, p); len(e.Offer().Addrs) != 1 {
		t.Errorf("offer without a range: %v", e.Offer())
	}
	p.Ports = [2]uint16{65535, 65535}
	newEnd(t, p)
	if _, err := New(t.Context(), p); !errors.Is(err, ErrInUse) {
		t.Errorf("last port twice: %v", err)
	}
}

// TestDualStack: one port serves both families unless one was asked for.
func TestDualStack(t *testing.T) {
	for _, tt := range []struct {
		name       string
		v4, v6     bool
		has4, has6 bool
	}{
		{"neither named", false, false, true, true},
		{"both", true, true, true, true},
		{"IPv4", true, false, true, false},
		{"IPv6", false, true, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := transporttest.Params("127.0.0.1", transports.SealOn)
			p.Bind, p.Known = netip.Addr{}, addrs("127.0.0.1", "::1")
			p.IPv4, p.IPv6 = tt.v4, tt.v6
			far := newEnd(t, p)
			p.Listen, p.IPv4, p.IPv6 = false, true, true
			near := newEnd(t, p)
			port := far.Offer().Addrs[0].Port()
			for i, a := range p.Known {
				want := []bool{tt.has4, tt.has6}[i]
				ap := netip.AddrPortFrom(a, port)
				if got := slices.Contains(far.Offer().Addrs, ap); got != want {
					t.Errorf("%v offered: %v, want %v", ap, got, want)
				}
				s, err := near.Dial(t.Context(), transports.Offer{Addrs: []netip.AddrPort{ap}}, uint32(i))
				if (err == nil) != want {
					t.Errorf("dialling %v: %v, want success %v", ap, err, want)
				}
				if err == nil {
					s.Close()
				}
			}
		})
	}
}

func TestBadParams(t *testing.T) {
	for _, n := range []int{-1, 0, 1<<30 + 1} {
		p := transporttest.Params("127.0.0.1", transports.SealOn)
		p.MaxBody = n
		if e, err := New(t.Context(), p); err == nil {
			e.Close()
			t.Errorf("frames of %d bytes were taken", n)
		}
	}
}

func TestDialOnly(t *testing.T) {
	p := transporttest.Params("127.0.0.1", transports.SealOn)
	p.Listen = false
	e := newEnd(t, p)
	if got := e.Offer().Addrs; len(got) != 0 {
		t.Errorf("offer of an end that does not listen: %v", got)
	}
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// silentServer listens and treats every connection with do; it ends with t.
func silentServer(t *testing.T, do func(net.Conn)) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			do(c)
		}
	}()
	return sealed.AddrOf(ln.Addr())
}

// TestRace: of many addresses the one that proves itself wins, not the first
// that connects.
func TestRace(t *testing.T) {
	p := transporttest.Params("127.0.0.1", transports.SealOn)
	far := newEnd(t, p)
	p.Listen = false
	p.Timeout = patience
	near := newEnd(t, p)
	p.Timeout = 3 * time.Second
	hasty := newEnd(t, p)

	other := transporttest.Params("127.0.0.1", transports.SealOn)
	other.Secret[3]++
	tarpit := silentServer(t, func(c net.Conn) { t.Cleanup(func() { c.Close() }) })
	hangup := silentServer(t, func(c net.Conn) { c.Close() })
	chatty := silentServer(t, func(c net.Conn) {
		fmt.Fprint(c, "220 mail.example ESMTP"+strings.Repeat(" ", seal.ReplyLen))
		t.Cleanup(func() { c.Close() })
	})
	refused := netip.MustParseAddrPort("127.0.0.1:1") // no port that a system gives out

	offer := transports.Offer{Addrs: slices.Concat(
		[]netip.AddrPort{tarpit, hangup, chatty, refused}, newEnd(t, other).Offer().Addrs, far.Offer().Addrs)}
	again := time.Hour // the shortest time of dialling once more: a machine may be busy
	for label := range uint32(20) {
		start := time.Now()
		d, err := near.Dial(t.Context(), offer, label)
		if err != nil {
			t.Fatal(err)
		}
		a, err := far.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		transporttest.Exchange(t, d, a, "here we are")
		if label > 0 {
			again = min(again, time.Since(start))
		}
		d.Close()
		a.Close()
	}
	if again > 100*time.Millisecond {
		t.Errorf("dialling again took %v: the winner was not remembered", again)
	}

	offer.Addrs = offer.Addrs[:4]
	_, err := hasty.Dial(t.Context(), offer, 9)
	var de *DialError
	if !errors.As(err, &de) || len(de.Attempts) != 4 {
		t.Fatalf("no true address: %v", err)
	}
	for _, want := range []string{
		tarpit.String() + " (timed out)", hangup.String() + " (hung up without an answer)",
		chatty.String() + " (something else answers there)", refused.String() + " (refused)",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if errors.Is(err, transports.ErrAuth) {
		t.Error("ErrAuth although two addresses may work later")
	}
	_, err = near.Dial(t.Context(), transports.Offer{Addrs: []netip.AddrPort{chatty, hangup}}, 99)
	if !errors.Is(err, transports.ErrAuth) {
		t.Errorf("only strangers answer: %v, want ErrAuth", err)
	}
}

func TestWrongSecret(t *testing.T) {
	p := transporttest.Params("127.0.0.1", transports.SealOn)
	far := newEnd(t, p)
	p.Secret[0]++
	near := newEnd(t, p)
	if _, err := near.Dial(t.Context(), far.Offer(), 1); !errors.Is(err, transports.ErrAuth) {
		t.Errorf("error %v, want ErrAuth", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if s, err := far.Accept(ctx); err == nil {
		t.Errorf("the listener took stream %d", s.ID())
	}
}

// TestSelf: two ends may share a private address and a port; reaching oneself
// under it is not reaching the other.
func TestSelf(t *testing.T) {
	p := transporttest.Params("127.0.0.1", transports.SealOn)
	e, far := newEnd(t, p), newEnd(t, p)
	both := transports.Offer{Addrs: slices.Concat(e.Offer().Addrs, far.Offer().Addrs)}
	d, err := e.Dial(t.Context(), both, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Stats().Remote != far.Offer().Addrs[0] {
		t.Errorf("connected to %v, want %v", d.Stats().Remote, far.Offer().Addrs[0])
	}
}

// TestDamaged changes one byte under way.
func TestDamaged(t *testing.T) {
	for _, mode := range []transports.Seal{transports.SealOn, transports.SealAuth} {
		p := transporttest.Params("127.0.0.1", mode)
		far := newEnd(t, p)
		p.Listen = false
		near := newEnd(t, p)
		var pair [2]*net.TCPConn
		ready := make(chan struct{})
		proxy := silentServer(t, func(c net.Conn) {
			to, err := net.Dial("tcp", far.Offer().Addrs[0].String())
			if err != nil {
				t.Error(err)
				return
			}
			pair[0], pair[1] = c.(*net.TCPConn), to.(*net.TCPConn)
			close(ready)
		})
		done := make(chan struct{})
		go func() {
			defer close(done)
			<-ready
			back := make(chan struct{})
			go func() {
				defer close(back)
				_, _ = pair[0].ReadFrom(pair[1])
				pair[0].Close()
			}()
			buf, seen := make([]byte, 1000), 0
			for {
				n, err := pair[0].Read(buf)
				at := seal.HelloLen + seal.ConfirmLen + 2*(seal.PrefixLen+seal.TagLen) + 5 + 3 // in the second frame
				if seen <= at && at < seen+n {
					buf[at-seen] ^= 4
				}
				seen += n
				if _, werr := pair[1].Write(buf[:n]); err != nil || werr != nil {
					break
				}
			}
			pair[1].Close()
			<-back
		}()
		d, err := near.Dial(t.Context(), transports.Offer{Addrs: []netip.AddrPort{proxy}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		a, err := far.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		transporttest.Exchange(t, d, a, "first")
		f := transports.NewFrame(100)
		f.Resize(50)
		if err := d.Send(f); err != nil {
			t.Fatal(err)
		}
		first := a.Recv(f)
		if !errors.Is(first, transports.ErrDamaged) {
			t.Errorf("%v: %v, want ErrDamaged", mode, first)
		}
		if err := a.Recv(f); err != first {
			t.Errorf("%v: afterwards %v, want the same again", mode, err)
		}
		if err := d.Recv(f); err == nil {
			t.Errorf("%v: the other end lives on", mode)
		}
		d.Close()
		a.Close()
		<-done
	}
}

// The congestion control of a running stream can be changed, and a refusal
// leaves it usable.
func TestRetuneCongestionControl(t *testing.T) {
	ctx := t.Context()
	p := transports.Params{MaxBody: 100, Listen: true, Known: addrs("127.0.0.1")}
	a, err := New(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := New(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s, far := transporttest.Connect(t, a.(*endpoint), b.(*endpoint), 1)
	defer far.Close()
	defer s.Close()
	for _, cc := range []string{"reno", "cubic"} {
		if err := s.Retune(transports.Settings{CC: cc}); err != nil {
			t.Fatal(err)
		}
		if got := s.Stats().CC; got != cc {
			t.Errorf("congestion control %q after asking for %q", got, cc)
		}
	}
	if err := s.Retune(transports.Settings{CC: "nonesuch"}); err == nil {
		t.Error("an unknown congestion control was taken")
	}
	if got := s.Stats().CC; got != "cubic" {
		t.Errorf("congestion control %q after a refusal", got)
	}
}
