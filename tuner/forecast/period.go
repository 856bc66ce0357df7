package forecast

import "math"

// Constants of the search for phases that repeat.
const (
	// periodSpan is how many of the latest rates are looked at, leastPeriod the
	// shortest period that is looked for. Shorter ones hardly move a mean.
	periodSpan, leastPeriod = 240, 10
	// dip is the share to which means over whole periods must vary less than means
	// over a quarter more or less.
	dip = 0.4
	// periodAge is every how many seconds a period and a knee are looked for.
	periodAge = 5
)

// period is the length in seconds of phases that repeat, as of a competitor that
// comes and goes; 0: there are none. Means over whole periods are all alike, so
// the length stands out as the one at which sliding means vary least.
func period(rates []float64) int {
	n := len(rates)
	most := n / 2
	if most < 2*leastPeriod {
		return 0
	}
	cum := make([]float64, n+1)
	for i, r := range rates {
		cum[i+1] = cum[i] + r
	}
	vary := make([]float64, most+1)
	for w := leastPeriod; w <= most; w++ {
		vary[w] = wander(cum, w)
	}
	for w := leastPeriod * 4 / 3; w+w/4 <= most; w++ {
		near := math.Min(vary[w-w/4], vary[w+w/4])
		if vary[w] < dip*near && vary[w] <= vary[w-1] && vary[w] <= vary[w+1] {
			return w
		}
	}
	return 0
}

// wander is the deviation of means over w values, times the root of w: the same
// for all w if the values are independent.
func wander(cum []float64, w int) float64 {
	var sum, square float64
	n := float64(len(cum) - w)
	for i := w; i < len(cum); i++ {
		sum += cum[i] - cum[i-w]
	}
	mean := sum / n
	for i := w; i < len(cum); i++ {
		d := cum[i] - cum[i-w] - mean
		square += float64(d * d)
	}
	return math.Sqrt(square / n / float64(w))
}
