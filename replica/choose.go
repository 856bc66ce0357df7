package replica

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// When a source is not worth its connections. Ours.
const (
	leastGain      = 300 * time.Millisecond // of time saved
	leastGainShare = 0.005                  // of the time that is left
	tailShare      = 4                      // a block must not take longer than this part of the time
	sinkMargin     = 1.1                    // sources are enough when they exceed the sink by this
	betterBy       = 2.0                    // a stand-by replaces a running source that it exceeds by this
)

// candidate is a source when it is asked who takes part.
type candidate struct {
	id    SourceID
	load  Load
	sure  float64 // bytes per second that it very likely has; 0: those of the load
	cost  int     // smaller is preferred when the sink is the limit
	rank  float64 // larger is preferred when there are too many
	held  bool    // it is in use: what flows is not cancelled
	use   bool
	why   string // why not
	gains time.Duration
}

// choose marks the candidates that take part, and says of the others why not.
func choose(size, block int64, sink float64, most int, cs []candidate) {
	for i := range cs {
		cs[i].use = cs[i].load.Rate > 0
		if !cs[i].use {
			cs[i].why = "no rate known"
		}
	}
	if sink > 0 {
		leaveSurplus(sink, cs)
	}
	// What is beyond the sink by the margin is wanted, so it counts as a gain.
	leaveLateAndSlow(size, block, sinkMargin*sink, cs)
	if most > 0 {
		leaveRanked(most, cs)
	}
}

// leaveSurplus keeps the cheapest sources that fill the sink; what is in use
// comes first.
func leaveSurplus(sink float64, cs []candidate) {
	order := indexes(cs, func(a, b *candidate) int {
		switch {
		case a.held != b.held:
			return before(a.held)
		case a.cost != b.cost:
			return a.cost - b.cost
		}
		return before(a.load.Rate > b.load.Rate || a.load.Rate == b.load.Rate && a.id < b.id)
	})
	sum := 0.0
	for _, i := range order {
		if c := &cs[i]; c.use && !c.held && sum >= sinkMargin*sink {
			c.use, c.why = false, "the others fill what this end can take"
		} else if c.use && c.sure > 0 {
			sum += c.sure
		} else if c.use {
			sum += float64(c.load.Rate)
		}
	}
}

// leaveLateAndSlow drops, one at a time and the least useful first, who would
// save too little, come too late, or end with a block that all wait for. Of equal
// ones the last goes first: the first was named first.
func leaveLateAndSlow(size, block int64, sink float64, cs []candidate) {
	for {
		with := finishOf(size, sink, cs, -1)
		worst := -1
		for i := range cs {
			c := &cs[i]
			if !c.use {
				continue
			}
			c.gains = toDuration(finishOf(size, sink, cs, i) - with)
			if c.held {
				continue
			}
			if why := c.useless(with, block, size); why != "" && (worst < 0 || c.gains <= cs[worst].gains) {
				c.why, worst = why, i
			}
		}
		if worst < 0 || used(cs) == 1 {
			return
		}
		cs[worst].use = false
	}
}

// useless says why a source is not worth it when all take finish seconds.
func (c *candidate) useless(finish float64, block, size int64) string {
	least := max(leastGain.Seconds(), leastGainShare*finish)
	switch tail := float64(min(block, size)) / float64(c.load.Rate); {
	case c.load.Start.Seconds() >= finish:
		return "would start when the others are done"
	case tail > finish/tailShare:
		return fmt.Sprintf("too slow: one block takes %s", short(toDuration(tail)))
	case c.gains.Seconds() < least:
		return fmt.Sprintf("would save %s only", short(c.gains))
	}
	return ""
}

// leaveRanked keeps the best when there are too many; a running source gives
// way only to one that is much better.
func leaveRanked(most int, cs []candidate) {
	weight := func(c *candidate) float64 {
		if c.held {
			return betterBy * c.rank
		}
		return c.rank
	}
	order := indexes(cs, func(a, b *candidate) int {
		return before(weight(a) > weight(b) || weight(a) == weight(b) && a.id < b.id)
	})
	n := 0
	for _, i := range order {
		if !cs[i].use {
			continue
		}
		if n++; n > most {
			cs[i].use, cs[i].why = false, fmt.Sprintf("%d better ones are in use", most)
		}
	}
}

// finishOf is how many seconds the used candidates take without one of them.
func finishOf(size int64, sink float64, cs []candidate, without int) float64 {
	loads := make([]Load, 0, len(cs))
	for i := range cs {
		if cs[i].use && i != without {
			loads = append(loads, cs[i].load)
		}
	}
	finish, _ := solve(float64(size), sink, loads)
	return min(finish, math.MaxInt64)
}

func used(cs []candidate) (n int) {
	for i := range cs {
		if cs[i].use {
			n++
		}
	}
	return n
}

// indexes gives the places of the candidates, sorted.
func indexes(cs []candidate, less func(a, b *candidate) int) []int {
	order := make([]int, len(cs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return less(&cs[a], &cs[b]) })
	return order
}

// before turns "a comes first" into what sorting wants.
func before(first bool) int {
	if first {
		return -1
	}
	return 1
}
