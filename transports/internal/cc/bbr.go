package cc

import (
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Constants of BBR. Sources: draft-cardwell-iccrg-bbr-congestion-control-00
// (gains, cycle, filters) and -02 (the gentler probing of the RTT).
const (
	bbrStartupGain  = 2.885 // of the pace, 2/ln 2: doubles the rate every round trip
	bbrStartupCwnd  = 2.2   // of the window: less overruns a queue less (ours; draft-ietf-ccwg-bbr has 2)
	bbrCwndGain     = 2.0
	bbrProbeGain    = 1.25
	bbrYieldGain    = 0.75
	bbrProbeRTTGain = 0.5
	bbrCycle        = 8 // phases of a min RTT each: probe, yield, and cruise
	bbrRateRounds   = 10
	bbrFullGrowth   = 1.25
	bbrFullRounds   = 3
	bbrMinRTTAge    = 10 * time.Second
	bbrProbeRTTTime = 200 * time.Millisecond
	bbrMinWindow    = 4 // packets
	bbrJumpTrips    = 8 // round trips in which a rate from elsewhere counts; ours
	bbrPaceMargin   = 0.99
	bbrLumpTime     = 100 * time.Millisecond // of the rate, at most, is taken for a lump; as in Linux
)

// Constants of the answer to losses; ours. Version 2 of BBR takes 2% of losses
// for congestion, which is too near the 1% of noise that is to be borne. So they
// count in numbers only when startup overruns a queue, or while a queue stands
// although each flow empties its own share of it in every cycle.
const (
	bbrNoise       = 0.05 // share of a round trip's packets that ends startup
	bbrStartupGaps = 6    // gaps in it, at least
	bbrCongested   = 0.02 // share of the packets of a look
	bbrLookRounds  = bbrCycle
	bbrStanding    = 1.25 // lowest RTT of a look to the min RTT
	bbrSmallGain   = 1.5  // of the window then
)

// Constants of what follows a probe that paid; ours. A path that has become free,
// because others have left it, or which startup has underrated, is found by probes of
// a quarter in as many cycles of eight round trips: five seconds for three times the
// rate at 100 ms. A probe that brought more, and no queue, is followed by the next one
// at once, and that by a bolder one. Where somebody shares the path there is a queue,
// or losses in numbers, and all is as it was.
const (
	bbrGrew  = 1.2   // by how much a probe must have raised the rate
	bbrEmpty = 1.125 // least RTT of a round trip to the min RTT below which there is no queue
)

// bbrProbeGains are those of probes that follow each other.
var bbrProbeGains = [...]float64{bbrProbeGain, 1.5, 2}

// bbrState is where a BBR stands.
//
//	startup --rate no longer grows, or losses--> drain --queue empty--> probeRate
//	   ^                                                                  |   ^
//	   +----- path not yet full ------ probeRTT <---- min RTT is old -----+   |
//	                                      |------- path was full -------------+
type bbrState uint8

const (
	bbrStartup bbrState = iota
	bbrDrain
	bbrProbeRate
	bbrProbeRTT
)

// String names the state.
func (b bbrState) String() string {
	return [...]string{"startup", "drain", "probe rate", "probe RTT"}[b%4]
}

// BBR sends by a model of the path: the highest rate of delivery of the last
// round trips, and the lowest RTT of the last seconds. Single losses do not slow
// it, so it keeps its rate where losses are random. It lives on Ack.Delivery.
//
// Sources: Cardwell and others, "BBR: congestion-based congestion control", ACM
// Queue 2016, and the drafts named at its constants. Of version 2 it has the
// probing of the RTT with half a window and the end of startup by losses.
// Losses beside a queue that stands make its window smaller (ours), so that
// several flows do not overrun a short queue for good.
//
// Known weaknesses are those of version 1: of flows with different RTTs the one
// with the longer RTT gets most; beside flows that fill the queue before it
// starts it takes the filled queue for the path, and more than its share.
type BBR struct {
	Ignore
	state bbrState
	model bbrModel
	noise bbrLosses

	mss   float64
	limit float64 // packets; the peer's
	cwnd  float64 // packets
	saved float64 // window before it was taken away
	rests bool    // since a timeout, until the path has answered for a round trip
	guess float64 // bytes per second, until a rate is known
	jump  float64 // bytes per second, from elsewhere, to begin with; 0: none
	// jumpEnd is when the jump is over, whatever came of it.
	jumpEnd time.Duration

	fullRate  float64 // highest rate so far in startup
	fullCount int     // round trips in which it did not grow
	full      bool
	phase     int
	phaseAt   time.Duration
	low       time.Duration // least RTT of this round trip; 0: none
	lowest    time.Duration // of the one before
	probed    float64       // rate when the last probe began; 0: there was none
	paid      int           // probes before it, one after the other, that paid
	probeEnd  time.Duration // when probing the RTT may end; 0 while the path empties
	random    random
}

var _ Resumer = (*BBR)(nil)

// NewBBR makes a BBR.
func NewBBR() *BBR { return &BBR{} }

// Init begins.
func (b *BBR) Init(s *Stats) {
	*b = BBR{cwnd: initialWindow, random: random{s.Seed}}
	b.model.roundEnd = s.Delivered
	b.noise = bbrLosses{gain: bbrCwndGain, sent: s.Sent + s.Resent, lost: s.Lost}
	b.learn(s)
	rtt := max(s.RTT, time.Millisecond)
	b.guess = initialWindow * b.mss / rtt.Seconds()
}

// Resume implements Resumer: startup begins at half of the rate, paced. What is lost
// in numbers takes it back, and what comes back through the path replaces it. Source:
// draft-ietf-tsvwg-careful-resume, whose unvalidated phase this is.
func (b *BBR) Resume(s *Stats, rate units.Rate) {
	half := clamp(float64(rate), 0, float64(MaxRate)) / 2
	if b.state != bbrStartup || b.full || half <= b.model.rate() {
		return
	}
	b.jump, b.jumpEnd = half, s.Now+bbrJumpTrips*max(s.RTT, time.Millisecond)
	b.learn(s)
}

func (b *BBR) learn(s *Stats) {
	b.mss, b.limit = float64(max(s.MSS, 1)), windowLimit(s)
	if s.Now > b.jumpEnd || b.state != bbrStartup {
		b.jump = 0
	}
	if b.jump > 0 { // again and again: the peer may begin with a small buffer
		b.cwnd = max(b.cwnd, b.jump*max(s.MinRTT, time.Millisecond).Seconds()/b.mss)
	}
	b.cwnd = clamp(b.cwnd, min(bbrMinWindow, b.limit), b.limit)
}

// OnAck updates the model and moves on.
func (b *BBR) OnAck(s *Stats, a *Ack) {
	if a.Packets <= 0 {
		return
	}
	round := b.model.learn(s, a)
	if b.rests && round && b.state != bbrProbeRTT {
		b.cwnd, b.rests = max(b.cwnd, b.saved), false
	}
	if a.RTT > 0 {
		b.noise.low = least(b.noise.low, a.RTT)
		b.low = least(b.low, a.RTT)
	}
	if round {
		b.noise.round(s, b.model.minRTT)
		b.lowest, b.low = b.low, 0
	}
	switch b.state {
	case bbrStartup:
		if b.checkFull(a, round); b.full {
			b.state = bbrDrain
		}
	case bbrDrain:
		if float64(s.InFlight) <= b.bdp() {
			b.probeRate(s.Now)
		}
	case bbrProbeRate:
		b.advance(s)
	case bbrProbeRTT:
	}
	b.checkRTT(s, a)
	b.setWindow(a)
	b.learn(s)
}

// bdp is what the path holds without queues, in packets; 0 while unknown.
func (b *BBR) bdp() float64 { return b.model.rate() * b.model.minRTT.Seconds() / b.mss }

// checkFull ends startup when the rate did not grow by a quarter in three round
// trips, or when packets are lost in numbers. A sender with too little to send proves
// nothing, unless a queue stands all the same (ours).
func (b *BBR) checkFull(a *Ack, round bool) {
	if !round || a.Delivery.AppLimited && float64(b.lowest) <= bbrStanding*float64(b.model.minRTT) {
		return
	}
	if b.noise.share > bbrNoise && b.noise.before >= bbrStartupGaps {
		b.full, b.jump = true, 0
		return
	}
	if r := b.model.rate(); r >= b.fullRate*bbrFullGrowth {
		b.fullRate, b.fullCount = r, 0
		return
	}
	b.fullCount++
	b.full = b.fullCount >= bbrFullRounds
}

// probeRate begins the cycle of gains at a random phase other than that which
// yields, so that flows which share a link do not probe together.
func (b *BBR) probeRate(now time.Duration) {
	b.state, b.phaseAt = bbrProbeRate, now
	if b.phase = int(b.random.float() * (bbrCycle - 1)); b.phase >= 1 {
		b.phase++
	}
	b.probed, b.paid = 0, 0
	if b.phase == 0 {
		b.probed = b.model.rate()
	}
}

// advance goes to the next phase of the cycle: after a min RTT; when probing,
// not before that much is on the way, or lost; when yielding, as soon as the
// queue is empty. What a probe brought is known a round trip after its end.
func (b *BBR) advance(s *Stats) {
	passed := s.Now-b.phaseAt > b.model.minRTT
	switch b.phase {
	case 0:
		passed = passed && (b.noise.gaps > 0 || float64(s.InFlight) >= b.probeGain()*b.bdp() || s.AppLimited)
	case 1:
		passed = passed || float64(s.InFlight) <= b.bdp()
	}
	switch {
	case (b.phase == 1 || b.phase == 2) && b.pays():
		b.paid++
		b.phase, b.phaseAt, b.probed = 0, s.Now, b.model.rate()
	case passed:
		if b.phase == 2 {
			b.paid = 0
		}
		if b.phase, b.phaseAt = (b.phase+1)%bbrCycle, s.Now; b.phase == 0 {
			b.probed = b.model.rate()
		}
	}
}

// pays tells that the last probe has found more, and neither a queue nor losses.
func (b *BBR) pays() bool {
	return b.probed > 0 && b.model.rate() >= bbrGrew*b.probed &&
		b.lowest > 0 && float64(b.lowest) < bbrEmpty*float64(b.model.minRTT) && b.noise.share <= bbrCongested
}

// probeGain is the gain of the pace while probing for more.
func (b *BBR) probeGain() float64 { return bbrProbeGains[min(b.paid, len(bbrProbeGains)-1)] }

// checkRTT probes for the min RTT with half of what the path holds when it was
// not seen for long.
func (b *BBR) checkRTT(s *Stats, a *Ack) {
	old := b.model.learnRTT(s.Now, a.RTT)
	if old && b.state != bbrProbeRTT {
		b.state, b.probeEnd = bbrProbeRTT, 0
		if !b.rests {
			b.saved = b.cwnd
		}
	}
	if b.state != bbrProbeRTT {
		return
	}
	switch {
	case b.probeEnd == 0 && float64(s.InFlight) <= b.probeWindow():
		b.probeEnd = s.Now + max(bbrProbeRTTTime, b.model.minRTT)
	case b.probeEnd > 0 && s.Now > b.probeEnd:
		b.model.minRTTAt = s.Now
		b.cwnd, b.rests = max(b.cwnd, b.saved), false
		if b.full {
			b.probeRate(s.Now)
		} else {
			b.state = bbrStartup
		}
	}
}

// probeWindow is the window while the RTT is probed.
func (b *BBR) probeWindow() float64 { return max(bbrProbeRTTGain*b.bdp(), bbrMinWindow) }

// setWindow grows the window by what was delivered, up to the target.
func (b *BBR) setWindow(a *Ack) {
	delivered := float64(a.Packets)
	bdp := b.bdp()
	if b.state == bbrProbeRTT {
		b.cwnd = min(b.cwnd, b.probeWindow())
		return
	}
	if bdp <= 0 {
		b.cwnd += delivered
		return
	}
	gain := bbrStartupGain
	switch b.state {
	case bbrStartup:
		gain = bbrStartupCwnd
	case bbrProbeRate:
		gain = b.noise.gain
	}
	target := gain*bdp + 3
	if b.state != bbrStartup { // where growth looks like lumps
		target += b.model.lumps() / b.mss
	}
	switch {
	case b.full:
		b.cwnd = min(b.cwnd+delivered, target)
	case b.cwnd < target:
		b.cwnd += delivered
	}
}

// OnLoss counts, for the share of losses.
func (b *BBR) OnLoss(s *Stats, l *Loss) {
	b.noise.gaps = min(b.noise.gaps+len(l.Ranges), 1<<20)
	b.learn(s)
}

// OnTimeout sends little until the path answers; the model stays, and the window
// comes back after a round trip.
func (b *BBR) OnTimeout(s *Stats) {
	if b.state != bbrProbeRTT && !b.rests {
		b.saved = b.cwnd
	}
	b.cwnd, b.rests, b.jump = bbrMinWindow, true, 0
	b.learn(s)
}

// Control gives pace and window.
func (b *BBR) Control() Control {
	r := b.model.rate()
	if r <= 0 {
		r = b.guess
	}
	r *= b.paceGain()
	if b.state == bbrStartup {
		r = max(r, b.jump)
	}
	return Control{Rate: paceOf(r), Window: b.cwnd}
}

func (b *BBR) paceGain() float64 {
	switch {
	case b.state == bbrStartup:
		return bbrStartupGain
	case b.state == bbrDrain:
		return 1 / bbrStartupGain
	case b.state == bbrProbeRate && b.phase == 0:
		return b.probeGain()
	case b.state == bbrProbeRate && b.phase == 1:
		return bbrYieldGain
	}
	return bbrPaceMargin
}
