package tcpxm

import (
	"net/netip"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/transports/internal/cc"
	"github.com/gomover/gomover/transports/internal/pace"
	"github.com/gomover/gomover/transports/tcpxm/internal/coding"
	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// group is one multicast group: who gets by it what is sent for the first time, up
// to where, and how fast. It belongs to no receiver.
type group struct {
	s       *session
	number  int // of those of the session
	addr    netip.AddrPort
	members []*pcb
	begun   bool
	next    int64 // slot
	sent    int64 // slots
	vouched int64 // offset up to which digests were made
	pace    *cc.Group
	pacer   pace.Pacer
	copies  rangeset.Set // slots of which copies were sent to find out who hears
	waits   time.Duration
	blocks  map[int64]*mending
	trial   trial
	pacing  units.Rate
	waited  bool // for more to send, or for room in a window
	extra   int  // bytes charged since the last slot
	layer   layering
}

// extraMost bounds the bytes that count as delivered with one slot. Ours: as many as a
// block's symbols have at the most.
const extraMost = coding.MaxParity * maxPayload

// minMembers is how many receivers make a group worth while: to one alone, unicast
// is the same.
const minMembers = 2

// newGroup makes the next group of the session.
func (s *session) newGroup() *group {
	g := &group{s: s, waits: never, blocks: make(map[int64]*mending)}
	g.number = s.number
	s.number++
	g.addr = netip.AddrPortFrom(behind(s.cfg.Group.Addr(), g.number), s.cfg.Group.Port())
	g.pace, _ = cc.NewGroup(s.cfg.Control) // tried by Config.validate
	return g
}

// copy sends a copy of a slot that a receiver gets by unicast, once; it tells whether
// there is one.
func (g *group) copy(now time.Duration, slot, to int64, out *outbox) bool {
	if g.copies.Contains(slot, slot+1) {
		return true
	}
	if slot >= to || g.begun && len(g.members) > 0 {
		return false
	}
	if !g.emit(slot, out) {
		return false
	}
	g.copies.Add(slot, slot+1)
	return true
}

// emit sends a slot to the group.
func (g *group) emit(slot int64, out *outbox) bool {
	s, x := g.s, &g.s.stream
	n := x.size(slot)
	seg := segment.Segment{Src: 1, Dst: 1}
	if slot+1 == x.slots() {
		seg.Flags |= segment.PSH
	}
	var high uint16
	seg.Seq, high = segment.Number(s.iss, slot*x.slot)
	b := out.room()
	b = seg.Append(append(b, make([]byte, segment.ShimLen)...))
	at := len(b)
	b = b[:at+n]
	if err := s.fetch(slot*x.slot, b[at:]); err != nil {
		s.err = err
		return false
	}
	s.stats.GroupBytes += int64(n)
	return s.push(g.addr, &s.sealers.group, segment.Shim{Kind: segment.Group, High: high}, b, out)
}

// collect begins, mends and sends.
func (g *group) collect(now time.Duration, out *outbox) {
	g.begin(now)
	if len(g.members) == 0 {
		return
	}
	g.setPace(now)
	g.repair(now, out)
	wire := g.members[0].wire()
	g.repeat(now, wire, out)
	if g.pacer.Overrun() && !g.waited && g.pace.Found() { // this end was late, so what comes tells little of the paths
		for _, p := range g.members {
			p.hold()
		}
	}
	g.waited = false
	for g.next < g.s.stream.slots() && g.allowed() {
		if g.pacer.Budget(now) < wire {
			return
		}
		if !g.emit(g.next, out) {
			return
		}
		g.pacer.Sent(now, wire)
		g.note(now)
		if g.handOver(now); len(g.members) == 0 {
			return
		}
	}
	g.waited = true
	g.vouch(now)
	if g.next >= g.s.stream.slots() {
		for _, p := range g.members {
			p.starve()
		}
	}
}

// repeat sends what members have to get again by unicast, if that is little: what is new
// would leave nothing for it. Who misses much waits until there is room.
func (g *group) repeat(now time.Duration, wire int, out *outbox) {
	for _, p := range g.members {
		if n := p.lost.Total(); n == 0 || p.over != nil || n > mendAlone || float64(p.inFlight) >= p.ctl.Window || g.pacer.Budget(now) < wire {
			continue
		}
		first, _ := p.lost.First()
		if !p.sendSlot(now, first.Lo, true, out) {
			return
		}
		g.charge(now, wire)
	}
}

// charge takes from the pace what is sent beside the group's slots: repairs, and what
// members get by unicast. It counts as delivered with the next slot, since the pace is that
// of all of it.
func (g *group) charge(now time.Duration, n int) {
	g.pacer.Sent(now, n)
	g.extra += n
}

// setPace takes the lowest pace of the members.
func (g *group) setPace(now time.Duration) {
	rate, rtt := cc.MaxRate, never
	for _, p := range g.members {
		if p.ctl.Rate > 0 {
			rate = min(rate, p.ctl.Rate)
		}
		rtt = min(rtt, p.est.min)
	}
	if r, ok := g.pace.Pace(); ok {
		rate = r
	}
	rate = g.limit(rate)
	g.pacing = rate
	g.pacer.Set(now, rate, pace.Quantum(rate, g.members[0].wire(), 0), pace.Depth(rate, rtt))
}

// allowed tells whether all members may get one more slot.
func (g *group) allowed() bool {
	x := &g.s.stream
	end := g.next*x.slot + int64(x.size(g.next))
	for _, p := range g.members {
		if p.next <= g.next && (float64(p.inFlight) >= p.ctl.Window || end > p.limit) {
			return false
		}
	}
	return true
}

// note counts a slot that was sent, for all members.
func (g *group) note(now time.Duration) {
	n := int64(g.s.stream.size(g.next))
	for _, p := range g.members {
		if p.next > g.next {
			continue
		}
		p.counts.GroupBytes += n
		p.counts.GroupPackets++
		p.starved = false
		known := p.arrived.Contains(p.next, p.next+1)
		e := p.grow()
		if e.multi = true; known {
			e.known = true
			continue
		}
		p.sent(now, g.next, e)
		e.extra = int32(min(g.extra, extraMost))
	}
	g.extra = 0
	g.next++
	g.sent++
	if g.next%coding.K == 0 {
		g.vouch(now)
	}
}

// vouch tells all who may have heard it what the group has sent.
func (g *group) vouch(now time.Duration) {
	x := &g.s.stream
	upTo := g.next * x.slot
	if g.next >= x.slots() {
		upTo = x.end
	} else {
		upTo -= upTo % (coding.K * x.slot)
	}
	for g.vouched < upTo {
		block := g.vouched / (coding.K * x.slot)
		to := min((block+1)*coding.K*x.slot, upTo)
		d, ok := g.s.vouch(block, to)
		if !ok {
			g.vouched = to
			continue
		}
		for _, p := range g.s.pcbs {
			if p.state == open && (p.group == g || p.layer == g) && p.acked < to {
				p.owe(now, d)
			}
		}
		g.complete(now, block)
		g.vouched = to
	}
}

// begin begins when enough receivers are known to hear, and no more are waited for.
func (g *group) begin(now time.Duration) {
	if len(g.members) > 0 || !g.s.started {
		return
	}
	ready, undecided, span := 0, 0, time.Duration(0)
	for _, p := range g.s.pcbs {
		if p.group != g || p.mode != GroupUnicast || p.state != open {
			continue
		}
		span = max(span, p.est.smooth)
		if p.multi.qualified {
			ready++
		} else {
			undecided++
		}
	}
	if ready < minMembers {
		g.waits = never // until there are enough again
		for _, p := range g.s.pcbs {
			p.multi.free = p.multi.free || p.group == g && (ready+undecided < minMembers || p.multi.qualified && undecided == 0)
		}
		return
	}
	if undecided > 0 {
		if g.waits = min(g.waits, now+max(2*span, badAfter)); now < g.waits {
			return
		}
	}
	g.next = 0
	for _, p := range g.s.pcbs {
		if p.group == g && p.mode == GroupUnicast && p.multi.qualified {
			g.next = max(g.next, p.next)
		}
	}
	g.vouched = g.next * g.s.stream.slot
	g.vouched -= g.vouched % (coding.K * g.s.stream.slot)
	g.begun, g.waits = true, never
	for _, p := range g.s.pcbs {
		if p.group == g && p.mode == GroupUnicast && p.state == open {
			if p.multi.qualified {
				g.add(now, p)
			} else { // what the others get would fill its link
				p.slowDown(now)
			}
		}
	}
}

// add makes a receiver a member: it gets the rest by the group, and what lies between
// by unicast.
func (g *group) add(now time.Duration, p *pcb) {
	p.leaveFlow(now)
	for p.next < g.next {
		slot := p.next
		known := p.arrived.Contains(slot, slot+1)
		if e := p.grow(); known {
			e.known = true
		} else {
			e.lost, e.early = true, true // it may be under way by the group
			p.lost.Add(slot, slot+1)
		}
	}
	p.mode = Multicast
	p.multi.since, p.multi.heardAt, p.multi.bad = now, now, 0
	p.counts.Forwards++
	g.members = append(g.members, p)
	p.newFlow(now, g)
}

// remove takes a member out.
func (g *group) remove(p *pcb) {
	for i, o := range g.members {
		if o == p {
			g.members = append(g.members[:i], g.members[i+1:]...)
			return
		}
	}
}

// movesWithout tells that others get on.
func (g *group) movesWithout(now time.Duration, p *pcb) bool {
	for _, o := range g.members {
		if o != p && now < o.timer.progress+silence {
			return true
		}
	}
	return false
}

// rate is what the path to a receiver was seen to carry.
func (p *pcb) rate() units.Rate {
	if e, ok := p.control.(cc.Estimator); ok {
		return e.Estimate()
	}
	if p.est.smooth <= 0 {
		return 0
	}
	return units.Rate(p.ctl.Window * float64(p.wire()) / p.est.smooth.Seconds())
}

// deadline is when collect has something to do.
func (g *group) deadline(now time.Duration) time.Duration {
	if len(g.members) == 0 {
		return g.waits
	}
	d := never
	for _, m := range g.blocks {
		d = min(d, m.due)
	}
	if g.next < g.s.stream.slots() && g.allowed() {
		d = min(d, g.pacer.Next(now))
	}
	return d
}
