package forecast

import (
	"math"

	"github.com/montanaflynn/stats"
)

// windowLen is how many of the latest rates are kept one by one: the longest
// look back of a predictor.
const windowLen = periodSpan

// ewmaGains are the gains of the exponentially weighted means.
var ewmaGains = [...]float64{0.05, 0.1, 0.2, 0.4}

// series is what the predictors look at: rates of one second each, all in bytes
// per second. Each rate costs constant time.
type series struct {
	recent [2 * windowLen]float64 // the last ones end at recent[n]
	n      int                    // of recent
	count  int                    // of all
	sum    float64
	marked struct { // since the path last changed
		count int
		sum   float64
	}
	period struct { // of phases that repeat, 0: none; and when that was found out
		length, at int
	}
	began struct { // what was before the knee
		count int
		sum   float64
	}
	ewma [len(ewmaGains)]float64
	auto autocorrelation
}

// add takes the rate of the next second.
func (s *series) add(rate float64) {
	if s.n == len(s.recent) {
		s.n = copy(s.recent[:], s.recent[windowLen:])
	}
	s.recent[s.n] = rate
	s.n++
	s.count++
	s.sum += rate
	s.marked.count++
	s.marked.sum += rate
	for i, g := range ewmaGains {
		if s.count == 1 {
			s.ewma[i] = rate
		} else {
			s.ewma[i] += g * (rate - s.ewma[i])
		}
	}
	s.auto.add(rate)
}

// last returns the latest n rates, or as many as there are. The slice is valid
// until the next add.
func (s *series) last(n int) []float64 {
	return s.recent[s.n-min(n, s.n, windowLen) : s.n]
}

// mean is that of all rates; 0 without any.
func (s *series) mean() float64 {
	if s.count == 0 {
		return 0
	}
	return s.sum / float64(s.count)
}

// level is the mean over as many whole periods as are at hand if phases repeat,
// otherwise that of all rates since the knee, if there was one.
func (s *series) level() float64 {
	if s.count-s.period.at >= periodAge {
		s.period.length, s.period.at = period(s.last(periodSpan)), s.count
		if s.began.count == 0 && s.count <= periodSpan {
			l := s.last(s.count)
			s.began.count = knee(l)
			for _, r := range l[:s.began.count] {
				s.began.sum += r
			}
		}
	}
	p := s.period.length
	if p == 0 {
		return (s.sum - s.began.sum) / math.Max(1, float64(s.count-s.began.count))
	}
	m, _ := stats.Mean(s.last(min(s.n, periodSpan) / p * p)) // errs on nothing only
	return m
}

// mark tells that the path has changed.
func (s *series) mark() { s.marked.count, s.marked.sum = 0, 0 }

// sinceMark is the mean of the rates since the path last changed.
func (s *series) sinceMark() float64 {
	if s.marked.count == 0 {
		return s.mean()
	}
	return s.marked.sum / float64(s.marked.count)
}

// autocorrelation estimates how much a rate's deviation from the mean passes on
// to the next rate, from running sums.
type autocorrelation struct {
	n, mean, prev  float64
	varSum, covSum float64
}

// add updates the sums after Welford's way: deviations from the mean so far, so
// that a high level does not drown them.
func (a *autocorrelation) add(x float64) {
	old := x - a.mean
	a.n++
	a.mean += old / a.n
	if a.n > 1 {
		a.covSum += float64((x - a.mean) * (a.prev - a.mean))
	}
	a.varSum += float64(old * (x - a.mean))
	a.prev = x
}

// lag1 is the estimate, from 0 to maxPhi.
func (a *autocorrelation) lag1() float64 {
	if a.n < 10 || a.varSum <= 0 {
		return 0
	}
	return math.Max(0, math.Min(maxPhi, a.covSum/a.varSum))
}

// maxPhi bounds the autocorrelation that is believed: beyond it the rate hardly
// returns to its mean within any horizon.
const maxPhi = 0.99
