package tcpxm

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gomover/gomover/transports/tcpxm/internal/coding"
	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// session is the sender: datagrams and the time go in, datagrams and deadlines come
// out. It has no goroutine and reads no clock, and reads the source when it sends.
// One goroutine at a time.
//
// After any calls of receive, collect is called before the time passes on.
type session struct {
	cfg  Config
	pcbs []*pcb
	iss  uint32
	err  error

	groups  []*group
	number  int // groups made so far, for their addresses
	sealers struct{ group sealer }

	stream  stream
	digests map[int64]segment.Digest // by block
	coder   *coding.Coder

	answered time.Duration // when the first receiver answered; never
	started  bool          // data is sent
	reach    int64         // bytes that are wanted of the source, to begin a layer there
	stats    Counters
	seg      segment.Segment // being read
	seed     uint64
	read     []byte // scratch for a block
	kept     []byte // a datagram that several receivers may have sent
	policyAt time.Duration
	awaited  time.Duration    // when collect was to be called again
	plan     segment.Schedule // how often receivers acknowledge, but for the index
	fresh    func() Secret    // makes secrets for later epochs
	rekey    rekey
	tells    bool // receivers learn the group's key from here alone
}

// Counters tell what a session has sent. They only grow.
type Counters struct {
	GroupPackets, UnicastPackets int64 // datagrams
	GroupBytes, UnicastBytes     int64 // payload of segments
	WireBytes                    int64 // all of it, with UDP's and IP's heads
	CodedPackets, CodedBytes     int64 // parity symbols, which are not in GroupBytes
	ResentPackets, ResentBytes   int64 // by unicast, of UnicastBytes
	ControlPackets               int64
	Forged                       int64 // datagrams that no receiver can have sealed
	Epochs                       int64 // keys of the group after the first
}

// stream is what is sent: bytes by their offset, in slots of a segment's payload.
type stream struct {
	slot   int64 // bytes
	pages  pages
	end    int64 // bytes known so far
	closed bool  // there will be no more
	flush  bool  // a slot that is not full may go; it goes again when there is more of it

	flushAt time.Duration // when it may
}

// newSession makes a session that has not begun. seed decides the initial sequence
// number and what controllers choose.
func newSession(cfg Config, dests []Destination, now time.Duration, seed uint64, fresh func() Secret) (*session, error) {
	if len(dests) == 0 || len(dests) > maxReceivers {
		return nil, fmt.Errorf("preparing to send: %d receivers, not 1 to %d", len(dests), maxReceivers)
	}
	s := &session{cfg: cfg, iss: uint32(seed), seed: seed, answered: never, policyAt: never, awaited: never,
		digests: make(map[int64]segment.Digest), fresh: fresh}
	s.plan = segment.Schedule{N: uint8(len(dests)), Every: 2, Delay: 5}
	s.stream.slot = int64(cfg.Payload)
	if cfg.Source != nil {
		s.stream.end, s.stream.closed, s.stream.flush = cfg.Size, !cfg.Growing, true
	} else {
		s.stream.pages = newPages(cfg.Retain)
	}
	s.read = make([]byte, coding.K*cfg.Payload)
	secret := cfg.Secret
	if s.tells = secret == (Secret{}); s.tells {
		secret = fresh()
	}
	s.sealers.group.keys = keys{secret: secret, role: toGroup, tag: cfg.Tag, cipher: cfg.Cipher}
	if cfg.Group.IsValid() && len(dests) >= minMembers {
		s.groups = append(s.groups, s.newGroup())
	}
	var err error
	if s.coder, err = coding.New(coding.K); err != nil {
		return nil, err
	}
	for _, d := range dests {
		if _, err := s.join(d, now); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// join adds a receiver.
func (s *session) join(d Destination, now time.Duration) (*pcb, error) {
	p, err := newPCB(s, len(s.pcbs), d, now)
	if err != nil {
		return nil, err
	}
	for _, o := range s.pcbs {
		if o.addr == p.addr {
			o.shared, p.shared = true, true
		}
	}
	s.pcbs = append(s.pcbs, p)
	return p, nil
}

// add adds a receiver that comes late: it gets what follows an offset.
func (s *session) add(d Destination, start int64, now time.Duration) (index int, err error) {
	x := &s.stream
	switch {
	case s.err != nil:
		return 0, s.err
	case len(s.pcbs) >= maxReceivers:
		return 0, fmt.Errorf("adding a receiver: there are %d already", maxReceivers)
	case start < x.pages.low || start > segment.MaxOffset:
		return 0, fmt.Errorf("adding a receiver: what follows %d is not kept", start)
	}
	p, err := s.join(d, now)
	if err != nil {
		return 0, err
	}
	block := coding.K * x.slot
	p.start, p.acked = start, start-start%block
	p.una = p.acked / x.slot
	p.next, p.timer.syn = p.una, now
	return p.index, nil
}

// write takes bytes of the stream, and gives how many found room. If nothing follows
// for a while what there is goes out.
func (s *session) write(now time.Duration, b []byte) int {
	x := &s.stream
	if x.closed || s.cfg.Source != nil {
		return 0
	}
	n := int(min(int64(len(b)), x.pages.low+s.cfg.Retain-x.end))
	if n <= 0 {
		return 0
	}
	s.unsend()
	x.pages.write(x.end, b[:n])
	x.grow(now, int64(n))
	return n
}

// extend makes the source longer.
func (s *session) extend(now time.Duration, n int64) {
	x := &s.stream
	if x.closed || s.cfg.Source == nil || n <= 0 || n > segment.MaxOffset-x.end {
		return
	}
	s.unsend()
	x.grow(now, n)
}

// grow notes that there is more of the stream.
func (x *stream) grow(now time.Duration, n int64) {
	x.end += n
	x.flush, x.flushAt = false, now+flushDelay
}

// ahead is how many bytes of the stream nobody was sent yet.
func (s *session) ahead() int64 {
	next := int64(0)
	for _, g := range s.groups {
		next = max(next, g.next)
	}
	for _, p := range s.pcbs {
		if p.live() {
			next = max(next, p.next)
		}
	}
	return max(0, s.stream.end-max(next*s.stream.slot, s.reach))
}

// flushDelay is how long it is waited for more of a slot. Ours.
const flushDelay = 5 * time.Millisecond

// unsend forgets that the last slot was sent although it was not full, since more
// of it follows.
func (s *session) unsend() {
	x := &s.stream
	tail := x.end / x.slot
	if x.end%x.slot == 0 {
		return
	}
	for _, p := range s.pcbs {
		if p.live() {
			p.unsend(tail)
		}
		if p.upper != nil {
			p.upper.unsend(tail)
		}
	}
	for _, g := range s.groups {
		g.next = min(g.next, tail)
	}
}

// unsend forgets that the last slot was sent to a receiver, or has come.
func (p *pcb) unsend(tail int64) {
	p.arrived.Remove(tail, tail+1)
	if p.next <= tail {
		return
	}
	if p.una <= tail {
		if e := p.entry(tail); e.out {
			p.inFlight--
		}
	}
	p.next, p.una = tail, min(p.una, tail)
	p.lost.Remove(tail, tail+1)
	p.coded.Remove(tail, tail+1)
}

// finish says that there is no more.
func (s *session) finish() { s.stream.closed, s.stream.flush = true, true }

// slots is how many slots can be sent.
func (x *stream) slots() int64 {
	if x.flush {
		return (x.end + x.slot - 1) / x.slot
	}
	return x.end / x.slot
}

// size gives the bytes of a slot.
func (x *stream) size(slot int64) int { return int(min(x.slot, x.end-slot*x.slot)) }

// fetch reads bytes of the stream.
func (s *session) fetch(off int64, b []byte) error {
	if s.cfg.Source == nil {
		s.stream.pages.read(off, b)
		return nil
	}
	n, err := s.cfg.Source.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil {
		err = errors.New("too few bytes")
	}
	return fmt.Errorf("reading %d bytes of the source at %d: %w", len(b), off, err)
}

// release forgets what all receivers have.
func (s *session) release() {
	if s.cfg.Source != nil {
		return
	}
	low := s.stream.end
	for _, p := range s.pcbs {
		if p.live() {
			low = min(low, p.acked)
		}
	}
	// A block is made whole from its start.
	block := s.stream.slot * coding.K
	low -= low % block
	for b := s.stream.pages.low / block; b < low/block; b++ {
		delete(s.digests, b)
	}
	s.stream.pages.release(low)
}

// receive takes a datagram. b is lent and changed.
func (s *session) receive(now time.Duration, from netip.AddrPort, b []byte) {
	shim, _, err := segment.ParseShim(b)
	if err != nil || shim.Kind != segment.Pair || shim.Tag != s.cfg.Tag {
		s.stats.Forged++
		return
	}
	for _, p := range s.pcbs {
		if p.addr != from {
			continue
		}
		d := b
		if p.shared {
			s.kept = append(s.kept[:0], b...) // what is opened in vain is lost
			d = s.kept
		}
		plain, err := p.in.open(shim, d)
		if err != nil {
			continue
		}
		if s.seg.Parse(plain) != nil {
			break
		}
		p.receive(now, shim.High, &s.seg)
		return
	}
	s.stats.Forged++
}

// fail ends the session for all receivers.
func (s *session) fail(now time.Duration, err error) {
	if s.err == nil {
		s.err = err
	}
	for _, p := range s.pcbs {
		p.abort(now, err)
	}
}

// over tells that every receiver has come to its end.
func (s *session) over() bool {
	for _, p := range s.pcbs {
		if !p.gone() {
			return false
		}
	}
	return true
}

// collect does what is due and puts what is to be sent into out.
func (s *session) collect(now time.Duration, out *outbox) {
	if s.err != nil {
		s.fail(now, s.err)
	}
	s.excuse(now)
	if x := &s.stream; !x.flush && x.end%x.slot != 0 && now >= x.flushAt {
		x.flush = true
	}
	for _, p := range s.pcbs {
		p.tick(now, out)
	}
	s.start(now)
	if now >= s.policyAt {
		s.policy(now)
	}
	s.finishRekey(now)
	for _, g := range s.groups {
		g.collect(now, out)
	}
	for _, p := range s.pcbs {
		p.send(now, out)
	}
	s.release()
}

// tooLate is by how much this end must have been away that receivers are excused. Ours:
// timeouts are longer than that by far.
const tooLate = 50 * time.Millisecond

// excuse puts off what receivers were to have said by now if this end itself was away, as on
// a machine that is busy: it waits to be read. Else all would be sent again to each.
func (s *session) excuse(now time.Duration) {
	late := now - s.awaited
	if s.awaited = never; late < tooLate {
		return
	}
	for _, p := range s.pcbs {
		for _, t := range []*time.Duration{&p.timer.progress, &p.timer.heard, &p.multi.heardAt} {
			*t = min(*t+late, now)
		}
		if q := p.upper; q != nil {
			q.timer.progress = min(q.timer.progress+late, now)
		}
	}
	for _, g := range s.groups {
		for _, m := range g.blocks {
			m.due += late
		}
	}
}

// start begins with the data when all have answered, and have the group's key, or a while
// after the first.
func (s *session) start(now time.Duration) {
	if s.started || s.answered == never {
		return
	}
	for _, p := range s.pcbs {
		if !p.ready() && now < s.answered+startDelay {
			return
		}
	}
	s.started = true
	s.policyAt = now + policyInterval
	for _, p := range s.pcbs {
		p.timer.progress = now
	}
}

// ready tells that a receiver has answered, and knows the group's key if it is to hear the
// group: copies that it can not open would speak against it.
func (p *pcb) ready() bool {
	return p.state != synSent && (!p.s.tells || p.state != open || !p.heard || p.ctlOut.confirmed(p.key))
}

// startDelay is how long those that have answered wait for the others.
const startDelay = 2 * time.Second

// deadline is when collect is to be called again if nothing comes.
func (s *session) deadline(now time.Duration) time.Duration {
	d := s.policyAt
	if !s.started && s.answered != never {
		d = min(d, s.answered+startDelay)
	}
	if s.over() {
		return never
	}
	if x := &s.stream; !x.flush && x.end%x.slot != 0 {
		d = min(d, x.flushAt)
	}
	for _, p := range s.pcbs {
		d = min(d, p.deadline(now))
	}
	for _, g := range s.groups {
		d = min(d, g.deadline(now))
	}
	s.awaited = max(d, now)
	return d
}

// emit seals a segment and puts it into out.
func (s *session) emit(to netip.AddrPort, with *sealer, kind segment.Kind, high uint16, seg *segment.Segment, out *outbox) bool {
	b := out.room()
	b = seg.Append(append(b, make([]byte, segment.ShimLen)...))
	return s.push(to, with, segment.Shim{Kind: kind, High: high}, b, out)
}

// push seals what follows the free bytes of a shim.
func (s *session) push(to netip.AddrPort, with *sealer, shim segment.Shim, b []byte, out *outbox) bool {
	b, err := with.seal(shim, b)
	if err != nil {
		s.err = err // no key can be made any more, so nothing can be sent at all
		return false
	}
	out.push(b, to)
	head := int64(20 + 8)
	if to.Addr().Is6() {
		head = 40 + 8
	}
	s.stats.WireBytes += int64(len(b)) + head
	if to.Addr().IsMulticast() {
		s.stats.GroupPackets++
	} else {
		s.stats.UnicastPackets++
	}
	return true
}
