package transporttest

import (
	"fmt"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/transports"
)

// cpuSeconds is what this process has used so far.
func cpuSeconds(b *testing.B) float64 {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		b.Fatal(err)
	}
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9
}

// Measure runs move, which moves b.N frames of body bytes over each of n streams,
// and reports CPU seconds per 10^9 bytes, both ends together.
func Measure(b *testing.B, n, body int, move func()) {
	b.SetBytes(int64(n) * int64(body))
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuSeconds(b)
	move()
	b.StopTimer()
	b.ReportMetric((cpuSeconds(b)-cpu)/(float64(n)*float64(b.N)*float64(body))*1e9, "cpu-s/GB")
}

// Benchmark moves frames of body bytes over one stream and over two of the ends that
// mk makes, as for RunOn, with every protection.
func Benchmark(b *testing.B, body int, mk func(b *testing.B, p transports.Params) transports.Endpoint) {
	for _, seal := range []transports.Seal{transports.SealOff, transports.SealAuth, transports.SealOn} {
		for _, n := range []int{1, 2} {
			b.Run(fmt.Sprintf("seal=%v/streams=%d", seal, n), func(b *testing.B) {
				p := Params("127.0.0.1", seal)
				p.MaxBody = body
				far := mk(b, p)
				p.Listen = false
				near := mk(b, p)
				var streams [][2]transports.Stream
				for i := range n {
					d, a := Connect(b, near, far, uint32(i))
					streams = append(streams, [2]transports.Stream{d, a})
				}
				Measure(b, n, body, func() {
					var wg sync.WaitGroup
					for _, s := range streams {
						wg.Go(func() { sendFrames(b, s[0], body) })
						wg.Go(func() { recvFrames(b, s[1], body) })
					}
					wg.Wait()
				})
			})
		}
	}
}

func sendFrames(b *testing.B, s transports.Stream, body int) {
	f := transports.NewFrame(body)
	for range b.N {
		f.Resize(body)
		if err := s.Send(f); err != nil {
			b.Error(err)
			return
		}
	}
}

func recvFrames(b *testing.B, s transports.Stream, body int) {
	f := transports.NewFrame(body)
	for range b.N {
		if err := s.Recv(f); err != nil {
			b.Error(err)
			return
		}
	}
}
