package udt

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes on the wire, in bytes.
const (
	headerLen    = 16
	udpAllowance = 28 // IP and UDP headers, for IPv6 as well (20 too few)
	minMSS       = udpAllowance + handshakeLen
	maxMSS       = 65535
	defaultMSS   = 1500
)

// kind is the type of a control packet.
type kind uint16

const (
	kindHandshake kind = 0
	kindKeepAlive kind = 1
	kindAck       kind = 2
	kindNak       kind = 3
	kindWarning   kind = 4
	kindShutdown  kind = 5
	kindAck2      kind = 6
	kindDrop      kind = 7
	kindError     kind = 8
	kindUser      kind = 0x7fff
)

const controlBit = 1 << 31

// errPacket is in the chain of every error about a packet's contents.
var errPacket = errors.New("malformed packet")

// header is the first 16 bytes of every packet, four big-endian words:
//
//	data     0 | sequence number 31    FF 2 | O 1 | message 29    time    ID
//	control  1 | type 15 | extended 16        information         time    ID
//
// time is in microseconds, ID that of the receiver's socket. Source: the
// draft's section 3.
type header struct {
	w0, w1   uint32
	time, id uint32
}

// parseHeader splits a datagram. body is a part of b.
func parseHeader(b []byte) (h header, body []byte, err error) {
	if len(b) < headerLen {
		return h, nil, fmt.Errorf("%w: %d bytes are no header", errPacket, len(b))
	}
	h.w0 = binary.BigEndian.Uint32(b)
	h.w1 = binary.BigEndian.Uint32(b[4:])
	h.time = binary.BigEndian.Uint32(b[8:])
	h.id = binary.BigEndian.Uint32(b[12:])
	return h, b[headerLen:], nil
}

func (h header) control() bool { return h.w0&controlBit != 0 }

// seq is valid in a data packet.
func (h header) seq() seq { return seq(h.w0) & seqMask }

// msg is valid in a data packet.
func (h header) msg() msgWord { return msgWord(h.w1) }

// kind is valid in a control packet.
func (h header) kind() kind { return kind(h.w0 >> 16 & 0x7fff) }

// extended is valid in a control packet: 0 but for kinds of our own.
func (h header) extended() uint16 { return uint16(h.w0) }

func dataHeader(s seq, m msgWord, time, id uint32) header {
	return header{uint32(s & seqMask), uint32(m), time, id}
}

// controlHeader leaves the time 0, as the library does.
func controlHeader(k kind, info, id uint32) header {
	return header{controlBit | uint32(k)<<16, info, 0, id}
}

// put writes the header to the first 16 bytes of b.
func (h header) put(b []byte) {
	binary.BigEndian.PutUint32(b, h.w0)
	binary.BigEndian.PutUint32(b[4:], h.w1)
	binary.BigEndian.PutUint32(b[8:], h.time)
	binary.BigEndian.PutUint32(b[12:], h.id)
}

func (h header) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, h.w0)
	b = binary.BigEndian.AppendUint32(b, h.w1)
	b = binary.BigEndian.AppendUint32(b, h.time)
	return binary.BigEndian.AppendUint32(b, h.id)
}

// appendEmpty appends a control packet without contents. The four bytes of
// padding are the library's; others look for them.
func appendEmpty(b []byte, k kind, info, id uint32) []byte {
	return append(controlHeader(k, info, id).append(b), 0, 0, 0, 0)
}

// Lengths of the body of an acknowledgement, in bytes.
const (
	ackLight  = 4
	ackMedium = 16
	ackFull   = 24
)

// ack is an acknowledgement.
type ack struct {
	sub  uint32 // sub-sequence, 0 in a light one
	form int    // ackLight, ackMedium or ackFull: which fields below there are

	next        seq    // all before it have arrived
	rtt, rttVar uint32 // microseconds, as the receiver knows them
	free        uint32 // packets that still fit behind next
	speed       uint32 // packets per second that arrive, 0 if unknown
	capacity    uint32 // packets per second of the narrowest link
}

// parseAck reads an acknowledgement. A body of 4 bytes is a light one whatever
// the header says; one longer than 16 bytes must be full.
func parseAck(h header, body []byte) (a ack, err error) {
	a.sub = h.w1
	word := func(i int) uint32 { return binary.BigEndian.Uint32(body[4*i:]) }
	switch n := len(body); {
	case n == ackLight:
		a.form = ackLight
	case n == ackMedium:
		a.form = ackMedium
	case n >= ackFull:
		a.form = ackFull
		a.speed, a.capacity = word(4), word(5)
	default:
		return a, fmt.Errorf("%w: an ACK of %d bytes", errPacket, n)
	}
	a.next = seq(word(0))
	if a.next > seqMask {
		return a, fmt.Errorf("%w: an ACK of number %#x", errPacket, a.next)
	}
	if a.form != ackLight {
		a.rtt, a.rttVar, a.free = word(1), word(2), word(3)
	}
	return a, nil
}

func (a ack) append(b []byte, id uint32) []byte {
	b = controlHeader(kindAck, a.sub, id).append(b)
	words := [...]uint32{uint32(a.next), a.rtt, a.rttVar, a.free, a.speed, a.capacity}
	for _, w := range words[:a.form/4] {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

// seqRange is packets by their numbers, both included.
type seqRange struct{ first, last seq }

// parseNak reads a loss list: single numbers, and ranges whose first word has
// the top bit set. It appends to to, which is returned.
//
// Ranges may pass the end of the numbers; one that runs backwards, one without
// its end, and bytes that are no word are errors.
func parseNak(to []seqRange, body []byte) ([]seqRange, error) {
	if len(body) == 0 || len(body)%4 != 0 {
		return to, fmt.Errorf("%w: a loss list of %d bytes", errPacket, len(body))
	}
	for len(body) > 0 {
		w := binary.BigEndian.Uint32(body)
		body = body[4:]
		first := seq(w) & seqMask
		if w&controlBit == 0 {
			to = append(to, seqRange{first, first})
			continue
		}
		if len(body) == 0 {
			return to, fmt.Errorf("%w: a loss list with half a range", errPacket)
		}
		w = binary.BigEndian.Uint32(body)
		body = body[4:]
		if last := seq(w); last <= seqMask && !last.less(first) {
			to = append(to, seqRange{first, last})
			continue
		}
		return to, fmt.Errorf("%w: a loss list with a range from %d to %#x", errPacket, first, w)
	}
	return to, nil
}

// appendRange appends a range to a loss list: one word, or two.
func appendRange(b []byte, r seqRange) []byte {
	if r.first == r.last {
		return binary.BigEndian.AppendUint32(b, uint32(r.first))
	}
	b = binary.BigEndian.AppendUint32(b, controlBit|uint32(r.first))
	return binary.BigEndian.AppendUint32(b, uint32(r.last))
}

// drop asks the receiver to give up a message.
type drop struct {
	msg msgNo
	seqRange
}

func parseDrop(h header, body []byte) (d drop, err error) {
	if len(body) < 8 {
		return d, fmt.Errorf("%w: a drop request of %d bytes", errPacket, len(body))
	}
	d.msg = msgWord(h.w1).number()
	first, last := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
	d.first, d.last = seq(first)&seqMask, seq(last)&seqMask
	if (first|last)&controlBit != 0 || d.last.less(d.first) {
		return d, fmt.Errorf("%w: a drop request from %#x to %#x", errPacket, first, last)
	}
	return d, nil
}

func (d drop) append(b []byte, id uint32) []byte {
	b = controlHeader(kindDrop, uint32(d.msg), id).append(b)
	b = binary.BigEndian.AppendUint32(b, uint32(d.first))
	return binary.BigEndian.AppendUint32(b, uint32(d.last))
}

// appendUser appends a packet of the congestion controls. The body becomes
// words on the wire; a rest of less than a word stays as it is.
func appendUser(b []byte, id uint32, body []byte) []byte {
	h := controlHeader(kindUser, 0, id)
	return append(h.append(b), body...)
}
