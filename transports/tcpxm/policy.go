package tcpxm

import (
	"cmp"
	"slices"
	"time"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/transports/internal/cc"
)

// Constants of what is done about slow receivers, and of schedules. Ours.
const (
	policyInterval = 20 * time.Millisecond
	// slowRatio is by how much others must have been seen to be faster; by less, a further
	// layer makes up for it. Within alikeRatio receivers that were too slow share a group.
	slowRatio  = 2.5
	alikeRatio = 1.5
	// slowQueue is by which part of itself the RTT of a path has grown beyond others' that
	// can not carry more; the group's window lets that happen for a moment only.
	slowQueue = 0.125
	// slowLosses, and that share of what was sent since the last look, say so, too.
	slowLosses = 6
	slowLoss   = 0.1
	// slowTimes is in how many looks in a row others must have been seen to be faster.
	slowTimes = 4
	// steadyTimes is the same once the rate is found: on a busy machine all of them are late
	// now and then, and look slow until that is forgotten.
	steadyTimes = 8
	// besideTimes is the same for one that is no member, and must have lost in numbers.
	besideTimes = 2
	// wrongShare of what a receiver took in its group is so little that its own flow is no
	// better for anybody, wrongAfter the time it gets to prove itself. It goes back to the
	// group then, and stays for wrongStay.
	wrongShare = 0.5
	wrongAfter = time.Second
	wrongStay  = 30 * time.Second
	// trialGap is how much slower than all others a member must seem, for a while,
	// that the group tries whether they can go faster; trialAfter is that while, and
	// twice as long each time.
	trialGap   = 0.9
	trialAfter = 3 * time.Second
	maxGroups  = 3
	// ableFades is what remains of what a receiver was seen to take, in each look: half in
	// 1.4 s.
	ableFades = 0.99
	// returnAfter is how long a receiver must get what a group sends to join it.
	returnAfter = 5 * time.Second
	// ackBudget is how many acknowledgements per second come from all receivers, but for
	// those that the delay brings: some for each round trip are enough, and each costs
	// both ends a datagram.
	ackBudget = 5_000
	maxEvery  = 64
	maxDelay  = 25 // ms
)

// slowness is what is known of a receiver that may be too slow.
type slowness struct {
	times int           // looks in a row
	at    time.Duration // of the last look
	sent  int64         // packets delivered until then
	lost  int64         // lost
	// Between the last two looks.
	got, missed int64         // packets
	queue       time.Duration // by which all RTTs were above the lowest; negative is unknown
	peak        time.Duration // of the queue beyond others', fading
	drop        time.Duration // when it left its group; never
	good        time.Duration // since when it could take what a group sends
	left        time.Duration // when it got its own flow
	keep        time.Duration // until then it is not taken for slow
	rate        units.Rate    // what it could take
	able        float64       // bytes per second that it was seen to take in its group, fading
}

// trial is when a group looks whether it is held back.
type trial struct {
	since time.Duration // that one member seems slower than all others
	wait  time.Duration
}

// policy looks at everything that takes longer than a packet.
func (s *session) policy(now time.Duration) {
	s.policyAt = now + policyInterval
	s.reschedule()
	if s.cfg.Slow == SlowWait {
		return
	}
	for _, g := range s.groups {
		if g.layer.base == nil {
			s.dropSlow(now, g)
		}
	}
	for _, p := range s.pcbs {
		p.lookBeside(now)
		p.slow.able *= ableFades
		if p.mode == Multicast {
			p.slow.able = max(p.slow.able, float64(p.rate()))
		}
	}
	if s.cfg.Slow == SlowSplit {
		s.split(now)
		s.layers(now)
	}
}

// reschedule changes how often receivers acknowledge, if that is by much.
func (s *session) reschedule() {
	rate, low, n := 0.0, never, 0
	for _, p := range s.pcbs {
		if p.state != open || p.control == nil {
			continue
		}
		n++
		rate += float64(p.rate())
		if p.est.smooth > 0 {
			low = min(low, p.est.smooth)
		}
	}
	if n == 0 || low == never {
		return
	}
	every := int(rate / float64(ackBudget*s.cfg.Payload))
	every = min(max(every, 2), maxEvery)
	delay := int(min(max(low/4/time.Millisecond, 1), maxDelay))
	far := func(a, b int) bool { return a >= 2*b || b >= 2*a }
	if !far(every, int(s.plan.Every)) && !far(delay, int(s.plan.Delay)) {
		return
	}
	s.plan.Every, s.plan.Delay = uint8(every), uint16(delay)
	for _, p := range s.pcbs {
		p.timer.schedule = p.timer.schedule || p.state == open
	}
}

// dropSlow takes members out that others have been seen to outdo by far, while their
// own paths can not carry more.
func (s *session) dropSlow(now time.Duration, g *group) {
	if len(g.members) < 2 {
		return
	}
	top, low, second := units.Rate(0), cc.MaxRate, cc.MaxRate
	for _, p := range g.members {
		r := p.rate()
		if r == 0 {
			return // somebody is new
		}
		top = max(top, r)
		if r < low {
			low, second = r, low
		} else {
			second = min(second, r)
		}
	}
	g.look(now, top)
	switch {
	case float64(low) > trialGap*float64(second), g.layer.upper != nil && g.layer.upper.layer.base == g:
		g.trial.since = now
	case now >= g.trial.since+max(g.trial.wait, trialAfter):
		g.trial.since, g.trial.wait = now, 2*max(g.trial.wait, trialAfter)
		g.pace.Restart()
	}
}

// look decides on all members, by what each has told since the last look. Where they share
// the path that is full, such as the sender's own link, all have the same queue and miss
// the same, however their rates were seen; only who has more of it than others is slower.
func (g *group) look(now time.Duration, top units.Rate) {
	queue, losses := never, int64(1<<62)
	for _, p := range g.members {
		k := &p.slow
		k.got, k.missed = p.recent()
		losses = min(losses, k.missed)
		if k.queue, p.est.low = p.est.low-p.est.min, 0; k.queue >= 0 {
			queue = min(queue, k.queue)
		}
	}
	patience := slowTimes
	if g.pace.Found() {
		patience = steadyTimes
	}
	for _, p := range slices.Clone(g.members) {
		k := &p.slow
		more := k.missed - losses
		full := more >= slowLosses && float64(more) > slowLoss*float64(k.got+k.missed)
		if k.peak -= k.peak / 8; k.queue > 2*queue { // else the queue is one that all have
			k.peak = max(k.peak, k.queue-queue)
		}
		full = full || float64(k.peak) > slowQueue*float64(p.est.min)+float64(time.Millisecond)
		if slowRatio*float64(p.rate()) >= float64(top) || now < k.keep {
			k.times = 0
		} else if k.times++; k.times >= patience && full {
			p.slowDown(now)
		}
	}
}

// lookBeside decides on a receiver that is no member. One that listens, and whose own
// packets are lost in numbers, can not take what the group sends; one that has left
// for that and gets as much as a group sends comes back.
func (p *pcb) lookBeside(now time.Duration) {
	k := &p.slow
	switch {
	case p.state != open || p.control == nil:
	case p.mode == Fallback && p.heard && len(p.group.members) > 0 && now >= k.at+max(p.est.smooth, policyInterval):
		k.at = now
		sent, lost := p.recent()
		if k.times++; lost < slowLosses || float64(lost) <= slowLoss*float64(sent+lost) {
			k.times = 0
		}
		if k.times >= besideTimes && now >= k.keep {
			p.slowDown(now)
		}
	case p.mode == Slowed && p.group != nil:
		if p.heard && !p.sentAll() { // it has joined another group
			p.probe(p.group)
			p.multi.free = true
		}
	case p.mode == Slowed && !p.tell && !p.sentAll():
		g := p.s.fastest(p.rate())
		if wrong := p.s.largest(); wrong != nil && now >= k.left+wrongAfter && float64(p.rate()) < wrongShare*float64(k.rate) {
			g, k.good, k.keep = wrong, now-returnAfter, now+wrongStay
		}
		if g == nil {
			k.good = now
		} else if now >= k.good+returnAfter {
			p.mode, p.group, p.tell, p.heard, k.good, k.drop = Fallback, g, true, false, now, never
			p.multi.holdUntil, p.multi.ahead = now, 0
		}
	}
}

// recent tells what was delivered and lost since the last look.
func (p *pcb) recent() (sent, lost int64) {
	k := &p.slow
	sent, lost = p.sampler.Delivered()/int64(p.wire())-k.sent, p.counts.Lost-k.lost
	k.sent, k.lost = k.sent+sent, k.lost+lost
	return sent, lost
}

// fastest gives the fastest group that a receiver can keep up with; nil without one.
func (s *session) fastest(rate units.Rate) (best *group) {
	for _, g := range s.groups {
		if g.layer.base == nil && len(g.members) > 0 && float64(rate) >= trialGap*float64(g.pacing) && (best == nil || g.pacing > best.pacing) {
			best = g
		}
	}
	return best
}

// largest gives the group with most members; nil if none has any.
func (s *session) largest() (most *group) {
	for _, g := range s.groups {
		if g.layer.base == nil && len(g.members) > 0 && (most == nil || len(g.members) > len(most.members)) {
			most = g
		}
	}
	return most
}

// slowDown gives a receiver a flow of its own.
func (p *pcb) slowDown(now time.Duration) {
	p.slow.rate, p.slow.drop, p.slow.good, p.slow.left = p.rate(), now, now, now
	p.leaveFlow(now)
	p.mode, p.group, p.tell, p.heard = Slowed, nil, true, false
	p.slow.times = 0
	p.counts.Fallbacks++
	p.newFlow(now, nil)
}

// split gives slow receivers that are alike a group of their own, when the faster
// ones have settled.
func (s *session) split(now time.Duration) {
	if len(s.groups) == 0 || len(s.groups) >= maxGroups {
		return
	}
	var l []*pcb
	for _, p := range s.pcbs {
		if p.mode == Slowed && p.state == open && p.slow.drop != never && !p.tell {
			if now < p.slow.drop+splitAfter {
				return
			}
			l = append(l, p)
		}
	}
	slices.SortFunc(l, func(a, b *pcb) int { return cmp.Compare(b.slow.rate, a.slow.rate) })
	for i := range l {
		j := i + 1
		for j < len(l) && float64(l[i].slow.rate) <= alikeRatio*float64(l[j].slow.rate) {
			j++
		}
		if j-i < minMembers {
			continue
		}
		g := s.newGroup()
		s.groups = append(s.groups, g)
		for _, p := range l[i:j] {
			p.group, p.tell, p.heard, p.slow.drop = g, true, false, never
		}
		return
	}
}

// splitAfter is how long it is waited for further receivers to turn out slow.
const splitAfter = 300 * time.Millisecond
