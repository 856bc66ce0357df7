package peer

import (
	"context"
	"io"
	"sync"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// Body is the answer to a request for a range. One goroutine reads it.
type Body struct {
	s    *stream
	r    wire.Read
	file *wire.Fetch // instead of r, which has its number and range; nil: r

	at int64 // how far it was received; the stream's

	in     chan *transports.Frame // what was received. The capacity keeps the stream going while a block is written; closed by nobody
	done   chan struct{}          // closed when nothing more comes
	err    error                  // why; set before done is closed
	closed chan struct{}          // closed by Close
	shut   sync.Once
	stop   <-chan struct{} // of the context it was asked for with
	cause  func() error

	// The reader's.
	frame *transports.Frame // of rest; nil: none
	rest  []byte
	sums  map[int64]integrity.Sum // by the offset of the block
	given int64                   // offset of the next byte to give
}

var _ pending = (*Body)(nil)

func newBody(ctx context.Context, s *stream, r wire.Read) *Body {
	return &Body{s: s, r: r, at: r.Offset, given: r.Offset, in: make(chan *transports.Frame, 2), done: make(chan struct{}), closed: make(chan struct{}),
		stop: ctx.Done(), cause: func() error { return context.Cause(ctx) }}
}

func (b *Body) number() uint32 { return b.r.ID }

// request is the frame that asks for it.
func (b *Body) request() []byte {
	if b.file != nil {
		return b.file.Append(nil)
	}
	return b.r.Append(nil)
}

func (b *Body) end() int64 { return b.r.Offset + b.r.Length }

// fits tells whether a part may come now.
func (b *Body) fits(p *wire.Piece) bool {
	if p.ID != b.r.ID || p.Offset != b.at {
		return false
	}
	to := b.at + int64(len(p.Data))
	if b.file != nil && b.file.SumOnly {
		return len(p.Data) == 0 && p.Last && (p.Summed || b.isClosed())
	}
	if len(p.Data) == 0 {
		return p.Last && !p.Summed && b.isClosed() // the end of what was taken back
	}
	if b.file != nil {
		return to <= b.end() && p.Last == (to == b.end()) && p.Summed == p.Last
	}
	summed := b.r.Block > 0 && (to%b.r.Block == 0 || to == b.end())
	return to <= b.end() && p.Last == (to == b.end()) && p.Summed == summed && (b.r.Block == 0 || b.at/b.r.Block == (to-1)/b.r.Block)
}

func (b *Body) isClosed() bool {
	select {
	case <-b.closed:
		return true
	default:
		return false
	}
}

// take implements pending.
func (b *Body) take(f *transports.Frame) (kept, last bool, err error) {
	p, err := wire.ParsePiece(f.Body())
	if err != nil || !b.fits(&p) {
		return false, false, ErrBreach
	}
	n := int64(len(p.Data))
	b.at += n
	if n > 0 || p.Summed {
		kept = b.deliver(f)
	}
	return kept, p.Last, nil
}

// deliver hands a frame to the reader, or drops it when there is none any more.
func (b *Body) deliver(f *transports.Frame) (taken bool) {
	select {
	case b.in <- f:
		return true
	case <-b.closed:
		return false
	}
}

// finish says that nothing more comes.
func (b *Body) finish(err error) {
	b.err = err
	close(b.done)
}

// Read gives the next bytes.
//
// Errors: io.EOF after the last one; Refused; the cause of the context's end; those
// of the stream, after which asking on another one may work.
func (b *Body) Read(p []byte) (int, error) {
	for len(b.rest) == 0 {
		if err := b.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	b.given += int64(n)
	return n, nil
}

// next takes the next frame.
func (b *Body) next() error {
	if b.frame != nil {
		b.s.recycle(b.frame)
		b.frame = nil
	}
	select {
	case f := <-b.in:
		return b.use(f)
	default:
	}
	select {
	case f := <-b.in:
		return b.use(f)
	case <-b.stop:
		return b.cause()
	case <-b.done:
		select {
		case f := <-b.in: // came before the end
			return b.use(f)
		default:
		}
		switch {
		case b.err != nil:
			return b.err
		case b.given == b.end(), b.file != nil && b.file.SumOnly:
			return io.EOF
		}
		return io.ErrUnexpectedEOF
	}
}

// use begins to give a frame.
func (b *Body) use(f *transports.Frame) error {
	p, err := wire.ParsePiece(f.Body())
	if err != nil {
		return err // it was parsed when it came
	}
	b.frame, b.rest = f, p.Data
	if p.Summed {
		if b.sums == nil {
			b.sums = make(map[int64]integrity.Sum)
		}
		off := b.r.Offset
		if b.file == nil {
			off = p.Offset / b.r.Block * b.r.Block
		}
		b.sums[off] = p.Sum
	}
	return nil
}

// Sum gives what the server says is the sum of the block that begins at off, once
// all of the block was read; it is given once.
func (b *Body) Sum(off int64) (integrity.Sum, bool) {
	sum, ok := b.sums[off]
	delete(b.sums, off)
	return sum, ok
}

// Close takes back what has not come.
func (b *Body) Close() error {
	b.shut.Do(func() {
		close(b.closed)
		select {
		case <-b.done:
		default:
			b.s.cancel(b.r.ID)
		}
	})
	return nil
}
