package mover

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/probe"
	"github.com/gomover/gomover/probe/host"
	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/tuner"
	"github.com/gomover/gomover/wire"
)

// ProbeJob is a path to probe: from this machine to a host and back.
type ProbeJob struct {
	User, Host string
	Port       int
	Dir        string // here, whose disk is meant; on the far host it is the home directory

	Ports      [2]uint16
	Bind       netip.Addr
	IPv4, IPv6 bool
	DataAddr   []netip.Addr // of the far host, instead of what is found
	Bytes      int64        // as in probe.Params

	Login   sshboot.Options
	Boot    sshboot.BootOptions
	Version string

	Step func(what string) // as in probe.Params; also of the login
}

// Stage is how far a probe came.
type Stage uint8

// The stages, each of which needs the one before.
const (
	StageLogin Stage = iota // logging in
	StageAgent              // starting the far end
	StagePath               // measuring
	StageDone               // all was done
)

// Probed is what came of a probe.
type Probed struct {
	Stage  Stage          // the last one that was begun
	Remote netip.AddrPort // where ssh went; zero: not known
	Placed string         // the directory that the program was brought to; "": it was there
	Report *probe.Report  // nil: nothing was measured
	Start  tuner.Settings // what a copy would begin with, if there is a report
	Nets   []netip.Prefix // of this host's interfaces
}

// Beside tells that an address is in a network of this host, with no router between.
func (p *Probed) Beside(a netip.Addr) bool {
	return slices.ContainsFunc(p.Nets, func(n netip.Prefix) bool { return n.Contains(a) })
}

// probeTimeout bounds a probe behind the login; one takes seconds.
const probeTimeout = time.Minute

// Probe logs in, starts the far end, and measures the path. What is in the result
// holds, also with an error: a *sshboot.Error, a *wire.Fail, or ctx's.
func Probe(ctx context.Context, j *ProbeJob) (p Probed, err error) {
	step := j.Step
	if step == nil {
		step = func(string) {}
	}
	step("logging in")
	sh, err := sshboot.Dial(ctx, sshboot.Target{User: j.User, Host: j.Host, Port: j.Port}, j.Login)
	if err != nil {
		return p, err
	}
	defer sh.Close()
	p.Stage, p.Remote, p.Nets = StageAgent, sh.Remote(), ownNetworks()
	step("starting the far end")
	bo := j.Boot
	bo.Args, bo.Version, bo.Protocol = []string{"agent", "--probe"}, j.Version, wire.Version
	b, err := sshboot.Boot(ctx, sh, bo)
	if err != nil {
		// An external program logs in when the first command is started.
		if s := new(sshboot.Error); errors.As(err, &s) && s.Kind.Login() {
			p.Stage = StageLogin
		}
		return p, err
	}
	if b.Uploaded {
		p.Placed = b.Path
	}
	p.Stage = StagePath
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	peers := j.DataAddr
	if a := sh.Remote().Addr(); len(peers) == 0 && a.IsValid() {
		peers = []netip.Addr{a}
	}
	p.Report, err = probe.Measure(ctx, framing.New(b), &probe.Params{
		Network: new(netx.System), Ports: orDefault(j.Ports), Bind: j.Bind, IPv4: j.IPv4, IPv6: j.IPv6,
		Own: ownAddresses(), Peers: peers, Facts: gather(ctx), Dir: j.Dir, Bytes: j.Bytes, Group: true, Step: step,
	})
	if p.Report != nil {
		p.Start = tuner.Initial(tuner.Facts{RTT: cmp.Or(p.Report.RTT.Min, p.Report.Connect), Cores: p.Report.Here.Processor.Cores,
			SendBuf: p.Report.Here.Buffers.TCPWrite[2]})
	}
	if err != nil {
		return p, probeFail(j.Host, err)
	}
	p.Stage = StageDone
	return p, nil
}

// probeFail says of an error of a probe what kind it is.
func probeFail(host string, err error) error {
	far := new(probe.FarError)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return wire.Failf(wire.ClassLost, "%s: the probe took longer than %v", host, probeTimeout)
	case errors.Is(err, context.Canceled), errors.Is(err, ErrInterrupted):
		return err
	case errors.Is(err, probe.ErrVersion):
		return wire.Failf(wire.ClassVersion, "%s: %v", host, err)
	case errors.Is(err, probe.ErrLink):
		return wire.Failf(wire.ClassLost, "%s: %v", host, err)
	case errors.As(err, &far):
		return wire.Failf(wire.ClassProtocol, "%s: %s", host, far.Text)
	}
	return wire.Failf(wire.ClassNoPath, "%s: %v", host, err)
}

// ServeProbe is the far end of a probe: it greets, answers, and returns when the
// connection has ended.
func ServeProbe(ctx context.Context, env AgentEnv) error {
	g := sshboot.Greeting{Version: env.Version, Protocol: wire.Version, OS: env.OS, Arch: env.Arch}
	if err := sshboot.WriteGreeting(env.Control, g); err != nil {
		return err
	}
	// Longer than the other end takes, which then ends it in order.
	ctx, cancel := context.WithTimeout(ctx, 2*probeTimeout)
	defer cancel()
	p := &probe.Params{Network: new(netx.System), Own: ownAddresses(), Facts: func(a host.Ask) host.Facts {
		if a.Dir == "" {
			a.Dir = env.Home
		}
		return host.Gather(ctx, a)
	}}
	if env.Client.IsValid() {
		p.Peers = []netip.Addr{env.Client}
	}
	return probe.Serve(ctx, framing.New(env.Control), p)
}

// gather looks at this host until ctx ends.
func gather(ctx context.Context) func(host.Ask) host.Facts {
	return func(a host.Ask) host.Facts { return host.Gather(ctx, a) }
}

// orDefault gives the ports that are tried first: those of data connections, which
// firewalls may let through.
func orDefault(ports [2]uint16) [2]uint16 {
	if ports == [2]uint16{} {
		return transports.DefaultPorts
	}
	return ports
}

// ownAddresses are this host's addresses that others may reach.
func ownAddresses() (out []netip.Addr) {
	for _, n := range ownNetworks() {
		if a := n.Addr(); !a.IsLoopback() && !a.IsLinkLocalUnicast() {
			out = append(out, a)
		}
	}
	return out
}

// ownNetworks are this host's addresses with the lengths of their networks.
func ownNetworks() (out []netip.Prefix) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil // what ssh tells is left
	}
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ones, _ := n.Mask.Size()
		if b, ok := netip.AddrFromSlice(n.IP); ok && ones <= b.Unmap().BitLen() {
			out = append(out, netip.PrefixFrom(b.Unmap(), ones))
		}
	}
	return out
}
