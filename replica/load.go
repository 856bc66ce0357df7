package replica

import (
	"math"
	"slices"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Load is a source as the closed form sees it: nothing until Start, Rate from
// then on.
type Load struct {
	Start time.Duration // from now until its first byte; at least 0
	Rate  units.Rate    // bytes per second; 0: delivers nothing
}

// Never is the time of what does not end: size bytes without any rate.
const Never = time.Duration(math.MaxInt64)

// Solve splits size bytes among loads so that all that take part finish at the
// same time, which is the earliest one possible. sink is the most that the
// receiving end takes in bytes per second; 0 is no limit.
//
// Shape: shares has an element for each load and adds up to size; a load that
// starts at finish or later gets 0. While the loads together exceed the sink
// each gets a part in proportion to its rate. When nothing has a rate, finish is
// Never and all shares are 0.
//
// Source: V. Bharadwaj, D. Ghose, V. Mani, T. G. Robertazzi, Scheduling Divisible
// Loads in Parallel and Distributed Systems, 1996: in an optimal schedule all
// that are used stop together. Without a sink's limit this is
// T = (S + sum r_i s_i) / sum r_i with shares r_i (T - s_i).
func Solve(size int64, sink units.Rate, loads []Load) (finish time.Duration, shares []int64) {
	shares = make([]int64, len(loads))
	seconds, exact := solve(float64(size), float64(sink), loads)
	if math.IsInf(seconds, 1) || size <= 0 {
		if size <= 0 {
			return 0, shares
		}
		return Never, shares
	}
	left, most := size, 0
	for i, x := range exact {
		shares[i] = min(left, int64(x))
		left -= shares[i]
		if shares[i] > shares[most] {
			most = i
		}
	}
	shares[most] += left // less than a byte for each load
	return toDuration(seconds), shares
}

// solve lets time pass from one start to the next: in between the rates stand
// still. It returns seconds, and bytes for each load.
func solve(size, sink float64, loads []Load) (finish float64, shares []float64) {
	order := byStart(loads)
	shares = make([]float64, len(loads))
	var at, sum float64 // now, and the rates that have started
	for n, i := range order {
		if sum > 0 {
			step := loads[i].Start.Seconds() - at
			if need := size / limited(sum, sink); need <= step {
				return at + need, portions(shares, loads, order[:n], need*limited(sum, sink)/sum)
			}
			portions(shares, loads, order[:n], step*limited(sum, sink)/sum)
			size -= step * limited(sum, sink)
		}
		at = loads[i].Start.Seconds()
		sum += float64(loads[i].Rate)
	}
	if sum <= 0 {
		return math.Inf(1), shares
	}
	need := size / limited(sum, sink)
	return at + need, portions(shares, loads, order, need*limited(sum, sink)/sum)
}

// portions adds what each of the started loads delivers in some seconds.
func portions(shares []float64, loads []Load, started []int, seconds float64) []float64 {
	for _, i := range started {
		shares[i] += float64(loads[i].Rate) * seconds
	}
	return shares
}

func limited(rate, sink float64) float64 {
	if sink > 0 {
		return min(rate, sink)
	}
	return rate
}

// byStart gives the loads that have a rate in the order of their starts.
func byStart(loads []Load) []int {
	var order []int
	for i, l := range loads {
		if l.Rate > 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(min(1, max(-1, loads[a].Start-loads[b].Start))) })
	return order
}

// toDuration turns seconds into a duration; what is too long becomes Never.
func toDuration(seconds float64) time.Duration {
	if seconds >= Never.Seconds() {
		return Never
	}
	return time.Duration(seconds * float64(time.Second))
}
