package udt

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

const handshakeLen = 48

// request says what a handshake wants.
type request int32

const (
	reqClient     request = 1    // a first request; from a listener: come back with this cookie
	reqRendezvous request = 0    // a first probe of one who does not know the other
	reqConclude   request = -1   // with the cookie; from a listener: accepted; rendezvous: I heard you
	reqAgree      request = -2   // rendezvous: we are connected
	reqRefuse     request = 1002 // and above: refused, with the reason's number
	reqSecurity   request = 1004
)

const version = 4

// Socket types on the wire; the draft has 0 and 1.
const (
	typeStream   = 1
	typeMessages = 2
)

// handshake is the body of the packet that makes connections, twelve
// big-endian words:
//
//	0 version   1 type    2 first sequence number   3 MSS
//	4 window    5 request 6 sender's ID             7 cookie
//	8..11 the address of the peer as the sender sees it
type handshake struct {
	version, kind uint32
	isn           seq
	mss           int32 // bytes of a datagram with the headers of IP and UDP
	window        int32 // packets that may be on their way to the sender of this
	req           request
	id            uint32
	cookie        uint32
	addr          [16]byte // in the order of the wire; see wireAddr
}

// parseHandshake reads a handshake. Bytes behind the 48 known ones are ignored,
// as the library does outside of listeners.
func parseHandshake(body []byte) (h handshake, err error) {
	if len(body) < handshakeLen {
		return h, fmt.Errorf("%w: a handshake of %d bytes", errPacket, len(body))
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32(body[4*i:]) }
	h = handshake{
		version: word(0), kind: word(1), isn: seq(word(2)), mss: int32(word(3)), window: int32(word(4)),
		req: request(int32(word(5))), id: word(6), cookie: word(7), addr: [16]byte(body[32:handshakeLen]),
	}
	if h.isn > seqMask {
		return h, fmt.Errorf("%w: a handshake with the number %#x", errPacket, uint32(h.isn))
	}
	return h, nil
}

func (h *handshake) append(b []byte, id uint32) []byte {
	b = controlHeader(kindHandshake, 0, id).append(b)
	words := [...]uint32{
		h.version, h.kind, uint32(h.isn), uint32(h.mss), uint32(h.window), uint32(h.req), h.id, h.cookie,
	}
	for _, w := range words {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return append(b, h.addr[:]...)
}

// wireAddr gives an address as handshakes carry it: little-endian hosts swap
// the bytes of each word of it. Nobody verifies the field.
func wireAddr(a netip.Addr) (w [16]byte) {
	a = a.Unmap()
	copy(w[:], a.AsSlice())
	for i := 0; i < len(w); i += 4 {
		w[i], w[i+1], w[i+2], w[i+3] = w[i+3], w[i+2], w[i+1], w[i]
	}
	return w
}
