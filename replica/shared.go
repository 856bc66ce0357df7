package replica

import (
	"fmt"
	"math"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
)

// How sources behind one bottleneck are found. What one of them gains the other
// loses, so their rates move against each other; and without one of them all
// together are as fast as before. The first is a sign that costs nothing and may
// be wrong, the second a trial that costs what the source would have brought. All
// numbers are ours, except that a source which adds less than a fifth of its own
// rate is taken to share.
const (
	lookSpan     = 500 * time.Millisecond // rates of all sources are compared in steps of this
	looksNeeded  = 12                     // of each source that are kept
	looksRecent  = 6                      // of these tell the present rates
	againstPair  = -0.6                   // correlation with another source that is a sign
	againstAll   = -0.7                   // the same with all others together
	leastSwing   = 0.02                   // of its rate must a source vary for that
	leastShare   = 0.2                    // of its rate must a source add
	clearOf      = 2.5                    // so many standard deviations must what is missing stand out by
	rises        = 0.03                   // by this part of a source's rate the others still rise
	trialSpan    = 1 * time.Second        // in which the others may take its place, and of one measurement; ten latencies if longer
	trialSpans   = 6                      // measurements at most
	trialDrain   = 2 * time.Second        // for what is on its way
	trialLeft    = 60.0                   // seconds that must be left for one
	signLeft     = 20.0                   // the same where there is a sign
	trialApart   = 30 * time.Second       // between two of one source, doubled each time
	trialCost    = 0.003                  // of the object may be lost to trials without a sign
	signCost     = 0.01                   // and to all trials
	sharedFor    = 2 * time.Minute        // then it is asked again whether it shares
	partnerFalls = 0.85                   // a source that shares is used again when its partner has this part of its rate left
)

// joint is what is known of bottlenecks that sources share.
type joint struct {
	since time.Duration // the open look
	trial *trial        // nil: none
	cost  float64       // bytes that trials may have cost
}

// trial is a source that is held back to see whether anybody misses it.
type trial struct {
	c       *source
	rate    float64   // of the source before
	before  float64   // of all others, then
	each    []float64 // of them
	began   time.Duration
	drained time.Duration // 0: something is on its way still
	from    time.Duration // of the present measurement
	bytes   []float64     // by source, in it
	last    float64       // rate of all others in the one before
	spans   int
	missed  int // measurements in a row in which nobody missed it
}

// sharing is what a trial has found.
type sharing struct {
	partner *source
	rate    float64       // of the partner then
	until   time.Duration // it is believed
}

// compare looks at the rates of all sources against each other, and begins and ends
// trials.
func (s *Sched) compare(now time.Duration) {
	if t := s.joint.trial; t != nil {
		s.judge(now, t)
	}
	since := s.joint.since
	if now-since < lookSpan {
		return
	}
	d, full := (now - since).Seconds(), s.filled()
	s.joint.since = now
	for _, c := range s.sources {
		if c.gap || c.state != Active || c.left == 0 || c.silent || c.due > now {
			c.looks = c.looks[:0]
		} else {
			c.looks = append(c.looks, c.bucket/d)
			if !full && !c.held {
				c.record.add(c.bucket/d, now-since)
			}
			c.looks = c.looks[max(0, len(c.looks)-looksNeeded):]
		}
		c.bucket, c.gap = 0, c.left == 0
	}
	if s.joint.trial == nil {
		s.suspect(now)
	}
}

// suspect begins a trial of a source that seems to share a bottleneck, or of one
// whose trial costs next to nothing.
func (s *Sched) suspect(now time.Duration) {
	total, known := 0.0, 0
	for _, c := range s.sources {
		if c.state != Active {
			continue
		}
		if len(c.looks) < looksRecent {
			return // how much it brings is not known yet
		}
		total += recent(c)
		known++
	}
	left := float64(s.lacking()) / max(1, total)
	if known < 2 || left < signLeft || s.filled() {
		return
	}
	size := float64(s.config.Size)
	var best *source
	var worst float64 // correlation of best; 0: no sign
	for _, c := range s.sources {
		cost := s.joint.cost + recent(c)*s.trialTime(c).Seconds()
		if len(c.looks) < looksNeeded || now < c.nextTrial || cost > signCost*size || !s.tells(c) {
			continue
		}
		sign := s.against(c)
		switch {
		case sign < worst, sign == worst && best != nil && sign < 0 && c.rate() < best.rate():
			best, worst = c, sign
		case sign == 0 && worst == 0 && left >= trialLeft && cost <= trialCost*size && (best == nil || c.rate() < best.rate()):
			best = c
		}
	}
	if best != nil {
		s.hold(now, best)
	}
}

// tells tells whether a trial of a source would say anything: the others must not
// vary by more than it brings.
func (s *Sched) tells(c *source) bool {
	all := make([]float64, looksRecent)
	for _, o := range s.sources {
		for k := 1; o != c && k <= min(looksRecent, len(o.looks)); k++ {
			all[looksRecent-k] += o.looks[len(o.looks)-k]
		}
	}
	m, v := mean(all), 0.0
	for _, x := range all {
		v += (x - m) * (x - m) / (looksRecent - 1)
	}
	spans := float64(lookSpan) / float64(trialSpan) // looks in a measurement, inverted
	return (1-leastShare)*recent(c) > clearOf*math.Sqrt(v*(spans+1.0/looksRecent))
}

// recent is the mean of a source's last looks.
func recent(c *source) float64 { return mean(c.looks[max(0, len(c.looks)-looksRecent):]) }

// against is the correlation of a source's rate with that of another one that is at
// least as fast, or of all others together, where that is a sign; else 0.
func (s *Sched) against(c *source) (sign float64) {
	mine := c.looks
	all := make([]float64, looksNeeded)
	for _, o := range s.sources {
		if o == c || len(o.looks) < looksNeeded {
			continue
		}
		for k, v := range o.looks {
			all[k] += v
		}
		if mean(o.looks) < mean(mine) {
			continue
		}
		if r := correlation(mine, o.looks); r < againstPair {
			sign = min(sign, r)
		}
	}
	if r := correlation(mine, all); r < againstAll {
		sign = min(sign, r)
	}
	return sign
}

func mean(l []float64) (m float64) {
	for _, v := range l {
		m += v / float64(len(l))
	}
	return m
}

// correlation is Pearson's; 0 where the first one hardly moves.
func correlation(a, b []float64) float64 {
	ma, mb := mean(a), mean(b)
	var aa, bb, ab float64
	for i := range a {
		x, y := a[i]-ma, b[i]-mb
		aa, bb, ab = aa+x*x, bb+y*y, ab+x*y
	}
	n := float64(len(a))
	if math.Sqrt(aa/n) < leastSwing*ma || aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}

// hold begins a trial: what is not on its way from the source goes back.
func (s *Sched) hold(now time.Duration, c *source) {
	t := &trial{c: c, rate: recent(c), began: now, each: make([]float64, len(s.sources)), bytes: make([]float64, len(s.sources))}
	for _, o := range s.sources {
		if o != c && len(o.looks) > 0 {
			t.each[o.id] = recent(o)
			t.before += t.each[o.id]
		}
	}
	c.held, c.tries = true, c.tries+1
	c.nextTrial = now + trialApart<<min(c.tries, 8)
	s.joint.trial = t
	keep := int64(c.rate()*c.Latency.Seconds()/float64(s.config.Block)) + 1
	var back []rangeset.Extent
	for _, sp := range c.spans {
		n := min(keep, sp.Len())
		keep -= n
		if n < sp.Len() {
			back = append(back, rangeset.Extent{Lo: sp.Lo + n, Hi: sp.Hi})
		}
	}
	for _, e := range back {
		s.take(now, c, e, s.giveBack)
		s.order(Drop, c, e)
	}
}

// judge goes on with a trial, and ends it when it is clear.
func (s *Sched) judge(now time.Duration, t *trial) {
	c := t.c
	switch {
	case !c.held || c.state != Active || s.disturbed(t) || float64(s.lacking()) < t.before*signLeft/2:
		s.joint.cost += t.rate * (now - t.began).Seconds()
		s.endTrial(now, t)
		return
	case t.drained == 0:
		if c.left > 0 && now-t.began < trialDrain {
			return
		}
		t.drained = now
		t.from = now + s.trialStep()
		return
	case now < t.from:
		clear(t.bytes)
		return
	case now-t.from < s.trialStep():
		return
	}
	rate, d := 0.0, (now - t.from).Seconds()
	var partner *source
	gain := 0.0
	for _, o := range s.sources {
		r := t.bytes[o.id] / d
		rate += r
		if g := r - t.each[o.id]; o != c && o.working() && g > gain {
			partner, gain = o, g
		}
	}
	clear(t.bytes)
	t.from, t.spans = now, t.spans+1
	if t.missed++; partner == nil || t.before+t.rate-rate >= leastShare*t.rate {
		t.missed = 0
	}
	switch {
	case t.missed == 2:
		s.endTrial(now, t)
		s.order(Close, c, rangeset.Extent{})
		s.release(now, c)
		c.set(Standby, fmt.Sprintf("shares a bottleneck with %s: without it all are as fast", partner.Name))
		c.shares = &sharing{partner, partner.rate(), now + sharedFor}
	case t.missed == 0 && t.spans >= trialSpans || t.missed == 0 && t.spans > 1 && rate < t.last+rises*t.rate:
		s.joint.cost += t.rate * (now - t.began).Seconds()
		s.endTrial(now, t)
	}
	t.last = rate
}

// endTrial ends a trial: the source may be asked again.
func (s *Sched) endTrial(now time.Duration, t *trial) {
	t.c.held = false
	t.c.heard = max(t.c.heard, now)
	s.joint.trial = nil
}

// trialStep is how long the others have to take a source's place, and how long a
// measurement takes after that.
func (s *Sched) trialStep() time.Duration {
	var longest time.Duration
	for _, c := range s.sources {
		if c.state == Active {
			longest = max(longest, c.Latency)
		}
	}
	return max(trialSpan, 10*longest)
}

// trialTime is how long a trial of a source takes when somebody misses it.
func (s *Sched) trialTime(c *source) time.Duration { return c.Latency + 3*s.trialStep() }

// disturbed tells whether there are others than at the begin of a trial, or others
// deliver than then, or not all of these all the time: then it says nothing.
func (s *Sched) disturbed(t *trial) bool {
	if len(s.sources) > len(t.each) {
		return true
	}
	for _, o := range s.sources {
		there := t.each[o.id] > 0
		if o != t.c && there != (o.state == Active && !o.silent && !o.gap) {
			return true
		}
	}
	return false
}

// sharing tells whether a source is of no use since another one has all that both
// could get.
func (c *source) sharing(now time.Duration) bool {
	x := c.shares
	if x == nil {
		return false
	}
	if now < x.until && x.partner.working() && (!x.partner.meter.trusted() || x.partner.rate() >= partnerFalls*x.rate) {
		return true
	}
	c.shares = nil
	return false
}
