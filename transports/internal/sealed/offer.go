package sealed

import (
	"net"
	"net/netip"
	"slices"

	"github.com/gomover/gomover/transports"
)

// maxAddrs bounds an offer. Source: transports.Offer.
const maxAddrs = 32

// Interfaces gives the addresses at which a listener at the local address at can
// be reached, as far as this machine knows: bind, if it is valid; at itself; or,
// when it is unspecified, those of all interfaces that are up.
func Interfaces(at netip.AddrPort, bind netip.Addr) []netip.Addr {
	switch {
	case bind.IsValid():
		return []netip.Addr{bind}
	case at.Addr().IsValid() && !at.Addr().IsUnspecified():
		return []netip.Addr{at.Addr()}
	}
	return interfaceAddrs()
}

// candidates orders, filters and bounds the addresses of an offer: known ones
// first, then own with public ones before private ones; loopback only where a
// known address says that the other end is on this host, or for want of others.
func candidates(p transports.Params, own []netip.Addr, port uint16) []netip.AddrPort {
	own = slices.Clone(own)
	slices.SortStableFunc(own, func(a, b netip.Addr) int { return rank(a) - rank(b) })
	near := slices.ContainsFunc(p.Known, func(a netip.Addr) bool { return a.Unmap().IsLoopback() })
	var list, last []netip.AddrPort
	for i, a := range slices.Concat(p.Known, own) {
		a = a.Unmap()
		ap := netip.AddrPortFrom(a, port)
		if !usable(a) || !permitted(p, a) || slices.Contains(list, ap) || slices.Contains(last, ap) {
			continue
		}
		if a.IsLoopback() && i >= len(p.Known) && !near {
			last = append(last, ap)
			continue
		}
		list = append(list, ap)
	}
	if len(list) == 0 {
		list = last
	}
	return list[:min(len(list), maxAddrs)]
}

// rank puts addresses that work from far away first.
func rank(a netip.Addr) int {
	switch {
	case a.IsLoopback():
		return 2
	case a.IsPrivate():
		return 1
	}
	return 0
}

// usable says whether a can be dialled from another host, or this one. A
// link-local address without zone cannot, and a zone means nothing elsewhere.
func usable(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && (a.IsGlobalUnicast() || a.IsLoopback())
}

// permitted says whether p allows the family of a.
func permitted(p transports.Params, a netip.Addr) bool {
	if p.Bind.IsValid() && p.Bind.Is4() != a.Is4() {
		return false
	}
	if a.Is4() {
		return p.IPv4
	}
	return p.IPv6
}

// interfaceAddrs lists the addresses of the interfaces which are up.
func interfaceAddrs() []netip.Addr {
	ifs, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var list []netip.Addr
	for _, i := range ifs {
		if i.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				list = append(list, ip.Unmap())
			}
		}
	}
	return list
}
