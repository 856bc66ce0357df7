package replica

import (
	"slices"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Past is what earlier runs say of a source.
type Past struct {
	Runs   int        // it is known from; 0: nothing is known
	Rate   units.Rate // bytes per second that may be expected
	Spread float64    // standard deviation of that, as a share of it
	// Start is the time until it can be asked, Latency that from a request to the first
	// byte of the answer; 0: not known.
	Start, Latency time.Duration
}

// Apply fills in what a source does not tell itself.
func (p Past) Apply(to *Source) {
	if p.Runs == 0 {
		return
	}
	to.Runs, to.Rate, to.Spread = p.Runs, p.Rate, p.Spread
	if to.Start == 0 {
		to.Start = p.Start
	}
	if to.Latency == 0 {
		to.Latency = p.Latency
	}
}

// Seen is what a source did while it had something to do and nothing but the way
// to it was known to hold it back.
type Seen struct {
	Took  time.Duration // for so long
	Rates []float64     // in bytes per second, of times of one length; at most 1024
}

// mostRates is how many rates of a source are kept: of more, every other goes.
const mostRates = 1024

// record collects the rates of a source.
type record struct {
	rates  []float64
	stride int // so many looks make a rate
	looks  int // of the open one
	sum    float64
	took   time.Duration
}

// add takes the rate of a look that took d.
func (r *record) add(rate float64, d time.Duration) {
	r.stride = max(1, r.stride)
	r.took += d
	r.sum += rate
	if r.looks++; r.looks < r.stride {
		return
	}
	r.rates = append(r.rates, r.sum/float64(r.looks))
	r.sum, r.looks = 0, 0
	if len(r.rates) < mostRates {
		return
	}
	for i := range mostRates / 2 {
		r.rates[i] = (r.rates[2*i] + r.rates[2*i+1]) / 2
	}
	r.rates, r.stride = r.rates[:mostRates/2], 2*r.stride
}

// Seen tells what a source has done so far.
func (s *Sched) Seen(id SourceID) Seen {
	c := s.known(id)
	if c == nil {
		return Seen{}
	}
	return Seen{c.record.took, slices.Clone(c.record.rates)}
}
