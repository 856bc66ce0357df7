package mover

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/replica/peer"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/tuner"
	"github.com/gomover/gomover/tuner/choice"
	"github.com/gomover/gomover/tuner/retune"
	"github.com/gomover/gomover/wire"
)

// Constants of what looks after the streams of a host. Ours.
const (
	// gaugeEvery is how often the host tells of its streams.
	gaugeEvery = 250 * time.Millisecond
	// tuneTimeout is how long it may take to answer.
	tuneTimeout = 10 * time.Second
	// waits is the share of the time that one end waits for the network when that holds
	// the streams back, and rests the share of streams without anything to send from
	// which nothing does.
	waits, rests = 0.3, 0.3
	// fullSegment is the payload in bytes of a TCP segment on most paths: hosts tell
	// how many segments were sent again, not how many were sent.
	fullSegment = 1448
)

// What holds the streams of a host back, in words of events.Progress.
const (
	heldByNetwork = "network"
	heldBySource  = "source disk"
	heldByTarget  = "target disk"
)

// hostTuner sees to it that the streams from one host suit its path, with the same
// rules as a copy's: bbr or another transport where losses at random hold TCP back, more
// streams or fewer where that helps. What a host does is left alone while something else
// than the path to it holds it back: then the schedule asks less of it than it could
// give, since others share the reading end, or a bottleneck, with it. One goroutine.
type hostTuner struct {
	c    *hostConn
	cc   string // to begin with; "": the system's own
	auto bool   // more streams may be tried

	watch  choice.Watch
	policy tuner.CCPolicy
	more   *retune.Policy // nil: not needed so far
	set    retune.Settings
	own    string // the system's congestion control
	trying string // transport; "": none
	tunes  int

	at    time.Duration // of the host's clock
	flows map[uint32]seenFlow
}

// seenFlow is a stream at the last look.
type seenFlow struct {
	wire.Gauge
	peer.Flow
}

// newHostTuner makes one for a new connection; nil where the user has said how it shall
// be.
func newHostTuner(c *hostConn, cc string) *hostTuner {
	d := c.h.all.d
	o := &d.job.Engine
	pinned := o.CC != "" || o.StreamsMin > 0 && o.StreamsMin == o.StreamsMax
	if pinned || !d.job.TCP && !d.job.UDT {
		return nil
	}
	t := &hostTuner{c: c, cc: cc, auto: o.Retune == "auto" || o.Retune == "on"}
	if way := spareWay(d.job.TCP, c.udt, d.job.Spare); way != "" {
		t.watch.Permitted = []string{way}
	}
	return t
}

// run looks until the connection ends.
func (t *hostTuner) run(ctx context.Context) {
	if t.tell(ctx, wire.Tune{Every: int64(gaugeEvery), CC: t.cc}) != nil {
		if t.tell(ctx, wire.Tune{Every: int64(gaugeEvery)}) != nil {
			return
		}
	}
	for {
		select {
		case m := <-t.c.client.Gauges():
			t.step(ctx, m)
		case <-t.c.client.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// tell has the host change something.
func (t *hostTuner) tell(ctx context.Context, m wire.Tune) error {
	ctx, cancel := context.WithTimeout(ctx, tuneTimeout)
	defer cancel()
	return t.c.client.Tune(ctx, m)
}

// step takes what the host tells and does what follows from it.
func (t *hostTuner) step(ctx context.Context, m wire.Gauges) {
	t.c.client.Sweep()
	v, r, ok := t.sample(m, t.c.client.Flows())
	if !ok {
		return
	}
	if r.own != "" && t.own == "" {
		t.own = r.own
	}
	limited := t.c.h.all.d.controls.limit() > 0
	v.Held = limited || r.by != heldByNetwork
	t.c.note(r.by, t.fact(&v))
	if v.Streams > 0 && t.trying == "" && r.way == "tcp" {
		t.refill(ctx, v.Streams)
	}
	t.watch.Ends = choice.Ends{CCs: m.CCs}
	switch d := t.watch.Step(v); d.Action {
	case choice.Grow:
		if t.auto && t.more == nil {
			t.set = retune.Settings{Streams: v.Streams, CC: v.CC}
			t.more = retune.New(t.config(m.CCs))
			t.say("streams", int64(v.Streams), int64(v.Streams), d.Before, 0, d.Reason+": looking for better settings from now on")
		}
	case choice.Try:
		t.try(ctx, d, v.Streams)
	case choice.Commit:
		t.commit(d)
	case choice.Close:
		t.giveUp(ctx, d, v.Streams)
	}
	switch {
	case r.way != "tcp" || limited || t.trying != "":
	case t.more != nil:
		t.retune(ctx, &r.Sample)
	case (v.CC == "bbr" || slices.Contains(m.CCs, "bbr")) && !v.Held:
		t.tuneCC(ctx, &v, r)
	}
}

// look is what a sample says besides.
type look struct {
	retune.Sample
	own     string // congestion control of the first stream
	way     string // how the streams travel that are not on trial
	by      string // what holds them back
	retrans int64  // in all
}

// sample compares what is known of the streams with what was at the last look.
func (t *hostTuner) sample(m wire.Gauges, flows []peer.Flow) (v choice.Sample, r look, ok bool) {
	at := time.Duration(m.At)
	span := at - t.at
	here := make(map[uint32]peer.Flow)
	for _, f := range flows {
		here[f.ID] = f
	}
	now := make(map[uint32]seenFlow, len(m.Streams))
	v = choice.Sample{At: at, Span: span}
	r.Sample = retune.Sample{At: at, Span: span, Known: retune.KnownAll}
	var blocked, waited, idle float64
	for _, g := range m.Streams {
		f, known := here[g.Stream]
		if !known || f.Leaving {
			continue
		}
		now[g.Stream] = seenFlow{g, f}
		last, known := t.flows[g.Stream]
		if t.trying != "" && f.Transport == t.trying {
			v.OtherStreams++
			v.Other += f.Received - last.Received
			continue
		}
		if !known {
			continue
		}
		v.Streams++
		v.CC, r.way, r.own = g.CC, f.Transport, g.CC
		v.Acked += f.Received - last.Received
		v.Segs += (g.Sent - last.Sent) / fullSegment
		if n := g.Retrans - last.Retrans; n > 0 {
			v.Lost += n
			r.Events++
		}
		r.retrans += g.Retrans
		v.Wnd += part(g.Rwnd-last.Rwnd, span)
		r.Snd += part(g.Buf-last.Buf, span)
		blocked += part(g.Blocked-last.Blocked, span)
		waited += part(int64(f.Waited-last.Waited), span)
		v.RTT += time.Duration(g.RTT)
		r.Cwnd += g.Cwnd
		if least := time.Duration(g.MinRTT); least > 0 && (v.MinRTT == 0 || least < v.MinRTT) {
			v.MinRTT = least
		}
		if g.Idle {
			idle++
		}
	}
	t.at, t.flows = at, now
	if v.Streams == 0 || span <= 0 {
		return v, r, v.OtherStreams > 0 && span > 0
	}
	n := float64(v.Streams)
	v.RTT /= time.Duration(v.Streams)
	v.Wnd, r.Snd = v.Wnd/n, r.Snd/n
	r.Cwnd /= int64(v.Streams)
	r.RTT, r.MinRTT, r.Acked, r.Segs, r.Lost, r.Streams, r.Wnd = v.RTT, v.MinRTT, v.Acked, v.Segs, v.Lost, v.Streams, v.Wnd
	switch {
	case idle/n > rests:
		r.App = idle / n
	case waited/n < waits:
		r.by, r.Wnd, r.Sink.Disk = heldByTarget, 1, 1
	case blocked/n < waits && v.Wnd < waits:
		r.by, r.App, r.Source.Disk = heldBySource, 1, 1
	default:
		r.by = heldByNetwork
	}
	return v, r, true
}

// part is a time as a share of another one.
func part(n int64, of time.Duration) float64 { return min(max(0, float64(n)/float64(of)), 1) }

// fact is what the next run should begin with.
func (t *hostTuner) fact(v *choice.Sample) pathFact {
	n, way := t.c.client.Streams()
	f := pathFact{Transport: way, Streams: n, RTTms: float64(v.MinRTT) / float64(time.Millisecond)}
	if v.CC != t.own || t.cc != "" {
		f.CC = v.CC
	}
	return f
}

// config is what retuning may do.
func (t *hostTuner) config(ccs []string) retune.Config {
	o := &t.c.h.all.d.job.Engine
	c := retune.Config{Start: t.set, Least: o.StreamsMin, Most: o.StreamsMax, Interval: time.Duration(o.Interval)}
	if slices.Contains(ccs, "bbr") {
		c.CCs = []string{"bbr"}
	}
	return c
}

// retune follows the policy that changes number, control and rate of streams.
func (t *hostTuner) retune(ctx context.Context, s *retune.Sample) {
	if s.Streams == 0 {
		return
	}
	d, ok := t.more.Step(*s)
	if !ok {
		return
	}
	before := t.set
	t.set = d.Settings
	m := wire.Tune{}
	if d.CC != before.CC {
		m.CC = d.CC
		if m.CC == "" {
			m.CC = t.own
		}
	}
	if m.Rate = d.Rate; d.Rate == 0 && before.Rate > 0 {
		m.Rate = -1
	}
	if m != (wire.Tune{}) {
		_ = t.tell(ctx, m) // a refusal leaves them as they were
	}
	if d.Streams != before.Streams {
		t.c.goal(d.Streams)
		t.refill(ctx, s.Streams)
	}
	t.say("streams", int64(before.Streams), int64(d.Streams), float64(d.Before), float64(d.After), fmt.Sprintf("%s %v -> %v: %s (limited by %s)", d.Step, d.From, d.To, d.Reason, d.Class.LimitedBy()))
}

// tuneCC moves the streams to bbr, and to as many as suit it, or back, by their losses.
func (t *hostTuner) tuneCC(ctx context.Context, v *choice.Sample, r look) {
	c, change := t.policy.Step(tuner.CCSample{At: v.At, RTT: v.RTT, MinRTT: v.MinRTT, Retrans: r.retrans, Rate: int64(float64(v.Acked) / v.Span.Seconds()),
		CC: v.CC, Streams: v.Streams, Full: r.Snd})
	if !change {
		return
	}
	c.CC = cmp.Or(c.CC, t.own)
	if c.CC != v.CC {
		if err := t.tell(ctx, wire.Tune{CC: c.CC}); err != nil {
			c.Reason += " (refused: " + err.Error() + ")"
		}
		t.record(events.Tune{What: "cc", CC: c.CC, BeforeBps: int64(float64(v.Acked) / v.Span.Seconds()), Reason: c.Reason})
	}
	if o := &t.c.h.all.d.job.Engine; t.auto && c.Streams > 0 {
		n := c.Streams
		if o.StreamsMax > 0 {
			n = min(n, o.StreamsMax)
		}
		n = max(n, o.StreamsMin)
		t.c.goal(n)
		t.refill(ctx, v.Streams)
		t.say("streams", int64(v.Streams), int64(n), float64(v.Acked)/v.Span.Seconds(), 0, c.Reason)
	}
}

// refill makes streams that are lacking, and takes those out that are too many.
func (t *hostTuner) refill(ctx context.Context, have int) {
	n := t.c.wanted()
	if have > n {
		over := have - n
		t.c.client.Leave(func(peer.Flow) bool { over--; return over >= 0 })
		return
	}
	if have < n {
		t.make(ctx, n-have)
	}
}

// make makes more streams beside those that there are, unless some are being made.
func (t *hostTuner) make(ctx context.Context, n int) {
	c := t.c
	c.mu.Lock()
	there, busy := c.there, c.making != nil
	done := c.making
	if !busy {
		done = make(chan struct{})
		c.making = done
	}
	c.mu.Unlock()
	if busy {
		return
	}
	c.wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		_ = c.dial(ctx, n, there) // those that there are go on
		c.mu.Lock()
		c.failed, c.making = nil, nil
		c.mu.Unlock()
		close(done)
	})
}

// try makes streams of another transport beside those that there are.
func (t *hostTuner) try(ctx context.Context, d choice.Decision, streams int) {
	t.trying = d.Setting.Transport
	t.say("streams", int64(streams), int64(streams+d.Setting.Streams), d.Before, 0, fmt.Sprintf("trying %s beside: %s", d.Setting.Transport, d.Reason))
	sw, ok := t.c.ep.(transports.Switcher)
	if !ok || t.tell(ctx, wire.Tune{Way: d.Setting.Transport}) != nil || sw.Use(false) != nil {
		return // the watch gives up when none comes
	}
	t.make(ctx, d.Setting.Streams)
}

// commit leaves the present streams for those that were tried.
func (t *hostTuner) commit(d choice.Decision) {
	way := t.trying
	t.trying, t.more = "", nil
	from := prefer(t.c.udt)
	t.c.client.Leave(func(f peer.Flow) bool { return f.Transport != way })
	t.c.mu.Lock()
	t.c.way, t.c.streams = way, d.Setting.Streams
	t.c.mu.Unlock()
	record(t.c.h.all.d.rec, events.Transport{Dest: t.c.h.name, From: from, To: way, Reason: d.Reason + " on the same path"})
}

// giveUp closes the streams that were tried in vain.
func (t *hostTuner) giveUp(ctx context.Context, d choice.Decision, streams int) {
	way := t.trying
	t.trying = ""
	t.c.client.Leave(func(f peer.Flow) bool { return f.Transport == way })
	if sw, ok := t.c.ep.(transports.Switcher); ok {
		_ = sw.Use(true) // the usual way is always open
	}
	_ = t.tell(ctx, wire.Tune{Way: prefer(t.c.udt)})
	t.say("streams", int64(streams), int64(streams), d.Before, d.After, fmt.Sprintf("%s is no better: %s", d.Setting.Transport, d.Reason))
}

// say tells of a step.
func (t *hostTuner) say(what string, from, to int64, before, after float64, why string) {
	t.record(events.Tune{What: what, From: from, To: to, BeforeBps: int64(before), AfterBps: int64(after), Reason: why})
}

// record tells of a change as the next one of this host.
func (t *hostTuner) record(e events.Tune) {
	t.tunes++
	e.ID, e.Reason = t.tunes, t.c.h.name+": "+e.Reason
	record(t.c.h.all.d.rec, e)
}

// goal sets how many streams there should be.
func (c *hostConn) goal(n int) {
	c.mu.Lock()
	c.streams = max(1, n)
	c.mu.Unlock()
}

// note keeps what holds the streams back, and what the next run should begin with.
func (c *hostConn) note(by string, f pathFact) {
	c.mu.Lock()
	c.limit = by
	c.mu.Unlock()
	if f.Transport == "tcp" || f.Transport == "udt" {
		c.h.all.d.pasts.learned(c.h.name, c.h.port, f)
	}
}

// heldBy is what holds the streams back; "" if that is not known.
func (c *hostConn) heldBy() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limit
}

// usual has streams made the way in which they are at first, when those are gone that
// were made another way.
func (c *hostConn) usual() {
	c.mu.Lock()
	moved := c.way != ""
	c.way = ""
	c.mu.Unlock()
	if sw, ok := c.ep.(transports.Switcher); ok && moved {
		_ = sw.Use(true) // the usual way is always open
		ctx, cancel := context.WithTimeout(context.Background(), tuneTimeout)
		defer cancel()
		_ = c.client.Tune(ctx, wire.Tune{Way: prefer(c.udt)})
	}
}
