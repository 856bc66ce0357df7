package udtstream

import (
	"net/netip"
	"testing"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/transporttest"
)

// testParams is a listening end on the loopback address host.
func testParams(host string, seal transports.Seal) transports.Params {
	return transports.Params{
		Secret: [32]byte{1, 2, 3}, Seal: seal, MaxBody: transporttest.MaxBody,
		Listen: true, Bind: netip.MustParseAddr(host),
	}
}

// newEnd is New for tests.
func newEnd(t testing.TB, p transports.Params, o Options) *endpoint {
	t.Helper()
	e, err := New(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e.(*endpoint)
}

func TestContract(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		t.Run(host, func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T, seal transports.Seal) (a, b transports.Endpoint) {
				p := testParams(host, seal)
				b = newEnd(t, p, Options{})
				p.Listen = false
				return newEnd(t, p, Options{}), b
			})
		})
	}
}
