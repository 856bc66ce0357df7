package peer

import (
	"context"
	"io"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/wire"
)

// Lane is one stream on which parts of a file are asked for.
type Lane struct {
	f *File
	s *stream
}

// Lane picks the stream that the fewest use. The caller closes the lane.
//
// Errors: ErrNoStream.
func (f *File) Lane() (*Lane, error) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	var best *stream
	for _, s := range f.c.streams {
		if best == nil || s.leaving == best.leaving && s.lanes < best.lanes || best.leaving && !s.leaving {
			best = s
		}
	}
	if best == nil {
		return nil, ErrNoStream
	}
	best.lanes++
	return &Lane{f, best}, nil
}

// Close lets others have the stream.
func (l *Lane) Close() {
	l.f.c.mu.Lock()
	defer l.f.c.mu.Unlock()
	l.s.lanes--
}

// Range asks for n bytes from off on, n >= 1. With block not 0 the bytes are whole
// blocks of that length, and their sums come with them. What is asked for on one
// lane comes one after the other.
//
// Errors: ErrNoStream. All others are those of Body.Read.
func (l *Lane) Range(ctx context.Context, off, n, block int64) (*Body, error) {
	c := l.f.c
	c.mu.Lock()
	c.next++
	id := c.next
	c.mu.Unlock()
	b := newBody(ctx, l.s, wire.Read{ID: id, File: l.f.id, Offset: off, Length: n, Block: block})
	if !l.s.ask(b) {
		return nil, ErrNoStream
	}
	return b, nil
}

// Range is that of a lane for one request.
func (f *File) Range(ctx context.Context, off, n, block int64) (*Body, error) {
	l, err := f.Lane()
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.Range(ctx, off, n, block)
}

// mostFetches is how many requests for files that are not open, and how many for the
// sums of such, are under way at once. Ours: one stream takes as many of both, and some
// that were taken back.
const mostFetches = 240

// quickSum is of how many bytes a sum is found at once. Ours.
const quickSum = 256 << 10

// Fetch fills data with bytes of a file that is not open, and gives the sum that the
// server says they have; m.Length is as long. came is told of bytes as they come.
// With m.SumOnly there are no data; sums that take a while to find are asked for inside
// the link, so that they and bytes do not wait for each other. It waits when too much is asked for at once.
//
// Errors: Refused, ErrNoStream, ErrBreach, the cause of the context's end, those of
// the stream.
func (c *Client) Fetch(ctx context.Context, m wire.Fetch, data []byte, came func(n int)) (sum integrity.Sum, err error) {
	s, id, off, err := c.turn(ctx, m.SumOnly, m.Length)
	if err != nil {
		return sum, err
	}
	defer off()
	m.ID = id
	b := newBody(ctx, s, wire.Read{ID: m.ID, Offset: m.Offset, Length: m.Length})
	b.file = &m
	defer b.Close()
	if !s.ask(b) {
		return sum, ErrNoStream
	}
	for done := 0; ; {
		n, err := b.Read(data[done:])
		if done += n; n > 0 {
			came(n)
		}
		if err == io.EOF || err == nil && done == len(data) {
			break
		}
		if err != nil {
			return sum, err
		}
	}
	<-b.done // nothing is behind what was read
	if b.frame != nil {
		s.recycle(b.frame)
		b.frame = nil
	}
	sum, ok := b.Sum(m.Offset)
	if !ok {
		return sum, io.ErrUnexpectedEOF
	}
	return sum, nil
}

// turn waits until one more may be asked for files that are not open, n bytes or their
// sums, and gives a stream for it and the number of the request. The caller calls off
// when it is answered.
func (c *Client) turn(ctx context.Context, sums bool, n int64) (s *stream, id uint32, off func(), err error) {
	slots := c.fetches
	if sums {
		slots = c.sums
	}
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return nil, 0, nil, context.Cause(ctx)
	case <-c.done:
		return nil, 0, nil, c.over()
	}
	c.mu.Lock()
	c.next++
	id = c.next
	c.mu.Unlock()
	s = c.pick(sums && n > quickSum)
	if s == nil && sums {
		s = c.insideStream()
	}
	if s == nil {
		<-slots
		return nil, 0, nil, ErrNoStream
	}
	return s, id, func() { <-slots }, nil
}

// pick is the stream on which the fewest requests wait; for sums the one inside the
// link. nil: there is none.
func (c *Client) pick(sums bool) (best *stream) {
	if sums {
		return c.insideStream()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	least := 0
	for _, s := range c.streams {
		if n, ok := s.load(); ok && (best == nil || s.leaving == best.leaving && n < least || best.leaving && !s.leaving) {
			best, least = s, n
		}
	}
	return best
}
