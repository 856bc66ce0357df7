package udt

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
)

// Kinds of our own: the extended type of user-defined packets, which libraries that
// do not know them ignore.
//
//	probe   info: a random number. Filled up with zeros to the length to be tried.
//	probed  info: the number of the probe. One word: the bytes of its datagram.
//	piece   info: the number of a data packet. Two half words: where in the payload
//	        of that packet the piece begins, and the bytes of all of it; the piece,
//	        of leastPiece bytes at least unless it is the last.
const (
	extProbe  = 0x6d01
	extProbed = 0x6d02
	extPiece  = 0x6d03
)

// Constants of the search for the path MTU. Sizes are of IP packets, in bytes.
const (
	// firstMTU is what every link of IPv6 takes (RFC 8200, section 5), and nearly
	// every one of IPv4: what is sent before anything is known.
	firstMTU = 1280
	// leastMTU shows whether anything passes at all: every host of IPv4 takes 576
	// bytes (RFC 1122, section 3.3.2).
	leastMTU = 576
	// mostMTU is what is not exceeded, also where a link takes more, as loopback does.
	// Ours: four of these still go as one datagram train, and longer ones cost more
	// than they save, since the system looks for so much memory in one piece.
	mostMTU = 16384
	// mtuTries is how often a packet must be lost, while shorter ones pass, to be
	// taken for too long (RFC 8899, section 5.1.2, MAX_PROBES).
	mtuTries = 3
	// mtuAgain is after how long a longer packet is tried again (RFC 8899, section
	// 5.1.1, PMTU_RAISE_TIMER).
	mtuAgain = 10 * time.Minute
	// mtuSteps is how many sizes between two are tried at once. Ours: each round
	// that finds nothing costs mtuTries timeouts.
	mtuSteps = 4
	// doubtPause and doubtRest are the shortest time between two doubts of the size in
	// use, which doubles with each one that turns out to be unfounded, and doubtTimes
	// how often a packet must be lost for one. Ours.
	doubtPause = time.Second
	doubtRest  = 8 * time.Second
	doubtTimes = 3

	pieceHead = 4
	// leastPiece is what a piece has at the least size, over IPv6, in bytes. Shorter
	// ones would cost a receiver more than what they bring.
	leastPiece  = leastMTU - 40 - 8 - headerLen - pieceHead
	mtuPatience = time.Second // between tries while nothing passes, at the most
)

// usualMTUs are those of everyday life: IPv4's least, IPv6's least, tunnels, PPPoE,
// Ethernet, FDDI, Ethernet's jumbo frames.
var usualMTUs = [...]int{firstMTU, 1400, 1492, 1500, 4352, 9000}

// mtuSearch finds the longest packets that the path to the peer carries whole, by
// sending probes that must not be cut and that the peer acknowledges. Source: RFC
// 8899; several sizes are tried at once, and a lost probe says nothing unless a
// short one sent with it has passed.
//
//	idle --- the first full packet, or ten minutes later ---> searching up
//	  ^'---- packets of the size in use vanish -------------> in doubt
//	  '----- nothing between what passes and what does not --'  |
type mtuSearch struct {
	top     int // the longest that the first link takes; 0: no search
	size    int // of new packets
	good    int // longest known to pass, in this search; 0: none
	bad     int // shortest known not to pass
	open    []mtuProbe
	small   mtuProbe // shows that something passes
	active  bool
	doubted bool          // only sizes up to the one in use are tried
	suspect bool          // a doubt is to begin
	due     time.Duration // when the probes are judged; never
	again   time.Duration // when the next search may begin
	calm    time.Duration // when the next doubt may begin
	pause   time.Duration // since the last one
	wait    time.Duration // for the answers to probes
}

// mtuProbe is one size that is being tried.
type mtuProbe struct {
	size   int
	id     uint32
	lost   int
	passed bool
}

// headers is the bytes of the headers of IP and UDP.
func (c *core) headers() int {
	if c.peer.Addr().Is4() || c.peer.Addr().Is4In6() {
		return 20 + 8
	}
	return 40 + 8
}

// longest is the most payload that a packet may have.
func (c *core) longest() int {
	if !c.cfg.FindMTU {
		return c.payload
	}
	return mostMTU - udpAllowance - headerLen
}

// most is the weight of packets at which no more are taken.
func (c *core) most() int64 {
	return c.recv.size + recvReserve + int64(c.weight(c.longest()))
}

// short tells whether a packet is shorter than the peer could have made it, and so
// perhaps the last one for now.
func (c *core) short(n int) bool {
	if !c.cfg.FindMTU {
		return n != c.payload
	}
	was := c.recv.last
	c.recv.last = n
	return n < was
}

// beginMTU prepares the search, if there is to be one.
func (c *core) beginMTU() {
	c.recv.count = c.cfg.FindMTU
	m := &c.mtu
	if !c.cfg.FindMTU || m.top < leastMTU {
		m.top = 0
		return
	}
	m.top = min(m.top, mostMTU)
	c.useMTU(min(firstMTU, m.top))
}

// useMTU has new packets be as long as that.
func (c *core) useMTU(size int) {
	c.mtu.size = size
	c.full = size - c.headers() - headerLen
	c.send.cut = min(c.send.stride, headerLen+c.full)
}

// wantMTU begins a search if it is time for one: full packets are sent.
func (c *core) wantMTU(now time.Duration) {
	m := &c.mtu
	if m.top == 0 || m.active || now < m.again || m.size >= m.top {
		return
	}
	c.startMTU(now, m.top, false)
}

// doubt asks for a look at whether packets with n bytes of payload still pass: some
// were lost several times, or nothing is heard any more.
func (c *core) doubt(n int) {
	if m := &c.mtu; m.top > 0 && n > leastMTU-c.headers()-headerLen && m.size > leastMTU && !m.doubted {
		m.suspect = true
	}
}

// startMTU begins a search up to a size.
func (c *core) startMTU(now time.Duration, most int, doubted bool) {
	m := &c.mtu
	m.active, m.doubted, m.suspect = true, doubted, false
	m.good, m.bad, m.open = 0, most+1, m.open[:0]
	for _, size := range usualMTUs {
		if size < most {
			m.open = append(m.open, mtuProbe{size: size})
		}
	}
	m.open = append(m.open, mtuProbe{size: most})
	m.wait = 0
	m.due = now
}

// collectMTU does what is due of the search.
func (c *core) collectMTU(now time.Duration, out *outbox) {
	m := &c.mtu
	if m.suspect && now >= m.calm {
		m.pause = min(max(2*m.pause, doubtPause), doubtRest)
		c.startMTU(now, m.size, true)
	}
	if !m.active || now < m.due {
		return
	}
	if m.wait > 0 && c.judgeMTU(now) {
		c.nextMTU(now)
	}
	if m.active {
		c.sendProbes(now, out)
	}
}

// judgeMTU looks at what became of the probes, and tells whether none is left.
func (c *core) judgeMTU(now time.Duration) bool {
	m := &c.mtu
	if !m.small.passed { // nothing does: it says nothing of sizes
		m.wait = max(min(2*m.wait, mtuPatience), c.mtuWait())
		return len(m.open) == 0
	}
	m.wait = 0
	for i := range m.open {
		if m.open[i].lost++; m.open[i].lost >= mtuTries {
			m.bad, m.open = m.open[i].size, m.open[:i]
			break
		}
	}
	if m.bad <= m.size {
		c.shrinkMTU(now)
	}
	return len(m.open) == 0
}

// shrinkMTU stops using a size that does not pass. What was sent with more, and is
// not known to have arrived, is sent again in pieces; this is no loss that the
// congestion control should hear of.
func (c *core) shrinkMTU(now time.Duration) {
	m, x := &c.mtu, &c.send
	m.doubted, m.suspect, m.pause = false, false, 0
	c.useMTU(max(m.good, leastMTU))
	c.count.Shrunk++
	for pos := x.acked; pos < x.next; pos++ {
		if s := x.get(pos); s.n > c.full && !s.counted {
			x.sendAgain(pos, pos+1)
		}
	}
	x.progress, x.probes, x.paceAt = now, 0, now
}

// nextMTU chooses the sizes to be tried next, or ends the search.
func (c *core) nextMTU(now time.Duration) {
	m := &c.mtu
	low, gap := max(m.good, leastMTU), 0
	gap = m.bad - low
	if gap <= max(16, low/64) {
		m.active, m.doubted, m.due = false, false, never
		m.again = now + mtuAgain
		return
	}
	m.wait, m.due = 0, now
	for i := 1; i <= mtuSteps; i++ {
		m.open = append(m.open, mtuProbe{size: low + i*gap/(mtuSteps+1)})
	}
}

// sendProbes sends what is being tried, and a small one with it.
func (c *core) sendProbes(now time.Duration, out *outbox) {
	m := &c.mtu
	m.small = mtuProbe{size: min(leastMTU, m.top), id: random32()}
	c.sendProbe(&m.small, out)
	for i := range m.open {
		m.open[i].id = random32()
		c.sendProbe(&m.open[i], out)
	}
	if m.wait == 0 {
		m.wait = c.mtuWait()
	}
	m.due = now + m.wait
}

// mtuWait is how long the answers to probes may take.
func (c *core) mtuWait() time.Duration {
	rtt := &c.send.rtt
	if !rtt.measured { // of the handshake
		rtt = &c.rtt
	}
	return max(rtt.patience(), 2*synInterval) + synInterval
}

func (c *core) sendProbe(p *mtuProbe, out *outbox) {
	h := controlHeader(kindUser, p.id, c.peerID)
	h.w0 |= extProbe
	b := make([]byte, p.size-c.headers())
	h.put(b)
	out.push(b, c.peer)
}

// receiveOurs takes the packets of kinds of our own.
func (c *core) receiveOurs(now time.Duration, h header, body []byte) error {
	switch h.extended() {
	case extProbe:
		b := controlHeader(kindUser, h.w1, c.peerID)
		b.w0 |= extProbed
		c.reply(binary.BigEndian.AppendUint32(b.append(nil), uint32(headerLen+len(body))))
	case extProbed:
		if len(body) != 4 {
			return fmt.Errorf("%w: an answer to a probe of %d bytes", errPacket, len(body))
		}
		return c.onProbed(now, h.w1, int64(binary.BigEndian.Uint32(body))+int64(c.headers()))
	case extPiece:
		return c.onPiece(now, h, body)
	}
	return nil // others count as signs of life
}

// onProbed takes the answer to a probe. One with a number that was not sent of late
// is not believed: who cannot see the probes does not know it.
func (c *core) onProbed(now time.Duration, id uint32, size int64) error {
	m := &c.mtu
	if !m.active {
		return nil // late
	}
	if id == m.small.id && size == int64(m.small.size) {
		m.small.passed = true
		m.good = max(m.good, m.small.size)
		return nil
	}
	for i := range m.open {
		if m.open[i].id == id && size == int64(m.open[i].size) {
			m.small.passed = true
			m.good = m.open[i].size
			m.open = append(m.open[:0], m.open[i+1:]...)
			c.passedMTU(now)
			return nil
		}
	}
	if id != m.small.id && size > int64(m.good) {
		return fmt.Errorf("%w: an answer to no probe", errPacket)
	}
	return nil
}

// passedMTU uses a size that was seen to pass.
func (c *core) passedMTU(now time.Duration) {
	m := &c.mtu
	switch {
	case m.doubted && m.good >= m.size: // it was something else
		m.active, m.doubted, m.due = false, false, never
		m.calm = now + m.pause
		return
	case m.good > m.size:
		c.useMTU(m.good)
	}
	if len(m.open) == 0 {
		c.nextMTU(now)
	}
}

// tooLong notes that the system would not send a datagram: the first link takes less
// than was thought.
func (c *core) tooLong(now time.Duration, datagram int) {
	m, size := &c.mtu, datagram+c.headers()
	if m.top == 0 || size > m.top || size <= leastMTU {
		return
	}
	m.top = size - 1
	if size > m.size {
		m.bad = min(m.bad, size)
		for len(m.open) > 0 && m.open[len(m.open)-1].size >= size {
			m.open = m.open[:len(m.open)-1]
		}
		return
	}
	m.good = min(firstMTU, m.top)
	c.shrinkMTU(now)
	c.startMTU(now, m.top, false)
}

// parts is a packet of which some pieces have come.
type parts struct {
	b      []byte
	have   rangeset.Set
	weight int
}

// sendPieces sends a packet that has become too long for the path, and gives its
// bytes on the wire.
func (c *core) sendPieces(pos int64, b []byte, out *outbox) (bytes int) {
	for at, k := 0, c.full-pieceHead; at < len(b); at += k {
		h := controlHeader(kindUser, uint32(c.isn.add(pos)), c.peerID)
		h.w0 |= extPiece
		p := h.append(out.room())
		p = binary.BigEndian.AppendUint16(p, uint16(at))
		p = binary.BigEndian.AppendUint16(p, uint16(len(b)))
		p = append(p, b[at:min(at+k, len(b))]...)
		out.push(p, c.peer)
		out.packets++
		bytes += len(p) + udpAllowance
	}
	return bytes
}

// emitAlone sends a packet that does not lie beside others, whole or in pieces.
func (c *core) emitAlone(pos int64, s *sent, b []byte, time32 uint32, out *outbox) (bytes int) {
	if s.n > c.full {
		return c.sendPieces(pos, b[headerLen:headerLen+s.n], out)
	}
	dataHeader(c.isn.add(pos), s.msg, time32, c.peerID).put(b)
	out.data(b[:headerLen+s.n], 0, 1, c.peer)
	return headerLen + s.n + udpAllowance
}

// onPiece takes a piece of a packet. When the last one has come it is as if the
// packet had come whole.
func (c *core) onPiece(now time.Duration, h header, body []byte) error {
	r := &c.recv
	if h.w1 > uint32(seqMask) || len(body) <= pieceHead {
		return fmt.Errorf("%w: a piece of %d bytes", errPacket, len(body))
	}
	at, all := int(binary.BigEndian.Uint16(body)), int(binary.BigEndian.Uint16(body[2:]))
	body = body[pieceHead:]
	pos := r.first.add(r.next).near(r.next, seq(h.w1))
	if at+len(body) > all || at+len(body) < all && len(body) < leastPiece || all > c.longest() || pos < 0 {
		return fmt.Errorf("%w: a piece from %d to %d of %d bytes", errPacket, at, at+len(body), all)
	}
	whole := dataHeader(seq(h.w1), partOnly|msgInOrder, h.time, h.id)
	p := r.parts[pos]
	if m := r.get(pos); pos < r.next || m != nil && m.have || pos >= r.base+r.size+recvReserve || p == nil && r.there >= c.most() {
		c.receiveData(now, whole, nil) // which sees to an answer, and keeps nothing
		return nil
	}
	if p != nil && len(p.b) != all {
		c.dropParts(pos)
		p = nil
	}
	if p == nil {
		if r.parts == nil {
			r.parts = make(map[int64]*parts)
		}
		p = &parts{b: make([]byte, all), weight: c.weight(all)}
		r.parts[pos] = p
		r.there += int64(p.weight)
	}
	copy(p.b[at:], body)
	p.have.Add(int64(at), int64(at+len(body)))
	if p.have.Total() == int64(all) {
		c.dropParts(pos)
		c.receiveData(now, whole, p.b)
	}
	return nil
}

// dropParts forgets the pieces of a packet.
func (c *core) dropParts(pos int64) {
	r := &c.recv
	if p := r.parts[pos]; p != nil {
		r.there -= int64(p.weight)
		delete(r.parts, pos)
	}
}
