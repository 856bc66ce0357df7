package sealed

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/transporttest"
)

// testParams is an end on the loopback address host.
func testParams(host string, seal transports.Seal) transports.Params {
	return transports.Params{
		Secret: [32]byte{1, 2, 3}, Seal: seal, MaxBody: transporttest.MaxBody,
		Listen: true, Bind: netip.MustParseAddr(host),
	}
}

// bare is a wire over a connection of which nothing is known.
type bare struct{ net.Conn }

func (b bare) Write(p []byte) error {
	_, err := b.Conn.Write(p)
	return err
}

func (b bare) Read(p []byte, need int) (int, error) {
	n, err := io.ReadAtLeast(b.Conn, p, need)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

func (b bare) Blocked() (send, recv time.Duration) { return 0, 0 }
func (b bare) Info(*transports.Stats) bool         { return false }
func (b bare) Quiet() time.Duration                { return 0 }
func (b bare) Retune(transports.Settings) error    { return nil }

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
		Wire: func(c net.Conn) Wire { return bare{c} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// connected makes one stream between two ends.
func connected(t testing.TB, near, far *Endpoint, label uint32) (d, a transports.Stream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	d, err := near.Dial(ctx, far.Offer(), label)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(func() { d.Close() })
	if a, err = far.Accept(ctx); err != nil {
		t.Fatalf("Accept: %v", err)
	}
	t.Cleanup(func() { a.Close() })
	return d, a
}

// exchange proves that a stream works.
func exchange(t testing.TB, d, a transports.Stream, body string) {
	t.Helper()
	f := transports.NewFrame(transporttest.MaxBody)
	copy(f.Resize(len(body)), body)
	if err := d.Send(f); err != nil {
		t.Fatal(err)
	}
	if err := a.Recv(f); err != nil || string(f.Body()) != body {
		t.Fatalf("received %q, %v; want %q", f.Body(), err, body)
	}
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
	p := testParams("127.0.0.1", transports.SealOn)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &weary{Listener: ln}
	w.left.Store(5)
	far := endOn(t, p, w)
	d, a := connected(t, newEnd(t, p), far, 1)
	exchange(t, d, a, "after all")
}
