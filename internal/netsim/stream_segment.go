package netsim

import (
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// Headers in bytes: TCP's with the timestamp option (RFC 9293, 7323), and that of
// a SYN with its options as Linux sends it.
const (
	tcpHeader = 32
	synHeader = 40
)

// segmentFlags are TCP's, as far as the model has them.
type segmentFlags uint8

const (
	flagSYN segmentFlags = 1 << iota
	flagACK
	flagFIN
	flagRST
	flagPush  // the sender will wait now: acknowledge at once
	flagProbe // is there room again?
)

// segmentHead is what a TCP packet carries. Sequence numbers count the bytes of
// a direction from 0; the end counts as one more. Copies of a packet share it.
type segmentHead struct {
	flags segmentFlags
	seq   int64
	data  []byte
	ack   int64      // all before this has come
	edge  int64      // the peer may send up to here
	sack  []sackSpan // what has come behind that, ascending
}

// sackSpan is a range of sequence numbers [from, to).
type sackSpan struct{ from, to int64 }

// maxSackSpans bounds the ranges of one acknowledgement. A real one has three or
// four and repeats them in turn; the model need not.
const maxSackSpans = 1024

// streamKey finds the stream of a packet at a host.
type streamKey struct{ local, remote netip.AddrPort }

// mss is the most data that a segment carries, in bytes.
func (c *Conn) mss() int {
	if c.remote.Addr().Is6() {
		return c.h.n.topo.MTU - ipv6Header - tcpHeader
	}
	return c.h.n.topo.MTU - ipv4Header - tcpHeader
}

// transmit sends one packet to the peer, with all that it should know.
func (c *Conn) transmit(flags segmentFlags, seq int64, data []byte) {
	head := &segmentHead{flags: flags, seq: seq, data: data, edge: c.in.promise()}
	if flags&flagACK != 0 {
		head.ack, head.sack = c.in.next, c.in.sack()
		c.in.unacked = 0
	}
	c.h.transmit(c.local, c.remote, c.peer, head)
}

func (h *Node) transmit(from, to netip.AddrPort, peer *Node, head *segmentHead) {
	p := h.n.newPacket()
	p.from, p.to, p.src, p.dst, p.tcp = h, peer, from, to, head
	p.size = ipv4Header + tcpHeader + len(head.data)
	if head.flags&flagSYN != 0 {
		p.size += synHeader - tcpHeader
	}
	if to.Addr().Is6() {
		p.size += ipv6Header - ipv4Header
	}
	h.n.send(p)
}

func (c *Conn) acknowledge() { c.transmit(flagACK, c.out.end, nil) }
func (c *Conn) sendReset()   { c.transmit(flagRST, c.out.end, nil) }

// receiveSegment gives a packet to its stream or listener.
func (h *Node) receiveSegment(p *parcel) {
	c := h.streams[streamKey{p.dst, p.src}]
	switch {
	case c != nil:
		c.receive(p.tcp)
	case p.tcp.flags&flagSYN != 0 && p.tcp.flags&flagACK == 0:
		h.receiveSYN(p)
	case p.tcp.flags&flagRST == 0:
		h.transmit(p.dst, p.src, p.from, &segmentHead{flags: flagRST})
	}
}

// receive takes a packet of this stream.
func (c *Conn) receive(s *segmentHead) {
	if s.flags&flagRST != 0 {
		if c.state == dialling {
			c.end(syscall.ECONNREFUSED)
		} else {
			c.end(syscall.ECONNRESET)
		}
		return
	}
	switch {
	case s.flags&flagSYN != 0 && s.flags&flagACK == 0: // the answer was lost
		if c.state == answering {
			c.transmit(flagSYN|flagACK, 0, nil)
		}
		return
	case s.flags&flagSYN != 0:
		if c.state == dialling {
			c.opened()
		}
		c.out.edge = max(c.out.edge, s.edge)
		c.acknowledge()
		return
	case c.state == dialling:
		return
	case c.state == answering:
		c.opened()
		c.listener.complete(c)
	}
	if s.flags&flagACK != 0 {
		c.receiveACK(s)
	}
	if s.flags&flagProbe != 0 {
		c.acknowledge()
	}
	if len(s.data) > 0 || s.flags&flagFIN != 0 {
		c.receiveData(s)
	}
	c.endIfDone()
}

// opened is called when the handshake is through.
func (c *Conn) opened() {
	c.state, c.wasOpen = open, true
	if c.clock.backoff == 0 { // else nobody knows which packet was answered
		c.clock.sample(c.h.n.now - c.clock.began)
	}
	c.clock.backoff, c.clock.deadline = 0, never
	c.write.wake()
	c.send()
}

// receiveData takes a segment that carries data, the end, or both. Data for a
// closed end resets the stream (RFC 9293, section 3.6.1) if it is new: what was
// read before and comes again only needs its acknowledgement.
func (c *Conn) receiveData(s *segmentHead) {
	if c.closed && s.seq+int64(len(s.data)) > c.in.next {
		c.sendReset()
		c.end(net.ErrClosed)
		return
	}
	before := c.in.queued
	inOrder := c.in.accept(s)
	if c.in.queued > before || c.in.ended {
		c.read.wake()
	}
	c.in.unacked++
	if !inOrder || c.in.unacked >= 2 || s.flags&(flagPush|flagFIN) != 0 || len(c.in.early) > 0 {
		c.acknowledge()
	}
}

// streamReceiver puts what comes in order.
type streamReceiver struct {
	next     int64    // sequence number that is waited for
	chunks   [][]byte // in order, to be read; the first from offset on
	offset   int
	queued   int            // bytes in chunks
	room     int            // for queued
	early    []*segmentHead // came before their turn, by seq
	ended    bool           // the peer has no more
	promised int64          // the peer may send up to here
	unacked  int            // segments that came since the last acknowledgement
}

// accept takes a segment; it reports whether this was the next one.
func (r *streamReceiver) accept(s *segmentHead) (inOrder bool) {
	switch {
	case s.seq < r.next || r.ended:
		return false
	case s.seq > r.next:
		i, found := slices.BinarySearchFunc(r.early, s.seq, func(e *segmentHead, seq int64) int { return int(e.seq - seq) })
		if !found {
			r.early = slices.Insert(r.early, i, s)
		}
		return false
	}
	r.add(s)
	filled := 0
	for filled < len(r.early) && r.early[filled].seq == r.next {
		r.add(r.early[filled])
		filled++
	}
	r.early = slices.Delete(r.early, 0, filled)
	return true
}

func (r *streamReceiver) add(s *segmentHead) {
	if len(s.data) > 0 {
		r.chunks = append(r.chunks, s.data)
		r.queued += len(s.data)
		r.next += int64(len(s.data))
	}
	if s.flags&flagFIN != 0 {
		r.next++
		r.ended = true
	}
}

// read moves bytes to b, which is not empty; there are some.
func (r *streamReceiver) read(b []byte) (n int) {
	used := 0
	for n < len(b) && used < len(r.chunks) {
		m := copy(b[n:], r.chunks[used][r.offset:])
		n, r.offset = n+m, r.offset+m
		if r.offset == len(r.chunks[used]) {
			r.chunks[used] = nil
			used, r.offset = used+1, 0
		}
	}
	r.chunks = r.chunks[used:]
	r.queued -= n
	return n
}

// promise is up to where the peer may send; it never goes back.
func (r *streamReceiver) promise() int64 {
	r.promised = max(r.promised, r.next+int64(r.room-r.queued))
	return r.promised
}

// windowGrew tells whether the peer should hear that there is room again.
func (r *streamReceiver) windowGrew() bool {
	return r.next+int64(r.room-r.queued)-r.promised >= int64(r.room/4)
}

// sack lists what has come before its turn.
func (r *streamReceiver) sack() []sackSpan {
	var list []sackSpan
	for _, s := range r.early {
		end := s.seq + int64(len(s.data))
		if s.flags&flagFIN != 0 {
			end++
		}
		if last := len(list) - 1; last >= 0 && list[last].to == s.seq {
			list[last].to = end
			continue
		}
		if len(list) == maxSackSpans {
			break
		}
		list = append(list, sackSpan{s.seq, end})
	}
	return list
}
