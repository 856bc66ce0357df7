package tcpxm

import (
	"net/netip"

	"github.com/gomover/gomover/internal/netx"
)

// arenaBytes is the memory that datagrams of one turn share.
const arenaBytes = 256 << 10

// datagramMax is the longest datagram that is sent or taken, in bytes.
const datagramMax = 9216

// outbox collects what is to be sent.
type outbox struct {
	ds    []netx.Datagram
	arena []byte
}

// room gives memory for a datagram, of no length.
func (o *outbox) room() []byte {
	if cap(o.arena)-len(o.arena) < datagramMax {
		o.arena = make([]byte, 0, arenaBytes)
	}
	return o.arena[len(o.arena):]
}

// push adds a datagram that was built in room.
func (o *outbox) push(b []byte, to netip.AddrPort) {
	o.arena = o.arena[:len(o.arena)+len(b)]
	o.ds = append(o.ds, netx.Datagram{B: b[:len(b):len(b)], Peer: to})
}

// reset empties the outbox after its datagrams were sent.
func (o *outbox) reset() {
	clear(o.ds)
	o.ds, o.arena = o.ds[:0], o.arena[:0]
}
