package cc

import (
	"math"
	"time"
)

// Constants of FAST. Gamma is that of the paper, section IV; the share kept
// after a loss that of UDT's sample controllers. The packets to be kept in the
// queue are ours: the paper has a table (8, 20 and 200 at 10 and 100 Mbit/s and
// 1 Gbit/s) with which flows of different rates are not fair; a root of the rate
// is near it, and has one fair balance.
const (
	fastGamma = 0.5
	fastKeep  = 0.875
	fastAlpha = 0.3 // packets per root of packets per second
	fastLow   = 4.0 // packets
	fastHigh  = 200.0
)

// FAST keeps a small and constant number of packets in the queue of the
// narrowest link, which it reads from the RTT. Source: C. Jin, D. X. Wei and
// S. H. Low, "FAST TCP: motivation, architecture, algorithms, performance",
// INFOCOM 2004; the family of TCP Vegas. It yields to flows that fill queues.
type FAST struct {
	window
	base  time.Duration // lowest RTT seen
	low   time.Duration // lowest RTT of this round trip
	round int64         // position that ends the round trip
}

var _ Controller = (*FAST)(nil)

// NewFAST makes a FAST.
func NewFAST() *FAST { return &FAST{} }

// Init begins.
func (c *FAST) Init(s *Stats) {
	c.base, c.low, c.round = 0, 0, s.Sent
	c.window.Init(s)
}

// OnAck moves the window, once in a round trip outside of slow start.
func (c *FAST) OnAck(s *Stats, a *Ack) {
	if a.RTT > 0 {
		c.low = least(c.low, a.RTT)
		c.base = least(c.base, a.RTT)
	}
	grow := c.growth(s, a)
	if c.cwnd < c.ssthresh {
		c.cwnd += grow
		if c.low > 0 && c.queued() > c.alpha() {
			c.ssthresh = c.cwnd
		}
	}
	if s.Acked > c.round {
		c.round = s.Sent
		if c.cwnd >= c.ssthresh && c.low > 0 {
			c.move(grow > 0)
		}
		c.low = 0
	}
	c.learn(s)
}

// queued estimates how many of the window's packets are in queues.
func (c *FAST) queued() float64 {
	return c.cwnd * (1 - c.base.Seconds()/c.low.Seconds())
}

// alpha is how many there should be.
func (c *FAST) alpha() float64 {
	return clamp(fastAlpha*math.Sqrt(c.cwnd/c.low.Seconds()), fastLow, fastHigh)
}

// move is equation 4 of the paper.
func (c *FAST) move(up bool) {
	goal := c.base.Seconds()/c.low.Seconds()*c.cwnd + c.alpha()
	next := min(2*c.cwnd, (1-fastGamma)*c.cwnd+fastGamma*goal)
	if up || next < c.cwnd {
		c.cwnd = max(next, lowWindow)
		c.ssthresh = c.cwnd
	}
}

// OnLoss takes an eighth away, once for all losses of a round trip.
func (c *FAST) OnLoss(s *Stats, l *Loss) {
	if c.fresh(s, l) {
		c.cut(fastKeep)
	}
	c.learn(s)
}

// OnTimeout begins again.
func (c *FAST) OnTimeout(s *Stats) {
	c.collapse(s, 0.5)
	c.learn(s)
}

// least is the lower of two times, of which the first may be unknown (0).
func least(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}
