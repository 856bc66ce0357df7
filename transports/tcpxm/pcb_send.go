package tcpxm

import (
	"net/netip"
	"time"

	"github.com/gomover/gomover/transports/internal/pace"
	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// Constants of conversations. Ours.
const (
	copiesShare = 3                      // of its pace goes to a receiver while there are copies, too
	behindShare = 20                     // of the group's pace goes to one that returns
	synRepeat   = time.Second            // and twice as long each time (RFC 6298)
	keepAlive   = time.Second            // of silence
	persist     = 250 * time.Millisecond // between looks at a closed window
	resetRepeat = 50 * time.Millisecond
	finMax      = time.Second
	rescueAfter = 300 * time.Millisecond // until a digest is sent again that seems to be missing
)

// tick does what the time demands, except for sending data.
func (p *pcb) tick(now time.Duration, out *outbox) {
	switch p.state {
	case synSent:
		p.tickSYN(now, out)
	case failed:
		if p.timer.resets < resetTimes && now >= p.timer.said+resetRepeat {
			p.timer.resets++
			p.control0(now, segment.RST|segment.ACK, out)
		}
	case done:
		if p.timer.reply {
			p.control0(now, segment.ACK, out)
		}
	case open, finSent:
		p.tickOpen(now, out)
	}
}

func (p *pcb) tickSYN(now time.Duration, out *outbox) {
	switch {
	case now >= p.begun+p.s.cfg.Connect:
		p.timer.resets = resetTimes
		p.fail(now, ErrTimeout)
	case now >= p.timer.syn:
		p.timer.syn = now + synRepeat<<min(p.timer.syns, 4)
		p.timer.syns++
		p.control0(now, segment.SYN, out)
	}
}

func (p *pcb) tickOpen(now time.Duration, out *outbox) {
	if now >= p.timer.heard+p.s.cfg.Dead {
		p.fail(now, ErrTimeout)
		return
	}
	p.tickGroup(now)
	p.tickTimeout(now)
	p.tickUpper(now)
	p.rescue(now)
	p.sendDigests(now)
	p.sendControls(now, out)
	x := &p.s.stream
	if p.state == open && x.closed && p.acked >= x.end && p.s.started {
		p.state, p.timer.fin = finSent, now
	}
	switch {
	case p.state == finSent && now >= p.timer.fin:
		p.timer.fin = now + min(p.est.timeout(p.late())<<min(p.timer.fins, 4), finMax)
		p.timer.fins++
		p.control0(now, segment.FIN|segment.ACK, out)
	case p.timer.reply, p.timer.schedule, now >= p.tellAt(), now >= p.timer.said+keepAlive, now >= p.persistAt():
		p.control0(now, segment.ACK, out)
	}
}

// tellAt is when the group is to be told, again if need be.
func (p *pcb) tellAt() time.Duration {
	if !p.tell {
		return never
	}
	return p.timer.told + p.est.timeout(0)/2
}

// persistAt is when a receiver without room is to be asked again (RFC 9293, section
// 3.8.6.1).
func (p *pcb) persistAt() time.Duration {
	x := &p.s.stream
	if p.inFlight > 0 || p.next >= x.slots() || (p.next+1)*x.slot <= p.limit || p.mode == Multicast && p.limit > p.next*x.slot {
		return never
	}
	return p.timer.said + persist
}

// groupAddr is the group that the receiver is to listen to.
func (p *pcb) groupAddr() netip.Addr {
	if p.group != nil {
		return p.group.addr.Addr()
	}
	if p.s.cfg.Group.Addr().Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// control0 sends a segment without data, which may say more than others.
func (p *pcb) control0(now time.Duration, flags uint8, out *outbox) {
	x := &p.s.stream
	off := p.next * x.slot
	if p.next >= x.slots() {
		off = x.end
	}
	g := segment.Segment{Src: 1, Dst: 1, Flags: flags, Window: 1<<16 - 1}
	switch {
	case flags&segment.SYN != 0:
		off = -1
		g.Options = segment.Options{MSS: uint16(x.slot), HasScale: true, Scale: windowScale, SACKPermitted: true}
		if p.group != nil {
			g.Options.Group = p.group.addr.Addr()
		}
	case flags&segment.FIN != 0:
		off = x.end
		g.Ack = p.irs + 1
	default:
		g.Ack = p.irs + 1
		if p.state == done {
			g.Ack++
		}
		if p.tell {
			g.Options.Group, g.Options.Layer = p.groupAddr(), p.layerNumber()
			p.timer.told = now
		}
	}
	if p.start > 0 && flags&segment.SYN != 0 { // for both there is no room
		g.Options.HasStart, g.Options.Start = true, p.start
	} else if flags&segment.RST == 0 {
		g.Options.HasSchedule, g.Options.Schedule = true, p.s.schedule(p)
	}
	p.timer.reply, p.timer.schedule, p.timer.said = false, false, now
	var high uint16
	g.Seq, high = segment.Number(p.s.iss, off)
	p.s.emit(p.addr, &p.out, segment.Pair, high, &g, out)
}

// schedule is what a receiver is told of when to acknowledge.
func (s *session) schedule(p *pcb) segment.Schedule {
	c := s.plan
	c.Index = uint8(p.index)
	return c
}

// send sends data by unicast: what was lost, then what is new, as the control allows.
func (p *pcb) send(now time.Duration, out *outbox) {
	if p.state != open || !p.s.started || p.control == nil {
		return
	}
	pacer, held := &p.pacer, false
	if p.mode == Multicast {
		pacer = &p.group.pacer // repetitions take from what the group may send
	} else {
		held = p.setPace(now)
		if p.pacer.Overrun() && !p.waited {
			p.hold()
		}
		p.waited = false
	}
	for pacer.Budget(now) >= p.wire() && float64(p.inFlight) < p.ctl.Window {
		slot, again := p.choose()
		if slot < 0 {
			if p.waited = true; p.mode != Multicast && (p.sentAll() || p.holds()) {
				p.starve()
			}
			return
		}
		if !p.sendSlot(now, slot, again, out) {
			return
		}
		if p.mode == Multicast {
			p.group.charge(now, p.wire())
			continue
		}
		pacer.Sent(now, p.wire())
		p.starved = held
	}
	p.waited = float64(p.inFlight) >= p.ctl.Window
}

// setPace follows the congestion control, and tells whether something else holds the
// receiver back.
func (p *pcb) setPace(now time.Duration) (held bool) {
	rate := p.ctl.Rate
	if p.mode == GroupUnicast && p.multi.free && p.next < p.multi.probeTo {
		rate /= copiesShare // its own copies and those for others take the same link
	}
	if g := p.group; p.behind && g != nil && len(g.members) > 0 && g.next < p.s.stream.slots() {
		rate = min(rate, max(g.pacing/behindShare, 1))
	}
	if held = rate < p.ctl.Rate; held {
		p.starve()
	}
	p.pacer.Set(now, rate, pace.Quantum(rate, p.wire(), 0), pace.Depth(rate, p.est.min))
	return held
}

// choose gives the next slot to send by unicast, -1 without any.
func (p *pcb) choose() (slot int64, again bool) {
	for e := range p.lost.All() {
		return e.Lo, true
	}
	if p.mode == Multicast || p.holds() {
		return -1, false
	}
	x := &p.s.stream
	for p.next < x.slots() && (p.next+1)*x.slot <= p.limit+x.slot-1 && p.next*x.slot+int64(x.size(p.next)) <= p.limit {
		if !p.arrived.Contains(p.next, p.next+1) {
			return p.next, false
		}
		p.grow().known = true // came by the group
	}
	return -1, false
}

// sendSlot sends a slot to this receiver alone.
func (p *pcb) sendSlot(now time.Duration, slot int64, again bool, out *outbox) bool {
	x := &p.s.stream
	n := x.size(slot)
	b := out.room()
	g := segment.Segment{Src: 1, Dst: 1, Flags: segment.ACK, Ack: p.irs + 1, Window: 1<<16 - 1}
	if slot+1 == x.slots() {
		g.Flags |= segment.PSH
	}
	var high uint16
	g.Seq, high = segment.Number(p.s.iss, slot*x.slot)
	b = g.Append(append(b, make([]byte, segment.ShimLen)...))
	at := len(b)
	b = b[:at+n]
	if err := p.s.fetch(slot*x.slot, b[at:]); err != nil {
		p.s.err = err
		return false
	}
	if !p.s.push(p.addr, &p.out, segment.Shim{Kind: segment.Pair, High: high}, b, out) {
		return false
	}
	p.timer.said = now
	p.s.stats.UnicastBytes += int64(n)
	p.counts.UnicastBytes += int64(n)
	p.counts.UnicastPackets++
	var e *entry
	if again {
		e = p.entry(slot)
		p.lost.Remove(slot, slot+1)
		if e.times > 0 {
			p.counts.Resent++
			p.counts.ResentBytes += int64(n)
			p.s.stats.ResentPackets++
			p.s.stats.ResentBytes += int64(n)
		}
	} else {
		e = p.grow()
		e.early = p.tell || p.mode == Fallback && p.multi.mayHear(now, p.start > 0)
		if p.mode == GroupUnicast {
			e.early = p.group.copies.Contains(slot, slot+1)
			e.multi = p.group.copy(now, slot, p.multi.probeTo, out)
		}
	}
	e.uni = true
	p.sent(now, slot, e)
	return true
}

// hold notes that something at this end has held it back: what is delivered next says
// little of the path.
func (p *pcb) hold() { p.sampler.Starved(int64(p.inFlight * p.wire())) }

// starve notes that there is room to send, and nothing to send.
func (p *pcb) starve() {
	p.hold()
	p.starved = true
}

// sent notes that a slot was sent.
func (p *pcb) sent(now time.Duration, slot int64, e *entry) {
	if p.inFlight == 0 {
		p.timer.progress = max(p.timer.progress, now)
	}
	if !e.out {
		p.inFlight++
	}
	e.mark = p.sampler.Sent(now, p.inFlight-1)
	e.at, e.out, e.lost = now, true, false
	p.order.push(slot, now)
	e.times = min(e.times+1, 255-1)
}

// timeoutAt is when the tail of what was sent is looked after. Source: RFC 8985,
// section 7, and RFC 6298.
func (p *pcb) timeoutAt() time.Duration {
	if p.inFlight == 0 {
		return never
	}
	if p.timer.probes == 0 {
		return p.timer.progress + min(2*p.est.smooth+p.late()+2*time.Millisecond+p.probeSlack(), p.est.timeout(p.late()))
	}
	return p.timer.progress + min(p.est.timeout(p.late())<<min(p.timer.probes, 6), maxRTO)
}

// probeSlack is what is added before an RTT is known.
func (p *pcb) probeSlack() time.Duration {
	if p.est.smooth == 0 {
		return initialRTO
	}
	return 0
}

// tickTimeout first sends the last slot again, so that the receiver tells what it
// misses; then all counts as lost.
func (p *pcb) tickTimeout(now time.Duration) {
	if now < p.timeoutAt() || p.control == nil {
		return
	}
	p.timer.probes++
	if p.timer.probes == 1 {
		for slot := p.next - 1; slot >= p.una; slot-- {
			if e := p.entry(slot); e.out {
				p.lose(now, slot, e, false)
				break
			}
		}
		p.losses = p.losses[:0]
		return
	}
	if p.mode == Multicast && p.timer.probes > 2 {
		p.fallBack(now, holdDown)
	}
	for slot := p.una; slot < p.next; slot++ {
		if e := p.entry(slot); e.out {
			p.lose(now, slot, e, true)
		}
	}
	p.losses = p.losses[:0]
	p.fill(now)
	p.control.OnTimeout(&p.stats)
	p.ctl = p.control.Control()
}

// sendAt is when data may go by unicast.
func (p *pcb) sendAt(now time.Duration) time.Duration {
	if p.state != open || !p.s.started || p.control == nil || float64(p.inFlight) >= p.ctl.Window {
		return never
	}
	if slot, _ := p.choose(); slot < 0 {
		return never
	}
	if p.mode == Multicast {
		return p.group.pacer.Next(now)
	}
	return p.pacer.Next(now)
}

// deadline is when there is something to do if nothing comes.
func (p *pcb) deadline(now time.Duration) time.Duration {
	switch p.state {
	case synSent:
		return min(p.timer.syn, p.begun+p.s.cfg.Connect)
	case failed:
		if p.timer.resets >= resetTimes {
			return never
		}
		return p.timer.said + resetRepeat
	case done:
		if p.timer.reply {
			return 0
		}
		return never
	}
	if p.timer.reply || p.timer.schedule {
		return 0
	}
	d := min(p.timer.heard+p.s.cfg.Dead, p.timer.said+keepAlive, p.tellAt(), p.persistAt(), p.timeoutAt(), p.sendAt(now))
	if p.state == finSent {
		d = min(d, p.timer.fin)
	}
	if p.upper != nil {
		d = min(d, p.upper.timeoutAt())
	}
	return min(d, p.groupAt(), p.rescueAt(), p.digestsAt(), p.ctlOut.due(p))
}
