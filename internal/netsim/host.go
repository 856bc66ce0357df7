package netsim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Sizes of headers in bytes (RFC 791, 8200, 768).
const (
	ipv4Header = 20
	ipv6Header = 40
	udpHeader  = 8
)

// firstPort is where ports begin that a host gives by itself (RFC 6335, 6).
const firstPort = 49152

// Host is a host of a world.
type Host struct {
	w      *World
	name   string
	index  int
	addrs  []netip.Addr
	up     *Hop
	down   *Hop
	routes [][]*Hop // by index of the other host
	// The ways of a multicast packet: until it is copied, and of a copy.
	groupUp, groupDown []*Hop
	sockets            map[uint16]*Socket
	port               uint16
	side               int // of a partition
}

// AddHost adds a host with its access link. Its addresses are those given;
// without any, the next of 10.77.0.1 to 10.77.255.254, as in the lab.
//
// Errors: a name or address that is taken, settings that Params.Validate
// refuses.
func (w *World) AddHost(name string, up, down Params, addrs ...netip.Addr) (*Host, error) {
	n := len(w.hosts) + 1
	if len(addrs) == 0 {
		addrs = []netip.Addr{netip.AddrFrom4([4]byte{10, 77, byte(n >> 8), byte(n)})}
	}
	for _, a := range addrs {
		if w.byAddr[a] != nil {
			return nil, fmt.Errorf("adding host %s: address %v is taken", name, a)
		}
	}
	h := &Host{w: w, name: name, index: n - 1, addrs: addrs, sockets: make(map[uint16]*Socket)}
	var err error
	if h.up, err = w.newHop(name+".up", up); err != nil {
		return nil, err
	}
	if h.down, err = w.newHop(name+".down", down); err != nil {
		return nil, err
	}
	h.groupUp, h.groupDown = []*Hop{h.up}, []*Hop{h.down}
	w.hosts = append(w.hosts, h)
	for _, a := range addrs {
		w.byAddr[a] = h
	}
	return h, nil
}

// AddLink adds a link that routes can lead over; see Route.
func (w *World) AddLink(name string, p Params) (*Hop, error) { return w.newHop(name, p) }

// Route makes packets from one host to another pass links between the up and
// the down link. Links may be shared by many pairs. The other direction is a
// route of its own; the way is direct if there is none. Packets of groups do
// not use it.
func (w *World) Route(from, to *Host, via ...*Hop) {
	from.grow(to.index)
	r := append([]*Hop{from.up}, via...)
	from.routes[to.index] = append(r, to.down)
}

// Hosts gives all hosts in the order in which they were added. The slice is the
// world's.
func (w *World) Hosts() []*Host { return w.hosts }

// Partition lets only hosts of the same set reach each other; hosts in no set
// form one together. It replaces an earlier partition; without sets all hosts
// reach each other again. What is behind its up link when the partition comes
// is stopped, too, unless it has reached its receiver's down link.
func (w *World) Partition(sets ...[]*Host) {
	for _, h := range w.hosts {
		h.side = 0
	}
	for i, set := range sets {
		for _, h := range set {
			h.side = i + 1
		}
	}
	w.split = len(sets) > 0
}

func (h *Host) grow(index int) {
	for len(h.routes) <= index {
		h.routes = append(h.routes, nil)
	}
}

// route gives the way to another host.
func (h *Host) route(to *Host) []*Hop {
	if to.index >= len(h.routes) || h.routes[to.index] == nil {
		h.w.Route(h, to)
	}
	return h.routes[to.index]
}

// Name gives the host's name.
func (h *Host) Name() string { return h.name }

// Addr gives the host's first address.
func (h *Host) Addr() netip.Addr { return h.addrs[0] }

// Up gives the link from the host.
func (h *Host) Up() *Hop { return h.up }

// Down gives the link to the host.
func (h *Host) Down() *Hop { return h.down }

// Datagram is what a socket sends and receives.
type Datagram struct {
	Src, Dst netip.AddrPort
	Payload  []byte // lent by the caller, in both directions
	// Mangled: damage that no checksum noticed happened on the way. For tests,
	// which want to know what they feed to a receiver.
	Mangled bool
}

// Handler is called in the world's goroutine for each datagram that arrives. It
// may send, set timers, and close sockets.
type Handler func(now time.Duration, d Datagram)

// Socket is a datagram socket of a host.
type Socket struct {
	host   *Host
	local  netip.AddrPort
	handle Handler
	groups []netip.Addr
	closed bool
}

// Listen opens a datagram socket at a port of the host; 0 takes a free one. The
// handler may be nil in a socket that only sends.
//
// Errors: ErrInUse.
func (h *Host) Listen(port uint16, handle Handler) (*Socket, error) {
	if port == 0 {
		for range 1 << 14 {
			if port = firstPort + h.port; h.sockets[port] == nil {
				break
			}
			h.port = (h.port + 1) % (1 << 14)
		}
	}
	if h.sockets[port] != nil {
		return nil, fmt.Errorf("opening port %d of %s: %w", port, h.name, ErrInUse)
	}
	s := &Socket{host: h, local: netip.AddrPortFrom(h.Addr(), port), handle: handle}
	h.sockets[port] = s
	return s, nil
}

// LocalAddr gives the socket's address, with the host's first one.
func (s *Socket) LocalAddr() netip.AddrPort { return s.local }

// Close frees the port and leaves all groups. What is on its way to the socket
// is dropped when it arrives.
func (s *Socket) Close() {
	if s.closed {
		return
	}
	s.closed = true
	delete(s.host.sockets, s.local.Port())
	for len(s.groups) > 0 {
		s.Leave(s.groups[0])
	}
}

// Join lets the socket receive what is sent to a multicast group at its port.
func (s *Socket) Join(group netip.Addr) {
	if s.closed || !group.IsMulticast() || slices.Contains(s.groups, group) {
		return
	}
	s.groups = append(s.groups, group)
	l := s.host.w.groups[group]
	i, found := slices.BinarySearchFunc(l, s.host.index, func(h *Host, index int) int { return h.index - index })
	if !found {
		s.host.w.groups[group] = slices.Insert(l, i, s.host)
	}
}

// Leave ends Join. The host stays a member while another of its sockets is one.
func (s *Socket) Leave(group netip.Addr) {
	s.groups = slices.DeleteFunc(s.groups, func(g netip.Addr) bool { return g == group })
	for _, o := range s.host.sockets {
		if slices.Contains(o.groups, group) {
			return
		}
	}
	l := s.host.w.groups
	l[group] = slices.DeleteFunc(l[group], func(h *Host) bool { return h == s.host })
}

// Send sends a datagram now; the payload is copied. It goes through the up link
// like everything of the host, and is dropped there if the link's queue is full.
// One to a group passes that link once, and is then copied to the down link of
// every other host that has joined.
//
// Errors: ErrTooLong; ErrClosed. An address nobody has is no error, as on a real
// network.
func (s *Socket) Send(dst netip.AddrPort, payload []byte) error {
	w := s.host.w
	size := len(payload) + udpHeader + ipv4Header
	if dst.Addr().Is6() {
		size += ipv6Header - ipv4Header
	}
	switch {
	case s.closed:
		return fmt.Errorf("sending from %v to %v: %w", s.local, dst, ErrClosed)
	case size > w.mtu:
		return fmt.Errorf("sending %d bytes to %v: %w", len(payload), dst, ErrTooLong)
	}
	p := w.obtain()
	p.payload = append(p.payload, payload...)
	p.src, p.dst, p.size, p.from = s.local, dst, size, s.host
	if dst.Addr().IsMulticast() {
		p.group, p.to, p.route = true, nil, s.host.groupUp
	} else if p.to = w.byAddr[dst.Addr()]; p.to != nil {
		p.route = s.host.route(p.to)
	} else {
		w.Unrouted++
		w.release(p)
		return nil
	}
	w.send(p)
	return nil
}

// SendBatch sends several datagrams to one address at one instant, and gives
// the number sent. Errors: those of Send, for the first that fails.
func (s *Socket) SendBatch(dst netip.AddrPort, payloads ...[]byte) (int, error) {
	for i, b := range payloads {
		if err := s.Send(dst, b); err != nil {
			return i, err
		}
	}
	return len(payloads), nil
}

// spread copies a multicast packet for the members of its group.
func (w *World) spread(p *packet) {
	for _, h := range w.groups[p.dst.Addr()] {
		switch {
		case h == p.from:
			continue
		case w.apart(p.from, h):
			w.Unrouted++
			continue
		}
		c := w.clone(p)
		c.group, c.to, c.hop, c.route = false, h, 0, h.groupDown
		w.send(c)
	}
	w.release(p)
}

func (w *World) apart(a, b *Host) bool { return w.split && a.side != b.side }

// deliver gives a datagram to its socket.
func (w *World) deliver(p *packet) {
	s := p.to.sockets[p.dst.Port()]
	if s == nil || p.dst.Addr().IsMulticast() && !slices.Contains(s.groups, p.dst.Addr()) {
		w.Unrouted++
	} else if s.handle != nil {
		if w.capture != nil {
			w.capture.delivered(w, p)
		}
		s.handle(w.now, Datagram{Src: p.src, Dst: p.dst, Payload: p.payload, Mangled: p.mangled})
	}
	w.release(p)
}
