package retune

import (
	"fmt"
	"math"
	"time"
)

// Constants of the climber. Ours.
const (
	climbLook    = 3 * time.Second // of a measurement, at least
	climbSettle  = 1500 * time.Millisecond
	climbRest    = 20 * time.Second // from one round of trials to the next
	climbRestMax = 160 * time.Second
	climbLeast   = 4    // streams, where nobody asked for fewer
	climbPrice   = 0.01 // of a stream, in ln of the rate
	climbGain    = 0.02 // less is chance
	climbChange  = 0.2  // of the rate, that wakes it
	climbSoon    = time.Second
	climbSure    = 0.3 // in ln of the rate: doubling has paid after climbSoon already
	lossWeight   = 10  // of a loss ratio more than lossFree above the least seen
	lossFree     = 0.005
)

// Climber is the policy for streams whose kernel tells nothing: it sees how much
// gets through, and tries. First it doubles the streams while that pays, then it
// takes steps up and down which get smaller, then it rests, until the time has
// come for another round or the rate changes by itself. What it makes the most of
// is ln(rate) less a price of each stream and of losses, which has one top, and
// at which several such jobs share a path (M. Arifuzzaman, E. Arslan, Online
// optimization of file transfers in high-speed networks, 2021).
//
// A Climber is made by [NewClimber] and belongs to one goroutine.
type Climber struct {
	c   Config
	set Settings

	now, settle time.Duration
	win         window
	trial       *trial
	ids         int

	doubling bool
	dir      int
	step     int
	refused  int
	settled  bool // a top was found: from now on it is only looked at
	rest     backoff
	steady   float64 // bytes per second while it rests
	leastBad float64
}

// NewClimber makes a policy for a job that begins with c.Start.
func NewClimber(c Config) *Climber {
	k := &Climber{c: c, set: c.Start, doubling: true, dir: 1, settle: firstSettle, leastBad: math.Inf(1)}
	k.set.Streams = k.bound(max(1, k.set.Streams))
	return k
}

// Start gives the settings to begin with.
func (k *Climber) Start() Settings { return k.set }

// Class is Unknown: a climber does not know.
func (k *Climber) Class() Class { return Unknown }

func (k *Climber) bound(n int) int {
	most := mostFair
	if k.c.Most > 0 {
		most = min(most, k.c.Most)
	}
	if k.c.Priority == Background {
		most = min(most, 2)
	}
	return max(min(n, most), k.c.Least, 1)
}

// Step takes the next sample. ok tells that there is a decision, whose settings
// are to be made true at once. A sample that cannot be is passed over.
func (k *Climber) Step(s Sample) (d Decision, ok bool) {
	if !s.Valid(k.now) {
		return Decision{}, false
	}
	k.now = s.At
	if k.now < k.settle {
		return Decision{}, false
	}
	k.win.add(s)
	rec := Reduce(k.win.list, Trip{Base: s.MinRTT})
	least := max(climbLook, k.c.Interval, 10*rec.RTT)
	if (rec.Span < least || (rec.SE > climbGain || rec.Rising) && rec.Span < 3*least) && !k.sure(&rec) {
		return Decision{}, false
	}
	if rec.Segs > 0 {
		k.leastBad = min(k.leastBad, rec.Loss())
	}
	if k.trial != nil {
		return k.judge(&rec)
	}
	return k.next(&rec)
}

// sure tells that doubling has paid beyond doubt.
func (k *Climber) sure(rec *Record) bool {
	t := k.trial
	return t != nil && k.doubling && rec.Span >= climbSoon && k.worth(rec, t.next.Streams)-k.worth(&t.before, t.prev.Streams) > climbSure
}

// next begins the next trial, or rests.
func (k *Climber) next(rec *Record) (Decision, bool) {
	if k.c.Limit > 0 && rec.Rate > closeToLimit*float64(k.c.Limit) {
		return Decision{}, false
	}
	if k.steady > 0 {
		last := Reduce(k.win.last(climbLook), Trip{})
		if off := math.Log(max(1, last.Rate) / k.steady); math.Abs(off) > climbChange && last.SE < climbChange/2 {
			k.steady, k.rest, k.doubling, k.dir, k.settled = 0, backoff{}, true, 1, false
			k.changed(rec.RTT) // what was before is no measure
			return Decision{}, false
		}
	}
	if !k.rest.due(k.now) {
		if k.steady == 0 {
			k.steady = rec.Rate
		}
		return Decision{}, false
	}
	n := k.set.Streams
	if k.step == 0 {
		k.step = max(1, n/4)
	}
	next := n + k.dir*k.step
	if k.doubling {
		next = 2 * n
	}
	if k.dir < 0 {
		next = max(next, min(n, climbLeast))
	}
	if next = k.bound(next); next == n {
		k.turn()
		return Decision{}, false
	}
	k.ids++
	k.trial = &trial{id: k.ids, prev: k.set, next: k.set, before: *rec}
	k.trial.next.Streams = next
	d := Decision{Settings: k.trial.next, From: k.set, To: k.trial.next, ID: k.ids, At: k.now, Class: Unknown, Reason: "to see whether it pays", Before: int64(rec.Rate)}
	if k.c.Observe {
		k.trial = nil
		k.rest.next(k.now, false, climbRest, climbRestMax)
		d.Settings, d.Step = k.set, Would
		return d, true
	}
	k.set = d.Settings
	k.changed(rec.RTT)
	return d, true
}

// judge ends a trial.
func (k *Climber) judge(rec *Record) (Decision, bool) {
	t := k.trial
	k.trial = nil
	gain := k.worth(rec, t.next.Streams) - k.worth(&t.before, t.prev.Streams)
	ok := gain > 0.5*rec.SE
	if t.next.Streams > t.prev.Streams {
		ok = gain > max(climbGain, 0.5*rec.SE)
	}
	d := Decision{From: t.prev, To: t.next, ID: t.id, At: k.now, Step: Keep, Class: Unknown,
		Reason: fmt.Sprintf("%+.1f%%", 100*(rec.Rate/max(1, t.before.Rate)-1)), Before: int64(t.before.Rate), After: int64(rec.Rate)}
	if ok {
		k.refused = 0
	} else {
		d.Step = Undo
		k.set = t.prev
		k.changed(rec.RTT)
		k.turn()
	}
	d.Settings = k.set
	return d, true
}

// worth is what a setting is worth: ln of the rate, less the price of its streams
// and losses.
func (k *Climber) worth(rec *Record, n int) float64 {
	w := math.Log(max(1, rec.Rate)) - climbPrice*float64(n)
	if rec.Segs > 0 {
		w -= lossWeight * max(0, rec.Loss()-k.leastBad-lossFree)
	}
	return w
}

// turn goes on after a step that did not pay: the other way, then with a smaller
// step, then to rest.
func (k *Climber) turn() {
	if k.doubling {
		k.doubling, k.dir, k.step, k.refused = false, 1, 0, 0
		return
	}
	k.dir = -k.dir
	if k.refused++; k.refused < 2 {
		return
	}
	k.refused = 0
	if k.step /= 2; k.step > 0 && !k.settled {
		return
	}
	k.step, k.settled = 0, true
	k.rest.next(k.now, false, climbRest, climbRestMax)
	k.steady = 0
}

func (k *Climber) changed(rtt time.Duration) {
	k.settle = k.now + max(climbSettle, min(10*rtt, maxSettle))
	k.win.clear()
}
