package lab

import (
	"bytes"
	"net/netip"
	"testing"
)

// Packets as they come from the kernel.
var (
	udp4 = append([]byte{
		0x45, 0, 0, 32, 0, 1, 0, 0, 8, 17, 0, 0, 10, 77, 0, 1, 239, 1, 2, 3,
		0x30, 0x39, 0x13, 0x89, 0, 12, 0, 0}, "data"...)
	tcp4 = append([]byte{
		0x46, 0, 0, 50, 0, 1, 0, 0, 64, 6, 0, 0, 10, 77, 0, 1, 10, 77, 0, 2, 1, 1, 1, 1, // one word of options
		0x30, 0x39, 0x13, 0x89, 0, 0, 0, 1, 0, 0, 0, 1, 0x60, 0x10, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1}, "da"...)
	udp6 = append([]byte{
		0x60, 0, 0, 0, 0, 12, 17, 9,
		0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
		0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2,
		0x30, 0x39, 0x13, 0x89, 0, 12, 0, 0}, "data"...)
)

func TestParseHeader(t *testing.T) {
	for _, c := range []struct {
		name    string
		in      []byte
		want    header
		payload string
	}{
		{"udp over IPv4", udp4, header{netip.MustParseAddr("239.1.2.3"), 8, protoUDP, 20}, "data"},
		{"tcp over IPv4 with options", tcp4, header{netip.MustParseAddr("10.77.0.2"), 64, protoTCP, 24}, "da"},
		{"udp over IPv6", udp6, header{netip.MustParseAddr("fd77::2"), 9, protoUDP, 40}, "data"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := parseHeader(c.in)
			if !ok || got != c.want {
				t.Errorf("got %+v, %v, want %+v", got, ok, c.want)
			}
			if p := payload(c.in); string(p) != c.payload {
				t.Errorf("payload is %q, want %q", p, c.payload)
			}
			for n := range len(c.in) {
				if head, ok := parseHeader(c.in[:n]); ok && n < head.transport {
					t.Errorf("%d bytes of it pass as a packet", n)
				}
			}
		})
	}
	for _, in := range [][]byte{nil, {}, {0x45}, bytes.Repeat([]byte{0x55}, 60), bytes.Repeat([]byte{0x41}, 60)} {
		if got, ok := parseHeader(in); ok {
			t.Errorf("%x passes as %+v", in, got)
		}
	}
}

func TestSameFlow(t *testing.T) {
	change := func(b []byte, i int) []byte {
		b = bytes.Clone(b)
		b[i]++
		return b
	}
	for _, c := range []struct {
		name string
		a, b []byte
		want bool
	}{
		{"itself", udp4, udp4, true},
		{"other id and length", udp4, change(change(udp4, 5), 3), true},
		{"other source", udp4, change(udp4, 15), false},
		{"other port", udp4, change(udp4, 23), false},
		{"other protocol", udp4, change(udp4, 9), false},
		{"other version", udp4, udp6, false},
		{"IPv6", udp6, udp6, true},
		{"IPv6, other destination", udp6, change(udp6, 39), false},
		{"IPv6, other port", udp6, change(udp6, 41), false},
		{"cut off", udp4, udp4[:20], false},
	} {
		if got := sameFlow(c.a, c.b); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func FuzzPacket(f *testing.F) {
	for _, b := range [][]byte{udp4, tcp4, udp6} {
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		sameFlow(a, b)
		if n := len(carried(a)); n > len(a) {
			t.Errorf("carries %d of %d bytes", n, len(a))
		}
		if len(payload(a)) > len(carried(a)) {
			t.Errorf("the payload is longer than what is carried")
		}
	})
}

func TestPoolKeepsPacketsApart(t *testing.T) {
	pl := pool{size: headroom + 100}
	seen := map[*packet]bool{}
	var all []*packet
	for range 3*poolChunk + 1 {
		p := pl.get()
		if seen[p] || len(p.buf) != pl.size {
			t.Fatalf("a packet came twice, or with %d bytes instead of %d", len(p.buf), pl.size)
		}
		seen[p] = true
		all = append(all, p)
	}
	p := all[0]
	p.n, p.src, p.dst = copy(p.buf[headroom:], "hello"), 1, 2
	q := pl.copy(p)
	if &q.buf[0] != &p.buf[0] {
		t.Error("a copy has memory of its own")
	}
	pl.own(q)
	q.bytes()[0] = 'j'
	if string(p.bytes()) != "hello" || string(q.bytes()) != "jello" || q.src != 1 || q.dst != 2 || q == p {
		t.Errorf("the copy of %q is %q from %d to %d", p.bytes(), q.bytes(), q.src, q.dst)
	}
	pl.put(q)
	if pl.get() != q {
		t.Error("a packet that was given back is not used again")
	}
}
