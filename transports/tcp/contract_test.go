package tcp

import (
	"testing"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/transporttest"
)

// newEnd is New for tests.
func newEnd(t testing.TB, p transports.Params) *endpoint {
	t.Helper()
	e, err := New(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e.(*endpoint)
}

func TestContract(t *testing.T) {
	transporttest.RunOn(t, func(t *testing.T, p transports.Params) transports.Endpoint { return newEnd(t, p) }, "127.0.0.1", "::1")
}
