package replica

import (
	"math"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
)

// Sizes of requests. An installment is a part of what is left, so that errors
// of the rates can be mended by later ones (C. Polychronopoulos, D. Kuck, Guided
// Self-Scheduling, 1987). The bounds are ours: shorter ones cost more requests,
// longer ones have to be taken back more often.
const (
	installment   = 0.5                   // of a source's share of what nobody has
	leastSpan     = 0.25                  // seconds of its rate
	mostSpan      = 8.0                   // seconds of its rate
	mostSpanBlind = 1.0                   // the same before a rate was seen, over its spread in earlier runs
	leadLatencies = 1.5                   // asked ahead, in latencies
	leadTime      = 50 * time.Millisecond // and a little
	leastSteal    = 256 << 10             // bytes: less is not worth two requests
	leastWin      = 50 * time.Millisecond // what moving blocks must save
	copyShare     = 0.005                 // of the object may be asked for twice
	copyBlocks    = 8                     // or so many blocks
)

// feed gives a source what it needs to be busy: from what nobody has, else from
// what another source would finish later, else as a copy.
func (s *Sched) feed(now time.Duration, c *source) {
	for c.working() && c.remaining() < c.lead(s.config.Ahead) {
		if !s.assign(now, c) && !s.steal(now, c) && !s.copyFrom(now, c) {
			return
		}
	}
}

// assign gives the next installment.
func (s *Sched) assign(now time.Duration, c *source) bool {
	e, ok := s.nextFree(c)
	if !ok {
		return false
	}
	rate, sum := c.rate(), 0.0
	for _, o := range s.sources {
		if o.working() || o.state == Opening {
			sum += max(1, o.expected())
		}
	}
	most := mostSpanBlind
	switch {
	case c.meter.trusted():
		most = mostSpan
	case c.Runs > 0: // the better its rate is known the longer
		most = min(mostSpan, mostSpanBlind/max(c.Spread, mostSpanBlind/mostSpan))
	}
	block := float64(s.config.Block)
	want := installment * float64(s.free.Total()) * block * rate / max(sum, rate)
	want = min(max(want, rate*leastSpan), rate*most)
	e.Hi = min(e.Hi, e.Lo+max(1, int64(want/block)))
	s.free.Remove(e.Lo, e.Hi)
	s.give(now, c, e)
	return true
}

// nextFree is the first run of blocks that nobody has and that did not come
// wrong from the source. What came wrong from it is asked for again only when no
// source is left that could do better.
func (s *Sched) nextFree(c *source) (rangeset.Extent, bool) {
	for e := range s.free.All() {
		for part := range c.barred.Missing(e.Lo, e.Hi) {
			return part, true
		}
	}
	for e := range s.free.All() {
		if !s.better(c, e) {
			return e, true
		}
	}
	return rangeset.Extent{}, false
}

// better tells whether another source works from which not all of some blocks
// came wrong.
func (s *Sched) better(c *source, e rangeset.Extent) bool {
	for _, o := range s.sources {
		if o != c && o.working() && !o.barred.Contains(e.Lo, e.Hi) {
			return true
		}
	}
	return false
}

// from is when what a source is asked for now would begin to come, in seconds.
func (c *source) from(now time.Duration) float64 { return max(c.finish(now), c.Latency.Seconds()) }

// steal moves blocks to a source from the end of what the last one to finish
// has, so that both finish together.
func (s *Sched) steal(now time.Duration, c *source) bool {
	v := s.last(now, c, s.spare)
	if v == nil || v.finish(now) <= 2*c.Latency.Seconds() {
		return false
	}
	n := s.even(now, c, v, s.spare(v))
	if n == 0 || n*s.config.Block < leastSteal && !v.silent && n < s.spare(v) {
		return false
	}
	sp := v.spans[len(v.spans)-1]
	e := s.without(c, rangeset.Extent{Lo: sp.Hi - n, Hi: sp.Hi})
	if e.Len() == 0 {
		return false
	}
	s.take(now, v, e, nil)
	s.order(Drop, v, e)
	s.give(now, c, e)
	return true
}

// without cuts from blocks the front up to the last one that came wrong from c.
func (s *Sched) without(c *source, e rangeset.Extent) rangeset.Extent {
	if c.barred.Total() == 0 {
		return e
	}
	var tail rangeset.Extent
	for part := range c.barred.Missing(e.Lo, e.Hi) {
		tail = part
	}
	if tail.Hi != e.Hi {
		return rangeset.Extent{}
	}
	return tail
}

// last is the source that will finish last of those with blocks to take.
func (s *Sched) last(now time.Duration, c *source, takes func(*source) int64) (v *source) {
	latest := 0.0
	for _, o := range s.sources {
		if o == c || o.left == 0 {
			continue
		}
		if f := o.finish(now); f > latest && takes(o) > 0 {
			latest, v = f, o
		}
	}
	return v
}

// spare is how many blocks at the end of a source's last span can be taken: not
// those on their way, and not those that somebody else has, too.
func (s *Sched) spare(v *source) int64 {
	sp := v.spans[len(v.spans)-1]
	for e := range s.twice.All() {
		if e.Hi > sp.Lo {
			sp.Lo = min(max(sp.Lo, e.Hi), sp.Hi)
		}
	}
	if v.silent {
		return sp.Len()
	}
	coming := v.rate() * v.Latency.Seconds()
	return max(0, min(sp.Len(), int64((v.remaining()-coming)/float64(s.config.Block))))
}

// even is how many of at most n blocks c must take from v for both to finish
// together; 0 if that is no better than it is.
func (s *Sched) even(now time.Duration, c, v *source, n int64) int64 {
	block := float64(s.config.Block)
	from, late := c.from(now), v.finish(now)
	if !math.IsInf(late, 1) {
		n = min(n, max(1, int64((late-from)/(1/v.rate()+1/c.rate())/block)))
	}
	if n < 1 || from+float64(n)*block/c.rate()+leastWin.Seconds() > late {
		return 0
	}
	return n
}

// copyFrom asks a source that would be idle for the last blocks of the one that
// finishes last, without taking them away: the first copy counts.
func (s *Sched) copyFrom(now time.Duration, c *source) bool {
	v := s.last(now, c, s.single)
	if v == nil {
		return false
	}
	budget := max(int64(copyShare*float64(s.config.Size)), copyBlocks*s.config.Block) - s.copied
	n := s.even(now, c, v, min(s.single(v), budget/s.config.Block))
	if n == 0 {
		return false
	}
	e, _ := s.lastSingle(v)
	if e = s.without(c, rangeset.Extent{Lo: max(e.Lo, e.Hi-n), Hi: e.Hi}); e.Len() == 0 {
		return false
	}
	s.twice.Add(e.Lo, e.Hi)
	s.copied += s.bytes(e)
	s.give(now, c, e)
	return true
}

// lastSingle is the last run of blocks that only v has.
func (s *Sched) lastSingle(v *source) (last rangeset.Extent, ok bool) {
	for i := len(v.spans) - 1; i >= 0 && !ok; i-- {
		for part := range s.twice.Missing(v.spans[i].Lo, v.spans[i].Hi) {
			last, ok = part, true
		}
	}
	return last, ok
}

// single is how many blocks lastSingle finds.
func (s *Sched) single(v *source) int64 {
	e, _ := s.lastSingle(v)
	return e.Len()
}
