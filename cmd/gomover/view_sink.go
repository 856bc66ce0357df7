package main

import (
	"io"
	"sync"
	"time"
)

// viewSinkBytes is how much text may wait for a slow reader before whoever
// records more is held back.
//
// Unit: bytes. Source: ours; some ten thousand lines, so that only a reader that
// has stopped reading is noticed by the transfer.
const viewSinkBytes = 4 << 20

// viewSink writes text from its own goroutine, so that recording an event costs
// no system call. What waits is written in one call: no line is held back, and
// many files per second still cost few writes.
//
// After a write error, such as a reader that has gone away, text is dropped and
// the job goes on.
type viewSink struct {
	w    io.Writer
	cond *sync.Cond    // on mu
	done chan struct{} // closed by run when nothing will be written any more

	mu     sync.Mutex // guards all below, and what callers of put keep for their append functions
	buf    []byte     // text that waits
	closed bool       // nothing more is accepted
	err    error      // first write error
}

// newViewSink starts a sink; Close ends it.
func newViewSink(w io.Writer) *viewSink {
	s := &viewSink{w: w, done: make(chan struct{})}
	s.cond = sync.NewCond(&s.mu)
	go s.run()
	return s
}

// put appends text through add, which gets the waiting text and returns it with
// more at its end; it runs under the sink's lock, so it may also change what the
// caller numbers by it. Blocks while too much waits.
func (s *viewSink) put(add func(buf []byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.buf) >= viewSinkBytes && s.err == nil && !s.closed {
		s.cond.Wait()
	}
	if s.closed {
		return
	}
	s.buf = add(s.buf)
	if s.err != nil {
		s.buf = s.buf[:0]
		return
	}
	if len(s.buf) > 0 {
		s.cond.Broadcast()
	}
}

// run writes what waits until the sink is closed.
func (s *viewSink) run() {
	defer close(s.done)
	var spare []byte
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for len(s.buf) == 0 && !s.closed {
			s.cond.Wait()
		}
		if len(s.buf) == 0 {
			return
		}
		text := s.buf
		s.buf = spare[:0]
		s.cond.Broadcast()
		err := s.err
		s.mu.Unlock()
		if err == nil {
			_, err = s.w.Write(text)
		}
		s.mu.Lock()
		if err != nil && s.err == nil {
			s.err = err
			s.cond.Broadcast()
		}
		spare = text
	}
}

// Err is the first error of a write, or nil.
func (s *viewSink) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close accepts no more and waits until all is written, at most limit; 0 waits
// for as long as the reader takes. Closing twice is allowed. The error is that of
// the first write that did not work.
func (s *viewSink) Close(limit time.Duration) error {
	s.mu.Lock()
	s.closed = true
	s.cond.Broadcast()
	s.mu.Unlock()
	if limit <= 0 {
		<-s.done
		return s.Err()
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-s.done:
	case <-timer.C:
	}
	return s.Err()
}
