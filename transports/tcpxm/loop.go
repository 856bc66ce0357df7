package tcpxm

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/transports/internal/pace"
)

// Sizes of socket buffers that are asked for, in bytes. Ours: what comes in some 50 ms
// of a gigabit.
const (
	socketReadBuffer  = 8 << 20
	socketWriteBuffer = 4 << 20
)

// errorsAtOnce is how many errors in a row a socket may report before it is taken for
// broken and read only now and then.
const (
	errorsAtOnce = 100
	errorPause   = 10 * time.Millisecond
)

// core is what a loop runs: a session or a receiver.
type core interface {
	collect(now time.Duration, out *outbox)
	due(now time.Duration) time.Duration
}

// loop runs a core on sockets: one goroutine reads each socket, another looks after
// the time, and whoever has the turn does what is to be done.
type loop struct {
	core   core
	socket netx.BatchConn
	start  time.Time
	timer  pace.Timer
	turn   chan struct{} // holds the token of whoever has the turn; a lock, but virtual time can pass while waiting
	busy   sync.WaitGroup
	ended  chan struct{} // closed by stop

	// Guarded by the turn.
	out     outbox
	waiters []*waiter
	over    bool
}

// waiter is somebody who waits until something is true.
type waiter struct {
	ready func() bool
	done  chan struct{} // closed when it is
}

// newLoop begins with a loop; run starts it.
func newLoop(socket netx.BatchConn) *loop {
	_, system := socket.(*netx.UDPConn)
	return &loop{
		socket: socket, start: time.Now(), timer: pace.NewTimer(system), turn: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// run starts the loop of a core; take is called in turns for each datagram.
func (l *loop) run(c core, take func(now time.Duration, d *netx.Datagram, b []byte)) {
	l.core = c
	l.busy.Go(func() { l.read(l.socket, prepare(l.socket), take) })
	l.busy.Go(func() {
		for l.step(func(time.Duration) {}) {
			l.timer.Sleep()
		}
	})
}

// prepare sets a socket's options as far as it has them, and gives room to read.
func prepare(socket netx.BatchConn) []netx.Datagram {
	if s, ok := socket.(interface{ SetReadBuffer(int) error }); ok {
		_ = s.SetReadBuffer(socketReadBuffer) // what is granted must do
	}
	if s, ok := socket.(interface{ SetWriteBuffer(int) error }); ok {
		_ = s.SetWriteBuffer(socketWriteBuffer)
	}
	if s, ok := socket.(interface {
		SetFragmentation(netx.Fragmentation) error
	}); ok {
		// On a path that is narrower and does not say so pieces are better than nothing.
		_ = s.SetFragmentation(netx.Fragment)
	}
	entries, size := 64, datagramMax
	if s, ok := socket.(interface{ SetReceiveCoalescing(bool) error }); ok && s.SetReceiveCoalescing(true) == nil {
		entries, size = 16, netx.CoalescedSize
	}
	ds, room := make([]netx.Datagram, entries), make([]byte, entries*size)
	for i := range ds {
		ds[i].B = room[i*size : (i+1)*size : (i+1)*size]
	}
	return ds
}

// read takes what comes to a socket, until it is closed.
func (l *loop) read(socket netx.BatchConn, ds []netx.Datagram, take func(now time.Duration, d *netx.Datagram, b []byte)) {
	for failures := 0; ; {
		n, err := socket.ReadBatch(ds)
		if n <= 0 && errors.Is(err, net.ErrClosed) {
			return
		}
		if failures++; err == nil {
			failures = 0
		}
		if failures > errorsAtOnce { // others are of datagrams that could not be delivered
			select {
			case <-l.ended:
				return
			case <-time.After(errorPause):
			}
		}
		l.step(func(now time.Duration) {
			for i := range ds[:max(n, 0)] {
				d := &ds[i]
				b := d.B[:d.N]
				for d.Segment > 0 && len(b) > d.Segment {
					take(now, d, b[:d.Segment])
					b = b[d.Segment:]
				}
				take(now, d, b)
			}
		})
	}
}

// now is the time of the core.
func (l *loop) now() time.Duration { return time.Since(l.start) }

// step takes the turn, does f and what follows from it, and tells whether the loop
// goes on.
func (l *loop) step(f func(now time.Duration)) bool {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if l.over {
		return false
	}
	f(l.now())
	l.work()
	return true
}

// stepRounds is how often what is due at once is done before the turn ends.
const stepRounds = 16

// work does what is due, sends it, sets the timer, and wakes those that wait.
func (l *loop) work() {
	wait := time.Duration(0)
	for range stepRounds {
		now := l.now()
		l.core.collect(now, &l.out)
		l.flush()
		if wait = l.core.due(now) - l.now(); wait > 0 {
			break
		}
	}
	if wait > 0 {
		l.timer.Set(min(wait, time.Hour))
	} else {
		l.timer.Wake()
	}
	kept := l.waiters[:0]
	for _, w := range l.waiters {
		if w.ready() {
			close(w.done)
		} else {
			kept = append(kept, w)
		}
	}
	clear(l.waiters[len(kept):])
	l.waiters = kept
}

// flush sends. A datagram that the system refuses is lost like others.
func (l *loop) flush() {
	for ds := l.out.ds; len(ds) > 0; {
		n, err := l.socket.WriteBatch(ds)
		if err == nil {
			break
		}
		ds = ds[min(max(n, 0)+1, len(ds)):]
	}
	l.out.reset()
}

// wait waits until something of the core is true. ready is called in turns. Errors:
// the context's, net.ErrClosed.
func (l *loop) wait(ctx context.Context, ready func() bool) error {
	w := &waiter{ready: ready, done: make(chan struct{})}
	if !l.step(func(time.Duration) { l.waiters = append(l.waiters, w) }) {
		return net.ErrClosed
	}
	select {
	case <-w.done:
		return nil
	case <-l.ended:
		return net.ErrClosed
	case <-ctx.Done():
	}
	l.step(func(time.Duration) {
		for i, o := range l.waiters {
			if o == w {
				l.waiters = append(l.waiters[:i], l.waiters[i+1:]...)
				break
			}
		}
	})
	return ctx.Err()
}

// stop ends the loop after f, and waits for its goroutines.
func (l *loop) stop(f func(now time.Duration)) {
	l.turn <- struct{}{}
	first := !l.over
	if first {
		f(l.now())
		l.core.collect(l.now(), &l.out)
		l.flush()
		l.over = true
		close(l.ended)
	}
	<-l.turn
	if first {
		_ = l.socket.Close() // nothing was written that it could have lost
		l.timer.Wake()
	}
	l.busy.Wait()
	if first {
		l.timer.Close()
	}
}
