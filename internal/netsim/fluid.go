package netsim

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Bounds of a fluid's step, which is an eighth of the shortest round trip: short
// enough that windows and queues move together, long enough that hours pass in
// seconds. Ours.
const (
	stepsPerRTT = 8
	minStep     = 200 * time.Microsecond
	maxStep     = 5 * time.Millisecond
)

// Fluid runs flows over the links of a world as fluids: the rate of a flow is
// its window over its round-trip time, a queue grows by what comes in beyond
// what goes out, and losses are drawn with the probability that a step has one
// (V. Misra, W. Gong, D. Towsley, Fluid-based Analysis of a Network of AQM
// Routers Supporting TCP Flows, 2000, with drop-tail queues). The congestion
// controls are those of single segments.
//
// A step costs the same at any rate, so hours of gigabits take seconds. What it
// does not know: bursts within a round trip, jitter, reordering, duplicates, the
// load of acknowledgements, and whatever else uses the world. Cross traffic
// takes its rate away. A Fluid has its own time, from 0; one goroutine uses it.
type Fluid struct {
	w       *World
	now     time.Duration
	step    time.Duration
	flows   []*FluidFlow
	basins  []*basin // in an order in which every route is ascending
	byHop   map[*Hop]*basin
	ordered bool
}

// basin is the queue of a hop.
type basin struct {
	hop   *Hop
	rank  int     // longest way to it along any route
	level float64 // bytes that wait
	in    float64 // bytes per second that come in
	out   float64 // what goes out, as a share of in
	spill float64 // what is dropped for want of room, as a share of in
	p     Params
	free  float64 // bytes per second left by cross traffic
}

// FluidFlow is a flow of a Fluid.
type FluidFlow struct {
	tcpFlow
	x       *Fluid
	rand    *rand.Rand
	out     []*basin
	back    []*basin
	rate    float64 // segments per second that are sent
	arrives float64 // segments per second that arrive
	rtt     time.Duration
	minRTT  time.Duration

	delivered  float64 // segments
	program    float64 // segments that the program has written and are not sent
	roundEnd   time.Duration
	cutAt      time.Duration // when a loss will be noticed; 0 is none
	guard      time.Duration // losses of what was sent before belong to the last cut
	recovered  time.Duration // until when what arrives was sent before the cut
	heard      time.Duration // when something arrived last
	timeouts   uint          // one after the other
	stalled    time.Duration // nothing is sent until then
	appLimited bool
	lost       float64       // segments
	nextSample time.Duration // when it is taken
}

// NewFluid makes a fluid over the links of a world, as they are set at each
// moment. The world itself stands still.
func NewFluid(w *World) *Fluid {
	return &Fluid{w: w, step: maxStep, byHop: make(map[*Hop]*basin)}
}

// AddFlow adds a flow between two hosts of the world, which starts at
// FlowConfig.Start or now, whichever is later. AckEvery does nothing.
//
// Errors: those of FlowConfig.Validate.
func (x *Fluid) AddFlow(from, to *Host, c FlowConfig) (*FluidFlow, error) {
	seed := x.w.flowSeed(c.Name)
	made, err := newTCPFlow(seed, c)
	if err != nil {
		return nil, err
	}
	f := &FluidFlow{tcpFlow: made, x: x, rand: rand.New(rand.NewPCG(seed, 6)), out: x.basinsOf(from.route(to)), back: x.basinsOf(to.route(from))}
	f.config.Start = max(c.Start, x.now)
	f.heard, f.nextSample = f.config.Start, f.config.Start+c.Sample
	x.flows = append(x.flows, f)
	x.ordered = false
	return f, nil
}

func (x *Fluid) basinsOf(route []*Hop) (l []*basin) {
	for _, h := range route {
		b := x.byHop[h]
		if b == nil {
			b = &basin{hop: h}
			x.byHop[h] = b
			x.basins = append(x.basins, b)
		}
		l = append(l, b)
	}
	return l
}

// Now gives the time of the fluid.
func (x *Fluid) Now() time.Duration { return x.now }

// Run lets time pass until an instant, to the next step.
func (x *Fluid) Run(until time.Duration) {
	for _, b := range x.basins {
		b.p = b.hop.link.Params()
	}
	if !x.ordered {
		x.order()
	}
	for x.now < until {
		x.advance()
	}
}

// order sorts the basins so that every route is ascending, and sets the step.
// Routes that contradict each other are possible; what comes late in one of
// them is then a step behind.
func (x *Fluid) order() {
	for range x.basins {
		for _, f := range x.flows {
			for i := 1; i < len(f.out); i++ {
				f.out[i].rank = min(max(f.out[i].rank, f.out[i-1].rank+1), len(x.basins))
			}
		}
	}
	slices.SortStableFunc(x.basins, func(a, b *basin) int { return a.rank - b.rank })
	x.step = maxStep
	for _, f := range x.flows {
		x.step = min(x.step, max(minStep, f.roundTrip()/stepsPerRTT))
	}
	x.ordered = true
}

// roundTrip gives the time there and back as the queues are now.
func (f *FluidFlow) roundTrip() time.Duration {
	sum := time.Duration(0)
	size := float64(f.config.MSS + f.config.Header)
	for _, b := range f.out {
		sum += b.delay(size)
	}
	for _, b := range f.back {
		sum += b.delay(float64(f.config.Header))
	}
	return sum
}

// delay is what the basin's hop takes for a packet.
func (b *basin) delay(size float64) time.Duration {
	if b.p.Rate == 0 {
		return b.p.Delay
	}
	return b.p.Delay + time.Duration((b.level+size)/float64(b.p.Rate)*1e9)
}

// advance is one step.
func (x *Fluid) advance() {
	dt := x.step.Seconds()
	for _, b := range x.basins {
		b.in = 0
	}
	for _, f := range x.flows {
		f.setRate(dt)
		if len(f.out) > 0 {
			f.out[0].in += f.bytes(f.rate)
		}
		f.arrives = f.rate
	}
	// What a basin lets through comes into the next one of each route.
	for _, b := range x.basins {
		b.flow(dt)
		for _, f := range x.flows {
			f.pass(b, dt)
		}
	}
	x.now += x.step
	for _, f := range x.flows {
		if !f.stopped && x.now > f.config.Start {
			f.hear(dt)
		}
	}
}

// bytes turns segments into bytes on the wire.
func (f *FluidFlow) bytes(segments float64) float64 {
	return segments * float64(f.config.MSS+f.config.Header)
}

// setRate decides what the flow sends in this step.
func (f *FluidFlow) setRate(dt float64) {
	f.rtt = max(f.roundTrip(), time.Microsecond)
	f.rate, f.appLimited = 0, false
	if f.stopped || f.x.now < f.config.Start || f.x.now < f.stalled {
		return
	}
	rtt := max(f.rtt.Seconds(), dt)
	f.rate = f.control.window() / rtt
	if pace := f.control.pace(); pace > 0 {
		f.rate = min(f.rate, pace)
	}
	mss := float64(f.config.MSS)
	f.limit(float64(f.config.Window) / mss / rtt)
	if f.config.Rate > 0 {
		f.program += float64(f.config.Rate) / mss * dt
		f.limit(f.program / dt)
		f.program -= f.rate * dt
	}
}

// limit lowers the rate to what the program or its buffers allow.
func (f *FluidFlow) limit(segments float64) {
	if f.rate > segments {
		f.rate, f.appLimited = segments, true
	}
}

// flow lets what came into a basin run for a step.
func (b *basin) flow(dt float64) {
	b.out, b.spill = 1, 0
	switch {
	case b.p.Cut:
		b.out = 0
		return
	case b.p.Rate == 0:
		return
	}
	// Cross traffic that does not yield still gets no more than its share of
	// what is offered.
	rate, cross := float64(b.p.Rate), float64(b.p.Cross)
	b.free = rate
	if cross > 0 {
		b.free = max(rate-cross, rate*b.in/(b.in+cross))
	}
	goes := min(b.free, b.in+b.level/dt)
	b.level = max(0, b.level+(b.in-goes)*dt)
	if most := b.most(rate); b.level > most {
		b.spill = min(1, (b.level-most)/(b.in*dt))
		b.level = most
	}
	if b.in > 0 {
		b.out = goes / b.in
	}
}

// most is what fits into the queue, in bytes.
func (b *basin) most(rate float64) float64 {
	switch {
	case b.p.Queue.Bytes > 0:
		return float64(b.p.Queue.Bytes)
	case b.p.Queue.Time > 0:
		return b.p.Queue.Time.Seconds() * rate
	}
	return DefaultQueue.Seconds() * rate
}

// pass takes a flow through a basin, if it is on its way.
func (f *FluidFlow) pass(b *basin, dt float64) {
	at := slices.Index(f.out, b)
	if at < 0 {
		return
	}
	segments := f.arrives * dt
	events := segments * b.spill
	lost := events
	if p := &b.p; !p.Cut {
		single := p.Loss + p.Corrupt
		bursts, inBursts := 0.0, 0.0
		if p.Burst.Enter > 0 {
			bad := p.Burst.Enter / (p.Burst.Enter + p.Burst.Exit)
			inBursts = bad * p.Burst.Loss
			bursts = min(inBursts, (1-bad)*p.Burst.Enter)
		}
		events += segments * (single + bursts)
		lost += segments * (single + inBursts)
		f.arrives *= b.out * (1 - single - inBursts)
	} else {
		f.arrives = 0
	}
	f.lost += lost
	if events > 0 && f.rand.Float64() < -math.Expm1(-events) {
		f.miss()
	}
	if at+1 < len(f.out) {
		f.out[at+1].in += f.bytes(f.arrives)
	}
}

// miss notes that something sent now is lost, which the sender notices a round
// trip later.
func (f *FluidFlow) miss() {
	if f.x.now < f.guard || f.cutAt > 0 {
		return
	}
	f.cutAt = f.x.now + f.rtt
	f.guard = f.cutAt
}

// hear tells the congestion control what happened in a step.
func (f *FluidFlow) hear(dt float64) {
	now := f.x.now
	if f.minRTT == 0 || f.rtt < f.minRTT {
		f.minRTT = f.rtt
	}
	if f.cutAt > 0 && now >= f.cutAt {
		f.cut(now)
	}
	if f.arrives > 0 {
		f.heard, f.timeouts = now, 0
		f.news = ack{now: now, segments: f.arrives * dt, rtt: f.rtt, srtt: f.rtt, rate: f.arrives, inflight: f.rate * f.rtt.Seconds(),
			recovering: now < f.recovered, appLimited: f.appLimited, limited: !f.appLimited}
		if now >= f.roundEnd {
			f.news.round, f.roundEnd = true, now+f.rtt
		}
		f.control.acked(&f.news)
		f.take(dt)
	} else if rto := max(2*f.rtt, flowMinRTO) << f.timeouts; now-max(f.heard, f.stalled) > min(rto, flowMaxRTO) && f.rate > 0 {
		f.timedOut(now)
	}
	if f.config.Sample > 0 && now >= f.nextSample {
		f.sampleAt(now, f.Stats())
		f.nextSample += f.config.Sample
	}
}

// cut reduces the window for a loss. A window of less than four segments cannot
// show three behind the lost one, and waits for the RTO instead.
func (f *FluidFlow) cut(now time.Duration) {
	f.cutAt = 0
	f.guard, f.recovered = now, now+f.rtt
	if f.control.window() < lossThreshold+1 {
		f.timedOut(now)
		f.stalled = now + max(2*f.rtt, flowMinRTO) - f.rtt
		return
	}
	f.stats.Cuts++
	f.control.lost(now, f.rate*f.rtt.Seconds())
}

func (f *FluidFlow) timedOut(now time.Duration) {
	f.stats.Timeouts++
	f.timeouts = min(f.timeouts+1, 8)
	f.control.timedOut(now, f.rate*f.rtt.Seconds())
	f.stalled, f.recovered = now, now
}

// take counts what arrived.
func (f *FluidFlow) take(dt float64) {
	f.delivered += f.arrives * dt
	if f.config.Bytes > 0 && f.delivered*float64(f.config.MSS) >= float64(f.config.Bytes) {
		f.delivered = float64(f.config.Bytes) / float64(f.config.MSS)
		f.stopped = true
		f.through()
	}
}

// Stop ends the flow.
func (f *FluidFlow) Stop() { f.stopped = true }

// SetRate changes what the program writes, as Flow.SetRate does.
func (f *FluidFlow) SetRate(r units.Rate) { f.config.Rate, f.program = r, 0 }

// Stats gives what the flow has done so far. Every lost segment counts as sent
// again.
func (f *FluidFlow) Stats() FlowStats {
	s, mss := f.stats, float64(f.config.MSS)
	s.Delivered = int64(f.delivered * mss)
	s.Lost = int64(f.lost)
	s.Retransmitted = s.Lost
	s.Segments = int64(f.delivered + f.lost)
	s.MinRTT, s.SRTT = f.minRTT, f.rtt
	s.Cwnd = int64(f.control.window() * mss)
	s.Inflight = int64(f.rate * f.rtt.Seconds() * mss)
	return s
}
