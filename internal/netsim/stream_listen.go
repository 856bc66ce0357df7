package netsim

import (
	"context"
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"
)

// backlog is how many streams may wait for Accept (net.core.somaxconn).
const backlog = 4096

// Listener waits for streams. It implements net.Listener.
type Listener struct {
	h       *Node
	network string
	local   bound

	// Guarded by the network's lock.
	closed  bool
	accept  waiting
	halfway []*Conn // answered, but not yet open
	ready   []*Conn // open, for Accept
}

var _ net.Listener = (*Listener)(nil)

func (h *Node) listenStream(network string, at netip.AddrPort) (*Listener, error) {
	h.n.lock()
	defer h.n.unlock()
	if !h.owns(at.Addr()) {
		return nil, bindError(network, net.TCPAddrFromAddrPort(at), syscall.EADDRNOTAVAIL)
	}
	b := bindTo(network, at)
	used := func(port uint16) bool {
		return slices.ContainsFunc(h.listeners[port], func(o *Listener) bool { return b.clashes(&o.local) })
	}
	if at.Port() == 0 {
		port, err := h.freePort(used)
		if err != nil {
			return nil, bindError(network, net.TCPAddrFromAddrPort(at), err)
		}
		b.AddrPort = netip.AddrPortFrom(at.Addr(), port)
	} else if used(at.Port()) {
		return nil, bindError(network, net.TCPAddrFromAddrPort(at), syscall.EADDRINUSE)
	}
	l := &Listener{h: h, network: network, local: b}
	l.accept.init(h.n)
	h.listeners[b.Port()] = append(h.listeners[b.Port()], l)
	return l, nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local.AddrPort) }

func (l *Listener) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: l.network, Addr: l.Addr(), Err: err}
}

// Accept implements net.Listener. The result is a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	n := l.h.n
	n.lock()
	defer n.unlock()
	for {
		switch {
		case l.closed:
			return nil, l.fail("accept", net.ErrClosed)
		case l.accept.expired():
			return nil, l.fail("accept", os.ErrDeadlineExceeded)
		case len(l.ready) > 0:
			c := l.ready[0]
			l.ready = l.ready[1:]
			c.listener = nil
			return c, nil
		}
		l.accept.wait(n)
	}
}

// SetDeadline bounds the waiting of Accept.
func (l *Listener) SetDeadline(t time.Time) error {
	l.h.n.lock()
	defer l.h.n.unlock()
	if l.closed {
		return l.fail("set", net.ErrClosed)
	}
	l.accept.setDeadline(t)
	return nil
}

// Close implements net.Listener. Streams that nobody has accepted are reset.
func (l *Listener) Close() error {
	n := l.h.n
	n.lock()
	defer n.unlock()
	if l.closed {
		return l.fail("close", net.ErrClosed)
	}
	l.closed = true
	l.accept.stop()
	at := l.h.listeners[l.local.Port()]
	if i := slices.Index(at, l); i >= 0 {
		l.h.listeners[l.local.Port()] = slices.Delete(slices.Clone(at), i, i+1)
	}
	for _, c := range slices.Concat(l.halfway, l.ready) {
		c.sendReset()
		c.end(net.ErrClosed)
	}
	return nil
}

// complete makes c ready for Accept.
func (l *Listener) complete(c *Conn) {
	if i := slices.Index(l.halfway, c); i >= 0 {
		l.halfway = slices.Delete(l.halfway, i, i+1)
	}
	l.ready = append(l.ready, c)
	l.accept.wake()
}

// forget is told of a stream that has ended before it could be opened. One that
// is ready stays so: the program learns of its end from it.
func (l *Listener) forget(c *Conn) {
	if i := slices.Index(l.halfway, c); i >= 0 {
		l.halfway = slices.Delete(l.halfway, i, i+1)
	}
}

// receiveSYN answers the first packet of a stream.
func (h *Node) receiveSYN(p *parcel) {
	if p.from != h {
		if r := h.n.rule("tcp", p.from, h, p.dst.Port()); r != nil {
			h.counters.Filtered++
			if r.Reject {
				h.transmit(p.dst, p.src, p.from, &segmentHead{flags: flagRST})
			}
			return
		}
	}
	var l *Listener
	for _, o := range h.listeners[p.dst.Port()] {
		if o.local.takes(p.dst.Addr()) && (l == nil || l.local.Addr().IsUnspecified()) {
			l = o
		}
	}
	if l == nil {
		h.transmit(p.dst, p.src, p.from, &segmentHead{flags: flagRST})
		return
	}
	if len(l.halfway)+len(l.ready) >= backlog {
		return // as a full backlog does: the caller tries again
	}
	c := h.newStream(l.network, p.dst, p.src, p.from)
	c.state, c.listener, c.out.edge = answering, l, p.tcp.edge
	l.halfway = append(l.halfway, c)
	c.transmit(flagSYN|flagACK, 0, nil)
	c.startClock()
}

// newStream makes one end of a stream and makes it known to the host.
func (h *Node) newStream(network string, local, remote netip.AddrPort, peer *Node) *Conn {
	c := &Conn{h: h, peer: peer, local: local, remote: remote}
	c.ends.init(h.n, network, c.LocalAddr(), c.RemoteAddr())
	c.out.room, c.in.room = streamBuffer, streamBuffer
	c.out.cwnd, c.out.ssthresh = initialSegments*float64(c.mss()), math.MaxFloat64
	c.clock.deadline, c.clock.alarm, c.clock.began = never, never, h.n.now
	h.streams[streamKey{local, remote}] = c
	return c
}

// dialStream connects to an address.
func (h *Node) dialStream(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	n := h.n
	n.lock()
	defer n.unlock()
	if to.Addr().IsUnspecified() { // means this host
		ip, _ := h.lookup("localhost", map[bool]byte{true: '6', false: '4'}[to.Addr().Is6()])
		to = netip.AddrPortFrom(ip, to.Port())
	}
	fail := func(err error) error {
		if errno := syscall.Errno(0); errors.As(err, &errno) {
			err = os.NewSyscallError("connect", errno)
		}
		return &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: err}
	}
	if err := ctx.Err(); err != nil {
		return nil, fail(err)
	}
	peer, from := h.reach(to.Addr())
	if peer == nil {
		return nil, fail(syscall.EHOSTUNREACH)
	}
	port, err := h.freePort(func(port uint16) bool {
		return len(h.listeners[port]) > 0 || h.streams[streamKey{netip.AddrPortFrom(from, port), to}] != nil
	})
	if err != nil {
		return nil, fail(err)
	}
	c := h.newStream(network, netip.AddrPortFrom(from, port), to, peer)
	stop := context.AfterFunc(ctx, func() {
		n.mu.Lock()
		c.write.wake()
		n.mu.Unlock()
	})
	defer stop()
	c.transmit(flagSYN, 0, nil)
	c.startClock()
	for c.state == dialling && ctx.Err() == nil {
		c.write.wait(n)
	}
	switch {
	case ctx.Err() != nil:
		c.abortive = true
		c.leave()
		return nil, fail(ctx.Err())
	case !c.wasOpen:
		return nil, fail(c.err)
	}
	return c, nil
}
