package sealed

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/internal/arrivals"
	"github.com/gomover/gomover/transports/seal"
)

// Constants of our choice.
const (
	// defaultTimeout bounds one connection attempt with its handshake.
	defaultTimeout = 5 * time.Second
	// helloTimeout bounds a caller's handshake at the listener. A true dialler
	// sends its hello together with the end of the connection's own handshake.
	helloTimeout = 7 * time.Second
	// maxMaxBody keeps every length of a record within 32 bits, signed, and far
	// below what one call of a cipher may protect.
	maxMaxBody = 1 << 30
	// Silence is how long a path may leave sent data without any answer before
	// a stream is given up, unless Config says otherwise.
	Silence = 30 * time.Second
)

// Config is what an end is made of. All functions may be called at the same time.
type Config struct {
	// Params are the transport's. What concerns sockets does not matter here: Net,
	// Listen, On, Ports, Window, CC, DSCP and Warn.
	Params transports.Params
	// Listener gives connections to this end; nil: it only dials. The endpoint
	// takes it over. What it accepts must have a remote address.
	Listener net.Listener
	// Own are the addresses at which Listener can be reached, beside
	// Params.Known; see [Interfaces].
	Own []netip.Addr
	// Dial makes a connection within ctx.
	Dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Wire gives the way bytes go over a connection.
	Wire func(conn net.Conn) Wire
	// Name is the transport's, for Stats.
	Name string
	// Silence: see the constant; 0 is that.
	Silence time.Duration
}

// Endpoint implements transports.Endpoint.
type Endpoint struct {
	c       Config
	p       transports.Params
	guard   *seal.Guard
	offer   transports.Offer
	gate    *gate
	arrived *arrivals.Queue // by accept loop and handshakes
	life    context.Context // ends with Close, so that calls can follow it

	mu      sync.Mutex              // guards the fields below
	winners map[netip.AddrPort]bool // addresses which answered a Dial as this job's
	heard   time.Time               // when an address was last connected to
}

var _ transports.Endpoint = (*Endpoint)(nil)

// Complete fills in what p leaves open. Errors: frames of an impossible length.
func Complete(p transports.Params) (transports.Params, error) {
	if p.MaxBody <= 0 || p.MaxBody > maxMaxBody {
		return p, fmt.Errorf("preparing streams for frames of %d bytes: must be 1 to %d", p.MaxBody, maxMaxBody)
	}
	if !p.IPv4 && !p.IPv6 {
		p.IPv4, p.IPv6 = true, true
	}
	if p.Timeout <= 0 {
		p.Timeout = defaultTimeout
	}
	p.Bind = p.Bind.Unmap()
	return p, nil
}

// New makes an end out of connections. It accepts them when it returns. Errors:
// those of Complete; then the listener is still the caller's.
func New(c Config) (*Endpoint, error) {
	p, err := Complete(c.Params)
	if err != nil {
		return nil, err
	}
	guard, err := seal.NewGuard(p.Secret, p.Seal)
	if err != nil {
		return nil, err
	}
	if c.Silence <= 0 {
		c.Silence = Silence
	}
	e := &Endpoint{
		c: c, p: p, guard: guard,
		gate:    newGate(maxStrangers),
		arrived: arrivals.New(),
		winners: map[netip.AddrPort]bool{},
	}
	e.life = e.arrived.Life()
	if c.Listener != nil {
		e.offer = transports.Offer{Addrs: candidates(p, c.Own, AddrOf(c.Listener.Addr()).Port())}
		e.arrived.Go(e.acceptLoop)
	}
	return e, nil
}

// Offer implements transports.Endpoint.
func (e *Endpoint) Offer() transports.Offer { return e.offer }

// Heard tells when an address that was dialled last answered so far that there was
// a connection; zero: none has. Whose it is was not proved then, but something gets
// through. Any goroutine may call it.
func (e *Endpoint) Heard() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heard
}

// Accept implements transports.Endpoint.
func (e *Endpoint) Accept(ctx context.Context) (transports.Stream, error) {
	return e.arrived.Accept(ctx)
}

// Close implements transports.Endpoint. Streams that nobody accepted are
// closed; those handed out live on.
func (e *Endpoint) Close() error {
	return e.arrived.Close(func() error {
		defer e.gate.close()
		if e.c.Listener == nil {
			return nil
		}
		return e.c.Listener.Close()
	})
}
