package trial

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/gomover/gomover/tuner/anomaly"
)

// Path is a kind of path on which alarms of one metric are tried. Its rate is steady.
type Path struct {
	Name   string
	What   string
	Metric anomaly.Metric
	// second sets what a sample says of a second of a job: at is its number, by the
	// factor by which the path has changed, 1 before.
	second func(r *rand.Rand, at int, by float64, s *anomaly.Sample)
	by     float64 // the factor of a change that is to be found
}

// Paths are those of the figures.
var Paths = []Path{
	{"A7", "RTT 40 ms and 0.2 ms of noise, then 20 ms more", anomaly.RTT, roundTrips(0), 1.5},
	{"A8", "the same with a queue of up to 40 ms that fills and empties in 17 s, then 80 ms more", anomaly.RTT, roundTrips(1), 3},
	{"A9", "a loss every 20 s, then two a second", anomaly.Loss, losses(0.05), 40},
	{"A10", "a loss a second, then five", anomaly.Loss, losses(1), 5},
	{"A11", "a loss a second in bursts of four, then five times as many", anomaly.Loss, bursts(1, 4), 5},
}

// roundTrips have a queue of up to a share of 40 ms.
func roundTrips(queue float64) func(*rand.Rand, int, float64, *anomaly.Sample) {
	return func(r *rand.Rand, at int, by float64, s *anomaly.Sample) {
		const base, period = 0.040, 17
		wait := queue * base * float64(at%period) / period
		s.RTT = time.Duration((by*base + wait + 0.0002*math.Abs(r.NormFloat64())) * float64(time.Second))
	}
}

// losses come singly, so many a second.
func losses(mean float64) func(*rand.Rand, int, float64, *anomaly.Sample) { return bursts(mean, 1) }

// bursts of losses come so many a second in the mean.
func bursts(mean float64, length int64) func(*rand.Rand, int, float64, *anomaly.Sample) {
	return func(r *rand.Rand, _ int, by float64, s *anomaly.Sample) {
		n := length * poisson(r, by*mean/float64(length))
		s.Losses += n
		s.Lost += n
		s.Segments += 10000
	}
}

// poisson draws how often something happens that happens mean times on average.
func poisson(r *rand.Rand, mean float64) (n int64) {
	for p := r.Float64(); p > math.Exp(-mean); p *= r.Float64() {
		n++
	}
	return n
}

// watched passes one second of a path.
func (p *Path) watched(w *anomaly.Watch, s *anomaly.Sample, r *rand.Rand, by float64) (found []anomaly.Finding) {
	next := *s
	p.second(r, int(s.At/time.Second), by, &next)
	from := *s
	for i := range int64(4) {
		share := func(from, to int64) int64 { return from + (to-from)*(i+1)/4 }
		s.At += 250 * time.Millisecond
		s.Bytes += 1e7
		s.RTT = next.RTT
		s.Losses, s.Lost, s.Segments = share(from.Losses, next.Losses), share(from.Lost, next.Lost), share(from.Segments, next.Segments)
		for _, f := range w.Add(*s) {
			if f.Metric == p.Metric && f.Stage == anomaly.Confirmed {
				found = append(found, f)
			}
		}
	}
	return found
}

// FalseAlerts counts the alerts in 24 hours of a path without any change, in runs of
// six hours.
func (p *Path) FalseAlerts(hours int) float64 {
	const run = 6
	alerts := 0
	for seed := range hours / run {
		var w anomaly.Watch
		var s anomaly.Sample
		r := source(seed, p.Name)
		for range run * 3600 {
			alerts += len(p.watched(&w, &s, r, 1))
		}
	}
	return 24 * float64(alerts) / float64(hours)
}

// Change measures how many seconds after a change, some minutes into a job, the alert
// comes: median and 95 of 100. +Inf: not within five minutes.
func (p *Path) Change(jobs int) (median, most float64) {
	var delays []float64
	for seed := range jobs {
		var w anomaly.Watch
		var s anomaly.Sample
		r := source(seed, p.Name+" change")
		at, found := 180+r.IntN(300), math.Inf(1)
		for now := 0; now < at+300 && math.IsInf(found, 1); now++ {
			by := 1.0
			if now >= at {
				by = p.by
			}
			if len(p.watched(&w, &s, r, by)) > 0 && now >= at {
				found = float64(now + 1 - at)
			}
		}
		delays = append(delays, found)
	}
	return quantile(delays, 0.5), quantile(delays, 0.95)
}
