package retune

import (
	"fmt"
	"time"
)

// Constants of Depth. Ours, but for the gain that must be seen, which is that of Marlin
// (M. Arifuzzaman, E. Arslan, B. Bockelman, J. Basney, Swift and reliable transfers at
// scale with adaptive concurrency, 2023).
const (
	depthLooks  = 2    // of bounded work, one after the other, before anything is tried
	depthGain   = 1.05 // of the work done, that more at a time must bring
	depthClear  = 1.5  // of the work done, that leaves no doubt after one look
	depthLoss   = 0.98 // of the work done, that less at a time may leave
	depthSettle = 1    // looks after a change, that say nothing yet
	depthLeast  = 10 * time.Second
	depthMost   = 5 * time.Minute
)

// Work is what a stage of a transfer, its reading or its writing, did between two
// looks.
type Work struct {
	// At is the end of the interval, since the job's start, and Span its length.
	At, Span time.Duration
	// Done is how much was done, in any unit.
	Done float64
	// Bound says that the stage held the transfer back, and waited for a device
	// rather than for processors, of which more at a time would only take more.
	Bound bool
}

// Depth decides how much a stage reads or writes at a time. A device that answers late
// and has many hands, as file systems on networks and arrays of disks have, is busy only
// when many requests are under way; a disk with one arm is better off with few. So it
// tries, and only when the device is what holds the transfer back: twice as much at a
// time, and keeps it if that brings 5 %. Where that is refused, half as much.
//
// A Depth is made by [NewDepth] and belongs to one goroutine. The same looks make the
// same decisions.
type Depth struct {
	n, most int
	now     time.Duration
	recent  []float64 // rates of the last looks while it was bound
	down    bool      // what is tried next
	due     backoff
	cleared float64 // the rate after a trial that left no doubt: the next needs no further looks
	try     *depthTrial
}

// depthTrial is another depth that is being measured.
type depthTrial struct {
	from   int
	before float64
	looks  int
	rates  []float64
}

// NewDepth makes one that begins with one request at a time, and has most at most.
func NewDepth(most int) *Depth { return &Depth{n: 1, most: max(1, most)} }

// At is how much there shall be at a time.
func (d *Depth) At() int { return d.n }

// Change is what a look made of the depth, for people.
type Change struct {
	From, To int
	Reason   string
	// Before and After are work done per second; After is 0 while it is being tried.
	Before, After float64
}

// Step takes a look; ok tells that the depth is another one from now on, or stays what
// was tried. A look that took no time, or that is not later than the last one, is passed
// over.
func (d *Depth) Step(w Work) (c Change, ok bool) {
	if w.Span <= 0 || w.At <= d.now || w.Done < 0 {
		return Change{}, false
	}
	d.now = w.At
	rate := w.Done / w.Span.Seconds()
	if d.try != nil {
		return d.judge(rate, w.Bound)
	}
	if !w.Bound {
		d.recent, d.cleared = d.recent[:0], 0
		return Change{}, false
	}
	d.recent = append(d.recent, rate)
	if len(d.recent) < depthLooks && d.cleared == 0 || !d.due.due(d.now) {
		return Change{}, false
	}
	d.recent = d.recent[max(0, len(d.recent)-depthLooks):]
	next, reason := min(2*d.n, d.most), "it waits for the device: more at a time"
	if d.down || next == d.n {
		next, reason = max(1, d.n/2), "more at a time did not help: less may"
	}
	if next == d.n {
		d.refuse()
		return Change{}, false
	}
	d.try = &depthTrial{from: d.n, before: max(average(d.recent), d.cleared)}
	d.cleared = 0
	d.n = next
	return Change{From: d.try.from, To: next, Reason: reason, Before: d.try.before}, true
}

// judge ends a trial when enough is seen.
func (d *Depth) judge(rate float64, bound bool) (Change, bool) {
	t := d.try
	if t.looks++; t.looks <= depthSettle {
		return Change{}, false
	}
	if t.rates = append(t.rates, rate); len(t.rates) < depthLooks && rate < depthClear*t.before {
		return Change{}, false
	}
	d.try, d.recent = nil, d.recent[:0]
	after := average(t.rates)
	gain := after / max(t.before, 1e-9)
	keep := gain >= depthGain
	if d.n < t.from {
		keep = gain >= depthLoss
	} else if !bound && gain >= depthLoss {
		keep = true // something else is the limit now
	}
	c := Change{From: t.from, To: d.n, Before: t.before, After: after, Reason: fmt.Sprintf("keep: %+.1f%%", 100*(gain-1))}
	if keep {
		d.due.next(d.now, true, 0, 0)
		if gain >= depthClear {
			d.cleared = after
		}
		d.down = d.n < t.from
		return c, true
	}
	c.From, c.To, c.Reason = d.n, t.from, fmt.Sprintf("undo: %+.1f%%", 100*(gain-1))
	d.n = t.from
	d.refuse()
	return c, true
}

// refuse waits, and turns: what did not help upwards may help downwards.
func (d *Depth) refuse() {
	d.down = !d.down
	d.due.next(d.now, false, depthLeast, depthMost)
}

func average(l []float64) float64 {
	sum := 0.0
	for _, v := range l {
		sum += v
	}
	return sum / float64(max(1, len(l)))
}
