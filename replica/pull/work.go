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
	c    *conductor
	s    *session
	buf  []byte        // a block
	body io.ReadCloser // of a place that gives everything or nothing
	at   int64         // where body stands
}

// work does what the session is asked for until it is over.
func (c *conductor) work(s *session) {
	w := &worker{c: c, s: s}
	defer w.close()
	for {
		e, ok := c.take(s)
		if !ok {
			return
		}
		if w.buf == nil {
			w.buf = make([]byte, min(c.o.block, c.o.e.Size))
		}
		rest, err := w.fetch(e)
		if !w.mend(rest, err) {
			return
		}
	}
}

func (w *worker) close() {
	if w.body != nil {
		w.body.Close()
		w.body = nil
	}
}

// mend puts back what was not fetched, and tells whether to go on.
func (w *worker) mend(rest rangeset.Extent, err error) bool {
	if err == nil {
		return true
	}
	w.close()
	c, s := w.c, w.s
	c.mu.Lock()
	if s.f.ses != s || c.over {
		c.mu.Unlock()
		return false
	}
	s.putBack(rest)
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

// fetch reads some blocks. On an error rest is what is missing of them.
func (w *worker) fetch(e rangeset.Extent) (rest rangeset.Extent, err error) {
	o := w.c.o
	from, to := e.Lo*o.block, min(e.Hi*o.block, o.e.Size)
	body, err := w.open(from, to-from)
	if err != nil {
		return e, err
	}
	if body != w.body {
		defer body.Close()
	}
	for b := e.Lo; b < e.Hi; b++ {
		rest = rangeset.Extent{Lo: b, Hi: e.Hi}
		if !w.wanted(b, 0) {
			return rest, errUnwanted
		}
		data := w.buf[:o.length(b)]
		if err := w.read(body, b, data); err != nil {
			return rest, err
		}
		if err := w.block(b, data); err != nil {
			return rest, err
		}
	}
	if body != w.body {
		// The end is read, so that the connection serves the next request.
		_, _ = io.ReadFull(body, make([]byte, 1)) // whatever comes, all blocks are here
	}
	return rangeset.Extent{}, nil
}

// open asks for a range. A place without ranges is read on, or from its start.
func (w *worker) open(from, n int64) (io.ReadCloser, error) {
	src := w.c.p.job.Places[w.s.f.place].Source
	if !w.s.whole {
		return src.Range(w.s.ctx, from, n)
	}
	if w.body == nil || w.at > from {
		w.close()
		body, err := src.Range(w.s.ctx, 0, w.c.o.e.Size)
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
	return w.body, nil
}

// wanted counts n bytes that came, and tells whether a block is still wanted.
func (w *worker) wanted(b int64, n int) bool {
	c := w.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.s.f.ses != w.s || c.over {
		return false
	}
	c.sched.Received(c.clock(), w.s.id, int64(n))
	return b < 0 || !w.s.unwanted.Contains(b, b+1)
}

// read fills data with a block.
func (w *worker) read(body io.Reader, b int64, data []byte) error {
	for done := 0; done < len(data); {
		n, err := body.Read(data[done:min(len(data), done+readSize)])
		done += n
		w.at += int64(n)
		if !w.wanted(b, n) {
			return errUnwanted
		}
		switch {
		case done == len(data):
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
	return nil
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
