package udt

import (
	"net/netip"

	"github.com/gomover/gomover/internal/netx"
)

// arenaBytes is the memory that control packets of one turn share.
const arenaBytes = 16 << 10

// outbox collects what is to be sent. What data packets point to stays as it is
// until the connection is told of the next packet.
type outbox struct {
	ds      []netx.Datagram
	arena   []byte
	packets int // data packets
}

// room gives memory for a control packet, to be filled by appending and handed
// to push.
func (o *outbox) room() []byte {
	if cap(o.arena)-len(o.arena) < defaultMSS {
		o.arena = make([]byte, 0, arenaBytes)
	}
	return o.arena[len(o.arena):]
}

// push adds a control packet that was built in room.
func (o *outbox) push(b []byte, to netip.AddrPort) {
	if len(o.arena)+len(b) <= cap(o.arena) {
		o.arena = o.arena[:len(o.arena)+len(b)]
	}
	o.ds = append(o.ds, netx.Datagram{B: b[:len(b):len(b)], Peer: to})
}

// data adds data packets that lie side by side.
func (o *outbox) data(b []byte, segment, n int, to netip.AddrPort) {
	if n == 1 {
		segment = 0
	}
	o.ds = append(o.ds, netx.Datagram{B: b, Segment: segment, Peer: to})
	o.packets += n
}

// reset empties the outbox after its datagrams were sent.
func (o *outbox) reset() {
	clear(o.ds)
	o.ds, o.arena, o.packets = o.ds[:0], o.arena[:0], 0
}
