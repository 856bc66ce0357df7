package lab

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// datagram gives a packet with a payload, with all checksums, in a pool's memory.
func datagram(like []byte, payload string) item {
	b := bytes.Clone(like[:len(like)-len("data")])
	udp := len(b) - udpHeader
	b = append(b, payload...)
	if b[0]>>4 == 4 {
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], ^onesSum(0, b[:ipv4Header]))
	} else {
		binary.BigEndian.PutUint16(b[4:], uint16(len(b)-ipv6Header))
	}
	size := len(b) - udp
	binary.BigEndian.PutUint16(b[udp+4:], uint16(size))
	binary.BigEndian.PutUint16(b[udp+6:], ^checked(b[udp:], pseudoSum(b[:udp], size)))
	return item{p: &packet{body: &body{buf: append(make([]byte, headroom), b...), refs: 1}, n: len(b)}}
}

// checked adds a datagram of any length to a sum.
func checked(udp []byte, sum uint16) uint16 {
	return onesSum(uint32(sum), append(bytes.Clone(udp), make([]byte, len(udp)%2)...))
}

func TestTrain(t *testing.T) {
	full := func(n int) (l []item) {
		for i := range n {
			l = append(l, datagram(udp4, string(rune('a'+i%26))+"2345678"))
		}
		return l
	}
	change := func(it item, at int, v byte) item {
		it.p.bytes()[at] = v
		return it
	}
	bent := datagram(udp4, "datadata")
	bent.p.bent = true
	big := datagram(udp4, string(make([]byte, 30_000)))
	for _, c := range []struct {
		name  string
		items []item
		want  int
	}{
		{"one", full(1), 1},
		{"many", full(70), trainMost},
		{"a shorter one is the last", append(append(full(2), datagram(udp4, "short")), full(2)...), 3},
		{"a longer one", append(full(3), datagram(udp4, "too long for it")), 3},
		{"IPv6", []item{datagram(udp6, "one"), datagram(udp6, "two"), datagram(udp4, "two")}, 2},
		{"a damaged one", append(full(2), bent, bent), 2},
		{"begins with a damaged one", append([]item{bent}, full(2)...), 1},
		{"another port", append(full(2), change(full(1)[0], 23, 1)), 2},
		{"another sender", append(full(2), change(full(1)[0], 15, 9)), 2},
		{"another time to live", append(full(2), change(full(1)[0], 8, 9)), 2},
		{"another number", append(full(2), change(full(1)[0], 5, 9)), 3},
		{"no checksum", append(full(2), change(change(full(1)[0], 26, 0), 27, 0)), 2},
		{"a fragment", append(full(2), change(full(1)[0], 6, 0x20)), 2},
		{"a wrong length", append(full(2), change(full(1)[0], 25, 9)), 2},
		{"no datagram", []item{{p: &packet{body: &body{buf: append(make([]byte, headroom), tcp4...)}, n: len(tcp4)}}}, 1},
		{"more than a packet can be", []item{big, big, big}, 2},
	} {
		if got := train(c.items); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// TestTrainHead cuts a train as a kernel does and compares with what it was made of.
func TestTrainHead(t *testing.T) {
	for _, like := range [][]byte{udp4, udp6} {
		items := []item{datagram(like, "number one"), datagram(like, "number two"), datagram(like, "three")}
		total := 0
		for _, it := range items {
			total += len(payload(it.p.bytes()))
		}
		room := make([]byte, virtioHeader+ipv6Header+udpHeader)
		head := room[:trainHead(room, items[0].p.bytes(), total)]
		field := func(i int) int { return int(binary.NativeEndian.Uint16(head[i:])) }
		headers, size, udp := field(2), field(4), field(6)
		if head[0] != 1 || head[1] != 5 || size != len("number one") || field(8) != 6 || headers != len(head)-virtioHeader || udp != headers-udpHeader {
			t.Fatalf("the device's header is %x", head[:virtioHeader])
		}
		b := head[virtioHeader:]
		if whole, ok := parseHeader(b); !ok || whole.proto != protoUDP || b[0]>>4 == 4 && onesSum(0, b[:ipv4Header]) != 0xffff {
			t.Errorf("the header is %x", b)
		}
		if got := int(binary.BigEndian.Uint16(b[udp+4:])); got != udpHeader+total {
			t.Errorf("%d bytes with their header, want %d", got, udpHeader+total)
		}
		// A kernel begins each checksum from the train's, less the difference in length.
		sum := binary.BigEndian.Uint16(b[udp+6:])
		for _, it := range items {
			want := it.p.bytes()
			one := append(bytes.Clone(want[:udp+4]), 0, 0, 0, 0)
			one = append(one, payload(want)...)
			length := udpHeader + len(payload(want))
			binary.BigEndian.PutUint16(one[udp+4:], uint16(length))
			from := onesSum(uint32(sum)+uint32(^uint16(udpHeader+total))+uint32(length), nil)
			binary.BigEndian.PutUint16(one[udp+6:], ^checked(one[udp:], from))
			if !bytes.Equal(one, want) {
				t.Errorf("cut again it is\n%x, was\n%x", one, want)
			}
		}
	}
}
