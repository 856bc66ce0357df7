package mover

import (
	"context"
	"net"
	"net/netip"
)

// wayTo is the interface of the way to an address, "" if that is not known.
func wayTo(ctx context.Context, a netip.Addr) string {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", netip.AddrPortFrom(a, 9).String()) // sends nothing
	if err != nil {
		return ""
	}
	defer conn.Close()
	at, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return ""
	}
	return faceOf(at.AddrPort().Addr().Unmap())
}

// faceOf is the interface that has an address, "" if none has.
func faceOf(a netip.Addr) string {
	faces, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, f := range faces {
		addrs, err := f.Addrs()
		if err != nil {
			continue
		}
		for _, x := range addrs {
			if n, ok := x.(*net.IPNet); ok {
				if b, ok := netip.AddrFromSlice(n.IP); ok && b.Unmap() == a {
					return f.Name
				}
			}
		}
	}
	return ""
}
