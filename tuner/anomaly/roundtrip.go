package anomaly

import "time"

// Constants of the test on round trip times.
const (
	// stepShare and stepLeast: a step is at least this share of the time before,
	// and this long. Below, it is a queue's doing or nobody's concern.
	stepShare = 0.20
	stepLeast = time.Millisecond
	// longStep is a step whatever the share.
	longStep = 5 * time.Millisecond
	// stepBlocks in a row must show it.
	stepBlocks = 3
)

// roundTrip tests the least round trip time of longer blocks for steps: a path
// that got longer or shorter has changed. The zero value is ready; its first
// blocks are the normal ones.
type roundTrip struct {
	base   time.Duration
	first  int // blocks learned from
	high   int // blocks in a row above, or below if negative
	lately time.Duration
}

// add takes the least round trip time of a block; 0: none was measured.
func (r *roundTrip) add(least time.Duration) (stepped bool, was time.Duration) {
	if least <= 0 {
		return false, 0
	}
	if r.first < stepBlocks {
		// The greatest of them: a transfer fills queues, and the wait in them
		// is not a change of the path.
		r.base = max(r.base, least)
		r.first++
		return false, 0
	}
	diff := least - r.base
	switch {
	case !step(diff, r.base):
		r.high = 0
		return false, 0
	case diff > 0 && r.high >= 0:
		r.high++
		r.lately = least
	case diff < 0 && r.high <= 0:
		r.high--
		r.lately = least
	default:
		r.high = 0
	}
	if r.high < stepBlocks && -r.high < stepBlocks {
		return false, 0
	}
	was = r.base
	r.base, r.high = r.lately, 0
	return true, was
}

func step(diff, base time.Duration) bool {
	diff = max(diff, -diff)
	return diff >= longStep || diff >= stepLeast && float64(diff) > stepShare*float64(base)
}
