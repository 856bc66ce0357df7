package mover

import (
	"context"
	"net/netip"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/probe"
	"github.com/gomover/gomover/probe/estimate"
	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/tuner/choice"
	"github.com/gomover/gomover/wire"
)

// ProbeFull is the value of Job.Probe with which the path is measured beside the
// start, and ProbeOff that with which nothing is remembered of it.
const (
	ProbeFull = "full"
	ProbeOff  = "off"
)

// Constants of a probe beside a copy. Ours.
const (
	// besideLeast is the size of a job in bytes from which it is worth a probe, and
	// besideShare the share of it that the trains of one direction may take: both
	// are 1% then.
	besideLeast = 32 << 20
	besideShare = 200
	// besideWait is how long the listing may take to tell the size.
	besideWait = 5 * time.Second
	// besideTrains is how long trains last, and besideLimit bounds the whole.
	besideTrains = 300 * time.Millisecond
	besideLimit  = 10 * time.Second
)

// probeFact is what a probe tells of a path, for later jobs.
type probeFact struct {
	RTTms    float64 `json:"rtt_ms"`
	Capacity float64 `json:"capacity"` // in the direction of the data, bytes of IP packets per second; 0: not known
	Free     float64 `json:"free"`     // of it
	UDP      bool    `json:"udp"`      // gets through
	MTU      int     `json:"mtu"`
}

// probeBeside measures the path while data flows already, by a process of its own on
// the same login, if that does not cost another one. Nothing comes of its errors but
// that nothing is known.
func (d *director) probeBeside(ctx context.Context, sh sshboot.Shell) {
	if d.job.Probe != ProbeFull || sh.HostKey() == nil {
		return
	}
	size, ok := d.sizeSoon(ctx)
	if !ok || size < besideLeast {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, besideLimit)
	defer cancel()
	j := d.job
	bo := j.Boot
	bo.Args, bo.Version, bo.Protocol = []string{"agent", "--probe"}, j.Version, wire.Version
	b, err := sshboot.Boot(ctx, sh, bo)
	if err != nil {
		return
	}
	peers := j.DataAddr
	if a := sh.Remote().Addr(); len(peers) == 0 && a.IsValid() {
		peers = []netip.Addr{a}
	}
	r, err := probe.Measure(ctx, framing.New(b), &probe.Params{
		Network: new(netx.System), Ports: orDefault(j.Ports), Bind: j.Bind, IPv4: j.IPv4, IPv6: j.IPv6,
		Own: ownAddresses(), Peers: peers, Bytes: min(probe.DefaultBytes, size/besideShare), Time: besideTrains,
	})
	if err != nil {
		return
	}
	there, back := ProbeEvents(j.FarHost(), r)
	record(d.rec, there)
	record(d.rec, back)
	way := &r.There
	if !j.push() {
		way = &r.Back
	}
	d.learner.probed(probeFactOf(r, way))
}

// sizeSoon waits for what the listing says of the size, in bytes; of a long one the
// part that is known.
func (d *director) sizeSoon(ctx context.Context) (int64, bool) {
	t := time.NewTicker(progressEvery)
	defer t.Stop()
	for end := time.Now().Add(besideWait); ; {
		c, _, live := d.now()
		if live && (c.Listed || c.Bytes > besideShare*probe.DefaultBytes || time.Now().After(end)) {
			return c.Bytes, true
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return 0, false
		}
	}
}

func probeFactOf(r *probe.Report, way *probe.Direction) probeFact {
	f := probeFact{RTTms: float64(r.RTT.Min) / float64(time.Millisecond), UDP: r.UDPOut.OK || r.UDPIn.OK, MTU: r.MTU}
	if f.RTTms == 0 {
		f.RTTms = float64(r.Connect) / float64(time.Millisecond)
	}
	if way.Verdict == estimate.Measured {
		f.Capacity = float64(way.Rate)
		// Other traffic, this job's own included, yields.
		f.Free = float64(way.Rate)
	}
	return f
}

// payloadShare is what TCP over Ethernet carries of IP packets of 1500 bytes.
const payloadShare = 1448.0 / 1500

// path is what the models are told of a fact.
func (f *probeFact) path() choice.Path {
	if f.RTTms <= 0 || f.RTTms > 1e5 || f.Free < 0 || f.Free > 1e12 {
		return choice.Path{}
	}
	return choice.Path{RTT: time.Duration(f.RTTms * float64(time.Millisecond)), Free: f.Free * payloadShare, NoUDP: !f.UDP}
}

// localHost is how this machine is called in events.
const localHost = "local"

// ProbeEvents are the events of a report of the path to the host called name, in each
// direction.
func ProbeEvents(name string, r *probe.Report) (there, back events.Probe) {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	loss := 0.0
	if r.Echoes > 0 {
		loss = float64(r.Lost) / float64(r.Echoes)
	}
	path := func(from, to string, d *probe.Direction, out, in, udp bool) events.Probe {
		return events.Probe{From: from, To: to, RTTms: ms(r.RTT.P50), RTTMinMs: ms(r.RTT.Min), RTTP95Ms: ms(r.RTT.P95), ConnectMs: ms(r.Connect),
			Loss: loss, LossLow: r.LossLow, LossHigh: r.LossHigh, Reordered: r.Order.Share(),
			CapacityBps: int64(d.Rate), CapacityIs: d.Verdict.String(), AvailableBps: int64(d.Available), AvailableIs: d.Free.String(), Reason: d.Why,
			Class: d.Class, BDPBytes: d.BDP, MTU: r.MTU, TCPOut: out, TCPIn: in, UDP: udp, Flags: r.Flags, Ms: r.Took.Milliseconds(), SentBytes: r.Bytes}
	}
	return path(localHost, name, &r.There, r.TCPOut.OK, r.TCPIn.OK, r.UDPOut.OK),
		path(name, localHost, &r.Back, r.TCPIn.OK, r.TCPOut.OK, r.UDPIn.OK || r.UDPOut.OK)
}
