package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
)

// readSize is how much is read at once. Ours: short enough to see rates of slow
// places, long enough not to matter for fast ones.
const readSize = 128 << 10

// errUnwanted ends a range that others deliver.
var errUnwanted = errors.New("not wanted any more")

// worker is one connection of a session at work.
type worker struct {
	c     *conductor
	s     *session
	buf   []byte            // a block
	pipe  Pipe              // nil while there is none
	asked []rangeset.Extent // blocks that were asked for and have not come, in order
	meter meter

	body io.ReadCloser // of a place that gives everything or nothing
	at   int64         // where body stands
}

// work does what the session is asked for until it is over.
func (c *conductor) work(s *session) {
	w := &worker{c: c, s: s}
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
		rate, under := w.meter.rate, w.under()
		enough := int64(rate * (w.s.latency + w.s.latency/2 + aheadTime).Seconds())
		if len(w.asked) > 0 && (w.s.whole || len(w.asked) > 1 && under >= enough) {
			return nil
		}
		size := int64(firstBytes)
		if rate > 0 {
			size = int64(rate * requestTime.Seconds())
		}
		if len(w.asked) == 0 {
			w.meter.stop()
		}
		e, ok := w.c.take(w.s, size, len(w.asked) == 0)
		if !ok {
			return nil
		}
		w.asked = append(w.asked, e)
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

// pipe makes a connection to a session's place.
func (c *conductor) pipe(s *session) Pipe {
	src := c.p.job.Places[s.f.place].Source
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
	w.meter.stop()
	c, s := w.c, w.s
	c.mu.Lock()
	if s.f.ses != s || c.over {
		c.mu.Unlock()
		return false
	}
	for i := len(w.asked) - 1; i >= 0; i-- {
		s.putBack(w.asked[i])
	}
	w.asked = w.asked[:0]
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

// putBack returns blocks to the front of the queue, without those that are not
// wanted any more.
func (s *session) putBack(e rangeset.Extent) {
	var back []rangeset.Extent
	for part := range s.unwanted.Missing(e.Lo, e.Hi) {
		back = append(back, part)
	}
	s.unwanted.Remove(e.Lo, e.Hi)
	s.queue = append(back, s.queue...)
}

// fetch reads the blocks that were asked for first. On an error asked holds what is
// missing of all.
func (w *worker) fetch() error {
	o := w.c.o
	body, err := w.open()
	if err != nil {
		return err
	}
	w.meter.start()
	for e := &w.asked[0]; e.Lo < e.Hi; e = &w.asked[0] {
		data := w.buf[:o.length(e.Lo)]
		whole, err := w.read(body, e.Lo, data)
		if err != nil {
			return err
		}
		if whole {
			err = w.block(e.Lo, data)
		} else {
			w.forget(e.Lo)
		}
		if err != nil {
			return err
		}
		if e.Lo++; e.Lo < e.Hi {
			if err := w.ask(); err != nil {
				return err
			}
		}
	}
	// The end is read, so that the connection serves the next request.
	_, _ = io.ReadFull(body, make([]byte, 1)) // whatever comes, all blocks are here
	w.asked = append(w.asked[:0], w.asked[1:]...)
	return nil
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
		w.wanted(-1, n)
		if err != nil {
			return nil, err
		}
	}
	return io.LimitReader(w.body, n), nil
}

// wanted counts n bytes that came, and tells whether a block is still wanted, and
// whether any of those that were asked for is.
func (w *worker) wanted(b int64, n int) (this, other bool) {
	c := w.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.s.f.ses != w.s || c.over {
		return false, false
	}
	c.sched.Received(c.clock(), w.s.id, int64(n))
	if b < 0 || !w.s.unwanted.Contains(b, b+1) {
		return true, true
	}
	for _, e := range w.asked {
		if !w.s.unwanted.Contains(e.Lo, e.Hi) {
			return false, true
		}
	}
	return false, false
}

// read fills data with a block. whole is false if nobody wants it any more, but
// others that come behind it: then the connection is worth reading on.
func (w *worker) read(body io.Reader, b int64, data []byte) (whole bool, err error) {
	if this, other := w.wanted(b, 0); !this && !other {
		return false, errUnwanted
	}
	whole = true
	for done := 0; done < len(data); {
		n, err := body.Read(data[done:min(len(data), done+readSize)])
		done += n
		w.at += int64(n)
		w.meter.add(n)
		this, other := w.wanted(b, n)
		if !this && !other {
			return false, errUnwanted
		}
		whole = this
		switch {
		case done == len(data):
		case err == io.EOF:
			return false, io.ErrUnexpectedEOF
		case err != nil:
			return false, err
		}
	}
	return whole, nil
}

// forget notes that a block which is not wanted any more has come.
func (w *worker) forget(b int64) {
	w.c.mu.Lock()
	w.s.unwanted.Remove(b, b+1)
	w.c.mu.Unlock()
}

// block verifies a block and keeps it. Errors: none of what the place did, since
// the schedule hears of it.
func (w *worker) block(b int64, data []byte) error {
	c := w.c
	one := rangeset.Extent{Lo: b, Hi: b + 1}
	if check := &c.p.job.Check; check.pieces() && !check.Piece(b, data) {
		c.bad(w.s, one)
		return nil
	}
	c.mu.Lock()
	here := c.o.done.Contains(b, b+1)
	c.mu.Unlock()
	if !here {
		sum := c.o.sum(b, data)
		if err := c.o.write(b, data); err != nil {
			c.mu.Lock()
			c.end(err)
			c.mu.Unlock()
			return context.Canceled
		}
		c.mu.Lock()
		// Another place may have brought it meanwhile: the same bytes, since both
		// were verified, or since there is one place only.
		if !c.o.done.Contains(b, b+1) {
			c.o.note(b, sum)
		}
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return context.Canceled
	}
	w.s.fails, c.moved = 0, time.Now()
	c.sched.Stored(c.clock(), w.s.id, one)
	c.step()
	return nil
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
	}
	c.step()
}
