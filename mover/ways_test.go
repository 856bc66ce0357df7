package mover

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/gomover/gomover/transports"
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
