package tcpxm

import "time"

// Constants of changing modes. Ours, but for what the papers say of 75 kB.
const (
	evidenceRing = feedbackLen
	holdDown     = 10 * time.Second // after a change back to unicast, doubled each time
	holdDownMax  = 160 * time.Second
	goodAfter    = 60 * time.Second // of multicast, after which that begins anew
	silence      = time.Second      // without anything by the group, at least
	badAfter     = 200 * time.Millisecond
	evidenceMin  = 32 // slots by the group, to change forward again
	reprobeSlots = 32
	verdictLimit = 2 * time.Second // for the probe of a mode
	// copiesLate is how long a receiver is not taken for deaf: a busy host may read what
	// came by the group later than what came by unicast.
	copiesLate = 50 * time.Millisecond
)

// evidence is what is known of whether a receiver hears the group.
type evidence struct {
	ring      [evidenceRing]bool // of the last slots delivered: sent to the group
	n, count  int
	heardAt   time.Duration // last delivery of what the group alone had carried
	seenAt    time.Duration // of heardAt, when sentThen was set
	sentThen  int64         // slots that the group had sent then
	ahead     int64         // slots that came so since the last change
	bad       time.Duration // since when the feedback is bad; 0 is not
	since     time.Duration // of the mode
	hold      time.Duration
	holdUntil time.Duration
	probeTo   int64 // slot before which copies go to the group
	qualified bool  // it hears the group
	free      bool  // need not wait for others

	refusedAt    time.Duration
	refusedBlock int64
}

// delivered counts a slot that a receiver has got.
func (v *evidence) delivered(now time.Duration, e *entry) {
	i := v.n % evidenceRing
	if v.n >= evidenceRing && v.ring[i] {
		v.count--
	}
	if v.ring[i] = e.multi; e.multi {
		v.count++
	}
	v.n++
	if e.multi && !e.uni {
		v.heardAt = now
		v.ahead++
	}
}

// aheadOf counts slots that the group alone can have carried.
func (v *evidence) aheadOf(now time.Duration, slots int64) {
	v.heardAt = now
	v.ahead += slots
}

// mayHear tells that the group may have brought what goes by unicast now: it is heard,
// or that is not known yet of one that came late.
func (v *evidence) mayHear(now time.Duration, late bool) bool {
	return v.ahead > 0 && now < v.heardAt+silence || late && v.n < evidenceRing
}

// possible is the feedback that a receiver which hears everything would give, in
// percent.
func (v *evidence) possible() int {
	if v.n == 0 {
		return 0
	}
	return 100 * v.count / min(v.n, evidenceRing)
}

// feedback takes what a receiver says of how much it hears.
func (p *pcb) feedback(now time.Duration, heard int) {
	p.counts.Feedback = heard
	if p.mode != Multicast {
		return
	}
	possible := p.multi.possible()
	switch {
	case possible < 25 || 2*heard >= possible:
		p.multi.bad = 0
	case p.multi.bad == 0:
		p.multi.bad = now
	case now >= p.multi.bad+max(p.est.smooth, badAfter):
		p.fallBack(now, holdDown)
	}
}

// probe begins to find out whether a receiver hears a group.
func (p *pcb) probe(g *group) {
	n := min(probeBytes, max(probeTotal/int64(len(p.s.pcbs)), probeLeast*p.s.stream.slot))/p.s.stream.slot + 1
	p.mode, p.group = GroupUnicast, g
	p.multi.qualified, p.multi.free, p.multi.bad, p.multi.ahead = false, false, 0, 0
	p.multi.n, p.multi.count = 0, 0
	p.multi.since = 0
	p.multi.probeTo = p.next + n
}

// holds tells that a receiver waits for the verdict before it gets more.
func (p *pcb) holds() bool {
	return p.mode == GroupUnicast && !p.multi.free && p.next >= p.multi.probeTo
}

// tickGroup looks whether a mode is still the right one.
func (p *pcb) tickGroup(now time.Duration) {
	switch p.mode {
	case GroupUnicast:
		p.tickProbe(now)
	case Multicast:
		p.tickMember(now)
	case Fallback:
		p.tickFallback(now)
	}
}

// tickProbe gives the verdict when all of the probe has arrived.
func (p *pcb) tickProbe(now time.Duration) {
	v := &p.multi
	if v.qualified || p.next < v.probeTo {
		return
	}
	if v.since == 0 {
		v.since = now
	}
	answered := p.una >= v.probeTo || p.arrived.Contains(p.una, v.probeTo)
	possible := v.possible()
	switch {
	case answered && possible >= 20 && 2*p.counts.Feedback >= possible:
		v.qualified = true
	case answered && p.counts.Feedback >= 0 && now >= v.since+copiesLate || now >= v.since+verdictLimit:
		p.fallBack(now, holdDown)
	}
}

// tickMember sees that the group does not reach a receiver any more, or that it is
// gone: nothing comes while the others get on.
func (p *pcb) tickMember(now time.Duration) {
	v, g := &p.multi, p.group
	if p.una >= g.next { // it has all
		v.heardAt = now
		return
	}
	if v.heardAt != v.seenAt {
		v.seenAt, v.sentThen = v.heardAt, g.sent
	}
	patience := max(4*p.est.smooth, silence)
	dead := p.inFlight > 0 && now >= p.timer.progress+max(2*p.est.timeout(p.late()), silence) && g.movesWithout(now, p)
	if dead || now >= v.heardAt+patience && g.sent >= v.sentThen+8 {
		p.fallBack(now, holdDown)
	}
	if now >= v.since+goodAfter {
		v.hold = 0
	}
}

// fallBack changes to unicast, for some time at least.
func (p *pcb) fallBack(now, hold time.Duration) {
	p.leaveFlow(now)
	p.behind = now >= p.timer.heard+silence/2
	v := &p.multi
	v.hold = min(max(2*v.hold, hold), holdDownMax)
	v.holdUntil, v.since = now+v.hold, now
	v.ahead, v.bad, v.qualified = 0, 0, false
	p.mode = Fallback
	p.counts.Fallbacks++
	p.newFlow(now, nil)
}

// tickFallback changes forward again when the group is heard.
func (p *pcb) tickFallback(now time.Duration) {
	v, g := &p.multi, p.group
	switch {
	case g == nil || now < v.holdUntil || !p.heard:
	case len(g.members) == 0:
		if p.next >= v.probeTo && !p.sentAll() { // nothing to be heard but copies
			p.probe(g)
			v.probeTo, v.free = p.next+reprobeSlots, true
			v.holdUntil = now + holdDown
		}
	case v.ahead >= evidenceMin && now < v.heardAt+max(2*p.est.smooth, silence) && g.next*p.s.stream.slot < p.limit:
		g.add(now, p)
	}
}

// groupAt is when the mode is to be looked at again.
func (p *pcb) groupAt() time.Duration {
	v := &p.multi
	switch {
	case p.mode == GroupUnicast && !v.qualified && v.since > 0:
		return v.since + verdictLimit
	}
	return never // the policy's ticks are often enough
}
