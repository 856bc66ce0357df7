package udt

import (
	"time"

	"github.com/gomover/gomover/internal/rangeset"
	"github.com/gomover/gomover/transports/internal/cc"
)

// sent is what a sender knows of one packet.
type sent struct {
	n       int // bytes of payload
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
// ones it misses; limit, not in the picture, is what it has room for.
type sender struct {
	ring[sent]
	acked, known, next, end int64
	limit                   int64 // first position that the peer has no room for
	widest                  int64 // most packets that the peer has ever had room for
	room                    int64 // packets in the buffer at most

	lost      rangeset.Set // to be sent again, between acked and next
	resents   []resent     // in order of sending
	inFlight  int          // packets neither arrived nor lost, as far as known
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

func newSender(now time.Duration, payload int, window, room int64) sender {
	return sender{
		ring: newRing[sent](headerLen + payload), limit: min(window, maxWindow), widest: min(window, maxWindow), room: room,
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
	if s := x.tail(); s != nil && s.n < c.payload {
		n = copy(x.bytes(x.end - 1)[headerLen+s.n:], b)
		s.n += n
	}
	most := min(x.acked+x.room, x.next+max(minWindow, notSentBytes/int64(c.payload)))
	for n < len(b) && x.end < most {
		s, p := x.put(x.end)
		x.msg = x.msg.next()
		*s = sent{n: copy(p[headerLen:], b[n:]), msg: partOnly | msgInOrder | msgWord(x.msg)}
		n += s.n
		x.end++
	}
	return n
}

// writable tells that there is room for enough to be worth waking a writer.
func (c *core) writable() bool {
	x := &c.send
	return x.end-x.acked < x.room-x.room/8 && x.end-x.next < max(minWindow, notSentBytes/int64(c.payload))/2
}

// window is how many new packets may be sent now.
func (c *core) window(now time.Duration) int64 {
	x := &c.send
	n := min(x.end, x.limit) - x.next
	if now < x.holdUntil {
		return 0
	}
	if !c.alive.any {
		n = min(n, heldPackets-x.next)
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

// burst is how many packets are sent at once: as many as are due in a
// millisecond, but a small part of the window only.
func (c *core) burst() int {
	n := c.send.per
	if c.ctl.Rate > 0 {
		n = min(n, int(float64(c.ctl.Rate)*burstTime.Seconds()/float64(c.stats.MSS)))
	}
	return max(1, min(n, int(c.ctl.Window)/8))
}

// sendNew sends up to n packets for the first time. A pair of probes stays
// together.
func (c *core) sendNew(now time.Duration, n int, out *outbox) (int, int) {
	x := &c.send
	if x.next == 0 && !c.alive.any { // the client may lack the answer to its request
		c.repeatAccept()
		c.flushReplies(out)
	}
	room := c.window(now)
	count := min(int64(n), room)
	if last := c.isn.add(x.next + count - 1); last%probeEvery == 0 && count < room {
		count++
	}
	bytes := c.emit(now, x.next, x.next+count-1, out)
	return int(count), bytes
}

// sendLost sends up to n lost packets again, the first ones of all, and gives
// how many packets and bytes. A message whose time is over is given up instead.
func (c *core) sendLost(now time.Duration, n int, out *outbox) (count, bytes int) {
	x := &c.send
	var e rangeset.Extent
	for e = range x.lost.All() {
		break
	}
	e.Hi = min(e.Hi, e.Lo+int64(n))
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
	return int(e.Hi - e.Lo), c.emit(now, e.Lo, e.Hi-1, out)
}

// emit sends packets first to last, and gives their bytes on the wire. Those
// that lie side by side and are full, except for the last one, go together.
func (c *core) emit(now time.Duration, first, last int64, out *outbox) (bytes int) {
	x := &c.send
	c.fill(now)
	p := cc.Packets{First: first, Count: int(last - first + 1)}
	time32 := uint32((now - c.opened) / time.Microsecond)
	for pos := first; pos <= last; {
		slab, i := x.place(pos)
		from := i * x.stride
		n, to := 0, from
		for ; pos <= last && i < x.per && to == from+n*x.stride; i++ {
			s := &slab.meta[i]
			b := slab.b[i*x.stride:]
			dataHeader(c.isn.add(pos), s.msg, time32, c.peerID).put(b)
			to = i*x.stride + headerLen + s.n
			c.noteSent(now, pos, s, &p)
			n++
			pos++
		}
		out.data(slab.b[from:to:to], x.stride, n, c.peer)
		bytes += to - from + n*udpAllowance
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
		x.inFlight++
	}
	c.count.Sent++
	c.count.SentBytes += int64(s.n)
	if pos >= x.next {
		x.next = pos + 1
		return
	}
	p.Again = true
	c.count.Resent++
	if !x.probing && !x.repeats && s.times <= resendTimes {
		x.resents = append(x.resents, resent{pos, now})
	}
}
