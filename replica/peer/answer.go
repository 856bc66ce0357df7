package peer

import (
	"context"
	"fmt"
	"sync"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// readSize is how much is read at once where no sums are wanted. Ours.
const readSize = 1 << 20

// queue is the requests of one stream.
type queue struct {
	mu        sync.Mutex // guards what follows
	waiting   []wire.Read
	now       uint32 // request that is being answered
	busy      bool
	cancelled map[uint32]bool // of those that wait or are being answered
	wake      chan struct{}   // something waits; capacity 1, closed by nobody
}

// put adds a request.
func (q *queue) put(r wire.Read) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= maxQueued {
		return fmt.Errorf("%w: more than %d requests wait", wire.ErrMalformed, maxQueued)
	}
	q.waiting = append(q.waiting, r)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// cancel takes a request back, if it is not answered yet.
func (q *queue) cancel(id uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	known := q.busy && q.now == id
	for i := range q.waiting {
		known = known || q.waiting[i].ID == id
	}
	if known {
		q.cancelled[id] = true
	}
}

// next waits for a request; false when done is closed.
func (q *queue) next(done <-chan struct{}) (r wire.Read, ok bool) {
	for {
		q.mu.Lock()
		if q.busy {
			delete(q.cancelled, q.now)
		}
		q.busy = len(q.waiting) > 0
		if q.busy {
			r, q.waiting = q.waiting[0], q.waiting[1:]
			q.now = r.ID
			q.mu.Unlock()
			return r, true
		}
		q.mu.Unlock()
		select {
		case <-q.wake:
		case <-done:
			return r, false
		}
	}
}

// over tells whether the request that is being answered was taken back.
func (q *queue) over() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.cancelled[q.now]
}

// Serve answers what is asked for on a stream until the stream or ctx ends, and
// closes it.
func (s *Server) Serve(ctx context.Context, st transports.Stream) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { st.Close() })()
	q := &queue{cancelled: make(map[uint32]bool), wake: make(chan struct{}, 1)}
	defer s.enter(st, q)()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		a := &answerer{s: s, st: st, q: q, frame: transports.NewFrame(wire.MaxServeFrame)}
		for {
			r, ok := q.next(ctx.Done())
			if !ok || a.answer(r) != nil {
				return
			}
		}
	})
	f := transports.NewFrame(maxRequest)
	for st.Recv(f) == nil && q.take(f.Body()) == nil {
	}
	cancel()
	wg.Wait()
}

// maxRequest is more than the longest frame of a client has, in bytes.
const maxRequest = 64

// take takes a frame of the client's.
func (q *queue) take(b []byte) error {
	if len(b) > 0 && b[0] == wire.FrameCancel {
		id, err := wire.ParseCancel(b)
		if err == nil {
			q.cancel(id)
		}
		return err
	}
	r, err := wire.ParseRead(b)
	if err == nil {
		err = q.put(r)
	}
	return err
}

// answerer sends the answers of one stream.
type answerer struct {
	s     *Server
	st    transports.Stream
	q     *queue
	frame *transports.Frame
	buf   []byte // what was read; as long as the longest block so far
}

// answer answers one request. Errors: those of the stream.
func (a *answerer) answer(r wire.Read) error {
	f, err := a.s.file(r.File)
	if err == nil {
		err = checkRead(&r, f.e.Size)
	}
	if err != nil {
		return a.refuse(r.ID, err)
	}
	for off, end := r.Offset, r.Offset+r.Length; off < end; {
		n := min(end-off, readSize)
		if r.Block > 0 {
			n = min(end-off, r.Block)
		}
		if int64(cap(a.buf)) < n {
			a.buf = make([]byte, n)
		}
		data := a.buf[:n]
		if a.q.over() {
			return a.part(&wire.Piece{ID: r.ID, Offset: off, Last: true})
		}
		if off+n < end {
			f.Ahead(off+n, n)
		}
		if err := f.read(data, off); err != nil {
			return a.refuse(r.ID, err)
		}
		if over, err := a.block(&r, f, off, data); over || err != nil {
			return err
		}
		off += n
	}
	return nil
}

// block sends what was read, in parts. over tells that the request was taken back.
func (a *answerer) block(r *wire.Read, f *file, off int64, data []byte) (over bool, err error) {
	var sum integrity.Sum
	if r.Block > 0 {
		sum = integrity.Block(data, off, f.e.Size)
	}
	for len(data) > 0 {
		if a.q.over() {
			return true, a.part(&wire.Piece{ID: r.ID, Offset: off, Last: true})
		}
		n := min(len(data), wire.MaxPiece)
		p := wire.Piece{ID: r.ID, Offset: off, Data: data[:n], Last: off+int64(n) == r.Offset+r.Length}
		if r.Block > 0 && n == len(data) {
			p.Summed, p.Sum = true, sum
		}
		if err := a.part(&p); err != nil {
			return false, err
		}
		data, off = data[n:], off+int64(n)
	}
	return false, nil
}

func (a *answerer) part(p *wire.Piece) error {
	b := a.frame.Resize(p.HeadLen() + len(p.Data))
	p.Put(b)
	copy(b[p.HeadLen():], p.Data)
	return a.st.Send(a.frame)
}

func (a *answerer) refuse(id uint32, err error) error {
	b := wire.Refused{ID: id, Class: classOf(err), Text: reason(err)}.AppendFrame(nil)
	copy(a.frame.Resize(len(b)), b)
	return a.st.Send(a.frame)
}

// checkRead tells what is wrong with a request for a part of a file of size bytes.
func checkRead(r *wire.Read, size int64) error {
	switch end := r.Offset + r.Length; {
	case end > size:
		return wire.Failf(wire.ClassProtocol, "bytes to %d were asked for, it has %d", end, size)
	case r.Block > 0 && (!integrity.ValidBlockSize(r.Block) || r.Offset%r.Block != 0 || end%r.Block != 0 && end != size):
		return wire.Failf(wire.ClassProtocol, "bytes %d to %d are no blocks of %d bytes", r.Offset, end, r.Block)
	}
	return nil
}
