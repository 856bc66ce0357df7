package netsim

import (
	"net/netip"
	"syscall"
)

// membership is what a socket has joined; source is invalid if anybody's
// packets are wanted.
type membership struct{ group, source netip.Addr }

// JoinGroup implements netx.GroupConn. On a host without multicast nothing will
// come.
func (c *PacketConn) JoinGroup(group, source netip.Addr) error {
	n := c.h.n
	n.lock()
	defer n.unlock()
	m := membership{group.Unmap(), source.Unmap()}
	switch {
	case !m.group.IsMulticast() || m.source.IsValid() && m.source.Is4() != m.group.Is4():
		return c.fail("join", syscall.EINVAL)
	case c.find(m) >= 0:
		return c.fail("join", syscall.EADDRINUSE)
	}
	c.groups = append(c.groups, m)
	return nil
}

// LeaveGroup implements netx.GroupConn.
func (c *PacketConn) LeaveGroup(group, source netip.Addr) error {
	n := c.h.n
	n.lock()
	defer n.unlock()
	i := c.find(membership{group.Unmap(), source.Unmap()})
	if i < 0 {
		return c.fail("leave", syscall.EADDRNOTAVAIL)
	}
	c.groups = append(c.groups[:i:i], c.groups[i+1:]...)
	return nil
}

func (c *PacketConn) find(m membership) int {
	for i := range c.groups {
		if c.groups[i] == m {
			return i
		}
	}
	return -1
}

// SetMulticastTTL implements netx.GroupConn.
func (c *PacketConn) SetMulticastTTL(ttl int) error {
	n := c.h.n
	n.lock()
	defer n.unlock()
	if ttl < 0 || ttl > 255 {
		return c.fail("set", syscall.EINVAL)
	}
	c.groupTTL = ttl
	return nil
}

// SetMulticastLoopback says whether sockets on this host that have joined a
// group receive what this socket sends to it; they do at first.
func (c *PacketConn) SetMulticastLoopback(on bool) error {
	n := c.h.n
	n.lock()
	defer n.unlock()
	c.noGroupLoopback = !on
	return nil
}

// wants tells whether a packet to a group is for this socket.
func (c *PacketConn) wants(p *parcel) bool {
	if c.local.Port() != p.dst.Port() || c.remote.IsValid() && c.remote != p.src {
		return false
	}
	if ip := c.local.Addr(); !ip.IsUnspecified() && ip != p.dst.Addr() {
		return false
	}
	for _, m := range c.groups {
		if m.group == p.dst.Addr() && (!m.source.IsValid() || m.source == p.src.Addr()) {
			return true
		}
	}
	return false
}

// joined tells whether a socket of the host wants p.
func (h *Node) joined(p *parcel) bool {
	for _, c := range h.sockets[p.dst.Port()] {
		if c.wants(p) {
			return true
		}
	}
	return false
}

// loopBack gives copies of p, which this socket sends to a group, to sockets of
// the same host.
func (c *PacketConn) loopBack(p *parcel) {
	if c.noGroupLoopback || !c.h.multicast || !c.h.joined(p) {
		return
	}
	own := p.copy()
	own.to = c.h
	c.h.n.agenda.push(c.h.n.now, own)
}

// fanOut copies p, which has left its sender's up link, to the down links of the
// hosts that have joined its group. Routers let only those packets pass whose
// time to live is long enough, and none to link-local groups.
func (n *Network) fanOut(p *parcel) {
	ip := p.dst.Addr()
	if p.from.multicast && p.ttl >= max(n.topo.MinTTL, 1) && !ip.IsLinkLocalMulticast() && !ip.IsInterfaceLocalMulticast() {
		for _, h := range n.hosts {
			if h == p.from || !h.multicast || !h.joined(p) {
				continue
			}
			c := p.copy()
			c.to, c.hop, c.hops, c.route[0] = h, 0, 1, h.down
			c.happen()
		}
	}
	n.release(p)
}

// receiveGroup gives p to all sockets that want it.
func (h *Node) receiveGroup(p *parcel) {
	if p.from != h && h.n.rule("udp", p.from, h, p.dst.Port()) != nil {
		h.counters.Filtered++
		h.n.release(p)
		return
	}
	found := false
	for _, c := range h.sockets[p.dst.Port()] {
		if c.wants(p) {
			found = true
			c.put(p.copy())
		}
	}
	if !found {
		h.counters.NoSocket++
	}
	h.n.release(p)
}
