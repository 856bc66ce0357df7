package udtstream

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/internal/sealed"
	"github.com/gomover/gomover/transports/udt"
)

// ErrInUse is in the chain of New's error when no port of the range is free.
var ErrInUse = sealed.ErrInUse

type (
	// DialError says that no address of an offer led to the other end.
	DialError = sealed.DialError
	// Attempt is what happened with one address.
	Attempt = sealed.Attempt
)

// Constants of our choice.
const (
	// linger is how long what was sent is still delivered after a stream was
	// closed. What a job needs is confirmed before that.
	linger = 2 * time.Second
	// patience is for one attempt to connect, with proof of who it is: four round
	// trips of 3 s. Who is silent is given up after that time already, by package udt.
	patience = 12 * time.Second
	// unproved is how much a connection may bring before it has proved that it
	// belongs to the job, and a listener has room for a few hundred of them.
	unproved = 64 << 10
	// refusedPause and refusedMost bound the time after which an end that had no
	// room for a connection is asked again; it doubles.
	refusedPause = 20 * time.Millisecond
	refusedMost  = 500 * time.Millisecond
)

// Options are what is different for UDT.
type Options struct {
	// Control names the congestion control; see udt.ControlNames. "" is the
	// default, one that keeps its rate under random loss. The rate of blast=RATE
	// is that of all streams together.
	Control string
	// Streams is how many streams there will be, which share the rate and Memory; 0
	// is 1. More can be made, and have as much as each of these.
	Streams int
	// Memory bounds, in bytes, the data under way of all streams together: sent
	// and not acknowledged here, or received and not read. 0: each may have
	// Params.Window. No stream gets less than 64 KiB.
	Memory int64
	// Silence is how long nothing may be heard of the other end, which says
	// something every second, before a stream is given up; 0 is 30 s. Where there is
	// another way it can be short.
	Silence time.Duration
}

// Room is how many bytes each stream may have under way that is made with window
// as Params.Window.
func (o Options) Room(window int) int {
	if window == 0 {
		window = udt.DefaultBuffer
	}
	if o.Memory <= 0 {
		return window
	}
	share := max(o.Memory/int64(max(o.Streams, 1)), unproved)
	return int(min(int64(window), share))
}

// control is the congestion control of one stream.
func (o Options) control() string {
	text, fixed := strings.CutPrefix(o.Control, "blast=")
	if !fixed || o.Streams < 2 {
		return o.Control
	}
	rate, err := units.ParseRate(text)
	if err != nil || rate <= 0 {
		return o.Control // which is refused
	}
	return "blast=" + max(rate/units.Rate(o.Streams), 1).String()
}

// CheckControl tells what is wrong with a name for Options.Control; nil if nothing
// is.
func CheckControl(name string) error { return udt.CheckControl(name) }

// Reason says in a few words why something was not possible, such as "timed out" or
// "forbidden on this side".
func Reason(err error) string { return sealed.Reason(err) }

// Controls gives the names for Options.Control, separated by commas.
func Controls() string { return udt.ControlNames() }

// endpoint implements transports.Endpoint.
type endpoint struct {
	*sealed.Endpoint
	port *udt.Endpoint
	once sync.Once
}

var _ transports.Endpoint = (*endpoint)(nil)

// New prepares one end of UDT streams. With p.Listen it listens at the first free
// UDP port of p.Ports when New returns; without it any port is used to dial from.
// p.Window is the room for data that is under way, of each stream, as far as
// o.Memory reaches; p.On and p.CC are not used. ctx bounds the preparation.
//
// Errors: ErrInUse in the chain, with the text "all ports in A-B are in use",
// when p.Ports has no free port; an unknown congestion control; what the system
// said otherwise.
func New(ctx context.Context, p transports.Params, o Options) (transports.Endpoint, error) {
	if p.Timeout <= 0 {
		p.Timeout = patience
	}
	p, err := sealed.Complete(p)
	if err != nil {
		return nil, err
	}
	p.Secret = derive(p.Secret)
	room := o.Room(p.Window)
	cfg := udt.Config{
		Control: o.control(), SendBuffer: room, RecvBuffer: room, FirstBuffer: unproved,
		Linger: linger, Idle: cmp.Or(o.Silence, sealed.Silence), FindMTU: true,
	}
	nw, system := door(p)
	open := func(network, addr string) (*udt.Endpoint, error) { return udt.Open(ctx, nw, network, addr, cfg) }
	e := new(endpoint)
	c := sealed.Config{
		Params: p, Name: "udt",
		Dial: e.dial,
		Wire: func(conn net.Conn) sealed.Wire { return newWire(conn, o, p.Window) },
	}
	if !p.Listen {
		e.port, err = sealed.Open(p, "udp", open)
	} else {
		e.port, err = sealed.Listen(p, "udp", open)
	}
	if err != nil {
		return nil, err
	}
	if p.Listen {
		ln, err := e.port.Listen()
		if err != nil {
			e.port.Close()
			return nil, err
		}
		c.Listener = listener{ln}
		if at := sealed.AddrOf(ln.Addr()); system || p.Bind.IsValid() || !at.Addr().IsUnspecified() {
			c.Own = sealed.Interfaces(at, p.Bind)
		}
	}
	if short := e.port.Shortfall(); short != nil && p.Warn != nil {
		p.Warn(strings.ReplaceAll(short.Error(), "\n", "; "))
	}
	if e.Endpoint, err = sealed.New(c); err != nil {
		e.port.Close()
		return nil, err
	}
	return e, nil
}

// Heard tells when an address that was dialled last answered, as that of
// sealed.Endpoint, but already when the connection is not made yet.
func (e *endpoint) Heard() time.Time {
	made, asked := e.Endpoint.Heard(), e.port.Heard()
	if asked.After(made) {
		return asked
	}
	return made
}

// dial makes a connection, as Config.Dial.
func (e *endpoint) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	conn, err := persist(ctx, func() (*udt.Conn, error) { return e.port.Dial(ctx, to) })
	if err != nil {
		return nil, err
	}
	return released{conn}, nil
}

// persist dials again when the other end had no room, until ctx ends: a listener
// refuses connections while too many wait to be taken. Errors: dial's.
func persist(ctx context.Context, dial func() (*udt.Conn, error)) (*udt.Conn, error) {
	for pause := refusedPause; ; pause = min(2*pause, refusedMost) {
		conn, err := dial()
		if !errors.Is(err, udt.ErrRefused) {
			return conn, err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, err
		}
	}
}

// derive makes the secret of streams over UDT from the job's. What was said on a
// TCP connection is thus worthless on a UDT one and the other way round, also to
// an end that uses both.
func derive(secret [32]byte) (s [32]byte) {
	mac := hmac.New(sha256.New, secret[:])
	mac.Write([]byte("gomover data 1 over udt"))
	mac.Sum(s[:0])
	return s
}

// door returns the network to use, with our socket options if it is the
// system's.
func door(p transports.Params) (nw netx.Network, system bool) {
	var sys netx.System
	switch n := p.Net.(type) {
	case nil:
	case *netx.System:
		sys = *n
	default:
		return n, false
	}
	if p.DSCP > 0 {
		before := sys.Config.Control
		sys.Config.Control = func(network, address string, rc syscall.RawConn) error {
			if before != nil {
				if err := before(network, address, rc); err != nil {
					return err
				}
			}
			var refused error
			err := rc.Control(func(fd uintptr) { refused = sealed.SetDSCP(fd, p.DSCP, !strings.HasSuffix(network, "4")) })
			if refused != nil && p.Warn != nil {
				p.Warn(fmt.Sprintf("traffic class %d: %v", p.DSCP, refused))
			}
			return err
		}
	}
	return &sys, true
}

// Close implements transports.Endpoint. The port stays as long as streams do.
func (e *endpoint) Close() error {
	err := e.Endpoint.Close()
	e.once.Do(e.port.Retire)
	return err
}

// released is a connection whose Close does not wait, and whose errors are those
// of the system's connections where package seal asks for them.
type released struct{ *udt.Conn }

// Read implements net.Conn.
func (c released) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, hungUp(err)
}

// Write implements net.Conn.
func (c released) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, hungUp(err)
}

func hungUp(err error) error {
	if errors.Is(err, udt.ErrShutdown) {
		return fmt.Errorf("%w: %w", err, syscall.ECONNRESET)
	}
	return err
}

// Close implements net.Conn.
func (c released) Close() error {
	c.Release()
	return nil
}

// listener gives such connections.
type listener struct{ *udt.Listener }

// Accept implements net.Listener.
func (l listener) Accept() (net.Conn, error) {
	c, err := l.AcceptContext(context.Background())
	if err != nil {
		return nil, err
	}
	return released{c}, nil
}
