package mover

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomover/gomover/events"
)

// Of going over to a chain. Ours.
const (
	overEvery  = 250 * time.Millisecond
	overSpan   = 3 * time.Second         // of the rates that count before
	overLong   = 20 * time.Second        // so much must be left as it goes,
	overGain   = 10 * time.Second        // and so much be gained
	overRehash = 100e6                   // bytes per second at which is read again what a destination has
	aloneLook  = time.Second             // one destination alone: until in so long
	aloneRest  = 0.1                     // others get less than this share of what all had together,
	aloneMost  = 10 * time.Second        // which is waited for as long: what they have in buffers must pass;
	aloneThen  = 1500 * time.Millisecond // and what counts
	aloneShare = 0.8                     // of what all had together, from which on this machine's link is the limit
	chainFirst = 3 * time.Second         // in the chain: until it runs, after all have logged in,
	chainLogin = 15 * time.Second        // which is waited for as long,
	chainThen  = 5 * time.Second         // and what counts
)

// move is what a changeover wants done.
type move int

const (
	stay    move = iota
	alone        // all but one destination wait
	free         // nobody waits any more
	chained      // all go over to a chain, and nobody waits any more
	starred      // and back
)

// stand is how it stands with one destination.
type stand struct {
	live       bool  // its session runs
	verified   int64 // bytes confirmed in this run
	done, left int64 // bytes that it has, and lacks; as far as known
}

// changeover decides whether destinations that are served from here each by itself are to
// pass on to each other instead: when one of them alone gets about what all got together,
// this machine's link is the limit, and each would get that. It goes back if it was wrong.
// It decides and does nothing; one goroutine.
type changeover struct {
	phase phase
	since time.Time // of the phase
	from  []stand   // at the beginning of what counts, or is looked at; nil: not yet
	quiet bool      // of trying: others get nothing any more
	at    time.Time // of from
	star  float64   // bytes per second that all got by themselves
	only  int       // of alone: who does not wait,
	of    int       // of how many
	had   int64     // the most that a destination had before the chain
}

type phase int

const (
	watching phase = iota
	trying         // one alone
	proving        // in the chain
	settled
)

// look takes how it stands now with all destinations that may take part and are not
// complete, always the same ones in a row, and says what to do.
func (c *changeover) look(now time.Time, all []stand) move {
	if c.since.IsZero() {
		c.since = now
	}
	switch c.phase {
	case watching:
		return c.watch(now, all)
	case trying:
		return c.try(now, all)
	case proving:
		return c.prove(now, all)
	}
	return stay
}

func (c *changeover) enter(p phase, now time.Time) {
	c.phase, c.since, c.at, c.from = p, now, now, nil
}

// again begins to count anew.
func (c *changeover) again(now time.Time, all []stand) {
	c.from, c.at = append([]stand(nil), all...), now
}

// rates are those since it began to count, of each and of all, in bytes per second.
func (c *changeover) rates(now time.Time, all []stand) (each []float64, sum float64) {
	span := now.Sub(c.at).Seconds()
	for i := range all {
		r := float64(all[i].verified-c.from[i].verified) / span
		each, sum = append(each, r), sum+r
	}
	return each, sum
}

// lively tells that the sessions of all run.
func lively(all []stand) bool {
	for _, s := range all {
		if !s.live {
			return false
		}
	}
	return len(all) > 0
}

func (c *changeover) watch(now time.Time, all []stand) move {
	if len(all) < 2 || !lively(all) {
		c.from = nil
		return stay
	}
	if c.from == nil || len(c.from) != len(all) {
		c.again(now, all)
		return stay
	}
	if now.Sub(c.at) < overSpan {
		return stay
	}
	each, sum := c.rates(now, all)
	best := 0
	for i := range each {
		if each[i] > each[best] {
			best = i
		}
	}
	worth := worthChain(all, sum)
	c.again(now, all)
	if !worth {
		return stay
	}
	c.star, c.only, c.of = sum, best, len(all)
	c.enter(trying, now)
	return alone
}

// worthChain tells whether so much is left, at the rate of all, that a chain at that rate
// to each is worth what it costs to begin.
func worthChain(all []stand, sum float64) bool {
	total, most, had := int64(0), int64(0), int64(0)
	for _, s := range all {
		total, most, had = total+s.left, max(most, s.left), max(had, s.done)
	}
	before := float64(total) / sum
	after := float64(most)/sum + float64(had)/overRehash
	return sum > 0 && before > overLong.Seconds() && before-after > overGain.Seconds()
}

func (c *changeover) try(now time.Time, all []stand) move {
	passed := now.Sub(c.since)
	switch {
	case len(all) != c.of || !lively(all):
		c.enter(settled, now) // somebody is lost, or complete
		return free
	case c.from == nil:
		c.again(now, all)
		return stay
	case now.Sub(c.at) < aloneLook || c.quiet && now.Sub(c.at) < aloneThen:
		return stay
	}
	each, sum := c.rates(now, all)
	if !c.quiet && passed < aloneMost {
		c.quiet = sum-each[c.only] < aloneRest*c.star
		c.again(now, all)
		return stay
	}
	if each[c.only] < aloneShare*c.star {
		c.enter(settled, now)
		return free
	}
	for _, s := range all {
		c.had = max(c.had, s.done)
	}
	c.enter(proving, now)
	return chained
}

func (c *changeover) prove(now time.Time, all []stand) move {
	ready := c.from != nil
	switch {
	case len(all) == 0:
		c.enter(settled, now)
		return stay
	case !ready && !lively(all) && now.Sub(c.since) < chainLogin:
		c.at = now
		return stay
	case !ready && now.Sub(c.at) < chainFirst+time.Duration(float64(c.had)/overRehash*float64(time.Second)):
		return stay
	case !ready || len(c.from) != len(all):
		c.again(now, all)
		return stay
	case now.Sub(c.at) < chainThen:
		return stay
	}
	_, sum := c.rates(now, all)
	c.enter(settled, now)
	if sum < c.star {
		return starred
	}
	return stay
}

// overseer has the destinations of a run go over to a chain, where that is faster.
type overseer struct {
	run  *fanRun
	only atomic.Int32 // the one destination that does not wait; -1: nobody waits

	mu   sync.Mutex // guards what follows
	next chan struct{}
}

// newOverseer makes one where destinations may pass on to each other.
func newOverseer(r *fanRun) *overseer {
	if !r.fan.PassOn || r.fan.Multicast != MulticastAuto || r.cast == nil {
		return nil
	}
	o := &overseer{run: r, next: make(chan struct{})}
	o.only.Store(-1)
	return o
}

// hold waits while destination i is to send nothing.
func (o *overseer) hold(ctx context.Context, i int) error {
	for {
		if only := o.only.Load(); only < 0 || int(only) == i {
			return nil
		}
		o.mu.Lock()
		next := o.next
		o.mu.Unlock()
		if o.only.Load() < 0 {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// let says who does not wait, -1: nobody waits.
func (o *overseer) let(only int) {
	o.only.Store(int32(only))
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.next)
	o.next = make(chan struct{})
}

// work looks when there is no group any more, until stop is closed.
func (o *overseer) work(stop <-chan struct{}) {
	select {
	case <-o.run.cast.over:
	case <-stop:
		return
	}
	t := time.NewTicker(overEvery)
	defer t.Stop()
	var c changeover
	for c.phase != settled {
		select {
		case <-t.C:
		case <-stop:
			return
		}
		legs, all := o.stands()
		switch c.look(time.Now(), all) {
		case alone:
			o.let(legs[c.only].i)
		case free:
			o.let(-1)
		case chained:
			line := newChain()
			for _, l := range legs {
				l.goOver(line, "one destination alone gets what all got together: each passes on to the next")
			}
			o.let(-1)
		case starred:
			for _, l := range legs {
				l.goOver(nil, "it is slower than from here to each")
			}
		}
	}
}

// stands gives the destinations that may take part in a chain and are not complete: they
// are reached straight, over TCP, and are not this machine.
func (o *overseer) stands() (legs []*leg, all []stand) {
	for _, l := range o.run.legs {
		if l.dir.cast == nil || !l.dir.job.TCP || !l.dir.cast.straight() {
			continue
		}
		l.mu.Lock()
		ended := l.ended
		l.mu.Unlock()
		t, _, live := l.dir.now()
		if left := t.Bytes - t.DoneBytes; !ended && (left > 0 || !t.Listed) {
			legs, all = append(legs, l), append(all, stand{live, t.Verified, t.DoneBytes, left})
		}
	}
	return legs, all
}

// straight tells that the destination is another machine, whose address is known.
func (l *castLeg) straight() bool {
	l.c.mu.Lock()
	addr := l.addr
	l.c.mu.Unlock()
	return addr.IsValid() && !ownAddress(addr)
}

// goOver has the destination get its data in a chain from now on; nil: from here.
func (l *leg) goOver(line *chain, why string) {
	own := prefer(l.dir.job.UDT)
	x := events.Transport{From: "chain", To: own, Reason: why}
	if line != nil {
		x.From, x.To = own, "chain"
	}
	l.dir.rec.Record(time.Now(), x)
	l.dir.goOver(line)
}
