package netsim

import (
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/gomover/gomover/internal/netx"
)

// Sizes as on Linux, in bytes, unless a comment says otherwise.
const (
	// defaultBuffer is what a datagram socket holds (net.core.rmem_default).
	defaultBuffer = 212992
	// bookkeeping is charged to a receive buffer for each datagram besides
	// what it carries. Ours: Linux charges the memory of its buffer, which
	// depends on the driver; this is on the small side.
	bookkeeping = 512
	// maxDatagram is the most that one datagram carries (RFC 768 less headers).
	maxDatagram = 65507
)

// PacketConn is a datagram socket of a [Network]. Datagrams longer than the
// network's MTU are refused with EMSGSIZE, not fragmented. What finds a full
// receive buffer is lost and counted.
type PacketConn struct {
	ends
	h      *Node
	local  bound
	remote netip.AddrPort // of a dialled socket

	// Guarded by the network's lock.
	queue           []queuedDatagram // from head on; arrived first comes first
	head            int
	queued, room    int // bytes, with bookkeeping
	sendRoom        int // bytes that may wait in the host's interface
	stats           PacketStats
	groups          []membership
	groupTTL        int
	noGroupLoopback bool
}

// queuedDatagram is a datagram in a receive buffer; p is the socket's.
type queuedDatagram struct {
	p  *parcel
	at time.Duration
}

var (
	_ netx.BatchConn = (*PacketConn)(nil)
	_ netx.GroupConn = (*PacketConn)(nil)
	_ net.Conn       = (*PacketConn)(nil)
)

// PacketStats count the datagrams of a socket.
type PacketStats struct {
	Sent, Received int64 // Received counts those that the program has read
	Dropped        int64 // found a full receive buffer
	QueueMax       int   // most bytes in the receive buffer, bookkeeping included
}

func (h *Node) listenPacket(network string, at netip.AddrPort) (*PacketConn, error) {
	h.n.lock()
	defer h.n.unlock()
	if ip := at.Addr(); !h.owns(ip) && !ip.IsMulticast() {
		return nil, bindError(network, net.UDPAddrFromAddrPort(at), syscall.EADDRNOTAVAIL)
	}
	b := bindTo(network, at)
	used := func(port uint16) bool {
		for _, o := range h.sockets[port] {
			if b.clashes(&o.local) {
				return true
			}
		}
		return false
	}
	if at.Port() == 0 {
		port, err := h.freePort(used)
		if err != nil {
			return nil, bindError(network, net.UDPAddrFromAddrPort(at), err)
		}
		b.AddrPort = netip.AddrPortFrom(at.Addr(), port)
	} else if used(at.Port()) {
		return nil, bindError(network, net.UDPAddrFromAddrPort(at), syscall.EADDRINUSE)
	}
	c := &PacketConn{h: h, local: b, room: defaultBuffer, sendRoom: defaultBuffer, groupTTL: 1}
	c.ends.init(h.n, network, c.LocalAddr(), nil)
	h.sockets[b.Port()] = append(h.sockets[b.Port()], c)
	return c, nil
}

func (h *Node) dialPacket(network string, to netip.AddrPort) (*PacketConn, error) {
	_, from := h.reach(to.Addr())
	c, err := h.listenPacket(network, netip.AddrPortFrom(from, 0))
	if err == nil {
		c.remote = to // nobody else has c yet
		c.whom.Addr = c.RemoteAddr()
	}
	return c, err
}

// LocalAddr implements net.PacketConn.
func (c *PacketConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.local.AddrPort) }

// RemoteAddr gives the peer of a dialled socket, else nil.
func (c *PacketConn) RemoteAddr() net.Addr {
	if !c.remote.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(c.remote)
}

// Stats counts what went through the socket.
func (c *PacketConn) Stats() PacketStats {
	c.h.n.lock()
	defer c.h.n.unlock()
	return c.stats
}

// Dropped counts the datagrams that found a full receive buffer.
func (c *PacketConn) Dropped() int64 { return c.Stats().Dropped }

// failTo is the error of sending to an address, or to the peer.
func (c *PacketConn) failTo(to netip.AddrPort, err error) error {
	failed := c.whom
	failed.Op, failed.Err = "write", err
	if to.IsValid() {
		failed.Addr = net.UDPAddrFromAddrPort(to)
	}
	return &failed
}

// Close implements net.PacketConn. What was sent is on its way; what was not
// read is gone.
func (c *PacketConn) Close() error {
	n := c.h.n
	n.lock()
	defer n.unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	c.shut()
	for c.head < len(c.queue) {
		n.release(c.take().p)
	}
	list := c.h.sockets[c.local.Port()]
	for i := range list {
		if list[i] == c {
			c.h.sockets[c.local.Port()] = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	return nil
}

// SetReadBuffer sets how much may wait to be read, in bytes; each datagram is
// charged some more than it carries.
func (c *PacketConn) SetReadBuffer(bytes int) error {
	c.h.n.lock()
	defer c.h.n.unlock()
	c.room = max(bytes, bookkeeping)
	return nil
}

// SetWriteBuffer sets how much may wait in the host's interface before a writer
// waits, too. It matters only for hosts with a rate of their interface.
func (c *PacketConn) SetWriteBuffer(bytes int) error {
	c.h.n.lock()
	defer c.h.n.unlock()
	c.sendRoom = max(bytes, 0)
	return nil
}

// receiveDatagram gives p to the socket that it is for.
func (h *Node) receiveDatagram(p *parcel) {
	n := h.n
	if p.from != h && n.rule("udp", p.from, h, p.dst.Port()) != nil {
		h.counters.Filtered++
		n.release(p)
		return
	}
	// A socket that is dialled to the sender goes before one that is open to
	// all, a particular address before none.
	var best *PacketConn
	rank := -1
	for _, c := range h.sockets[p.dst.Port()] {
		if !c.local.takes(p.dst.Addr()) || c.remote.IsValid() && c.remote != p.src {
			continue
		}
		r := 0
		if c.remote.IsValid() {
			r += 2
		}
		if !c.local.Addr().IsUnspecified() {
			r++
		}
		if r > rank {
			best, rank = c, r
		}
	}
	if best == nil {
		h.counters.NoSocket++
		n.release(p)
		return
	}
	best.put(p)
}

// put adds p to the receive buffer, if there is room.
func (c *PacketConn) put(p *parcel) {
	if c.queued+len(p.data)+bookkeeping > c.room {
		c.stats.Dropped++
		c.h.counters.NoRoom++
		c.h.n.release(p)
		return
	}
	c.queued += len(p.data) + bookkeeping
	c.stats.QueueMax = max(c.stats.QueueMax, c.queued)
	c.queue = append(c.queue, queuedDatagram{p, c.h.n.now})
	if len(c.queue)-c.head == 1 {
		c.read.wake()
	}
}

// take removes the first datagram of the receive buffer.
func (c *PacketConn) take() queuedDatagram {
	a := c.queue[c.head]
	c.queue[c.head] = queuedDatagram{}
	c.head++
	c.queued -= len(a.p.data) + bookkeeping
	if c.head == len(c.queue) {
		c.queue, c.head = c.queue[:0], 0
	} else if c.head >= 1024 && 2*c.head >= len(c.queue) {
		c.queue = c.queue[:copy(c.queue, c.queue[c.head:])]
		c.head = 0
	}
	return a
}

// ReadBatch implements netx.BatchConn.
func (c *PacketConn) ReadBatch(ds []netx.Datagram) (int, error) {
	n := c.h.n
	n.lock()
	defer n.unlock()
	for {
		err := c.usable(&c.read)
		switch {
		case err != nil:
			return 0, c.fail("read", err)
		case len(ds) == 0:
			return 0, nil
		case c.head == len(c.queue):
			c.read.wait(n)
			continue
		}
		i := 0
		for ; i < len(ds) && c.head < len(c.queue); i++ {
			a := c.take()
			d := &ds[i]
			d.N, d.Peer, d.Segment, d.At = copy(d.B, a.p.data), a.p.src, 0, n.epoch.Add(a.at)
			n.release(a.p)
		}
		c.stats.Received += int64(i)
		if c.head < len(c.queue) {
			c.read.wake() // another reader may go on
		}
		return i, nil
	}
}

// ReadFrom implements net.PacketConn. A datagram longer than b is cut.
func (c *PacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromUDPAddrPort is as that of net.UDPConn.
func (c *PacketConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	ds := [1]netx.Datagram{{B: b}}
	_, err := c.ReadBatch(ds[:])
	return ds[0].N, ds[0].Peer, err
}

// Read implements net.Conn.
func (c *PacketConn) Read(b []byte) (int, error) {
	n, _, err := c.ReadFromUDPAddrPort(b)
	return n, err
}

// WriteBatch implements netx.BatchConn.
func (c *PacketConn) WriteBatch(ds []netx.Datagram) (int, error) {
	c.h.n.lock()
	defer c.h.n.unlock()
	for i := range ds {
		if err := c.send(&ds[i]); err != nil {
			return i, c.failTo(ds[i].Peer, err)
		}
	}
	return len(ds), nil
}

// WriteTo implements net.PacketConn.
func (c *PacketConn) WriteTo(b []byte, to net.Addr) (int, error) {
	a, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, c.fail("write", syscall.EINVAL)
	}
	return c.WriteToUDPAddrPort(b, a.AddrPort())
}

// WriteToUDPAddrPort is as that of net.UDPConn.
func (c *PacketConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	if c.remote.IsValid() {
		return 0, c.failTo(to, net.ErrWriteToConnected)
	}
	ds := [1]netx.Datagram{{B: b, Peer: netip.AddrPortFrom(to.Addr().Unmap(), to.Port())}}
	if _, err := c.WriteBatch(ds[:]); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Write implements net.Conn; it needs a dialled socket.
func (c *PacketConn) Write(b []byte) (int, error) {
	ds := [1]netx.Datagram{{B: b}}
	if _, err := c.WriteBatch(ds[:]); err != nil {
		return 0, err
	}
	return len(b), nil
}

// send sends one entry of a batch.
func (c *PacketConn) send(d *netx.Datagram) error {
	to := d.Peer
	if c.remote.IsValid() {
		to = c.remote
	}
	segment := d.Segment
	if segment <= 0 || segment >= len(d.B) {
		segment = max(len(d.B), 1)
	}
	header := ipv4Header + udpHeader
	if to.Addr().Is6() {
		header = ipv6Header + udpHeader
	}
	host, from := c.h.reach(to.Addr())
	group := to.Addr().IsMulticast()
	switch {
	case !to.IsValid():
		return syscall.EDESTADDRREQ
	case to.Port() == 0:
		return syscall.EINVAL
	case to.Addr().Is4() && !c.local.v4 && !c.local.Addr().IsMulticast(), to.Addr().Is6() && !c.local.v6:
		return syscall.EAFNOSUPPORT
	case segment > maxDatagram || segment+header > c.h.n.topo.MTU && host != c.h:
		return syscall.EMSGSIZE
	case host == nil && !group:
		return syscall.EHOSTUNREACH
	}
	for b := d.B; ; {
		if err := c.awaitNIC(); err != nil {
			return err
		}
		p := c.h.n.newPacket()
		p.from, p.to, p.dst, p.ttl = c.h, host, to, c.groupTTL
		p.src = netip.AddrPortFrom(from, c.local.Port())
		part := b[:min(segment, len(b))]
		p.data, p.size = append(p.data, part...), len(part)+header
		c.stats.Sent++
		if group {
			c.loopBack(p)
		}
		c.h.n.send(p)
		if b = b[len(part):]; len(b) == 0 {
			return nil
		}
	}
}

// awaitNIC waits until the host's interface has room for what the socket sends.
func (c *PacketConn) awaitNIC() error {
	n := c.h.n
	for {
		err := c.usable(&c.write)
		switch {
		case err != nil:
			return err
		case c.h.nicRate == 0:
			return nil
		}
		full := time.Duration(int64(c.sendRoom) * 1e9 / int64(c.h.nicRate))
		wait := c.h.nicBusy - n.now - full
		if wait <= 0 {
			return nil
		}
		n.agenda.push(n.now+wait, wakeUp{&c.write})
		c.write.wait(n)
	}
}

// wakeUp is the event that wakes writers.
type wakeUp struct{ w *waiting }

func (u wakeUp) happen() { u.w.wake() }
