package tcpxm

import (
	"time"

	"github.com/gomover/gomover/internal/rangeset"
	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// Constants of acknowledging. Ours.
const (
	holeDelay   = 2 * time.Millisecond // until a new hole is told, for others that are reordered
	feedbackLen = 128                  // segments that feedback is about. Source: the slides
	feedbackMin = 16                   // segments before there is any
	finRepeat   = 200 * time.Millisecond
	finTimes    = 10
	windowScale = 14
)

// ackState is when and what to acknowledge.
type ackState struct {
	schedule    segment.Schedule
	count       int           // segments with anything new
	due         time.Duration // never: nothing to say
	now         bool          // at once
	syn         bool          // the SYN is to be answered
	sayGroup    bool          // the group is to be named
	sayControls bool
	sayRefused  int
	refused     int64
	edge        int64  // right edge of the window that was told last
	recent      int64  // offset of the segment that came last
	high        int64  // end of what has arrived
	rotate      int64  // offset behind which further blocks are told
	more        []byte // scratch
}

// soon acknowledges within the delay of the schedule.
func (a *ackState) soon(now time.Duration) {
	a.due = min(a.due, now+time.Duration(a.schedule.Delay)*time.Millisecond)
}

// onSegment decides when a segment is acknowledged. Source: docs/tcpxm.md.
func (a *ackState) onSegment(now time.Duration, off, end int64, fresh bool) {
	if !fresh {
		a.soon(now) // by the group: the feedback may be another one
		return
	}
	a.recent = off
	if off > a.high && a.high > 0 {
		a.due = min(a.due, now+holeDelay)
	}
	a.high = max(a.high, end)
	a.soon(now)
	every := int(a.schedule.Every)
	stagger := 0
	if n := int(a.schedule.N); n > 0 {
		stagger = int(a.schedule.Index) * every / n % every
	}
	if a.count++; a.count%every == stagger {
		a.now = true
	}
}

// feedbackRing is which of the last segments came by the group. Source: the slides
// ("% of last n packets received"); what counts is ours.
type feedbackRing struct {
	at    [feedbackLen]int64
	group [feedbackLen]bool
	n     int // noted so far
	heard int // of those in the ring by the group
}

// note counts a segment with anything new, or a copy by the group of one that
// unicast was faster with.
func (f *feedbackRing) note(off int64, fresh, viaGroup bool) {
	if fresh {
		i := f.n % feedbackLen
		if f.n >= feedbackLen && f.group[i] {
			f.heard--
		}
		f.at[i], f.group[i] = off, viaGroup
		if viaGroup {
			f.heard++
		}
		f.n++
		return
	}
	for i := range min(f.n, feedbackLen) {
		if viaGroup && f.at[i] == off && !f.group[i] {
			f.group[i] = true
			f.heard++
			return
		}
	}
}

// percent is option 51's value; false while too little has come.
func (f *feedbackRing) percent() (uint8, bool) {
	n := min(f.n, feedbackLen)
	if n < feedbackMin {
		return 0, false
	}
	return uint8(100 * f.heard / n), true
}

// collect does what is due and puts what is to be sent into out.
func (r *receiver) collect(now time.Duration, out *outbox) {
	if r.state == closed {
		return
	}
	switch {
	case r.quit:
		for range 3 { // nobody answers them
			r.emit(segment.RST|segment.ACK, out)
		}
		r.fail(nil)
		return
	case now >= r.heardAt+r.cfg.Dead:
		r.fail(ErrTimeout)
		return
	case r.state == finished:
		r.collectFIN(now, out)
	}
	if r.ack.syn || r.ack.now || now >= r.ack.due {
		flags := segment.ACK
		if r.ack.syn {
			flags |= segment.SYN
		}
		r.emit(flags, out)
	}
}

// collectFIN says that the reader has all, until that is acknowledged.
func (r *receiver) collectFIN(now time.Duration, out *outbox) {
	switch {
	case r.finDone || r.finSent >= finTimes:
		r.state, r.finDone = closed, true
	case now >= r.finAt:
		r.finSent++
		r.finAt = now + finRepeat
		r.emit(segment.FIN|segment.ACK, out)
	}
}

// deadline is when collect is to be called again if nothing comes.
func (r *receiver) deadline() time.Duration {
	switch {
	case r.state == closed:
		return never
	case r.ack.syn || r.ack.now || r.quit || r.state == finished && r.finDone:
		return 0
	}
	return min(r.ack.due, r.finAt, r.heardAt+r.cfg.Dead)
}

// emit sends a segment that acknowledges.
func (r *receiver) emit(flags uint8, out *outbox) {
	d, a := &r.data, &r.ack
	s := segment.Segment{Src: r.ports[1], Dst: r.ports[0], Seq: r.irs + 1, Flags: flags}
	upTo := d.next
	if r.whole() {
		upTo++ // the FIN
	}
	var high uint16
	s.Ack, high = segment.Number(r.iss, upTo)
	a.edge = r.rightEdge()
	s.Window = uint16(min((a.edge-d.next)>>windowScale, 1<<16-1))
	if flags&segment.SYN != 0 {
		s.Seq = r.irs
		s.Options.HasScale, s.Options.Scale, s.Options.SACKPermitted = true, windowScale, true
		s.Options.MSS = uint16(r.symbol)
		s.Options.Group = r.joined
	} else {
		if a.sayGroup {
			if s.Options.Group = r.joined; !r.joined.IsValid() {
				s.Options.Group = r.noGroup()
			}
			s.Options.Layer = r.layer
			a.sayGroup = false
		}
		if p, ok := r.ring.percent(); ok && r.joined.IsValid() {
			s.Options.HasFeedback, s.Options.Feedback = true, p
		}
		if a.sayControls || r.ctl.next > 0 {
			s.Options.HasControls, s.Options.Controls = true, r.ctl.next
			a.sayControls = false
		}
		if a.sayRefused > 0 {
			a.sayRefused--
			s.Options.HasRefused, s.Options.Refused = true, a.refused
		}
		r.blocks(&s)
	}
	a.now, a.syn, a.due = false, false, never
	b := out.room()
	b = append(b, make([]byte, segment.ShimLen)...)
	b, err := r.out.seal(segment.Shim{Kind: segment.Pair, High: high}, s.Append(b))
	if err != nil {
		r.fail(err)
		return
	}
	r.stats.Acks++
	out.push(b, r.sender)
}

// blocks fills in what has arrived behind the front: the block of the latest segment
// first, then the others in turn, so that each is told several times (RFC 2018, section
// 4). What finds no room in the options follows the header, from the end on: a sender that
// is not told at once of what has grown takes it for lost.
func (r *receiver) blocks(s *segment.Segment) {
	a, o, got := &r.ack, &s.Options, &r.data.got
	room := len(o.SACK)
	if o.HasControls || o.Group.IsValid() {
		room--
	}
	if o.HasRefused {
		room--
	}
	put := func(e rangeset.Extent) {
		o.SACK[o.Blocks] = r.block(e)
		o.Blocks++
	}
	var latest rangeset.Extent
	for e := range got.Backward() {
		if e.Lo <= a.recent && a.recent < e.Hi {
			latest = e
			put(e)
			break
		}
	}
	if got.Len() <= room {
		for e := range got.All() {
			if e != latest {
				put(e)
			}
		}
		return
	}
	left := room - o.Blocks
	for range 2 { // to the end, and from the front again
		for e := range got.All() {
			if left > 0 && e.Lo > a.rotate && e != latest {
				put(e)
				a.rotate = e.Lo
				left--
			}
		}
		if left > 0 {
			a.rotate = -1
		}
	}
	s.Payload = r.more(latest)
}

// more are the blocks behind the header.
func (r *receiver) more(latest rangeset.Extent) []byte {
	b, n := r.ack.more[:0], 0
	for e := range r.data.got.Backward() {
		if e == latest {
			continue
		}
		if n++; n > segment.BlocksMore {
			break
		}
		b = r.block(e).Append(b)
	}
	r.ack.more = b
	return b
}

// block is an extent as it is told.
func (r *receiver) block(e rangeset.Extent) segment.Block {
	left, _ := segment.Number(r.iss, e.Lo)
	right, _ := segment.Number(r.iss, e.Hi)
	return segment.Block{Left: left, Right: right}
}
