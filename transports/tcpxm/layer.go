package tcpxm

import (
	"cmp"
	"slices"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/transports/internal/cc"
	"github.com/gomover/gomover/transports/tcpxm/internal/coding"
)

// A group goes at the pace of its slowest member. Those that can take more get a further
// layer: a second group, which they hear besides, and which sends from a slot on that lies
// ahead. When the first group, the base, has come there they leave it, and the layer is
// their group.
//
//	base    ------------------->|from    all members, at the rate of the slowest
//	layer                       |-------------->     those that can take more,
//	                                             what their paths bear besides
//
// So nothing before that slot is sent twice, and the two together take no more of the
// sender's link than a group of the faster ones alone would.
//
// What is known of a receiver by a layer is in a second control block, whose over is that
// of the receiver. It has a window and a scoreboard from the layer's first slot on, and
// sends nothing by unicast.

// Constants of layers. Ours.
const (
	// layerLeast is by how much the fastest member must outdo the slowest.
	layerLeast = 1.3
	// layerKnown is how long one that has joined a group at work must have been in it.
	layerKnown = time.Second
	// layerTimes is in how many looks in a row it must.
	layerTimes = 3
	// layerBetter is the most of that which may remain with a layer.
	layerBetter = 0.9
	// layerWorth is the least part of the base's rate that a layer must bring, and
	// layerHarm the part of its rate at the beginning that the base must keep: else both
	// share a link that is full.
	layerWorth = 0.15
	layerHarm  = 0.75
	// layerAnswer is how long members may take to hear it.
	layerAnswer = 500 * time.Millisecond
	// layerSettles is when it is judged.
	layerSettles = time.Second
	// layerSpan is how much must be left, at the rate of the base.
	layerSpan = time.Second
	// layerEarly is the part of the way to where both would end at the same time at which
	// the layer begins: what it brings later than the base costs nothing, what it has
	// brought too early leaves it idle.
	layerEarly = 0.95
	// layerBeyond is by which part of a receiver's window the source is to be known behind it,
	// to see where a layer should begin.
	layerBeyond = 4
	// layerAgain is when another one is tried after one that brought nothing, and twice as
	// long each time.
	layerAgain = 5 * time.Second
	// layerProbes is how many timeouts a member of a layer is kept for.
	layerProbes = 4
)

// layering is what a group has to do with layers.
type layering struct {
	base  *group // whose further layer it is; nil of none, or not any more
	upper *group // its own one; base of that is nil while it is at rest
	from  int64  // slot at which it begins, as a layer
	times int    // looks in a row at which a layer seemed worth while
	asked time.Duration
	again time.Duration // not before
	wait  time.Duration
	most  units.Rate // of a layer, beside its base
	share float64    // of what lies ahead, that the base sends
	rate  float64    // of the slowest when the layer began, bytes per second
}

// layers begins, looks after and ends further layers.
func (s *session) layers(now time.Duration) {
	for _, g := range slices.Clone(s.groups) {
		e := g.layer.upper
		switch {
		case g.layer.base != nil: // its base does
		case e == nil || e.layer.base == nil:
			g.proposeLayer(now)
		case len(e.members) == 0:
			g.awaitLayer(now)
		default:
			g.judgeLayer(now)
		}
	}
}

// proposeLayer asks the members that can take more to hear a further layer.
func (g *group) proposeLayer(now time.Duration) {
	s, x, l := g.s, &g.s.stream, &g.layer
	if len(g.members) <= minMembers || !g.pace.Found() || now < l.again || l.upper == nil && len(s.groups) >= maxGroups {
		return
	}
	list, rates := byRate(g.members)
	k := layerCut(rates)
	if g.anyNew(now) || x.closed && k > 0 && float64(x.end-g.next*x.slot) < rates[0]*layerSpan.Seconds() {
		k = 0
	}
	if l.times++; k == 0 {
		l.times = 0
	}
	if l.times < layerTimes {
		return
	}
	if l.upper == nil {
		l.upper = s.newGroup()
		s.groups = append(s.groups, l.upper)
	}
	e := l.upper
	e.layer.base, l.asked, l.times = g, now, 0
	l.share, l.rate = layerEarly*rates[0]/rates[k], rates[0]
	e.layer.most = units.Rate(rates[k] - rates[0])
	s.reach = x.end
	for _, p := range list[k:] {
		p.layer, p.layered, p.tell = e, false, true
		s.reach = max(s.reach, p.limit+p.widest/layerBeyond)
	}
}

// anyNew tells that a member has joined the others of late: what it can take is not known.
func (g *group) anyNew(now time.Duration) bool {
	first := now
	for _, p := range g.members {
		first = min(first, p.multi.since)
	}
	return slices.ContainsFunc(g.members, func(p *pcb) bool { return p.multi.since > first && now < p.multi.since+layerKnown })
}

// byRate gives members in the order of what they were seen to take, and that, in bytes per
// second; none if it is not known of one.
func byRate(members []*pcb) (list []*pcb, rates []float64) {
	list = slices.Clone(members)
	slices.SortStableFunc(list, func(a, b *pcb) int { return cmp.Compare(a.slow.able, b.slow.able) })
	for _, p := range list {
		if p.rate() == 0 || p.slow.able == 0 {
			return nil, nil
		}
		rates = append(rates, p.slow.able)
	}
	return list, rates
}

// layerCut tells from which one on, in the order of rates, receivers are to be in a further
// layer, so that the one that is held back most is so the least; 0: in none.
func layerCut(rates []float64) (k int) {
	n := len(rates)
	if n <= minMembers {
		return 0
	}
	without := rates[n-1] / rates[0]
	best := without
	for i := 1; i <= n-minMembers; i++ {
		if held := max(rates[n-1]/rates[i], rates[i-1]/rates[0]); held < best {
			best, k = held, i
		}
	}
	if without < layerLeast || best > layerBetter*without {
		return 0
	}
	return k
}

// awaitLayer begins with the layer when those that were asked hear it.
func (g *group) awaitLayer(now time.Duration) {
	s, x, e := g.s, &g.s.stream, g.layer.upper
	late := !x.closed && x.end < s.reach
	var ready []*pcb
	for _, p := range g.members {
		switch {
		case p.layer != e:
		case p.layered:
			ready = append(ready, p)
		default:
			late = true
		}
	}
	if late && now < g.layer.asked+layerAnswer {
		return
	}
	from := g.next + int64(float64(x.slots()-g.next)*g.layer.share)
	for _, p := range ready {
		from = min(from, p.limit/x.slot-coding.K)
	}
	if from -= from % coding.K; len(ready) < minMembers || from <= g.next || from+coding.K > x.slots() {
		g.endLayer(now)
		return
	}
	s.reach = 0
	e.layer.from, e.next, e.sent, e.vouched, e.begun = from, from, 0, from*x.slot, true
	e.blocks, e.waited, e.extra = make(map[int64]*mending), true, 0
	e.pace.Restart()
	for _, p := range g.members {
		if p.layer == e && !p.layered {
			p.dropUpper(now)
		}
	}
	for _, p := range ready {
		e.members = append(e.members, p.further(now, e))
	}
}

// further makes the control block of a receiver for a layer.
func (p *pcb) further(now time.Duration, e *group) *pcb {
	q := &pcb{s: p.s, index: p.index, addr: p.addr, state: open, mode: Multicast, group: e, over: p, start: p.start,
		una: e.next, next: e.next, acked: p.acked, limit: p.limit, widest: p.widest, est: p.est}
	q.timer = timers{heard: now, progress: now, said: now, stuck: now, syn: never, fin: never}
	for k := range p.arrived.All() {
		q.arrived.Add(max(k.Lo, e.next), k.Hi)
	}
	q.newFlow(now, e)
	p.upper = q
	return q
}

// judgeLayer ends a layer that brings little, or costs the base much.
func (g *group) judgeLayer(now time.Duration) {
	e := g.layer.upper
	if len(e.members) < minMembers {
		g.endLayer(now)
		return
	}
	base, rate := lowest(g.members), lowest(e.members)
	if base == 0 || rate == 0 || !e.pace.Found() || now < g.layer.asked+layerSettles {
		return
	}
	if rate < layerWorth*base || base < layerHarm*g.layer.rate {
		g.endLayer(now)
	}
}

// lowest is the lowest rate of members, in bytes per second; 0 if one is not known.
func lowest(members []*pcb) float64 {
	low := float64(cc.MaxRate)
	for _, p := range members {
		low = min(low, float64(p.rate()))
	}
	return low
}

// limit keeps the pace of a layer within what its members were seen to take beside the base,
// which would lose by more, for all.
func (g *group) limit(rate units.Rate) units.Rate {
	if g.layer.base == nil {
		return rate
	}
	return min(rate, g.layer.most)
}

// endLayer takes all members out of the further layer, which is at rest then. What it has
// brought is known of them.
func (g *group) endLayer(now time.Duration) {
	e := g.layer.upper
	for _, p := range g.s.pcbs {
		if p.layer == e {
			p.dropUpper(now)
		}
	}
	e.members, e.layer.base, e.begun, g.s.reach = nil, nil, false, 0
	g.layer.wait = max(layerAgain, 2*g.layer.wait)
	g.layer.again = now + g.layer.wait
}

// dropUpper takes a receiver out of a further layer.
func (p *pcb) dropUpper(now time.Duration) {
	if p.layer == nil {
		return
	}
	if q := p.upper; q != nil {
		q.fill(now)
		q.control.Close(&q.stats)
		q.group.remove(q)
		p.count(q)
		p.elsewhere.lost += q.counts.Lost
		p.slow.lost += q.counts.Lost
	}
	p.layer, p.upper, p.layered = nil, nil, false
	p.tell = p.state == open && p.group != nil
}

// count adds what a layer has sent on a receiver's behalf.
func (p *pcb) count(q *pcb) {
	p.counts.GroupBytes += q.counts.GroupBytes
	p.counts.GroupPackets += q.counts.GroupPackets
	p.counts.Lost += q.counts.Lost
}

// handOver makes the layer the group of its members when the base has come to where it began.
func (g *group) handOver(now time.Duration) {
	e := g.layer.upper
	if e == nil || e.layer.base != g || len(e.members) == 0 || g.next < e.layer.from {
		return
	}
	if e.next <= g.next { // it has sent nothing
		g.endLayer(now)
		return
	}
	for i, q := range e.members {
		q.over.takeOver(now, q)
		e.members[i] = q.over
	}
	e.layer.base, g.layer.upper = nil, nil
	e.pace.Restart() // for what the base took of the paths
}

// takeOver goes on with what is known of a receiver by a layer, which is its group now.
func (p *pcb) takeOver(now time.Duration, q *pcb) {
	p.fill(now)
	p.control.Close(&p.stats)
	p.group.remove(p)
	for slot := p.una; slot < p.next; slot++ {
		if e := p.entry(slot); e.out {
			e.early = true // its mark is of another flow
		}
	}
	for p.next < q.next {
		slot := p.next
		e := p.grow()
		if slot < q.una {
			e.known = true
			continue
		}
		if *e = *q.entry(slot); e.out {
			p.inFlight++
		}
	}
	addAll(&p.lost, &p.coded) // which the base mended
	addAll(&p.lost, &q.lost)
	p.coded = q.coded
	p.control, p.ctl, p.stats, p.sampler = q.control, q.ctl, q.stats, q.sampler
	p.newest = max(p.newest, q.newest)
	p.order.merge(&q.order)
	p.count(q)
	p.elsewhere.lost, p.elsewhere.resent = p.counts.Lost-q.counts.Lost, p.counts.Resent
	p.slow.sent, p.slow.lost, p.slow.times = p.sampler.Delivered()/int64(p.wire()), p.counts.Lost, 0
	p.group, p.layer, p.upper, p.layered, p.tell = q.group, nil, nil, false, true
	p.multi.since, p.multi.heardAt, p.multi.bad = now, now, 0
	p.multi.seenAt, p.multi.sentThen = now, p.group.sent
}

// addAll adds all of a set to another.
func addAll(to, from *rangeset.Set) {
	for e := range from.All() {
		to.Add(e.Lo, e.Hi)
	}
}

// layerNumber is by how many addresses the layer lies behind the group, for option 56.
func (p *pcb) layerNumber() uint8 {
	if p.layer == nil || p.group == nil {
		return 0
	}
	return uint8(p.layer.number - p.group.number)
}

// tickUpper gives up what a layer has sent and nobody has heard of for too long; the base
// brings it.
func (p *pcb) tickUpper(now time.Duration) {
	q := p.upper
	if q == nil || now < q.timeoutAt() {
		return
	}
	if q.timer.probes++; q.timer.probes == 1 {
		return // what follows may tell
	}
	if q.timer.probes > layerProbes {
		p.dropUpper(now)
		return
	}
	for slot := q.una; slot < q.next; slot++ {
		if e := q.entry(slot); e.out {
			q.lose(now, slot, e, true)
		}
	}
	q.losses = q.losses[:0]
	q.fill(now)
	q.control.OnTimeout(&q.stats)
	q.ctl = q.control.Control()
}
