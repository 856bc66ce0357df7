package udt

import (
	"fmt"
	"time"
)

// connector is the making of a connection by one who dials.
//
//	client      1 -> (1, cookie) -> -1, cookie -> (-1) connected
//	rendezvous  0 -> (0) -> -1 -> (-1 or -2) connected, -2
//
// What comes in is in parentheses. Source: draft, section 5.2, and the
// library's behaviour; the tables of docs/udt.md.
type connector struct {
	local      int // this end's MSS
	rendezvous bool
	req        request
	cookie     uint32
	peerID     uint32 // rendezvous: as far as known
	stored     handshake
	has        bool // stored is what the peer last said
	repeats    int  // of req, since it was new
	next       time.Duration
	giveUp     time.Duration
	sentAt     time.Duration // when req was first sent, to learn the RTT
	rtt        time.Duration // of a request that was not repeated
	answered   time.Duration // when a listener has last asked for its cookie; 0: never
}

// dial begins to connect.
func (c *core) dial(now time.Duration, rendezvous bool) {
	k := &c.connect
	k.rendezvous = rendezvous
	k.next = now
	k.giveUp = now + connectTimeout
	k.req = reqClient
	if rendezvous {
		k.req = reqRendezvous
		k.giveUp = now + rendezvousTimeout
	}
}

func (k *connector) deadline() time.Duration { return min(k.next, k.giveUp) }

// own is the handshake as it is to be sent now. Who meets another and has heard
// of it tells the smaller MSS of both: the library takes it as it is.
func (c *core) own() handshake {
	mss := int32(c.cfg.MSS)
	if c.connect.has {
		mss = min(mss, c.connect.stored.mss)
	}
	return handshake{
		version: version, kind: c.cfg.socketType(), isn: c.isn, mss: mss,
		window: int32(c.offered()), req: c.connect.req, id: c.id, cookie: c.connect.cookie,
		addr: wireAddr(c.peer.Addr()),
	}
}

// collectConnecting repeats the request.
func (c *core) collectConnecting(now time.Duration, out *outbox) {
	k := &c.connect
	if now >= k.giveUp {
		c.fail(now, ErrTimeout)
		return
	}
	if now < k.next {
		return
	}
	if k.repeats >= 3 && k.req == reqConclude && !k.rendezvous {
		// A listener of the library is silent about a cookie that has become
		// too old since it gave it: ask for another one, too.
		again := c.own()
		again.req, again.cookie = reqClient, 0
		out.push(again.append(out.room(), 0), c.peer)
	}
	hs := c.own()
	to := k.peerID // 0 is a listener, or a peer whose ID is not known yet
	out.push(hs.append(out.room(), to), c.peer)
	if k.repeats == 0 {
		k.sentAt = now
	}
	k.repeats++
	k.next = now + connectRetry
}

// request changes what is asked for, to be sent at once.
func (k *connector) request(now time.Duration, r request) {
	k.req, k.repeats, k.next = r, 0, now
}

// receiveConnecting takes what comes before the connection is made. Nothing but
// a handshake makes one, except at a rendezvous with a peer that was heard and
// considers itself connected; other packets will be repeated.
func (c *core) receiveConnecting(now time.Duration, h header, body []byte) {
	k := &c.connect
	if !h.control() || h.kind() != kindHandshake {
		early := !h.control() || h.kind() == kindKeepAlive
		if k.rendezvous && early && k.has && k.req == reqConclude {
			c.meet(now)
		}
		return
	}
	hs, err := parseHandshake(body)
	if err != nil {
		c.count.Bad++
		return
	}
	switch {
	case hs.req > 1 && hs.req < 1000:
		c.count.Bad++
	case k.rendezvous:
		c.rendezvousHandshake(now, &hs)
	case hs.req == reqSecurity:
		c.fail(now, ErrSecurity)
	case hs.req >= 1000:
		c.fail(now, fmt.Errorf("%w: code %d", ErrRefused, hs.req))
	default:
		c.clientHandshake(now, &hs)
	}
}

// clientHandshake takes the answer of a listener. Source: draft, section 5.2.1.
func (c *core) clientHandshake(now time.Duration, hs *handshake) {
	k := &c.connect
	if k.repeats == 1 {
		k.rtt = now - k.sentAt
	}
	switch hs.req {
	case reqClient: // also after a conclusion: the cookie was too old
		if hs.isn != c.isn || hs.id != c.id {
			c.count.Bad++
			return
		}
		if k.req == reqClient { // somebody is there, though perhaps far away
			k.giveUp = max(k.giveUp, now+connectTimeout)
		}
		k.answered = now
		k.cookie = hs.cookie
		k.request(now, reqConclude)
	case reqConclude:
		if hs.isn != c.isn {
			c.fail(now, ErrSecurity)
			return
		}
		if !c.usable(hs) || int(hs.mss) > c.cfg.MSS {
			c.count.Bad++
			return
		}
		c.establish(now, hs, int(hs.mss))
		c.alive.any = true
		c.guess(k.rtt)
		// So that the listener knows that its answer came.
		c.reply(appendEmpty(nil, kindKeepAlive, 0, c.peerID))
	}
}

// guess takes the time that a handshake needed for a first estimate.
func (c *core) guess(rtt time.Duration) {
	if rtt > 0 {
		c.rtt.measure(rtt)
		c.rtt.measured = false // the first real sample replaces it
	}
}

// usable tells whether a connection can be made with such a peer.
func (c *core) usable(hs *handshake) bool {
	return hs.id > 0 && hs.id < controlBit && hs.mss >= minMSS && hs.window >= 1
}

// rendezvousHandshake takes a handshake of a peer that connects to this end as
// this end does to it. Each keeps its own first number.
func (c *core) rendezvousHandshake(now time.Duration, hs *handshake) {
	k := &c.connect
	if hs.req > 0 || !c.usable(hs) && hs.req != reqAgree {
		c.count.Bad++
		return
	}
	if hs.req != reqAgree {
		if hs.version != version || hs.kind != c.cfg.socketType() {
			c.fail(now, fmt.Errorf("%w: version %d, type %d", ErrRefused, hs.version, hs.kind))
			return
		}
	} else if !c.usable(hs) {
		c.count.Bad++
		return
	}
	// A version of the same handshake may come from an earlier life of the peer.
	k.stored, k.has, k.peerID = *hs, true, hs.id
	if k.req == reqRendezvous {
		k.request(now, reqConclude)
		if hs.req == reqRendezvous {
			return
		}
		// The peer has heard of this end, but does not know that it heard back.
		return
	}
	if hs.req == reqRendezvous {
		k.next = now
		return
	}
	c.meet(now)
	if hs.req == reqConclude {
		c.agree()
	}
}

// meet makes the connection of a rendezvous, with what the peer last said.
func (c *core) meet(now time.Duration) {
	k := &c.connect
	hs := k.stored
	c.establish(now, &hs, min(c.cfg.MSS, int(hs.mss)))
	c.alive.any = true
	// The library loses what comes while it gets ready.
	c.send.holdUntil = now + synInterval
}

// agree tells the peer of a rendezvous that this end is connected: the library
// would wait for its own repetition to learn it.
func (c *core) agree() {
	hs := c.own()
	hs.req, hs.mss = reqAgree, int32(c.payload+headerLen+udpAllowance)
	c.reply(hs.append(nil, c.peerID))
}

// lateHandshake answers a handshake to a connection that stands.
func (c *core) lateHandshake(hs *handshake) {
	switch {
	case c.connect.rendezvous && hs.req != reqAgree:
		c.agree()
	case !c.connect.rendezvous && hs.req > 0:
		again := c.accepted()
		c.reply(again.append(nil, c.peerID))
	}
}

// accepted is the answer to a client whose connection stands.
func (c *core) accepted() handshake {
	return handshake{
		version: version, kind: c.cfg.socketType(), isn: c.isn, mss: int32(c.payload + headerLen + udpAllowance),
		window: int32(c.offered()), req: reqConclude, id: c.id, cookie: c.connect.cookie,
		addr: wireAddr(c.peer.Addr()),
	}
}

// accept makes the listener's side of a connection that a client has asked for
// with a valid cookie. Source: draft, section 5.2.1; both ends send from the
// client's number on. It is false if the connection cannot be made, or was closed.
func (c *core) accept(now time.Duration, hs *handshake) bool {
	if c.state != connecting || !c.usable(hs) {
		return false
	}
	c.connect.cookie = hs.cookie
	c.establish(now, hs, min(c.cfg.MSS, int(hs.mss)))
	c.send.holdUntil = now + heldDelay
	c.repeatAccept()
	return true
}

// repeatAccept sends the answer to the client once more.
func (c *core) repeatAccept() {
	a := c.accepted()
	c.reply(a.append(nil, c.peerID))
}
