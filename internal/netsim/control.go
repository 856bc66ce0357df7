package netsim

import "time"

// Control names a congestion control.
type Control uint8

// The congestion controls that are modelled.
const (
	Reno  Control = iota // additive increase, halving (RFC 5681, 6582)
	CUBIC                // RFC 9438
	BBR                  // a model of rate and delay (draft-cardwell-iccrg-bbr-congestion-control-00)
)

// String gives the name as Linux writes it.
func (c Control) String() string {
	switch c {
	case Reno:
		return "reno"
	case CUBIC:
		return "cubic"
	case BBR:
		return "bbr"
	}
	return "unknown"
}

// Constants of the controls. Unit: segments.
const (
	initialWindow = 10 // RFC 6928
	minWindow     = 2  // of ssthresh; RFC 5681, equation 4
	noThreshold   = 1e12
)

// control is a congestion control: it hears what became of segments, and says
// how many may be on the way, and at what pace. It has no clock, and counts in
// segments, or parts of them, so that the packets of a Flow and the flows of a
// Fluid are ruled by the same code.
type control interface {
	// acked tells that segments were delivered.
	acked(a *ack)
	// lost tells that segments were lost; at most once per round trip, and only
	// for what was sent after the last time.
	lost(now time.Duration, inflight float64)
	// timedOut tells that nothing was heard for a whole RTO.
	timedOut(now time.Duration, inflight float64)
	// window is how many segments may be on the way; at least 1.
	window() float64
	// pace is how many segments per second may be sent; 0 is any number.
	pace() float64
}

// ack is what an acknowledgement, or a step of a fluid, tells a control.
type ack struct {
	now        time.Duration
	segments   float64       // newly delivered
	rtt        time.Duration // of the segment that was acknowledged last; 0 is unknown
	srtt       time.Duration // smoothed
	rate       float64       // segments delivered per second over a round trip; 0 is unknown
	inflight   float64       // segments still on the way
	round      bool          // a round trip has passed since the last such one
	recovering bool          // what was lost is not yet repaired
	appLimited bool          // the sender had no more to send, when this was sent
	limited    bool          // the window was full
}

func newControl(c Control, seed uint64) control {
	switch c {
	case CUBIC:
		return newCubic()
	case BBR:
		return newBBR(seed)
	case Reno:
	}
	return newReno()
}

// reno is the congestion control of RFC 5681.
type reno struct {
	cwnd, ssthresh float64
}

func newReno() *reno { return &reno{cwnd: initialWindow, ssthresh: noThreshold} }

// slowStart grows the window by what was delivered, up to ssthresh, and gives
// what is left of it.
func (r *reno) slowStart(segments float64) float64 {
	if r.cwnd >= r.ssthresh {
		return segments
	}
	grow := min(segments, r.ssthresh-r.cwnd)
	r.cwnd += grow
	return segments - grow
}

func (r *reno) acked(a *ack) {
	if a.recovering || !a.limited {
		return
	}
	if rest := r.slowStart(a.segments); rest > 0 {
		r.cwnd += rest / r.cwnd // RFC 5681, equation 3
	}
}

func (r *reno) lost(_ time.Duration, _ float64) {
	r.ssthresh = max(r.cwnd/2, minWindow)
	r.cwnd = r.ssthresh
}

func (r *reno) timedOut(_ time.Duration, inflight float64) {
	r.ssthresh = max(inflight/2, minWindow)
	r.cwnd = 1
}

func (r *reno) window() float64 { return r.cwnd }
func (r *reno) pace() float64   { return 0 }
