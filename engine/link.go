package engine

import (
	"io"
	"sync"

	"github.com/gomover/gomover/internal/stopwatch"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// A Link carries messages between a source and a sink, whole and in order. Any
// goroutine may send; one receives. framing.Conn is one.
type Link interface {
	// Send sends one message made of parts. It may block while the other end
	// is slow. It keeps none of the slices.
	Send(parts ...[]byte) error
	// Recv returns the next message; the slice belongs to the caller.
	Recv() ([]byte, error)
	Close() error
}

// MemoryLink returns the two ends of a link within one process.
func MemoryLink() (a, b Link) {
	x, y := make(chan []byte, 64), make(chan []byte, 64)
	done := make(chan struct{})
	var once sync.Once
	end := func() { once.Do(func() { close(done) }) }
	return &memLink{x, y, done, end}, &memLink{y, x, done, end}
}

type memLink struct {
	out  chan<- []byte
	in   <-chan []byte
	done chan struct{} // closed by whichever end closes first
	end  func()
}

func (l *memLink) Send(parts ...[]byte) error {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	select {
	case <-l.done:
		return io.ErrClosedPipe
	default:
	}
	select {
	case l.out <- b:
		return nil
	case <-l.done:
		return io.ErrClosedPipe
	}
}

func (l *memLink) Recv() ([]byte, error) {
	// What was sent before the close is still delivered.
	select {
	case b := <-l.in:
		return b, nil
	default:
	}
	select {
	case b := <-l.in:
		return b, nil
	case <-l.done:
		select {
		case b := <-l.in:
			return b, nil
		default:
			return nil, io.EOF
		}
	}
}

func (l *memLink) Close() error { l.end(); return nil }

// inbandID is the number of the stream that runs inside the link. Dialled
// streams have numbers from 1.
const inbandID = 0

// inband is the data stream inside a link: for a few bytes at the start, and
// for all when no other way exists.
type inband struct {
	link Link
	in   chan []byte // frames from the link's reader; closed by nobody
	done chan struct{}
	once sync.Once

	mu   sync.Mutex // guards sent
	sent int64

	sending, receiving stopwatch.Sum // waiting for the link
}

func newInband(l Link) *inband {
	// The small capacity decouples the link's reader from the disk a little;
	// beyond it the reader waits, and with it the other end.
	return &inband{link: l, in: make(chan []byte, 4), done: make(chan struct{})}
}

var _ transports.Stream = (*inband)(nil)

func (s *inband) ID() uint32 { return inbandID }

func (s *inband) Send(f *transports.Frame) error {
	select {
	case <-s.done:
		return io.ErrClosedPipe
	default:
	}
	s.mu.Lock()
	s.sent += int64(len(f.Body()))
	s.mu.Unlock()
	defer s.sending.End(s.sending.Begin(), 0)
	return s.link.Send([]byte{byte(wire.KindData)}, f.Body())
}

func (s *inband) Recv(f *transports.Frame) error {
	start := s.receiving.Begin()
	select {
	case b := <-s.in:
		s.receiving.End(start, 0)
		if len(b) > f.Max() {
			return wire.ErrMalformed
		}
		copy(f.Resize(len(b)), b)
		return nil
	case <-s.done:
		s.receiving.End(start, 0)
		return io.EOF
	}
}

// deliver hands a frame from the link to Recv.
func (s *inband) deliver(b []byte) {
	select {
	case s.in <- b:
	case <-s.done:
	}
}

func (s *inband) Stats() transports.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return transports.Stats{SentBytes: s.sent, SendBlocked: s.sending.Total(0), RecvBlocked: s.receiving.Total(0)}
}

func (s *inband) Retune(transports.Settings) error { return nil }

func (s *inband) Close() error {
	s.once.Do(func() { close(s.done) })
	return nil
}
