package netsim

import (
	"fmt"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// DefaultQueue is the queue of a link whose Params name none, as a time. Unit:
// time. Ours: some bandwidth-delay product of a continental path.
const DefaultQueue = 100 * time.Millisecond

// Bounds of what Validate accepts, so that no sum of times can overflow.
const (
	maxDelay      = time.Hour        // also of what a queue holds, whatever its bytes
	maxRate       = units.Rate(1e12) // bytes per second
	maxQueueBytes = int64(1) << 40
)

// Limit bounds a drop-tail queue: to Bytes, the packet being sent included, or
// if that is zero to a wait of Time until a packet's first bit is sent. The zero
// Limit means DefaultQueue; a queue that holds nothing is Limit{Bytes: 1}, since
// an idle transmitter takes a packet of any size.
type Limit struct {
	Bytes int64
	Time  time.Duration
}

// full tells whether a packet that would wait for wait, and make the queue
// bytes long, finds no room.
func (q Limit) full(wait time.Duration, bytes int64) bool {
	switch {
	case q.Bytes > 0:
		return bytes > q.Bytes || wait > maxDelay
	case q.Time > 0:
		return wait > q.Time
	}
	return wait > DefaultQueue
}

// GilbertElliott describes bursts of loss: per packet the probability to enter
// the bad state, to exit it, and to be lost in it. All in 0..1.
//
// A burst of bad packets is 1/Exit long on average, and the whole loss is
// Loss * Enter/(Enter+Exit). The zero value has no bursts.
type GilbertElliott struct {
	Enter, Exit, Loss float64
}

// Params are the settings of one direction of a link. The zero value is a
// perfect link. Probabilities are per packet, in 0..1, and drawn independently.
type Params struct {
	// Rate is that of the transmitter, in bytes of packets (headers included)
	// per second; 0 is unlimited, and there is then no queue.
	Rate  units.Rate
	Queue Limit
	// Delay is that of the line, one way; Jitter the standard deviation of a
	// Gaussian with some 10 ms of memory on top. The two together are never
	// less than nothing, and they never reorder.
	Delay, Jitter time.Duration
	// Loss is the probability to be lost behind the transmitter. With
	// LossBlock above 0 it is the exact share of each block of so many
	// packets: at 0.01 and 100, one packet of each hundred.
	Loss      float64
	LossBlock int64
	Burst     GilbertElliott
	// Corrupt is the probability that a bit is flipped, so that a receiver's
	// checksum fails; Mangle that bits are swapped so that it does not.
	Corrupt, Mangle float64
	// Reorder is the probability to be held back by up to 2 ms while later
	// packets pass; Duplicate to arrive twice.
	Reorder, Duplicate float64
	// Cross is the rate of background traffic in bytes per second: 1500-byte
	// packets with exponential gaps take their place in the queue and are then
	// forgotten. Without a Rate it does nothing.
	Cross units.Rate
	// Cut drops everything that is offered; what is on the line arrives.
	Cut bool
}

// Validate tells what is wrong with the settings: a probability outside 0..1, a
// negative value, or one beyond an hour, 1e12 bytes per second, or a TiB.
func (p Params) Validate() error {
	for _, x := range []struct {
		name string
		v    float64
	}{
		{"loss", p.Loss}, {"burst enter", p.Burst.Enter}, {"burst exit", p.Burst.Exit}, {"burst loss", p.Burst.Loss},
		{"corrupt", p.Corrupt}, {"mangle", p.Mangle}, {"reorder", p.Reorder}, {"duplicate", p.Duplicate},
	} {
		if !(x.v >= 0 && x.v <= 1) { // not a number fails, too
			return fmt.Errorf("link parameter %s: %g is not a probability", x.name, x.v)
		}
	}
	for _, x := range []struct {
		name   string
		v, max int64
	}{
		{"rate", int64(p.Rate), int64(maxRate)}, {"cross", int64(p.Cross), int64(maxRate)},
		{"queue bytes", p.Queue.Bytes, maxQueueBytes}, {"queue time", int64(p.Queue.Time), int64(maxDelay)},
		{"delay", int64(p.Delay), int64(maxDelay)}, {"jitter", int64(p.Jitter), int64(maxDelay)},
		{"loss block", p.LossBlock, 1e9},
	} {
		if x.v < 0 || x.v > x.max {
			return fmt.Errorf("link parameter %s: %d is not in 0..%d", x.name, x.v, x.max)
		}
	}
	return nil
}
