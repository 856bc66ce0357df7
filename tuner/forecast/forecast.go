package forecast

import (
	"math"
	"time"

	"github.com/montanaflynn/stats"
)

// Constants of ours.
const (
	// rateSpan is over what Rate looks back.
	rateSpan = 2 * time.Second
	// patience is for how long nothing is said: the start of a transfer tells
	// little of the rest.
	patience = 3 * time.Second
	// silence is how long nothing may arrive until nothing is said any more. A
	// shorter stall is part of the rate.
	silence = 10 * time.Second
	// absence is between two samples where the one who takes them did not run,
	// as while a laptop sleeps. Such a gap is left out.
	absence = 5 * time.Second
	// expectedSeconds is after how many seconds the rate seen counts as much as
	// the one that was expected.
	expectedSeconds = 15
	// longest is the most that an estimate says; beyond it nobody waits.
	longest = 100 * 365 * 24 * time.Hour
)

// Forecast estimates the rate and the time left of one job from samples of how
// much is done. The zero value is ready and knows nothing of earlier jobs. It
// belongs to one goroutine.
type Forecast struct {
	// Past is what earlier jobs on the path have shown. Set before the first
	// sample.
	Past Calibration
	// Expected is the rate in bytes per second that earlier jobs let expect; 0:
	// none is known. It counts for much at the start only. It may be set at any
	// time.
	Expected float64

	recent  []sample // the latest, over rateSpan
	first   sample
	last    sample
	moved   time.Duration // when bytes last rose
	any     bool
	live    bool          // bytes have risen: seconds are counted
	second  time.Duration // where the present second began
	atStart float64       // bytes then
	rest    int64         // as last asked for; 0: not known

	tournament tournament
	spread     spread
	sigma      float64 // as estimated in the second sigmaAt
	sigmaAt    float64
	said       []said
}

// sample is how many bytes were done in all at an instant.
type sample struct {
	at    time.Duration
	bytes int64
}

// said is a prediction that Outcomes judges.
type said struct {
	stage int
	at    time.Duration
	left  float64 // seconds
	sigma float64
}

// Add takes a sample: bytes done in all at an instant. Instants rise; bytes
// that fall count as unchanged. Some samples a second are right.
func (f *Forecast) Add(at time.Duration, bytes int64) {
	s := sample{at, bytes}
	if !f.any {
		f.any, f.first, f.last, f.moved, f.recent = true, s, s, at, append(f.recent, s)
		return
	}
	s.bytes = max(bytes, f.last.bytes)
	if s.bytes > f.last.bytes {
		f.moved = at
	}
	switch {
	case s.at-f.last.at > absence:
		f.second, f.atStart = at, float64(s.bytes)
	case f.live:
		f.count(s)
	case s.bytes > f.last.bytes:
		// The wait for the first byte is not part of the rate.
		f.live, f.second, f.atStart = true, f.last.at, float64(f.last.bytes)
		f.count(s)
	}
	f.last = s
	f.recent = append(f.recent, s)
	cut := 0
	for cut < len(f.recent)-2 && at-f.recent[cut+1].at >= rateSpan {
		cut++
	}
	f.recent = append(f.recent[:0], f.recent[cut:]...)
}

// count passes on the seconds that end between the last sample and s.
func (f *Forecast) count(s sample) {
	for end := f.second + time.Second; end <= s.at; end += time.Second {
		share := float64(end-f.last.at) / float64(s.at-f.last.at)
		bytes := float64(f.last.bytes) + float64(share*float64(s.bytes-f.last.bytes))
		rate := math.Max(0, bytes-f.atStart)
		horizon := math.Inf(1)
		if mean := f.tournament.mean(1); f.rest > 0 && mean > 0 {
			horizon = float64(f.rest) / mean
		}
		f.tournament.add(rate, horizon)
		f.spread.add(rate)
		f.second, f.atStart = end, bytes
	}
}

// Shifted tells that the path may have changed. What was before is not forgotten,
// since paths that change often change back; but a predictor that leaves it out is
// followed as soon as it proves to be better.
func (f *Forecast) Shifted() { f.tournament.shift() }

// Rate is the recent rate in bytes per second.
func (f *Forecast) Rate() int64 {
	if len(f.recent) == 0 {
		return 0
	}
	return perSecond(f.recent[0], f.last)
}

// Average is the rate since the first sample in bytes per second.
func (f *Forecast) Average() int64 { return perSecond(f.first, f.last) }

func perSecond(from, to sample) int64 {
	if to.at <= from.at {
		return 0
	}
	return int64(float64(to.bytes-from.bytes) / (to.at - from.at).Seconds())
}

// Rates are the rates in bytes per second that a tenth, half and nine tenths of
// the seconds did not exceed, and how many seconds that were; in a long job these
// are the means of longer stretches.
func (f *Forecast) Rates() (p10, median, p90 float64, counted time.Duration) {
	l := f.spread.rates()
	if len(l) == 0 {
		return 0, 0, 0, 0
	}
	at := func(percent float64) float64 {
		v, _ := stats.Percentile(l, percent) // errs on nothing only
		return v
	}
	return at(10), at(50), at(90), time.Duration(f.tournament.now) * time.Second
}

// Left estimates the time that rest bytes take: likely, and between what it
// will be in four of five cases. ok is false while too little has been seen, and
// while nothing arrives.
func (f *Forecast) Left(rest int64) (mid, lo, hi time.Duration, ok bool) {
	f.rest = max(0, rest)
	if !f.live || f.tournament.now < patience.Seconds() || f.last.at-f.moved >= silence {
		return 0, 0, 0, false
	}
	if rest <= 0 {
		return 0, 0, 0, true
	}
	left, sigma, ok := f.estimate(float64(rest))
	if !ok {
		return 0, 0, 0, false
	}
	done := float64(f.last.bytes - f.first.bytes)
	progress := done / (done + float64(rest))
	f.note(progress, left, sigma)
	band := math.Exp(f.Past.factor(progress) * sigma)
	return span(left), span(left / band), span(left * band), true
}

// estimate is the time for rest bytes in seconds, and the standard deviation of
// its logarithm before calibration.
func (f *Forecast) estimate(rest float64) (left, sigma float64, ok bool) {
	h := rest / math.Max(1, f.tournament.series.mean())
	rate := f.tournament.mean(h)
	if rate <= 0 {
		return 0, 0, false
	}
	if f.Expected > 0 {
		seen := f.tournament.now / (f.tournament.now + expectedSeconds)
		rate = math.Pow(rate, seen) * math.Pow(f.Expected, 1-seen)
	}
	left = rest / rate
	if f.sigmaAt != f.tournament.now {
		// Once a second is enough for what takes the most time of all.
		f.sigmaAt = f.tournament.now
		f.sigma = math.Hypot(f.spread.over(left), pathSigma*math.Min(1, math.Sqrt(left/60)))
	}
	return left, f.sigma, true
}

// pathSigma is the deviation that is assumed beside what the job itself shows:
// paths change in ways that have not been seen yet.
const pathSigma = 0.10

// note keeps what was said when the job first passes a stage.
func (f *Forecast) note(progress, left, sigma float64) {
	stage := len(stages) - 1
	for stage >= 0 && stages[stage] > progress {
		stage--
	}
	if stage < 0 || len(f.said) > 0 && f.said[len(f.said)-1].stage >= stage {
		return
	}
	f.said = append(f.said, said{stage, f.last.at, left, sigma})
}

// Outcomes judges, when the job is complete at the instant at, what was said
// on the way: for the path's history.
func (f *Forecast) Outcomes(at time.Duration) []Outcome {
	var l []Outcome
	for _, s := range f.said {
		if took := (at - s.at).Seconds(); took > 0 && s.left > 0 && s.sigma > 0 {
			l = append(l, Outcome{Stage: s.stage, LogError: math.Log(took / s.left), Sigma: s.sigma})
		}
	}
	return l
}

// span is a time of so many seconds, bounded.
func span(seconds float64) time.Duration {
	return time.Duration(math.Min(seconds, longest.Seconds()) * float64(time.Second))
}
