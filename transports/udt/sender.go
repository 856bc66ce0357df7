package udt

import (
	"time"

	"github.com/gomover/gomover/internal/rangeset"
	"github.com/gomover/gomover/transports/internal/cc"
)

// sent is what a sender knows of one packet.
type sent struct {
	n       int   // bytes of payload
	weight  int   // see core.weight
	load    int64 // weight of all packets before it
	msg     msgWord
	expires time.Duration // of its message; 0 is not at all
	at      time.Duration // of its last sending
	times   int           // it was sent
	out     bool          // in flight as far as known
	counted bool          // known to have arrived
	named   bool          // the peer has reported its loss
	mark    cc.Mark
}

// resent is a packet that was sent again.
type resent struct {
	pos int64
	at  time.Duration
}

// sender is what one end sends: a queue of packets by position, of which the
// first ones are sent.
//
//	acked          known            next            end        acked+room
//	  | in flight,   |  in flight     |  to be sent   |    free    |
//	  | or lost      |                |               |            |
//
// The first packet is lost or under way; up to known the peer has told which
// ones it misses.
type sender struct {
	ring[sent]
	acked, known, next, end int64
	load                    load
	widest                  int64 // most that the peer has ever had room for
	room                    int64 // weight of the packets in the buffer at most

	lost      rangeset.Set // to be sent again, between acked and next
	resents   []resent     // in order of sending
	inFlight  int          // weight of packets neither arrived nor lost, as far as known
	lostLoad  int64        // weight of all that was lost
	sentAgain int64        // weight of all that was sent again
	sampler   cc.Sampler
	starved   bool
	msg       msgNo         // of the newest message
	holdUntil time.Duration // nothing new is sent before
	closed    bool          // the peer has no room
	closedFor time.Duration // how long that is believed without asking
	probing   bool          // what is being sent again is to be answered only

	paceAt   time.Duration // when the next packet is due
	more     bool          // there was more to be sent at once than a turn may
	lastSent time.Duration // of the last data packet
	progress time.Duration // when acked last moved
	newest   time.Duration // sending of the packet sent last of those that have arrived
	repeats  bool          // the peer reports losses that it has reported before
	probes   int           // since then

	rtt             rttFilter // of packets and their acknowledgements
	minRTT          time.Duration
	speed, capacity float64 // packets per second, as the peer reports them
	reports         int
	lastAck2        time.Duration
	answered        int    // acknowledgements
	sub             uint32 // of the last one whose window was taken

	peerError bool // the peer has reported an error
	naks      []seqRange
	vain      int64 // packets that the peer has reported as lost to no effect
	losses    []cc.Range
}

// load is the weights of all packets before some of a sender's positions, and of
// those that the peer has room for. Where no packet is longer than what was
// negotiated these are the positions.
type load struct{ acked, next, end, limit int64 }

// weight is how many packets of the negotiated size one of n bytes counts for in
// windows, buffers and the congestion control, which so know one size only.
func (c *core) weight(n int) int {
	if n <= c.payload {
		return 1
	}
	mss := c.payload + headerLen + udpAllowance
	return (n + headerLen + udpAllowance + mss - 1) / mss
}

// loadAt is the weight of all packets before pos.
func (x *sender) loadAt(pos int64) int64 {
	if pos >= x.end {
		return x.load.end
	}
	return x.get(pos).load
}

func newSender(now time.Duration, payload int, window, room int64) sender {
	return sender{
		ring: newRing[sent](headerLen + payload), load: load{limit: min(window, maxWindow)}, widest: min(window, maxWindow), room: room,
		paceAt: now, rtt: newRTTFilter(), lastAck2: -synInterval, speed: 16, capacity: 1, progress: now, lastSent: now,
	}
}

// tail is the last packet if bytes can still be added to it.
func (x *sender) tail() *sent {
	if x.end == x.next {
		return nil
	}
	return x.get(x.end - 1)
}

// write puts bytes of a stream into the buffer and gives how many fitted. Small
// writes share packets as long as these were not sent.
func (c *core) write(b []byte) (n int) {
	x := &c.send
	full := headerLen + c.full
	if s := x.tail(); s != nil {
		if p := x.bytes(x.end - 1); headerLen+s.n < min(full, len(p)) {
			n = copy(p[headerLen+s.n:min(full, len(p))], b)
			s.n += n
			s.weight = c.weight(s.n)
			x.load.end = s.load + int64(s.weight)
		}
	}
	most := min(x.load.acked+x.room, x.load.next+max(minWindow, notSentBytes/int64(c.payload)))
	for n < len(b) && x.load.end < most {
		room := full
		if len(b)-n <= c.payload { // not the memory of a long packet for a few bytes
			room = min(full, headerLen+c.payload)
		}
		s, p := x.put(x.end, room)
		x.msg = x.msg.next()
		k := copy(p[headerLen:min(full, len(p))], b[n:])
		*s = sent{n: k, weight: c.weight(k), load: x.load.end, msg: partOnly | msgInOrder | msgWord(x.msg)}
		n += k
		x.end++
		x.load.end += int64(s.weight)
	}
	return n
}

// writable tells that there is room for enough to be worth waking a writer.
func (c *core) writable() bool {
	l := &c.send.load
	return l.end-l.acked < c.send.room-c.send.room/8 && l.end-l.next < max(minWindow, notSentBytes/int64(c.payload))/2
}

// window is the weight of new packets that may be sent now. The last of them may
// exceed it.
func (c *core) window(now time.Duration) int64 {
	x := &c.send
	n := min(x.load.end, x.load.limit) - x.load.next
	if now < x.holdUntil {
		return 0
	}
	if !c.alive.any {
		n = min(n, heldPackets-x.load.next)
	}
	return max(0, min(n, int64(c.ctl.Window)-int64(x.inFlight)))
}

// collectSender sends what is due. Source: draft, section 6.1.
func (c *core) collectSender(now time.Duration, out *outbox) {
	x := &c.send
	c.checkResent(now)
	c.probe(now, out)
	x.more = false
	burst := c.burst()
	ahead := time.Duration(0) // what goes with the first burst costs no further turn
	for n := 0; ; {
		if n >= turnPackets {
			x.more = true
			return
		}
		lost := x.lost.Len() > 0
		if !lost && c.window(now) == 0 {
			c.starve(now)
			return
		}
		if c.ctl.Rate > 0 {
			if now+ahead < x.paceAt {
				x.starved = false
				return
			}
			x.paceAt = max(x.paceAt, now-2*c.ctl.Gap(burst*c.stats.MSS))
			if x.starved {
				x.paceAt = now
			}
		}
		x.starved = false
		sent, bytes := 0, 0
		if lost {
			sent, bytes = c.sendLost(now, burst, out)
		} else {
			sent, bytes = c.sendNew(now, burst, out)
		}
		x.paceAt += c.ctl.Gap(bytes)
		if n += max(sent, 1); n < int(c.ctl.Window)/4 {
			ahead = aheadTime
		} else {
			ahead = 0
		}
	}
}

// starve notes that nothing can be sent now, and whose fault that is.
func (c *core) starve(now time.Duration) {
	x := &c.send
	room := x.inFlight < int(c.ctl.Window)
	if room && !x.starved {
		x.sampler.Starved(int64(x.inFlight) * int64(c.stats.MSS))
	}
	x.starved = room
}

// burst is the weight of packets that are sent at once: as many as are due in a
// millisecond, but a small part of the window only.
func (c *core) burst() int {
	n := c.send.per
	if c.ctl.Rate > 0 {
		n = min(n, int(float64(c.ctl.Rate)*burstTime.Seconds()/float64(c.stats.MSS)))
	}
	return max(1, min(n, int(c.ctl.Window)/8))
}

// sendNew sends packets of a weight up to n for the first time, and gives how much
// it was, and the bytes. A pair of probes stays together.
func (c *core) sendNew(now time.Duration, n int, out *outbox) (int, int) {
	x := &c.send
	if x.next == 0 && !c.alive.any { // the client may lack the answer to its request
		c.repeatAccept()
		c.flushReplies(out)
	}
	from := x.load.next
	most := from + c.window(now)
	last := x.within(x.next, x.end, min(from+int64(n), most)) - 1
	if c.isn.add(last)%probeEvery == 0 && x.loadAt(last+1) < most {
		last++
	}
	bytes := c.emit(now, x.next, last, out)
	return int(x.load.next - from), bytes
}

// within is the first packet, from lo to before hi, before which lies a weight of
// at least most.
func (x *sender) within(lo, hi, most int64) int64 {
	if x.load.end == x.end { // all have the weight 1
		return min(hi, most)
	}
	for lo < hi && x.loadAt(lo) < most {
		lo++
	}
	return lo
}

// sendLost sends lost packets of a weight up to n again, the first ones of all, and
// gives how much it was, and the bytes. A message whose time is over is given up
// instead.
func (c *core) sendLost(now time.Duration, n int, out *outbox) (count, bytes int) {
	x := &c.send
	var e rangeset.Extent
	for e = range x.lost.All() {
		break
	}
	from := x.loadAt(e.Lo)
	e.Hi = x.within(e.Lo, e.Hi, from+int64(n))
	if c.cfg.Messages {
		for pos := e.Lo; pos < e.Hi; pos++ {
			if s := x.get(pos); s.expires > 0 && now >= s.expires {
				if pos == e.Lo {
					c.dropMessage(pos, out)
					return 0, 0
				}
				e.Hi = pos
			}
		}
	}
	x.lost.Remove(e.Lo, e.Hi)
	return int(x.loadAt(e.Hi) - from), c.emit(now, e.Lo, e.Hi-1, out)
}

// emit sends packets first to last, and gives their bytes on the wire. Those
// that lie side by side and are full, except for the last one, go together. One
// that has become too long for the path goes in pieces.
func (c *core) emit(now time.Duration, first, last int64, out *outbox) (bytes int) {
	x := &c.send
	c.fill(now)
	p := cc.Packets{First: x.loadAt(first), Count: int(x.loadAt(last+1) - x.loadAt(first))}
	time32 := uint32((now - c.opened) / time.Microsecond)
	for pos := first; pos <= last; {
		slab, i := x.place(pos)
		if s := &slab.meta[i]; s.n > c.full || slab.alone(i) {
			bytes += c.emitAlone(pos, s, slab.at(i), time32, out)
			c.noteSent(now, pos, s, &p)
			pos++
			continue
		}
		stride := slab.stride
		from := i * stride
		n, to := 0, from
		for ; pos <= last && i < x.per && to == from+n*stride; i++ {
			s := &slab.meta[i]
			if s.n > c.full || slab.alone(i) {
				break
			}
			b := slab.b[i*stride:]
			dataHeader(c.isn.add(pos), s.msg, time32, c.peerID).put(b)
			to = i*stride + headerLen + s.n
			c.noteSent(now, pos, s, &p)
			n++
			pos++
		}
		out.data(slab.b[from:to:to], stride, n, c.peer)
		bytes += to - from + n*udpAllowance
	}
	if bytes >= c.full {
		c.wantMTU(now)
	}
	x.lastSent = now
	p.Bytes = bytes
	c.fill(now)
	c.control.OnSent(&c.stats, p)
	c.learn()
	return bytes
}

// noteSent keeps the books of one packet that is being sent.
func (c *core) noteSent(now time.Duration, pos int64, s *sent, p *cc.Packets) {
	x := &c.send
	s.mark = x.sampler.Sent(now, x.inFlight)
	s.at = now
	s.times++
	if !s.out && !s.counted {
		s.out = true
		x.inFlight += s.weight
	}
	c.count.Sent++
	c.count.SentBytes += int64(s.n)
	if pos >= x.next {
		x.next = pos + 1
		x.load.next = s.load + int64(s.weight)
		return
	}
	p.Again = true
	c.count.Resent++
	x.sentAgain += int64(s.weight)
	if !x.probing && !x.repeats && s.times <= resendTimes {
		x.resents = append(x.resents, resent{pos, now})
	}
}
