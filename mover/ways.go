package mover

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/fallback"
	"github.com/gomover/gomover/transports/tcp"
	"github.com/gomover/gomover/transports/udtstream"
	"github.com/gomover/gomover/tuner"
	"github.com/gomover/gomover/wire"
)

// params are what an endpoint is made with at either end.
type params struct {
	secret     []byte
	tcp, udt   bool // ways that are permitted; udt is tried first
	spare      bool // udt is permitted, and used when it is asked for
	streams    udtstream.Options
	seal       transports.Seal
	maxBody    int
	listen     bool
	ports      [2]uint16
	window     int
	dscp       int
	ipv4, ipv6 bool
	bind       netip.Addr
	known      []netip.Addr
	warn       func(string)
	on         net.Listener
	silence    time.Duration // of transports.Params
}

func newEndpoint(ctx context.Context, p params) (transports.Endpoint, error) {
	tp := transports.Params{Seal: p.seal, MaxBody: p.maxBody, Listen: p.listen, Ports: p.ports, Window: p.window,
		DSCP: p.dscp, IPv4: p.ipv4, IPv6: p.ipv6, Bind: p.bind, Known: p.known, Warn: p.warn, On: p.on, Silence: p.silence}
	if copy(tp.Secret[:], p.secret) != len(tp.Secret) {
		return nil, wire.Failf(wire.ClassProtocol, "the job's secret has %d bytes instead of %d", len(p.secret), len(tp.Secret))
	}
	var ep transports.Endpoint
	err := error(nil)
	if p.udt {
		err = udtstream.CheckControl(p.streams.Control)
	}
	switch {
	case err != nil:
	case p.udt && p.tcp:
		ep, err = bothWays(ctx, tp, p.streams)
	case p.udt:
		ep, err = onlyUDT(ctx, tp, p.streams)
	case p.tcp && p.spare:
		ep, err = spareUDT(ctx, tp, p.streams)
	default:
		ep, err = tcp.New(ctx, tp)
	}
	if err != nil {
		f := wire.Failf(wire.ClassNoPath, "%v", err)
		if errors.Is(err, tcp.ErrInUse) {
			f.Hints = []string{"give a wider range with --ports"}
		}
		return nil, f
	}
	return ep, nil
}

// prefer is the transport that is tried first.
func prefer(udt bool) string {
	if udt {
		return "udt"
	}
	return "tcp"
}

// portsOf names the protocols whose ports data may come to, for people.
func portsOf(tcp, udt bool) string {
	switch {
	case tcp && udt:
		return "TCP or UDP"
	case udt:
		return "UDP"
	}
	return "TCP"
}

// Constants of our choice.
const (
	// behindTimeout bounds a TCP connection attempt that comes after one over UDT:
	// both together take no longer than the engine waits for a way.
	behindTimeout = 4 * time.Second
	// silence is how long nothing may be heard over UDP where there is TCP, too.
	// Four signs of life are missing then, or hundreds of acknowledgements.
	silence = 4 * time.Second
	// Of the ports from anyLow to anyHigh, so many are tried for one that is free
	// for both protocols when those that were to be tried first are not.
	anyLow, anyHigh = 20000, 60000
	anyTries        = 50
)

// bothWays makes an endpoint over UDT with one over TCP behind it. They listen at
// the same port, so that one number is what the other end and firewalls must know.
// Where the system gives no UDP port at all, it is TCP alone.
func bothWays(ctx context.Context, p transports.Params, o udtstream.Options) (transports.Endpoint, error) {
	p.Warn = onceEach(p.Warn)
	o.Silence = silence
	at := func(port uint16) (transports.Endpoint, error) {
		q := p
		q.Ports = [2]uint16{port, port}
		first, err := udtstream.New(ctx, q, o)
		if errors.Is(err, udtstream.ErrInUse) {
			return nil, err
		}
		q.Timeout = behindTimeout
		second, failed := tcp.New(ctx, q)
		switch {
		case failed != nil:
			if first != nil {
				first.Close()
			}
			return nil, failed
		case err != nil:
			return without{second, udtstream.Reason(err)}, nil
		}
		return fallback.New(first, second, "UDP"), nil
	}
	if !p.Listen {
		return at(0)
	}
	ports, only := p.Ports, true
	if ports == [2]uint16{} {
		ports, only = transports.DefaultPorts, false
	}
	for port := int(ports[0]); port <= int(ports[1]); port++ {
		if ep, err := at(uint16(port)); !errors.Is(err, tcp.ErrInUse) {
			return ep, err
		}
	}
	if only {
		return nil, fmt.Errorf("all ports in %d-%d are %w", ports[0], ports[1], tcp.ErrInUse)
	}
	for n := 0; ; n++ {
		ep, err := at(uint16(anyLow + rand.IntN(anyHigh-anyLow)))
		if n == anyTries || !errors.Is(err, tcp.ErrInUse) {
			return ep, err
		}
	}
}

// spareUDT makes an endpoint over TCP with one over UDT that is opened when it is
// asked for, at the same port, which the other end knows.
func spareUDT(ctx context.Context, p transports.Params, o udtstream.Options) (transports.Endpoint, error) {
	usual, err := tcp.New(ctx, p)
	if err != nil {
		return nil, err
	}
	p.On, p.CC, o.Silence = nil, "", silence
	if l := usual.Offer().Addrs; len(l) > 0 {
		p.Ports = [2]uint16{l[0].Port(), l[0].Port()}
	}
	return fallback.NewSpare(usual, func() (transports.Endpoint, error) {
		ep, err := udtstream.New(context.Background(), p, o)
		if err != nil && !errors.Is(err, udtstream.ErrInUse) {
			err = errors.New(udtstream.Reason(err))
		}
		return ep, err
	}), nil
}

// without is an endpoint for want of another one, which is preferred.
type without struct {
	transports.Endpoint
	why string // there is no other
}

var _ transports.Switcher = without{}

// Distrust implements transports.Switcher; there is nothing to be distrusted.
func (without) Distrust() {}

// Use implements transports.Switcher; there is nothing to choose from.
func (without) Use(bool) error { return nil }

// Turned implements transports.Switcher.
func (without) Turned() bool { return true }

// Reason implements transports.Switcher.
func (w without) Reason() string { return w.why }

// onlyUDT makes an endpoint over UDT, or one that makes no streams where the system
// gives no UDP port at all: then there may be a way inside ssh.
func onlyUDT(ctx context.Context, p transports.Params, o udtstream.Options) (transports.Endpoint, error) {
	ep, err := udtstream.New(ctx, p, o)
	if err == nil || errors.Is(err, udtstream.ErrInUse) {
		return ep, err
	}
	c := &closed{why: fmt.Errorf("over UDP: %s", udtstream.Reason(err))}
	c.life, c.end = context.WithCancel(context.Background())
	return c, nil
}

// closed is an endpoint that makes no streams.
type closed struct {
	why  error
	life context.Context
	end  context.CancelFunc
}

// Offer implements transports.Endpoint.
func (c *closed) Offer() transports.Offer { return transports.Offer{} }

// Dial implements transports.Endpoint.
func (c *closed) Dial(context.Context, transports.Offer, uint32) (transports.Stream, error) {
	return nil, c.why
}

// Accept implements transports.Endpoint. It waits for the end.
func (c *closed) Accept(ctx context.Context) (transports.Stream, error) {
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-c.life.Done():
		return nil, net.ErrClosed
	}
}

// Close implements transports.Endpoint.
func (c *closed) Close() error {
	c.end()
	return nil
}

// udtOptions says how streams over UDT are to be made for a job: as many as the
// tuner begins with share the memory that frames leave.
func udtOptions(o *engine.Options) udtstream.Options {
	n := tuner.Initial(tuner.Facts{UDT: true, CC: o.CC, Streams: [2]int{o.StreamsMin, o.StreamsMax}}).Streams
	u := udtstream.Options{Control: o.CC, Streams: n}
	if o.CC == "" && o.Priority == engine.Background {
		u.Control = "ledbat"
	}
	if o.Memory > 0 {
		u.Memory = max(1, o.Memory-int64(n)*o.BlockSizeFor(0))
	}
	return u
}

// CheckMemory tells if the window that was asked for is more than the bound of
// memory has for each stream over UDT, whose buffers are the program's own. Those of
// TCP are the system's.
func (j *Job) CheckMemory() error {
	if !j.UDT || j.Window == 0 {
		return nil
	}
	o := udtOptions(&j.Engine)
	if room := o.Room(j.Window); room < j.Window {
		unit := 1 << 10
		if room >= 1<<20 {
			unit = 1 << 20
		}
		return fmt.Errorf("--window %s: with --memory %s there is room for %s in each of %d streams over UDT",
			units.ExactSize(int64(j.Window)), units.ExactSize(j.Engine.Memory), units.ExactSize(int64(room-room%unit)), o.Streams)
	}
	return nil
}

// onceEach passes each message on once.
func onceEach(warn func(string)) func(string) {
	var mu sync.Mutex
	said := make(map[string]bool)
	return func(msg string) {
		mu.Lock()
		known := said[msg]
		said[msg] = true
		mu.Unlock()
		if !known && warn != nil {
			warn(msg)
		}
	}
}

// UDTControls gives the congestion controls for UDT, separated by commas.
func UDTControls() string { return udtstream.Controls() }

// CheckUDTControl tells what is wrong with the name of a congestion control for
// UDT; nil if nothing is.
func CheckUDTControl(name string) error { return udtstream.CheckControl(name) }
