package netsim

import (
	"net"
	"os"
	"sync"
	"time"
)

// ends are the two sides of a socket, reading and writing: who waits there, until
// when, and whether the program has closed the socket.
type ends struct {
	n    *Network
	whom net.OpError // Net, Source and Addr of the socket's errors

	// Guarded by the network's lock.
	closed      bool
	read, write waiting
}

func (e *ends) init(n *Network, network string, local, remote net.Addr) {
	e.n, e.whom = n, net.OpError{Net: network, Source: local, Addr: remote}
	e.read.init(n)
	e.write.init(n)
}

// fail is the error of an operation.
func (e *ends) fail(op string, err error) error {
	failed := e.whom
	failed.Op, failed.Err = op, err
	return &failed
}

// usable is why nobody may wait at a side any longer, or nil.
func (e *ends) usable(side *waiting) error {
	switch {
	case e.closed:
		return net.ErrClosed
	case side.expired():
		return os.ErrDeadlineExceeded
	}
	return nil
}

// shut wakes all who wait, and refuses those who come later.
func (e *ends) shut() {
	e.closed = true
	e.read.stop()
	e.write.stop()
}

// SetDeadline implements net.Conn and net.PacketConn.
func (e *ends) SetDeadline(t time.Time) error { return e.setDeadline(t, &e.read, &e.write) }

// SetReadDeadline implements net.Conn and net.PacketConn.
func (e *ends) SetReadDeadline(t time.Time) error { return e.setDeadline(t, &e.read) }

// SetWriteDeadline implements net.Conn and net.PacketConn.
func (e *ends) SetWriteDeadline(t time.Time) error { return e.setDeadline(t, &e.write) }

func (e *ends) setDeadline(t time.Time, of ...*waiting) error {
	e.n.lock()
	defer e.n.unlock()
	if e.closed {
		return e.fail("set", net.ErrClosed)
	}
	for _, w := range of {
		w.setDeadline(t)
	}
	return nil
}

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
