package netx

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkUDP moves datagrams of 1472 bytes over loopback and tells what each
// costs at both ends; the figures of docs/udp.md. One thread sends some hundreds
// and then reads them, so nothing is lost or waits. What loopback does within the
// sending call, up to the receiver's buffer, counts as sending.
func BenchmarkUDP(b *testing.B) {
	const size, round = 1472, 8 * 44
	to := func(u *UDPConn) netip.AddrPort { return at(u, "127.0.0.1") }
	one := func(a, u *UDPConn, p []byte) error {
		for len(p) > 0 {
			if _, err := a.WriteToUDPAddrPort(p[:size], to(u)); err != nil {
				return err
			}
			p = p[size:]
		}
		return nil
	}
	batch := func(count, segment int) func(a, u *UDPConn, p []byte) error {
		ds := make([]Datagram, count)
		return func(a, u *UDPConn, p []byte) error {
			for peer := to(u); len(p) > 0; {
				for i := range ds {
					n := min(segment, len(p))
					ds[i], p = Datagram{B: p[:n], Segment: size, Peer: peer}, p[n:]
				}
				if _, err := a.WriteBatch(ds); err != nil {
					return err
				}
			}
			return nil
		}
	}
	for _, bb := range []struct {
		name    string
		send    func(a, u *UDPConn, p []byte) error
		trains  bool // else single datagrams, whatever was asked
		entries int  // of a reading call; 0 for ReadFrom
		train   bool // read
	}{
		{"one per call", one, false, 0, false},
		{"sendmmsg 32, recvmmsg 32", batch(32, size), false, 32, false},
		{"GSO, one per call", batch(1, 44*size), true, 0, false},
		{"GSO, recvmmsg 32", batch(1, 44*size), true, 32, false},
		{"GSO, GRO", batch(1, 44*size), true, 1, true},
		{"GSO of 44 pieces, GRO", batch(44, size), true, 1, true},
		{"sendmmsg 8 GSO, recvmmsg 8 GRO", batch(8, 44*size), true, 8, true},
	} {
		b.Run(bb.name, func(b *testing.B) {
			a, u := listen(b, "udp4", "127.0.0.1:0"), listen(b, "udp4", "127.0.0.1:0")
			if err := u.SetReadBuffer(16 << 20); err != nil {
				b.Fatal(err)
			}
			if err := u.SetReceiveCoalescing(bb.train); err != nil {
				b.Fatal(err)
			}
			if err := u.SetReadDeadline(time.Time{}); err != nil {
				b.Fatal(err)
			}
			if !bb.trains {
				a.refuseSegmentation("none", unix.ENOTSUP)
			}
			p := make([]byte, round*size)
			ds := room(max(bb.entries, 1), CoalescedSize)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var sending, receiving time.Duration
			packets := 0
			before := cpu(b)
			b.ResetTimer()
			for ; packets < b.N; packets += round {
				start := time.Now()
				if err := bb.send(a, u, p); err != nil {
					b.Fatal(err)
				}
				middle := time.Now()
				if err := readRound(u, ds, bb.entries == 0, round); err != nil {
					b.Fatal(err)
				}
				sending, receiving = sending+middle.Sub(start), receiving+time.Since(middle)
			}
			used := cpu(b) - before
			n := float64(packets)
			b.ReportMetric(float64(sending.Nanoseconds())/n, "send-ns/packet")
			b.ReportMetric(float64(receiving.Nanoseconds())/n, "recv-ns/packet")
			b.ReportMetric(n/(sending+receiving).Seconds(), "packets/s")
			b.ReportMetric(used.Seconds()/(n*size/1e9), "cpu-s/GB")
		})
	}
}

// readRound reads so many datagrams.
func readRound(u *UDPConn, ds []Datagram, single bool, count int) error {
	for count > 0 {
		if single {
			if _, _, err := u.ReadFromUDPAddrPort(ds[0].B); err != nil {
				return err
			}
			count--
			continue
		}
		n, err := u.ReadBatch(ds)
		if err != nil {
			return err
		}
		for i := range ds[:n] {
			count -= datagrams(&ds[i])
		}
	}
	if count < 0 {
		return fmt.Errorf("%d datagrams too many", -count)
	}
	return nil
}

// datagrams is how many an entry holds.
func datagrams(d *Datagram) int {
	if d.Segment == 0 {
		return 1
	}
	return (d.N + d.Segment - 1) / d.Segment
}

// cpu is the time that this thread has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
