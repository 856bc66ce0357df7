package netsim

import (
	"math"
	"math/rand/v2"
	"time"
)

// Constants of draft-cardwell-iccrg-bbr-congestion-control-00, section 4.
const (
	bbrHighGain     = 2.885 // 2/ln 2: doubles the rate every round trip
	bbrCwndGain     = 2.0
	bbrProbeGain    = 1.25
	bbrYieldGain    = 0.75
	bbrCycle        = 8  // phases of a min RTT each: probe, yield, and cruise
	bbrRateRounds   = 10 // of the maximum filter of the rate
	bbrFullGrowth   = 1.25
	bbrFullRounds   = 3
	bbrMinRTTAge    = 10 * time.Second
	bbrProbeRTTTime = 200 * time.Millisecond
	bbrMinWindow    = 4 // segments
)

// bbrState is where a BBR flow stands.
//
//	startup --rate no longer grows--> drain --queue empty--> probeRate
//	   ^                                                       |   ^
//	   +-- full rate unknown -- probeRTT <--- min RTT is old --+   |
//	                                |------ full rate known -------+
type bbrState uint8

const (
	bbrStartup bbrState = iota
	bbrDrain
	bbrProbeRate
	bbrProbeRTT
)

// bbr is a congestion control by a model of the path: the highest rate of
// delivery of the last round trips, and the lowest round-trip time of the last
// seconds. Losses do not slow it, except that a timeout restarts its window.
type bbr struct {
	state  bbrState
	rand   *rand.Rand
	rounds int64
	// The highest rate of each of the last rounds, in segments per second.
	rates     [bbrRateRounds]float64
	minRTT    time.Duration
	minRTTAt  time.Duration
	fullRate  float64 // highest rate so far in startup
	fullCount int     // rounds in which it did not grow
	full      bool
	phase     int
	phaseAt   time.Duration
	probeEnd  time.Duration // when probing the RTT may end; 0 while the pipe empties
	cwnd      float64
	saved     float64 // window before it was taken away
}

func newBBR(seed uint64) *bbr {
	return &bbr{rand: rand.New(rand.NewPCG(seed, 5)), cwnd: initialWindow}
}

// rate is the estimate of the bottleneck's rate.
func (b *bbr) rate() float64 {
	highest := 0.0
	for _, r := range b.rates {
		highest = max(highest, r)
	}
	return highest
}

// bdp is what fits on the path, in segments; 0 while unknown.
func (b *bbr) bdp() float64 { return b.rate() * b.minRTT.Seconds() }

func (b *bbr) acked(a *ack) {
	b.learn(a)
	switch b.state {
	case bbrStartup:
		b.checkFull(a)
		if b.full {
			b.state = bbrDrain
		}
	case bbrDrain:
		if a.inflight <= b.bdp() {
			b.probeRate(a.now)
		}
	case bbrProbeRate:
		b.advance(a)
	case bbrProbeRTT:
	}
	b.checkRTT(a)
	b.setWindow(a)
}

// learn updates the two filters of the model. While the program sends less than
// it could, only higher rates count.
func (b *bbr) learn(a *ack) {
	if a.round {
		b.rounds++
		b.rates[b.rounds%bbrRateRounds] = 0
	}
	if a.rate > 0 && (!a.appLimited || a.rate > b.rate()) {
		slot := &b.rates[b.rounds%bbrRateRounds]
		*slot = max(*slot, a.rate)
	}
}

// checkFull ends startup when the rate did not grow by a quarter in three
// rounds.
func (b *bbr) checkFull(a *ack) {
	if !a.round || a.appLimited {
		return
	}
	if r := b.rate(); r >= b.fullRate*bbrFullGrowth {
		b.fullRate, b.fullCount = r, 0
		return
	}
	b.fullCount++
	b.full = b.fullCount >= bbrFullRounds
}

// probeRate begins the cycle of gains at a random phase other than that which
// yields, so that flows that share a link do not probe together.
func (b *bbr) probeRate(now time.Duration) {
	b.state, b.phaseAt = bbrProbeRate, now
	if b.phase = b.rand.IntN(bbrCycle - 1); b.phase >= 1 {
		b.phase++
	}
}

// advance goes to the next phase of the cycle: after a min RTT; when probing,
// not before that much is on the way; when yielding, as soon as the queue is
// empty.
func (b *bbr) advance(a *ack) {
	passed := a.now-b.phaseAt > b.minRTT
	switch b.phase {
	case 0:
		passed = passed && (a.recovering || a.inflight >= bbrProbeGain*b.bdp())
	case 1:
		passed = passed || a.inflight <= b.bdp()
	}
	if passed {
		b.phase, b.phaseAt = (b.phase+1)%bbrCycle, a.now
	}
}

// checkRTT keeps the lowest RTT, and probes for it with an almost empty pipe
// when it was not seen for long.
func (b *bbr) checkRTT(a *ack) {
	old := b.minRTT > 0 && a.now > b.minRTTAt+bbrMinRTTAge
	if a.rtt > 0 && (b.minRTT == 0 || a.rtt <= b.minRTT || old) {
		b.minRTT, b.minRTTAt = a.rtt, a.now
	}
	if old && b.state != bbrProbeRTT {
		b.state, b.probeEnd = bbrProbeRTT, 0
		b.saved = b.cwnd
	}
	if b.state != bbrProbeRTT {
		return
	}
	switch {
	case b.probeEnd == 0 && a.inflight <= bbrMinWindow:
		b.probeEnd = a.now + max(bbrProbeRTTTime, b.minRTT)
	case b.probeEnd > 0 && a.now > b.probeEnd:
		b.minRTTAt = a.now
		b.cwnd = max(b.cwnd, b.saved)
		if b.full {
			b.probeRate(a.now)
		} else {
			b.state = bbrStartup
		}
	}
}

// setWindow grows the window by what was delivered, up to the target.
func (b *bbr) setWindow(a *ack) {
	if b.state == bbrProbeRTT {
		b.cwnd = min(b.cwnd, bbrMinWindow)
		return
	}
	// Three segments more, since acknowledgements come in lumps.
	target := math.Inf(1)
	if bdp := b.bdp(); bdp > 0 {
		target = b.cwndGain()*bdp + 3
	}
	switch {
	case b.full:
		b.cwnd = min(b.cwnd+a.segments, target)
	case b.cwnd < target:
		b.cwnd += a.segments
	}
	b.cwnd = max(b.cwnd, bbrMinWindow)
}

func (b *bbr) cwndGain() float64 {
	if b.state == bbrProbeRate {
		return bbrCwndGain
	}
	return bbrHighGain
}

func (b *bbr) lost(time.Duration, float64) {}

func (b *bbr) timedOut(_ time.Duration, _ float64) {
	b.cwnd = bbrMinWindow
}

func (b *bbr) window() float64 { return b.cwnd }

func (b *bbr) pace() float64 {
	r := b.rate()
	if r == 0 {
		return 0
	}
	switch {
	case b.state == bbrStartup:
		return r * bbrHighGain
	case b.state == bbrDrain:
		return r / bbrHighGain
	case b.state == bbrProbeRate && b.phase == 0:
		return r * bbrProbeGain
	case b.state == bbrProbeRate && b.phase == 1:
		return r * bbrYieldGain
	}
	return r
}
