package tcp

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/transporttest"
)

// benchBody was the best length of a frame of 64 KiB to 1 MiB: a tenth to a fifth
// less CPU time than with 256 KiB, sealed or not.
const benchBody = 512 << 10

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
			transporttest.Measure(b, n, benchBody, func() {
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
	transporttest.Benchmark(b, benchBody, func(b *testing.B, p transports.Params) transports.Endpoint { return newEnd(b, p) })
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
	d, a := transporttest.Connect(b, from, to, 1)
	if err := d.Retune(transports.Settings{PacingRate: 100_000_000}); err != nil {
		b.Fatal(err)
	}
	transporttest.Measure(b, 1, benchBody, func() {
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
