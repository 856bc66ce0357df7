package forecast

import "math"

// Constants of the search for a knee.
const (
	// leastPart is how many seconds both sides of a knee have at least.
	leastPart = 5
	// lasted is how many times as long as what was before the rate after the knee
	// must have lasted already.
	lasted = 1.5
	// explained is the share of the variation that the knee must account for.
	explained = 0.7
	// bend is by how much the rate must differ, as a ratio.
	bend = 1.25
)

// knee is after how many of the rates a transfer went on at another level than it
// had begun with, as it does when caches are full; 0: it did not. Only one that has
// lasted longer than what was before counts: what is short may come back.
func knee(rates []float64) int {
	n := len(rates)
	var sum, square float64
	for _, r := range rates {
		sum += r
		square += float64(r * r)
	}
	total := square - float64(sum*sum)/float64(n)
	best, at := 0.0, 0
	before := 0.0
	for i, r := range rates {
		k := i + 1
		before += r
		if k < leastPart || n-k < leastPart || float64(n-k) < lasted*float64(k) {
			continue
		}
		a, b := before/float64(k), (sum-before)/float64(n-k)
		ratio := math.Max(a, b) / math.Max(1, math.Min(a, b))
		between := float64(k) * float64(n-k) / float64(n) * (a - b) * (a - b)
		if between > best && ratio > bend {
			best, at = between, k
		}
	}
	if best < explained*total {
		return 0
	}
	return at
}
