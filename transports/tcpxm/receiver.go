package tcpxm

import (
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
	"github.com/gomover/gomover/transports/tcpxm/internal/coding"
	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// receiverState is where a receiver stands.
//
//	listening --> established --> finished (all has come) --> closed
//	    |              |                                        ^
//	    '--------------+----------------------------------------'
type receiverState uint8

const (
	listening receiverState = iota
	established
	finished
	closed
)

// String gives the state as one word.
func (s receiverState) String() string {
	return [...]string{"listening", "established", "finished", "closed"}[s]
}

// ReceiverStats tell what a receiver has got. Counters only grow.
type ReceiverStats struct {
	GroupBytes, UnicastBytes  int64 // payload that was new, by how it came
	GroupPackets, Packets     int64 // datagrams, by how they came
	Duplicates                int64 // bytes that were there already
	Rebuilt                   int64 // bytes that were solved from coded repair
	Outside                   int64 // segments beyond the window
	Forged                    int64 // datagrams that were not sealed right, or came again
	Refused                   int64 // blocks that were not what the sender vouches for
	Acks                      int64 // sent
	Verified                  int64 // bytes that can be delivered
	Heard                     int   // of the last hundred segments came by the group
	Group                     netip.Addr
	CodedPackets, BadControls int64
}

// membership joins and leaves groups for a receiver core. Calls do not block.
type membership interface {
	join(group, source netip.Addr) error
	leave(group, source netip.Addr)
}

// receiver is one receiver of a session: datagrams and the time go in, datagrams
// and deadlines come out. It has no goroutine and reads no clock. One goroutine at a
// time.
type receiver struct {
	cfg   ReceiverConfig
	net   membership
	state receiverState
	err   error

	in      opener
	out     sealer
	group   [2]*opener    // of the present epoch and the one before; nil: not known, or out of use
	fresh   time.Duration // when the present one was first used; never: it was not
	sender  netip.AddrPort
	ports   [2]uint16 // of segments: the sender's and this end's
	iss     uint32
	irs     uint32
	symbol  int64 // bytes of a segment
	joined  netip.Addr
	further netip.Addr // group that is heard besides
	layer   uint8      // by how many addresses it lies behind joined
	heardAt time.Duration
	finSent int
	finAt   time.Duration
	finDone bool
	quit    bool // the reader wants no more

	data  assembly
	ack   ackState
	ring  feedbackRing
	ctl   controlsIn
	stats ReceiverStats
	seg   segment.Segment // being read
}

// assembly is what has arrived of the stream.
//
//	data.low       read        next            high           low+window
//	   | kept for  |  to be    | held, not yet  |
//	   | a block   |  read     | whole or vouched|
type assembly struct {
	data    pages
	read    int64 // delivered to the reader
	next    int64 // first byte that can not be delivered
	got     rangeset.Set
	trusted rangeset.Set // of got: came sealed for this receiver
	end     int64        // length of the stream; -1 is unknown
	digests map[int64]segment.Digest
	parity  map[int64]*codedBlock
	coder   *coding.Coder
}

// codedBlock is what came of coded repair for a block.
type codedBlock struct {
	end     int64 // of the stream, as the symbols know it
	symbols [][]byte
	n       int
}

// Bounds of what a sender can make a receiver keep. Ours: a window's worth of blocks
// has a digest each; coded blocks beyond these are left to unicast.
const (
	maxDigests     = 8192
	maxCodedBlocks = 128
)

// newReceiver makes a receiver that waits for its sender.
func newReceiver(cfg ReceiverConfig, net membership, now time.Duration, irs uint32) *receiver {
	r := &receiver{cfg: cfg, net: net, irs: irs, heardAt: now}
	k := keys{secret: cfg.Secret, tag: cfg.Tag, cipher: cfg.Cipher}
	k.role = fromSender
	r.in.keys = k
	k.role = fromReceiver
	r.out.keys = k
	if cfg.Group != (Secret{}) {
		r.setGroupKey(0, cfg.Group)
	}
	r.data = assembly{data: newPages(cfg.Window), end: -1, digests: make(map[int64]segment.Digest), parity: make(map[int64]*codedBlock)}
	r.ack.due = never
	r.finAt = never
	return r
}

// receive takes a datagram; viaGroup tells which socket it came to. b is lent and
// changed.
func (r *receiver) receive(now time.Duration, from netip.AddrPort, b []byte, viaGroup bool) {
	shim, _, err := segment.ParseShim(b)
	if err != nil || shim.Tag != r.cfg.Tag || r.state == closed && r.finDone {
		r.stats.Forged++
		return
	}
	o := &r.in
	if sealed := shim.Kind == segment.Group || shim.Kind == segment.Repair; sealed != viaGroup {
		r.stats.Forged++
		return
	} else if sealed {
		if o = r.epoch(shim.Epoch); o == nil || r.state != established {
			return
		}
	}
	plain, err := o.open(shim, b)
	if err != nil {
		r.stats.Forged++
		return
	}
	if !viaGroup {
		if r.sender != from && r.state != listening {
			r.stats.Forged++ // of the sender's key, so only a sender that moved
			return
		}
		r.heardAt = now
		r.stats.Packets++
	} else {
		r.stats.GroupPackets++
		r.retire(now, o)
	}
	switch shim.Kind {
	case segment.Pair:
		if err = r.seg.Parse(plain); err == nil {
			r.onPair(now, from, shim.High)
		}
	case segment.Group:
		if err = r.seg.Parse(plain); err == nil && r.seg.ForGroup() {
			r.onData(now, segment.Offset(r.iss, r.seg.Seq, shim.High), r.seg.Payload, true)
		}
	case segment.Repair:
		err = r.onRepair(now, plain)
	case segment.Control:
		err = r.onControl(now, plain)
	}
	if err != nil {
		r.stats.BadControls++
	}
}

// oldKeyFor is how long the group's key before the present one is still good for what is
// under way. Ours: who was given up knows it.
const oldKeyFor = 3 * time.Second

// setGroupKey takes a new key of the group.
func (r *receiver) setGroupKey(epoch uint8, secret Secret) {
	k := keys{secret: secret, role: toGroup, tag: r.cfg.Tag, epoch: epoch, cipher: r.cfg.Cipher}
	r.group[0], r.group[1], r.fresh = &opener{keys: k}, r.group[0], never
}

// retire forgets the key before the present one when that has been in use for a while.
func (r *receiver) retire(now time.Duration, used *opener) {
	if used != r.group[0] || r.group[1] == nil {
		return
	}
	if r.fresh = min(r.fresh, now); now >= r.fresh+oldKeyFor {
		r.group[1] = nil
	}
}

// epoch gives the opener of a group's key.
func (r *receiver) epoch(e uint8) *opener {
	for _, o := range r.group {
		if o != nil && o.keys.epoch == e {
			return o
		}
	}
	return nil
}

// onPair takes a segment that is for this receiver.
func (r *receiver) onPair(now time.Duration, from netip.AddrPort, high uint16) {
	s := &r.seg
	switch {
	case s.Flags&segment.RST != 0:
		if r.state != listening {
			r.fail(ErrAborted)
		}
		return
	case s.Flags&segment.SYN != 0:
		r.onSYN(now, from)
		return
	case r.state == listening:
		return
	}
	if s.Flags&segment.ACK != 0 && r.finSent > 0 && s.Ack == r.irs+2 {
		r.finDone = true
		r.finAt = never
	}
	r.onOptions(now)
	off := segment.Offset(r.iss, s.Seq, high)
	if len(s.Payload) > 0 {
		r.onData(now, off, s.Payload, false)
	}
	if s.Flags&segment.FIN != 0 && r.data.end < 0 && off >= r.data.next && off >= 0 {
		r.data.end = off
		r.advance()
	}
	if s.Flags&(segment.FIN|segment.PSH) != 0 || len(s.Payload) == 0 && s.Flags&segment.ACK != 0 && s.Options.HasSchedule {
		r.ack.now = true
	}
}

// onSYN takes the first segment, or its repetition.
func (r *receiver) onSYN(now time.Duration, from netip.AddrPort) {
	s := &r.seg
	if r.state != listening {
		r.ack.syn = r.ack.syn || s.Seq == r.iss
		return
	}
	if s.Options.MSS < minPayload || s.Options.MSS > maxPayload || !s.Options.HasScale || !s.Options.SACKPermitted {
		return
	}
	r.state, r.sender, r.iss, r.symbol = established, from, s.Seq, int64(s.Options.MSS)
	r.ports = [2]uint16{s.Src, s.Dst}
	r.heardAt, r.ack.syn = now, true
	r.ack.schedule = segment.Schedule{N: 1, Every: 2, Delay: 25}
	if s.Options.HasStart {
		r.data.begin(s.Options.Start, r.blockLen())
	}
	r.onOptions(now)
}

// onOptions takes what the sender wants: another group, another schedule.
func (r *receiver) onOptions(now time.Duration) {
	o := &r.seg.Options
	if o.HasSchedule && o.Schedule.Every > 0 {
		r.ack.schedule = o.Schedule
	}
	if !o.Group.IsValid() || r.cfg.GroupPort == 0 {
		return
	}
	r.ack.now, r.ack.sayGroup = true, true
	r.listen(o.Group, o.Layer)
}

// listen has the receiver hear a group, and one that lies so many addresses behind it
// besides; 0 is none. What it hears already it goes on to hear.
func (r *receiver) listen(group netip.Addr, layer uint8) {
	further := netip.Addr{}
	if !group.IsMulticast() || layer > maxGroups {
		layer = 0
	}
	if layer > 0 {
		further = behind(group, int(layer))
	}
	heard := [...]netip.Addr{r.joined, r.further}
	for _, a := range heard {
		if a.IsValid() && a != group && a != further {
			r.net.leave(a, r.sender.Addr())
		}
	}
	enter := func(a netip.Addr) netip.Addr {
		if slices.Contains(heard[:], a) || a.IsMulticast() && r.net.join(a, r.sender.Addr()) == nil {
			return a
		}
		return netip.Addr{}
	}
	r.joined, r.further = enter(group), enter(further)
	if r.layer = 0; r.further.IsValid() {
		r.layer = layer
	}
	if r.joined.IsValid() && !slices.Contains(heard[:], r.joined) {
		r.ring = feedbackRing{}
	}
}

// behind is the address that lies n behind another.
func behind(a netip.Addr, n int) netip.Addr {
	for range n {
		a = a.Next()
	}
	return a
}

// leave leaves the group.
func (r *receiver) leave() {
	r.listen(netip.Addr{}, 0)
}

// onData takes bytes of the stream.
func (r *receiver) onData(now time.Duration, off int64, b []byte, viaGroup bool) {
	d := &r.data
	end := off + int64(len(b))
	if off < 0 || end > d.data.low+r.cfg.Window || d.end >= 0 && end > d.end {
		r.stats.Outside++
		return
	}
	if off < d.next {
		skip := min(d.next-off, int64(len(b)))
		b = b[skip:]
		r.stats.Duplicates += skip
	}
	first, at := off, end-int64(len(b))
	fresh := end - at
	if fresh > 0 {
		fresh = d.hold(at, b, !viaGroup)
		r.stats.Duplicates += end - at - fresh
	}
	r.count(fresh, viaGroup)
	r.ring.note(first, fresh > 0, viaGroup)
	r.ack.onSegment(now, at, end, fresh > 0)
	if fresh > 0 {
		r.solve(r.blockOf(at))
	}
	if fresh > 0 || !viaGroup {
		r.advance()
	}
}

// begin has the stream begin at an offset, with the block of that: it is whole only
// together.
func (d *assembly) begin(start, block int64) {
	d.read, d.next = start, start-start%block
	d.data.low = d.next // nothing was written
}

func (r *receiver) count(fresh int64, viaGroup bool) {
	if viaGroup {
		r.stats.GroupBytes += fresh
	} else {
		r.stats.UnicastBytes += fresh
	}
}

// hold keeps bytes, and tells how many were not there. What came sealed for this
// receiver alone replaces what came by the group.
func (d *assembly) hold(off int64, b []byte, trusted bool) (fresh int64) {
	end := off + int64(len(b))
	if trusted {
		d.data.write(off, b)
		d.trusted.Add(off, end)
		return d.got.Add(off, end)
	}
	for e := range d.got.Missing(off, end) {
		d.data.write(e.Lo, b[e.Lo-off:e.Hi-off])
	}
	return d.got.Add(off, end)
}

// take copies what can be delivered to the reader.
func (r *receiver) take(b []byte) int {
	d := &r.data
	n := int(min(int64(len(b)), d.next-d.read))
	if n <= 0 {
		return 0
	}
	d.data.read(d.read, b[:n])
	d.read += int64(n)
	before := d.data.low + r.cfg.Window - r.ack.edge
	d.data.release(r.keep())
	if after := d.data.low + r.cfg.Window - r.ack.edge; after >= r.cfg.Window/4 && before < after {
		r.ack.now = true // there is room again, which the sender wants to know
	}
	return n
}

// keep is the first byte that is still needed: a block is whole only together.
func (r *receiver) keep() int64 {
	if r.data.end >= 0 && r.data.next == r.data.end {
		return r.data.read
	}
	return min(r.data.read, r.blockOf(r.data.next)*r.blockLen())
}

func (r *receiver) blockLen() int64         { return r.symbol * coding.K }
func (r *receiver) blockOf(off int64) int64 { return off / r.blockLen() }
func (r *receiver) whole() bool             { return r.data.end >= 0 && r.data.next == r.data.end }
func (r *receiver) fullyRead() bool         { return r.whole() && r.data.read == r.data.end }
func (r *receiver) rightEdge() int64        { return r.data.data.low + r.cfg.Window }

// noGroup is how "none" is said of a group.
func (r *receiver) noGroup() netip.Addr {
	if r.sender.Addr().Is6() {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// readError is what a reader gets when nothing is left to be read; nil is to wait.
func (r *receiver) readError() error {
	switch {
	case r.fullyRead():
		return io.EOF
	case r.state == closed:
		if r.err != nil {
			return r.err
		}
		return io.ErrClosedPipe
	}
	return nil
}

// fail ends everything.
func (r *receiver) fail(err error) {
	if r.state == closed {
		return
	}
	if r.whole() && errors.Is(err, ErrAborted) && r.finSent > 0 {
		err = nil
	}
	r.state, r.err = closed, err
	r.leave()
	r.finAt, r.ack.due, r.finDone = never, never, true
}

// close is the reader's end. If all was read the sender hears that it is complete,
// else that this receiver gives up.
func (r *receiver) close(now time.Duration) {
	if r.state == closed {
		return
	}
	r.leave()
	if r.fullyRead() {
		r.state, r.finAt = finished, now
		return
	}
	if r.state == listening {
		r.state, r.finDone = closed, true
		return
	}
	r.quit = true
}

// gone tells that nothing is left to be done.
func (r *receiver) gone() bool { return r.state == closed && r.finDone }
