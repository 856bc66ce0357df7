package anomaly

import "time"

// Constants of the test on round trip times.
const (
	// stepShare and stepLeast: a step is at least this share of the time before,
	// and this long. Below, it is nobody's concern.
	stepShare = 0.20
	stepLeast = time.Millisecond
	// longStep is a step whatever the share.
	longStep = 5 * time.Millisecond
	// stepBlocks in a row must show it.
	stepBlocks = 3
)

// roundTrip tests the round trip times of longer blocks for steps: a path that got
// longer or shorter has changed. Transfers fill queues, and the wait in these goes
// up and down as they and others come and go. So a step leads out of all that was
// seen before: the least of a block is longer than the greatest until then, which
// has met a full queue, or the greatest is shorter than the least. The zero value is
// ready; its first blocks are normal.
type roundTrip struct {
	low, high time.Duration // of all normal blocks but the latest
	blocks    int           // normal ones
	lastLow   time.Duration // of the latest, which may have seen both sides of a step
	lastHigh  time.Duration
	away      int           // blocks in a row above, or below if negative
	newLow    time.Duration // of these
	newHigh   time.Duration
}

// add takes the least and the greatest round trip time of a block; 0: none was
// measured.
func (r *roundTrip) add(least, most time.Duration) (stepped bool, was time.Duration) {
	if least <= 0 {
		return false, 0
	}
	way := 0
	if r.blocks >= stepBlocks {
		way = r.beyond(least, most)
	}
	if way == 0 {
		r.away = 0
		if r.blocks == 1 || r.blocks > 1 && r.lastLow < r.low {
			r.low = r.lastLow
		}
		r.high = max(r.high, r.lastHigh)
		r.lastLow, r.lastHigh = least, most
		r.blocks++
		return false, 0
	}
	if r.away*way <= 0 { // the first of them
		r.away, r.newLow, r.newHigh = 0, least, most
	}
	r.away += way
	r.newLow, r.newHigh = min(r.newLow, least), max(r.newHigh, most)
	if max(r.away, -r.away) < stepBlocks {
		return false, 0
	}
	was = r.low
	*r = roundTrip{low: r.newLow, high: r.newHigh, lastLow: r.newLow, lastHigh: r.newHigh, blocks: stepBlocks}
	return true, was
}

// beyond tells on which side of all that was seen a block is: 1 above, -1 below, 0
// neither.
func (r *roundTrip) beyond(least, most time.Duration) int {
	switch {
	case step(least-r.high, r.high):
		return 1
	case step(r.low-most, r.low):
		return -1
	}
	return 0
}

// step tells whether a difference from a base is one.
func step(diff, base time.Duration) bool {
	return diff >= longStep || diff >= stepLeast && float64(diff) > stepShare*float64(base)
}
