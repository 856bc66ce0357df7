// Package netx is the door to sockets: everything that listens or dials does so
// through a [Network] value, so that a simulated network can take the system's
// place.
package netx

import (
	"context"
	"net"
)

// Network makes sockets. Implementations may be used by many goroutines.
type Network interface {
	// Listen waits for connections; network and addr as in net.Listen.
	Listen(ctx context.Context, network, addr string) (net.Listener, error)
	// Dial connects; network and addr as in net.Dial. What it returns for "udp"
	// is a [BatchConn] and a [GroupConn], too.
	Dial(ctx context.Context, network, addr string) (net.Conn, error)
	// ListenPacket opens a datagram socket: a [BatchConn] and a [GroupConn], if
	// network is "udp", "udp4" or "udp6".
	ListenPacket(ctx context.Context, network, addr string) (net.PacketConn, error)
}

// System is the operating system's network. The zero value is ready for use.
type System struct {
	// Config is used for listening, so that socket options can be set before
	// the port is bound; Dialer likewise for connections.
	Config net.ListenConfig
	Dialer net.Dialer
}

var _ Network = (*System)(nil)

// Listen implements Network.
func (s *System) Listen(ctx context.Context, network, addr string) (net.Listener, error) {
	return s.Config.Listen(ctx, network, addr)
}

// Dial implements Network. For "udp" it returns a [*UDPConn].
func (s *System) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := s.Dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if c, ok := c.(*net.UDPConn); ok {
		return newUDPConn(network, c)
	}
	return c, nil
}

// ListenPacket implements Network. For "udp" it returns a [*UDPConn].
func (s *System) ListenPacket(ctx context.Context, network, addr string) (net.PacketConn, error) {
	c, err := s.Config.ListenPacket(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if c, ok := c.(*net.UDPConn); ok {
		return newUDPConn(network, c)
	}
	return c, nil
}
