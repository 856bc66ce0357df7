package udt

import (
	"time"

	"github.com/gomover/gomover/transports/internal/cc"
)

// arrived is what a receiver knows of one packet.
type arrived struct {
	n      int // bytes of payload
	weight int
	msg    msgWord
	have   bool
	taken  bool // of a message: it is in the list of those to be read, or was, or is given up
	ready  bool // it is in that list
}

// ackRecord is an acknowledgement that was sent.
type ackRecord struct {
	sub uint32
	pos int64
	at  time.Duration
}

// receiver is what one end receives: packets by position.
//
//	base            next         high
//	  | to be read    | gaps and   |
//	  |               | packets    |
type receiver struct {
	ring[arrived]
	size             int64 // weight of the packets in the buffer at most
	base, next, high int64
	weights
	offset   int // bytes of base that were read
	first    seq // number of position 0
	gaps     gapList
	arrivals arrivals

	sub       uint32                 // of the last acknowledgement
	history   [ackHistory]*ackRecord // by sub
	told      int64                  // position of the last acknowledgement
	confirmed int64                  // that of the last one that the peer has answered
	confirm   uint32                 // sub of a window that the peer must have learned
	ackAt     time.Duration          // of the last acknowledgement
	fullAt    time.Duration          // of the last full one
	ackDue    time.Duration          // of the next; never: nothing to say
	again     bool                   // say it even if it was said
	squeezed  bool                   // little room was told
	since     int                    // packets since the last acknowledgement
	light     int                    // light ones since then, from 1
	lightAt   time.Duration          // of the last light one

	tolerance time.Duration // how long a gap may be mere reordering
	nakDue    time.Duration // of the next report of gaps
	repeatAt  time.Duration // earliest repetition of reports
	repeat    time.Duration // when one of those reported is due again

	ready   []span // messages to be read
	scanned int64  // up to here all messages are taken or given up
	cursor  int64  // up to here messages were looked for in order
	start   int64  // of the message that begins before cursor; -1 is none
}

// weights is what a receiver knows of packets that are longer than negotiated; see
// core.weight. Where there are none it stays as it is.
type weights struct {
	count bool             // they are counted
	there int64            // weight of all packets that are there, of pieces as of the whole
	extra int64            // by how much those from base to next weigh more than 1 each
	parts map[int64]*parts // packets of which some pieces have come
	last  int              // bytes of the packet before
}

// pass notes that a packet from base to next is there no longer.
func (w *weights) pass(m *arrived) {
	if w.count && m.have {
		w.there -= int64(m.weight)
		w.extra -= int64(m.weight) - 1
	}
}

func newReceiver(now time.Duration, first seq, payload int, size int64) receiver {
	return receiver{
		ring: newRing[arrived](payload), size: size, first: first, high: -1, arrivals: newArrivals(now),
		ackAt: now - synInterval, fullAt: now - 2*synInterval, ackDue: never, nakDue: never, repeat: never, light: 1, start: -1,
	}
}

// free is the weight of packets behind next that still fit.
func (r *receiver) free() int64 { return max(0, r.size-(r.next-r.base)-r.extra-1) }

// receiveData takes a data packet. Source: draft, section 6.2.
func (c *core) receiveData(now time.Duration, h header, body []byte) {
	r := &c.recv
	pos := r.first.add(r.next).near(r.next, h.seq())
	if len(body) > c.longest() || pos < 0 {
		c.count.Bad++
		return
	}
	c.count.Received++
	c.count.RecvBytes += int64(len(body))
	c.fill(now)
	weight := c.weight(len(body))
	c.control.OnReceived(&c.stats, cc.Packets{First: pos, Count: weight, Bytes: len(body) + headerLen + udpAllowance})
	r.arrivals.packet(now, pos, h.seq(), weight)
	if pos < r.next {
		// The peer may have missed the acknowledgement.
		c.count.Duplicates++
		r.again = true
		r.schedule(now, c.ctl.AckPeriod)
		return
	}
	if pos >= r.base+r.size+recvReserve || r.there >= c.most() {
		c.count.Refused++
		r.again = true // the peer asks whether there is room, and whether anybody is there
		r.schedule(now, c.ctl.AckPeriod)
		return
	}
	if m := r.get(pos); m != nil && m.have {
		c.count.Duplicates++
		return
	}
	m, b := r.put(pos, len(body))
	*m = arrived{n: copy(b, body), weight: weight, msg: h.msg(), have: true}
	r.since += weight
	if r.count {
		c.dropParts(pos)
		r.there += int64(weight)
	}
	c.place(now, pos)
	r.schedule(now, c.ctl.AckPeriod)
	if c.short(len(body)) {
		r.ackDue = now
	}
	if c.cfg.Messages {
		c.findMessages(pos)
	}
	if c.state == closing {
		r.discard()
	}
}

// place finds what is missing before a packet that is new, and moves next.
func (c *core) place(now time.Duration, pos int64) {
	r := &c.recv
	if pos > r.high {
		if pos > r.high+1 {
			c.count.Missed += pos - r.high - 1
			due := now + r.tolerance
			if k := len(r.gaps.l) - 1; k >= 0 && r.gaps.l[k].reports == 0 {
				due = max(due, r.gaps.l[k].due) // reports go out in order
			}
			r.gaps.push(gap{first: r.high + 1, last: pos - 1, found: now, due: due})
			r.nakDue = min(r.nakDue, due)
		}
		r.high = pos
	} else if was, ok := r.gaps.remove(pos); ok {
		r.reordered(now, was, &c.rtt)
	}
	r.moveNext()
}

func (r *receiver) moveNext() {
	was := r.next
	r.next = r.high + 1
	if len(r.gaps.l) > 0 {
		r.next = r.gaps.l[0].first
	}
	for pos := was; r.count && pos < r.next; pos++ {
		r.extra += int64(r.get(pos).weight) - 1
	}
}

// reordered learns from a packet that filled a gap: if it came sooner than a
// repetition could, it was merely late, and the next gaps get that time.
// Tolerance goes away when gaps turn out to be losses. Source: ours; the idea is
// that of RFC 8985's reordering window.
func (r *receiver) reordered(now time.Duration, was gap, rtt *rttFilter) {
	late := now - was.found
	atMost := rtt.rtt / 4
	if was.reports <= 1 && late < rtt.rtt/2 {
		r.tolerance = min(max(r.tolerance, late+late/4+time.Microsecond), atMost)
		return
	}
	r.tolerance = min(r.tolerance-r.tolerance/32, atMost)
}

// schedule sees to an acknowledgement: at once, but not sooner after the last
// one than the interval.
func (r *receiver) schedule(now, period time.Duration) {
	if period <= 0 || period > synInterval {
		period = synInterval
	}
	if r.ackDue == never {
		r.ackDue = max(now, r.ackAt+period)
	}
}

// discard throws away what nobody will read, messages that have begun included.
func (r *receiver) discard() {
	for pos := r.base; r.count && pos < r.next; pos++ {
		r.pass(r.get(pos))
	}
	r.base, r.offset = r.next, 0
	r.release(r.base)
	r.ready = nil
	r.scanned, r.cursor, r.start = r.base, r.base, -1
}

// read gives bytes of the stream that have arrived in order. It gives 0 if there
// are none.
func (c *core) read(b []byte) (n int) {
	r := &c.recv
	for n < len(b) && r.base < r.next {
		slab, i := r.place(r.base)
		k := 0
		if slab != nil && slab.meta[i].have { // it was not given up by the sender
			k = slab.meta[i].n
		}
		if k > r.offset {
			m := copy(b[n:], slab.at(i)[r.offset:k])
			n += m
			r.offset += m
		}
		if r.offset >= k {
			r.offset = 0
			if slab != nil {
				r.pass(&slab.meta[i])
			}
			r.base++
		}
	}
	r.release(r.base)
	c.drained()
	return n
}

// drained tells the peer of room when it has been told of little.
func (c *core) drained() {
	r := &c.recv
	if r.squeezed && r.free() > r.size/4 {
		c.tellRoom()
	}
}
