package tuner

import (
	"time"

	"github.com/montanaflynn/stats"
)

// forecastSpan is how far back rates are looked at. Ours: long enough to hold
// some round trips of any path, short enough to follow a change.
const forecastSpan = 10 * time.Second

// Forecast estimates the rate and the time left from samples of how much is
// done. The zero value is ready. It belongs to one goroutine.
type Forecast struct {
	at    []time.Duration
	bytes []int64
	first int64
	began time.Duration
	any   bool
}

// Add takes a sample: bytes done in all at an instant. Instants rise.
func (f *Forecast) Add(at time.Duration, bytes int64) {
	if !f.any {
		f.any, f.first, f.began = true, bytes, at
	}
	f.at, f.bytes = append(f.at, at), append(f.bytes, bytes)
	cut := 0
	for cut < len(f.at)-2 && at-f.at[cut] > forecastSpan {
		cut++
	}
	f.at, f.bytes = f.at[cut:], f.bytes[cut:]
}

// rateSpan is over what Rate looks back.
const rateSpan = 2 * time.Second

// Rate is the recent rate in bytes per second.
func (f *Forecast) Rate() int64 {
	n := len(f.at) - 1
	if n < 1 {
		return 0
	}
	i := n - 1
	for i > 0 && f.at[n]-f.at[i] < rateSpan {
		i--
	}
	return perSecond(f.bytes[n]-f.bytes[i], f.at[n]-f.at[i])
}

// Average is the rate since the first sample in bytes per second.
func (f *Forecast) Average() int64 {
	n := len(f.at) - 1
	if n < 0 {
		return 0
	}
	return perSecond(f.bytes[n]-f.first, f.at[n]-f.began)
}

func perSecond(n int64, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64(float64(n) / d.Seconds())
}

// longest is the most that Left says; beyond it nobody waits.
const longest = 100 * 365 * 24 * time.Hour

// Left estimates the time that rest bytes take: likely, least and most, from
// the median and the quartiles of the rates seen lately. ok is false while too
// little has been seen.
func (f *Forecast) Left(rest int64) (mid, lo, hi time.Duration, ok bool) {
	n := len(f.at) - 1
	if n < 1 || f.at[n]-f.began < 3*time.Second {
		return 0, 0, 0, false
	}
	if rest <= 0 {
		return 0, 0, 0, true
	}
	// Rates over half a second each: shorter ones show the batches in which
	// confirmations come.
	var rates stats.Float64Data
	for i, from := 1, 0; i <= n; i++ {
		if d := f.at[i] - f.at[from]; d >= 500*time.Millisecond {
			rates = append(rates, float64(f.bytes[i]-f.bytes[from])/d.Seconds())
			from = i
		}
	}
	q, err := stats.Quartile(rates)
	if err != nil || q.Q2 <= 0 {
		return 0, 0, 0, false
	}
	at := func(rate float64) time.Duration {
		return time.Duration(min(float64(rest)/max(rate, q.Q2/10), longest.Seconds()) * float64(time.Second))
	}
	return at(q.Q2), at(q.Q3), at(q.Q1), true
}
