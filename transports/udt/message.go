package udt

import (
	"fmt"
	"time"
)

// span is the packets of a message, both included.
type span struct{ first, last int64 }

// writeMessage puts a message into the buffer, if all of it fits. ttl is how
// long it is worth sending again, 0 is for ever. Source: draft, section 6.1.
//
// Errors: ErrTooLong if it can never fit.
func (c *core) writeMessage(now time.Duration, b []byte, ttl time.Duration, inOrder bool) (bool, error) {
	x := &c.send
	n := int64(max(1, (len(b)+c.payload-1)/c.payload))
	if n > x.room {
		return false, fmt.Errorf("%w: %d bytes", ErrTooLong, len(b))
	}
	if x.load.end-x.load.acked+n > x.room {
		return false, nil
	}
	x.msg = x.msg.next()
	word := msgWord(x.msg)
	if inOrder {
		word |= msgInOrder
	}
	var expires time.Duration
	if ttl > 0 {
		expires = now + ttl
	}
	for i := range n {
		s, p := x.put(x.end, x.stride)
		k := copy(p[headerLen:], b)
		b = b[k:]
		*s = sent{n: k, weight: 1, load: x.load.end, msg: word, expires: expires}
		if i == 0 {
			s.msg |= partFirst
		}
		if i == n-1 {
			s.msg |= partLast
		}
		x.end++
		x.load.end++
	}
	return true, nil
}

// dropMessage gives up the message of a packet that is to be sent again too
// late, and tells the peer exactly which packets that are; what was not sent of
// it has its numbers already.
func (c *core) dropMessage(pos int64, out *outbox) {
	x := &c.send
	first, last := pos, pos
	for first > x.acked && !x.get(first).msg.first() {
		first--
	}
	for !x.get(last).msg.last() {
		last++
	}
	for p := first; p <= last; p++ {
		if s := x.get(p); s.out {
			s.out = false
			x.inFlight -= s.weight
		}
	}
	x.lost.Remove(first, last+1)
	x.next = max(x.next, last+1)
	x.load.next = x.loadAt(x.next)
	c.count.DroppedSent++
	d := drop{x.get(pos).msg.number(), seqRange{c.isn.add(first), c.isn.add(last)}}
	out.push(d.append(out.room(), c.peerID), c.peer)
}

// onDrop gives up packets of a message that the peer will not send again. The
// library names one packet too many; it is kept if it is seen to be another
// message's. Source: draft, section 6.2.
func (c *core) onDrop(now time.Duration, d drop) error {
	r := &c.recv
	here := r.first.add(r.next)
	first, last := here.near(r.next, d.first), here.near(r.next, d.last)
	if !c.cfg.Messages || last >= r.base+r.size+recvReserve || last-first > r.size {
		return fmt.Errorf("%w: a drop request for %d to %d", errPacket, first, last)
	}
	if last > first && r.oneTooMany(last, d.msg) {
		last--
	}
	if last < r.next {
		r.again = true
		r.schedule(now, c.ctl.AckPeriod)
		return nil // known
	}
	c.count.DroppedIn++
	if first > r.high+1 {
		return nil // what lies between will be reported
	}
	for pos := max(first, r.base); pos <= last; pos++ {
		if m := r.held(pos); m != nil && m.msg.number() == d.msg {
			m.taken = true
		}
	}
	r.gaps.removeRange(first, last)
	r.high = max(r.high, last)
	r.moveNext()
	r.again = true
	r.schedule(now, c.ctl.AckPeriod)
	c.findMessages(last)
	return nil
}

// oneTooMany tells whether a message that is said to end with last ends before.
func (r *receiver) oneTooMany(last int64, number msgNo) bool {
	if m := r.held(last); m != nil {
		return m.msg.number() != number
	}
	m := r.held(last - 1)
	return m != nil && m.msg.last() && m.msg.number() == number
}

// held gives a packet that has come and was not read, else nil. pos may be any.
func (r *receiver) held(pos int64) *arrived {
	if pos < r.base {
		return nil
	}
	if m := r.get(pos); m != nil && m.have {
		return m
	}
	return nil
}

// findMessages looks for messages that can be read now that a packet has come:
// one that is whole beyond a gap and need not be in order, and all those that
// have come to be in order.
func (c *core) findMessages(pos int64) {
	r := &c.recv
	if pos >= r.next {
		if m := r.held(pos); m != nil && !m.taken && !m.msg.inOrder() {
			r.takeWhole(pos, m.msg.number())
		}
		return
	}
	if r.start >= 0 && r.get(r.start).taken { // given up meanwhile
		r.start = -1
	}
	for ; r.cursor < r.next; r.cursor++ {
		m := r.get(r.cursor)
		if m == nil || !m.have || m.taken {
			r.start = -1
			r.scanned = r.cursor + 1
			continue
		}
		if m.msg.first() {
			r.start = r.cursor
		} else if r.start >= 0 && r.get(r.start).msg.number() != m.msg.number() {
			r.start = -1
		}
		switch {
		case r.start < 0: // a fragment of what was given up
			m.taken = true
			r.scanned = r.cursor + 1
		case m.msg.last():
			r.take(span{r.start, r.cursor})
			r.start = -1
			r.scanned = r.cursor + 1
		}
	}
	r.skim()
}

// takeWhole takes the message of a packet if all of it is there.
func (r *receiver) takeWhole(pos int64, number msgNo) {
	part := func(p int64) *arrived {
		m := r.held(p)
		if m == nil || m.taken || m.msg.number() != number {
			return nil
		}
		return m
	}
	last := pos
	for ; ; last++ {
		if m := part(last); m == nil {
			return
		} else if m.msg.last() {
			break
		}
	}
	first := pos
	for ; ; first-- {
		if m := part(first); m == nil {
			return
		} else if m.msg.first() {
			break
		}
	}
	r.take(span{first, last})
}

func (r *receiver) take(s span) {
	for p := s.first; p <= s.last; p++ {
		m := r.get(p)
		m.taken, m.ready = true, true
	}
	r.ready = append(r.ready, s)
}

// readMessage gives the next message; what does not fit into b is gone. It
// gives -1 if there is none.
func (c *core) readMessage(b []byte) (n int) {
	r := &c.recv
	if len(r.ready) == 0 {
		return -1
	}
	s := r.ready[0]
	r.ready = r.ready[1:]
	for p := s.first; p <= s.last; p++ {
		m := r.get(p)
		n += copy(b[n:], r.bytes(p)[:m.n])
		m.ready = false
	}
	r.skim()
	c.drained()
	return n
}

// skim releases what was read or given up, up to the first message that was
// not.
func (r *receiver) skim() {
	for r.base < r.scanned {
		if m := r.held(r.base); m != nil && m.ready {
			break
		}
		r.base++
	}
	r.release(r.base)
}
