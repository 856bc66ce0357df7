// Package pipe is the transport between two ends in one process: frames change
// hands without a copy and without a socket.
package pipe

import (
	"context"
	"net"
	"sync"
	"sync/atomic"

	"github.com/gomover/gomover/internal/stopwatch"
	"github.com/gomover/gomover/transports"
)

// Pair returns two endpoints that reach each other, and nobody else. Offers are
// empty and ignored.
func Pair() (a, b transports.Endpoint) {
	x, y := make(chan *stream), make(chan *stream)
	done := make(chan struct{})
	var once sync.Once
	end := func() { once.Do(func() { close(done) }) }
	return &endpoint{x, y, done, end}, &endpoint{y, x, done, end}
}

type endpoint struct {
	out  chan<- *stream
	in   <-chan *stream
	done chan struct{}
	end  func()
}

var _ transports.Endpoint = (*endpoint)(nil)

func (e *endpoint) Offer() transports.Offer { return transports.Offer{} }

func (e *endpoint) Dial(ctx context.Context, _ transports.Offer, label uint32) (transports.Stream, error) {
	ab, ba := newHalf(), newHalf()
	done := make(chan struct{})
	var once sync.Once
	end := func() { once.Do(func() { close(done) }) }
	mine := &stream{id: label, out: ab, in: ba, done: done, end: end}
	theirs := &stream{id: label, out: ba, in: ab, done: done, end: end}
	select {
	case e.out <- theirs:
		return mine, nil
	case <-e.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *endpoint) Accept(ctx context.Context) (transports.Stream, error) {
	select {
	case s := <-e.in:
		return s, nil
	case <-e.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *endpoint) Close() error { e.end(); return nil }

// half is one direction: the receiver offers its frame, the sender fills it by
// exchanging contents, and says how that went.
type half struct {
	want chan *transports.Frame
	full chan error // capacity 1: the sender, who has taken a frame, never waits
}

func newHalf() *half {
	return &half{want: make(chan *transports.Frame), full: make(chan error, 1)}
}

type stream struct {
	id      uint32
	out, in *half
	done    chan struct{}
	end     func()

	sent, recv         atomic.Int64 // bytes
	sendWait, recvWait stopwatch.Sum
}

var _ transports.Stream = (*stream)(nil)

func (s *stream) ID() uint32 { return s.id }

func (s *stream) Send(f *transports.Frame) error {
	n := len(f.Body())
	defer s.sendWait.End(s.sendWait.Begin(), 0)
	select {
	case <-s.done: // before a receiver who has not seen it yet
		return net.ErrClosed
	default:
	}
	select {
	case to := <-s.out.want:
		if n > to.Max() {
			s.end()
			s.out.full <- net.ErrClosed
			return net.ErrClosed
		}
		*f, *to = *to, *f
		s.out.full <- nil
		s.sent.Add(int64(n))
		return nil
	case <-s.done:
		return net.ErrClosed
	}
}

func (s *stream) Recv(f *transports.Frame) error {
	defer s.recvWait.End(s.recvWait.Begin(), 0)
	select {
	case <-s.done:
		return net.ErrClosed
	default:
	}
	select {
	case s.in.want <- f:
	case <-s.done:
		return net.ErrClosed
	}
	// The sender has f now and gives it back at once, whatever ends meanwhile: it
	// must not work on a frame whose owner has gone on.
	if err := <-s.in.full; err != nil {
		return err
	}
	s.recv.Add(int64(len(f.Body())))
	return nil
}

func (s *stream) Stats() transports.Stats {
	return transports.Stats{
		SentBytes: s.sent.Load(), RecvBytes: s.recv.Load(),
		SendBlocked: s.sendWait.Total(0), RecvBlocked: s.recvWait.Total(0),
	}
}

func (s *stream) Retune(transports.Settings) error { return nil }

func (s *stream) Close() error { s.end(); return nil }
