package anomaly

import (
	"math"
	"slices"

	"github.com/montanaflynn/stats"
)

// noise is how ln(rate) varies from one block to the next while nothing
// happens: an autoregressive process of first order.
type noise struct {
	mean  float64 // of ln(rate)
	sigma float64 // deviation of ln(rate)
	phi   float64 // correlation of neighbours
	step  float64 // deviation of what the neighbour does not foretell
}

// Constants of learning.
const (
	// learned is how many blocks are needed before anything is tested; kept is
	// how many of the latest are looked at, relearn how often.
	learned, kept, relearn = 40, 400, 20
	// leastSigma is the least deviation: quieter rates are not tested harder.
	leastSigma = 0.03
	// mostPhi bounds the correlation; beyond it a drop looks like drift.
	mostPhi = 0.9
	// caution widens what is learned from few blocks.
	caution = 1.12
)

// learn estimates the noise from ln(rate) of blocks in order.
func learn(x []float64) noise {
	mean, _ := stats.Median(x) // errs on nothing only
	x = slices.DeleteFunc(slices.Clone(x), func(v float64) bool { return v < mean-still })
	mad, _ := stats.MedianAbsoluteDeviation(x)
	sd, _ := stats.StandardDeviationSample(x)
	var n noise
	n.mean = mean
	// The median deviation alone would miss that a rate stalls now and then; the
	// other alone would let one stall hide all else.
	n.sigma = math.Max(leastSigma, math.Max(1.4826*mad, math.Min(sd, 2*1.4826*mad)))
	if r, err := stats.AutoCorrelation(x, 1); err == nil {
		// Estimates from few values are low by about (1+3r)/n (Marriott and Pope,
		// "Bias in the estimation of autocorrelations", 1954).
		n.phi = math.Max(0, math.Min(mostPhi, r+(1+3*r)/float64(len(x))))
	}
	n.step = caution * n.sigma * math.Sqrt(1-n.phi*n.phi)
	return n
}
