package netx

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// PathMTU is the size of the largest IP packet, headers included, that goes to a
// peer whole, as far as the system knows: what the first link takes, or on Linux
// less if a router has said so of late. Nothing is sent. Unit: bytes.
func (s *System) PathMTU(ctx context.Context, to netip.AddrPort) (int, error) {
	c, err := s.Dial(ctx, "udp", to.String())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	u, ok := c.(*UDPConn)
	if !ok {
		return 0, fmt.Errorf("asking for the path MTU to %s: a %T does not know", to, c)
	}
	mtu, err := u.pathMTU()
	if err != nil {
		return 0, fmt.Errorf("asking for the path MTU to %s: %w", to, err)
	}
	return mtu, nil
}

// linkMTU is the MTU of the interface with the address that packets to the peer
// leave from.
func linkMTU(from netip.Addr) (int, error) {
	faces, err := net.Interfaces()
	if err != nil {
		return 0, fmt.Errorf("listing interfaces: %w", err)
	}
	for _, f := range faces {
		addrs, err := f.Addrs()
		if err != nil {
			continue // it may have gone just now
		}
		for _, a := range addrs {
			p, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			if ip, ok := netip.AddrFromSlice(p.IP); ok && ip.Unmap() == from.Unmap().WithZone("") {
				if from.Unmap().Is4() {
					return min(f.MTU, 65535), nil // RFC 791, total length
				}
				return f.MTU, nil
			}
		}
	}
	return 0, fmt.Errorf("no interface has the address %s", from)
}
