package anomaly

import (
	"math"

	"github.com/montanaflynn/stats"
)

// Constants of the tests on a level.
const (
	// drop is the change of ln(rate) that is tested for: 22 % down. Smaller ones
	// that last are found later.
	drop = 0.25
	// dropSigmas is the least change in deviations.
	dropSigmas = 1.5
	// outlier bounds what one block says, in deviations; of quieter rates the
	// change that is tested for does.
	outlier = 4
	// weight bounds what one block adds to the evidence, and least is how many
	// blocks there must be: one bad second is not enough for either stage.
	weight = 6
	least  = 3
	// suspicion is the first stage's threshold on the logarithm of the likelihood
	// ratio: false alarms are e^6.5 blocks, ten minutes, apart and more.
	suspicion = 6.5
	// falseShare and missedShare are the errors of the second stage.
	falseShare, missedShare = 0.01, 0.05
	// trialBlocks ends a second stage that cannot decide.
	trialBlocks = 40
	// follow is how fast the level follows blocks that are not outliers.
	follow = 0.01
	// notable is the least change of the rate, as a share, that people are told.
	notable = 0.15
	// recoveredTo is how near the rate before the rate must come again.
	recoveredTo = 0.10
	// regained is for how many blocks.
	regained = 10
	// fresh is how many blocks the level is learned from after a change, in which
	// nothing is tested.
	fresh = 12
	// still is how far below the level, in ln(rate), a block counts as standing
	// still: less than 2 %. Disks and reconnections do that for some seconds; it
	// says nothing of the rate before and after. stillBlocks in a row are a drop.
	still       = 4
	stillBlocks = 10
)

// verdict is what a level test says of a block.
type verdict int

const (
	calm      verdict = iota
	suspected         // the first stage's alarm
	confirmed         // the second stage agrees: the level has dropped for good
	risen             // the second stage agrees: the level has risen for good
	recovered         // the level is back where it was before it dropped
)

// level tests ln(rate) of blocks of equal length for lasting changes. The zero
// value is ready; it learns first.
type level struct {
	n    noise
	know bool
	x    []float64 // the latest blocks while calm
	more int       // blocks since noise was learned
	prev float64
	have bool // prev is of the block before
	down cusum
	up   cusum
	test *trial
	was  float64 // the level before the drop that was confirmed
	fell bool
	back int       // blocks near was
	new  []float64 // blocks at a new level, while it is learned
	left int       // of them still to come
	dead int       // blocks in a row that stood still
	skip int       // blocks to leave out
}

// stand takes a block in which next to nothing arrived.
func (l *level) stand(x float64) (verdict, int) {
	// The blocks at both ends of a stall are half of it, and are forgiven, too.
	l.have, l.down, l.test, l.skip = false, cusum{}, nil, 1
	if l.dead++; l.dead < stillBlocks {
		return calm, 0
	}
	l.dead = 0
	l.settle(x, &trial{sign: -1})
	return confirmed, stillBlocks
}

// cusum adds up the evidence for one direction.
type cusum struct {
	sum   float64
	since int // blocks of evidence
}

// trial is a second stage under way.
type trial struct {
	sign   float64
	sum    float64
	blocks int
	since  int // blocks since the change began, up to the alarm
	level  float64
	seen   []float64
}

// add takes a block. since is how many blocks ago a change began, where the
// verdict speaks of one.
func (l *level) add(x float64) (v verdict, since int) {
	if !l.know {
		l.keep(x)
		return calm, 0
	}
	if l.fell && l.returns(x) {
		return recovered, 0
	}
	if x < l.n.mean-still {
		return l.stand(x)
	}
	l.dead = 0
	if l.skip > 0 {
		l.skip--
		return calm, 0
	}
	if l.left > 0 {
		l.new = append(l.new, x)
		if l.left--; l.left == 0 {
			l.relevel()
		}
		l.prev, l.have = x, true
		return calm, 0
	}
	change := math.Max(drop, dropSigmas*l.n.sigma)
	surprise := 0.0
	if l.have {
		// A block without a byte foretells no more than an outlier does.
		before := math.Max(-outlier*l.n.sigma, math.Min(outlier*l.n.sigma, l.prev-l.n.mean))
		surprise = x - l.n.mean - l.n.phi*before
	} else {
		surprise = x - l.n.mean
	}
	l.prev, l.have = x, true
	most := math.Max(outlier, change/l.n.step)
	z := math.Max(-most, math.Min(most, surprise/l.n.step))
	if l.test != nil {
		return l.tryOn(x, z, change)
	}
	first, later := change/l.n.step, change*(1-l.n.phi)/l.n.step
	a := l.down.add(-z, first, later)
	b := l.up.add(z, first, later)
	if !a && !b {
		l.keep(x)
		return calm, 0
	}
	l.test = &trial{sign: 1, since: l.up.since, level: l.n.mean}
	if a {
		l.test.sign, l.test.since = -1, l.down.since
	}
	l.down, l.up = cusum{}, cusum{}
	return suspected, l.test.since
}

// add takes evidence z in deviations. A change shows in full in the first block
// and, since neighbours foretell each other, in part in the later ones.
func (c *cusum) add(z, first, later float64) (alarm bool) {
	begin := math.Min(weight, first*z-first*first/2)
	more := c.sum + math.Min(weight, later*z-later*later/2)
	if c.since == 0 || begin > more {
		c.sum, c.since = begin, 1
	} else {
		c.sum = more
		c.since++
	}
	if c.sum <= 0 {
		*c = cusum{}
	}
	return c.sum > suspicion && c.since >= least
}

// tryOn continues the second stage.
func (l *level) tryOn(x, z, change float64) (verdict, int) {
	t := l.test
	t.blocks++
	t.seen = append(t.seen, x)
	s := change * (1 - l.n.phi) / l.n.step
	t.sum += math.Min(weight, s*t.sign*z-s*s/2)
	switch {
	case t.blocks >= least-1 && t.sum > math.Log((1-missedShare)/falseShare):
		now := levelOf(t.seen)
		if math.Abs(math.Expm1(now-l.n.mean)) < notable {
			break
		}
		l.settle(now, t)
		if t.sign > 0 {
			return risen, t.since + t.blocks
		}
		return confirmed, t.since + t.blocks
	case t.sum < math.Log(missedShare/(1-falseShare)):
		l.test = nil
	case t.blocks >= trialBlocks:
		// Neither: the level is somewhere between, which is then the normal one.
		l.settle(levelOf(t.seen), nil)
	}
	return calm, 0
}

// settle begins to learn a new level, which is now about. The noise stays as
// learned. t is the trial that found a change, if one did.
func (l *level) settle(now float64, t *trial) {
	if t != nil && t.sign < 0 && !l.fell {
		l.fell, l.was, l.back = true, l.n.mean, 0
	}
	l.move(now)
	l.new, l.left = l.new[:0], fresh
	if t != nil {
		l.new = append(l.new, t.seen...)
	}
}

// relevel takes the blocks since a change for the normal ones.
func (l *level) relevel() {
	now, _ := stats.Median(l.new) // errs on nothing only
	l.move(now)
}

// move sets the level.
func (l *level) move(now float64) {
	shift := now - l.n.mean
	for i := range l.x {
		l.x[i] += shift
	}
	l.n.mean = now
	l.test, l.down, l.up = nil, cusum{}, cusum{}
}

// returns tells whether the rate is back where it was before a drop.
func (l *level) returns(x float64) bool {
	if x < l.was-recoveredTo {
		l.back = max(0, l.back-1)
		return false
	}
	if l.back++; l.back < regained {
		return false
	}
	l.fell, l.back = false, 0
	l.settle(l.was, nil)
	return true
}

// keep remembers a calm block and learns from it.
func (l *level) keep(x float64) {
	l.x = append(l.x, x)
	if len(l.x) > 2*kept {
		l.x = append(l.x[:0], l.x[kept:]...)
	}
	l.more++
	switch {
	case !l.know && len(l.x) >= learned, l.know && l.more >= relearn:
		n := learn(l.x[max(0, len(l.x)-kept):])
		if l.know {
			n.mean = l.n.mean
		}
		l.n, l.know, l.more = n, true, 0
		l.prev, l.have = x, true
	case l.know && math.Abs(x-l.n.mean) < 2.5*l.n.sigma:
		l.n.mean += follow * (x - l.n.mean)
	}
}

// pause forgets evidence that is under way: what comes next has a known cause.
func (l *level) pause() {
	l.test, l.down, l.up, l.have = nil, cusum{}, cusum{}, false
	l.back = 0
}

// levelOf is the logarithm of the mean of rates given by their logarithms.
func levelOf(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(v)
	}
	return math.Log(sum / float64(len(x)))
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}
