package sealed

import (
	"net"
	"net/netip"
	"sync"
)

// A visitor is a connection whose handshake is not finished.
type visitor struct {
	conn    net.Conn
	from    netip.Prefix
	n       uint64 // number of arrival
	vouched bool   // knows the secret; not counted as a stranger
}

// A gate bounds the connections that have proved nothing. The newest is always
// let in; when there are too many, the oldest of the peer with the most of them
// goes. A flood from one address thus displaces only itself, and a true peer
// behind the same address has as long as the next max arrivals take, which is
// enough: its greeting travels right behind its connection.
type gate struct {
	max int

	mu        sync.Mutex // guards the fields below
	closed    bool
	next      uint64
	inside    map[*visitor]bool
	strangers map[netip.Prefix]int // by peer, vouched ones not counted
	total     int                  // sum of strangers
}

func newGate(max int) *gate {
	return &gate{max: max, inside: map[*visitor]bool{}, strangers: map[netip.Prefix]int{}}
}

// enter lets c in; nil after close.
func (g *gate) enter(c net.Conn, from netip.Prefix) *visitor {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	var out *visitor
	if g.total >= g.max {
		out = g.pickLocked(from)
		g.removeLocked(out)
	}
	v := &visitor{conn: c, from: from, n: g.next}
	g.next++
	g.inside[v] = true
	g.strangers[from]++
	g.total++
	g.mu.Unlock()
	if out != nil {
		out.conn.Close()
	}
	return v
}

// pickLocked finds whom to displace for a newcomer.
func (g *gate) pickLocked(newcomer netip.Prefix) *visitor {
	most := 0
	for p, n := range g.strangers {
		if p == newcomer {
			n++
		}
		most = max(most, n)
	}
	var out *visitor
	for v := range g.inside {
		n := g.strangers[v.from]
		if v.from == newcomer {
			n++
		}
		if !v.vouched && n == most && (out == nil || v.n < out.n) {
			out = v
		}
	}
	return out
}

// removeLocked takes v out of the books; false if it was out already.
func (g *gate) removeLocked(v *visitor) bool {
	if v == nil || !g.inside[v] {
		return false
	}
	delete(g.inside, v)
	if !v.vouched {
		g.uncountLocked(v)
	}
	return true
}

func (g *gate) uncountLocked(v *visitor) {
	g.total--
	if g.strangers[v.from]--; g.strangers[v.from] == 0 {
		delete(g.strangers, v.from)
	}
}

// vouch says that v knows the secret; false if it was displaced before.
func (g *gate) vouch(v *visitor) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.inside[v] {
		return false
	}
	v.vouched = true
	g.uncountLocked(v)
	return true
}

// leave ends v's visit with its connection open; false if it was closed.
func (g *gate) leave(v *visitor) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.removeLocked(v)
}

// drop ends v's visit and closes its connection.
func (g *gate) drop(v *visitor) {
	g.mu.Lock()
	g.removeLocked(v)
	g.mu.Unlock()
	v.conn.Close()
}

// shed drops the older half of the strangers.
func (g *gate) shed() {
	g.mu.Lock()
	var out []*visitor
	for left := g.total / 2; g.total > left; {
		v := g.pickLocked(netip.Prefix{})
		if !g.removeLocked(v) {
			break
		}
		out = append(out, v)
	}
	g.mu.Unlock()
	for _, v := range out {
		v.conn.Close()
	}
}

// close drops everybody.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	out := make([]*visitor, 0, len(g.inside))
	for v := range g.inside {
		out = append(out, v)
	}
	clear(g.inside)
	clear(g.strangers)
	g.total = 0
	g.mu.Unlock()
	for _, v := range out {
		v.conn.Close()
	}
}
