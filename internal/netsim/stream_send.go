package netsim

import (
	"syscall"
	"time"
)

// Constants of the sender, of the documents named.
const (
	initialSegments = 10 // first congestion window (RFC 6928)
	reorderLimit    = 3  // later segments that make one lost (RFC 6675, DupThresh)
	firstRTO        = time.Second
	minRTO          = 200 * time.Millisecond // ours: as Linux; RFC 6298 has one second
	maxRTO          = 2 * time.Minute
	maxTimeouts     = 15 // then the stream is given up (Linux, tcp_retries2)
	maxSYNTimeouts  = 6  // then dialling is given up (Linux, tcp_syn_retries)
)

// streamSender is the sending side: a list of segments, by sequence number, that
// were written and not acknowledged.
//
//	first ... sent, lost, or acknowledged behind a hole ... unsent ... last
type streamSender struct {
	first, last *queuedSegment
	unsent      *queuedSegment // first that was never sent
	end         int64          // sequence number behind last
	buffered    int            // bytes in the list
	room        int            // for buffered
	edge        int64          // the peer takes what ends up to here

	cwnd, ssthresh float64 // bytes
	inFlight       int     // bytes sent and neither acknowledged nor lost
	lost           int     // segments to be sent again
	count          int64   // transmissions so far
	delivered      int64   // latest transmission that has arrived
	recover        int64   // the window is not reduced again for losses up to this transmission
}

// queuedSegment is one segment; its bounds never change once it was sent.
type queuedSegment struct {
	prev, next   *queuedSegment
	seq          int64
	data         []byte
	end          bool          // the end of the direction, one sequence number
	transmission int64         // its latest; 0 if it was never sent
	again        bool          // was sent more than once
	lost         bool          // must be sent again
	at           time.Duration // of its latest transmission
}

// weight is what the segment counts of sequence numbers.
func (s *queuedSegment) weight() int {
	if s.end {
		return len(s.data) + 1
	}
	return len(s.data)
}

// load is what the segment counts in the congestion window.
func (s *queuedSegment) load() int { return max(len(s.data), 1) }

// queue takes as much of b as there is room for, and tells how much.
func (o *streamSender) queue(b []byte, mss int) (n int) {
	b = b[:min(len(b), max(0, o.room-o.buffered))]
	for len(b) > 0 {
		s := o.last
		if s == nil || s.transmission > 0 || s.end || len(s.data) == mss {
			s = o.append()
			s.data = make([]byte, 0, min(len(b), mss))
		}
		m := min(len(b), mss-len(s.data))
		s.data = append(s.data, b[:m]...)
		b, n = b[m:], n+m
		o.end += int64(m)
		o.buffered += m
	}
	return n
}

// queueEnd lets the direction end after what was queued.
func (o *streamSender) queueEnd() {
	s := o.last
	if s == nil || s.transmission > 0 {
		s = o.append()
	}
	s.end = true
	o.end++
	o.buffered++
}

func (o *streamSender) append() *queuedSegment {
	s := &queuedSegment{seq: o.end, prev: o.last}
	if o.last == nil {
		o.first = s
	} else {
		o.last.next = s
	}
	if o.last = s; o.unsent == nil {
		o.unsent = s
	}
	return s
}

// remove takes out a segment that has arrived.
func (o *streamSender) remove(s *queuedSegment) {
	if s.prev == nil {
		o.first = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		o.last = s.prev
	} else {
		s.next.prev = s.prev
	}
	o.buffered -= s.weight()
	if s.lost {
		o.lost--
	} else {
		o.inFlight -= s.load()
	}
}

// pick gives the segment that may be sent now: one that was lost, or a new one.
func (o *streamSender) pick() *queuedSegment {
	s := o.unsent
	if o.lost > 0 {
		for s = o.first; !s.lost; s = s.next {
		}
	} else if s == nil || s.seq+int64(s.weight()) > o.edge {
		return nil
	}
	if o.inFlight > 0 && float64(o.inFlight+s.load()) > o.cwnd {
		return nil
	}
	return s
}

// send transmits what may be sent.
func (c *Conn) send() {
	if c.state != open {
		return
	}
	o := &c.out
	for s := o.pick(); s != nil; {
		o.count++
		if s.transmission == 0 {
			o.unsent = s.next
		} else {
			c.stats.Retransmitted++
			s.again = true
		}
		if s.lost {
			s.lost = false
			o.lost--
		}
		s.transmission, s.at = o.count, c.h.n.now
		o.inFlight += s.load()
		c.stats.Sent++
		if c.clock.deadline == never {
			c.startClock()
		}
		next := o.pick()
		flags := flagACK
		if s.end {
			flags |= flagFIN
		}
		if next == nil {
			flags |= flagPush
		}
		c.transmit(flags, s.seq, s.data)
		s = next
	}
	if c.clock.deadline == never && o.first != nil {
		c.startClock() // the peer has no room: ask again some time
	}
}

// receiveACK takes an acknowledgement.
func (c *Conn) receiveACK(a *segmentHead) {
	o, now := &c.out, c.h.n.now
	o.edge = max(o.edge, a.edge)
	c.clock.backoff = min(c.clock.backoff, maxTimeouts/3) // the peer lives
	flight, arrived := o.inFlight, 0
	highest := a.ack
	if len(a.sack) > 0 {
		highest = a.sack[len(a.sack)-1].to
	}
	var newest *queuedSegment
	spans := a.sack
	for s := o.first; s != nil && s.transmission > 0 && s.seq < highest; s = s.next {
		end := s.seq + int64(s.weight())
		for len(spans) > 0 && spans[0].to < end {
			spans = spans[1:]
		}
		if end > a.ack && (len(spans) == 0 || s.seq < spans[0].from) {
			continue
		}
		o.remove(s)
		arrived += s.load()
		// What was sent again a moment ago may have arrived the first time.
		if !s.again || now-s.at >= c.clock.least {
			o.delivered = max(o.delivered, s.transmission)
		}
		if !s.again && (newest == nil || s.transmission > newest.transmission) {
			newest = s
		}
	}
	if newest != nil {
		c.clock.sample(now - newest.at)
	}
	if arrived > 0 {
		c.clock.backoff, c.clock.deadline = 0, never
		if o.first != nil && (o.inFlight > 0 || o.lost > 0) {
			c.startClock()
		}
		c.write.wake()
	}
	lossy := c.findLosses(highest, flight)
	if arrived > 0 && !lossy && o.delivered > o.recover {
		o.grow(arrived, flight, float64(c.mss()))
	}
	c.send()
}

// findLosses marks the segments that later ones have overtaken by too much; it
// reports whether the window was reduced.
func (c *Conn) findLosses(highest int64, flight int) (reduced bool) {
	o, mss := &c.out, float64(c.mss())
	for s := o.first; s != nil && s.transmission > 0 && s.seq < highest; s = s.next {
		if s.lost || s.transmission+reorderLimit > o.delivered {
			continue
		}
		s.lost = true
		o.lost++
		o.inFlight -= s.load()
		if s.transmission > o.recover {
			o.recover, reduced = o.count, true
			o.ssthresh = max(float64(flight)/2, 2*mss)
			o.cwnd = o.ssthresh
		}
	}
	return reduced
}

// grow widens the window for what has arrived (RFC 5681, section 3.1), if it was
// in use.
func (o *streamSender) grow(arrived, flight int, mss float64) {
	if float64(flight)+2*mss < o.cwnd && (o.cwnd >= o.ssthresh || float64(flight) < o.cwnd/2) {
		return
	}
	if o.cwnd < o.ssthresh {
		o.cwnd += float64(arrived)
	} else {
		o.cwnd += mss * float64(arrived) / o.cwnd
	}
}

// streamClock measures round trips and times what is not answered (RFC 6298).
type streamClock struct {
	srtt, rttvar, least time.Duration // least is the smallest round trip
	began               time.Duration // when the first packet was sent
	backoff             int           // timeouts in a row
	deadline            time.Duration // when something is sent again, or never
	alarm               time.Duration // when the agenda has an entry for this clock, or never
}

func (k *streamClock) sample(rtt time.Duration) {
	if k.srtt == 0 {
		k.srtt, k.rttvar, k.least = rtt, rtt/2, rtt
		return
	}
	k.least = min(k.least, rtt)
	k.rttvar += ((k.srtt - rtt).Abs() - k.rttvar) / 4
	k.srtt += (rtt - k.srtt) / 8
}

// timeout is the time after which something is sent again.
func (k *streamClock) timeout() time.Duration {
	rto := firstRTO
	if k.srtt > 0 {
		rto = max(minRTO, k.srtt+4*k.rttvar)
	}
	return min(rto<<min(k.backoff, 16), maxRTO)
}

// startClock sets the deadline from now on.
func (c *Conn) startClock() {
	c.clock.deadline = c.h.n.now + c.clock.timeout()
	if c.clock.alarm == never || c.clock.alarm > c.clock.deadline {
		c.setAlarm()
	}
}

// setAlarm makes an entry in the agenda for the deadline.
func (c *Conn) setAlarm() {
	c.clock.alarm = c.clock.deadline
	c.h.n.agenda.push(c.clock.alarm, (*streamAlarm)(c))
}

// streamAlarm is the event of a stream's clock. Deadlines move with every
// acknowledgement; an entry in the agenda that is too early makes a new one when
// it is reached, and one that an earlier one has replaced does nothing.
type streamAlarm Conn

func (a *streamAlarm) happen() {
	c := (*Conn)(a)
	if c.clock.alarm != c.h.n.now {
		return
	}
	c.clock.alarm = never
	switch {
	case c.clock.deadline == never:
	case c.clock.deadline > c.h.n.now:
		c.setAlarm()
	default:
		c.expire()
	}
}

// expire is called when an answer is overdue.
func (c *Conn) expire() {
	c.clock.deadline = never
	c.clock.backoff++
	limit := maxTimeouts
	if c.state != open {
		limit = maxSYNTimeouts
	}
	if c.clock.backoff > limit {
		c.end(syscall.ETIMEDOUT)
		return
	}
	switch c.state {
	case dialling:
		c.transmit(flagSYN, 0, nil)
		c.startClock()
	case answering:
		c.transmit(flagSYN|flagACK, 0, nil)
		c.startClock()
	case open:
		c.timeOut()
	}
}

// timeOut takes all that is under way for lost and begins again with one
// segment (RFC 5681, section 3.1).
func (c *Conn) timeOut() {
	o, mss := &c.out, float64(c.mss())
	if o.inFlight == 0 && o.lost == 0 {
		c.transmit(flagACK|flagProbe, o.end, nil)
		c.startClock()
		return
	}
	c.stats.Timeouts++
	if c.clock.backoff == 1 {
		o.ssthresh = max(float64(o.inFlight)/2, 2*mss)
	}
	o.cwnd, o.recover = mss, o.count
	for s := o.first; s != nil && s.transmission > 0; s = s.next {
		if !s.lost {
			s.lost = true
			o.lost++
		}
	}
	o.inFlight = 0
	c.send()
}
