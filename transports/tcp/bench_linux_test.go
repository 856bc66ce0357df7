package tcp

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/transports"
)

// benchBody was the best length of a frame of 64 KiB to 1 MiB: a tenth to a fifth
// less CPU time than with 256 KiB, sealed or not.
const benchBody = 512 << 10

// cpuSeconds is what this process has used so far.
func cpuSeconds(b *testing.B) float64 {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		b.Fatal(err)
	}
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9
}

// measure runs move, which moves b.N frames over each of n streams, and reports
// CPU seconds per 10^9 bytes, both ends together.
func measure(b *testing.B, n int, move func()) {
	b.SetBytes(int64(n) * benchBody)
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuSeconds(b)
	move()
	b.StopTimer()
	b.ReportMetric((cpuSeconds(b)-cpu)/(float64(n)*float64(b.N)*benchBody)*1e9, "cpu-s/GB")
}

// BenchmarkPlain is the bar: the same bytes over bare TCP connections.
func BenchmarkPlain(b *testing.B) {
	for _, n := range []int{1, 2} {
		b.Run(fmt.Sprintf("streams=%d", n), func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer ln.Close()
			type ends struct{ from, to net.Conn }
			var conns []ends
			for range n {
				from, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				to, err := ln.Accept()
				if err != nil {
					b.Fatal(err)
				}
				defer from.Close()
				defer to.Close()
				conns = append(conns, ends{from, to})
			}
			measure(b, n, func() {
				var wg sync.WaitGroup
				for _, c := range conns {
					wg.Go(func() {
						buf := make([]byte, benchBody)
						for range b.N {
							if _, err := c.from.Write(buf); err != nil {
								b.Error(err)
							}
						}
					})
					wg.Go(func() {
						buf := make([]byte, benchBody)
						for range b.N {
							if _, err := io.ReadFull(c.to, buf); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
			})
		})
	}
}

// BenchmarkStream supports: AES-128-GCM rather than 256 (package seal), waking
// up for whole frames (wakeFor), one write per frame.
func BenchmarkStream(b *testing.B) {
	for _, seal := range []transports.Seal{transports.SealOff, transports.SealAuth, transports.SealOn} {
		for _, n := range []int{1, 2} {
			b.Run(fmt.Sprintf("seal=%v/streams=%d", seal, n), func(b *testing.B) {
				p := testParams("127.0.0.1", seal)
				p.MaxBody = benchBody
				far := newEnd(b, p)
				p.Listen = false
				near := newEnd(b, p)
				type ends struct{ from, to transports.Stream }
				var streams []ends
				for i := range n {
					from, err := near.Dial(b.Context(), far.Offer(), uint32(i))
					if err != nil {
						b.Fatal(err)
					}
					to, err := far.Accept(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					defer from.Close()
					defer to.Close()
					streams = append(streams, ends{from, to})
				}
				measure(b, n, func() {
					var wg sync.WaitGroup
					for _, s := range streams {
						wg.Go(func() {
							f := transports.NewFrame(benchBody)
							for range b.N {
								f.Resize(benchBody)
								if err := s.from.Send(f); err != nil {
									b.Error(err)
								}
							}
						})
						wg.Go(func() {
							f := transports.NewFrame(benchBody)
							for range b.N {
								if err := s.to.Recv(f); err != nil {
									b.Error(err)
								}
							}
						})
					}
					wg.Wait()
				})
			})
		}
	}
}

// BenchmarkPaced supports wakeFor: 100 MB/s in packets of 1500 bytes, as from a
// network card of 1 Gbit/s, wake a reader thousands of times a second unless it
// says for how much. The sender's part is the same in both.
func BenchmarkPaced(b *testing.B) {
	near, far := hosts(b)
	for _, s := range []struct {
		*space
		dev string
	}{{near, "v0"}, {far, "v1"}} {
		s.run("ip link set " + s.dev + " gso_max_segs 1")
	}
	p := spaceParams("10.9.0.2")
	p.MaxBody = benchBody
	to := endIn(b, far, p)
	p.Bind = netip.MustParseAddr("10.9.0.1")
	from := endIn(b, near, p)
	d, a := connected(b, from, to, 1)
	if err := d.Retune(transports.Settings{PacingRate: 100_000_000}); err != nil {
		b.Fatal(err)
	}
	measure(b, 1, func() {
		var wg sync.WaitGroup
		wg.Go(func() {
			f := transports.NewFrame(benchBody)
			for range b.N {
				f.Resize(benchBody)
				if err := d.Send(f); err != nil {
					b.Error(err)
				}
			}
		})
		f := transports.NewFrame(benchBody)
		for range b.N {
			if err := a.Recv(f); err != nil {
				b.Error(err)
			}
		}
		wg.Wait()
	})
}
