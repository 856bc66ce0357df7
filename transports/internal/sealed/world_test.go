package sealed

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/transporttest"
)

// bare is a wire over a connection of which nothing is known.
type bare struct{ *Metered }

func (b bare) Info(*transports.Stats) bool      { return false }
func (b bare) Quiet() time.Duration             { return 0 }
func (b bare) Retune(transports.Settings) error { return nil }

// newEnd is an end over TCP connections of the loopback interface.
func newEnd(t testing.TB, p transports.Params) *Endpoint {
	t.Helper()
	if !p.Listen {
		return endOn(t, p, nil)
	}
	ln, err := net.Listen("tcp", netip.AddrPortFrom(p.Bind, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	return endOn(t, p, ln)
}

// endOn is an end that accepts what a listener does.
func endOn(t testing.TB, p transports.Params, ln net.Listener) *Endpoint {
	t.Helper()
	var dialer net.Dialer
	e, err := New(Config{
		Params: p, Listener: ln, Own: []netip.Addr{p.Bind},
		Dial: func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", to.String())
		},
		Wire: func(c net.Conn) Wire { return bare{&Metered{Conn: c}} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// weary is a listener that has no descriptors left for a while.
type weary struct {
	net.Listener
	left atomic.Int32
}

func (w *weary) Accept() (net.Conn, error) {
	if w.left.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return w.Listener.Accept()
}

func TestAcceptErrors(t *testing.T) {
	p := transporttest.Params("127.0.0.1", transports.SealOn)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &weary{Listener: ln}
	w.left.Store(5)
	far := endOn(t, p, w)
	d, a := transporttest.Connect(t, newEnd(t, p), far, 1)
	transporttest.Exchange(t, d, a, "after all")
}
