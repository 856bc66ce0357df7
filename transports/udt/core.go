package udt

import (
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/gomover/gomover/transports/internal/cc"
)

// state is where a connection stands.
//
//	connecting --> connected --> closing --> closed
//	    |              |  '-> broken ----------^
//	    '--------------+-----------------------'
type state uint8

const (
	connecting state = iota
	connected
	closing // everything written is to be acknowledged before the end
	broken  // the peer is gone; what arrived can be read
	closed
)

// String gives the state as one word.
func (s state) String() string {
	return [...]string{"connecting", "connected", "closing", "broken", "closed"}[s]
}

// Errors which callers tell apart.
var (
	// ErrRefused means that the other end does not want the connection.
	ErrRefused = errors.New("connection refused")
	// ErrTimeout means that nothing was heard of the other end in time. It is a
	// timeout in the sense of net.Error.
	ErrTimeout error = timeoutError{}
	// ErrSecurity means that an answer did not fit the request.
	ErrSecurity = errors.New("an answer of somebody else")
	// ErrShutdown means that the other end has closed the connection.
	ErrShutdown = errors.New("connection closed by the other end")
	// ErrPeer means that the other end has reported an error of its own.
	ErrPeer = errors.New("error at the other end")
	// ErrTooLong means that a message does not fit the send buffer.
	ErrTooLong = errors.New("message too long")
)

type timeoutError struct{}

func (timeoutError) Error() string   { return "nothing was heard of the other end" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

var _ net.Error = timeoutError{}

// Counters tell what a connection has done. They only grow.
type Counters struct {
	Sent, Received         int64 // data packets, repetitions included
	SentBytes, RecvBytes   int64 // of payload, repetitions included
	Resent                 int64 // data packets sent again
	Lost                   int64 // packets that the peer reported as lost, or that were taken for it
	Missed                 int64 // packets that this end found missing
	Duplicates             int64 // data packets that were there already
	Refused                int64 // data packets without room
	Bad                    int64 // packets that could not be what the peer sends
	SentAcks, RecvAcks     int64
	SentNaks, RecvNaks     int64
	Timeouts, Probes       int64
	Shrunk                 int64 // times that the path was found to take less than before
	DroppedSent, DroppedIn int64 // messages given up, by this end and by the peer
}

// core is one connection: datagrams and the time go in, datagrams and deadlines
// come out. It has no goroutine and reads no clock.
//
// After any calls of receive, collect is called before the time passes on; and
// what it gave is sent before the next call of receive. Other methods may be
// called in between. Concurrency: one goroutine at a time.
type core struct {
	cfg    Config
	peer   netip.AddrPort
	id     uint32 // of this end, to which packets are addressed
	peerID uint32
	isn    seq // of what this end sends
	opened time.Duration
	state  state
	err    error // why it is broken or closed
	cut    error // what has ended closing before its time

	payload int // bytes of a full packet as negotiated
	full    int // bytes of a full packet that is new; see mtuSearch
	mtu     mtuSearch
	connect connector
	send    sender
	recv    receiver
	alive   liveness
	rtt     rttFilter // as told to the peer
	control cc.Controller
	ctl     cc.Control
	stats   cc.Stats
	count   Counters
	replies []byte // control packets that answer others, one after another
	ends    []int  // where each of them ends
}

// liveness is what is known of the peer being there.
type liveness struct {
	heard     time.Duration // last packet of the peer, or last expiry
	heardReal time.Duration // last packet of the peer
	any       bool          // something was heard since the handshake
	count     int           // expiries in a row, from 1
	said      time.Duration // when this end has last sent anything
	shutdowns int           // sent so far
	shutdown  time.Duration // when the next one is to be sent
	linger    time.Duration // when closing ends
	peerGone  bool          // the peer has said so
}

// shutdownDelays are the times between repetitions of the last packet, which
// nobody acknowledges.
var shutdownDelays = [...]time.Duration{0, 10 * time.Millisecond, 50 * time.Millisecond}

// newCore makes a connection that is not connected yet.
func newCore(cfg Config, control cc.Controller, now time.Duration, peer netip.AddrPort, id uint32, isn seq) *core {
	c := &core{
		cfg: cfg, control: control, peer: peer, id: id, isn: isn, opened: now, mtu: mtuSearch{due: never},
		rtt: newRTTFilter(), alive: liveness{shutdown: never, linger: never, said: now},
	}
	c.connect.local = cfg.MSS
	return c
}

// offered is the window of the handshake, in packets.
func (c *core) offered() int64 { return packets(c.cfg.RecvBuffer, c.cfg.MSS-udpAllowance-headerLen) }

// establish begins the connected state. Source: draft, section 5.4; the
// library's rules for the values.
func (c *core) establish(now time.Duration, hs *handshake, mss int) {
	c.state = connected
	c.peerID = hs.id
	c.payload = mss - udpAllowance - headerLen
	c.full = c.payload
	c.alive.heard, c.alive.heardReal, c.alive.count = now, now, 1
	c.alive.said = now
	c.send = newSender(now, c.payload, int64(hs.window), packets(c.cfg.SendBuffer, c.payload))
	c.recv = newReceiver(now, hs.isn, c.payload, packets(c.cfg.RecvBuffer, c.payload))
	c.stats = cc.Stats{MSS: mss, Seed: uint64(c.id)<<32 | uint64(c.isn)}
	c.beginMTU()
	c.fill(now)
	c.control.Init(&c.stats)
	c.learn()
}

// fill brings the statistics for the congestion control up to date.
func (c *core) fill(now time.Duration) {
	s, x := &c.stats, &c.send
	s.Now = now
	// Not what is left of it just now, which window keeps: a reader that stops for a
	// while says nothing about the path.
	s.MaxWindow = int(max(x.widest, 1))
	s.RTT, s.RTTVar, s.MinRTT = x.rtt.rtt, x.rtt.dev, x.minRTT
	if !x.rtt.measured {
		s.RTT, s.RTTVar = c.rtt.rtt, c.rtt.dev
	}
	s.ArrivalRate, s.Capacity, s.Reports = x.speed, x.capacity, x.reports
	s.Sent, s.Acked, s.InFlight = x.load.next, x.load.acked, x.inFlight
	s.Delivered, s.Lost, s.Resent = x.sampler.Delivered(), x.lostLoad, x.sentAgain
	s.AppLimited = x.starved
	s.LossList = s.LossList[:0]
	for e := range x.lost.All() {
		if len(s.LossList) == 8 {
			break
		}
		s.LossList = append(s.LossList, cc.Range{First: x.loadAt(e.Lo), Last: x.loadAt(e.Hi) - 1})
	}
}

// learn takes over what the congestion control wants.
func (c *core) learn() {
	c.ctl = c.control.Control()
	if c.cfg.MaxRate > 0 && (c.ctl.Rate == 0 || c.ctl.Rate > c.cfg.MaxRate) {
		c.ctl.Rate = c.cfg.MaxRate
	}
	if m, ok := c.control.(cc.Messenger); ok && c.state == connected {
		for b := m.Outgoing(); b != nil; b = m.Outgoing() {
			c.reply(appendUser(nil, c.peerID, b))
		}
	}
}

// reply notes a control packet that answers one that came.
func (c *core) reply(b []byte) {
	if len(c.ends) < ackHistory { // hostile floods are not answered one by one
		c.replies = append(c.replies, b...)
		c.ends = append(c.ends, len(c.replies))
	}
}

// receive takes a datagram of the peer: the source and the ID were compared.
// body is lent for the call.
func (c *core) receive(now time.Duration, h header, body []byte) {
	if c.state == closed {
		return
	}
	if c.state == connecting {
		c.receiveConnecting(now, h, body)
		if c.state != connected || h.control() && h.kind() == kindHandshake {
			return
		}
	}
	c.alive.heard, c.alive.heardReal, c.alive.count, c.alive.any = now, now, 1, true
	if c.state == broken {
		return
	}
	if !h.control() {
		c.receiveData(now, h, body)
		return
	}
	if err := c.receiveControl(now, h, body); err != nil {
		c.count.Bad++
	}
}

func (c *core) receiveControl(now time.Duration, h header, body []byte) error {
	switch h.kind() {
	case kindHandshake:
		hs, err := parseHandshake(body)
		if err != nil {
			return err
		}
		c.lateHandshake(&hs)
	case kindAck:
		a, err := parseAck(h, body)
		if err != nil {
			return err
		}
		return c.onAck(now, a)
	case kindNak:
		var err error
		if c.send.naks, err = parseNak(c.send.naks[:0], body); err != nil {
			return err
		}
		return c.onNak(now, c.send.naks)
	case kindAck2:
		c.onAck2(now, h.w1)
	case kindShutdown:
		c.alive.peerGone = true
		c.fail(now, ErrShutdown)
	case kindDrop:
		d, err := parseDrop(h, body)
		if err != nil {
			return err
		}
		return c.onDrop(now, d)
	case kindError:
		c.send.peerError = true
	case kindUser:
		if c.cfg.FindMTU && h.extended() != 0 {
			return c.receiveOurs(now, h, body)
		}
		c.fill(now)
		c.control.OnCustom(&c.stats, body)
		c.learn()
	}
	return nil // others count as signs of life
}

// fail ends the connection; what has arrived can still be read.
func (c *core) fail(now time.Duration, err error) {
	switch c.state {
	case closed, broken:
		return
	case connected, closing:
		c.fill(now)
		c.control.Close(&c.stats)
	}
	if c.err == nil {
		c.err = err
	}
	if c.state == connecting {
		c.state = closed
		return
	}
	if c.state == closing {
		c.cut = err
		c.finish(now)
		return
	}
	c.state = broken
}

// close begins the end: at once if linger is not above 0, else when everything
// written is acknowledged or linger has passed. What has arrived and was not
// read is gone.
func (c *core) close(now, linger time.Duration) {
	if c.err == nil {
		c.err = net.ErrClosed
	}
	switch c.state {
	case connecting:
		c.state = closed
	case broken:
		c.finish(now)
	case connected:
		c.state = closing
		c.alive.linger = now + max(linger, 0)
		c.tryFinish(now)
	case closing:
		c.alive.linger = min(c.alive.linger, now+max(linger, 0))
		c.tryFinish(now)
	}
}

// tryFinish ends closing when nothing is left to wait for.
func (c *core) tryFinish(now time.Duration) {
	if c.state != closing || c.send.acked < c.send.end && now < c.alive.linger {
		return
	}
	c.fill(now)
	c.control.Close(&c.stats)
	c.finish(now)
}

// finish is closed but for the repetitions of the last packet.
func (c *core) finish(now time.Duration) {
	c.state = closed
	if !c.alive.peerGone {
		c.alive.shutdown = now
	}
}

// gone tells that nothing is left to be done: the connection can be forgotten.
func (c *core) gone() bool { return c.state == closed && c.alive.shutdown == never }

// collect does what is due and puts what is to be sent now into out.
func (c *core) collect(now time.Duration, out *outbox) {
	before := len(out.ds)
	switch c.state {
	case connecting:
		c.collectConnecting(now, out)
	case connected, closing:
		c.checkLiveness(now, out)
		c.rest(now)
		c.flushReplies(out)
		if c.state == connected || c.state == closing {
			c.collectReceiver(now, out)
			c.collectSender(now, out)
			c.collectMTU(now, out)
			c.tryFinish(now)
		}
	}
	c.flushReplies(out)
	if c.state == closed {
		c.collectShutdown(now, out)
	}
	if len(out.ds) > before {
		c.alive.said = now
	}
}

// rest gives back the memory of a direction that is idle. An idle connection is
// collected often enough: somebody says that he is there.
func (c *core) rest(now time.Duration) {
	if x := &c.send; x.acked == x.end && now-x.lastSent > restTime {
		x.rest()
	}
	if r := &c.recv; r.base > r.high && now-r.arrivals.last > restTime {
		r.rest()
	}
}

func (c *core) flushReplies(out *outbox) {
	from := 0
	for _, to := range c.ends {
		out.push(append(out.room(), c.replies[from:to]...), c.peer)
		from = to
	}
	c.replies, c.ends = c.replies[:0], c.ends[:0]
}

func (c *core) collectShutdown(now time.Duration, out *outbox) {
	if now < c.alive.shutdown {
		return
	}
	if c.recv.next > c.recv.confirmed { // there is no later for saying what has arrived
		c.recv.again = true
		c.ack(now, out)
	}
	out.push(appendEmpty(out.room(), kindShutdown, 0, c.peerID), c.peer)
	c.alive.shutdowns++
	if c.alive.shutdowns == len(shutdownDelays) {
		c.alive.shutdown = never
		return
	}
	c.alive.shutdown = now + shutdownDelays[c.alive.shutdowns]
}

// deadline is when collect is to be called again if nothing comes; never is
// possible.
func (c *core) deadline() time.Duration {
	switch c.state {
	case connecting:
		return c.connect.deadline()
	case connected, closing:
		d := min(c.expiry(), c.alive.linger, c.alive.said+aliveInterval)
		if len(c.ends) > 0 {
			return 0
		}
		return min(d, c.recv.deadline(&c.rtt), c.sendDeadline(), c.mtu.due)
	case closed:
		return c.alive.shutdown
	}
	return never
}

// expiry is when the silence of the peer has its next consequence. Source:
// draft, section 3.5.4; times as in the library.
func (c *core) expiry() time.Duration {
	d := max(time.Duration(c.alive.count)*c.rtt.patience()+synInterval, time.Duration(c.alive.count)*expiryFloor)
	if c.ctl.RTO > 0 && c.send.acked < c.send.next {
		d = c.ctl.RTO
	}
	at := c.alive.heard + d
	if c.cfg.Idle > 0 {
		at = min(at, c.alive.heardReal+c.cfg.Idle)
	}
	if !c.alive.any {
		at = min(at, c.alive.heardReal+unheardLimit)
	}
	return at
}

// checkLiveness does what the silence of the peer demands. The library sends
// all that is not acknowledged again when it has heard nothing for a while; one
// packet is enough to learn what is missing.
func (c *core) checkLiveness(now time.Duration, out *outbox) {
	silent := now - c.alive.heardReal
	if now < c.expiry() {
		if now >= c.alive.said+aliveInterval {
			out.push(appendEmpty(out.room(), kindKeepAlive, 0, c.peerID), c.peer)
			c.alive.said = now
		}
		return
	}
	if c.alive.count > expiries && silent > deadFloor || c.cfg.Idle > 0 && silent >= c.cfg.Idle ||
		!c.alive.any && silent >= unheardLimit {
		c.fail(now, ErrTimeout)
		return
	}
	if c.send.acked < c.send.next && !c.send.closed { // else it may have been refused
		c.onTimeout(now)
	} else {
		out.push(appendEmpty(out.room(), kindKeepAlive, 0, c.peerID), c.peer)
	}
	c.alive.count++
	c.alive.heard = now
}
