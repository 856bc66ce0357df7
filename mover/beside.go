package mover

import (
	"context"
	"encoding/json"
	"math"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/history"
	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/internal/units"
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

// Constants of probes beside a copy. Ours.
const (
	// besideLeast is the size of a job in bytes from which it is worth a probe, and
	// besideShare the share of it that the trains of one direction may take: both
	// are 1% then.
	besideLeast = 32 << 20
	besideShare = 200
	// besideWait is how long the listing may take to tell the size.
	besideWait = 5 * time.Second
	// besideDone is the part of a job that is done soon after its start if it is not
	// worth a probe: by besideAfter behind the first data.
	besideDone  = 8
	besideAfter = 500 * time.Millisecond
	// besideTrains is how long trains last, and besideLimit bounds the whole.
	besideTrains = 300 * time.Millisecond
	besideLimit  = 1500 * time.Millisecond
	// besideBoot is how long the other end's process may take to start.
	besideBoot = 10 * time.Second
	// besideFresh is the weight of what is remembered from which that is not measured
	// again: it is not older than a day then.
	besideFresh = 0.9
)

// probeFact is what a probe tells of a path, for later jobs.
type probeFact struct {
	RTTms    float64 `json:"rtt_ms"`
	Capacity float64 `json:"capacity"` // in the direction of the data, bytes of IP packets per second; 0: not known
	Free     float64 `json:"free"`     // of it
	UDP      bool    `json:"udp"`      // gets through
	MTU      int     `json:"mtu"`
}

// measure probes the path, with what Params leave to the caller: Bytes, Time.
type measure func(ctx context.Context, p probe.Params) (*probe.Report, error)

// besides looks at the path while data flows over it: at the start of a job, and when
// something has changed. It probes by a process of its own on the same login, if that
// does not cost another one.
func (d *director) besides(ctx context.Context, sh sshboot.Shell) {
	if d.job.Probe == ProbeOff || sh.HostKey() == nil {
		return
	}
	d.lookout.open()
	defer d.lookout.close()
	m := func(ctx context.Context, p probe.Params) (*probe.Report, error) { return d.probeOver(ctx, sh, p) }
	d.atStart(ctx, m)
	d.lookout.run(ctx, func() { d.lookAgain(ctx, m) })
}

// probeOver is a measure over a login.
func (d *director) probeOver(ctx context.Context, sh sshboot.Shell, p probe.Params) (*probe.Report, error) {
	j := d.job
	bo := j.Boot
	bo.Args, bo.Version, bo.Protocol = []string{"agent", "--probe"}, j.Version, wire.Version
	// Where no copy of the program was left, none is brought once more: that would be
	// more than all that a probe sends, on a path that is busy.
	bo.Program = nil
	booting, cancel := context.WithTimeout(ctx, besideBoot)
	defer cancel()
	b, err := sshboot.Boot(booting, sh, bo)
	if err != nil {
		return nil, err
	}
	p.Peers = j.DataAddr
	if a := sh.Remote().Addr(); len(p.Peers) == 0 && a.IsValid() {
		p.Peers = []netip.Addr{a}
	}
	p.Network, p.Ports, p.Bind, p.IPv4, p.IPv6, p.Own = new(netx.System), orDefault(j.Ports), j.Bind, j.IPv4, j.IPv6, ownAddresses()
	p.Facts = gather(ctx)
	p.Dir, p.FarDir = j.places()
	ctx, cancel = context.WithTimeout(ctx, besideLimit)
	defer cancel()
	return probe.Measure(ctx, framing.New(b), &p)
}

// places are the paths whose disks hold the data, here and at the far end; "" is a
// home directory.
func (j *Job) places() (here, far string) {
	near, other := &j.Dest, j.farPlace().Path
	if j.push() {
		near = &j.Sources[0]
	}
	here, err := filepath.Abs(near.Path)
	if err != nil {
		here = ""
	}
	if !filepath.IsAbs(other) {
		other = ""
	}
	return here, other
}

// atStart probes at the start, unless that is known, or the job is soon over. With
// ProbeFull trains are sent, too, and it is always done. Nothing comes of errors but
// that nothing is known.
func (d *director) atStart(ctx context.Context, m measure) {
	full := d.job.Probe == ProbeFull
	if !full && d.known.weight >= besideFresh || d.lookout.looked() {
		return
	}
	if !full && !d.flowing(ctx) {
		return
	}
	done, size, ok := d.sizeSoon(ctx)
	if !ok || size < besideLeast || !full && done > size/besideDone {
		return
	}
	p := probe.Params{Bytes: -1}
	if full {
		p.Bytes, p.Time = min(probe.DefaultBytes, size/besideShare), besideTrains
	}
	if r := d.look(ctx, m, p); r != nil {
		there, back := ProbeEvents(d.job.FarHost(), r)
		record(d.rec, there)
		record(d.rec, back)
	}
}

// look probes, and gives what is found to whom it concerns; nil if nothing is known. A
// probe for which there was no time to end tells what it has found until then.
func (d *director) look(ctx context.Context, m measure, p probe.Params) *probe.Report {
	start := !d.lookout.looked()
	d.lookout.begin(false)
	r, err := m(ctx, p)
	if r == nil || ctx.Err() != nil || r.RTT.N == 0 && r.Connect == 0 {
		return nil
	}
	f := probeFactOf(r, d.way(r))
	if err != nil && !f.UDP {
		f.UDP = d.known.UDP || d.known.weight == 0 // there was no time to find out
	}
	if f.Capacity == 0 {
		// As far as it was measured before, and nothing says that it has changed.
		f.Capacity, f.Free = d.known.Capacity, d.known.Free
	}
	// What the data puts into queues is not the path's.
	if c, _, _ := d.now(); c.Path.Saturated && d.known.RTTms > 0 {
		f.RTTms = min(f.RTTms, d.known.RTTms)
	}
	if rtt := d.learner.planned(); start && rtt > 0 {
		f.RTTms = min(f.RTTms, rtt)
	}
	d.known.probeFact, d.known.weight, d.known.age = f, 1, 0
	d.job.keepProbe(f)
	d.controls.learned(f.path())
	return r
}

// way is the direction of the data.
func (d *director) way(r *probe.Report) *probe.Direction {
	if d.job.push() {
		return &r.There
	}
	return &r.Back
}

// flowing waits until data has flowed for besideAfter; false if ctx ends before.
func (d *director) flowing(ctx context.Context) bool {
	t := time.NewTicker(progressEvery)
	defer t.Stop()
	for began := (time.Time{}); began.IsZero() || time.Since(began) < besideAfter; {
		if c, _, live := d.now(); live && c.Sent+c.Verified > 0 && began.IsZero() {
			began = time.Now()
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// sizeSoon waits for what the listing says of the size, in bytes, of which done are
// done; of a long one the part that is known.
func (d *director) sizeSoon(ctx context.Context) (done, size int64, ok bool) {
	t := time.NewTicker(progressEvery)
	defer t.Stop()
	for end := time.Now().Add(besideWait); ; {
		select {
		case <-t.C:
		case <-ctx.Done():
			return 0, 0, false
		}
		c, _, live := d.now()
		if live && (c.Listed || c.Bytes > besideShare*probe.DefaultBytes || time.Now().After(end)) {
			return c.DoneBytes, c.Bytes, true
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

// keepProbe remembers what a probe told for later jobs, if that is possible.
func (j *Job) keepProbe(f probeFact) {
	h := j.history()
	v, err := json.Marshal(f)
	if h == nil || err != nil {
		return
	}
	now := time.Now().UTC()
	_ = h.Change(j.pair(), now, func(r *history.Record) { r.SetFact(probeFactName, history.Fact{At: now, Value: v}) })
}

// tellKnown tells what is remembered of the path.
func (d *director) tellKnown() {
	from, to := localHost, d.job.FarHost()
	if !d.job.push() {
		from, to = to, from
	}
	if d.known.weight > 0 {
		record(d.rec, d.known.event(from, to))
	}
}

// event is what is remembered of the path, as an event.
func (m *memory) event(from, to string) events.Probe {
	e := events.Probe{From: from, To: to, RTTms: m.RTTms, RTTMinMs: m.RTTms, LossHigh: 1, CapacityBps: int64(m.Capacity), CapacityIs: estimate.Unusable.String(),
		AvailableIs: estimate.Unusable.String(), MTU: m.MTU, UDP: m.UDP, Cached: true, AgeMs: m.age.Milliseconds(), Confidence: m.weight}
	if m.Capacity > 0 {
		e.CapacityIs = estimate.Measured.String()
		e.BDPBytes = estimate.BDP(units.Rate(m.Capacity), time.Duration(m.RTTms*float64(time.Millisecond)))
	}
	return e
}

// KnownPath is what probes told of the path from one host to another, by what is
// remembered of jobs between them; false if that is nothing, or too old.
func KnownPath(from, to string, r *history.Record, now time.Time) (e events.Probe, ok bool) {
	m := memoryOf(r, now)
	return m.event(from, to), m.weight > 0
}

// payloadShare is what TCP over Ethernet carries of IP packets of 1500 bytes.
const payloadShare = 1448.0 / 1500

// mostCapacity bounds what is taken for a capacity, in bytes per second.
const mostCapacity = 1e12

// path is what the models are told of a fact; nothing of one that makes no sense, which
// may come from the other end, or have been written by anybody who is this user.
func (f *probeFact) path() choice.Path {
	rate := func(r float64) bool { return r >= 0 && r <= mostCapacity }
	if f.RTTms < 1e-3 || f.RTTms > 1e5 || !rate(f.Free) || !rate(f.Capacity) || f.MTU < 0 || f.MTU > math.MaxUint16 {
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
	path := func(from, to string, d *probe.Direction, out, in, udp, groups bool) events.Probe {
		return events.Probe{From: from, To: to, RTTms: ms(r.RTT.P50), RTTMinMs: ms(r.RTT.Min), RTTP95Ms: ms(r.RTT.P95), ConnectMs: ms(r.Connect),
			Loss: loss, LossLow: r.LossLow, LossHigh: r.LossHigh, Reordered: r.Order.Share(),
			CapacityBps: int64(d.Rate), CapacityIs: d.Verdict.String(), AvailableBps: int64(d.Available), AvailableIs: d.Free.String(), Reason: d.Why,
			Class: d.Class, BDPBytes: d.BDP, MTU: r.MTU, TCPOut: out, TCPIn: in, UDP: udp, Multicast: groups, Flags: r.Flags, Ms: r.Took.Milliseconds(), SentBytes: r.Bytes}
	}
	return path(localHost, name, &r.There, r.TCPOut.OK, r.TCPIn.OK, r.UDPOut.OK, r.Group.OK),
		path(name, localHost, &r.Back, r.TCPIn.OK, r.TCPOut.OK, r.UDPIn.OK || r.UDPOut.OK, false)
}
