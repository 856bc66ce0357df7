package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/seal"
)

// ErrInUse is in the chain of New's error when no port of the range is free.
var ErrInUse = errors.New("in use")

// Constants of our choice.
const (
	// defaultTimeout bounds one connection attempt with its handshake.
	defaultTimeout = 5 * time.Second
	// helloTimeout bounds a caller's handshake at the listener. A true dialler
	// sends its hello together with the end of TCP's own handshake.
	helloTimeout = 5 * time.Second
	// maxMaxBody keeps every length of a record within 32 bits, signed, and far
	// below what one call of a cipher may protect.
	maxMaxBody = 1 << 30
	// maxReady is how many accepted streams may wait for Accept. More than a
	// job has streams; an end beyond it misbehaves and is cut off.
	maxReady = 512
	// silence is how long a path may leave sent data without any answer before
	// the stream is given up; see watch in stream.go.
	silence = 30 * time.Second
)

// endpoint implements transports.Endpoint.
type endpoint struct {
	p      transports.Params
	net    netx.Network
	system bool // net is the system's: addresses of interfaces mean something
	guard  *seal.Guard
	offer  transports.Offer
	ln     net.Listener // nil when this end only dials
	gate   *gate
	ready  chan transports.Stream // never closed; life ends its readers
	life   context.Context        // ends with Close, so that calls can follow it
	end    context.CancelCauseFunc
	tasks  sync.WaitGroup // accept loop and handshakes
	once   sync.Once
	silent time.Duration

	mu      sync.Mutex              // guards the fields below
	winners map[netip.AddrPort]bool // addresses which answered a Dial as this job's
	warned  map[string]bool
}

var _ transports.Endpoint = (*endpoint)(nil)

// New prepares one end of TCP streams. With p.Listen it listens when New
// returns; without it Accept only waits for Close. ctx bounds the preparation.
//
// Errors: ErrInUse in the chain, with the text "all ports in A-B are in use",
// when p.Ports has no free port; what the system said otherwise.
func New(ctx context.Context, p transports.Params) (transports.Endpoint, error) {
	if p.MaxBody <= 0 || p.MaxBody > maxMaxBody {
		return nil, fmt.Errorf("preparing TCP streams for frames of %d bytes: must be 1 to %d", p.MaxBody, maxMaxBody)
	}
	if !p.IPv4 && !p.IPv6 {
		p.IPv4, p.IPv6 = true, true
	}
	if p.Timeout <= 0 {
		p.Timeout = defaultTimeout
	}
	p.Bind = p.Bind.Unmap()
	guard, err := seal.NewGuard(p.Secret, p.Seal)
	if err != nil {
		return nil, err
	}
	e := &endpoint{
		p: p, guard: guard, silent: silence,
		gate:    newGate(maxStrangers),
		ready:   make(chan transports.Stream, maxReady),
		winners: map[netip.AddrPort]bool{},
		warned:  map[string]bool{},
	}
	e.life, e.end = context.WithCancelCause(context.WithoutCancel(ctx))
	e.net, e.system = e.door()
	if p.Listen {
		if e.ln, err = e.listen(ctx); err != nil {
			e.end(err)
			return nil, err
		}
		e.offer = e.makeOffer()
		e.tasks.Go(e.acceptLoop)
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
	ka := net.KeepAliveConfig{Enable: true, Idle: silence / 3, Interval: silence / 6, Count: 4}
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
	if !p.IPv4 && !p.IPv6 {
		p.IPv4, p.IPv6 = true, true
	}
	e := &endpoint{p: p, warned: map[string]bool{}}
	e.net, e.system = e.door()
	return e.listen(ctx)
}

// listen takes the first free port.
func (e *endpoint) listen(ctx context.Context) (net.Listener, error) {
	if e.p.On != nil {
		return e.p.On, nil
	}
	network := "tcp"
	switch {
	case !e.p.IPv6:
		network = "tcp4"
	case !e.p.IPv4:
		network = "tcp6"
	}
	host := ""
	if e.p.Bind.IsValid() {
		host = e.p.Bind.String()
	}
	ports, only := e.p.Ports, true
	if ports == [2]uint16{} {
		ports, only = transports.DefaultPorts, false
	}
	for port := int(ports[0]); port <= int(ports[1]); port++ {
		ln, err := e.net.Listen(ctx, network, net.JoinHostPort(host, strconv.Itoa(port)))
		if err == nil {
			return ln, nil
		}
		if !inUse(err) {
			return nil, fmt.Errorf("listening for data connections: %w", err)
		}
	}
	if only {
		return nil, fmt.Errorf("all ports in %d-%d are %w", ports[0], ports[1], ErrInUse)
	}
	ln, err := e.net.Listen(ctx, network, net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fmt.Errorf("listening for data connections: %w", err)
	}
	return ln, nil
}

// Offer implements transports.Endpoint.
func (e *endpoint) Offer() transports.Offer { return e.offer }

// Accept implements transports.Endpoint.
func (e *endpoint) Accept(ctx context.Context) (transports.Stream, error) {
	select {
	case <-e.life.Done():
		return nil, fmt.Errorf("accepting a data connection: %w", net.ErrClosed)
	default:
	}
	select {
	case s := <-e.ready:
		return s, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("accepting a data connection: %w", context.Cause(ctx))
	case <-e.life.Done():
		return nil, fmt.Errorf("accepting a data connection: %w", net.ErrClosed)
	}
}

// Close implements transports.Endpoint. Streams that nobody accepted are
// closed; those handed out live on.
func (e *endpoint) Close() error {
	var err error
	e.once.Do(func() {
		e.end(net.ErrClosed)
		if e.ln != nil {
			err = e.ln.Close()
		}
		e.gate.close()
	})
	e.tasks.Wait()
	for {
		select {
		case s := <-e.ready:
			s.Close()
		default:
			return err
		}
	}
}
