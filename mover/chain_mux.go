package mover

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/wire"
)

// Channels of a connection that carries several links. Those from chanFirst on are
// between an agent that passes data on and the one behind it.
const (
	chanOwn     = 0 // between this agent's sink and who sends to it
	chanControl = 1 // what the director tells an agent about passing on
	chanFirst   = 2
)

// maxQueued bounds the bytes that wait in one channel for who reads it. Ours: the
// verdicts on all entries that may be outstanding take less.
const maxQueued = 64 << 20

// messageCost is what a message in a queue counts as besides its bytes: about what it
// takes in memory, so that very short ones do not take many times the bound.
const messageCost = 64

// mux carries several links over one connection: each message has the number of
// its channel in front. An empty message ends a channel. Messages for a channel
// that nobody has opened are dropped. Any goroutine may use it.
type mux struct {
	conn engine.Link
	got  atomic.Uint64 // messages that have come

	mu    sync.Mutex // guards what follows
	chans map[byte]*muxLink
	err   error // of the connection
	over  chan struct{}
}

func newMux(conn engine.Link) *mux {
	return &mux{conn: conn, chans: make(map[byte]*muxLink), over: make(chan struct{})}
}

// run takes messages apart until the connection ends.
func (m *mux) run() {
	err := error(nil)
	for err == nil {
		var b []byte
		if b, err = m.conn.Recv(); err != nil {
			break
		}
		m.got.Add(1)
		if len(b) == 0 {
			err = wire.ErrMalformed
			break
		}
		m.mu.Lock()
		l := m.chans[b[0]]
		m.mu.Unlock()
		if l != nil {
			err = l.put(b[1:])
		}
	}
	m.conn.Close()
	m.mu.Lock()
	m.err = err
	all := m.chans
	m.chans = nil
	m.mu.Unlock()
	close(m.over)
	for _, l := range all {
		l.end(err)
	}
}

// open makes the link of a channel. One that is opened after the connection has
// ended has ended, too.
func (m *mux) open(id byte) *muxLink {
	l := &muxLink{m: m, id: id}
	l.cond = sync.NewCond(&l.mu)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.chans == nil {
		l.err = m.err
		return l
	}
	m.chans[id] = l
	return l
}

// muxLink is one channel of a mux. It is an engine.Link.
type muxLink struct {
	m  *mux
	id byte

	mu     sync.Mutex // guards what follows
	cond   *sync.Cond
	queue  [][]byte
	queued int
	err    error // nothing comes behind what is queued
	closed bool  // here
}

var _ engine.Link = (*muxLink)(nil)

// put queues a message.
func (l *muxLink) put(b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.cond.Broadcast()
	switch {
	case l.err != nil:
	case len(b) == 0:
		l.err = io.EOF
	case l.queued+len(b)+messageCost > maxQueued:
		return wire.Failf(wire.ClassProtocol, "the other end sends without waiting")
	default:
		l.queue = append(l.queue, b)
		l.queued += len(b) + messageCost
	}
	return nil
}

// end lets no more come.
func (l *muxLink) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
	l.cond.Broadcast()
}

// Send implements engine.Link.
func (l *muxLink) Send(parts ...[]byte) error {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return io.ErrClosedPipe
	}
	return l.m.conn.Send(append([][]byte{{l.id}}, parts...)...)
}

// Recv implements engine.Link.
func (l *muxLink) Recv() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) == 0 && l.err == nil && !l.closed {
		l.cond.Wait()
	}
	if len(l.queue) > 0 && !l.closed {
		b := l.queue[0]
		l.queue = l.queue[1:]
		l.queued -= len(b) + messageCost
		return b, nil
	}
	if l.closed {
		return nil, io.ErrClosedPipe
	}
	return nil, l.err
}

// Close implements engine.Link: the other end hears of it. The connection and its
// other channels go on.
func (l *muxLink) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.cond.Broadcast()
	l.mu.Unlock()
	l.m.mu.Lock()
	if l.m.chans[l.id] == l {
		delete(l.m.chans, l.id)
	}
	l.m.mu.Unlock()
	_ = l.m.conn.Send([]byte{l.id}) // a dead connection has told already
	return nil
}
