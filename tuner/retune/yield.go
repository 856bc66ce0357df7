package retune

import "time"

// Constants of Yielder, after LEDBAT++ (P. Balasubramanian, O. Ertugay, D.
// Havey, LEDBAT++: Congestion Control for Background Traffic), with a target that
// follows the path.
const (
	yieldLeast    = 5 * time.Millisecond  // of the target, and
	yieldMost     = 60 * time.Millisecond // at most
	yieldShare    = 10                    // of the base round trip is the target
	yieldGain     = 0.01                  // of the rate, per round trip with less than its target queued
	yieldFree     = 0.75                  // of the target unused: there is as good as no queue, and
	yieldFaster   = 3                     // times the gain
	yieldNext     = 0.25                  // of the target, at most, may a faster rate add until the next look
	yieldBack     = 0.25                  // of the rate, per target of queue too many
	yieldForget   = time.Minute           // how long a base is believed
	slowdownEvery = 9                     // times its own length between slowdowns
	slowdownLeast = 30 * time.Second
	slowdownMost  = 2 * time.Minute
	slowdownRate  = 2 // segments per round trip, to see the base again
)

// Yielder steers the rate of a job that gives way to all others: it keeps the
// queue that it sees below a target, and goes back when others make it longer.
// From time to time it all but stops for two round trips, to see how long they
// are without it: otherwise the last of several would take the others' queue for
// the path.
//
// It wants one sample a round trip, of one stream or two, and a transport that
// keeps a rate. A Yielder is made by [NewYielder] and belongs to one goroutine.
type Yielder struct {
	mss, limit float64
	set        Settings
	rate       float64 // bytes per second
	starting   bool
	now        time.Duration
	lossAt     time.Duration
	base       [2]time.Duration // least round trip in this span of yieldForget, and in the last
	baseFrom   time.Duration
	slowFrom   time.Duration // of a slowdown that is under way; 0: none
	slowNext   time.Duration
	after      float64 // the rate to come back to
}

// NewYielder makes one for a job that begins with c.Start, of whose streams it
// keeps two at most.
func NewYielder(c Config) *Yielder {
	mss := c.MSS
	if mss <= 0 {
		mss = defaultMSS
	}
	y := &Yielder{mss: float64(mss), limit: float64(c.Limit), set: c.Start, starting: true, slowNext: slowdownLeast}
	y.set.Streams = min(max(1, c.Start.Streams), 2)
	y.rate = 100 * y.mss
	y.set.Rate = int64(y.rate)
	return y
}

// Start gives the settings to begin with.
func (y *Yielder) Start() Settings { return y.set }

// Step takes the next sample. ok tells that the rate changes; the decision is no
// trial and has no reason.
func (y *Yielder) Step(s Sample) (d Decision, ok bool) {
	if !s.Valid(y.now) || !s.Known.Has(KnownRTT) || s.RTT == 0 {
		return Decision{}, false
	}
	y.now = s.At
	y.learn(&s)
	if y.slowFrom > 0 {
		if y.now-y.slowFrom < 4*s.RTT {
			return Decision{}, false
		}
		length := y.now - y.slowFrom
		y.slowFrom, y.rate = 0, y.after
		y.slowNext = y.now + min(max(slowdownEvery*length, slowdownLeast), slowdownMost)
		return y.decide()
	}
	if y.now >= y.slowNext && !y.starting {
		y.slowFrom, y.after = y.now, y.rate
		y.rate = slowdownRate * y.mss / s.RTT.Seconds()
		return y.decide()
	}
	y.steer(&s)
	return y.decide()
}

// learn keeps the least round trip of the last one to two minutes.
func (y *Yielder) learn(s *Sample) {
	if y.now-y.baseFrom > yieldForget {
		y.base[1], y.base[0], y.baseFrom = y.base[0], 0, y.now
	}
	if y.base[0] == 0 || s.RTT < y.base[0] {
		y.base[0] = s.RTT
	}
}

// steer changes the rate by what the queue is.
func (y *Yielder) steer(s *Sample) {
	base := y.base[0]
	if y.base[1] > 0 {
		base = min(base, y.base[1])
	}
	target := min(max(base/yieldShare, yieldLeast), yieldMost)
	off := float64(target-(s.RTT-base)) / float64(target)
	// The samples of a long round trip may be fewer, never those of a short one.
	rounds := min(s.Span.Seconds()/s.RTT.Seconds(), 4)
	most := 1.5 * float64(s.Acked) / s.Span.Seconds() // what was not used is not known to be free
	switch {
	case s.Events > 0 && y.now-y.lossAt > s.RTT:
		y.lossAt, y.starting = y.now, false
		y.rate /= 2
	case y.starting && off > 0.25:
		y.rate = min(y.rate*(1+rounds), max(most*4/3, y.rate))
	case off > 0:
		y.starting = false
		gain := yieldGain
		if off > yieldFree {
			gain *= yieldFaster
		}
		// What is too much waits in the queue until the next look.
		gain = min(rounds*gain, yieldNext*target.Seconds()/s.Span.Seconds())
		y.rate = max(y.rate, min(y.rate+min(1, off)*max(rounds*y.mss/s.RTT.Seconds(), gain*y.rate), most))
	default:
		y.starting = false
		y.rate *= max(0.5, 1+yieldBack*off)
	}
	y.rate = max(y.rate, slowdownRate*y.mss/s.RTT.Seconds())
	if y.limit > 0 {
		y.rate = min(y.rate, y.limit)
	}
}

func (y *Yielder) decide() (Decision, bool) {
	from := y.set
	y.set.Rate = int64(y.rate)
	return Decision{Settings: y.set, From: from, To: y.set, At: y.now, Step: Keep, Class: Unknown}, y.set != from
}
