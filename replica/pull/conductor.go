package pull

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/replica"
)

// Times and sizes of our choice.
const (
	tick         = 200 * time.Millisecond // the schedule is looked at, whatever happens
	flushEvery   = time.Second            // the journal is written
	bufferRoom   = 256 << 20              // bytes of all blocks under way
	troubleAfter = 2                      // failures in a row: people are told
	slowSpan     = time.Minute            // for so long less than Job.MinRate must come to end it
	mostFails    = 3                      // of a session's requests in a row: it ends
	failPause    = 200 * time.Millisecond // after the first, then more

	// A connection asks for so much of its rate at once, and for the next so much
	// before that, and one and a half latencies, are used up. Connections of one place
	// may be of very different rates, so each takes what it can.
	requestTime = 500 * time.Millisecond
	aheadTime   = 250 * time.Millisecond
	firstBytes  = 2 << 20               // asked for before a rate was seen
	mostAsked   = 16                    // requests of a connection under way
	leastWin    = 50 * time.Millisecond // what moving blocks between connections must save
)

// conductor runs a schedule over some places.
type conductor struct {
	p     *Pull
	o     *object
	began time.Time
	feeds []*feed
	alone bool            // places without ranges can be used, since there is no other
	quiet time.Duration   // without a block for so long it ends; 0: never
	ctx   context.Context // of run: what the sessions' contexts are made of
	stop  func()          // ends it
	spent spent

	mu    sync.Mutex // guards what follows, and the object's notes
	sched *replica.Sched
	err   error
	over  bool
	moved time.Time // when a block was stored last
	// Of hurry: when it looked last, and what had come by then.
	counted time.Time
	then    int64
	wake    *sync.Cond    // workers: there may be something to do
	ended   chan struct{} // closed when over is set
	wg      sync.WaitGroup
}

// feed is a place as the schedule knows it.
type feed struct {
	place int
	ses   *session // nil while closed
}

// session is one opening of a place.
type session struct {
	id       replica.SourceID
	f        *feed
	ctx      context.Context
	cancel   context.CancelFunc
	most     int  // connections at once; 0: as many as the job has
	whole    bool // the place gives everything from the start, or nothing
	latency  time.Duration
	queue    []rangeset.Extent // blocks that were asked for, and no worker has
	unwanted rangeset.Set      // blocks that a worker may still have
	taken    rangeset.Set      // blocks that one worker has taken from another that had begun them
	workers  []*worker         // all that are at work
	fails    int               // in a row
}

func newConductor(p *Pull, group []int, o *object, quiet time.Duration) (*conductor, error) {
	c := &conductor{p: p, o: o, quiet: quiet, began: time.Now(), alone: len(group) == 1, ended: make(chan struct{})}
	c.wake = sync.NewCond(&c.mu)
	var known []replica.Source
	for _, i := range group {
		s := replica.Source{Name: p.job.Places[i].Name, Cost: p.job.Places[i].Cost}
		var past replica.Past
		if known := p.job.Places[i].Past; known != nil {
			past = known(o.e.Size / int64(len(group)))
		}
		if f := p.place[i].facts; f != nil {
			s.Latency, past.Start = f.Latency, 0 // it can be asked at once
		}
		past.Apply(&s)
		known = append(known, s)
		c.feeds = append(c.feeds, &feed{place: i})
	}
	var err error
	c.sched, err = replica.NewSched(replica.Config{Size: o.e.Size, Block: o.block, MaxSources: p.job.MaxSources, MinRate: p.job.MinRate, Sink: p.job.Rate, Ahead: requestTime + 2*aheadTime}, known, &o.done)
	return c, err
}

// clock is the schedule's time.
func (c *conductor) clock() time.Duration { return time.Since(c.began) }

// run carries out the schedule until all is stored, nobody is left, or ctx ends.
// No goroutine outlives it.
func (c *conductor) run(ctx context.Context) error {
	defer c.p.tell()
	defer c.wg.Wait()
	c.ctx, c.stop = context.WithCancel(ctx)
	c.moved, c.counted, c.then = c.began, c.began, c.o.fetched
	if t := c.o.trial; t != nil {
		c.mu.Lock() // what the first ones tell lets the schedule begin
		for v, i := range t.place {
			opened := c.p.place[i].facts != nil
			c.attend(i, opened)
			c.wg.Go(func() { c.poll(c.ctx, v, opened) })
		}
		c.mu.Unlock()
	}
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	beat := time.NewTicker(tick)
	defer beat.Stop()
	c.mu.Lock()
	c.step()
	c.mu.Unlock()
	for {
		select {
		case <-c.ended:
			c.mu.Lock()
			defer c.mu.Unlock()
			return errors.Join(c.err, c.o.journal.Flush())
		case <-ctx.Done():
			c.mu.Lock()
			c.end(context.Cause(ctx))
			c.mu.Unlock()
		case <-flush.C:
			if err := c.o.journal.Flush(); err != nil {
				c.mu.Lock()
				c.end(err)
				c.mu.Unlock()
			}
		case <-beat.C:
			c.mu.Lock()
			if c.o.trial != nil {
				c.settle(lookAt)
			}
			c.step()
			c.restaff()
			c.hurry()
			if c.quiet > 0 && time.Since(c.moved) > c.quiet {
				c.end(fmt.Errorf("nothing came for %v: %w", c.quiet, ErrLost))
			}
			c.mu.Unlock()
			c.p.tell()
		}
	}
}

// hurry ends it when less has come in the last minute than was asked for. The caller
// holds mu.
func (c *conductor) hurry() {
	now := time.Now()
	if c.p.job.MinRate == 0 || now.Sub(c.counted) < slowSpan {
		return
	}
	n := c.o.fetched - c.then
	c.counted, c.then = now, c.o.fetched
	if float64(n) < float64(c.p.job.MinRate)*slowSpan.Seconds() && !c.sched.Done() {
		c.end(fmt.Errorf("%w: %s in %v", ErrSlow, units.FormatBytes(n), slowSpan))
	}
}

// end stops everything, for a reason or because all is done. The caller holds mu.
func (c *conductor) end(err error) {
	if c.over {
		return
	}
	c.over, c.err = true, err
	c.stop()
	for _, f := range c.feeds {
		c.shut(f)
	}
	close(c.ended)
	c.wake.Broadcast()
}

// step asks the schedule and does what it says. The caller holds mu; nothing here
// waits.
func (c *conductor) step() {
	if c.over {
		return
	}
	for _, o := range c.sched.Poll(c.clock()) {
		f := c.feeds[o.Source]
		switch o.Kind {
		case replica.Open:
			c.open(o.Source, f)
		case replica.Close:
			c.shut(f)
		case replica.Fetch:
			if f.ses != nil {
				f.ses.queue = append(f.ses.queue, o.Blocks)
				f.ses.unwanted.Remove(o.Blocks.Lo, o.Blocks.Hi)
			}
		case replica.Drop:
			if f.ses != nil {
				f.ses.drop(o.Blocks)
			}
		}
	}
	c.wake.Broadcast()
	switch {
	case c.sched.Done() && !c.pending():
		c.end(nil)
	case c.o.trial != nil && c.o.trial.jury.Left() == 0:
		c.end(errNoVoter)
	case c.sched.Hopeless():
		c.end(replica.ErrNoReplica)
	}
}

// drop takes blocks out of what is still to be asked for; those that are asked
// for are noted, so that workers leave them.
func (s *session) drop(e rangeset.Extent) {
	s.unwanted.Add(e.Lo, e.Hi)
	var kept []rangeset.Extent
	for _, q := range s.queue {
		if lo := (rangeset.Extent{Lo: q.Lo, Hi: min(q.Hi, e.Lo)}); lo.Len() > 0 {
			kept = append(kept, lo)
		}
		if hi := (rangeset.Extent{Lo: max(q.Lo, e.Hi), Hi: q.Hi}); hi.Len() > 0 {
			kept = append(kept, hi)
		}
	}
	s.queue = kept
}

// shut ends a session. The caller holds mu.
func (c *conductor) shut(f *feed) {
	if f.ses != nil {
		f.ses.cancel()
		f.ses = nil
		c.wake.Broadcast()
	}
}

// open begins a session. The caller holds mu.
func (c *conductor) open(id replica.SourceID, f *feed) {
	c.shut(f)
	s := &session{id: id, f: f}
	s.ctx, s.cancel = context.WithCancel(c.ctx)
	f.ses = s
	first := c.p.place[f.place].facts
	c.p.place[f.place].facts = nil
	c.wg.Go(func() { c.meet(s, first) })
}

// meet asks a place for the facts, unless they are fresh, and puts workers to it.
func (c *conductor) meet(s *session, facts *Facts) {
	if facts == nil {
		ctx, cancel := context.WithTimeout(s.ctx, openTimeout)
		defer cancel()
		f, err := c.p.opened(ctx, s.f.place)
		if err != nil {
			c.failed(s, err)
			return
		}
		facts = &f
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.f.ses != s || c.over {
		return
	}
	switch {
	case facts.Size != c.o.e.Size:
		c.gone(s, fmt.Sprintf("size %d, it should be %d", facts.Size, c.o.e.Size))
	case !facts.Ranges && !c.alone && c.o.e.Size > 0:
		c.gone(s, "it cannot be asked for parts")
	default:
		s.whole, s.latency, s.most = !facts.Ranges, facts.Latency, facts.Connections
		c.sched.Up(c.clock(), s.id, facts.Latency)
		c.staff(s)
	}
	c.step()
}

// staff puts as many workers to a session as it is to have connections. Of too many,
// those end that have nothing under way. The caller holds mu.
func (c *conductor) staff(s *session) {
	for n := c.connections(s); len(s.workers) < n; {
		w := &worker{c: c, s: s}
		s.workers = append(s.workers, w)
		c.wg.Go(func() {
			w.work()
			c.mu.Lock()
			defer c.mu.Unlock()
			s.workers = slices.DeleteFunc(s.workers, func(o *worker) bool { return o == w })
		})
	}
}

// restaff follows sources that are to be read over more or fewer connections. The
// caller holds mu.
func (c *conductor) restaff() {
	for _, f := range c.feeds {
		src, ok := c.p.job.Places[f.place].Source.(Elastic)
		if !ok || f.ses == nil || len(f.ses.workers) == 0 {
			continue
		}
		if n := src.Connections(); n > 0 && n != f.ses.most {
			f.ses.most = n
			c.staff(f.ses)
			c.wake.Broadcast()
		}
	}
}

// connections is how many a session has.
func (c *conductor) connections(s *session) int {
	if s.whole {
		return 1
	}
	sessions := min(len(c.feeds), c.p.job.MaxSources)
	most := c.p.job.Streams
	if s.most > 0 {
		most = s.most
	}
	return max(1, min(most, int(bufferRoom/c.o.block)/sessions))
}

// gone takes a place out for good and tells why. The caller holds mu.
func (c *conductor) gone(s *session, why string) {
	c.sched.Gone(c.clock(), s.id, why)
	c.shut(s.f)
	c.p.leave(s.f.place, why)
	c.unseat(s.f.place)
}

// failed notes that a place, or a request to it, failed.
func (c *conductor) failed(s *session, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.f.ses != s || c.over {
		return
	}
	var f interface{ Final() bool }
	if errors.As(err, &f) && f.Final() {
		c.gone(s, err.Error())
	} else {
		c.sched.Down(c.clock(), s.id, err.Error())
		if c.sched.Plan(c.clock()).Shares[s.id].Failures == troubleAfter {
			c.p.note("replica.trouble", fmt.Sprintf("%s does not deliver: %v; it is tried again now and then", c.p.job.Places[s.f.place].Name, err))
		}
		c.shut(s.f)
		c.attend(s.f.place, false)
	}
	c.step()
}

// state is what Pull.State tells of a running schedule.
func (c *conductor) state() (replica.Plan, int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sched.Plan(c.clock()), c.o.had + c.o.fetched
}

// take gives a worker blocks to ask for, which are noted as asked: at most so many
// bytes, or a block, and at most half of its share of what the session has, so that
// the connections end together. A worker that has nothing takes what another
// connection of the session would bring later, or waits until there is something. ok
// is false when there is nothing, or the session is over.
func (c *conductor) take(w *worker, bytes int64) (e rangeset.Extent, ok bool) {
	s, idle := w.s, len(w.asked) == 0
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if s.f.ses != s || c.over || len(s.workers) > c.connections(s) && slices.Index(s.workers, w) >= c.connections(s) {
			return e, false
		}
		if len(s.queue) > 0 {
			e = s.next(w, bytes/c.o.block)
			break
		}
		if !idle {
			return e, false
		}
		if e, ok = c.relieve(w, time.Now()); ok {
			break
		}
		c.wake.Wait()
	}
	if idle {
		w.meter.start(time.Now().Add(s.latency))
	}
	w.asked = append(w.asked, e)
	return e, true
}

// next takes blocks from the queue.
func (s *session) next(w *worker, most int64) rangeset.Extent {
	e := s.queue[0]
	if !s.whole {
		queued := int64(0)
		for _, q := range s.queue {
			queued += q.Len()
		}
		k := 2 * int64(len(s.workers))
		e.Hi = min(e.Hi, e.Lo+max(1, min((queued+k-1)/k, most)))
	}
	if s.queue[0].Lo = e.Hi; s.queue[0].Len() == 0 {
		s.queue = slices.Delete(s.queue, 0, 1)
	}
	return e
}

// quietTime is how long a connection below a limit, or with a block that was taken over
// before, may bring nothing, beyond the turns of all others below the limit, before
// another one takes over what it has begun. Ours.
const quietTime = 2 * time.Second

// relieve moves blocks to an idle worker from the one of its session that would
// bring them last, as many as let both end together. The other connection reads
// over them. The caller holds mu.
func (c *conductor) relieve(w *worker, now time.Time) (e rangeset.Extent, ok bool) {
	s := w.s
	var v *worker
	late := 0.0
	for _, o := range s.workers {
		if f := o.finish(now); o != w && f > late {
			late, v = f, o
		}
	}
	if v == nil || s.whole {
		return e, false
	}
	block := float64(c.o.block)
	theirs := v.meter.now(now)
	ours := max(w.meter.rate, theirs, 1)
	from := 1.5*s.latency.Seconds() + leastWin.Seconds()
	e, reading := v.tail()
	n := e.Len()
	switch {
	case reading:
		// What a connection has begun is left to it unless it is much slower; that of
		// several which share a limit one brings less says nothing, but that one brings
		// nothing while all could have had their turns does. Each block is taken over for
		// being slow once: connections that share a narrow link would take the same ones
		// from each other for ever, since each is slow as long as others are at work.
		slow := late >= 2*(from+block/ours)
		if s.taken.Contains(e.Lo, e.Hi) {
			slow = v.meter.quiet(now) > quietTime
		}
		if rate := c.p.limit.now(); rate > 0 {
			turns := float64(len(s.workers)) * block / float64(rate)
			slow = v.meter.quiet(now).Seconds() > quietTime.Seconds()+turns
		}
		if !slow {
			return e, false
		}
		s.taken.Add(e.Lo, e.Hi)
	case !math.IsInf(late, 1):
		n = min(n, int64((late-from)/(block/theirs+block/ours)))
	}
	if n < 1 {
		return e, false
	}
	e.Lo = e.Hi - n
	v.moved.Add(e.Lo, e.Hi)
	return e, true
}
