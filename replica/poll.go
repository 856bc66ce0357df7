package replica

import (
	"fmt"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
	"github.com/gomover/gomover/internal/units"
)

// Poll looks at the time and at what happened since it was called last, and
// returns what is to be done, in this order. It is called after whatever was
// reported, and at the time of Next. The slice is valid until the next call.
func (s *Sched) Poll(now time.Duration) []Order {
	if !s.Done() {
		for _, c := range s.sources {
			s.watch(now, c)
		}
		s.compare(now)
		if s.replan || now >= s.nextPlan {
			s.plan(now)
		}
		for _, c := range s.sources {
			s.feed(now, c)
		}
	}
	s.orders, s.handed = s.handed[:0], s.orders
	return s.handed
}

// Next is when Poll must be called again although nothing happened; Never when
// all is done.
func (s *Sched) Next() time.Duration {
	if s.Done() {
		return Never
	}
	next := min(s.nextPlan, s.joint.since+lookSpan)
	for _, c := range s.sources {
		switch {
		case c.state == Resting:
			next = min(next, c.retry)
		case c.state == Active && c.left > 0 && !c.silent:
			next = min(next, c.heard+c.patience())
		case c.state == Active && c.silent:
			next = min(next, c.heard+c.lostIn())
		}
	}
	return next
}

// watch looks whether a source fell silent, is too slow, or may be tried again.
func (s *Sched) watch(now time.Duration, c *source) {
	switch c.state {
	case Resting:
		if now >= c.retry {
			c.set(Standby, c.why)
			s.replan = true
		}
	case Opening:
		if now-c.opened >= max(openTimeout, 2*c.Start) {
			s.order(Close, c, rangeset.Extent{})
			s.Down(now, c.id, "no answer")
		}
	case Active:
		// One that fell silent is listened to even when others have all its blocks:
		// it gets none until it speaks, or is opened again.
		if c.left > 0 || c.silent {
			c.meter.look(now)
			s.listen(now, c)
		}
	}
}

// listen draws conclusions from what a source delivers, or does not.
func (s *Sched) listen(now time.Duration, c *source) {
	switch quiet := now - c.heard; {
	case quiet >= c.lostIn():
		s.order(Close, c, rangeset.Extent{})
		s.Down(now, c.id, fmt.Sprintf("silent for %s", short(quiet)))
		return
	case quiet >= c.patience() && !c.silent:
		c.silent = true
		s.replan = true
	}
	if !c.meter.trusted() || c.rate() >= float64(s.config.MinRate) {
		c.slow = false
		return
	}
	if !c.slow {
		c.slow, c.slowAt = true, now
	}
	if now-c.slowAt >= slowFor && s.others(c) {
		s.Gone(now, c.id, fmt.Sprintf("below %s for %s", units.FormatRate(s.config.MinRate, false), short(slowFor)))
	}
}

// others tells whether another source works.
func (s *Sched) others(c *source) bool {
	for _, o := range s.sources {
		if o != c && o.working() {
			return true
		}
	}
	return false
}

// plan decides who takes part in what is left.
func (s *Sched) plan(now time.Duration) {
	s.replan, s.nextPlan = false, now+replanEvery
	s.guessRates()
	cs := s.candidates(now)
	choose(s.lacking(), s.config.Block, float64(s.config.Sink), s.config.MaxSources, cs)
	for i := range cs {
		c := s.sources[cs[i].id]
		switch {
		case cs[i].use && c.state == Standby:
			c.set(Opening, c.why)
			c.opened = now
			s.order(Open, c, rangeset.Extent{})
		case !cs[i].use && c.state == Standby:
			c.why = cs[i].why
		case !cs[i].use:
			s.order(Close, c, rangeset.Extent{})
			s.release(now, c)
			c.set(Standby, cs[i].why)
			s.replan = false // nothing new: this plan knew it
		}
	}
}

// candidates are the sources that could take part. A silent one keeps what it
// has, but its place is free for another.
func (s *Sched) candidates(now time.Duration) (cs []candidate) {
	full := s.filled()
	for _, c := range s.sources {
		if c.silent || c.state == Resting || c.state == Out || c.sharing(now) {
			continue
		}
		k := candidate{id: c.id, cost: c.Cost, rank: c.rank(now), held: c.state != Standby}
		k.load = Load{Start: c.Start + c.Latency, Rate: units.Rate(max(1, c.expected()))}
		k.sure = max(1, c.sure())
		switch {
		case c.state == Opening:
			k.load.Start = max(0, c.Start-(now-c.opened)) + c.Latency
		case c.state == Active:
			k.load.Start = max(0, c.due-now)
			if full {
				// The sink slows it down: it could do more.
				k.load.Rate = max(k.load.Rate, c.Rate)
				k.sure = float64(k.load.Rate)
			}
		}
		cs = append(cs, k)
	}
	return cs
}

// filled tells whether the sources deliver what the sink takes.
func (s *Sched) filled() bool {
	sum := 0.0
	for _, c := range s.sources {
		if c.working() && c.meter.trusted() {
			sum += c.rate()
		}
	}
	return s.config.Sink > 0 && sum >= 0.9*float64(s.config.Sink)
}
