package tcpxm

import (
	"crypto/sha256"
	"time"

	"github.com/gomover/gomover/transports/tcpxm/internal/coding"
	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// Constants of vouching. Ours: with eight to a datagram digests are a third of a per
// cent of what is sent to 24 receivers.
const (
	digestsTogether = 8
	digestDelay     = 100 * time.Millisecond
	controlsMax     = 64 // under way to a receiver
	controlSlack    = 10 * time.Millisecond
)

// controlsOut is what a receiver is told reliably, but for data: in numbered
// datagrams, each sent until it is acknowledged.
type controlsOut struct {
	next uint32 // number of the next one
	base uint32 // of the first one in list
	list []control
}

type control struct {
	body  []byte
	at    time.Duration
	times int
}

func (c *controlsOut) add(body []byte) (number uint32) {
	c.list = append(c.list, control{body: body})
	c.next++
	return c.next - 1
}

// acked takes the number before which all have come.
func (c *controlsOut) acked(n uint32) {
	if d := int32(n - c.base); d > 0 && int(d) <= len(c.list) {
		c.list = c.list[d:]
		c.base = n
	}
}

// confirmed tells whether a number has come.
func (c *controlsOut) confirmed(n uint32) bool { return int32(c.base-n) > 0 }

// due is when one is to be sent.
func (c *controlsOut) due(p *pcb) time.Duration {
	d := never
	for i := range c.list[:min(len(c.list), controlsMax)] {
		if k := &c.list[i]; k.times == 0 {
			return 0
		} else {
			d = min(d, k.at+p.controlTimeout(k.times))
		}
	}
	return d
}

// controlTimeout is when one that was sent so often goes again. It is sooner than for
// data: all that a digest speaks for waits for it.
func (p *pcb) controlTimeout(times int) time.Duration {
	d := p.est.timeout(p.late())
	if p.est.smooth > 0 {
		d = min(d, p.est.smooth+4*p.est.dev+p.late()+controlSlack)
	}
	return min(d<<min(times-1, 4), maxRTO)
}

// sendControls sends what is due.
func (p *pcb) sendControls(now time.Duration, out *outbox) {
	if now < p.ctlOut.due(p) {
		return
	}
	c := &p.ctlOut
	for i := range c.list[:min(len(c.list), controlsMax)] {
		k := &c.list[i]
		if k.times > 0 && now < k.at+p.controlTimeout(k.times) {
			continue
		}
		k.at, k.times = now, k.times+1
		b := append(out.room(), make([]byte, segment.ShimLen)...)
		b = append(segment.AppendControl(b, c.base+uint32(i)), k.body...)
		p.s.push(p.addr, &p.out, segment.Shim{Kind: segment.Control}, b, out)
		p.s.stats.ControlPackets++
		if p.mode == Multicast { // as all that goes by the sender's own link
			p.group.charge(now, len(b)+segment.TagLen+udpHeads)
		}
		p.timer.said = now
	}
}

// vouch makes the digest of a block, up to an offset.
func (s *session) vouch(block, to int64) (segment.Digest, bool) {
	start := block * coding.K * s.stream.slot
	if d, ok := s.digests[block]; ok && start+int64(d.Len) == to {
		return d, true
	}
	b := s.read[:to-start]
	if start < s.stream.pages.low || s.fetch(start, b) != nil {
		return segment.Digest{}, false
	}
	sum := sha256.Sum256(b)
	d := segment.Digest{Start: start, Len: uint32(len(b)), Sum: [segment.DigestLen]byte(sum[:])}
	if len(s.digests) > digestsKept {
		clear(s.digests)
	}
	s.digests[block] = d
	return d, true
}

// digestsKept bounds what is remembered to vouch for a block again.
const digestsKept = 1024

// owe has a receiver told a digest.
func (p *pcb) owe(now time.Duration, d segment.Digest) {
	if len(p.digest) == 0 {
		p.owed = now
	}
	p.digest = append(p.digest, d)
}

// turnsFrom is how many receivers are told digests in turns. Ours: fewer are in nobody's way.
const turnsFrom = 9

// digestsAt is when digests are to be told: to each of many receivers in its turn. They have it
// check and deliver all that they speak for; receivers that share processors, as guests of
// one machine do, would all at once be in each other's way, and in the sender's.
func (p *pcb) digestsAt() time.Duration {
	n := len(p.digest)
	switch {
	case n == 0:
		return never
	case p.s.stream.flush && p.sentAll(), n >= 2*digestsTogether:
		return 0
	case len(p.s.pcbs) < turnsFrom && n >= digestsTogether:
		return 0
	case len(p.s.pcbs) < turnsFrom:
		return p.owed + digestDelay
	case n >= digestsTogether:
		block := p.digest[n-1].Start / (coding.K * p.s.stream.slot)
		if int(block)%digestsTogether == p.index*digestsTogether/len(p.s.pcbs) {
			return 0
		}
	}
	turn := digestDelay * time.Duration(p.index) / time.Duration(len(p.s.pcbs))
	return turn + (max(p.owed-turn, 0)/digestDelay+1)*digestDelay
}

// sentAll tells that nothing is left to be sent for the first time.
func (p *pcb) sentAll() bool { return p.next >= p.s.stream.slots() }

func (p *pcb) sendDigests(now time.Duration) {
	if now < p.digestsAt() {
		return
	}
	for len(p.digest) > 0 {
		n := min(len(p.digest), 4*digestsTogether)
		var b []byte
		for i := range p.digest[:n] {
			b = p.digest[i].Append(b)
		}
		p.ctlOut.add(b)
		p.digest = p.digest[n:]
	}
	p.digest = p.digest[:0]
}

// rescueAt is when a receiver that has all but can not deliver it gets the digest for
// that: it has left the group amid a block, or the group has stopped there.
func (p *pcb) rescueAt() time.Duration {
	if p.state != open || !p.arrived.Contains(p.una, p.una+1) || len(p.ctlOut.list) > 0 || len(p.digest) > 0 {
		return never
	}
	return p.timer.stuck + max(rescueAfter, 2*p.est.timeout(p.late()))
}

func (p *pcb) rescue(now time.Duration) {
	if now < p.rescueAt() {
		return
	}
	p.timer.stuck = now
	x := &p.s.stream
	high, _ := p.arrived.Last()
	for block := p.una / coding.K; block <= (high.Hi-1)/coding.K && len(p.digest) < rescueTogether; block++ {
		to := min((block+1)*coding.K*x.slot, x.end)
		if front, _ := p.arrived.First(); block == p.una/coding.K {
			to = min(to, front.Hi*x.slot)
		}
		if d, ok := p.s.vouch(block, to); ok {
			p.owe(now-digestDelay, d)
		}
	}
}

// rescueTogether is how many blocks are vouched for when one at the front was not: what the
// group has brought of the others is in want of it, too. Ours.
const rescueTogether = 32

// rekey is a change of the group's key that is under way.
type rekey struct {
	on     bool
	again  bool // another one is to follow
	since  time.Duration
	key    segment.GroupKey
	number map[*pcb]uint32
}

// rekeyDelay is how long the group waits for receivers to confirm a new key.
const rekeyDelay = 2 * time.Second

// changeKey begins with a new key for the group. Receivers keep the last two that
// they were told, so one change is over before the next one begins. Those that do
// not listen to a group now may do so later.
func (s *session) changeKey(now time.Duration) {
	if s.rekey.on {
		s.rekey.again = true
		return
	}
	k := segment.GroupKey{Epoch: s.sealers.group.keys.epoch + 1, Secret: s.fresh()}
	s.rekey = rekey{on: true, since: now, key: k, number: make(map[*pcb]uint32)}
	for _, p := range s.pcbs {
		if p.live() && p.state != synSent {
			s.rekey.number[p] = p.ctlOut.add(k.Append(nil))
		}
	}
}

// sendKey tells a receiver the present key.
func (p *pcb) sendKey() {
	k := &p.s.sealers.group.keys
	p.key = p.ctlOut.add((&segment.GroupKey{Epoch: k.epoch, Secret: k.secret}).Append(nil))
}

// finishRekey changes to the new key when all members have it, or leaves those behind
// that have not.
func (s *session) finishRekey(now time.Duration) {
	if !s.rekey.on {
		return
	}
	late := false
	for p, n := range s.rekey.number {
		late = late || p.live() && p.mode == Multicast && !p.ctlOut.confirmed(n)
	}
	if late && now < s.rekey.since+rekeyDelay {
		return
	}
	for _, p := range s.pcbs {
		if n, ok := s.rekey.number[p]; ok && p.live() && p.mode == Multicast && !p.ctlOut.confirmed(n) {
			p.fallBack(now, holdDown)
		}
	}
	k := s.sealers.group.keys
	k.epoch, k.secret = s.rekey.key.Epoch, Secret(s.rekey.key.Secret)
	s.sealers.group = sealer{keys: k}
	again := s.rekey.again
	s.rekey = rekey{}
	s.stats.Epochs++
	if again {
		s.changeKey(now)
	}
}
