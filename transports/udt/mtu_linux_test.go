package udt

import (
	"sync"
	"testing"

	"github.com/gomover/gomover/internal/netx"
)

// TestFindMTUOnLoopback: sockets of the system do what the search needs.
func TestFindMTUOnLoopback(t *testing.T) {
	for network, at := range map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0", "udp": "[::1]:0"} {
		l, err := Listen(t.Context(), &netx.System{}, network, at, Config{FindMTU: true})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			c, err := l.AcceptContext(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			echo(t, c)
		})
		c, err := Dial(t.Context(), &netx.System{}, network, l.Addr().String(), Config{FindMTU: true})
		if err != nil {
			t.Fatal(err)
		}
		want := noise(6, 4<<20)
		for range 4 {
			exchange(t, c, want)
		}
		headers := 28 + headerLen
		if network != "udp4" {
			headers += 20
		}
		if st := c.Stats(); st.Full != mostMTU-headers || st.Shrunk > 0 {
			t.Errorf("%s: packets of %d bytes, want %d; %+v", network, st.Full, mostMTU-headers, st)
		}
		if err := c.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
		wg.Wait()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}
