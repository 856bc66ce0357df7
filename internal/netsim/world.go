package netsim

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// World is a network in simulated time: hosts, the links between them, and a
// list of what will happen when. All of it runs in the caller's goroutine, so a
// run is a function of its seed and of what the caller does.
//
// A packet passes its sender's up link, what lies between the two hosts, and
// the receiver's down link. A World must be used by one goroutine at a time.
type World struct {
	now     time.Duration
	order   uint64
	seed    uint64
	heap    eventHeap
	hosts   []*Host
	byAddr  map[netip.Addr]*Host
	byName  map[string]*Hop
	hops    []*Hop
	groups  map[netip.Addr][]*Host // ascending by index
	free    []*packet
	capture *Capture
	split   bool
	events  int64
	mtu     int

	// Unrouted counts the packets that had no way: an unknown address, a
	// partition, or no socket at the port.
	Unrouted int64
}

// Errors of sending.
var (
	// ErrTooLong: the datagram does not fit into a packet of the world's MTU;
	// the world does not fragment.
	ErrTooLong = errors.New("datagram too long")
	// ErrInUse: the port has a socket already.
	ErrInUse = errors.New("port in use")
	// ErrClosed: the socket was closed.
	ErrClosed = errors.New("socket closed")
)

// NewWorld makes an empty network at time 0. The seed decides everything random.
func NewWorld(seed uint64) *World {
	return &World{seed: seed, mtu: 1500, byAddr: make(map[netip.Addr]*Host), byName: make(map[string]*Hop), groups: make(map[netip.Addr][]*Host)}
}

// Seed gives the seed, to be printed when a test fails.
func (w *World) Seed() uint64 { return w.seed }

// SetMTU changes the largest packet, IP header included; 1500 bytes if not set.
func (w *World) SetMTU(bytes int) { w.mtu = bytes }

// Now gives the time since the world was made.
func (w *World) Now() time.Duration { return w.now }

// Events gives the number of events so far, as a measure of work.
func (w *World) Events() int64 { return w.events }

// next numbers decisions.
func (w *World) next() uint64 {
	w.order++
	return w.order
}

// Run lets everything happen up to and including a time, or EndOfTime if that is
// earlier, which is then Now.
func (w *World) Run(until time.Duration) {
	until = min(until, EndOfTime)
	for len(w.heap) > 0 && w.heap[0].at <= until {
		w.step()
	}
	w.now = max(w.now, until)
}

// RunUntil runs until done is true, which is asked after every event, or until a
// limit of time, or EndOfTime. It reports whether done was true.
func (w *World) RunUntil(limit time.Duration, done func() bool) bool {
	limit = min(limit, EndOfTime)
	for {
		if done() {
			return true
		}
		if len(w.heap) == 0 || w.heap[0].at > limit {
			w.now = max(w.now, limit)
			return false
		}
		w.step()
	}
}

// step lets the next event happen. That of a hop is replaced by its next one,
// since most events are a hop's, and replacing is half the work.
func (w *World) step() {
	e := w.heap[0]
	w.now = e.at
	w.events++
	if h, ok := e.what.(*Hop); ok {
		p := h.line.pop()
		if h.line.len() > 0 {
			next := h.line.front()
			w.heap.replace(event{next.at, next.order, h})
		} else {
			w.heap.pop()
		}
		w.arrive(p)
		return
	}
	w.heap.pop()
	e.what.act(w, e.order)
}

// Hop is a link at its place in a world.
type Hop struct {
	name string
	link *Link
	line ring[*packet] // what is on its way, in the order of arrival
}

func (w *World) newHop(name string, p Params) (*Hop, error) {
	if w.byName[name] != nil {
		return nil, fmt.Errorf("adding link %s: there is one", name)
	}
	l, err := NewLink(SeedFor(w.seed, name), p)
	if err != nil {
		return nil, fmt.Errorf("adding link %s: %w", name, err)
	}
	h := &Hop{name: name, link: l}
	w.byName[name] = h
	w.hops = append(w.hops, h)
	return h, nil
}

// Name gives the link's name: h1.up, h1.down, h0:h1, or that of a shared link.
func (h *Hop) Name() string { return h.name }

// Link gives the link, to read its counters or to change its settings. Packets
// are offered to it by the world alone.
func (h *Hop) Link() *Link { return h.link }

func (h *Hop) act(*World, uint64) {} // step handles hops itself

// Hop gives the link with a name, or nil.
func (w *World) Hop(name string) *Hop { return w.byName[name] }

// Hops gives all links in the order in which they were added. The slice is the
// world's.
func (w *World) Hops() []*Hop { return w.hops }

// send offers a packet to the hop that is its next.
func (w *World) send(p *packet) {
	h := p.route[p.hop]
	v := h.link.Offer(w.now, p.size)
	if w.capture != nil {
		w.capture.offered(w, h, p, v)
	}
	if v.Cause != Passed {
		w.release(p)
		return
	}
	p.hop++
	if v.Copies > 1 {
		w.carry(h, w.clone(p), Verdict{At: v.At, Held: v.Held})
	}
	if v.Damage != Intact {
		p.suffer(h.link, v.Damage)
	}
	w.carry(h, p, v)
}

// carry lets a packet arrive at the end of a hop. The heap holds one event per
// hop; packets that were held back are events of their own.
func (w *World) carry(h *Hop, p *packet, v Verdict) {
	p.at, p.order = v.At, w.next()
	if v.Held {
		w.heap.push(event{p.at, p.order, p})
		return
	}
	if h.line.push(p); h.line.len() == 1 {
		w.heap.push(event{p.at, p.order, h})
	}
}

// arrive handles a packet at the end of a hop.
func (w *World) arrive(p *packet) {
	switch {
	case p.hop < len(p.route):
		if w.split && w.apart(p.from, p.to) {
			w.Unrouted++
			w.release(p)
			return
		}
		w.send(p)
	case p.group:
		w.spread(p)
	case p.corrupted:
		w.release(p) // its checksum does not fit
	case p.flow != nil:
		p.flow.arrive(p)
		w.release(p)
	default:
		w.deliver(p)
	}
}

// packet is what travels: a datagram, or a segment of a flow.
type packet struct {
	at    time.Duration
	order uint64
	route []*Hop
	hop   int
	size  int // bytes with headers
	from  *Host
	to    *Host // nil for a multicast packet before it is copied

	corrupted bool
	group     bool // multicast, before it was copied for its receivers
	mangled   bool

	// Of a datagram.
	src, dst netip.AddrPort
	payload  []byte // the packet's own

	// Of a flow.
	flow *Flow
	seg  segment
}

// suffer damages what the packet carries.
func (p *packet) suffer(l *Link, d Damage) {
	if d == Corrupted {
		p.corrupted = true
		l.FlipBit(p.payload)
		return
	}
	p.mangled = true
	l.SwapBits(p.payload)
}

// act lets a packet arrive that was held back.
func (p *packet) act(w *World, _ uint64) { w.arrive(p) }

// obtain gives an empty packet.
func (w *World) obtain() *packet {
	if n := len(w.free); n > 0 {
		p := w.free[n-1]
		w.free = w.free[:n-1]
		return p
	}
	return new(packet)
}

// release takes a packet back. What it points to stays for its next use.
func (w *World) release(p *packet) {
	p.flow, p.hop, p.corrupted, p.mangled, p.group = nil, 0, false, false, false
	p.payload = p.payload[:0]
	w.free = append(w.free, p)
}

func (w *World) clone(p *packet) *packet {
	c := w.obtain()
	payload := append(c.payload, p.payload...)
	*c = *p
	c.payload = payload
	return c
}
