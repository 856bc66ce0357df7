package sealed

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// Constants of our choice.
const (
	// maxStrangers bounds the connections that have proved nothing yet. A
	// quarter of it lost true diallers to a flood of 10,000 connections a second
	// from their own address; descriptors are commonly limited to 1,024.
	maxStrangers = 256
	// minBackoff and maxBackoff bound the pause after a failed accept, such as
	// one for lack of descriptors.
	minBackoff = 5 * time.Millisecond
	maxBackoff = 500 * time.Millisecond
)

// acceptLoop takes connections until the listener is closed.
func (e *Endpoint) acceptLoop() {
	pause := minBackoff
	for {
		c, err := e.c.Listener.Accept()
		switch {
		case err == nil:
			pause = minBackoff
		case errors.Is(err, net.ErrClosed):
			return
		default:
			// Out of descriptors or memory: make room at the cost of those
			// who have proved nothing, and go on.
			e.gate.shed()
			if !e.sleep(pause) {
				return
			}
			pause = min(2*pause, maxBackoff)
			continue
		}
		v := e.gate.enter(c, peerOf(c))
		if v == nil {
			c.Close()
			return
		}
		e.arrived.Go(func() { e.welcome(c, v) })
	}
}

// sleep waits for d; false when the endpoint was closed.
func (e *Endpoint) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-e.life.Done():
		return false
	}
}

// welcome does the listener's part of the handshake. A caller that cannot prove
// anything is dropped without a byte and without a word to anybody.
func (e *Endpoint) welcome(c net.Conn, v *visitor) {
	if c.SetDeadline(time.Now().Add(helloTimeout)) != nil {
		e.gate.drop(v)
		return
	}
	caller, err := e.guard.Hear(c)
	if err != nil {
		e.gate.drop(v)
		return
	}
	// From here on the visitor cannot be displaced by strangers: its greeting
	// was made with the secret and was never seen before. It must not be
	// answered earlier, or it could take a lost place for a stream.
	if !e.gate.vouch(v) {
		return
	}
	if caller.Answer(c) != nil {
		e.gate.drop(v)
		return
	}
	prot, err := caller.Await(c)
	if err != nil || c.SetDeadline(time.Time{}) != nil {
		e.gate.drop(v)
		return
	}
	if !e.gate.leave(v) {
		return
	}
	e.arrived.Put(e.newStream(c, prot))
}

// peerOf is the part of the other end's address that one party controls: a
// whole IPv4 address, the network half of an IPv6 address.
func peerOf(c net.Conn) netip.Prefix {
	a := AddrOf(c.RemoteAddr()).Addr().Unmap()
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// AddrOf is a's address and port, or zero where it has none.
func AddrOf(a net.Addr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	default:
		var err error
		if ap, err = netip.ParseAddrPort(a.String()); err != nil {
			return netip.AddrPort{}
		}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
