package netsim

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/internal/netx"
)

// TestPacketsPerSecond prints how many datagrams a second of real time carries
// through two links and two sockets, in batches of 32. A benchmark cannot run in
// a bubble. The bound only catches what makes tests useless: some 240,000 are
// expected on an idle machine, and a quarter of that under the race detector.
func TestPacketsPerSecond(t *testing.T) {
	const count, batch = 20_000, 32
	for _, tt := range []struct{ name, link string }{
		{"unlimited", `, "link": {"delay": "10ms"}`},
		{"1gbit", `, "link": {"rate": "1gbit", "delay": "10ms", "queue": "1GB"}`},
	} {
		rate := 0.0
		for range 5 { // the best of them: a machine may have much else to do
			start := time.Now()
			synctest.Test(t, func(t *testing.T) {
				n := build(t, "", tt.link, tt.link)
				a, b := socket(t, n, "h0", ":0"), socket(t, n, "h1", ":2000")
				b.SetReadBuffer(1 << 30)
				done := make(chan int)
				go func() {
					ds := make([]netx.Datagram, 64)
					for i := range ds {
						ds[i].B = make([]byte, 1500)
					}
					got := 0
					for got < count {
						m, err := b.ReadBatch(ds)
						if err != nil {
							break
						}
						got += m
					}
					done <- got
				}()
				ds := make([]netx.Datagram, batch)
				for i := range ds {
					ds[i] = netx.Datagram{B: make([]byte, 1472), Peer: at(n, "h1", 2000)}
				}
				for range count / batch {
					if _, err := a.WriteBatch(ds); err != nil {
						t.Fatal(err)
					}
					time.Sleep(batch * 12 * time.Microsecond)
				}
				if got := <-done; got != count {
					t.Errorf("%s: %d datagrams came, want %d", tt.name, got, count)
				}
			})
			if rate = max(rate, count/time.Since(start).Seconds()); rate >= 5000 {
				break
			}
		}
		t.Logf("%s: %.0f datagrams per second", tt.name, rate)
		if rate < 5000 {
			t.Errorf("%s: only %.0f datagrams per second", tt.name, rate)
		}
	}
}
