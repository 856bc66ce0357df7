package topology

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// DefaultQueue is the queue of a link of which none is named, as a time. Unit:
// time. Ours: a bandwidth-delay product of a long path, as routers are often
// set up.
const DefaultQueue = 100 * time.Millisecond

// Bounds of what Validate accepts, so that no sum of times can overflow.
const (
	maxDelay      = time.Hour          // also of what a queue holds, whatever its bytes
	maxRate       = units.Rate(1e12)   // bytes per second
	maxCross      = units.Rate(1.25e9) // the same; ours: 833,000 packets per second
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

// GilbertElliott describes bursts of loss: per packet the probability to enter
// the bad state, to exit it, and to be lost in it. All in 0..1.
//
// A burst of bad packets is 1/Exit long on average, and the whole loss is
// Loss * Enter/(Enter+Exit). The zero value has no bursts.
type GilbertElliott struct {
	Enter, Exit, Loss float64
}

// Link holds the settings of one direction of a link: a drop-tail queue, a
// transmitter, and a delay line, in this order. The zero value is a perfect
// link and the default. Probabilities are per packet, in 0..1, and drawn
// independently. Each comment begins with the key in JSON and in assignments.
type Link struct {
	// "rate", written in bits (50mbit): the transmitter's, in bytes of packets
	// (headers included) per second; 0 is unlimited, and there is then no queue.
	Rate units.Rate
	// "queue", 100ms or 12.5MB.
	Queue Limit
	// "delay" of the line, one way; "jitter" is the standard deviation of a
	// Gaussian with some 10 ms of memory on top. The two together are never
	// less than nothing, and they never reorder.
	Delay, Jitter time.Duration
	// "loss", 0.01 or 1%: to be lost behind the transmitter. With LossBlock
	// above 0, which has no key, it is the exact share of each block of so
	// many packets: at 0.01 and 100, one packet of each hundred.
	Loss      float64
	LossBlock int64
	// "burst", written as enter,exit,loss.
	Burst GilbertElliott
	// "corrupt": that a bit is flipped, so that a receiver's checksum fails;
	// "mangle": that bits are swapped so that it does not.
	Corrupt, Mangle float64
	// "reorder": to be held back by up to 2 ms while later packets pass;
	// "duplicate": to arrive twice.
	Reorder, Duplicate float64
	// "cross", written in bits: background traffic in bytes per second, which
	// does not yield. 1500-byte packets with exponential gaps take their place
	// in the queue and are then forgotten. Without a rate it does nothing. At
	// most 10gbit, since each of its packets is computed.
	Cross units.Rate
	// "cut": everything that is offered is dropped; what is on the line arrives.
	Cut bool
}

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
		if l.Cross, err = parseRate(value); err == nil && l.Cross > maxCross {
			err = fmt.Errorf("%s is more than %s", spell(value), formatRate(maxCross))
		}
	case "cut":
		if l.Cut, err = strconv.ParseBool(value); err != nil {
			err = fmt.Errorf("%q is neither true nor false", clip(value))
		}
	default:
		err = errUnknownSetting
	}
	return err
}

// Validate tells what is wrong with the settings: a probability outside 0..1, a
// negative value, or one beyond an hour, 1e12 bytes per second (1.25e9 of cross
// traffic), or a TiB.
func (l Link) Validate() error {
	for _, x := range []struct {
		name string
		v    float64
	}{
		{"loss", l.Loss}, {"burst enter", l.Burst.Enter}, {"burst exit", l.Burst.Exit}, {"burst loss", l.Burst.Loss},
		{"corrupt", l.Corrupt}, {"mangle", l.Mangle}, {"reorder", l.Reorder}, {"duplicate", l.Duplicate},
	} {
		if !(x.v >= 0 && x.v <= 1) { // not a number fails, too
			return fmt.Errorf("link parameter %s: %g is not a probability", x.name, x.v)
		}
	}
	for _, x := range []struct {
		name   string
		v, max int64
	}{
		{"rate", int64(l.Rate), int64(maxRate)}, {"cross", int64(l.Cross), int64(maxCross)},
		{"queue bytes", l.Queue.Bytes, maxQueueBytes}, {"queue time", int64(l.Queue.Time), int64(maxDelay)},
		{"delay", int64(l.Delay), int64(maxDelay)}, {"jitter", int64(l.Jitter), int64(maxDelay)},
		{"loss block", l.LossBlock, 1e9},
	} {
		if x.v < 0 || x.v > x.max {
			return fmt.Errorf("link parameter %s: %d is not in 0..%d", x.name, x.v, x.max)
		}
	}
	return nil
}

// Settings gives the pairs of key and value, in the order of the fields, that
// make this link of the zero value.
func (l Link) Settings() [][2]string {
	var s [][2]string
	add := func(key, value string, differs bool) {
		if differs {
			s = append(s, [2]string{key, value})
		}
	}
	add("rate", formatRate(l.Rate), l.Rate != 0)
	add("queue", l.Queue.String(), l.Queue != Limit{})
	add("delay", l.Delay.String(), l.Delay != 0)
	add("jitter", l.Jitter.String(), l.Jitter != 0)
	add("loss", formatShare(l.Loss), l.Loss != 0)
	add("burst", l.Burst.String(), l.Burst != GilbertElliott{})
	add("corrupt", formatShare(l.Corrupt), l.Corrupt != 0)
	add("mangle", formatShare(l.Mangle), l.Mangle != 0)
	add("reorder", formatShare(l.Reorder), l.Reorder != 0)
	add("duplicate", formatShare(l.Duplicate), l.Duplicate != 0)
	add("cross", formatRate(l.Cross), l.Cross != 0)
	add("cut", "true", l.Cut)
	return s
}

// String gives the settings that differ from the default as KEY=VALUE words.
func (l Link) String() string {
	var words []string
	for _, s := range l.Settings() {
		words = append(words, s[0]+"="+s[1])
	}
	return strings.Join(words, " ")
}

// String gives the limit as it is written in a topology.
func (q Limit) String() string {
	if q.Bytes > 0 {
		return strconv.FormatInt(q.Bytes, 10) + "B"
	}
	if q.Time > 0 {
		return q.Time.String()
	}
	return DefaultQueue.String()
}

// String gives the model as it is written in a topology.
func (b GilbertElliott) String() string {
	return formatShare(b.Enter) + "," + formatShare(b.Exit) + "," + formatShare(b.Loss)
}
