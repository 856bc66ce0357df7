package tcpxm

import (
	"fmt"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
)

// BenchmarkGroup sends 200 MB to several receivers: sender's link 100 Mbit/s, theirs 1
// Gbit/s, RTT 20 ms. Wire is what leaves the sender, with all headers, in sizes of the
// file; goodput is from the first byte to the last receiver's last; spread is that of
// the receivers. What it must reach: 91 Mbit/s, 1%, 1.075; with losses of 1% at each
// receiver 1.12 and 1.15 times as long. docs/tcpxm.md has the figures.
func BenchmarkGroup(b *testing.B) {
	for _, tt := range []struct {
		n    int
		loss float64
	}{{1, 0}, {2, 0}, {4, 0}, {8, 0}, {16, 0}, {24, 0}, {24, 0.001}, {24, 0.01}} {
		b.Run(fmt.Sprintf("n=%d/loss=%g%%", tt.n, 100*tt.loss), func(b *testing.B) {
			for range b.N {
				x := build(b, 1, home(100), Config{Size: 200e6, Group: groupAt}, same(tt.n, line(5*ms, tt.loss)))
				x.run(120 * time.Second)
				x.all()
				low, high := 1e9, 0.0
				for i := range x.sites {
					low, high = min(low, x.goodput(i)), max(high, x.goodput(i))
				}
				b.ReportMetric(low, "Mbit/s")
				b.ReportMetric(100*(high/low-1), "%spread")
				b.ReportMetric(x.wire(), "wire")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// BenchmarkSites sends 20 MB to the ten sites of the UK e-Science table.
func BenchmarkSites(b *testing.B) {
	for range b.N {
		worst, copies := sitesOfTable(b, 100, 20e6)
		b.ReportMetric(worst, "xalone")
		b.ReportMetric(copies/float64(len(table)), "ofcopies")
		b.ReportMetric(0, "ns/op")
	}
}

// BenchmarkPartition sends 1 GB while one of eight receivers is cut off for 20 s, and
// tells how much longer it takes for the others.
func BenchmarkPartition(b *testing.B) {
	for range b.N {
		var took [2]time.Duration
		for i := range took {
			x := build(b, 1, home(100), Config{Size: 1e9, Group: groupAt}, same(8, line(5*ms, 0)))
			if i == 1 {
				x.w.At(20*time.Second, func() { x.w.Partition([]*netsim.Host{x.sites[7].host}) })
				x.w.At(40*time.Second, func() { x.w.Partition() })
			}
			x.run(300 * time.Second)
			x.all()
			for _, st := range x.sites[:7] {
				took[i] = max(took[i], st.done)
			}
		}
		b.ReportMetric(100*(took[1].Seconds()/took[0].Seconds()-1), "%longer")
		b.ReportMetric(0, "ns/op")
	}
}
