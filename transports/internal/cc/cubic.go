package cc

import (
	"math"
	"time"
)

// Constants of RFC 9438.
const (
	cubicC     = 0.4 // packets per cubic second; section 5
	cubicBeta  = 0.7 // share of the window that is kept; section 4.6
	cubicAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta)
	cubicLeap  = 1.5 // most that the window grows towards in a round trip; section 4.2
)

// CUBIC is the controller of RFC 9438: the window approaches that of the last
// loss fast, stays near it, and leaves it ever faster, all by time and not by
// round trips. Slow start ends early by HyStart++ (RFC 9406).
type CUBIC struct {
	window
	max      float64 // window before the last cut
	prior    float64 // window at the start of the epoch before the cut
	estimate float64 // window that Reno would have
	epoch    time.Duration
	begun    bool          // an epoch of congestion avoidance
	idle     time.Duration // when the sender was last seen without data
	k        float64       // seconds from the start of the epoch to max
}

var _ Controller = (*CUBIC)(nil)

// NewCUBIC makes a CUBIC.
func NewCUBIC() *CUBIC { return &CUBIC{window: window{gentle: true}} }

// Init begins.
func (c *CUBIC) Init(s *Stats) {
	c.max, c.prior, c.begun = 0, 0, false
	c.window.Init(s)
}

// OnAck grows the window.
func (c *CUBIC) OnAck(s *Stats, a *Ack) {
	c.pause(s)
	if rest := c.slowStart(s, a, c.growth(s, a)); rest > 0 {
		c.avoid(s, rest)
	}
	c.learn(s)
}

// pause keeps the time in which there was nothing to send out of the epoch
// (section 5.8).
func (c *CUBIC) pause(s *Stats) {
	if s.AppLimited && c.begun {
		c.epoch += max(0, s.Now-c.idle)
	}
	c.idle = s.Now
}

// avoid is congestion avoidance (sections 4.2 to 4.5).
func (c *CUBIC) avoid(s *Stats, packets float64) {
	if !c.begun {
		c.begin(s)
	}
	alpha := cubicAlpha
	if c.estimate >= c.prior {
		alpha = 1
	}
	c.estimate += alpha * packets / c.cwnd
	t := max(0, s.Now-c.epoch)
	if c.at(t) < c.estimate {
		c.cwnd = max(c.cwnd, c.estimate)
		return
	}
	target := clamp(c.at(t+max(0, s.RTT)), c.cwnd, cubicLeap*c.cwnd)
	c.cwnd += (target - c.cwnd) * min(1, packets/c.cwnd)
}

// begin starts an epoch.
func (c *CUBIC) begin(s *Stats) {
	c.begun, c.epoch, c.estimate = true, s.Now, c.cwnd
	if c.max <= c.cwnd { // slow start ended without a loss, or after a timeout
		c.max, c.k = c.cwnd, 0
		c.prior = c.cwnd
		return
	}
	c.k = math.Cbrt((c.max - c.cwnd) / cubicC)
}

// at is the cubic function: the window at a time of the epoch.
func (c *CUBIC) at(t time.Duration) float64 {
	x := t.Seconds() - c.k
	return cubicC*x*x*x + c.max
}

// OnLoss cuts the window, once for all losses of a round trip.
func (c *CUBIC) OnLoss(s *Stats, l *Loss) {
	if c.fresh(s, l) {
		c.remember()
		c.cut(cubicBeta)
		c.begun = false
	}
	c.learn(s)
}

// remember notes the window before a cut. A flow that had to give up some of it
// since the last cut gives up more, so that newer flows get it (section 4.7).
func (c *CUBIC) remember() {
	c.prior = c.cwnd
	if c.cwnd < c.max {
		c.max = c.cwnd * (1 + cubicBeta) / 2
	} else {
		c.max = c.cwnd
	}
}

// OnTimeout begins again (section 4.8).
func (c *CUBIC) OnTimeout(s *Stats) {
	c.collapse(s, cubicBeta)
	c.max, c.prior, c.begun = 0, 0, false
	c.learn(s)
}
