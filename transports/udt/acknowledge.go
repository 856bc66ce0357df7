package udt

import (
	"math"
	"time"
)

// Constants of reporting losses. Ours: the library reports each gap once; the
// draft repeats reports, too.
const (
	nakFloor  = 2 * synInterval
	nakCeil   = time.Second
	nakGrowth = 1.5
)

// deadline is when collectReceiver has something to do.
func (r *receiver) deadline(rtt *rttFilter) time.Duration {
	return min(r.ackDue, r.nakDue, r.repeatDue(rtt))
}

// repeatDue is when the last acknowledgement is repeated, since the peer has
// not answered it.
func (r *receiver) repeatDue(rtt *rttFilter) time.Duration {
	if r.told <= r.confirmed && r.confirm == 0 || r.sub == 0 {
		return never
	}
	return r.ackAt + max(rtt.patience(), synInterval)
}

// collectReceiver sends the acknowledgements and reports that are due.
func (c *core) collectReceiver(now time.Duration, out *outbox) {
	r := &c.recv
	r.arrivals.end(now)
	if c.ctl.AckInterval > 0 && r.since >= c.ctl.AckInterval {
		r.ackDue = now
	}
	switch {
	case now >= r.ackDue:
		c.ack(now, out)
	case now >= r.repeatDue(&c.rtt):
		r.again = true
		c.ack(now, out)
	case r.since >= lightEvery*r.light && (now >= r.lightAt+lightTime || int64(r.since) >= r.size/8):
		r.light, r.lightAt = r.since/lightEvery+1, now
		if r.next > r.confirmed {
			c.count.SentAcks++
			out.push(ack{form: ackLight, next: r.first.add(r.next)}.append(out.room(), c.peerID), c.peer)
		}
	}
	if now >= r.nakDue {
		c.nak(now, out)
	}
}

// ack sends an acknowledgement if there is something to tell. Source: draft,
// section 6.2, and the library's rules for repetitions.
func (c *core) ack(now time.Duration, out *outbox) {
	r := &c.recv
	r.ackDue, r.since, r.light = never, 0, 1
	fresh := r.next > r.told
	if !fresh && !r.again {
		return
	}
	r.again = false
	r.told = r.next
	r.sub++
	if r.sub > math.MaxInt32 {
		r.sub = 0
	}
	a := ack{
		sub: r.sub, form: ackMedium, next: r.first.add(r.next),
		rtt: micros(c.rtt.rtt), rttVar: micros(c.rtt.dev), free: uint32(max(2, r.free())),
	}
	if now-r.fullAt > synInterval {
		r.fullAt = now
		a.form = ackFull
		a.speed, a.capacity = r.arrivals.rates()
	}
	r.squeezed = r.squeezed || r.free() < r.size/8
	r.ackAt = now
	h := &r.history[r.sub%ackHistory]
	if *h == nil {
		*h = new(ackRecord)
	}
	**h = ackRecord{r.sub, r.next, now}
	c.count.SentAcks++
	out.push(a.append(out.room(), c.peerID), c.peer)
}

func micros(d time.Duration) uint32 {
	return uint32(min(d/time.Microsecond, math.MaxInt32))
}

// onAck2 takes the answer to an acknowledgement, which tells the RTT.
func (c *core) onAck2(now time.Duration, sub uint32) {
	r := &c.recv
	h := r.history[sub%ackHistory]
	if h == nil || h.sub != sub || sub > math.MaxInt32 {
		c.count.Bad++
		return
	}
	if now > h.at {
		c.rtt.measure(now - h.at)
	}
	r.confirmed = max(r.confirmed, h.pos)
	if r.confirm > 0 && sub >= r.confirm {
		r.confirm = 0
	}
	h.sub = math.MaxUint32 // a second answer would measure nothing
}

// nak reports what is missing: gaps that were just found, and at most once in an
// interval those whose report had no effect for a while.
func (c *core) nak(now time.Duration, out *outbox) {
	r := &c.recv
	r.nakDue = never
	repeat := now >= r.repeatAt
	from := 0
	if repeat {
		r.repeat = never
	} else { // new gaps are the last ones
		from = len(r.gaps.l)
		for from > 0 && r.gaps.l[from-1].reports == 0 {
			from--
		}
	}
	words := min(c.payload, c.full) / 4 // a report too long for the path would never come
	var b []byte
	for i := from; i < len(r.gaps.l); i++ {
		g := &r.gaps.l[i]
		if now < g.due || words < 2 {
			due := max(g.due, now+time.Millisecond)
			if g.reports > 0 {
				r.repeat = min(r.repeat, due)
			} else {
				r.nakDue = min(r.nakDue, due)
			}
			continue
		}
		if b == nil {
			b = controlHeader(kindNak, 0, c.peerID).append(out.room())
		}
		before := len(b)
		b = appendRange(b, seqRange{r.first.add(g.first), r.first.add(g.last)})
		words -= (len(b) - before) / 4
		if g.reports > 0 {
			r.repeatAt = now + synInterval
			g.wait = min(time.Duration(float64(g.wait)*nakGrowth), nakCeil)
		} else {
			g.wait = max(c.rtt.patience(), nakFloor)
		}
		g.reports++
		g.due = now + g.wait
		r.repeat = min(r.repeat, g.due)
	}
	if r.repeat < never {
		r.nakDue = min(r.nakDue, max(r.repeat, r.repeatAt))
	}
	if b != nil {
		c.count.SentNaks++
		out.push(b, c.peer)
	}
}
