package history

import (
	"math"
	"slices"
	"time"
)

// Prior is what may be expected of a path before anything has come over it, by the
// jobs before.
type Prior struct {
	Jobs    int           // it is known from; 0: nothing is known
	Rate    float64       // bytes per second
	Spread  float64       // by how much the rate may be otherwise: the standard deviation of its logarithm
	RTT     time.Duration // least of those jobs; 0: not known
	StartUp time.Duration // from the begin of a login until bytes can be asked for; 0: not known
}

// unknownSpread is the standard deviation that a rate is thought to have of which a
// single job tells: rates of transfers are known to a third at best. It counts as one
// observation more.
const unknownSpread = 0.3

// sigmas is how many standard deviations lie between the 10th and the 90th percentile
// of a normal distribution.
const sigmas = 2.563

// Prior is what a job of so many bytes, 0 if that is not known, that begins now may
// expect.
func (r *Record) Prior(now time.Time, bytes int64) (p Prior) {
	p.Rate = r.Expect(now, bytes)
	var rates, within, starts []float64
	for _, j := range slices.Backward(r.Jobs) {
		if len(rates) == likeJobs {
			break
		}
		if !j.tells() {
			continue
		}
		rates = append(rates, j.Rate.Median)
		if sensible(j.Rate.P10) && sensible(j.Rate.P90) && j.Rate.P90 >= j.Rate.P10 {
			within = append(within, math.Log(j.Rate.P90/j.Rate.P10)/sigmas)
		}
		if d := seconds(j.StartUp); d > 0 {
			starts = append(starts, j.StartUp)
		}
		if d := seconds(j.RTT); d > 0 && (p.RTT == 0 || d < p.RTT) {
			p.RTT = d
		}
	}
	if p.Jobs = len(rates); p.Jobs == 0 {
		return Prior{}
	}
	if len(starts) > 0 {
		slices.Sort(starts)
		p.StartUp = seconds(starts[len(starts)/2])
	}
	if p.Rate == 0 { // none was of about this size
		p.Rate = middle(rates)
	}
	squares := unknownSpread * unknownSpread
	for _, x := range rates {
		d := math.Log(x / p.Rate)
		squares += d * d
	}
	p.Spread = math.Sqrt(squares / float64(1+len(rates)))
	if len(within) > 0 {
		p.Spread = math.Hypot(p.Spread, middle(within))
	}
	return p
}

// middle is the median of a list, which it sorts in a copy.
func middle(l []float64) float64 {
	l = slices.Sorted(slices.Values(l))
	return l[len(l)/2]
}

// seconds is a time that was remembered; 0 if it makes no sense.
func seconds(s float64) time.Duration {
	if !(s > 0) || s > 3600 {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}
