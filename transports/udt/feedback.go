package udt

import (
	"fmt"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
	"github.com/gomover/gomover/transports/internal/cc"
)

// onAck takes an acknowledgement. Source: draft, section 6.1 and 7.2; the
// library's rules for windows, except that light ones release the buffer, too,
// and that none may name what was never sent.
func (c *core) onAck(now time.Duration, a ack) error {
	x := &c.send
	c.count.RecvAcks++
	to := c.isn.add(x.acked).near(x.acked, a.next)
	if to > x.next {
		return fmt.Errorf("%w: an ACK of what was not sent", errPacket)
	}
	if a.form != ackLight {
		c.answer(now, a.sub, to <= x.acked)
	}
	if to < x.acked {
		return nil // overtaken by another
	}
	if a.form == ackLight {
		c.advance(now, to)
		return nil
	}
	late := to == x.acked && seq(x.sub).to(seq(a.sub)) < 0 // overtaken; its window is an old one
	c.reported(a, to > x.acked)
	c.advance(now, to)
	if !late {
		x.sub = a.sub
		c.regard(now, int64(min(a.free, maxWindow)))
	}
	return nil
}

// regard learns how many packets the peer has room for. It never says less
// than 2, so that it is asked; it may well have none, so this is done at
// intervals, and what was refused goes out again when there is room.
func (c *core) regard(now time.Duration, free int64) {
	x := &c.send
	x.load.limit, x.widest = x.load.acked+free, max(x.widest, free)
	switch {
	case free <= 2 && !x.closed, free <= 2 && x.acked == x.next && now >= x.holdUntil:
		x.closedFor = min(max(2*x.closedFor, 5*synInterval), aliveInterval/2)
		x.holdUntil, x.closed = now+x.closedFor, true
	case free > 2 && x.closed:
		x.holdUntil, x.closed, x.closedFor = now, false, 0
		if n := x.next - x.acked; n > 0 && n <= 2 {
			x.sendAgain(x.acked, x.next)
		}
		x.progress, x.probes = now, 0
	}
}

// sendAgain has packets from lo to before hi sent again that were refused, which
// is no loss.
func (x *sender) sendAgain(lo, hi int64) {
	for pos := lo; pos < hi; pos++ {
		if s := x.get(pos); s.out {
			s.out = false
			x.inFlight -= s.weight
		}
	}
	x.lost.Add(lo, hi)
}

// answer acknowledges an acknowledgement: not all of them, but those that come
// again, since their sender waits, and the first ones, which tell it the RTT.
func (c *core) answer(now time.Duration, sub uint32, again bool) {
	x := &c.send
	if x.answered >= probeEvery && now-x.lastAck2 < synInterval && !again {
		return
	}
	x.answered++
	x.lastAck2 = now
	c.reply(appendEmpty(nil, kindAck2, sub, c.peerID))
}

// reported learns what the peer has measured.
func (c *core) reported(a ack, fresh bool) {
	x := &c.send
	if !fresh {
		return
	}
	if rtt := time.Duration(a.rtt) * time.Microsecond; rtt > 0 && rtt < time.Minute {
		c.rtt.add(rtt)
	}
	if a.form != ackFull {
		return
	}
	smooth := func(old *float64, v uint32) {
		if v > 0 && v < 1<<31 {
			*old = (7**old + float64(v)) / 8
		}
	}
	smooth(&x.speed, a.speed)
	smooth(&x.capacity, a.capacity)
	x.reports++
}

// advance moves the front of what is not acknowledged.
func (c *core) advance(now time.Duration, to int64) {
	x := &c.send
	told := cc.Ack{Duplicate: to == x.acked}
	if !told.Duplicate {
		var sample time.Duration
		for pos := x.acked; pos < to; pos++ {
			s := x.get(pos)
			if s.times > 1 { // what lies behind it has waited for it
				sample = -1
			} else if sample >= 0 {
				sample = now - s.at
			}
			c.deliver(now, s, &told)
		}
		c.sampleRTT(sample)
		told.RTT = max(sample, 0)
		x.lost.Remove(x.acked, to)
		x.load.acked = x.loadAt(to)
		x.acked, x.known = to, max(x.known, to)
		x.release(to)
		x.progress, x.probes = now, 0
	}
	told.Delivery = x.sampler.Sample(x.minRTT)
	c.fill(now)
	c.control.OnAck(&c.stats, &told)
	c.learn()
}

func (c *core) sampleRTT(sample time.Duration) {
	x := &c.send
	if sample <= 0 {
		return
	}
	x.rtt.measure(sample)
	if x.minRTT == 0 || sample < x.minRTT {
		x.minRTT = sample
	}
}

// deliver notes that a packet is known to have arrived.
func (c *core) deliver(now time.Duration, s *sent, told *cc.Ack) {
	x := &c.send
	if s.times == 1 {
		x.newest = max(x.newest, s.at)
	}
	if s.out {
		s.out = false
		x.inFlight -= s.weight
	}
	if s.counted || s.times == 0 {
		return
	}
	s.counted = true
	told.Packets += s.weight
	if s.times > 1 { // it may have come long ago
		x.sampler.DeliverLate(s.n + headerLen + udpAllowance)
		return
	}
	x.sampler.Deliver(now, s.mark, s.n+headerLen+udpAllowance)
}

// onNak takes a loss list. Source: draft, section 6.1. What lies between the
// losses has arrived; that is taken for an estimate only, since a list may be
// missing.
func (c *core) onNak(now time.Duration, l []seqRange) error {
	x := &c.send
	c.count.RecvNaks++
	here := c.isn.add(x.acked)
	for _, r := range l {
		if here.near(x.acked, r.last) >= x.next {
			return fmt.Errorf("%w: a loss list with what was not sent", errPacket)
		}
	}
	x.losses = x.losses[:0]
	var told cc.Ack
	from := x.acked
	for _, r := range l {
		first, last := max(here.near(x.acked, r.first), from), here.near(x.acked, r.last)
		if last < first {
			continue // acknowledged in the meantime, or named before
		}
		from = last + 1
		for pos := max(x.known, x.acked); pos < first; pos++ {
			c.deliver(now, x.get(pos), &told)
		}
		c.lose(now, first, last, true)
		if behind := last + 1; behind < x.next && behind >= x.known {
			s := x.get(behind) // has come just now, and let the peer see the gap
			if s.times == 1 && !s.counted {
				told.RTT = now - s.at
				c.sampleRTT(told.RTT)
			}
			c.deliver(now, s, &told)
		}
		x.known = max(x.known, min(last+2, x.next))
	}
	if told.Packets > 0 {
		told.Delivery = x.sampler.Sample(x.minRTT)
		c.fill(now)
		c.control.OnAck(&c.stats, &told)
	}
	c.tellLosses(now)
	c.learn()
	return nil
}

// overdue tells that a packet, if it is still missing, is lost: one that was sent
// a while later has arrived, or it was sent too long ago. Source: RFC 8985,
// section 6.2; the while is its reordering window, and the time that an
// acknowledgement may be later than a report of losses.
func (x *sender) overdue(now time.Duration, s *sent) bool {
	return s.at+x.minRTT/4+synInterval <= x.newest || s.at+x.resendTimeout() <= now
}

// lose takes packets for lost; if reported, not those that were sent again too
// lately for the report to be about that.
func (c *core) lose(now time.Duration, first, last int64, reported bool) {
	x := &c.send
	for pos := first; pos <= last; {
		fresh := x.unlisted(pos, last)
		for pos = fresh.Lo; pos < fresh.Hi; pos++ {
			if s := x.get(pos); !reported || x.believe(now, s) {
				c.loseOne(pos, s)
			} else if x.vain++; x.vain > vainFree+vainTimes*c.count.Sent {
				c.count.Bad++ // nobody reports so often what is on its way again
				return
			}
		}
		if fresh.Len() == 0 {
			return
		}
	}
}

// unlisted is the first packets, of those to last, that are not to be sent again.
func (x *sender) unlisted(first, last int64) (e rangeset.Extent) {
	for e = range x.lost.Missing(first, last+1) {
		break
	}
	return e
}

// believe tells whether a reported packet is lost, and learns how the peer reports.
func (x *sender) believe(now time.Duration, s *sent) bool {
	// Not a report that the path has doubled, nor the first one about what was sent
	// again for other reasons.
	if s.named && s.times > 1 && now-s.at >= synInterval {
		x.repeats, x.resents = true, nil
	}
	s.named = true
	return s.times <= 1 || x.overdue(now, s)
}

func (c *core) loseOne(pos int64, s *sent) {
	x := &c.send
	if s.out {
		s.out = false
		x.inFlight -= s.weight
	}
	x.lost.Add(pos, pos+1)
	c.count.Lost++
	x.lostLoad += int64(s.weight)
	last := s.load + int64(s.weight) - 1
	if k := len(x.losses) - 1; k >= 0 && x.losses[k].Last == s.load-1 {
		x.losses[k].Last = last
	} else {
		x.losses = append(x.losses, cc.Range{First: s.load, Last: last})
	}
	if s.times >= doubtTimes {
		c.doubt(s.n)
	}
}

// tellLosses tells the congestion control of the losses found. Repetitions are
// paced as everything is: at 1% of loss on a fast path one that goes out at once
// for each report would be a tenth of the rate, or a burst each time.
func (c *core) tellLosses(now time.Duration) {
	x := &c.send
	if len(x.losses) == 0 {
		return
	}
	l := cc.Loss{Ranges: x.losses}
	for _, r := range x.losses {
		l.Packets += int(r.Len())
	}
	c.fill(now)
	c.control.OnLoss(&c.stats, &l)
	x.losses = x.losses[:0]
}

// resendTimeout is after what time a packet that was sent again is taken for
// lost again.
func (x *sender) resendTimeout() time.Duration {
	return max(x.rtt.patience(), 2*synInterval) + synInterval
}

// resentAt is when checkResent has something to do: the first packet missing was
// sent again, and should have come; or others were, behind it, and the peer
// seems to be one that reports a packet once only, as the library does. Those may
// well be there, since acknowledgements are in order, so they get more time.
//
// While the peer has no room nothing is lost that was refused: probes go on.
func (x *sender) resentAt() time.Duration {
	if x.closed {
		return never
	}
	due := never
	if !x.repeats && len(x.resents) > 0 {
		due = x.resents[0].at + resendPatience*x.resendTimeout()
	}
	return min(due, x.headAt())
}

// headAt is when the first packet missing is taken for lost: again, or although
// nothing was said of it. A peer that reports each loss once says nothing more if
// its report was lost, and by what it has reported since then the packet counts as
// one that has arrived. Others repeat their reports.
func (x *sender) headAt() time.Duration {
	if x.acked == x.next || x.lost.Contains(x.acked, x.acked+1) {
		return never
	}
	s := x.get(x.acked)
	switch {
	case s.times > resendTimes, !s.out && !s.counted: // not sent, or given up
		return never
	case s.times > 1 && x.overdue(0, s):
		return 0
	case s.times > 1 || x.known > x.acked && !x.repeats:
		return s.at + x.resendTimeout()
	}
	return never
}

// checkResent looks for repetitions that were lost, too.
func (c *core) checkResent(now time.Duration) {
	x := &c.send
	if now < x.resentAt() {
		return
	}
	if now >= x.headAt() {
		c.lose(now, x.acked, x.acked, false)
	}
	for len(x.resents) > 0 && now >= x.resents[0].at+resendPatience*x.resendTimeout() {
		r := x.resents[0]
		x.resents = x.resents[1:]
		if x.repeats || r.pos < x.acked {
			continue
		}
		if s := x.get(r.pos); s.at == r.at && s.out {
			c.lose(now, r.pos, r.pos, false)
		}
	}
	c.tellLosses(now)
	c.learn()
}

// probeAt is when the tail of what was sent is to be looked after, since
// nothing has moved. The first time the peer is only asked to look at its
// timers; then the last packet is sent again, so that the peer sees what it
// misses before it; then the first one, too, ever more rarely.
func (x *sender) probeAt() time.Duration {
	if x.acked == x.next || x.lost.Len() > 0 {
		return never
	}
	last := max(x.progress, x.lastSent)
	switch x.probes {
	case 0:
		rtt := x.minRTT // the smooth one has grown by what the peer waits for
		if rtt == 0 {
			rtt = x.rtt.rtt
		}
		return last + rtt + synInterval + pokeDelay
	default:
		d := x.rtt.patience() + 2*synInterval
		return last + max(d, min(d<<min(x.probes-1, 6), aliveInterval))
	}
}

func (c *core) probe(now time.Duration, out *outbox) {
	x := &c.send
	if now < x.probeAt() {
		return
	}
	x.probes++
	c.count.Probes++
	if x.probes > 1 {
		c.doubt(c.full)
	}
	if x.probes == 1 {
		x.progress = now
		out.push(appendEmpty(out.room(), kindKeepAlive, 0, c.peerID), c.peer)
		return
	}
	x.probing = true
	c.emit(now, x.next-1, x.next-1, out)
	if x.probes > 2 && x.next-1 > x.acked {
		c.emit(now, x.acked, x.acked, out)
	}
	x.probing = false
}

// onTimeout is what silence means while packets are on the way.
func (c *core) onTimeout(now time.Duration) {
	x := &c.send
	c.count.Timeouts++
	c.lose(now, x.acked, x.acked, false)
	x.losses = x.losses[:0]
	c.fill(now)
	c.control.OnTimeout(&c.stats)
	c.learn()
	x.paceAt = now
}

// sendDeadline is when collectSender has something to do.
func (c *core) sendDeadline() time.Duration {
	x := &c.send
	if x.more {
		return 0
	}
	d := min(x.probeAt(), x.resentAt())
	pace := x.paceAt
	if c.ctl.Rate == 0 {
		pace = 0
	}
	if x.lost.Len() > 0 {
		return min(d, pace)
	}
	if at := max(pace, x.holdUntil); c.window(at) > 0 {
		d = min(d, at)
	}
	return d
}
