package peer

import (
	"io"
	"sync"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// A Link carries messages between the two ends, whole and in order. Any goroutine
// may send; one receives.
type Link interface {
	// Send sends one message made of parts, of which it keeps nothing.
	Send(parts ...[]byte) error
	// Recv returns the next message; the slice belongs to the caller.
	Recv() ([]byte, error)
	Close() error
}

// inside is a stream that runs in messages of a link.
type inside struct {
	link Link
	in   chan []byte   // frames from the link's reader; closed by nobody. The capacity lets it go on to the next message
	done chan struct{} // closed by Close
	end  func()
}

var _ transports.Stream = (*inside)(nil)

func newInside(l Link) *inside {
	s := &inside{link: l, in: make(chan []byte, 2), done: make(chan struct{})}
	s.end = sync.OnceFunc(func() { close(s.done) })
	return s
}

// deliver hands a frame from the link to Recv. It waits when nobody takes it, and
// with it all of the link.
func (s *inside) deliver(b []byte) {
	select {
	case s.in <- b:
	case <-s.done:
	}
}

// ID implements transports.Stream.
func (*inside) ID() uint32 { return 0 }

// Send implements transports.Stream.
func (s *inside) Send(f *transports.Frame) error {
	select {
	case <-s.done:
		return io.ErrClosedPipe
	default:
		return s.link.Send([]byte{byte(wire.KindData)}, f.Body())
	}
}

// Recv implements transports.Stream.
func (s *inside) Recv(f *transports.Frame) error {
	select {
	case b := <-s.in:
		if len(b) > f.Max() {
			return wire.ErrMalformed
		}
		copy(f.Resize(len(b)), b)
		return nil
	case <-s.done:
		return io.EOF
	}
}

// Stats implements transports.Stream.
func (*inside) Stats() transports.Stats { return transports.Stats{Transport: "ssh"} }

// Retune implements transports.Stream.
func (*inside) Retune(transports.Settings) error { return nil }

// Close implements transports.Stream.
func (s *inside) Close() error {
	s.end()
	return nil
}
