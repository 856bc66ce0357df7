package tcpxm

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
	"github.com/gomover/gomover/transports/internal/cc"
	"github.com/gomover/gomover/transports/internal/pace"
	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// pcbState is where the conversation with a receiver stands.
//
//	synSent --> open --> finSent --> done
//	   |          |         |
//	   '----------+---------'------> failed
type pcbState uint8

const (
	synSent pcbState = iota
	open
	finSent
	done
	failed
)

// String gives the state as one word.
func (s pcbState) String() string {
	return [...]string{"connecting", "open", "finishing", "done", "failed"}[s]
}

// Mode is how a receiver gets what is sent for the first time.
type Mode uint8

// The modes. Source: the papers, for the first three.
const (
	// UnicastOnly: it takes no part in multicast.
	UnicastOnly Mode = iota
	// GroupUnicast: by unicast, with copies to the group, to see whether it hears them.
	GroupUnicast
	// Multicast: by the group.
	Multicast
	// Fallback: by unicast, since the group did not reach it; it listens on.
	Fallback
	// Slowed: by unicast, since it would hold others back; it has left the group.
	Slowed
)

// String gives the mode in a word.
func (m Mode) String() string {
	return [...]string{"unicast only", "group unicast", "multicast", "fallback", "slowed"}[m]
}

// entry is what is known of one slot that was sent, to one receiver.
type entry struct {
	at    time.Duration // of its last sending
	mark  cc.Mark
	extra int32 // bytes that were charged to the group before it
	times uint8 // it was sent
	out   bool  // in flight as far as known
	lost  bool  // to be sent again, by unicast or coded
	multi bool  // sent by the group
	uni   bool  // sent by unicast
	early bool  // the group may have brought it before it came by unicast
	known bool  // has arrived
}

// pcb is the protocol control block of one receiver.
//
//	una             known by SACK            next
//	 | in flight or lost, in scoreboard       | not sent yet, or arrived by the group
type pcb struct {
	s      *session
	index  int
	addr   netip.AddrPort
	shared bool // by several receivers, behind a relay
	state  pcbState
	// answered: it has been open.
	answered bool
	err      error
	in       opener
	out      sealer
	irs      uint32
	mode     Mode
	group    *group // that it listens to, or is to; nil is none
	heard    bool   // it has joined that
	tell     bool   // the group is to be told
	key      uint32 // number of the control datagram with the group's key, if that was told
	// Of a further layer, that it is to hear besides (layer.go).
	layer   *group // nil is none
	layered bool   // it does
	upper   *pcb   // what is known of it by that; nil is nothing
	over    *pcb   // of which this is upper; nil for a receiver

	begun time.Duration // when it was first called
	start int64         // offset of its first byte; una began with the block of that

	una, next int64 // slots
	acked     int64 // bytes
	limit     int64 // bytes: the right edge of its window
	widest    int64 // bytes: of its window
	entries   []entry
	arrived   rangeset.Set // slots at or behind una
	lost      rangeset.Set // slots to be sent again by unicast
	coded     rangeset.Set // slots to be mended by coded repair
	inFlight  int
	counts    PCBCounters
	elsewhere struct{ lost, resent int64 } // of counts, that the present control is not told

	control cc.Controller
	ctl     cc.Control
	stats   cc.Stats
	sampler cc.Sampler
	pacer   pace.Pacer
	est     rtt
	newest  time.Duration // sending of the latest of those that have arrived
	losses  []cc.Range
	order   order
	starved bool // there was room to send, and nothing to send
	waited  bool // for more to send, or for room in the window

	timer  timers
	multi  evidence
	behind bool // it was away, and must not hold back the others when it returns
	ctlOut controlsOut
	slow   slowness
	digest []segment.Digest // to be told
	owed   time.Duration    // since when
}

// timers are when something is due, or happened.
type timers struct {
	heard    time.Duration // anything of the receiver
	progress time.Duration // something new of it
	said     time.Duration // to it
	told     time.Duration // of the group to it
	syn      time.Duration // when the next one is due
	syns     int
	fin      time.Duration
	fins     int
	probes   int // since the last progress
	resets   int
	stuck    time.Duration // when acked last moved, or a rescue was tried
	reply    bool          // something asks for an acknowledgement
	schedule bool          // is to be told
}

// PCBCounters tell what was sent to one receiver. They only grow.
type PCBCounters struct {
	GroupBytes, UnicastBytes int64 // payload, first sent by the group on its behalf; by unicast, repetitions included
	// GroupPackets and UnicastPackets are the segments that carried it.
	GroupPackets, UnicastPackets int64
	Resent, Lost                 int64 // slots
	ResentBytes                  int64 // of UnicastBytes: what was sent before
	Fallbacks, Forwards          int   // changes of the mode
	Refused                      int64 // blocks that the receiver refused
	Feedback                     int   // percent, as it said last; -1 is nothing
}

// rtt is the round-trip time. Source: RFC 6298.
type rtt struct {
	smooth, dev, min time.Duration
	low              time.Duration // lowest since that was set to 0
}

func (r *rtt) add(d time.Duration) {
	if d <= 0 {
		return
	}
	if r.low == 0 || d < r.low {
		r.low = d
	}
	if r.smooth == 0 {
		r.smooth, r.dev, r.min = d, d/2, d
		return
	}
	diff := r.smooth - d
	r.dev = (3*r.dev + max(diff, -diff)) / 4
	r.smooth = (7*r.smooth + d) / 8
	r.min = min(r.min, d)
}

// timeout is the RTO, with what an acknowledgement may be late by.
func (r *rtt) timeout(late time.Duration) time.Duration {
	if r.smooth == 0 {
		return initialRTO
	}
	return min(max(r.smooth+4*r.dev, minRTO)+late, maxRTO)
}

func newPCB(s *session, index int, d Destination, now time.Duration) (*pcb, error) {
	if !d.Addr.IsValid() || d.Addr.Addr().IsMulticast() {
		return nil, fmt.Errorf("preparing to send: %v is not the address of a receiver", d.Addr)
	}
	p := &pcb{s: s, index: index, addr: d.Addr, mode: UnicastOnly, begun: now}
	k := keys{secret: d.Secret, tag: s.cfg.Tag, cipher: s.cfg.Cipher}
	k.role = fromSender
	p.out.keys = k
	k.role = fromReceiver
	p.in.keys = k
	// SYNs leave one after another.
	p.timer = timers{heard: now, progress: now, said: now, syn: now + time.Duration(index)*time.Millisecond, fin: never}
	p.counts.Feedback = -1
	p.timer.stuck = now
	if len(s.groups) > 0 {
		p.group = s.groups[0]
	}
	return p, nil
}

func (p *pcb) live() bool { return p.state == synSent || p.state == open || p.state == finSent }
func (p *pcb) gone() bool {
	return p.state == done || p.state == failed && p.timer.resets >= resetTimes
}

// entry gives what is known of a slot from una to before next.
func (p *pcb) entry(slot int64) *entry { return &p.entries[slot%int64(len(p.entries))] }

// grow makes room for a slot behind next.
func (p *pcb) grow() *entry {
	if n := int64(len(p.entries)); p.next-p.una >= n {
		bigger := make([]entry, max(256, 2*n))
		for s := p.una; s < p.next; s++ {
			bigger[s%int64(len(bigger))] = *p.entry(s)
		}
		p.entries = bigger
	}
	e := p.entry(p.next)
	*e = entry{}
	p.next++
	return e
}

// abort ends the conversation, and tells the receiver.
func (p *pcb) abort(now time.Duration, err error) {
	if !p.live() {
		return
	}
	if p.state == synSent {
		p.timer.resets = resetTimes // it knows of nothing
	}
	p.fail(now, err)
}

// fail ends the conversation. The others get a new key, since this one knows the
// old one.
func (p *pcb) fail(now time.Duration, err error) {
	if !p.live() {
		return
	}
	knew := p.state != synSent
	p.leaveFlow(now)
	p.group = nil
	p.state, p.err = failed, err
	p.arrived.Clear()
	p.lost.Clear()
	p.coded.Clear()
	p.entries = nil
	p.order.clear()
	if errors.Is(err, ErrAborted) || errors.Is(err, ErrRefused) {
		p.timer.resets = resetTimes
	}
	if knew && p.s.cfg.Group.IsValid() {
		p.s.changeKey(now)
	}
}

// resetTimes is how often a receiver is told that it is given up.
const resetTimes = 3

// receive takes a segment of this receiver.
func (p *pcb) receive(now time.Duration, high uint16, g *segment.Segment) {
	p.timer.heard = now
	switch {
	case p.state == failed:
		if g.Flags&segment.RST == 0 {
			p.timer.resets = min(p.timer.resets, resetTimes-1)
		}
		return
	case g.Flags&segment.RST != 0:
		err := ErrAborted
		if p.state == synSent {
			err = ErrRefused
		}
		p.fail(now, err)
		return
	case g.Flags&segment.ACK == 0:
		return
	}
	upTo := segment.Offset(p.s.iss, g.Ack, high)
	if p.state == synSent {
		if g.Flags&segment.SYN == 0 || upTo != p.acked {
			return
		}
		p.connected(now, g)
	} else if g.Flags&segment.SYN != 0 {
		p.timer.reply = true
		return
	}
	p.options(now, &g.Options)
	if upTo < 0 || upTo > p.s.stream.end+1 || upTo == p.s.stream.end+1 && p.state == open {
		return // of what was not sent
	}
	p.acknowledge(now, upTo, int64(g.Window)<<windowScale, g)
	if q := p.upper; q != nil {
		q.acknowledge(now, upTo, int64(g.Window)<<windowScale, g)
	}
	if g.Flags&segment.FIN != 0 {
		p.timer.reply = true
		if p.state == finSent && upTo == p.s.stream.end+1 {
			last := p.mode
			p.leaveFlow(now)
			p.state, p.mode = done, last
		}
	}
}

// connected takes the answer to the SYN.
func (p *pcb) connected(now time.Duration, g *segment.Segment) {
	p.state, p.irs, p.answered = open, g.Seq, true
	p.limit = p.acked + int64(g.Window)<<windowScale
	p.timer.reply, p.timer.progress = true, now
	if p.timer.syns == 1 {
		p.est.add(now - p.timer.said)
	}
	p.s.answered = min(p.s.answered, now)
	if gr := p.group; gr != nil && g.Options.Group == gr.addr.Addr() {
		p.heard = true
		p.probe(gr)
		if gr.begun {
			p.mode, p.multi.holdUntil = Fallback, now
			p.behind = p.start > 0
		}
		if p.s.tells || p.s.sealers.group.keys.epoch > 0 {
			p.sendKey()
		}
		if r := &p.s.rekey; r.on {
			r.number[p] = p.ctlOut.add(r.key.Append(nil))
		}
	} else {
		p.group = nil
	}
	p.newFlow(now, nil)
}

// newFlow begins with a new congestion control: of its own, or that of a member of a
// group.
func (p *pcb) newFlow(now time.Duration, g *group) {
	if g != nil {
		p.control = g.pace.Join()
	} else if c, err := cc.New(p.s.cfg.Control); err == nil { // tried by Config.validate
		p.control = c
	}
	p.stats = cc.Stats{MSS: p.wire(), Seed: p.s.seed + uint64(p.index)}
	p.fill(now)
	p.control.Init(&p.stats)
	p.ctl = p.control.Control()
}

// leaveFlow ends the present congestion control, and the membership with it.
func (p *pcb) leaveFlow(now time.Duration) {
	p.dropUpper(now)
	if p.control == nil {
		return
	}
	p.fill(now)
	p.control.Close(&p.stats)
	if p.mode == Multicast {
		p.group.remove(p)
		p.mode = Fallback
		for e := range p.coded.All() {
			p.lost.Add(e.Lo, e.Hi)
		}
		p.coded.Clear()
	}
	p.control = nil
}

// wire is the length of a full packet.
func (p *pcb) wire() int { return p.s.cfg.Payload + overhead }

// udpHeads are the headers of IPv4 and UDP.
const udpHeads = 20 + 8

// overhead is what heads and tag add to a segment's payload, over IPv4.
const overhead = udpHeads + segment.ShimLen + segment.HeaderLen + segment.TagLen

// fill brings the statistics for the congestion control up to date.
func (p *pcb) fill(now time.Duration) {
	s := &p.stats
	s.Now = now
	s.MaxWindow = int(max(p.widest/p.s.stream.slot, 1))
	s.RTT, s.RTTVar, s.MinRTT = p.est.smooth, p.est.dev, p.est.min
	if s.RTT == 0 {
		s.RTT = 100 * time.Millisecond
	}
	s.Sent, s.Acked, s.InFlight, s.AppLimited = p.next, p.una, p.inFlight, p.starved
	s.Delivered, s.Lost, s.Resent = p.sampler.Delivered(), p.counts.Lost-p.elsewhere.lost, p.counts.Resent-p.elsewhere.resent
}

// late is by how much an acknowledgement may be late.
func (p *pcb) late() time.Duration {
	return time.Duration(p.s.schedule(p).Delay)*time.Millisecond + holeDelay
}

// options takes what the receiver says beside its acknowledgement.
func (p *pcb) options(now time.Duration, o *segment.Options) {
	if o.HasControls {
		p.ctlOut.acked(o.Controls)
	}
	if o.Group.IsValid() && p.tell {
		want := p.groupAddr()
		p.heard = o.Group == want && !want.IsUnspecified()
		p.tell = o.Group != want || o.Layer != p.layerNumber()
		p.layered = !p.tell && p.layer != nil
	}
	if o.HasFeedback {
		p.feedback(now, int(o.Feedback))
	}
	if o.HasRefused {
		p.refused(now, o.Refused)
	}
}
