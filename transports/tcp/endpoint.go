package tcp

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/internal/sealed"
)

// Errors of this package are those of all transports that seal connections.
var (
	// ErrInUse is in the chain of New's error when no port of the range is free.
	ErrInUse = sealed.ErrInUse
)

type (
	// DialError says that no address of an offer led to the other end.
	DialError = sealed.DialError
	// Attempt is what happened with one address.
	Attempt = sealed.Attempt
)

// endpoint implements transports.Endpoint.
type endpoint struct {
	*sealed.Endpoint
	p      transports.Params
	net    netx.Network
	system bool // net is the system's: addresses of interfaces mean something

	mu     sync.Mutex // guards warned
	warned map[string]bool
}

var _ transports.Endpoint = (*endpoint)(nil)

// New prepares one end of TCP streams. With p.Listen it listens when New
// returns; without it Accept only waits for Close. ctx bounds the preparation.
//
// Errors: ErrInUse in the chain, with the text "all ports in A-B are in use",
// when p.Ports has no free port; what the system said otherwise.
func New(ctx context.Context, p transports.Params) (transports.Endpoint, error) {
	return newEndpoint(ctx, p)
}

func newEndpoint(ctx context.Context, p transports.Params) (*endpoint, error) {
	p, err := sealed.Complete(p)
	if err != nil {
		return nil, err
	}
	var c sealed.Config
	e := &endpoint{p: p, warned: map[string]bool{}}
	e.net, e.system = e.door()
	if p.Listen {
		if c.Listener, err = e.listen(ctx); err != nil {
			return nil, err
		}
		if at := sealed.AddrOf(c.Listener.Addr()); e.system || p.Bind.IsValid() || !at.Addr().IsUnspecified() {
			c.Own = sealed.Interfaces(at, p.Bind)
		}
	}
	c.Params, c.Name, c.Silence = p, "tcp", p.Silence
	c.Dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
		return e.net.Dial(ctx, "tcp", to.String())
	}
	c.Wire = func(conn net.Conn) sealed.Wire { return newWire(conn, p.Window) }
	if e.Endpoint, err = sealed.New(c); err != nil && c.Listener != nil {
		c.Listener.Close()
	}
	if err != nil {
		return nil, err
	}
	return e, nil
}

// door returns the network to use, with our socket options if it is the
// system's.
func (e *endpoint) door() (netx.Network, bool) {
	var sys netx.System
	switch n := e.p.Net.(type) {
	case nil:
	case *netx.System:
		sys = *n
	default:
		return n, false
	}
	ka := net.KeepAliveConfig{Enable: true, Idle: sealed.Silence / 3, Interval: sealed.Silence / 6, Count: 4}
	sys.Config.SetMultipathTCP(false) // its sockets refuse some of our options
	sys.Config.KeepAliveConfig, sys.Dialer.KeepAliveConfig = ka, ka
	sys.Config.Control = chain(sys.Config.Control, e.control)
	sys.Dialer.Control = chain(sys.Dialer.Control, e.control)
	if e.p.Bind.IsValid() {
		sys.Dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(e.p.Bind, 0))
	}
	return &sys, true
}

// warn tells the user msg once.
func (e *endpoint) warn(msg string) {
	e.mu.Lock()
	known := e.warned[msg]
	e.warned[msg] = true
	e.mu.Unlock()
	if !known && e.p.Warn != nil {
		e.p.Warn(msg)
	}
}

// Listen makes the listener that New would make for p, to be given to it as
// p.On: a port can then be told to the other end before the secret is known.
// Connections wait until New runs. Errors: as New's.
func Listen(ctx context.Context, p transports.Params) (net.Listener, error) {
	e := &endpoint{p: p, warned: map[string]bool{}}
	e.net, e.system = e.door()
	return e.listen(ctx)
}

// listen takes the first free port.
func (e *endpoint) listen(ctx context.Context) (net.Listener, error) {
	if e.p.On != nil {
		return e.p.On, nil
	}
	return sealed.Listen(e.p, "tcp", func(network, addr string) (net.Listener, error) { return e.net.Listen(ctx, network, addr) })
}
