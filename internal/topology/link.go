package topology

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// DefaultQueue is the time that packets may wait in a queue if nothing else was
// said: about one long round trip, as routers are often set up.
const DefaultQueue = 100 * time.Millisecond

// Bounds of what a link may be set to. They are ours: generous for any network,
// small enough that sums of them do not overflow.
const (
	maxRate  = units.Rate(1e12 / 8) // 1 Tbit/s
	maxDelay = 10 * time.Minute
	maxQueue = int64(16 << 30) // bytes
)

// Link holds the settings of one direction of a link: a drop-tail queue, a
// transmitter, and a delay line, in this order. The zero value with any queue is
// a perfect link. In comments, the key in JSON and in assignments.
type Link struct {
	Rate      units.Rate    // "rate": bytes of IP packets per second, written as bits (50mbit); 0 is unlimited
	Queue     Queue         // "queue": 100ms or 12.5MB
	Delay     time.Duration // "delay": one way
	Jitter    time.Duration // "jitter": standard deviation of the delay; does not reorder
	Loss      float64       // "loss": probability per packet, 0.01 or 1%
	Burst     Burst         // "burst": enter,exit,loss
	Corrupt   float64       // "corrupt": probability that a bit is flipped, which checksums notice
	Mangle    float64       // "mangle": probability of damage that Internet checksums do not notice
	Reorder   float64       // "reorder": probability that a packet is held back while others pass
	Duplicate float64       // "duplicate": probability that a packet comes twice
	Cross     units.Rate    // "cross": bytes per second of background traffic, which does not yield; written as bits
	Cut       bool          // "cut": everything is dropped
}

// Queue limits what waits for the transmitter of a link.
type Queue struct {
	Bytes int64         // limit in bytes; if 0, Time counts
	Time  time.Duration // longest wait; 0 with Bytes 0 means that nothing waits
}

// Burst is the Gilbert-Elliott model of loss in bursts: probabilities per packet
// to enter the bad state, to leave it, and to be lost in it. Enter 0 is off.
type Burst struct {
	Enter, Exit, Loss float64
}

// Default gives the settings of a link of which nothing is said: perfect, with a
// queue of [DefaultQueue] for the case that it gets a rate.
func Default() Link { return Link{Queue: Queue{Time: DefaultQueue}} }

// Set changes one setting, as in KEY=VALUE. Errors name the key; the link is then
// unchanged.
func (l *Link) Set(key, value string) error {
	changed := *l
	if err := changed.set(key, value); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	*l = changed
	return nil
}

func (l *Link) set(key, value string) (err error) {
	switch key {
	case "rate":
		l.Rate, err = parseRate(value)
	case "queue":
		l.Queue, err = parseQueue(value)
	case "delay":
		l.Delay, err = parseDelay(value)
	case "jitter":
		l.Jitter, err = parseDelay(value)
	case "loss":
		l.Loss, err = parseShare(value)
	case "burst":
		l.Burst, err = parseBurst(value)
	case "corrupt":
		l.Corrupt, err = parseShare(value)
	case "mangle":
		l.Mangle, err = parseShare(value)
	case "reorder":
		l.Reorder, err = parseShare(value)
	case "duplicate":
		l.Duplicate, err = parseShare(value)
	case "cross":
		l.Cross, err = parseRate(value)
	case "cut":
		if l.Cut, err = strconv.ParseBool(value); err != nil {
			err = fmt.Errorf("%q is neither true nor false", clip(value))
		}
	default:
		err = errUnknownSetting
	}
	return err
}

// Validate tells what is out of bounds, for a Link that was not parsed.
func (l *Link) Validate() error {
	for _, r := range []units.Rate{l.Rate, l.Cross} {
		if r < 0 || r > maxRate {
			return fmt.Errorf("rate of %d bytes per second is not within 0 and %d", r, maxRate)
		}
	}
	for _, d := range []time.Duration{l.Queue.Time, l.Delay, l.Jitter} {
		if d < 0 || d > maxDelay {
			return fmt.Errorf("time of %v is not within 0 and %v", d, maxDelay)
		}
	}
	if l.Queue.Bytes < 0 || l.Queue.Bytes > maxQueue {
		return fmt.Errorf("queue of %d bytes is not within 0 and %d", l.Queue.Bytes, maxQueue)
	}
	for _, p := range []float64{l.Loss, l.Burst.Enter, l.Burst.Exit, l.Burst.Loss, l.Corrupt, l.Mangle, l.Reorder, l.Duplicate} {
		if !(p >= 0 && p <= 1) { // so that NaN is refused, too
			return fmt.Errorf("%g is not a probability", p)
		}
	}
	return nil
}

// Settings gives the pairs of key and value, in the order of the fields, that
// turn [Default] into this link.
func (l *Link) Settings() [][2]string {
	var s [][2]string
	add := func(key, value string, differs bool) {
		if differs {
			s = append(s, [2]string{key, value})
		}
	}
	add("rate", formatRate(l.Rate), l.Rate != 0)
	add("queue", l.Queue.String(), l.Queue != Default().Queue)
	add("delay", l.Delay.String(), l.Delay != 0)
	add("jitter", l.Jitter.String(), l.Jitter != 0)
	add("loss", formatShare(l.Loss), l.Loss != 0)
	add("burst", l.Burst.String(), l.Burst != Burst{})
	add("corrupt", formatShare(l.Corrupt), l.Corrupt != 0)
	add("mangle", formatShare(l.Mangle), l.Mangle != 0)
	add("reorder", formatShare(l.Reorder), l.Reorder != 0)
	add("duplicate", formatShare(l.Duplicate), l.Duplicate != 0)
	add("cross", formatRate(l.Cross), l.Cross != 0)
	add("cut", "true", l.Cut)
	return s
}

// String gives the settings that differ from the default as KEY=VALUE words.
func (l *Link) String() string {
	var words []string
	for _, s := range l.Settings() {
		words = append(words, s[0]+"="+s[1])
	}
	return strings.Join(words, " ")
}

// String gives the limit as it is written in a topology.
func (q Queue) String() string {
	if q.Bytes > 0 {
		return strconv.FormatInt(q.Bytes, 10) + "B"
	}
	return q.Time.String()
}

// String gives the model as it is written in a topology.
func (b Burst) String() string {
	return formatShare(b.Enter) + "," + formatShare(b.Exit) + "," + formatShare(b.Loss)
}
