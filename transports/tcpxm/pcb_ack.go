package tcpxm

import (
	"cmp"
	"slices"
	"time"

	"github.com/gomover/gomover/transports/internal/cc"
	"github.com/gomover/gomover/transports/tcpxm/internal/coding"
	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// acknowledge takes an acknowledgement: all before upTo can be delivered, and what
// the blocks name has arrived.
func (p *pcb) acknowledge(now time.Duration, upTo, window int64, g *segment.Segment) {
	x := &p.s.stream
	told := cc.Ack{}
	var sample time.Duration
	if to := p.slotsBelow(min(upTo, x.end)); to > p.una {
		p.deliver(now, p.una, to, &told, &sample)
		p.pop(to)
	}
	if upTo > p.acked {
		p.acked, p.timer.stuck = upTo, now
	}
	p.limit, p.widest = max(p.limit, upTo+window), max(p.widest, window)
	held := func(b segment.Block) {
		lo, hi := segment.Near(p.s.iss, b.Left, p.acked), segment.Near(p.s.iss, b.Right, p.acked)
		if lo >= 0 && lo < hi && hi <= x.end {
			p.deliver(now, max((lo+x.slot-1)/x.slot, p.una), p.slotsBelow(hi), &told, &sample)
		}
	}
	for _, b := range g.Options.SACK[:g.Options.Blocks] {
		held(b)
	}
	for b := range g.More() {
		held(b)
	}
	if told.Packets == 0 {
		return
	}
	p.timer.progress, p.timer.probes = now, 0
	p.est.add(sample)
	told.RTT = sample
	told.Delivery = p.sampler.Sample(p.est.min)
	p.detect(now)
	if p.control != nil {
		p.fill(now)
		p.control.OnAck(&p.stats, &told)
		p.ctl = p.control.Control()
	}
}

// slotsBelow is how many slots lie wholly before an offset.
func (p *pcb) slotsBelow(off int64) int64 {
	if x := &p.s.stream; off == x.end && x.flush {
		return (off + x.slot - 1) / x.slot
	}
	return off / p.s.stream.slot
}

// deliver notes that slots have arrived, those that are not sent yet included: the
// group may be ahead.
func (p *pcb) deliver(now time.Duration, lo, hi int64, told *cc.Ack, sample *time.Duration) {
	if hi <= lo || p.arrived.Contains(lo, hi) || lo > p.una && p.arrived.Len() >= maxExtents && !p.touches(lo, hi) {
		return
	}
	for e := range p.arrived.Missing(lo, hi) {
		for slot := e.Lo; slot < min(e.Hi, p.next); slot++ {
			p.deliverOne(now, slot, told, sample)
		}
		if e.Hi > p.next && (p.upper == nil || e.Lo < p.layer.layer.from) {
			p.multi.aheadOf(now, e.Hi-max(e.Lo, p.next))
			p.timer.progress = now
		}
	}
	p.arrived.Add(lo, hi)
	p.lost.Remove(lo, hi)
	p.coded.Remove(lo, hi)
}

// maxExtents bounds in how many pieces a receiver may say that it has the stream, since
// each acknowledgement costs time in proportion. Ours: a window of 500 MB at 1% of
// losses has as many. What is told beyond is sent again.
const maxExtents = 4096

// touches tells that slots make a piece longer that is known.
func (p *pcb) touches(lo, hi int64) bool {
	return p.arrived.Contains(lo-1, lo) || p.arrived.Contains(hi, hi+1)
}

func (p *pcb) deliverOne(now time.Duration, slot int64, told *cc.Ack, sample *time.Duration) {
	e := p.entry(slot)
	if e.known {
		return
	}
	e.known = true
	if e.out {
		e.out = false
		p.inFlight--
	}
	p.multi.delivered(now, e)
	if e.times == 0 {
		return // came by the group before this end had sent it
	}
	told.Packets++
	again := e.times > 1 && e.uni && now-e.at >= p.est.min // what was sent last, most likely
	if again || e.times == 1 {
		p.newest = max(p.newest, e.at)
	}
	if e.times > 1 && !again || e.lost || e.early { // it may have come long ago
		p.sampler.DeliverLate(p.wire() + int(e.extra))
		return
	}
	p.sampler.Deliver(now, e.mark, p.wire()+int(e.extra))
	if again {
		return
	}
	if d := now - e.at; *sample == 0 || d < *sample {
		*sample = d
	}
}

// pop forgets slots that were delivered.
func (p *pcb) pop(to int64) {
	p.arrived.Remove(0, to)
	p.lost.Remove(0, to)
	p.coded.Remove(0, to)
	p.una = to
	p.next = max(p.next, to)
}

// reorder is how long what was sent later may arrive earlier.
func (p *pcb) reorder() time.Duration { return p.est.min/4 + time.Millisecond }

// detect takes slots for lost that others have overtaken by more than reordering
// explains. Source: RFC 8985, section 6.2.
func (p *pcb) detect(now time.Duration) {
	window := p.reorder()
	high := p.una
	for e := range p.arrived.Backward() {
		if e.Lo < p.next { // what lies behind has come by a further layer
			high = min(e.Hi, p.next)
			break
		}
	}
	for {
		s, ok := p.order.first()
		if !ok || s.at+window > p.newest {
			break
		}
		if e := p.flying(s); e != nil {
			if s.slot >= high {
				break // what overtook it was sent again
			}
			p.lose(now, s.slot, e, true)
		}
		p.order.pop()
	}
	slices.SortFunc(p.losses, func(a, b cc.Range) int { return cmp.Compare(a.First, b.First) })
	p.tellLosses(now)
}

// flying gives what is known of a slot that was sent, if that is under way still.
func (p *pcb) flying(s sending) *entry {
	if s.slot < p.una || s.slot >= p.next {
		return nil
	}
	if e := p.entry(s.slot); e.out && e.at == s.at {
		return e
	}
	return nil
}

// lose takes a slot for lost, and decides how it is mended; coded if it may be by
// coded repair.
func (p *pcb) lose(now time.Duration, slot int64, e *entry, coded bool) {
	e.out, e.lost = false, true
	p.inFlight--
	p.counts.Lost++
	if k := len(p.losses) - 1; k >= 0 && p.losses[k].Last == slot-1 {
		p.losses[k].Last = slot
	} else {
		p.losses = append(p.losses, cc.Range{First: slot, Last: slot})
	}
	if coded && p.mode == Multicast && !e.uni && !p.s.cfg.NoRepair && p.group.mend(now, p, slot) {
		p.coded.Add(slot, slot+1)
		return
	}
	p.lost.Add(slot, slot+1)
}

func (p *pcb) tellLosses(now time.Duration) {
	if len(p.losses) == 0 || p.control == nil {
		p.losses = p.losses[:0]
		return
	}
	l := cc.Loss{Ranges: p.losses}
	for _, r := range p.losses {
		l.Packets += int(r.Len())
	}
	p.fill(now)
	p.control.OnLoss(&p.stats, &l)
	p.ctl = p.control.Control()
	p.losses = p.losses[:0]
}

// refused takes back what a receiver has found to be forged: it gets the block again,
// by unicast.
func (p *pcb) refused(now time.Duration, start int64) {
	x := &p.s.stream
	block := coding.K * x.slot
	if start < 0 || start%block != 0 || start+block <= p.acked || start/x.slot >= p.next || now < p.multi.refusedAt+p.est.timeout(0) && start == p.multi.refusedBlock {
		return
	}
	p.multi.refusedAt, p.multi.refusedBlock = now, start
	p.counts.Refused++
	lo, hi := max(start/x.slot, p.una), min(start/x.slot+coding.K, p.next)
	p.arrived.Remove(lo, hi)
	p.coded.Remove(lo, hi)
	for slot := lo; slot < hi; slot++ {
		e := p.entry(slot)
		if e.out {
			p.inFlight--
		}
		*e = entry{times: e.times, lost: true, uni: true, multi: e.multi}
		p.lost.Add(slot, slot+1)
	}
	if p.counts.Refused >= refusalsBearable && p.mode == Multicast {
		p.fallBack(now, 4*holdDown)
	}
}

// refusalsBearable is how many forged blocks a receiver bears until it gets nothing
// by the group any more: somebody in it forges.
const refusalsBearable = 2
