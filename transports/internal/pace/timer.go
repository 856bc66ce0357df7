package pace

import (
	"sync"
	"time"
)

// coarseGrain is how late timers of the Go runtime may be, where nothing better
// is known: epoll_wait(2), on which they sleep on Linux, counts milliseconds.
const coarseGrain = 1100 * time.Microsecond

// Timer lets one goroutine wait for a while or until others wake it. It costs no
// thread and does not spin.
type Timer interface {
	// Wait is Set and Sleep. If Wake was called since the last Sleep, or Close ever,
	// it returns at once. One goroutine at a time may wait.
	Wait(d time.Duration)
	// Set has the Sleep that goes on, or else the next one, end after that long,
	// whatever was set before; d is above 0. Nobody is woken by it. Any goroutine
	// may call it, at any time.
	Set(d time.Duration)
	// Sleep waits for the time that was set, or until Wake. It may return early.
	// One goroutine at a time may sleep.
	Sleep()
	// Wake ends the Sleep that goes on, or else the next one. It never waits. Any
	// goroutine may call it, at any time.
	Wake()
	// Grain is how late Wait is to be expected on a machine that is not busy; see
	// [Quantum].
	Grain() time.Duration
	// Close ends the Wait that goes on, and gives back what the timer holds. Any
	// goroutine may call it, more than once.
	Close()
}

// NewTimer makes a timer. A fine one is one of the system's where there is such a
// thing, late by tens of microseconds instead of a millisecond; it knows nothing
// of the virtual time of tests. Where there is none, or the system refuses it,
// it is as the others.
func NewTimer(fine bool) Timer {
	if fine {
		if t := newFine(); t != nil {
			return t
		}
	}
	t := &coarse{timer: time.NewTimer(time.Hour), wake: make(chan struct{}, 1), closed: make(chan struct{})}
	t.timer.Stop()
	return t
}

// coarse is a timer of the Go runtime.
type coarse struct {
	timer  *time.Timer
	wake   chan struct{} // room for one, so that nobody waits to wake
	closed chan struct{} // closed by Close
	once   sync.Once
}

func (t *coarse) Wait(d time.Duration) {
	t.Set(d)
	t.Sleep()
	t.timer.Stop()
}

func (t *coarse) Set(d time.Duration) { t.timer.Reset(max(d, 0)) }

func (t *coarse) Sleep() {
	select {
	case <-t.wake:
	case <-t.timer.C:
	case <-t.closed:
	}
}

func (t *coarse) Wake() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *coarse) Grain() time.Duration { return coarseGrain }

func (t *coarse) Close() { t.once.Do(func() { close(t.closed) }) }
