package transporttest

import (
	"context"
	"net/netip"
	"testing"

	"github.com/gomover/gomover/transports"
)

// Params are those of an end that listens at the address host of this machine. Ends
// made with them belong to one job.
func Params(host string, seal transports.Seal) transports.Params {
	return transports.Params{
		Secret: [32]byte{1, 2, 3}, Seal: seal, MaxBody: MaxBody,
		Listen: true, Bind: netip.MustParseAddr(host),
	}
}

// RunOn runs the contract over the addresses hosts of this machine: with an end that
// listens there, and one that only dials. mk makes an end, as New of a transport.
func RunOn(t *testing.T, mk func(t *testing.T, p transports.Params) transports.Endpoint, hosts ...string) {
	for _, host := range hosts {
		t.Run(host, func(t *testing.T) {
			Run(t, func(t *testing.T, seal transports.Seal) (a, b transports.Endpoint) {
				p := Params(host, seal)
				b = mk(t, p)
				p.Listen = false
				return mk(t, p), b
			})
		})
	}
}

// Connect makes one stream from near to far: the dialler's side and the listener's.
func Connect(t testing.TB, near, far transports.Endpoint, label uint32) (d, a transports.Stream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
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

// Exchange proves that a stream works: what d sends, a receives.
func Exchange(t testing.TB, d, a transports.Stream, body string) {
	t.Helper()
	f := transports.NewFrame(MaxBody)
	copy(f.Resize(len(body)), body)
	if err := d.Send(f); err != nil {
		t.Fatal(err)
	}
	if err := a.Recv(f); err != nil || string(f.Body()) != body {
		t.Fatalf("received %q, %v; want %q", f.Body(), err, body)
	}
}
