package mover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/udtstream"
	"github.com/gomover/gomover/wire"
)

// freeRange finds n ports in a row that are free for TCP and UDP.
func freeRange(t *testing.T, n int) uint16 {
	t.Helper()
search:
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		first := l.Addr().(*net.TCPAddr).Port
		l.Close()
		for port := first; port < first+n; port++ {
			at := fmt.Sprintf("127.0.0.1:%d", port)
			l, err := net.Listen("tcp", at)
			if err != nil {
				continue search
			}
			l.Close()
			c, err := net.ListenPacket("udp", at)
			if err != nil {
				continue search
			}
			c.Close()
		}
		return uint16(first)
	}
	t.Fatal("no free ports")
	return 0
}

func waysParams(lo, hi uint16) params {
	return params{secret: make([]byte, 32), tcp: true, udt: true, maxBody: 1000, listen: true,
		ports: [2]uint16{lo, hi}, bind: netip.MustParseAddr("127.0.0.1")}
}

// TestOnePort: TCP and UDP are at the first port that is free for both.
func TestOnePort(t *testing.T) {
	lo := freeRange(t, 3)
	tcp, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lo))
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", lo+1))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	far, err := newEndpoint(t.Context(), waysParams(lo, lo+2))
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if o := far.Offer().Addrs; len(o) != 1 || o[0].Port() != lo+2 {
		t.Fatalf("offer %v, want port %d", o, lo+2)
	}
	for _, way := range []string{"udt", "tcp"} {
		p := waysParams(0, 0)
		p.listen, p.udt = false, way == "udt"
		near, err := newEndpoint(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		defer near.Close()
		if o := near.Offer().Addrs; len(o) != 0 {
			t.Errorf("an end that does not listen offers %v", o)
		}
		d, err := near.Dial(t.Context(), far.Offer(), 1)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		a, err := far.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		for _, s := range []transports.Stream{d, a} {
			if got := s.Stats().Transport; got != way {
				t.Errorf("a stream by %q, want %q", got, way)
			}
		}
	}
	_, err = newEndpoint(t.Context(), waysParams(lo, lo+2))
	var f *wire.Fail
	want := fmt.Sprintf("all ports in %d-%d are in use", lo, lo+2)
	if !errors.As(err, &f) || f.Class != wire.ClassNoPath || f.Text != want || len(f.Hints) != 1 {
		t.Errorf("error %v, want %q", err, want)
	}
}

// TestAnyPort: without a range there is always a port.
func TestAnyPort(t *testing.T) {
	p := waysParams(0, 0)
	var ends []transports.Endpoint
	for range int(transports.DefaultPorts[1]-transports.DefaultPorts[0]) + 3 {
		e, err := newEndpoint(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, e)
	}
	last := ends[len(ends)-1].Offer().Addrs
	if len(last) != 1 || last[0].Port() <= transports.DefaultPorts[1] && last[0].Port() >= transports.DefaultPorts[0] {
		t.Errorf("the last of %d ends offers %v", len(ends), last)
	}
	for _, e := range ends {
		e.Close()
	}
}

// noUDP is a system that gives no UDP port: its error, and TCP.
type noUDP struct {
	netx.System
	err error
}

// ListenPacket implements netx.Network.
func (n *noUDP) ListenPacket(context.Context, string, string) (net.PacketConn, error) {
	return nil, &net.OpError{Op: "listen", Net: "udp", Err: os.NewSyscallError("socket", n.err)}
}

// TestUDPForbidden: where there is no UDP at all, data goes on by TCP, or inside ssh
// if that is not permitted, and the reason is known.
func TestUDPForbidden(t *testing.T) {
	lo := freeRange(t, 2)
	taken, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lo))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := transports.Params{Secret: [32]byte{1}, MaxBody: 1000, Listen: true, Bind: netip.MustParseAddr("127.0.0.1"),
		Ports: [2]uint16{lo, lo + 1}, Net: &noUDP{err: syscall.EPERM}}
	far, err := bothWays(t.Context(), p, udtstream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if why := far.(transports.Switcher).Reason(); why != "forbidden on this side" {
		t.Errorf("the reason is %q", why)
	}
	if o := far.Offer().Addrs; len(o) != 1 || o[0].Port() != lo+1 {
		t.Fatalf("offer %v, want port %d", o, lo+1)
	}
	p.Listen = false
	near, err := bothWays(t.Context(), p, udtstream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	d, err := near.Dial(t.Context(), far.Offer(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if way := d.Stats().Transport; way != "tcp" {
		t.Errorf("a stream by %q", way)
	}

	none, err := onlyUDT(t.Context(), p, udtstream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := none.Dial(t.Context(), far.Offer(), 2); err == nil || err.Error() != "over UDP: forbidden on this side" {
		t.Errorf("error %v", err)
	}
	if o := none.Offer().Addrs; len(o) != 0 {
		t.Errorf("an end without a port offers %v", o)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := none.Accept(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
	accepted := make(chan error)
	go func() {
		_, err := none.Accept(t.Context())
		accepted <- err
	}()
	none.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v, want net.ErrClosed", err)
	}
	p.Listen, p.Net = true, &noUDP{err: syscall.EADDRINUSE}
	for name, mk := range map[string]func(context.Context, transports.Params, udtstream.Options) (transports.Endpoint, error){"both": bothWays, "UDT": onlyUDT} {
		if _, err := mk(t.Context(), p, udtstream.Options{}); !errors.Is(err, udtstream.ErrInUse) {
			t.Errorf("%s: error %v, want ErrInUse", name, err)
		}
	}
}

// TestUDTOptions: frames and what is under way over UDT are within one bound.
func TestUDTOptions(t *testing.T) {
	for _, tt := range []struct {
		o       engine.Options
		streams int
		room    int // for each, with a window of 1 GiB
	}{
		{engine.Options{}, 2, 1 << 30},
		{engine.Options{Memory: 128 << 20, StreamsMax: 256}, 2, 64<<20 - engine.DefaultBlock},
		{engine.Options{Memory: 128 << 20, StreamsMin: 16, StreamsMax: 16}, 16, 8<<20 - engine.DefaultBlock},
		{engine.Options{Memory: 128 << 20, StreamsMin: 2, StreamsMax: 2, BlockSize: 16 << 20}, 2, 48 << 20},
		{engine.Options{Memory: 8 << 20, StreamsMin: 32, StreamsMax: 32}, 32, 64 << 10},
		{engine.Options{Memory: 128 << 20, CC: "blast=1GB"}, 1, 128<<20 - engine.DefaultBlock},
	} {
		u := udtOptions(&tt.o)
		if got := u.Room(1 << 30); got != tt.room || u.Streams != tt.streams || u.Control != tt.o.CC {
			t.Errorf("%+v: %+v with %d bytes each, want %d with %d", tt.o, u, got, tt.streams, tt.room)
		}
	}
}

// TestCheckMemory: a window that there is no memory for is refused.
func TestCheckMemory(t *testing.T) {
	j := Job{UDT: true, Window: 64 << 20, Engine: engine.Options{Memory: 128 << 20}}
	want := "--window 64M: with --memory 128M there is room for 63M in each of 2 streams over UDT"
	if err := j.CheckMemory(); err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	for _, ok := range []Job{{Window: j.Window, Engine: j.Engine}, {UDT: true, Engine: j.Engine}, {UDT: true, Window: 1 << 20, Engine: j.Engine}, {UDT: true, Window: 1 << 40}} {
		if err := ok.CheckMemory(); err != nil {
			t.Error(err)
		}
	}
}

// TestUnknownControl: a congestion control that UDT does not know is no reason to go
// another way.
func TestUnknownControl(t *testing.T) {
	for _, tcp := range []bool{true, false} {
		p := waysParams(0, 0)
		p.tcp, p.streams.Control = tcp, "vegas"
		if e, err := newEndpoint(t.Context(), p); err == nil {
			e.Close()
			t.Errorf("TCP permitted %t: an unknown congestion control was taken", tcp)
		}
	}
}

// TestOnceEach: the user hears of the same thing once, whichever way says it.
func TestOnceEach(t *testing.T) {
	var got []string
	warn := onceEach(func(s string) { got = append(got, s) })
	for _, s := range []string{"a", "b", "a"} {
		warn(s)
	}
	if fmt.Sprint(got) != "[a b]" {
		t.Errorf("said %v", got)
	}
	onceEach(nil)("nobody listens")
}

// TestPortsOf: who permits UDT alone is not told to open a port for TCP.
func TestPortsOf(t *testing.T) {
	for want, p := range map[string][2]bool{"TCP": {true, false}, "UDP": {false, true}, "TCP or UDP": {true, true}} {
		if got := portsOf(p[0], p[1]); got != want {
			t.Errorf("TCP %t, UDT %t: %q", p[0], p[1], got)
		}
	}
}
