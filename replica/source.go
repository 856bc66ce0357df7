package replica

import (
	"math"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
	"github.com/gomover/gomover/internal/units"
)

// SourceID numbers the sources of a Sched from 0 on, in the order in which they
// were given to it.
type SourceID int

// Source is what is known of a source before it delivers: from a probe, from
// earlier runs, or from a list.
type Source struct {
	Name    string        // for people
	Rate    units.Rate    // bytes per second that are expected; 0: not known
	Runs    int           // earlier runs by which Rate is known; 0: it is a guess
	Spread  float64       // then: standard deviation of the rate, as a share of it
	Start   time.Duration // expected from Open to Up
	Latency time.Duration // from a request to its first byte; Up tells better
	Cost    int           // the smaller the better, where fewer sources are enough
}

// State is what a source is doing.
type State uint8

// The states of a source.
const (
	Standby State = iota // may be opened when it is needed
	Opening              // was told to open
	Active               // delivers, or could
	Resting              // failed, and is opened again after a while
	Out                  // never asked again
)

// String names the state for people.
func (s State) String() string {
	switch s {
	case Standby:
		return "stand-by"
	case Opening:
		return "connecting"
	case Active:
		return "active"
	case Resting:
		return "resting"
	}
	return "left out"
}

// When a source is taken to be in trouble. Ours, after the time in which
// connections of the Internet recover by themselves.
const (
	silentAfter = 2 * time.Second // no byte for this long, or four latencies: others may take its blocks
	lostAfter   = 10 * time.Second
	openTimeout = 30 * time.Second // from Open to Up
	firstRest   = 1 * time.Second  // doubled with every failure in a row
	longestRest = 60 * time.Second
	failureSpan = 10 * time.Minute // failures count for this long
	slowFor     = 60 * time.Second // below the least rate for this long: out
	maxStrikes  = 2                // wrong blocks
)

// source is a source at work.
type source struct {
	Source
	id    SourceID
	state State
	why   string // of the state, for people

	meter   meter
	guessed bool // Rate is nobody's word

	// What it was asked for and has not delivered, in the order of asking.
	spans   []rangeset.Extent
	left    int64         // bytes of spans
	partial int64         // bytes of spans that have come, of blocks that are not complete
	due     time.Duration // when the first byte after a pause is expected
	heard   time.Duration // when a byte came last, or is due
	silent  bool          // heard is too long ago

	opened   time.Duration
	retry    time.Duration
	streak   uint            // failures since a block was stored
	failures []time.Duration // the last ones
	slow     bool            // below the least rate
	slowAt   time.Duration   // since then
	strikes  int
	barred   rangeset.Set // blocks that came wrong from it

	// Of bottlenecks that it may share, see shared.go.
	bucket    float64   // bytes in the open look
	gap       bool      // it was not at work all the time of it
	looks     []float64 // rates, the latest last
	held      bool      // it is given nothing, for a trial
	tries     int
	nextTrial time.Duration
	shares    *sharing // nil: with nobody as far as is known
	record    record

	received int64 // bytes
	stored   int64 // bytes that nobody had delivered before
}

// usable tells whether the source may still deliver something.
func (c *source) usable() bool { return c.state != Out }

// working tells whether blocks may be given to it.
func (c *source) working() bool { return c.state == Active && !c.silent && !c.held }

// rate is what it delivers in bytes per second, as far as that is known; 0 only
// when it is silent.
func (c *source) rate() float64 {
	switch {
	case c.silent:
		return 0
	case c.meter.trusted():
		return max(1, c.meter.rate())
	}
	return max(1, float64(c.Rate))
}

// sure is the rate that it will exceed in four of five cases.
func (c *source) sure() float64 {
	if c.Runs == 0 || c.state == Active && c.meter.trusted() {
		return c.expected()
	}
	return c.expected() * math.Exp(-oneInFive*c.Spread)
}

// oneInFive is how many standard deviations below its mean a normal distribution has a
// fifth of its weight.
const oneInFive = 0.84

// remaining is how many bytes it was asked for that have not come.
func (c *source) remaining() float64 { return float64(max(0, c.left-c.partial)) }

// finish is in how many seconds all of it will be here.
func (c *source) finish(now time.Duration) float64 {
	if c.left == 0 {
		return 0
	}
	if c.silent {
		return math.Inf(1)
	}
	return max(0, (c.due-now).Seconds()) + c.remaining()/c.rate()
}

// lead is how many bytes must be asked for so that it never waits for the next
// request.
func (c *source) lead(ahead time.Duration) float64 {
	return max(1, c.rate()*(leadLatencies*c.Latency.Seconds()+ahead.Seconds()))
}

// patience is how long it may say nothing while it is asked for something.
func (c *source) patience() time.Duration { return max(silentAfter, 4*c.Latency) }

// lostIn is after how much silence it is given up.
func (c *source) lostIn() time.Duration { return max(lostAfter, 2*c.patience()) }

// rank orders sources when not all may be used: those that fail count less.
func (c *source) rank(now time.Duration) float64 {
	n := 0
	for _, at := range c.failures {
		if now-at < failureSpan {
			n++
		}
	}
	return max(1, c.expected()) / (1 + 0.5*float64(n))
}

// expected is its rate when it works, as far as that is known.
func (c *source) expected() float64 {
	if c.state == Active {
		return c.rate()
	}
	return float64(c.Rate)
}

// fail notes a failure and when to try again.
func (c *source) fail(now time.Duration, why string) {
	c.streak++
	c.failures = append(c.failures, now)
	if len(c.failures) > 16 {
		c.failures = c.failures[1:]
	}
	rest := longestRest
	if c.streak < 7 {
		rest = min(longestRest, firstRest<<(c.streak-1))
	}
	c.set(Resting, why)
	c.retry = now + rest
}

// set changes the state; it is the only place that does. What was measured
// stays as what is expected of the source when it comes back.
func (c *source) set(to State, why string) {
	if c.state == Active && c.meter.usual() > 0 {
		c.Rate, c.guessed = units.Rate(max(1, c.meter.usual())), false
		c.Runs, c.Spread = 0, 0
	}
	c.state, c.why = to, why
	c.silent, c.slow, c.held, c.gap = false, false, false, true
	c.meter.forget()
}
