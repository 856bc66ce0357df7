package arrivals

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/gomover/gomover/transports"
)

// stream is one that knows whether it was closed.
type stream struct {
	transports.Stream
	n      int
	closed bool
}

func (s *stream) Close() error {
	s.closed = true
	return nil
}

// TestQueue: streams come in their order; those that nobody takes, has room for, or
// wants any more are closed.
func TestQueue(t *testing.T) {
	q := New()
	var all []*stream
	for n := range most + 10 {
		s := &stream{n: n}
		all = append(all, s)
		q.Put(s)
	}
	for n := range 2 {
		s, err := q.Accept(t.Context())
		if err != nil || s.(*stream).n != n {
			t.Fatalf("accepted %v, %v; want number %d", s, err, n)
		}
	}
	stop := errors.New("stopped")
	if err := q.Close(func() error { return stop }); err != stop {
		t.Errorf("closing: %v, want what stopping said", err)
	}
	if err := q.Close(func() error { t.Error("stopped again"); return nil }); err != nil {
		t.Errorf("closing again: %v", err)
	}
	late := new(stream)
	q.Put(late)
	for _, s := range append(all, late) {
		if s.closed != (s.n >= 2 || s == late) {
			t.Errorf("stream %d is closed: %t", s.n, s.closed)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 { // whichever of several reasons there are
		if s, err := q.Accept(gone); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("accepted %v, %v", s, err)
		}
	}
	if !errors.Is(context.Cause(q.Life()), net.ErrClosed) {
		t.Errorf("life ended for %v", context.Cause(q.Life()))
	}
}

// TestEnds: whoever waits is told why it is in vain, and Close waits for what brings
// streams.
func TestEnds(t *testing.T) {
	q := New()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	errs := make(chan error)
	go func() {
		_, err := q.Accept(ctx)
		errs <- err
	}()
	cancel(why)
	if err := <-errs; !errors.Is(err, why) {
		t.Errorf("error %v, want %v", err, why)
	}
	go func() {
		_, err := q.Accept(t.Context())
		errs <- err
	}()
	go func() {
		errs <- q.Close(func() error { return nil })
	}()
	got := []error{<-errs, <-errs}
	if !errors.Is(errors.Join(got...), net.ErrClosed) {
		t.Errorf("errors %v, want net.ErrClosed of who waited", got)
	}

	q = New()
	ended := false
	q.Go(func() {
		<-q.Life().Done()
		s := new(stream)
		q.Put(s)
		ended = s.closed
	})
	if err := q.Close(func() error { return nil }); err != nil || !ended {
		t.Errorf("closed, %v, before all has ended: %t", err, !ended)
	}
}
