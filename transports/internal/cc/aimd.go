package cc

import "math"

// AIMD is the family of controllers that add to the window with every round trip
// and take a share of it away when packets are lost: Reno, HighSpeed and
// Scalable TCP. They differ in how much, by the window. Make one by NewReno,
// NewHighSpeed, or NewScalable.
type AIMD struct {
	window
	// response gives what a window gains in a round trip, in packets, and the
	// share that it loses.
	response func(cwnd float64) (gain, loss float64)
}

var _ Controller = (*AIMD)(nil)

// NewReno makes the controller of RFC 5681.
func NewReno() *AIMD { return &AIMD{response: reno} }

// NewHighSpeed makes HighSpeed TCP (RFC 3649): as Reno to a window of 38
// packets, above that the faster and gentler the larger the window.
func NewHighSpeed() *AIMD { return &AIMD{response: highSpeed} }

// NewScalable makes Scalable TCP (T. Kelly, "Scalable TCP: improving performance
// in highspeed wide area networks", 2003): a window doubles in 70 round trips
// whatever its size. Two such flows do not become equal.
func NewScalable() *AIMD { return &AIMD{response: scalable} }

func reno(float64) (gain, loss float64) { return 1, 0.5 }

// Constants of RFC 3649, section 5.
const (
	highSpeedLow      = 38.0    // packets; as Reno up to here
	highSpeedHigh     = 83000.0 // packets; of the end of the line
	highSpeedLossHigh = 0.1     // share lost there
	highSpeedP        = 0.078   // loss rate at a window of 1, so p(w) = 0.078 / w^1.2
	highSpeedExponent = 1.2
)

func highSpeed(w float64) (gain, loss float64) {
	if w <= highSpeedLow {
		return reno(w)
	}
	w = min(w, highSpeedHigh)
	loss = 0.5 + (highSpeedLossHigh-0.5)*math.Log(w/highSpeedLow)/math.Log(highSpeedHigh/highSpeedLow)
	p := highSpeedP / math.Pow(w, highSpeedExponent)
	return w * w * p * 2 * loss / (2 - loss), loss
}

// Constants of Scalable TCP, section 3 of the paper and the sample set of UDT:
// a = 0.01 packets for each packet delivered, b = 1/8.
const (
	scalableLow  = 38.0
	scalableGain = 0.01
	scalableLoss = 0.125
)

func scalable(w float64) (gain, loss float64) {
	if w <= scalableLow {
		return reno(w)
	}
	return w * scalableGain, scalableLoss
}

// OnAck grows the window.
func (c *AIMD) OnAck(s *Stats, a *Ack) {
	if rest := c.slowStart(s, a, c.growth(s, a)); rest > 0 {
		gain, _ := c.response(c.cwnd)
		c.cwnd += gain * rest / c.cwnd
	}
	c.learn(s)
}

// OnLoss cuts the window, once for all losses of a round trip.
func (c *AIMD) OnLoss(s *Stats, l *Loss) {
	if c.fresh(s, l) {
		_, loss := c.response(c.cwnd)
		c.cut(1 - loss)
	}
	c.learn(s)
}

// OnTimeout begins again.
func (c *AIMD) OnTimeout(s *Stats) {
	_, loss := c.response(c.cwnd)
	c.collapse(s, 1-loss)
	c.learn(s)
}
