package peer

import (
	"fmt"
	"sync"
	"time"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// spareFrames is how many frames a stream keeps for use again.
const spareFrames = 16

// pending is a request and its answer. All but number and request are called by the
// goroutine that receives.
type pending interface {
	number() uint32
	// request is the frame that asks for it.
	request() []byte
	// take uses a frame of the answer, which it may keep, and tells whether it was the
	// last one. Errors: what must not come.
	take(f *transports.Frame) (kept, last bool, err error)
	// finish says that nothing more comes, and why if that is not the end. It is called
	// once, by whoever ends the stream if that comes first.
	finish(err error)
}

// stream is the client's end of a stream.
type stream struct {
	st   transports.Stream
	free chan *transports.Frame // frames to receive into; has room for spareFrames

	lanes   int  // who uses it; guarded by the client's mutex
	leaving bool // nothing more is to be asked for on it; guarded by the client's mutex

	mu    sync.Mutex    // guards what follows
	reqs  []pending     // asked for and not answered, in the order of asking
	out   [][]byte      // frames to be sent
	moved time.Time     // when something came last, or was asked for after a pause
	err   error         // why the stream is over
	wake  chan struct{} // out has something, or err is set; capacity 1, closed by nobody
}

func newStream(st transports.Stream) *stream {
	return &stream{st: st, free: make(chan *transports.Frame, spareFrames), wake: make(chan struct{}, 1)}
}

// load is how many requests are not answered, and whether more can be made.
func (s *stream) load() (n int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.reqs), s.err == nil && len(s.reqs) < maxQueued
}

// stalled tells whether nothing has come for limit of what was asked for.
func (s *stream) stalled(limit time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err == nil && len(s.reqs) > 0 && time.Since(s.moved) > limit
}

// ask asks for a body; false when the stream is over.
func (s *stream) ask(b pending) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || len(s.reqs) >= maxQueued {
		return false
	}
	if len(s.reqs) == 0 {
		s.moved = time.Now()
	}
	s.reqs = append(s.reqs, b)
	s.sendLocked(b.request())
	return true
}

// cancel takes a request back that is not answered.
func (s *stream) cancel(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.sendLocked(wire.AppendCancel(nil, id))
	}
}

func (s *stream) sendLocked(frame []byte) {
	s.out = append(s.out, frame)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run sends and receives until the stream is over, and closes it.
func (s *stream) run() {
	var wg sync.WaitGroup
	wg.Go(s.send)
	for {
		f := s.frame()
		err := s.st.Recv(f)
		taken := false
		if err == nil {
			taken, err = s.take(f)
		}
		if err != nil {
			s.end(err)
			break
		}
		if !taken {
			s.recycle(f)
		}
	}
	wg.Wait()
}

// frame gives a frame to receive into.
func (s *stream) frame() *transports.Frame {
	select {
	case f := <-s.free:
		return f
	default:
		return transports.NewFrame(wire.MaxServeFrame)
	}
}

// recycle takes a frame that nobody needs any more.
func (s *stream) recycle(f *transports.Frame) {
	select {
	case s.free <- f:
	default:
	}
}

// send sends what is to be sent.
func (s *stream) send() {
	f := transports.NewFrame(wire.MaxServeRequest)
	for range s.wake {
		s.mu.Lock()
		out, err := s.out, s.err
		s.out = nil
		s.mu.Unlock()
		for _, b := range out {
			copy(f.Resize(len(b)), b)
			if err == nil {
				err = s.st.Send(f)
			}
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

// end ends the stream and whatever was asked for on it.
func (s *stream) end(err error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = err
	reqs := s.reqs
	s.reqs, s.out = nil, nil
	select {
	case s.wake <- struct{}{}:
	default:
	}
	s.mu.Unlock()
	s.st.Close()
	for _, b := range reqs {
		b.finish(fmt.Errorf("a data connection ended: %w", err))
	}
}

// head is the request that is answered now; nil if there is none.
func (s *stream) head() pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.reqs) == 0 {
		return nil
	}
	return s.reqs[0]
}

// came notes that something came, and whether it was the end of the first request. It is
// false when the stream is over: then that request has ended with it.
func (s *stream) came(all bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return false
	}
	s.moved = time.Now()
	if all {
		s.reqs = s.reqs[1:]
	}
	return true
}

// take hands a frame to the one who asked for it, who may keep it.
func (s *stream) take(f *transports.Frame) (kept bool, err error) {
	r := s.head()
	if r == nil || len(f.Body()) == 0 {
		return false, ErrBreach
	}
	if f.Body()[0] == wire.FrameRefused {
		m, err := wire.ParseRefusedFrame(f.Body())
		if err != nil || m.ID != r.number() {
			return false, ErrBreach
		}
		if s.came(true) {
			r.finish(&Refused{m.Class, m.Text})
		}
		return false, nil
	}
	kept, last, err := r.take(f)
	if err != nil {
		return false, err
	}
	if s.came(last) && last {
		r.finish(nil)
	}
	return kept, nil
}
