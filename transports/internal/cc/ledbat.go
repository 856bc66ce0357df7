package cc

import (
	"math"
	"time"
)

// Constants of LEDBAT++; draft-irtf-iccrg-ledbat-plus-plus, section 4.
const (
	ledbatTarget    = 60 * time.Millisecond // of the delay in queues, at most
	ledbatGainLimit = 16
	ledbatExit      = 0.75            // share of the target that ends the first slow start
	ledbatPause     = 2               // round trips before the first slowdown, and of each
	ledbatPeriod    = 9               // times as long as a slowdown, between slowdowns
	ledbatBases     = 10              // base delays that are remembered
	ledbatBaseTime  = 1 * time.Minute // each of them
	ledbatFilter    = 4               // samples, of which the lowest is the delay now
)

// Ours: 60 ms are more than many queues hold, and then it would yield as little
// as Reno. The target is a share of the base RTT too, since queues are made in
// proportion to it, and of the longest queue seen when packets were lost. It is
// not less than what an acknowledgement can be late by itself, or a window of two
// packets would never grow again.
const (
	ledbatBaseShare  = 4
	ledbatQueueShare = 4
	ledbatMinTarget  = synInterval + 2*time.Millisecond
)

// LEDBAT is a scavenger: it takes what others leave. It aims at a short delay in
// queues, so flows that fill queues push it aside, and it goes out of the way at
// intervals to see the RTT of the empty path. Source: LEDBAT++
// (draft-irtf-iccrg-ledbat-plus-plus), with delays taken from the RTT, and a
// target that adapts to the path.
type LEDBAT struct {
	window
	bases   [ledbatBases]time.Duration // lowest RTT of each of the last minutes
	baseAt  time.Duration              // begin of the youngest
	recent  [ledbatFilter]time.Duration
	newest  int
	longest time.Duration // RTT in the round trip of a loss; 0 without any
	first   bool          // slow start
	round   int64         // position that ends the round trip

	// Slowdowns.
	slowing slowdown
	begun   time.Duration // of the last slowdown
	until   time.Duration // of its pause
	next    time.Duration // begin of the next one
}

// slowdown is where a LEDBAT stands in its slowdowns.
//
//	steady --time--> paused --2 RTT--> ramping --old window, or loss--> steady
type slowdown uint8

const (
	steady slowdown = iota
	paused
	ramping
)

var _ Controller = (*LEDBAT)(nil)

// NewLEDBAT makes a LEDBAT.
func NewLEDBAT() *LEDBAT { return &LEDBAT{} }

// Init begins.
func (c *LEDBAT) Init(s *Stats) {
	*c = LEDBAT{baseAt: s.Now, first: true, round: s.Sent}
	c.window.Init(s)
	c.cwnd = min(lowWindow, c.limit)
}

// OnAck moves the window by the delay.
func (c *LEDBAT) OnAck(s *Stats, a *Ack) {
	c.measure(s, a)
	grow := c.growth(s, a)
	switch c.slowing {
	case paused:
		if grow = 0; s.Now >= c.until {
			c.slowing = ramping
		}
	case ramping:
		if c.cwnd >= c.ssthresh {
			c.settle(s)
		}
	case steady:
		c.schedule(s)
	}
	if c.slowing != paused {
		c.move(s, grow)
	}
	c.learn(s)
}

// measure notes the RTT in both filters.
func (c *LEDBAT) measure(s *Stats, a *Ack) {
	if a.RTT <= 0 {
		return
	}
	if s.Now-c.baseAt >= ledbatBaseTime {
		copy(c.bases[1:], c.bases[:])
		c.bases[0], c.baseAt = 0, s.Now
	}
	c.bases[0] = least(c.bases[0], a.RTT)
	c.newest = (c.newest + 1) % ledbatFilter
	c.recent[c.newest] = a.RTT
}

// base is the RTT of the empty path; 0 is unknown.
func (c *LEDBAT) base() time.Duration { return lowest(c.bases[:]) }

// delay is the time spent in queues now.
func (c *LEDBAT) delay() time.Duration { return max(0, lowest(c.recent[:])-c.base()) }

// target is the delay to aim at.
func (c *LEDBAT) target() time.Duration {
	base := c.base()
	t := min(ledbatTarget, base/ledbatBaseShare)
	if c.longest > base {
		t = min(t, (c.longest-base)/ledbatQueueShare)
	}
	return max(t, ledbatMinTarget)
}

// gain makes the flow slower than Reno where the base RTT is small against the
// target (section 4.2 of the draft).
func (c *LEDBAT) gain() float64 {
	base := c.base()
	if base <= 0 {
		return 1.0 / ledbatGainLimit
	}
	return 1 / clamp(math.Ceil(2*ledbatTarget.Seconds()/base.Seconds()), 1, ledbatGainLimit)
}

// move is slow start below ssthresh, and sections 4.2 and 4.3 of the draft above.
func (c *LEDBAT) move(s *Stats, packets float64) {
	delay, target := c.delay().Seconds(), c.target().Seconds()
	if c.cwnd < c.ssthresh {
		if c.first && delay > ledbatExit*target {
			c.first, c.ssthresh = false, c.cwnd
			c.next = s.Now + ledbatPause*max(0, s.RTT)
			return
		}
		if delay <= target {
			c.cwnd = min(c.cwnd+c.gain()*packets, c.ssthresh)
		}
		return
	}
	if delay <= target {
		c.cwnd += c.gain() * packets / c.cwnd
	}
	if s.Acked <= c.round {
		return
	}
	c.round = s.Sent
	if delay > target {
		// Not more than what waits in queues: the draft's step alone would empty
		// the path where the target is much less than the base RTT (ours).
		queued := c.cwnd * delay / (delay + c.base().Seconds())
		step := max(c.gain()-c.cwnd*(delay/target-1), -c.cwnd/2, -queued)
		c.cwnd = max(c.cwnd+step, lowWindow)
		c.ssthresh = min(c.ssthresh, c.cwnd)
	}
}

// schedule begins a slowdown when it is time (section 4.4 of the draft).
func (c *LEDBAT) schedule(s *Stats) {
	if c.next == 0 || s.Now < c.next {
		return
	}
	c.slowing, c.begun = paused, s.Now
	c.until = s.Now + ledbatPause*max(0, s.RTT)
	c.ssthresh = max(c.cwnd, lowWindow)
	c.cwnd = lowWindow
}

// settle ends a slowdown, and sets the time of the next so that a tenth of the
// time is spent in them.
func (c *LEDBAT) settle(s *Stats) {
	c.slowing = steady
	c.next = s.Now + ledbatPeriod*max(0, s.Now-c.begun)
	c.round = s.Sent
}

// OnLoss halves the window, once for all losses of a round trip.
func (c *LEDBAT) OnLoss(s *Stats, l *Loss) {
	if c.fresh(s, l) {
		c.longest = highest(c.recent[:])
		c.halt(s)
		c.cut(0.5)
	}
	c.learn(s)
}

// halt ends slow start and slowdown.
func (c *LEDBAT) halt(s *Stats) {
	if c.first {
		c.first = false
		c.next = s.Now + ledbatPause*max(0, s.RTT)
	}
	if c.slowing != steady {
		c.settle(s)
	}
}

// OnTimeout begins again.
func (c *LEDBAT) OnTimeout(s *Stats) {
	c.halt(s)
	c.collapse(s, 0.5)
	c.learn(s)
}

// lowest is the lowest of the times that are known; 0 without any.
func lowest(l []time.Duration) time.Duration {
	low := time.Duration(0)
	for _, d := range l {
		if d > 0 {
			low = least(low, d)
		}
	}
	return low
}

// highest is the highest of the times.
func highest(l []time.Duration) time.Duration {
	high := time.Duration(0)
	for _, d := range l {
		high = max(high, d)
	}
	return high
}
