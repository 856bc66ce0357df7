package estimate

import (
	"math"
	"slices"
	"time"
)

// Delays are round trips of one train of echoes.
type Delays struct {
	N             int
	Min, P50, P95 time.Duration
	Deviation     time.Duration // 1.4826 times the median absolute deviation
}

// Spread describes round trips; those that are not above 0 are left out.
func Spread(rtts []time.Duration) (d Delays) {
	s := slices.DeleteFunc(slices.Clone(rtts), func(r time.Duration) bool { return r <= 0 })
	if d.N = len(s); d.N == 0 {
		return d
	}
	slices.Sort(s)
	d.Min, d.P50, d.P95 = s[0], s[len(s)/2], s[(len(s)*95+99)/100-1]
	for i, r := range s {
		s[i] = (r - d.P50).Abs()
	}
	d.Deviation = time.Duration(1.4826 * float64(median(s)))
	return d
}

// Constants of Base. Ours, but for the idea: a minimum over too short a time is a
// standing queue's, one over too long a time that of a path that is gone.
const (
	baseShort = 3 * time.Second  // a window that tells of a new path
	baseLong  = 60 * time.Second // the usual window
	// baseStanding is how long a path is full until its queue may be standing.
	baseStanding = 10 * time.Second
	// baseMoved is by how much the least round trip grows when the path is another.
	baseMoved = 1.2
	// baseSlot is the grain of the windows.
	baseSlot = 500 * time.Millisecond
)

// State is what a sender knows of its path when it takes a round trip.
type State struct {
	Saturated bool // the path is full: a queue may stand
	Windowed  bool // a window limits the sender, and nothing is lost: there is no queue
}

// Base is the running minimum of a path's round trip: what it takes without
// queues. The zero value knows nothing yet. Times are since any instant that
// stays the same. Not for several goroutines at once.
type Base struct {
	slots     [int(baseLong/baseSlot) + 1]slot
	least     time.Duration // ever, on this path
	full      time.Duration // since when the path has been full
	saturated bool
	began     bool
	last      int64 // number of the newest slot
}

// slot is the least round trip of one baseSlot.
type slot struct {
	number int64
	least  time.Duration // 0: none
}

// Observe takes a round trip, measured at an instant, and reports whether it
// shows that the path has become another, longer one, from which Base starts anew.
// What is not above 0, or older than what was seen, is ignored.
func (b *Base) Observe(now, rtt time.Duration, s State) (moved bool) {
	if rtt <= 0 || now < 0 || b.began && int64(now/baseSlot) < b.last {
		return false
	}
	if s.Saturated && !b.saturated {
		b.full = now
	}
	b.saturated = s.Saturated
	b.add(now, rtt)
	short := b.within(now, baseShort)
	if s.Windowed && !s.Saturated && b.covers(now, baseShort) && float64(short) > baseMoved*float64(b.At(now)) {
		*b = Base{}
		b.add(now, short)
		return true
	}
	return false
}

func (b *Base) add(now, rtt time.Duration) {
	n := int64(now / baseSlot)
	p := &b.slots[n%int64(len(b.slots))]
	if p.number != n || p.least == 0 {
		*p = slot{n, rtt}
	}
	p.least = min(p.least, rtt)
	if b.least == 0 || rtt < b.least {
		b.least = rtt
	}
	b.last, b.began = n, true
}

// At gives the round trip without queues, as it is known at an instant; 0 before
// the first was observed. While the path has been full for long, it is the least
// one ever, since a queue may have stood for all of the window.
func (b *Base) At(now time.Duration) time.Duration {
	if b.saturated && now-b.full >= baseStanding {
		return b.least
	}
	if m := b.within(now, baseLong); m > 0 {
		return m
	}
	return b.least
}

// within gives the least round trip of a window that ends now, 0 if it has none.
func (b *Base) within(now, window time.Duration) time.Duration {
	oldest, least := int64((now-window)/baseSlot), time.Duration(math.MaxInt64)
	if now < window {
		oldest = 0
	}
	for _, p := range &b.slots {
		if p.least > 0 && p.number >= oldest {
			least = min(least, p.least)
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

// covers tells whether there is a round trip at the beginning of a window that
// ends now, so that it is not short for want of older ones.
func (b *Base) covers(now, window time.Duration) bool {
	n := int64((now - window) / baseSlot)
	for _, p := range &b.slots {
		if p.least > 0 && p.number >= n && p.number <= n+1 {
			return true
		}
	}
	return false
}
