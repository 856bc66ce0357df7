package udt

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"time"
)

// Constants of greeting. Ours: the library's cookies are the MD5 of the address
// and the minute, without a secret, and those of the last minute are refused.
const (
	cookieEpoch   = 30 * time.Second // a cookie is good for one to two of these
	greetBuckets  = 1024             // clients share them by their address
	greetPerSec   = 1000             // answers per second and bucket
	greetBurst    = 1000
	greetInterval = time.Second / greetPerSec
)

// greeter is the side of a listener that talks to strangers. It remembers
// nothing of them: whoever comes back with a cookie that was sent to his address
// has received it. Answers are as long as questions, and bounded by address.
type greeter struct {
	cfg    Config
	secret [32]byte
	seed   maphash.Seed
	spent  [greetBuckets]time.Duration // when the bucket will be full again
	limits Limits
}

// Limits tell what a listener has refused to answer.
type Limits struct {
	Challenged  int64 // first requests, answered with a cookie
	BadCookies  int64
	RateLimited int64 // requests without an answer, too many of them came
}

func newGreeter(cfg Config, secret [32]byte) *greeter {
	return &greeter{cfg: cfg, secret: secret, seed: maphash.MakeSeed()}
}

// cookie gives the cookie of a client's request in a span of time.
func (g *greeter) cookie(from netip.AddrPort, hs *handshake, epoch int64) uint32 {
	mac := hmac.New(sha256.New, g.secret[:])
	var b [34]byte
	a := from.Addr().As16()
	copy(b[:], a[:])
	binary.BigEndian.PutUint16(b[16:], from.Port())
	binary.BigEndian.PutUint32(b[18:], hs.id)
	binary.BigEndian.PutUint32(b[22:], uint32(hs.isn))
	binary.BigEndian.PutUint64(b[26:], uint64(epoch))
	mac.Write(b[:])
	var sum [sha256.Size]byte
	return binary.BigEndian.Uint32(mac.Sum(sum[:0]))
}

// allow takes an answer from the budget of an address.
func (g *greeter) allow(now time.Duration, from netip.Addr) bool {
	full := &g.spent[maphash.Comparable(g.seed, from)%greetBuckets]
	at := max(*full, now) + greetInterval
	if at > now+greetBurst*greetInterval {
		g.limits.RateLimited++
		return false
	}
	*full = at
	return true
}

// greet takes a control packet for ID 0. ok tells that hs has a good cookie, so
// that a connection is to be made or its acceptance repeated. Source: draft,
// section 5.2.1.
func (g *greeter) greet(now time.Duration, from netip.AddrPort, h header, body []byte, out *outbox) (hs handshake, ok bool) {
	if !h.control() || h.kind() != kindHandshake || len(body) != handshakeLen {
		return hs, false
	}
	hs, err := parseHandshake(body)
	if err != nil || hs.id == 0 || hs.id >= controlBit || hs.req > 1 || hs.req == reqRendezvous {
		return hs, false
	}
	epoch := int64(now / cookieEpoch)
	if hs.req == reqConclude {
		if hs.cookie == g.cookie(from, &hs, epoch) || hs.cookie == g.cookie(from, &hs, epoch-1) {
			return hs, g.fits(now, from, &hs, out)
		}
		g.limits.BadCookies++
	} else if hs.req != reqClient {
		return hs, false
	}
	// A new cookie, also for one whose cookie is too old: clients follow.
	if g.allow(now, from.Addr()) {
		g.limits.Challenged++
		answer := hs
		answer.req, answer.cookie = reqClient, g.cookie(from, &hs, epoch)
		out.push(answer.append(out.room(), hs.id), from)
	}
	return hs, false
}

// fits refuses clients of another version or type.
func (g *greeter) fits(now time.Duration, from netip.AddrPort, hs *handshake, out *outbox) bool {
	if hs.version == version && hs.kind == g.cfg.socketType() && hs.mss >= minMSS && hs.window > 0 {
		return true
	}
	g.refuse(now, from, hs, out)
	return false
}

// refuse tells a client that there is no connection for it.
func (g *greeter) refuse(now time.Duration, from netip.AddrPort, hs *handshake, out *outbox) {
	if g.allow(now, from.Addr()) {
		answer := *hs
		answer.req = reqRefuse
		out.push(answer.append(out.room(), hs.id), from)
	}
}
