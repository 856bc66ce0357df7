package udt

import (
	"math"
	"slices"
	"time"
)

// rttFilter smooths the round-trip time as the protocol does, in whole
// microseconds; both ends tell it to each other. Source: draft, section 4.5;
// the order of the two as in the library.
type rttFilter struct {
	rtt, dev time.Duration
	measured bool
}

func newRTTFilter() rttFilter { return rttFilter{rtt: initialRTT, dev: initialRTTVar} }

// add learns a sample.
func (f *rttFilter) add(rtt time.Duration) {
	f.dev = (3*f.dev + (rtt - f.rtt).Abs()) / 4 / time.Microsecond * time.Microsecond
	f.rtt = (7*f.rtt + rtt) / 8 / time.Microsecond * time.Microsecond
}

// measure learns a sample of this end's own; the first one replaces the guess
// (RFC 6298, section 2.2; the library needs some twenty to forget it).
func (f *rttFilter) measure(rtt time.Duration) {
	if f.measured {
		f.add(rtt)
		return
	}
	*f = rttFilter{rtt.Round(time.Microsecond), (rtt / 2).Round(time.Microsecond), true}
}

// patience is how long an answer may take.
func (f *rttFilter) patience() time.Duration { return f.rtt + 4*f.dev }

// sampleWindow is the last samples of a span of time, for the median of which
// outliers are left out. Source: draft, section 4.6, with the library's filter.
type sampleWindow struct {
	v    []time.Duration
	next int
	work []time.Duration
}

func newSampleWindow(n int, preset time.Duration) sampleWindow {
	w := sampleWindow{v: make([]time.Duration, n), work: make([]time.Duration, n)}
	for i := range w.v {
		w.v[i] = preset
	}
	return w
}

func (w *sampleWindow) add(d time.Duration) {
	w.v[w.next] = d
	w.next = (w.next + 1) % len(w.v)
}

// rate gives how often per second a span of the usual length fits, of the
// samples within a factor of 8 of the median, if more than least of them are.
func (w *sampleWindow) rate(least int) uint32 {
	work := append(w.work[:0], w.v...)
	slices.Sort(work)
	median := work[len(work)/2]
	var sum time.Duration
	n := 0
	for _, d := range work {
		if d > median/8 && d < 8*median {
			sum += d
			n++
		}
	}
	if n <= least || sum <= 0 {
		return 0
	}
	return uint32(min(math.Ceil(float64(n)*float64(time.Second)/float64(sum)), math.MaxInt32))
}

// pairFloor is how far apart packets of a pair are taken to be that were read at
// once. Ours: the pairs that the path has torn apart are no fair sample, and
// library senders that are told of too little capacity hardly get faster.
const pairFloor = 10 * time.Microsecond

// arrivals estimates how fast packets come, and how fast they could.
//
// The library takes the gap before each packet; where packets are handed over in
// batches most of these are nothing, and its estimates up to a thousand times
// too high. Here all packets of a turn share the time since the turn before.
type arrivals struct {
	gaps, pairs sampleWindow
	last        time.Duration // the turn before
	turn        int           // packets of this turn
	probeAt     time.Duration // when the first of a pair came
	probe       int64         // its position
	peak        uint32        // packets per second
}

// Presets, as the library has them: 1 and 1000 packets per second.
func newArrivals(now time.Duration) arrivals {
	return arrivals{
		gaps: newSampleWindow(16, time.Second), pairs: newSampleWindow(64, time.Millisecond),
		last: now, probe: -1,
	}
}

// packet notes a data packet with its number and weight. Rates are of packets of
// the weight 1.
func (a *arrivals) packet(now time.Duration, pos int64, s seq, weight int) {
	a.turn += weight
	switch s % probeEvery {
	case 0:
		a.probe, a.probeAt = pos, now
	case 1:
		if a.probe == pos-1 {
			a.pairs.add(max(now-a.probeAt, pairFloor) / time.Duration(weight))
		}
		a.probe = -1
	}
}

// end ends a turn.
func (a *arrivals) end(now time.Duration) {
	if a.turn == 0 || now <= a.last {
		return
	}
	gap := (now - a.last) / time.Duration(a.turn)
	for range min(a.turn, len(a.gaps.v)) {
		a.gaps.add(gap)
	}
	a.last, a.turn = now, 0
}

// rates gives packets per second: those that arrive, 0 if unknown, and those
// that the path could carry.
func (a *arrivals) rates() (speed, capacity uint32) {
	speed = a.gaps.rate(8)
	a.peak = max(speed, a.peak-a.peak/64)
	return speed, max(a.pairs.rate(0), a.peak, 1)
}
