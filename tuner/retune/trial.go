package retune

import (
	"fmt"
	"math"
	"time"
)

// kind is what a trial is about.
type kind uint8

const (
	grow    kind = iota // more streams, since each brings its own share
	shrink              // fewer, since an end is the limit
	pay                 // a few more or less, on a full path
	control             // another congestion control
	trim                // a limit of the rate, against losses
	lift                // a higher one
)

// trial is a change that is being measured.
type trial struct {
	id         int
	kind       kind
	prev, next Settings
	before     Record
	reason     string
}

// bounds of a trial's length: it ends when the rate is known to within err, not
// before least and not after most.
func (t *trial) bounds(rtt time.Duration, mss int) (least, most time.Duration, err float64) {
	least, most = max(1500*time.Millisecond, 10*rtt), max(8*time.Second, 60*rtt)
	switch t.kind {
	case grow:
		return max(time.Second, 8*rtt), max(3*time.Second, 20*rtt), 0.08
	case control:
		return max(2*time.Second, 20*rtt), max(5*time.Second, 40*rtt), 0.05
	case pay:
		least = min(max(least, cubicPeriod(t.before.Cwnd, mss)), payMost)
		return least, least + 4*time.Second, 0.02
	case shrink, trim, lift:
	}
	return least, most, 0.02
}

// abandon is the share of the rate before below which a trial that was to cost
// nothing ends at once.
const abandon = 0.8

// judge ends a trial when enough is known.
func (p *Policy) judge() (Decision, bool) {
	t := p.trial
	rec := Reduce(p.win.list, p.trip())
	least, most, err := t.bounds(max(p.base, rec.RTT), p.c.MSS)
	gain := math.Log(max(1, rec.Rate)) - math.Log(max(1, t.before.Rate))
	short := rec.Span < least
	if t.kind != grow && t.kind != control && rec.Span >= max(500*time.Millisecond, 4*p.base) && gain < math.Log(abandon) {
		return p.end(false, &rec)
	}
	if short || rec.Span < most && (rec.SE > err || rec.Rising) {
		return Decision{}, false
	}
	ok := true
	switch t.kind {
	case grow:
		ok = p.judgeGrowth(gain, &rec)
	case shrink:
		ok = gain > -0.02
	case pay:
		ok = p.judgePrice(gain, &rec)
	case control:
		ok = gain > math.Log(abandon)
	case trim:
		ok = gain > -0.03 && rec.Loss() < t.before.Loss()/2
	case lift:
		ok = gain > 0.025 && rec.Loss() < t.before.Loss()+0.003
	}
	return p.end(ok, &rec)
}

// judgePrice tells whether a few streams more or less were worth it. What a full
// path loses or gains others gain or lose, and has its price. A path that is no
// longer full with fewer streams is nobody's gain.
func (p *Policy) judgePrice(gain float64, rec *Record) bool {
	t := p.trial
	p.price.alone = rec.Queue < queueFull
	if p.price.alone {
		if t.next.Streams < t.prev.Streams {
			return gain > -0.005
		}
		return gain > max(0.02, rec.SE)
	}
	return gain-(p.cost(t.next.Streams)-p.cost(t.prev.Streams)) > 0.5*rec.SE
}

// judgeGrowth tells whether more streams brought more. Where nothing comes of
// them, the path carries no more than it did.
func (p *Policy) judgeGrowth(gain float64, rec *Record) bool {
	t := p.trial
	p.paid = false
	more := math.Log(float64(t.next.Streams) / float64(t.prev.Streams))
	if gain < 0.15*more && gain < 0.05 && gain+rec.SE < 0.3*more {
		p.vain++
		p.vainAt = p.now
		p.belief = 1.1 * max(rec.Rate, t.before.Rate)
		return false
	}
	p.vain = 0
	p.paid = gain > 0.5*more
	if gain > 0.7*more && t.before.Queue > queueFull {
		// Twice the streams on a full path would not go nearly twice as fast:
		// there was no queue, the way has become longer.
		p.base, p.rebased = rec.Least, true
		p.belief, p.filled = 0, 0
	}
	return true
}

// end ends the trial, one way or the other.
func (p *Policy) end(ok bool, rec *Record) (Decision, bool) {
	t := p.trial
	p.trial = nil
	d := Decision{From: t.prev, To: t.next, ID: t.id, At: p.now, Step: Keep, Class: Classify(*rec, Context{Limit: float64(p.c.Limit), Belief: p.belief}),
		Reason: fmt.Sprintf("%+.1f%%", 100*(rec.Rate/max(1, t.before.Rate)-1)), Before: int64(t.before.Rate), After: int64(rec.Rate)}
	p.settled(t, ok)
	if !ok {
		d.Step = Undo
		p.set = t.prev
		if t.kind == grow && rec.Rate > 0.95*t.before.Rate {
			p.set = t.next
			p.goal, p.goalAt, p.goalRate = t.prev.Streams, p.now+goalWait, rec.Rate
			p.set.Streams = p.down()
		}
		p.changed(p.set.Streams > t.next.Streams)
	}
	if ok && rec.Rate > p.steady.Rate {
		p.steady, p.steadyAt = *rec, p.now
	}
	d.Settings = p.set
	return d, true
}

// goalWait is how long streams that did not help are kept while the path is not
// full: taking them away then costs what they carry until others have grown.
const goalWait = 10 * time.Second

// goalShare is what must be left of the rate on the way back, for that to go on.
const goalShare = 0.93

// down is the next number of streams on the way to the goal. Streams that end
// leave a hole which the others fill only as fast as they grow: a few at a time
// are made good from the queue.
func (p *Policy) down() int {
	n := p.set.Streams
	if n <= freeStreams {
		return p.goal
	}
	return max(p.goal, n-n/5)
}

// retreat takes the next step back from streams that did not help.
func (p *Policy) retreat() (Decision, bool) {
	from := p.set
	rec := Reduce(p.win.list, p.trip())
	p.set.Streams = p.down()
	if p.set.Streams == p.goal {
		p.goal = 0
	}
	p.changed(false)
	return Decision{Settings: p.set, From: from, To: p.set, ID: p.ids, At: p.now, Step: Undo, Class: p.Class(), Reason: "on the way back", Before: int64(rec.Rate)}, true
}

// settled tells the rule that began a trial how it ended.
func (p *Policy) settled(t *trial, ok bool) {
	switch t.kind {
	case shrink:
		p.prune.next(p.now, ok, pruneLeast, pruneMost)
		if !ok {
			p.divisor = pruneLater
		}
	case pay:
		p.price.settled(p.now, ok)
	case control:
		p.bbr.next(p.now, ok, bbrLeast, bbrMost)
	case trim:
		p.trim.next(p.now, ok, trimLeast, trimMost)
		p.lift.at = p.now + liftLeast
	case lift:
		p.lift.next(p.now, ok, liftLeast, liftMost)
	case grow:
		if ok { // what was tried before was tried with other streams
			p.price = priceRule{backoff: backoff{at: p.now + priceFirst, wait: priceFirst}, dir: -1, step: priceStep}
		}
	}
}

func (r *priceRule) settled(now time.Duration, ok bool) {
	if ok {
		r.step = min(priceStep, 1.3*r.step)
		r.wait = max(priceLeast, r.wait*7/10)
		r.refused = 0
	} else {
		if r.dir > 0 || !r.alone {
			r.dir = -r.dir
		}
		r.step = max(0.1, 0.8*r.step)
		if r.alone {
			r.wait = min(max(priceAlone, 3*r.wait), priceMost)
		} else {
			r.wait = min(max(priceFirst, r.wait*3/2), priceMost)
		}
		r.refused++
	}
	r.at = now + r.wait
}
