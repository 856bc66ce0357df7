package netsim

import (
	"net/netip"
	"time"
)

// parcel is an IP packet under way: it passes the links of its route one after
// the other and then arrives. It is its own event.
type parcel struct {
	n        *Network
	from, to *Node // to is nil for a group
	src, dst netip.AddrPort
	size     int // bytes with all headers
	route    [3]*Link
	hop      int  // links of the route that were passed
	hops     int  // links of the route
	ttl      int  // of a packet to a group
	corrupt  bool // a bit is flipped: the receiver's checksum fails

	// A datagram, if tcp is nil. It has data of its own.
	data []byte
	tcp  *segmentHead
}

// newPacket gives an empty packet.
func (n *Network) newPacket() *parcel {
	if last := len(n.free) - 1; last >= 0 {
		p := n.free[last]
		n.free = n.free[:last]
		return p
	}
	return &parcel{n: n}
}

// release takes back a packet that nobody needs any longer.
func (n *Network) release(p *parcel) {
	if len(n.free) < maxFree {
		*p = parcel{n: n, data: p.data[:0]}
		n.free = append(n.free, p)
	}
}

// copy gives another packet like p.
func (p *parcel) copy() *parcel {
	c := p.n.newPacket()
	data := append(c.data[:0], p.data...)
	*c = *p
	c.data = data
	return c
}

// send lets p, with source and destination, leave its host.
func (n *Network) send(p *parcel) {
	if p.to == p.from {
		n.agenda.push(n.now, p)
		return
	}
	p.route[0], p.hops = p.from.up, 1
	if p.to != nil {
		if path := n.paths[[2]int{p.from.index, p.to.index}]; path != nil {
			p.route[p.hops] = path
			p.hops++
		}
		p.route[p.hops] = p.to.down
		p.hops++
	}
	if at := p.from.throughNIC(n.now, p.size); at > n.now {
		n.agenda.push(at, p)
		return
	}
	p.happen()
}

// happen implements due: p is at the next link of its route, or at its end.
func (p *parcel) happen() {
	n := p.n
	if p.hop == p.hops {
		n.arrive(p)
		return
	}
	l := p.route[p.hop]
	p.hop++
	v := l.Offer(n.now, p.size)
	if v.Cause != Passed {
		n.release(p)
		return
	}
	switch v.Damage {
	case Corrupted:
		p.corrupt = true
	case Mangled:
		p.mangle(l)
	}
	if v.Copies == 2 {
		n.agenda.push(v.At, p.copy())
	}
	n.agenda.push(v.At, p)
}

// mangle damages what p carries such that no checksum notices.
func (p *parcel) mangle(l *Link) {
	if p.tcp == nil {
		l.SwapBits(p.data)
		return
	}
	// The sender still has the segment's data, and copies share its head.
	head := *p.tcp
	head.data = append([]byte(nil), head.data...)
	l.SwapBits(head.data)
	p.tcp = &head
}

// arrive gives p to the host at the end of its route, or to those of its group.
func (n *Network) arrive(p *parcel) {
	switch {
	case p.to == nil:
		n.fanOut(p)
	case p.corrupt:
		p.to.counters.Checksum++
		n.release(p)
	case p.tcp != nil:
		p.to.receiveSegment(p)
		n.release(p)
	case p.dst.Addr().IsMulticast():
		p.to.receiveGroup(p)
	default:
		p.to.receiveDatagram(p)
	}
}

// throughNIC is when a packet of size bytes has left the interface that it was
// given at time now.
func (h *Node) throughNIC(now time.Duration, size int) time.Duration {
	rate := int64(h.nicRate)
	if rate == 0 {
		return now
	}
	h.nicBusy = max(h.nicBusy, now) + time.Duration(int64(size)*1e9/rate)
	return h.nicBusy
}
