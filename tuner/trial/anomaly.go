package trial

import (
	"math"
	"time"

	"github.com/gomover/gomover/tuner/anomaly"
)

// Noise is a kind of path on which alarms are tried.
type Noise struct {
	Name string
	What string
	Make Maker
}

// Noises are those of the figures, and more of which no figure is promised.
var Noises = []Noise{
	{"A1", "white, 10 %", autoregressive(0, 0.10)},
	{"A2", "AR 0.6, 10 %", autoregressive(0.6, 0.10)},
	{"A3", "AR 0.6, 20 %", autoregressive(0.6, 0.20)},
	{"A4", "AR 0.9, 15 %", autoregressive(0.9, 0.15)},
	{"A6", "white, 10 %, and stalls of 4 s about every minute", stalls},
}

// Rates of false findings of one kind of noise.
type Rates struct {
	Suspicions float64 // in an hour
	Alerts     float64 // in 24 hours
}

// FalseAlarms counts what is found in noise without any change, in runs of six
// hours.
func FalseAlarms(n Noise, hours int) Rates {
	const run = 6
	suspicions, alerts := 0, 0
	for seed := range hours / run {
		l := listener{trace: n.Make(source(seed, n.Name))}
		for range run * 3600 {
			for _, f := range l.second(1) {
				if f.Stage == anomaly.Suspected {
					suspicions++
				} else {
					alerts++
				}
			}
		}
	}
	return Rates{float64(suspicions) / float64(hours), 24 * float64(alerts) / float64(hours)}
}

// Delays are how long it takes to find a lasting change, in seconds.
type Delays struct {
	SuspectedMedian, SuspectedP95 float64
	ConfirmedMedian, ConfirmedP95 float64 // +Inf: not found within five minutes
}

// Drop measures how soon a drop of the rate to a share is found. It happens at
// some instant within a second, three to eight minutes into a job.
func Drop(n Noise, to float64, jobs int) Delays {
	var suspected, confirmed []float64
	for seed := range jobs {
		r := source(seed, n.Name+" drop")
		l := listener{trace: n.Make(r)}
		at := 180 + 300*r.Float64()
		s, c := math.Inf(1), math.Inf(1)
		for now := 0.0; now < at+300 && math.IsInf(c, 1); now++ {
			factor := 1 - (1-to)*math.Max(0, math.Min(1, now+1-at))
			for _, f := range l.second(factor) {
				if now+1 <= at || f.Now > f.Was {
					continue
				}
				if f.Stage == anomaly.Suspected {
					s = math.Min(s, now+1-at)
				} else {
					c = now + 1 - at
				}
			}
		}
		suspected, confirmed = append(suspected, s), append(confirmed, c)
	}
	return Delays{quantile(suspected, 0.5), quantile(suspected, 0.95), quantile(confirmed, 0.5), quantile(confirmed, 0.95)}
}

// listener feeds a watch the rates of a trace.
type listener struct {
	trace Trace
	watch anomaly.Watch
	now   time.Duration
	bytes float64
}

// second passes one second at the trace's rate times a factor, in four samples.
func (l *listener) second(factor float64) []anomaly.Finding {
	if l.now == 0 {
		l.watch.Add(anomaly.Sample{})
	}
	rate := factor * l.trace()
	var found []anomaly.Finding
	for range 4 {
		l.now += 250 * time.Millisecond
		l.bytes += rate / 4
		found = append(found, l.watch.Add(anomaly.Sample{At: l.now, Bytes: int64(l.bytes)})...)
	}
	return found
}

// Drift counts what is told while a rate falls evenly by a share within an hour
// of 10 % noise.
func Drift(share float64, jobs int) (alerts int) {
	for seed := range jobs {
		l := listener{trace: autoregressive(0.6, 0.10)(source(seed, "drift"))}
		for i := range 3600 {
			for _, f := range l.second(1 - share*float64(i)/3600) {
				if f.Stage == anomaly.Confirmed {
					alerts++
				}
			}
		}
	}
	return alerts
}
