package netsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/internal/topology"
	"github.com/gomover/gomover/internal/units"
)

// firstEphemeral is where the ports begin that are given to those who ask for
// none, as on Linux.
const firstEphemeral = 32768

// Node is a host of a [Network]: a netx.Network whose sockets have the host's
// addresses. Its name and its addresses, and names of other hosts, can be used
// as addresses; NAME-v6 is a host's address of IP version 6.
type Node struct {
	n         *Network
	index     int
	name      string
	v4, v6    netip.Addr
	multicast bool
	nicRate   units.Rate

	// Guarded by the network's lock.
	up, down  *Link
	nicBusy   time.Duration // when the interface will have sent all it has
	sockets   map[uint16][]*PacketConn
	listeners map[uint16][]*Listener
	streams   map[streamKey]*Conn
	lastPort  uint16
	counters  NodeCounters
}

var _ netx.Network = (*Node)(nil)

// NodeCounters tell which packets reached a host in vain.
type NodeCounters struct {
	Checksum int64 // were corrupt
	Filtered int64 // were dropped by a rule
	NoSocket int64 // datagrams to a port or group that nobody listens to
	NoRoom   int64 // datagrams that found a full receive buffer
}

func (n *Network) newNode(i int) (*Node, error) {
	t := &n.topo.Hosts[i]
	h := &Node{
		n: n, index: i, name: t.Name, v4: topology.Address(i, false), v6: topology.Address(i, true),
		multicast: t.Multicast, nicRate: t.NIC, lastPort: firstEphemeral,
		sockets: make(map[uint16][]*PacketConn), listeners: make(map[uint16][]*Listener), streams: make(map[streamKey]*Conn),
	}
	var err error
	if h.up, err = n.newLink(topology.LinkID{Kind: topology.Up, Host: i}); err != nil {
		return nil, err
	}
	h.down, err = n.newLink(topology.LinkID{Kind: topology.Down, Host: i})
	return h, err
}

// Name gives the host's name.
func (h *Node) Name() string { return h.name }

// Addr gives the host's address of IP version 4, or 6.
func (h *Node) Addr(v6 bool) netip.Addr {
	if v6 {
		return h.v6
	}
	return h.v4
}

// Counters tells which packets reached the host in vain.
func (h *Node) Counters() NodeCounters {
	h.n.lock()
	defer h.n.unlock()
	return h.counters
}

// Rule drops packets at the host that they are sent to, as a firewall does.
type Rule struct {
	From    string // name of the sending host; any if empty
	To      string // name of the receiving host; any if empty
	Network string // "tcp": only new connections are dropped; "udp"; both if empty
	Port    uint16 // at the receiving host; any if 0
	Reject  bool   // refuse connections at once instead of dropping them
}

// Block puts a rule into force until the returned function is called.
func (n *Network) Block(r Rule) (lift func()) {
	n.lock()
	defer n.unlock()
	rule := &r
	n.rules = append(n.rules, rule)
	return func() {
		n.lock()
		defer n.unlock()
		for i := range n.rules {
			if n.rules[i] == rule {
				n.rules = append(n.rules[:i:i], n.rules[i+1:]...)
				return
			}
		}
	}
}

// rule gives the first rule against a packet.
func (n *Network) rule(network string, from, to *Node, port uint16) *Rule {
	for _, r := range n.rules {
		if (r.From == "" || r.From == from.name) && (r.To == "" || r.To == to.name) &&
			(r.Network == "" || r.Network == network) && (r.Port == 0 || r.Port == port) {
			return r
		}
	}
	return nil
}

// Dial implements netx.Network, for tcp and udp. A dialled datagram socket is a
// *PacketConn that receives from its peer only.
func (h *Node) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	to, err := h.resolve(network, addr)
	switch {
	case err != nil:
	case strings.HasPrefix(network, "tcp"):
		return h.dialStream(ctx, network, to)
	case strings.HasPrefix(network, "udp"):
		return h.dialPacket(network, to)
	}
	return nil, &net.OpError{Op: "dial", Net: network, Err: err}
}

// Listen implements netx.Network, for tcp.
func (h *Node) Listen(_ context.Context, network, addr string) (net.Listener, error) {
	at, err := h.resolve(network, addr)
	if err == nil && !strings.HasPrefix(network, "tcp") {
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return h.listenStream(network, at)
}

// ListenPacket implements netx.Network, for udp. The result is a *PacketConn. A
// socket bound to a group's address receives what is sent to that group only,
// and shares its port with others like it.
func (h *Node) ListenPacket(_ context.Context, network, addr string) (net.PacketConn, error) {
	at, err := h.resolve(network, addr)
	if err == nil && !strings.HasPrefix(network, "udp") {
		err = net.UnknownNetworkError(network)
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	return h.listenPacket(network, at)
}

// resolve reads an address as net.Dial would. An empty host is the unspecified
// address.
func (h *Node) resolve(network, addr string) (netip.AddrPort, error) {
	switch network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
	default:
		return netip.AddrPort{}, net.UnknownNetworkError(network)
	}
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return netip.AddrPort{}, &net.AddrError{Err: "invalid port", Addr: addr}
	}
	ip, err := h.lookup(host, network[len(network)-1])
	if err != nil {
		return netip.AddrPort{}, err
	}
	if v := network[len(network)-1]; v == '4' && !ip.Is4() || v == '6' && !ip.Is6() {
		return netip.AddrPort{}, &net.AddrError{Err: "no suitable address found", Addr: host}
	}
	return netip.AddrPortFrom(ip, uint16(port)), nil
}

// lookup gives the address of a name or literal; version is '4', '6', or another
// character for both.
func (h *Node) lookup(host string, version byte) (netip.Addr, error) {
	switch host {
	case "":
		if version == '4' {
			return netip.IPv4Unspecified(), nil
		}
		return netip.IPv6Unspecified(), nil
	case "localhost":
		if version == '6' {
			return netip.IPv6Loopback(), nil
		}
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.Unmap().WithZone(""), nil
	}
	name, v6 := strings.CutSuffix(host, "-v6")
	if to := h.n.Node(host); to != nil {
		return to.Addr(version == '6'), nil
	}
	if to := h.n.Node(name); to != nil && v6 {
		return to.v6, nil
	}
	return netip.Addr{}, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// reach gives the host that has an address, and the address that packets to it
// come from; nil if there is none.
func (h *Node) reach(ip netip.Addr) (to *Node, from netip.Addr) {
	if ip.IsLoopback() {
		return h, ip
	}
	from = h.Addr(ip.Is6())
	for _, o := range h.n.hosts {
		if ip == o.v4 || ip == o.v6 {
			return o, from
		}
	}
	return nil, from
}

// owns tells whether a socket of this host may be bound to an address.
func (h *Node) owns(ip netip.Addr) bool {
	return ip.IsUnspecified() || ip.IsLoopback() || ip == h.v4 || ip == h.v6
}

// bound is the local side of a socket.
type bound struct {
	netip.AddrPort
	v4, v6 bool // which versions it serves
}

func bindTo(network string, at netip.AddrPort) bound {
	b := bound{AddrPort: at, v4: at.Addr().Is4(), v6: at.Addr().Is6()}
	if v := network[len(network)-1]; at.Addr().IsUnspecified() && v != '4' && v != '6' {
		b.v4, b.v6 = true, true
	}
	return b
}

// takes tells whether what is sent to ip reaches the socket.
func (b *bound) takes(ip netip.Addr) bool {
	if b.Addr().IsUnspecified() {
		return ip.Is4() && b.v4 || ip.Is6() && b.v6
	}
	return b.Addr() == ip
}

// clashes tells whether two sockets of one port cannot both be open.
func (b *bound) clashes(o *bound) bool {
	if b.Addr().IsMulticast() && o.Addr().IsMulticast() {
		return false
	}
	if b.Addr().IsUnspecified() || o.Addr().IsUnspecified() {
		return b.v4 && o.v4 || b.v6 && o.v6
	}
	return b.Addr() == o.Addr()
}

var errNoPort = errors.New("all ports are in use")

// freePort gives a port that used does not know.
func (h *Node) freePort(used func(uint16) bool) (uint16, error) {
	for range 65536 - firstEphemeral {
		if h.lastPort++; h.lastPort < firstEphemeral {
			h.lastPort = firstEphemeral
		}
		if !used(h.lastPort) {
			return h.lastPort, nil
		}
	}
	return 0, errNoPort
}

// bindError is what listening on an address ends with.
func bindError(network string, at net.Addr, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = os.NewSyscallError("bind", errno)
	}
	return &net.OpError{Op: "listen", Net: network, Addr: at, Err: err}
}

// String gives the host's name and address.
func (h *Node) String() string { return fmt.Sprintf("%s (%v)", h.name, h.v4) }
