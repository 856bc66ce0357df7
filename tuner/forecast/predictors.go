package forecast

import (
	"math"

	"github.com/montanaflynn/stats"
)

// A predictor forecasts the mean rate over the next h seconds. The series is
// not empty.
type predictor struct {
	name string
	of   func(s *series, h float64) float64
}

// predictors are those that take part. Rates are averaged as they are and not
// as logarithms: the bytes of a stretch are the sum of its rates, and a second
// without any counts as such.
var predictors = []predictor{
	{"level", func(s *series, _ float64) float64 { return s.level() }},
	{"mean", func(s *series, _ float64) float64 { return s.mean() }},
	{"since change", func(s *series, _ float64) float64 { return s.sinceMark() }},
	{"last", func(s *series, _ float64) float64 { return s.last(1)[0] }},
	{"mean 5", sliding(5)},
	{"mean 10", sliding(10)},
	{"mean 30", sliding(30)},
	{"mean 60", sliding(60)},
	{"mean 120", sliding(120)},
	{"median 5", median(5)},
	{"median 31", median(31)},
	{"trimmed 31", trimmed},
	{"ewma 0.05", weighted(0)},
	{"ewma 0.1", weighted(1)},
	{"ewma 0.2", weighted(2)},
	{"ewma 0.4", weighted(3)},
	{"harmonic 20", harmonic},
	{"reverting", reverting},
}

func sliding(n int) func(*series, float64) float64 {
	return func(s *series, _ float64) float64 {
		m, _ := stats.Mean(s.last(n)) // errs on nothing only
		return m
	}
}

func median(n int) func(*series, float64) float64 {
	return func(s *series, _ float64) float64 {
		m, _ := stats.Median(s.last(n)) // errs on nothing only
		return m
	}
}

// trimmed leaves out the highest and the lowest 30 per cent.
func trimmed(s *series, _ float64) float64 {
	m, _ := stats.TrimmedMean(s.last(31), 0.3) // errs on nothing only
	return m
}

func weighted(i int) func(*series, float64) float64 {
	return func(s *series, _ float64) float64 { return s.ewma[i] }
}

// harmonic is right where equal amounts, not equal times, are what is to come.
func harmonic(s *series, _ float64) float64 {
	m, err := stats.HarmonicMean(s.last(20))
	if err != nil { // a second without any byte
		return 0
	}
	return m
}

// reverting takes rates for an autoregressive process of first order: today's
// deviation from the mean decays by phi each second.
func reverting(s *series, h float64) float64 {
	phi := s.auto.lag1()
	mean := s.mean()
	if phi == 0 {
		return mean
	}
	left := phi * (1 - math.Pow(phi, h)) / (h * (1 - phi))
	return math.Max(0, mean+left*(s.last(1)[0]-mean))
}
