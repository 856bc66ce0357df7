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

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/fallback"
	"github.com/gomover/gomover/transports/tcp"
	"github.com/gomover/gomover/transports/udtstream"
	"github.com/gomover/gomover/wire"
)

// params are what an endpoint is made with at either end.
type params struct {
	secret     []byte
	tcp, udt   bool   // ways that are permitted; udt is tried first
	control    string // congestion control of UDT, "": the default
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
}

func newEndpoint(ctx context.Context, p params) (transports.Endpoint, error) {
	tp := transports.Params{Seal: p.seal, MaxBody: p.maxBody, Listen: p.listen, Ports: p.ports, Window: p.window,
		DSCP: p.dscp, IPv4: p.ipv4, IPv6: p.ipv6, Bind: p.bind, Known: p.known, Warn: p.warn, On: p.on}
	if copy(tp.Secret[:], p.secret) != len(tp.Secret) {
		return nil, wire.Failf(wire.ClassProtocol, "the job's secret has %d bytes instead of %d", len(p.secret), len(tp.Secret))
	}
	var ep transports.Endpoint
	var err error
	switch {
	case p.udt && p.tcp:
		ep, err = bothWays(ctx, tp, p.control)
	case p.udt:
		ep, err = udtstream.New(ctx, tp, udtstream.Options{Control: p.control})
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
	// Of the ports from anyLow to anyHigh, so many are tried for one that is free
	// for both protocols when those that were to be tried first are not.
	anyLow, anyHigh = 20000, 60000
	anyTries        = 50
)

// bothWays makes an endpoint over UDT with one over TCP behind it. They listen at
// the same port, so that one number is what the other end and firewalls must know.
func bothWays(ctx context.Context, p transports.Params, control string) (transports.Endpoint, error) {
	p.Warn = onceEach(p.Warn)
	at := func(port uint16) (transports.Endpoint, error) {
		q := p
		q.Ports = [2]uint16{port, port}
		first, err := udtstream.New(ctx, q, udtstream.Options{Control: control})
		if err != nil {
			return nil, err
		}
		q.Timeout = behindTimeout
		second, err := tcp.New(ctx, q)
		if err != nil {
			first.Close()
			return nil, err
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
