package netsim

import (
	"math"
	"time"
)

// Constants of RFC 9438, sections 4.1, 4.3 and 4.6.
const (
	cubicC     = 0.4 // segments per second cubed
	cubicBeta  = 0.7
	cubicAlpha = 3 * (1 - cubicBeta) / (1 + cubicBeta)
)

// cubic is the congestion control of RFC 9438, with fast convergence. Slow start
// is that of reno.
type cubic struct {
	reno
	wMax  float64       // window before the last reduction
	prior float64       // the same without fast convergence
	epoch time.Duration // when congestion avoidance began; -1 if it has not
	heard time.Duration // when the last acknowledgement came
	k     float64       // seconds until the curve is back at wMax
	wEst  float64       // what Reno would have
}

func newCubic() *cubic {
	return &cubic{reno: *newReno(), epoch: -1}
}

func (c *cubic) acked(a *ack) {
	passed := a.now - c.heard
	c.heard = a.now
	if a.recovering {
		return
	}
	if !a.limited {
		if c.epoch >= 0 {
			c.epoch += passed // section 5.8: time that did not test the path does not count
		}
		return
	}
	rest := c.slowStart(a.segments)
	if rest <= 0 {
		return
	}
	if c.epoch < 0 {
		c.begin(a.now)
	}
	// Section 4.3: the window that Reno would have.
	alpha := cubicAlpha
	if c.wEst >= c.prior {
		alpha = 1
	}
	c.wEst += alpha * rest / c.cwnd
	t := (a.now - c.epoch).Seconds()
	if c.at(t) < c.wEst {
		c.cwnd = max(c.cwnd, c.wEst)
		return
	}
	// Sections 4.4 and 4.5: towards where the curve is one round trip later.
	target := min(max(c.at(t+a.srtt.Seconds()), c.cwnd), 1.5*c.cwnd)
	c.cwnd += (target - c.cwnd) / c.cwnd * rest
}

// begin starts congestion avoidance.
func (c *cubic) begin(now time.Duration) {
	c.epoch, c.wEst = now, c.cwnd
	c.wMax = max(c.wMax, c.cwnd)
	c.k = math.Cbrt((c.wMax - c.cwnd) / cubicC)
}

// at is the cubic function, t seconds into the epoch (equation 1).
func (c *cubic) at(t float64) float64 {
	d := t - c.k
	return cubicC*d*d*d + c.wMax
}

func (c *cubic) lost(_ time.Duration, _ float64) {
	c.reduce()
	c.cwnd = c.ssthresh
}

// reduce notes the window of now as the one to come back to (section 4.7: less,
// if the last one was not reached) and lowers ssthresh.
func (c *cubic) reduce() {
	c.prior = c.cwnd
	if c.cwnd < c.wMax {
		c.wMax = c.cwnd * (1 + cubicBeta) / 2
	} else {
		c.wMax = c.cwnd
	}
	c.ssthresh = max(c.cwnd*cubicBeta, minWindow)
	c.epoch = -1
}

func (c *cubic) timedOut(_ time.Duration, _ float64) {
	c.reduce()
	c.cwnd = 1
}
