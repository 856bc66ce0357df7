package retune

import (
	"math"
	"slices"
	"time"
)

// Constants of the policy. Ours, found by simulation where nothing else is said.
const (
	defaultMSS = 1448

	// Bounds of the number of streams.
	mostFair    = 64
	mostLosing  = 128         // while losses, and not others, are what holds the job back
	firstSettle = time.Second // slow start and how it ends are no evidence
	minSettle   = 300 * time.Millisecond
	maxSettle   = 3 * time.Second
	controlRamp = 2 * time.Second // a control that takes over an open connection finds its rate anew
	firstStreak = 3               // growths in vain, one after the other, after which none is tried
	forgetVain  = 30 * time.Second
	steadyFor   = time.Minute // how long a rate is remembered that is no more
)

// Policy is the policy guided by the limiter. It finds out what holds the job
// back, and does what helps against that and nothing else; it tries blindly only
// where the path is full. Each change is a trial that is measured and undone when
// it does not help. Where nobody tells round trips or losses it leaves the job to a
// [Climber].
//
// A Policy is made by [New] and belongs to one goroutine. The same samples make
// the same decisions.
type Policy struct {
	c   Config
	set Settings

	now      time.Duration
	settle   time.Duration // samples before are not evidence
	look     time.Duration // when the rules are asked again
	muted    time.Duration // until when a policy that observes proposes nothing
	win      window
	limit    limiter
	ids      int
	trial    *trial
	goal     int           // streams to come down to, step by step; 0: none
	goalAt   time.Duration // when that begins in any case
	goalRate float64       // bytes per second that it may not cost

	smooth  time.Duration // round trip, without the noise of single samples
	base    time.Duration // round trip without queues
	longest time.Duration // round trip, of late
	rebased bool          // base was found anew, and what sockets remember is of another path

	belief float64 // bytes per second that the path is believed to carry; 0: not known
	filled float64 // the rate at which the path was full when it was so last; 0: never
	fullAt time.Duration

	vain     int // growths that did not help
	vainAt   time.Duration
	steady   Record // the job when it was last as fast as before
	steadyAt time.Duration
	price    priceRule
	needed   int // streams that losses were seen to hold back
	neededAt time.Duration
	paid     bool // the last growth brought its full share
	explore  backoff
	prune    backoff
	divisor  int // of the streams, when an end cannot feed them
	bbr      backoff
	trim     backoff
	lift     backoff
	haste    backoff
	told     bool     // round trips and losses, at least once
	blind    *Climber // if they are not
	leastBad float64  // least loss ratio seen
	strays   int      // samples in which segments were lost while the queue was all but empty
}

// backoff is when a rule may act again; refusals double the wait.
type backoff struct {
	at, wait time.Duration
}

func (b *backoff) due(now time.Duration) bool { return now >= b.at }

func (b *backoff) next(now time.Duration, ok bool, least, most time.Duration) {
	if ok {
		b.wait = least
	} else {
		b.wait = min(max(2*b.wait, least), most)
	}
	b.at = now + b.wait
}

// priceRule is the state of the trials on a full path.
type priceRule struct {
	backoff
	dir     int
	step    float64
	refused int
	alone   bool // with fewer streams the path was no longer full: nobody else fills it
}

// New makes a policy for a job that begins with c.Start.
func New(c Config) *Policy {
	if c.MSS <= 0 {
		c.MSS = defaultMSS
	}
	p := &Policy{c: c, set: c.Start, leastBad: math.Inf(1), belief: float64(c.Capacity), divisor: pruneFirst}
	p.set.Streams = p.bound(max(1, p.set.Streams), false)
	if !c.Running {
		p.settle = firstSettle
	}
	p.price = priceRule{backoff: backoff{at: priceAlone}, dir: -1, step: priceStep}
	p.explore.at = exploreLeast
	return p
}

// Start gives the settings to begin with: those of the configuration, within its
// bounds.
func (p *Policy) Start() Settings { return p.set }

// Class is what held the job back when that was last looked at.
func (p *Policy) Class() Class {
	if p.limit.held == "" {
		return Unknown
	}
	return p.limit.held
}

// bound keeps a number of streams within what is allowed.
func (p *Policy) bound(n int, losing bool) int {
	least, most := 1, mostFair
	if losing || p.c.Priority == Bold {
		most = mostLosing
	}
	if p.c.Priority == Background {
		most = 2
	}
	if p.c.Most > 0 {
		most = min(most, p.c.Most)
	}
	least = max(least, p.c.Least)
	return max(least, min(n, max(most, least)))
}

// period is how much must be seen before anything is decided.
func (p *Policy) period() time.Duration {
	return max(time.Second, p.c.Interval, 10*p.base)
}

// Step takes the next sample. ok tells that there is a decision, whose settings
// are to be made true at once. A sample that cannot be is passed over.
func (p *Policy) Step(s Sample) (d Decision, ok bool) {
	if !s.Valid(p.now) {
		return Decision{}, false
	}
	p.now = s.At
	if p.climbs(&s) {
		return p.blind.Step(s)
	}
	if t := p.notice(&s); t != nil {
		return p.begin(t)
	}
	if p.now < p.settle {
		return Decision{}, false
	}
	p.learnBase(&s)
	p.win.add(s)
	if p.win.span() < p.period() && p.trial == nil {
		return Decision{}, false
	}
	if p.trial != nil {
		return p.judge()
	}
	if p.now < p.look {
		return Decision{}, false
	}
	p.look = p.now + p.period()/2
	rec, all := Reduce(p.win.last(p.period()), p.trip()), Reduce(p.win.list, p.trip())
	lost := Reduce(p.win.eventful(p.period(), 2*lossEvents), p.trip())
	rec.Segs, rec.Lost, rec.Events, rec.Stray, rec.Bad = lost.Segs, lost.Lost, lost.Events, lost.Stray, lost.Bad
	looked := rec
	looked.Rising = rec.Rising || all.Rising // CUBIC far from its last loss grows by a few percent a second
	class := p.limit.step(Classify(looked, Context{Limit: float64(p.c.Limit), Belief: p.belief}))
	p.believe(&rec)
	if p.goal > 0 && rec.Rate < goalShare*p.goalRate {
		p.goal = 0 // they help, after all
	}
	if p.goal > 0 && p.goal < p.set.Streams && (class == Saturated || p.now >= p.goalAt) {
		return p.retreat()
	}
	if p.now >= p.muted {
		if t := p.propose(class, &rec, &all); t != nil {
			return p.begin(t)
		}
	}
	p.remember(&all)
	return Decision{}, false
}

// climbs tells whether the job is left to a Climber: nothing has told round trips and
// losses since it began. A stream that is new does not know its own yet.
func (p *Policy) climbs(s *Sample) bool {
	if s.Known.Has(KnownRTT | KnownLoss) {
		p.told = true
	}
	if p.blind == nil && !p.told && p.now >= firstSettle {
		p.blind = NewClimber(p.c)
	}
	return p.blind != nil
}

// learnBase keeps the least round trip.
func (p *Policy) learnBase(s *Sample) {
	if !s.Known.Has(KnownRTT) || s.RTT == 0 {
		return
	}
	if p.smooth == 0 {
		p.smooth = s.RTT
	}
	p.smooth += (s.RTT - p.smooth) / 8
	least := p.smooth
	if s.MinRTT > 0 && !p.rebased {
		least = s.MinRTT
	}
	if p.base == 0 || least < p.base {
		p.base = least
	}
	p.longest = max(s.RTT, p.longest-(p.longest-p.base)/longestFade)
}

// longestFade is the share of the longest queue that is forgotten with each
// sample: half of it in some minutes.
const longestFade = 1000

func (p *Policy) trip() Trip { return Trip{Base: p.base, Longest: p.longest} }

// remember notes how the job stands while nothing happens.
func (p *Policy) remember(all *Record) {
	if all.Span >= 2*p.period() && (all.Rate > 0.9*p.steady.Rate || p.now-p.steadyAt > steadyFor) {
		p.steady, p.steadyAt = *all, p.now
	}
}

// believe follows what the path carries.
func (p *Policy) believe(rec *Record) {
	full := rec.Known.Has(KnownRTT) && rec.Queue > queueFull && rec.Wnd < windowShare
	switch {
	case full:
		p.fullAt, p.filled = p.now, rec.Rate
		if rec.Queue > 0.8 && !rec.Rising {
			p.belief = (p.belief + rec.Rate) / 2
		}
		p.belief = max(0.9*p.belief+0.1*rec.Rate, rec.Rate)
	case p.belief > 0 && rec.Rate > p.belief:
		p.belief = rec.Rate
	}
	if rec.Segs > 0 {
		p.leastBad = min(p.leastBad, rec.Loss())
	}
}

// begin starts a trial, or says that it would be.
func (p *Policy) begin(t *trial) (Decision, bool) {
	p.ids++
	t.id, t.prev = p.ids, p.set
	d := Decision{From: t.prev, To: t.next, ID: t.id, At: p.now, Class: p.Class(), Reason: t.reason, Before: int64(t.before.Rate)}
	if p.c.Observe {
		d.Settings, d.Step = p.set, Would
		p.muted = p.now + forgetVain
		return d, true
	}
	p.trial, p.set, p.goal = t, t.next, 0
	d.Settings = p.set
	p.changed(t.next.Streams > t.prev.Streams)
	if t.kind == control {
		p.settle = max(p.settle, p.now+max(controlRamp, 20*p.base))
	}
	return d, true
}

// changed lets the streams settle after a change.
func (p *Policy) changed(added bool) {
	rec := Reduce(p.win.last(p.period()), p.trip())
	rtt := max(rec.RTT, p.base)
	segments := max(2, float64(rec.Cwnd)/float64(p.c.MSS)/10)
	wait := time.Duration(float64(rtt) * (2 + math.Log2(segments)))
	if added {
		wait += 2 * rtt // to open them
	}
	p.settle = p.now + min(max(wait, minSettle), maxSettle)
	p.win.clear()
	p.limit.clear()
	p.look = 0
}

// canBBR tells whether streams may be given bbr and have not got it.
func (p *Policy) canBBR() bool { return p.set.CC != "bbr" && slices.Contains(p.c.CCs, "bbr") }
