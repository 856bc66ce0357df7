package netx

import (
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// SetMulticastInterface chooses the interface by its name, as in net.Interface:
// what is sent to groups leaves through it, and groups are joined on it from now
// on. At first the routes choose. A zone in the address of a group goes before
// it.
func (u *UDPConn) SetMulticastInterface(name string) error {
	face, err := net.InterfaceByName(name)
	if err != nil {
		return u.fail("set", netip.AddrPort{}, err)
	}
	err = u.eachFamily(
		func(p *ipv4.PacketConn) error { return p.SetMulticastInterface(face) },
		func(p *ipv6.PacketConn) error { return p.SetMulticastInterface(face) })
	if err != nil {
		return u.fail("set", netip.AddrPort{}, err)
	}
	u.groupMu.Lock()
	defer u.groupMu.Unlock()
	u.groupFace = face
	return nil
}

// JoinGroup implements GroupConn. Errors: EADDRINUSE if that was joined before,
// ENODEV without a route to the group or an interface that was chosen, EINVAL for
// what is not a group, or a source of another family.
func (u *UDPConn) JoinGroup(group, source netip.Addr) error {
	return u.membership("join", group, source)
}

// LeaveGroup implements GroupConn. Errors: EADDRNOTAVAIL if that was not joined.
func (u *UDPConn) LeaveGroup(group, source netip.Addr) error {
	return u.membership("leave", group, source)
}

// membership joins or leaves.
func (u *UDPConn) membership(op string, group, source netip.Addr) error {
	group, source = group.Unmap(), source.Unmap()
	if !group.IsMulticast() || source.IsValid() && source.Is4() != group.Is4() {
		return u.fail(op, netip.AddrPort{}, syscall.EINVAL)
	}
	face, err := u.faceFor(group)
	if err != nil {
		return u.fail(op, netip.AddrPort{}, err)
	}
	var m memberships = ipv4.NewPacketConn(u.conn)
	if group.Is6() {
		m = ipv6.NewPacketConn(u.conn)
	}
	to, from := &net.UDPAddr{IP: group.AsSlice()}, &net.UDPAddr{IP: source.AsSlice()}
	switch {
	case op == "join" && source.IsValid():
		err = m.JoinSourceSpecificGroup(face, to, from)
	case op == "join":
		err = m.JoinGroup(face, to)
	case source.IsValid():
		err = m.LeaveSourceSpecificGroup(face, to, from)
	default:
		err = m.LeaveGroup(face, to)
	}
	if err != nil {
		return u.fail(op, netip.AddrPortFrom(group, 0), err)
	}
	return nil
}

// memberships is what the packages for both families have in common.
type memberships interface {
	JoinGroup(face *net.Interface, group net.Addr) error
	LeaveGroup(face *net.Interface, group net.Addr) error
	JoinSourceSpecificGroup(face *net.Interface, group, source net.Addr) error
	LeaveSourceSpecificGroup(face *net.Interface, group, source net.Addr) error
}

// faceFor is the interface for joining a group; nil lets the routes choose.
func (u *UDPConn) faceFor(group netip.Addr) (*net.Interface, error) {
	if zone := group.Zone(); zone != "" {
		if index, err := strconv.Atoi(zone); err == nil {
			return net.InterfaceByIndex(index)
		}
		return net.InterfaceByName(zone)
	}
	u.groupMu.Lock()
	defer u.groupMu.Unlock()
	return u.groupFace, nil
}

// SetMulticastTTL implements GroupConn, for both families.
func (u *UDPConn) SetMulticastTTL(ttl int) error {
	if ttl < 0 || ttl > 255 {
		return u.fail("set", netip.AddrPort{}, syscall.EINVAL)
	}
	err := u.eachFamily(
		func(p *ipv4.PacketConn) error { return p.SetMulticastTTL(ttl) },
		func(p *ipv6.PacketConn) error { return p.SetMulticastHopLimit(ttl) })
	if err != nil {
		return u.fail("set", netip.AddrPort{}, err)
	}
	return nil
}

// SetMulticastLoopback says whether sockets on this host that have joined a
// group receive what this socket sends to it; they do at first.
func (u *UDPConn) SetMulticastLoopback(on bool) error {
	err := u.eachFamily(
		func(p *ipv4.PacketConn) error { return p.SetMulticastLoopback(on) },
		func(p *ipv6.PacketConn) error { return p.SetMulticastLoopback(on) })
	if err != nil {
		return u.fail("set", netip.AddrPort{}, err)
	}
	return nil
}

// eachFamily sets an option for what the socket sends. A socket of both families
// has it twice, except on systems that do not let IPv6 sockets have options of
// IPv4; those need a "udp4" socket for its groups.
func (u *UDPConn) eachFamily(v4 func(*ipv4.PacketConn) error, v6 func(*ipv6.PacketConn) error) error {
	if !u.v6 {
		return v4(ipv4.NewPacketConn(u.conn))
	}
	if err := v6(ipv6.NewPacketConn(u.conn)); err != nil {
		return err
	}
	if err := v4(ipv4.NewPacketConn(u.conn)); err != nil && u.sharesOptions() {
		return err
	}
	return nil
}
