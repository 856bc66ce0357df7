package lab

import (
	"bytes"
	"encoding/binary"
)

// Limits of a train.
const (
	// trainMost is how many datagrams a kernel takes as one: UDP_MAX_SEGMENTS, which
	// newer ones have doubled.
	trainMost = 64
	// trainBytes is what the length field of a packet can say.
	trainBytes = 1<<16 - 1
	// virtioHeader is the length of struct virtio_net_hdr.
	virtioHeader = 10
)

// train gives how many of the first items are datagrams that can be given to a kernel as
// one: of one flow and one length, but for the last, which may be shorter. Nobody looks
// at their checksums again, so they must be those that they came with.
func train(items []item) int {
	first := items[0].p.bytes()
	at, ok := wholeDatagram(first)
	if !ok || items[0].p.bent {
		return 1
	}
	n, total := 1, len(first)
	for n < min(len(items), trainMost) {
		p := items[n].p
		b := p.bytes()
		total += len(b) - at
		if to, ok := wholeDatagram(b); !ok || p.bent || to != at || len(b) > len(first) || total > trainBytes || !sameHeads(first, b) {
			break
		}
		if n++; len(b) < len(first) {
			break
		}
	}
	return n
}

// wholeDatagram tells where a UDP datagram's payload begins, of a packet that has one and
// that is not a part of one.
func wholeDatagram(b []byte) (payload int, ok bool) {
	h, ok := parseHeader(b)
	if !ok || h.proto != protoUDP || len(b) <= h.transport+udpHeader {
		return 0, false
	}
	if b[0]>>4 == 4 {
		const fragments = 0x3fff // all of the field but "don't fragment"
		if h.transport != ipv4Header || binary.BigEndian.Uint16(b[6:])&fragments != 0 || int(binary.BigEndian.Uint16(b[2:])) != len(b) {
			return 0, false
		}
	} else if int(binary.BigEndian.Uint16(b[4:])) != len(b)-ipv6Header {
		return 0, false
	}
	udp := b[h.transport:]
	if int(binary.BigEndian.Uint16(udp[4:])) != len(udp) || udp[6] == 0 && udp[7] == 0 {
		return 0, false
	}
	return h.transport + udpHeader, true
}

// sameHeads compares the headers of two whole datagrams: all that a kernel repeats when it
// cuts a train, which is not lengths, checksums, and numbers of packets.
func sameHeads(a, b []byte) bool {
	if a[0] != b[0] {
		return false
	}
	if a[0]>>4 == 4 {
		return a[1] == b[1] && bytes.Equal(a[6:10], b[6:10]) && bytes.Equal(a[12:24], b[12:24])
	}
	return bytes.Equal(a[1:4], b[1:4]) && bytes.Equal(a[6:44], b[6:44])
}

// trainHead writes what goes before the payloads of a train, which are total bytes in all,
// and returns its length: the device's header (virtio_net_hdr) and those of IP and UDP.
// first is the first packet. The rest of the checksum of UDP is the receiving kernel's,
// which does not look at it unless it cuts the train.
func trainHead(to []byte, first []byte, total int) int {
	at, _ := wholeDatagram(first)
	udp := at - udpHeader
	clear(to[:virtioHeader])
	to[0], to[1] = 1, 5 // VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_UDP_L4
	for i, v := range []int{at, len(first) - at, udp, 6} {
		binary.NativeEndian.PutUint16(to[2+2*i:], uint16(v))
	}
	b := to[virtioHeader:][:at]
	copy(b, first)
	size := udpHeader + total
	if b[0]>>4 == 4 {
		binary.BigEndian.PutUint16(b[2:], uint16(ipv4Header+size))
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], ^onesSum(0, b[:ipv4Header]))
	} else {
		binary.BigEndian.PutUint16(b[4:], uint16(size))
	}
	binary.BigEndian.PutUint16(b[udp+4:], uint16(size))
	binary.BigEndian.PutUint16(b[udp+6:], pseudoSum(b[:udp], size))
	return virtioHeader + at
}

// pseudoSum adds what the checksum of a UDP datagram of a size covers of its IP header:
// addresses, protocol and length (RFC 768, 8200).
func pseudoSum(ip []byte, size int) uint16 {
	addresses := ip[12:] // 4 and 4 bytes at the end
	if ip[0]>>4 == 6 {
		addresses = ip[8:]
	}
	return onesSum(protoUDP+uint32(size), addresses)
}

// onesSum adds 16-bit words of an even number of bytes as the Internet checksum does
// (RFC 1071).
func onesSum(sum uint32, b []byte) uint16 {
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}
