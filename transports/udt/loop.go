package udt

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/gomover/gomover/internal/netx"
)

// timerSlack is by how much the timer may be early.
const timerSlack = 20 * time.Microsecond

// finishRounds is how often whoever has the turn works for others before the loop
// does: the reader has to read, and writers want to return.
const finishRounds = 4

// unset is an instant that was not set.
const unset time.Duration = -1

// batch is what one call reads.
type batch struct {
	ds []netx.Datagram
	n  int
}

func newBatch(entries, size int) *batch {
	b := &batch{ds: make([]netx.Datagram, entries)}
	room := make([]byte, entries*size)
	for i := range b.ds {
		b.ds[i].B = room[i*size : (i+1)*size : (i+1)*size]
	}
	return b
}

// read takes what comes, until the socket is closed. It does all that follows
// from it: to wake another goroutine for that would cost more than the work.
func (e *Endpoint) read(b *batch) {
	defer close(e.quiet)
	for failed := 0; ; {
		n, err := e.socket.ReadBatch(b.ds)
		if n <= 0 && (errors.Is(err, net.ErrClosed) || e.isClosed()) {
			return
		}
		b.n = max(n, 0) // other errors are of datagrams that could not be delivered
		if failed++; err == nil {
			failed = 0
		}
		if failed > errorsAtOnce { // or of the socket, and may last
			time.Sleep(errorPause)
		}
		e.turns <- struct{}{}
		e.turn.take(b)
		e.finish()
	}
}

func (e *Endpoint) isClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed && len(e.conns) == 0
}

// turn is what the packets and timers of all connections share. It belongs to the
// goroutine that has put its token into Endpoint.turns.
type turn struct {
	e     *Endpoint
	now   time.Duration
	out   outbox
	due   dueHeap
	dirty []*Conn
	last  *Conn         // of the packet before; its lock is held
	armed time.Duration // what the timer is set to; unset if it is to be set in any case
	ended bool          // nothing is done any more
}

// loop looks after the timers. What is sent lies in the buffers that
// acknowledgements release, so whoever has the turn sends all before it ends.
func (e *Endpoint) loop() {
	defer close(e.done)
	for {
		e.turns <- struct{}{}
		e.turn.armed = unset
		over := e.turn.over()
		e.turn.ended = over
		e.finish()
		if over {
			break
		}
		e.timer.Sleep()
	}
	_ = e.socket.Close() // nothing was written that it could have lost
	<-e.quiet
	e.timer.Close()
}

// wakeNow is wake for goroutines that hold no lock: they do the work themselves,
// unless another one is at it, which will see it then.
func (e *Endpoint) wakeNow(c *Conn) {
	e.note(c)
	select {
	case e.turns <- struct{}{}:
		e.finish()
	default:
	}
}

// finish does what is due, ends the turn, and takes another one if something was
// noted meanwhile that nobody else looks after.
func (e *Endpoint) finish() {
	for round := 1; ; round++ {
		if e.turn.ended {
			<-e.turns
			return
		}
		e.turn.work()
		<-e.turns
		e.mu.Lock()
		again := len(e.woken) > 0
		e.mu.Unlock()
		if !again {
			return
		}
		if round == finishRounds {
			e.timer.Wake()
			return
		}
		select {
		case e.turns <- struct{}{}:
		default:
			return
		}
	}
}

// work does what is due, and sets the timer.
func (t *turn) work() {
	t.now = t.e.now()
	t.takeWoken()
	for len(t.due) > 0 && t.due[0].due <= t.now {
		t.mark(t.due[0])
		heap.Pop(&t.due)
	}
	t.collect()
	if t.over() {
		t.e.timer.Wake()
		return
	}
	at := t.now + time.Hour
	if len(t.due) > 0 {
		at = t.due[0].due
	}
	// A timer that is a little early costs less than to set it anew.
	if t.armed == unset || at < t.armed || at > t.armed+timerSlack {
		t.armed = at
		if wait := at - t.e.now(); wait > 0 {
			t.e.timer.Set(wait)
		} else {
			t.e.timer.Wake()
		}
	}
}

// over tells that the endpoint is closed and all is said.
func (t *turn) over() bool {
	t.e.mu.Lock()
	defer t.e.mu.Unlock()
	if t.e.lone && t.e.listener == nil && len(t.e.conns) == 0 {
		t.e.closed = true
	}
	return t.e.closed && len(t.e.conns) == 0
}

// take takes what was read.
func (t *turn) take(b *batch) {
	if t.ended {
		return
	}
	t.now = t.e.now()
	for i := range b.ds[:b.n] {
		t.split(&b.ds[i])
	}
	t.unlock()
}

func (t *turn) unlock() {
	if t.last != nil {
		t.last.mu.Unlock()
		t.last = nil
	}
}

// split takes the datagrams of an entry one by one.
func (t *turn) split(d *netx.Datagram) {
	b := d.B[:d.N]
	for d.Segment > 0 && len(b) > d.Segment {
		t.datagram(d.Peer, b[:d.Segment])
		b = b[d.Segment:]
	}
	t.datagram(d.Peer, b)
}

// datagram hands a packet to its connection. One for an ID that does not exist,
// or of somebody else than the connection's peer, is dropped without a word.
func (t *turn) datagram(from netip.AddrPort, b []byte) {
	h, body, err := parseHeader(b)
	if err != nil {
		return
	}
	if t.last == nil || t.last.core.id != h.id {
		t.unlock()
		if h.id == 0 {
			t.stranger(from, h, body)
			return
		}
		t.e.mu.Lock()
		c := t.e.conns[h.id]
		t.e.mu.Unlock()
		if c == nil {
			return
		}
		c.mu.Lock()
		t.last = c
		t.mark(c)
	}
	if t.last.core.peer == from {
		t.last.core.receive(t.now, h, body)
	}
}

// mark has a connection collected in this turn.
func (t *turn) mark(c *Conn) {
	if !c.dirty {
		c.dirty = true
		t.dirty = append(t.dirty, c)
	}
}

// stranger takes a packet to no ID: of a rendezvous, or for the listener. All
// others prove with the ID that they come from the peer, or have seen its packets.
func (t *turn) stranger(from netip.AddrPort, h header, body []byte) {
	if !h.control() || h.kind() != kindHandshake {
		return
	}
	e := t.e
	e.mu.Lock()
	meeting, l := e.meeting[from], e.listener
	e.mu.Unlock()
	// Clients of a listener bring a cookie or ask for one.
	if meeting != nil && (l == nil || len(body) >= handshakeLen && binary.BigEndian.Uint32(body[28:]) == 0 &&
		request(int32(binary.BigEndian.Uint32(body[20:]))) != reqClient) {
		meeting.mu.Lock()
		meeting.core.receive(t.now, h, body)
		meeting.mu.Unlock()
		t.mark(meeting)
		return
	}
	if l == nil {
		return
	}
	hs, ok := e.greet.greet(t.now, from, h, body, &t.out)
	if ok {
		t.admit(l, from, &hs)
	}
}

// admit makes the connection that a client has a right to, once.
func (t *turn) admit(l *Listener, from netip.AddrPort, hs *handshake) {
	e := t.e
	key := childKey{from, hs.id, hs.isn}
	e.mu.Lock()
	c := e.children[key]
	e.mu.Unlock()
	if c != nil {
		c.mu.Lock()
		alive := c.core.state == connected || c.core.state == closing
		if alive {
			c.core.repeatAccept()
		}
		c.mu.Unlock()
		t.mark(c)
		if alive {
			return
		}
	}
	if len(l.arrived) == cap(l.arrived) {
		e.greet.refuse(t.now, from, hs, &t.out)
		return
	}
	c, err := e.newConn(from, hs.isn)
	if err != nil {
		return // the name of the control was checked
	}
	e.mu.Lock()
	err = e.addLocked(c)
	if err == nil {
		e.children[key] = c
		c.key = key
	}
	e.mu.Unlock()
	if err != nil {
		return
	}
	c.mu.Lock()
	ok := c.core.accept(t.now, hs)
	c.mu.Unlock()
	if !ok {
		t.forget(c)
		return
	}
	t.mark(c)
	l.arrived <- c // there is room, and only who has the turn adds
	select {
	case <-l.closed: // perhaps too late for being ended by it
		c.mu.Lock()
		c.core.close(t.now, -1)
		c.mu.Unlock()
	default:
	}
}

// takeWoken takes the connections that users have done something with.
func (t *turn) takeWoken() {
	t.e.mu.Lock()
	for i, c := range t.e.woken {
		c.woken = false
		t.mark(c)
		t.e.woken[i] = nil
	}
	t.e.woken = t.e.woken[:0]
	t.e.mu.Unlock()
}

// collect sends what the connections have to send, and tells their users what
// has changed.
func (t *turn) collect() {
	t.now = t.e.now()
	for i, c := range t.dirty {
		c.mu.Lock()
		c.core.collect(t.now, &t.out)
		c.notify()
		due, gone := c.core.deadline(), c.core.gone()
		c.mu.Unlock()
		c.dirty = false
		t.dirty[i] = nil
		t.schedule(c, due, gone)
		if t.out.packets >= turnPackets {
			t.flush()
		}
	}
	t.dirty = t.dirty[:0]
	t.flush()
}

// flush sends. A datagram that the system refuses is lost like others.
func (t *turn) flush() {
	for ds := t.out.ds; len(ds) > 0; {
		n, err := t.e.socket.WriteBatch(ds)
		if err == nil {
			break
		}
		n = min(max(n, 0), len(ds)-1)
		if errors.Is(err, syscall.EMSGSIZE) {
			t.tooLong(&ds[n])
		}
		ds = ds[n+1:]
	}
	t.out.reset()
}

// tooLong tells the connections with a peer of a datagram that the first link does
// not take.
func (t *turn) tooLong(d *netx.Datagram) {
	size := len(d.B)
	if d.Segment > 0 {
		size = min(size, d.Segment)
	}
	var all []*Conn
	t.e.mu.Lock()
	for _, c := range t.e.conns {
		if c.core.peer == d.Peer {
			all = append(all, c)
		}
	}
	t.e.mu.Unlock()
	for _, c := range all {
		c.mu.Lock()
		c.core.tooLong(t.now, size)
		c.mu.Unlock()
		t.e.note(c)
	}
}

// schedule notes when a connection is to be collected again.
func (t *turn) schedule(c *Conn, due time.Duration, gone bool) {
	switch {
	case gone:
		if c.heap >= 0 {
			heap.Remove(&t.due, c.heap)
		}
		t.forget(c)
	case c.heap >= 0:
		c.due = due
		heap.Fix(&t.due, c.heap)
	default:
		c.due = due
		heap.Push(&t.due, c)
	}
}

// forget ends the reachability of a connection.
func (t *turn) forget(c *Conn) {
	e := t.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conns[c.core.id] == c {
		delete(e.conns, c.core.id)
	}
	if e.children[c.key] == c {
		delete(e.children, c.key)
	}
	if e.meeting[c.core.peer] == c {
		delete(e.meeting, c.core.peer)
	}
}

// dueHeap orders connections by when they are to be collected.
type dueHeap []*Conn

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heap, h[j].heap = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	c := x.(*Conn)
	c.heap = len(*h)
	*h = append(*h, c)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	c := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = nil
	*h = (*h)[:len(*h)-1]
	c.heap = -1
	return c
}
