package estimate

import (
	"math"
	"sort"
)

// LossBounds gives the interval in which a loss share lies, of which lost out of
// sent packets were seen: each bound holds with 95%. Nothing lost out of n leaves
// 3/n possible.
//
// Source: the Wilson and Hilferty approximation of bounds of a Poisson mean.
func LossBounds(lost, sent int) (low, high float64) {
	if sent <= 0 {
		return 0, 1
	}
	k := float64(min(max(lost, 0), sent))
	high = 3
	if k > 0 {
		low = k * cube(1-1/(9*k)-z95/(3*math.Sqrt(k)))
		high = (k + 1) * cube(1-1/(9*(k+1))+z95/(3*math.Sqrt(k+1)))
	}
	n := float64(sent)
	return min(max(low/n, 0), 1), min(high/n, 1)
}

// z95 is the quantile of the normal distribution that 95% lie below.
const z95 = 1.645

func cube(x float64) float64 { return x * x * x }

// Order is how far packets came out of order.
type Order struct {
	Received  int // packets, repeated ones not counted
	Repeated  int // came again
	Reordered int // came behind one that was sent later
	// Extent is the most packets that one came late by: a receiver that waits for
	// so many later ones before it takes a packet for lost is never wrong.
	Extent int
}

// Share is how many of the packets came out of order, 0..1.
func (o Order) Share() float64 {
	if o.Received == 0 {
		return 0
	}
	return float64(o.Reordered) / float64(o.Received)
}

// Reordering counts what came out of order, from numbers in the order in which
// they came. Source: RFC 4737, sections 3.3 (reordered) and 4.2.1 (extent).
func Reordering(seqs []uint32) (o Order) {
	seen := make(map[uint32]bool, len(seqs))
	var best []uint32 // the highest number so far, each time that it grew
	var when []int    // and by how many packets that came
	for _, s := range seqs {
		if seen[s] {
			o.Repeated++
			continue
		}
		seen[s] = true
		if len(best) == 0 || s > best[len(best)-1] {
			best, when = append(best, s), append(when, o.Received)
		} else {
			o.Reordered++
			first := sort.Search(len(best), func(i int) bool { return best[i] > s })
			o.Extent = max(o.Extent, o.Received-when[first])
		}
		o.Received++
	}
	return o
}
