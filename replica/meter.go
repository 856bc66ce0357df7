package replica

import (
	"math"
	"time"
)

// How rates are measured.
const (
	bucketSpan  = 100 * time.Millisecond // rates are looked at in steps of this
	rateTau     = 1.0                    // seconds that the mean remembers: a few round trips of any path
	usualTau    = 30.0                   // seconds that the usual rate remembers
	trustWeight = 0.25                   // of a mean that began 0.29 s ago; before, it is not believed
)

// meter is the rate of a source while it is at work, as a mean that forgets,
// and how much the rate varies.
type meter struct {
	running bool
	since   time.Duration // the bucket is open since then
	bytes   float64       // in the open bucket
	sum     float64       // weighted rates
	squares float64       // weighted squares of rates
	weight  float64       // what the sums are divided by, at most 1

	// The usual rate leaves out when nothing came: it says what may be expected
	// when the source is well again.
	usualSum, usualWeight float64
}

// begin starts to measure at an instant, perhaps a later one: the answer to a
// request takes a round trip, in which a rate of nothing means nothing.
func (m *meter) begin(at time.Duration) {
	m.running, m.since, m.bytes = true, at, 0
}

// end stops to measure: the source has nothing to do.
func (m *meter) end(now time.Duration) {
	if m.running && now-m.since >= bucketSpan/2 {
		m.close(now)
	}
	m.running = false
}

// add counts n bytes that have come.
func (m *meter) add(now time.Duration, n int64) {
	if !m.running {
		return
	}
	if now <= m.since { // the first answer: from here on it is counted
		m.since = now
		return
	}
	m.bytes += float64(n)
	m.look(now)
}

// look closes the bucket if it is old enough. It must be called when nothing
// comes, too.
func (m *meter) look(now time.Duration) {
	if m.running && now-m.since >= bucketSpan {
		m.close(now)
	}
}

func (m *meter) close(now time.Duration) {
	d := (now - m.since).Seconds()
	keep := math.Exp(-d / rateTau)
	rate := m.bytes / d
	m.sum = m.sum*keep + rate*(1-keep)
	m.squares = m.squares*keep + rate*rate*(1-keep)
	m.weight = m.weight*keep + (1 - keep)
	if m.bytes > 0 {
		keep = math.Exp(-d / usualTau)
		m.usualSum = m.usualSum*keep + rate*(1-keep)
		m.usualWeight = m.usualWeight*keep + (1 - keep)
	}
	m.since, m.bytes = now, 0
}

// usual is the mean of a longer time in bytes per second; 0 when nothing came.
func (m *meter) usual() float64 {
	if m.usualWeight <= 0 {
		return 0
	}
	return m.usualSum / m.usualWeight
}

// trusted tells whether enough was seen.
func (m *meter) trusted() bool { return m.weight >= trustWeight }

// rate is the mean in bytes per second.
func (m *meter) rate() float64 {
	if m.weight <= 0 {
		return 0
	}
	return m.sum / m.weight
}

// spread is the standard deviation of the rate over its mean.
func (m *meter) spread() float64 {
	mean := m.rate()
	if mean <= 0 {
		return 0
	}
	return math.Sqrt(max(0, m.squares/m.weight-mean*mean)) / mean
}

// forget drops what was measured, since it may not hold any more.
func (m *meter) forget() { *m = meter{} }
