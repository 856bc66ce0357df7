package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/internal/rangeset"
)

// readSize is how much is read at once. Ours: short enough to see rates of slow
// places, long enough not to matter for fast ones.
const readSize = 128 << 10

// errUnwanted ends a range that others deliver.
var errUnwanted = errors.New("not wanted any more")

// worker is one connection of a session at work. Its goroutine alone changes asked,
// and does so while it holds the conductor's mu; so does whoever else looks at it.
type worker struct {
	c     *conductor
	s     *session
	buf   []byte            // a block
	pipe  Pipe              // nil while there is none
	asked []rangeset.Extent // blocks that were asked for and have not come, in order

	moved rangeset.Set // of these, blocks that another connection brings; under mu
	got   int64        // bytes of the first of them that have come; under mu
	meter meter        // under mu

	body io.ReadCloser // of a place that gives everything or nothing
	at   int64         // where body stands
}

// work does what the session is asked for until it is over.
func (w *worker) work() {
	defer w.close()
	for {
		err := w.ask()
		if err == nil {
			if len(w.asked) == 0 {
				return
			}
			err = w.fetch()
		}
		if err != nil && !w.mend(err) {
			return
		}
	}
}

func (w *worker) close() {
	if w.pipe != nil {
		w.pipe.Close()
		w.pipe = nil
	}
	if w.body != nil {
		w.body.Close()
		w.body = nil
	}
}

// ask asks for blocks until enough are under way. If none are it waits until there
// are some to be asked for; there are none still when the session is over.
func (w *worker) ask() error {
	for len(w.asked) < mostAsked {
		w.c.mu.Lock()
		rate := w.meter.rate
		w.c.mu.Unlock()
		enough := int64(rate * (w.s.latency + w.s.latency/2 + aheadTime).Seconds())
		if len(w.asked) > 0 && (w.s.whole || len(w.asked) > 1 && w.under() >= enough) {
			return nil
		}
		size := int64(firstBytes)
		if rate > 0 {
			size = int64(rate * requestTime.Seconds())
		}
		e, ok := w.c.take(w, size)
		if !ok {
			return nil
		}
		if w.buf == nil {
			w.buf = make([]byte, min(w.c.o.block, w.c.o.e.Size))
		}
		if w.s.whole {
			return nil
		}
		if w.pipe == nil {
			w.pipe = w.c.pipe(w.s)
		}
		if err := w.pipe.Ask(w.c.o.span(e)); err != nil {
			return err
		}
	}
	return nil
}

// under is how many bytes are under way.
func (w *worker) under() (n int64) {
	for _, e := range w.asked {
		_, k := w.c.o.span(e)
		n += k
	}
	return n
}

// wants tells whether a block that was asked for is still to come over this
// connection. The caller holds mu.
func (w *worker) wants(b int64) bool {
	return !w.s.unwanted.Contains(b, b+1) && !w.moved.Contains(b, b+1)
}

// wanted gives the runs of what was asked for that are still to come over this
// connection, in order. The caller holds mu.
func (w *worker) wanted() iter.Seq[rangeset.Extent] {
	return func(yield func(rangeset.Extent) bool) {
		for _, e := range w.asked {
			for part := range w.s.unwanted.Missing(e.Lo, e.Hi) {
				for run := range w.moved.Missing(part.Lo, part.Hi) {
					if !yield(run) {
						return
					}
				}
			}
		}
	}
}

// finish is in how many seconds the last block will have come. The caller holds mu.
func (w *worker) finish(now time.Time) float64 {
	n := int64(0)
	for e := range w.wanted() {
		if n += e.Len() * w.c.o.block; e.Lo == w.asked[0].Lo {
			n -= w.got
		}
	}
	if n == 0 {
		return 0
	}
	return float64(n) / w.meter.now(now)
}

// tail is the last run of blocks that are to come, without the one that is read now
// unless there is no other; reading tells that. The caller holds mu.
func (w *worker) tail() (e rangeset.Extent, reading bool) {
	for e = range w.wanted() {
	}
	if e.Len() > 0 && e.Lo == w.asked[0].Lo {
		if e.Len() == 1 {
			return e, true
		}
		e.Lo++
	}
	return e, false
}

// pipe makes a connection to a session's place.
func (c *conductor) pipe(s *session) Pipe {
	src := c.p.job.Places[s.f.place].Source
	if a, ok := src.(Attester); ok && c.o.header.Hash == integrity.Name && c.o.block <= longestBlock {
		return a.Attest(s.ctx, c.o.block)
	}
	if piper, ok := src.(Piper); ok {
		if p := piper.Pipe(s.ctx); p != nil {
			return p
		}
	}
	return &ranges{ctx: s.ctx, src: src}
}

// mend puts back what was not fetched, and tells whether to go on.
func (w *worker) mend(err error) bool {
	w.close()
	c, s := w.c, w.s
	c.mu.Lock()
	w.meter.stop()
	if s.f.ses != s || c.over {
		c.mu.Unlock()
		return false
	}
	// What is not wanted any more, or comes over another connection, is not asked
	// for again.
	s.queue = append(slices.Collect(w.wanted()), s.queue...)
	for _, e := range w.asked {
		s.unwanted.Remove(e.Lo, e.Hi)
	}
	w.asked, w.moved, w.got = w.asked[:0], rangeset.Set{}, 0
	c.wake.Broadcast()
	var f interface{ Final() bool }
	if errors.Is(err, errUnwanted) {
		c.mu.Unlock()
		return true
	}
	s.fails++
	fails := s.fails
	c.mu.Unlock()
	if errors.As(err, &f) && f.Final() || fails >= mostFails {
		c.failed(s, err)
		return false
	}
	select {
	case <-time.After(time.Duration(fails) * failPause):
		return true
	case <-s.ctx.Done():
		return false
	}
}

// fetch reads the blocks that were asked for first. On an error asked holds what is
// missing of all.
func (w *worker) fetch() error {
	o := w.c.o
	body, err := w.open()
	if err != nil {
		return err
	}
	for {
		b := w.asked[0].Lo
		data := w.buf[:o.length(b)]
		whole, err := w.read(body, b, data)
		if err != nil {
			return err
		}
		if whole {
			if err := w.block(body, b, data); err != nil {
				return err
			}
		}
		if w.came() {
			break
		}
		if err := w.ask(); err != nil {
			return err
		}
	}
	// The end is read, so that the connection serves the next request.
	_, _ = io.ReadFull(body, make([]byte, 1)) // whatever comes, all blocks are here
	return nil
}

// came notes that the block that was to come first has come, or was read over, and
// tells whether it was the last of its request.
func (w *worker) came() (last bool) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	b := w.asked[0].Lo
	w.s.unwanted.Remove(b, b+1)
	w.moved.Remove(b, b+1)
	w.got = 0
	if w.asked[0].Lo++; w.asked[0].Len() > 0 {
		return false
	}
	if w.asked = slices.Delete(w.asked, 0, 1); len(w.asked) == 0 {
		w.meter.stop()
	}
	return true
}

// open gives the bytes of the blocks that were asked for first. A place without
// ranges is read on, or from its start.
func (w *worker) open() (io.Reader, error) {
	if !w.s.whole {
		return w.pipe.Next()
	}
	from, n := w.c.o.span(w.asked[0])
	if w.body == nil || w.at > from {
		w.close()
		body, err := w.c.p.job.Places[w.s.f.place].Source.Range(w.s.ctx, 0, w.c.o.e.Size)
		if err != nil {
			return nil, err
		}
		w.body, w.at = body, 0
	}
	for w.at < from {
		n, err := w.body.Read(w.buf[:min(int64(len(w.buf)), from-w.at, readSize)])
		w.at += int64(n)
		w.count(-1, n)
		if err != nil {
			return nil, err
		}
	}
	return io.LimitReader(w.body, n), nil
}

// count counts n bytes that came, and tells whether a block is still wanted, and
// whether any of those that were asked for is.
func (w *worker) count(b int64, n int) (this, other bool) {
	c := w.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.s.f.ses != w.s || c.over {
		return false, false
	}
	c.sched.Received(c.clock(), w.s.id, int64(n))
	w.meter.add(n, time.Now())
	if b >= 0 {
		w.got += int64(n)
	}
	if b < 0 || w.wants(b) {
		return true, true
	}
	for range w.wanted() {
		return false, true
	}
	return false, false
}

// read fills data with a block. whole is false if nobody wants it any more, but
// others that come behind it: then the connection is worth reading on.
func (w *worker) read(body io.Reader, b int64, data []byte) (whole bool, err error) {
	if this, other := w.count(b, 0); !this && !other {
		return false, errUnwanted
	}
	done := 0
	defer func() {
		if !whole {
			w.void(int64(done))
		}
	}()
	for done < len(data) {
		began := time.Now()
		n, err := body.Read(data[done:min(len(data), done+readSize)])
		began = w.c.spent.on(&w.c.spent.read, began)
		done += n
		w.at += int64(n)
		w.c.p.limit.wait(w.s.ctx, n)
		w.c.spent.on(&w.c.spent.limit, began)
		this, other := w.count(b, n)
		switch {
		case !this && !other:
			return false, errUnwanted
		case done == len(data):
			return this, nil
		case err == io.EOF:
			return false, io.ErrUnexpectedEOF
		case err != nil:
			return false, err
		}
	}
	return true, nil // an empty block has come
}

// void tells the schedule that n bytes which were counted make no block.
func (w *worker) void(n int64) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if w.s.f.ses == w.s {
		w.c.sched.Void(w.s.id, n)
	}
}

// block verifies a block and keeps it. Errors: none of what the place did, since
// the schedule hears of it.
func (w *worker) block(body io.Reader, b int64, data []byte) error {
	c, o := w.c, w.c.o
	one := rangeset.Extent{Lo: b, Hi: b + 1}
	began := time.Now()
	if check := &c.p.job.Check; check.pieces() && !check.Piece(b, data) {
		c.bad(w.s, one)
		return nil
	}
	sum := o.sum(b, data)
	began = c.spent.on(&c.spent.check, began)
	if a, ok := body.(Attested); ok {
		own, ok := a.Sum(b * o.block)
		if !ok || own != sum {
			c.bad(w.s, one) // it was damaged on the way
			return nil
		}
	}
	keep, right := w.claim(body, b, sum)
	if !right {
		c.bad(w.s, one)
		return nil
	}
	if keep {
		err := o.write(b, data)
		c.spent.on(&c.spent.write, began)
		c.mu.Lock()
		delete(o.writing, b)
		if err != nil {
			c.end(err)
			c.mu.Unlock()
			return context.Canceled
		}
		o.note(b, sum)
		if o.trial != nil {
			o.trial.came[b] = arrival{sum, w.s.f.place}
			o.trial.doubt.Add(b, b+1)
			c.consider(b)
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return context.Canceled
	}
	w.s.fails, c.moved = 0, time.Now()
	if o.done.Contains(b, b+1) {
		c.sched.Stored(c.clock(), w.s.id, one)
	}
	c.step()
	return nil
}

// claim tells whether a block that has come may be right, and whether this worker is
// to keep it. Another place may have brought it meanwhile, or be about to: of two
// copies one is written, since they may differ.
func (w *worker) claim(body io.Reader, b int64, sum integrity.Sum) (keep, right bool) {
	c, o := w.c, w.c.o
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.trial != nil {
		if _, ok := body.(Attested); ok && w.s.f.ses == w.s && !c.over {
			c.say(w.s.f.place, b, sum)
		}
		if wrong, _ := o.trial.wrong(b, sum); wrong {
			return false, false
		}
	}
	if o.done.Contains(b, b+1) || o.writing[b] {
		return false, true
	}
	o.writing[b] = true
	return true, true
}

// bad tells the schedule that a place sent a wrong block.
func (c *conductor) bad(s *session, e rangeset.Extent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.f.ses != s || c.over {
		return
	}
	name := c.p.job.Places[s.f.place].Name
	c.p.note("replica.wrong", fmt.Sprintf("%s sent wrong bytes at %d; they are fetched again", name, e.Lo*c.o.block))
	c.sched.Bad(c.clock(), s.id, e)
	if sh := c.sched.Plan(c.clock()).Shares[s.id]; sh.Strikes >= 2 {
		c.p.leave(s.f.place, sh.Why)
		c.unseat(s.f.place)
	}
	c.step()
}
