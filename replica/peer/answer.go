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

// request is what is asked for on a stream: bytes of an open file, of one that is
// named, or several of these.
type request struct {
	wire.Read
	file  *wire.Fetch // nil: an open one
	batch *wire.Batch // nil: one file
}

// maxNames bounds the names of all requests of one stream that wait, in bytes. Ours.
const maxNames = 4 << 20

// queue is the requests of one stream.
type queue struct {
	mu        sync.Mutex // guards what follows
	waiting   []request
	names     int    // bytes of their names
	now       uint32 // request that is being answered
	busy      bool
	cancelled map[uint32]bool // of those that wait or are being answered
	wake      chan struct{}   // something waits; capacity 1, closed by nobody
}

// put adds a request.
func (q *queue) put(r request) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= maxQueued || q.names > maxNames {
		return fmt.Errorf("%w: more than %d requests wait", wire.ErrMalformed, maxQueued)
	}
	q.names += r.nameLen()
	q.waiting = append(q.waiting, r)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

func (r *request) nameLen() int {
	switch {
	case r.file != nil:
		return len(r.file.Name)
	case r.batch != nil:
		n := 0
		for i := range r.batch.Files {
			n += len(r.batch.Files[i].Name) + wire.BatchFileLen
		}
		return n
	}
	return 0
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
func (q *queue) next(done <-chan struct{}) (r request, ok bool) {
	for {
		q.mu.Lock()
		if q.busy {
			delete(q.cancelled, q.now)
		}
		q.busy = len(q.waiting) > 0
		if q.busy {
			r, q.waiting = q.waiting[0], q.waiting[1:]
			q.now = r.ID
			q.names -= r.nameLen()
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
	f := transports.NewFrame(wire.MaxServeRequest)
	for st.Recv(f) == nil && q.take(f.Body()) == nil {
	}
	cancel()
	wg.Wait()
}

// take takes a frame of the client's.
func (q *queue) take(b []byte) error {
	if len(b) > 0 && b[0] == wire.FrameCancel {
		id, err := wire.ParseCancel(b)
		if err == nil {
			q.cancel(id)
		}
		return err
	}
	if len(b) > 0 && b[0] == wire.FrameFetch {
		m, err := wire.ParseFetch(b)
		if err != nil {
			return err
		}
		return q.put(request{Read: wire.Read{ID: m.ID, Offset: m.Offset, Length: m.Length, Block: m.Length}, file: &m})
	}
	if len(b) > 0 && b[0] == wire.FrameBatch {
		m, err := wire.ParseBatch(b)
		if err != nil {
			return err
		}
		return q.put(request{Read: wire.Read{ID: m.ID}, batch: &m})
	}
	r, err := wire.ParseRead(b)
	if err == nil {
		err = q.put(request{Read: r})
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
func (a *answerer) answer(r request) error {
	if r.file != nil {
		return a.named(&r)
	}
	if r.batch != nil {
		return a.batch(r.batch)
	}
	f, err := a.s.file(r.File)
	if err == nil {
		err = checkRead(&r.Read, f.e.Size)
	}
	if err != nil {
		return a.refuse(r.ID, err)
	}
	for off, end := r.Offset, r.Offset+r.Length; off < end; {
		n := min(end-off, readSize)
		if r.Block > 0 {
			n = min(end-off, r.Block)
		}
		data := a.room(n)
		if a.q.over() {
			return a.part(&wire.Piece{ID: r.ID, Offset: off, Last: true})
		}
		if off+n < end {
			f.Ahead(off+n, n)
		}
		if err := f.read(data, off); err != nil {
			return a.refuse(r.ID, err)
		}
		if over, err := a.block(&r.Read, f, off, data); over || err != nil {
			return err
		}
		off += n
	}
	return nil
}

// room gives n bytes to read into.
func (a *answerer) room(n int64) []byte {
	if int64(cap(a.buf)) < n {
		a.buf = make([]byte, n)
	}
	return a.buf[:n]
}

// named answers a request for a file that is not open.
func (a *answerer) named(r *request) error {
	if r.Offset%integrity.MinBlock != 0 {
		return a.refuse(r.ID, wire.Failf(wire.ClassProtocol, "no block begins at %d", r.Offset))
	}
	if a.q.over() {
		return a.part(&wire.Piece{ID: r.ID, Offset: r.Offset, Last: true})
	}
	f, err := a.s.named(r.file.Root, wire.BatchFile{Name: r.file.Name, Size: r.file.Size, ModTime: r.file.ModTime, Ino: r.file.Ino})
	if err != nil {
		return a.refuse(r.ID, err)
	}
	defer f.Close()
	data := a.room(r.Length)
	if next := r.Offset + r.Length; next < f.e.Size {
		f.Ahead(next, r.Length) // it is asked for here, or its sum is
	}
	if err := f.read(data, r.Offset); err != nil {
		return a.refuse(r.ID, err)
	}
	if r.file.SumOnly {
		return a.part(&wire.Piece{ID: r.ID, Offset: r.Offset, Last: true, Summed: true, Sum: integrity.Block(data, r.Offset, f.e.Size)})
	}
	_, err = a.block(&r.Read, f, r.Offset, data)
	return err
}

// named opens a file that must be what it was when it was listed.
func (s *Server) named(root int, m wire.BatchFile) (*file, error) {
	r, err := s.root(root)
	if err != nil {
		return nil, err
	}
	f, err := r.Open(m.Name)
	if err != nil {
		return nil, err
	}
	e, err := f.Stat()
	if err == nil && (e.Size != m.Size || e.ModTime != m.ModTime || m.Ino != 0 && e.Ino != m.Ino) {
		err = errChangedSince
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &file{ReadFile: f, e: e}, nil
}

// batch answers a request for several small files, as many in a frame as fit.
func (a *answerer) batch(m *wire.Batch) error {
	body := a.frame.Resize(wire.MaxServeFrame)
	first, at := 0, wire.GivenHead
	for i := range m.Files {
		if a.q.over() {
			wire.PutGivenHead(body, m.ID, first, true)
			a.frame.Resize(at)
			return a.st.Send(a.frame)
		}
		size := int(m.Files[i].Size)
		if m.SumOnly {
			size = 0
		}
		if at+max(wire.GivenFileHead+size, wire.MaxNotGiven) > len(body) {
			wire.PutGivenHead(body, m.ID, first, false)
			a.frame.Resize(at)
			if err := a.st.Send(a.frame); err != nil {
				return err
			}
			body = a.frame.Resize(wire.MaxServeFrame)
			first, at = i, wire.GivenHead
		}
		if sum, err := a.small(m, i, body[at+wire.GivenFileHead:]); err != nil {
			at += len(wire.AppendNotGiven(body[at:at], classOf(err), reason(err)))
		} else {
			wire.PutGivenFile(body[at:], sum, size)
			at += wire.GivenFileHead + size
		}
	}
	wire.PutGivenHead(body, m.ID, first, true)
	a.frame.Resize(at)
	return a.st.Send(a.frame)
}

// small reads a file of a batch into room, unless its sum alone is wanted.
func (a *answerer) small(m *wire.Batch, i int, room []byte) (sum integrity.Sum, err error) {
	f, err := a.s.named(m.Root, m.Files[i])
	if err != nil {
		return sum, err
	}
	defer f.Close()
	n := m.Files[i].Size
	if m.SumOnly {
		room = a.room(n)
	}
	if err := f.read(room[:n], 0); err != nil {
		return sum, err
	}
	return integrity.Whole(room[:n]), nil
}

// errChangedSince means that a file is not what it was when it was listed.
var errChangedSince = &wire.Fail{Class: wire.ClassChanged, Text: "it has changed since it was listed"}

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
