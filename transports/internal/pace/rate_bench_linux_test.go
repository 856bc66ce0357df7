package pace

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/internal/units"
)

// BenchmarkRate paces for a tenth of a second at a time and tells which share of
// the rate comes out, and of a core is used, both in per cent; docs/udp.md.
func BenchmarkRate(b *testing.B) {
	const packet, length = 1472, 100 * time.Millisecond
	for _, rate := range []units.Rate{100 * mbit, gbit, 10 * gbit, 40 * gbit} {
		for _, fine := range []bool{true, false} {
			b.Run(fmt.Sprintf("%d Mbit per s, fine %t", rate/mbit, fine), func(b *testing.B) {
				timer := NewTimer(fine)
				defer timer.Close()
				var p Pacer
				p.Set(0, rate, Quantum(rate, packet, timer.Grain()), 0)
				start, before := time.Now(), cpu(b)
				sent, wakes := 0, 0
				var now time.Duration
				for now < time.Duration(b.N)*length {
					if n := p.Budget(now) / packet * packet; n > 0 {
						p.Sent(now, n)
						sent += n
					}
					timer.Wait(p.Next(now) - now)
					wakes++
					now = time.Since(start)
				}
				b.ReportMetric(100*float64(sent)/(float64(rate)*now.Seconds()), "%rate")
				b.ReportMetric(100*(cpu(b)-before).Seconds()/now.Seconds(), "%core")
				b.ReportMetric(float64(wakes)/now.Seconds(), "wakes/s")
			})
		}
	}
}

// cpu is the time that this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
