package lab

import "net/netip"

// IP protocol numbers (IANA, Protocol Numbers).
const (
	protoIGMP = 2
	protoTCP  = 6
	protoUDP  = 17
)

// Lengths of headers without options, in bytes (RFC 791, 8200, 9293, 768).
const (
	ipv4Header = 20
	ipv6Header = 40
	tcpHeader  = 20
	udpHeader  = 8
)

// headroom is the space before a packet in its buffer: 10 bytes are a device's
// own header (virtio_net_hdr), the rest aligns the packet.
const headroom = 16

// body is the memory of a packet. Copies of a packet have one in common, as long as
// nothing becomes of one of them.
type body struct {
	buf  []byte // headroom, then the packet, then unused
	refs int    // packets that have it
	free *body  // the next one that nobody has
}

// packet is one IP packet on its way between hosts.
type packet struct {
	*body
	n    int  // length of the packet
	src  int  // index of the host that sent it
	dst  int  // of the one it goes to; noHost as long as a copy for each member of group is to be made
	leg  leg  // where it is
	cast bool // it is such a copy
	bent bool // it was damaged, so its checksum may not be right
	next *packet
}

// noHost is the destination of a multicast packet before it is copied.
const noHost = -1

// leg is a part of a packet's way.
type leg uint8

// The legs, in order. On the last a packet waits to be written to its host.
const (
	onUp leg = iota
	onPath
	onDown
)

func (p *packet) bytes() []byte { return p.buf[headroom : headroom+p.n] }

// header is what the emulator wants to know of a packet.
type header struct {
	dst       netip.Addr
	ttl       byte // or hop limit
	proto     byte // of IPv6, the first next header
	transport int  // offset of what follows the IP header
}

// parseHeader reads the header of an IP packet. It reports false for what is
// none; such a packet has no destination.
func parseHeader(b []byte) (h header, ok bool) {
	if len(b) == 0 {
		return h, false
	}
	switch b[0] >> 4 {
	case 4:
		length := int(b[0]&15) * 4
		if length < ipv4Header || len(b) < length {
			return h, false
		}
		return header{netip.AddrFrom4([4]byte(b[16:20])), b[8], b[9], length}, true
	case 6:
		if len(b) < ipv6Header {
			return h, false
		}
		return header{netip.AddrFrom16([16]byte(b[24:40])), b[7], b[6], ipv6Header}, true
	}
	return h, false
}

// carried is what a packet carries behind the IP header. It is where random bits
// are flipped; the kernel notices by the checksums of TCP, UDP and ICMP.
func carried(b []byte) []byte {
	h, ok := parseHeader(b)
	if !ok {
		return nil
	}
	return b[h.transport:]
}

// payload is what a program sent: what follows the header of TCP or UDP. It
// starts at an even offset of what their checksums cover. It is empty for other
// protocols.
func payload(b []byte) []byte {
	h, ok := parseHeader(b)
	if !ok {
		return nil
	}
	b = b[h.transport:]
	length := len(b)
	switch {
	case h.proto == protoTCP && len(b) >= tcpHeader:
		length = int(b[12]>>4) * 4
	case h.proto == protoUDP && len(b) >= udpHeader:
		length = udpHeader
	}
	return b[min(length, len(b)):]
}

// sameFlow tells whether two packets may be segments of one bundle: same
// addresses, protocol and ports. It may err on the side of true.
func sameFlow(a, b []byte) bool {
	if len(a) < ipv4Header+4 || len(b) < ipv4Header+4 || a[0] != b[0] {
		return false
	}
	if a[0]>>4 == 4 {
		return a[9] == b[9] && string(a[12:24]) == string(b[12:24])
	}
	return len(a) >= ipv6Header+4 && len(b) >= ipv6Header+4 && a[6] == b[6] && string(a[8:44]) == string(b[8:44])
}

// pool keeps packets for reuse. It grows to the most that was ever under way.
// Whoever takes a packet gives it back once.
type pool struct {
	size   int     // of a buffer
	free   *packet // a list by next; these have no body
	bodies *body   // a list by free
}

// poolChunk is how many packets are allocated together.
const poolChunk = 64

// get gives a packet with a body of its own.
func (pl *pool) get() *packet {
	p := pl.head()
	p.body = pl.room()
	return p
}

func (pl *pool) head() *packet {
	if pl.free == nil {
		packets := make([]packet, poolChunk)
		for i := range packets {
			packets[i].next, pl.free = pl.free, &packets[i]
		}
	}
	p := pl.free
	pl.free = p.next
	*p = packet{}
	return p
}

func (pl *pool) room() *body {
	if pl.bodies == nil {
		block, bodies := make([]byte, poolChunk*pl.size), make([]body, poolChunk)
		for i := range bodies {
			bodies[i].buf = block[i*pl.size : (i+1)*pl.size : (i+1)*pl.size]
			bodies[i].free, pl.bodies = pl.bodies, &bodies[i]
		}
	}
	b := pl.bodies
	pl.bodies, b.free, b.refs = b.free, nil, 1
	return b
}

func (pl *pool) put(p *packet) {
	pl.drop(p.body)
	p.body = nil
	p.next, pl.free = pl.free, p
}

func (pl *pool) drop(b *body) {
	if b.refs--; b.refs == 0 {
		b.free, pl.bodies = pl.bodies, b
	}
}

// copy gives a packet that is equal to p, and shares its body.
func (pl *pool) copy(p *packet) *packet {
	q := pl.head()
	*q = *p
	q.refs++
	return q
}

// own gives p a body of its own, to be changed.
func (pl *pool) own(p *packet) {
	if p.refs == 1 {
		return
	}
	b := pl.room()
	copy(b.buf[:headroom+p.n], p.buf)
	pl.drop(p.body)
	p.body = b
}
