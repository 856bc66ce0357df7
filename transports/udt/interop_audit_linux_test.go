package udt

import (
	"encoding/binary"
	"sync"
	"testing"
	"time"
)

// audit looks at all that one of our ends says to libudt, as it is on the wire. It
// knows nothing of the code that wrote it, so that both cannot be wrong together.
type audit struct {
	t     *testing.T
	limit int // bytes of a datagram
	start time.Time

	mu    sync.Mutex
	heard bool
	high  uint32 // number of data that came to us: the highest
	sub   uint32
	kinds map[uint32]int
	acks  map[int]int // by bytes of their body
}

func newAudit(t *testing.T, limit int) *audit {
	return &audit{t: t, limit: limit, start: time.Now(), kinds: make(map[uint32]int), acks: make(map[int]int)}
}

// theirs notes what libudt has sent.
func (a *audit) theirs(b []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(b) < 16 || b[0]&0x80 != 0 {
		return
	}
	if n := binary.BigEndian.Uint32(b); !a.heard || int32(n-a.high) > 0 {
		a.heard, a.high = true, n
	}
}

// ours looks at what we have sent.
func (a *audit) ours(b []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(b) < 16 || len(b) > a.limit {
		a.t.Errorf("a datagram of %d bytes, want 16 to %d", len(b), a.limit)
		return
	}
	if b[0]&0x80 == 0 {
		return
	}
	kind, info, body := binary.BigEndian.Uint32(b)&0x7fffffff>>16, binary.BigEndian.Uint32(b[4:]), b[16:]
	a.kinds[kind]++
	if binary.BigEndian.Uint16(b[2:]) != 0 || binary.BigEndian.Uint32(b[8:]) != 0 {
		a.t.Errorf("a control packet of kind %d with an extension or a time", kind)
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32(body[4*i:]) }
	switch kind {
	case 0: // handshake
		if len(body) != 48 {
			a.t.Errorf("a handshake of %d bytes", len(body))
		}
	case 1, 5, 6: // keep-alive, shutdown, ACK2: padded
		if len(body) != 4 || word(0) != 0 {
			a.t.Errorf("kind %d with a body of %d bytes", kind, len(body))
		}
	case 2:
		a.ack(info, body)
	case 3:
		a.nak(body)
	default:
		a.t.Errorf("a control packet of kind %d", kind)
	}
}

// ack looks at an acknowledgement.
func (a *audit) ack(sub uint32, body []byte) {
	a.acks[len(body)]++
	if len(body) != 4 && len(body) != 16 && len(body) != 24 {
		a.t.Errorf("an ACK of %d bytes", len(body))
		return
	}
	if next := binary.BigEndian.Uint32(body); !a.heard || int32(next-a.high) > 1 {
		a.t.Errorf("an ACK of %d when %d was sent", next, a.high)
	}
	if len(body) == 4 {
		return
	}
	if sub <= a.sub { // the relay may have missed some
		a.t.Errorf("ACK %d after %d", sub, a.sub)
	}
	a.sub = sub
	if free := binary.BigEndian.Uint32(body[12:]); free < 2 {
		a.t.Errorf("an ACK that tells of room for %d packets", free)
	}
	if len(body) == 24 && binary.BigEndian.Uint32(body[20:]) == 0 {
		a.t.Errorf("an ACK that tells of a capacity of 0")
	}
}

// nak looks at a loss list.
func (a *audit) nak(body []byte) {
	if len(body) == 0 || len(body)%4 != 0 {
		a.t.Errorf("a loss list of %d bytes", len(body))
		return
	}
	last := uint32(0)
	inRange := false
	for ; len(body) > 0; body = body[4:] {
		w := binary.BigEndian.Uint32(body)
		n := w &^ (1 << 31)
		if !a.heard || int32(n-a.high) >= 0 {
			a.t.Errorf("%d is reported as lost when %d was sent", n, a.high)
		}
		if last != 0 && int32(n-last) <= 0 {
			a.t.Errorf("a loss list with %d after %d", n, last)
		}
		if inRange && w != n {
			a.t.Errorf("a loss list with a range in a range")
		}
		last, inRange = n, w != n
	}
	if inRange {
		a.t.Errorf("a loss list with half a range")
	}
}

// done looks at all of it together.
func (a *audit) done() {
	a.mu.Lock()
	defer a.mu.Unlock()
	periods := int(time.Since(a.start)/synInterval) + 1
	a.t.Logf("%v: control packets by kind %v, ACKs by length %v", time.Since(a.start), a.kinds, a.acks)
	// Full ones once in 10 ms, others of packets that are not full, which are few.
	if n, m := a.acks[24], a.acks[16]; n > periods || m > periods+20 {
		a.t.Errorf("%d full and %d medium ACKs in %d periods of 10 ms", n, m, periods)
	}
	if a.kinds[0] < 1 || a.kinds[2] < 1 || a.kinds[6] < 1 || a.kinds[5] > 3 {
		a.t.Errorf("control packets by kind: %v; want handshakes, ACKs, ACK2s, and 3 shutdowns at most", a.kinds)
	}
}

// TestInteropAudit looks at our packets on their way to libudt, with and without
// losses, as client and as server.
func TestInteropAudit(t *testing.T) {
	p := interop(t, time.Minute)
	want := noise(6, 4<<20)
	for _, loss := range []float64{0, 0.01} {
		for role, run := range map[string]func(library, []byte){"client": library.client, "server": library.server} {
			t.Run(role, func(t *testing.T) {
				t.Parallel()
				a, p := newAudit(t, 1472), p.in(t)
				p.path = wire{loss: loss, see: func(toServer bool, b []byte) {
					if toServer == (role == "client") {
						a.ours(b)
					} else {
						a.theirs(b)
					}
				}}
				run(p, want)
				a.done()
			})
		}
	}
}
