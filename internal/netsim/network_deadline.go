package netsim

import (
	"sync"
	"time"
)

// waiting is where the goroutines of one direction of a socket wait, under the
// network's lock, for something to change or a deadline to pass.
type waiting struct {
	cond     sync.Cond
	deadline time.Time
	timer    *time.Timer // wakes all at deadline
}

func (w *waiting) init(n *Network) { w.cond.L = &n.mu }

// expired tells whether the deadline has passed.
func (w *waiting) expired() bool { return !w.deadline.IsZero() && !time.Now().Before(w.deadline) }

// wait waits for wake, or returns at once when something has happened that may
// be what the caller waits for. The network is unlocked meanwhile, so what the
// caller knows may be old afterwards.
func (w *waiting) wait(n *Network) {
	if n.settle() {
		return
	}
	w.cond.Wait()
	n.advance(n.clock())
}

func (w *waiting) wake() { w.cond.Broadcast() }

// setDeadline implements the SetDeadline methods; the network is locked.
func (w *waiting) setDeadline(t time.Time) {
	w.deadline = t
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	if !t.IsZero() && !w.expired() {
		w.timer = time.AfterFunc(time.Until(t), func() {
			w.cond.L.Lock()
			w.wake()
			w.cond.L.Unlock()
		})
	}
	w.wake()
}

// stop ends the timer of a socket that is closed.
func (w *waiting) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.wake()
}
