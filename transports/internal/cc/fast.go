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

// Constants of the dips, which the paper does not have; ours. A flow that starts
// while others keep a queue takes their queue for part of the path, keeps more
// of its own, and pushes them aside. So each flow halves its window now and then
// for as long as it takes to see the path with less queue; the flow with most of
// the link empties it, and the others see that, too.
const (
	fastDipPeriod = 10 * time.Second
	fastDipRounds = 2
	fastDipShare  = 0.5
	fastBases     = 3 // dips that a base RTT is believed for
)

// FAST keeps a small and constant number of packets in the queue of the
// narrowest link, which it reads from the RTT. Source: C. Jin, D. X. Wei and
// S. H. Low, "FAST TCP: motivation, architecture, algorithms, performance",
// INFOCOM 2004; the family of TCP Vegas. It yields to flows that fill queues.
type FAST struct {
	window
	bases [fastBases]time.Duration // lowest RTT between dips, youngest first
	low   time.Duration            // lowest RTT of this round trip
	round int64                    // position that ends the round trip
	dip   int                      // round trips left of a dip; 0 is none
	saved float64                  // window before the dip
	next  time.Duration            // time of the next dip
}

var _ Controller = (*FAST)(nil)

// NewFAST makes a FAST.
func NewFAST() *FAST { return &FAST{} }

// Init begins.
func (c *FAST) Init(s *Stats) {
	*c = FAST{round: s.Sent, next: s.Now + fastDipPeriod}
	c.window.Init(s)
}

// base is the RTT of the empty path; 0 is unknown.
func (c *FAST) base() time.Duration { return lowest(c.bases[:]) }

// OnAck moves the window, once in a round trip outside of slow start.
func (c *FAST) OnAck(s *Stats, a *Ack) {
	if a.RTT > 0 {
		c.low = least(c.low, a.RTT)
		c.bases[0] = least(c.bases[0], a.RTT)
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
		c.turn(s, grow > 0)
		c.low = 0
	}
	c.learn(s)
}

// turn ends a round trip: it moves the window, or begins or ends a dip.
func (c *FAST) turn(s *Stats, up bool) {
	switch {
	case c.dip > 1:
		c.dip--
	case c.dip == 1:
		c.rise()
	case c.cwnd < c.ssthresh || c.low == 0:
	case s.Now >= c.next:
		c.next = s.Now + fastDipPeriod
		c.dip, c.saved = fastDipRounds, c.cwnd
		c.cwnd = max(c.cwnd*fastDipShare, lowWindow)
		c.ssthresh = c.cwnd
		copy(c.bases[1:], c.bases[:])
		c.bases[0] = c.low
	default:
		c.move(up)
	}
}

// rise ends a dip.
func (c *FAST) rise() {
	if c.dip > 0 {
		c.dip, c.cwnd, c.ssthresh = 0, c.saved, c.saved
	}
}

// queued estimates how many of the window's packets are in queues.
func (c *FAST) queued() float64 {
	return c.cwnd * (1 - c.base().Seconds()/c.low.Seconds())
}

// alpha is how many there should be.
func (c *FAST) alpha() float64 {
	return clamp(fastAlpha*math.Sqrt(c.cwnd/c.low.Seconds()), fastLow, fastHigh)
}

// move is equation 4 of the paper.
func (c *FAST) move(up bool) {
	goal := c.base().Seconds()/c.low.Seconds()*c.cwnd + c.alpha()
	next := min(2*c.cwnd, (1-fastGamma)*c.cwnd+fastGamma*goal)
	if up || next < c.cwnd {
		c.cwnd = max(next, lowWindow)
		c.ssthresh = c.cwnd
	}
}

// OnLoss takes an eighth away, once for all losses of a round trip.
func (c *FAST) OnLoss(s *Stats, l *Loss) {
	if c.fresh(s, l) {
		c.rise()
		c.cut(fastKeep)
	}
	c.learn(s)
}

// OnTimeout begins again.
func (c *FAST) OnTimeout(s *Stats) {
	c.rise()
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
