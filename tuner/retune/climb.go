package retune

import (
	"fmt"
	"math"
	"time"
)

// Constants of the climber. Ours.
const (
	climbLook    = 3 * time.Second // of a measurement, at least
	climbSoon    = time.Second     // of one that leaves no doubt
	climbSettle  = 1500 * time.Millisecond
	climbRest    = 20 * time.Second // after a step that did not pay
	climbRestMax = 160 * time.Second
	climbLeast   = 4    // streams, where nobody asked for fewer
	climbPrice   = 0.01 // of a stream, in ln of the rate
	climbGain    = 0.02 // in ln of the rate: less is chance
	climbSure    = 0.3  // more streams have paid beyond doubt
	climbLoss    = 0.15 // fewer have cost too much beyond doubt
	climbHarm    = 0.9  // of the rate before, below which more streams do harm
	climbUp      = 4    // a step up is a quarter more
	climbDown    = 5    // and one down a fifth less
	climbChange  = 0.2  // of the rate, that is none of the climber's doing
	lossWeight   = 10   // of a loss ratio more than lossFree above the least seen
	lossFree     = 0.005
)

// Climber is the policy for streams whose kernel tells nothing: it sees how much
// gets through, and tries. First it doubles the streams while that pays, then it
// rests. After each rest it takes a step, up and down in turns, and further ones while
// they pay. When the rate changes by itself it doubles again. What it makes the most of
// is ln(rate) less a price of each stream and of losses, which has one top, and at
// which several such jobs share a path (M. Arifuzzaman, E. Arslan, Online optimization
// of file transfers in high-speed networks, 2021). That there are rests, and single
// steps, is ours: each trial costs, mostly more than it finds.
//
// Streams that did not pay, but did no harm either, are not taken away at once: where
// losses hold each of them back they are needed as soon as the queue has emptied that
// they filled, and where they are not, steps down find that out a few at a time.
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
	dir      int  // of the next step: 1 is up, -1 down
	faster   bool // the last step made the job faster, and not only cheaper
	rest     backoff
	level    float64 // bytes per second with these settings, as far as is known; 0: it is not
	leastBad float64
}

// NewClimber makes a policy for a job that begins with c.Start.
func NewClimber(c Config) *Climber {
	k := &Climber{c: c, set: c.Start, doubling: true, settle: firstSettle, leastBad: math.Inf(1)}
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
	if !k.enough(&rec) {
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

// enough tells whether enough has been seen to decide. What doubling brings is more
// than chance.
func (k *Climber) enough(rec *Record) bool {
	if t := k.trial; t != nil && rec.Span >= climbSoon {
		gain := k.gain(rec)
		if t.next.Streams > t.prev.Streams && gain > climbSure || t.next.Streams < t.prev.Streams && gain < -climbLoss {
			return true
		}
	}
	least := max(climbLook, k.c.Interval, 10*rec.RTT)
	if k.trial == nil && k.strange(rec) {
		return true
	}
	return rec.Span >= 3*least || rec.Span >= least && (k.doubling || rec.SE <= climbGain && !rec.Rising)
}

// next begins the next trial, or rests.
func (k *Climber) next(rec *Record) (Decision, bool) {
	if k.c.Limit > 0 && rec.Rate > closeToLimit*float64(k.c.Limit) {
		return Decision{}, false
	}
	if k.strange(rec) {
		// What was found out before is no measure.
		*rec = Reduce(k.win.last(climbLook), Trip{})
		k.doubling, k.rest, k.level = true, backoff{}, 0
	}
	if k.level == 0 {
		k.level = rec.Rate
	}
	if !k.rest.due(k.now) {
		return Decision{}, false
	}
	n := k.set.Streams
	next := k.neighbour(n)
	if next == n {
		k.refuse()
		return Decision{}, false
	}
	k.ids++
	t := &trial{id: k.ids, prev: k.set, next: k.set, before: *rec}
	t.next.Streams = next
	d := Decision{Settings: t.next, From: t.prev, To: t.next, ID: k.ids, At: k.now, Class: Unknown, Reason: "to see whether it pays", Before: int64(rec.Rate)}
	if k.c.Observe {
		k.rest.next(k.now, false, climbRest, climbRestMax)
		d.Settings, d.Step = k.set, Would
		return d, true
	}
	k.trial, k.set = t, t.next
	k.changed(rec.RTT)
	return d, true
}

// strange tells whether the rate is another one than it was with these settings.
func (k *Climber) strange(rec *Record) bool {
	if k.level == 0 || rec.Span < climbLook {
		return false
	}
	last := Reduce(k.win.last(climbLook), Trip{})
	return math.Abs(math.Log(max(1, last.Rate)/k.level)) > climbChange && last.SE < climbChange/2
}

// neighbour is the number of streams that is tried after n.
func (k *Climber) neighbour(n int) int {
	switch {
	case k.doubling:
		return k.bound(2 * n)
	case k.dir > 0:
		return k.bound(n + max(1, n/climbUp))
	case k.faster:
		return k.bound(max(n-max(1, n/climbUp), min(n, climbLeast)))
	}
	return k.bound(max(n-max(1, n/climbDown), min(n, freeStreams)))
}

// judge ends a trial.
func (k *Climber) judge(rec *Record) (Decision, bool) {
	t, gain := k.trial, k.gain(rec)
	k.trial = nil
	least := 0.5 * rec.SE
	if t.next.Streams > t.prev.Streams {
		least = max(climbGain, least)
	}
	d := Decision{From: t.prev, To: t.next, ID: t.id, At: k.now, Step: Keep, Class: Unknown,
		Reason: fmt.Sprintf("%+.1f%%", 100*(rec.Rate/max(1, t.before.Rate)-1)), Before: int64(t.before.Rate), After: int64(rec.Rate)}
	k.faster = math.Log(max(1, rec.Rate)/max(1, t.before.Rate)) > climbGain
	k.level = rec.Rate
	harm := rec.Rate < climbHarm*t.before.Rate
	switch {
	case gain > least:
		if more := math.Log(float64(t.next.Streams) / float64(t.prev.Streams)); more > 0 && gain > more/2 {
			k.doubling = true // what has brought its share will bring more
		}
	case k.doubling && !harm:
		k.refuse()
	default:
		d.Step = Undo
		k.set, k.level = t.prev, t.before.Rate
		k.changed(rec.RTT)
		if k.doubling && harm {
			// Fewer may be better, too.
			k.doubling, k.dir, k.faster = false, -1, true
			break
		}
		k.refuse()
	}
	d.Settings = k.set
	return d, true
}

// gain is what the trial has brought so far: what its settings are worth over what
// those before are.
func (k *Climber) gain(rec *Record) float64 {
	t := k.trial
	return k.worth(rec, t.next.Streams) - k.worth(&t.before, t.prev.Streams)
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

// refuse goes on after what did not pay: with a rest, and then the other way. Doubling
// is followed by a step down.
func (k *Climber) refuse() {
	if k.doubling {
		k.dir = 1
	}
	k.doubling, k.dir, k.faster = false, -k.dir, false
	k.rest.next(k.now, false, climbRest, climbRestMax)
}

func (k *Climber) changed(rtt time.Duration) {
	k.settle = k.now + max(climbSettle, min(10*rtt, maxSettle))
	k.win.clear()
}
