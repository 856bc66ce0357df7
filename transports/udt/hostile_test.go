package udt

import (
	"math"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
)

// flight gives a connection with so many packets on the way, none of which will
// be acknowledged.
func flight(t *testing.T, n int) (*sim, *end) {
	t.Helper()
	s, a, b := made(t, 1, netsim.Params{Delay: 5 * ms}, Config{Control: "blast=10Gbit/s"})
	b.filter = func(header, []byte) bool { return false }
	a.filter = b.filter
	a.give(make([]byte, n*a.c.payload))
	s.run(10*time.Second, "flight", func() bool { return a.c.send.next == int64(n) })
	return s, a
}

// TestOverlappingNaks: a report that names the same packets again and again
// costs little more than one that names them once.
func TestOverlappingNaks(t *testing.T) {
	const n = 20000
	cost := func(times int) time.Duration {
		best := time.Duration(math.MaxInt64)
		for range 5 {
			s, a := flight(t, n)
			c := a.c
			// What was sent again just now is not lost again, so each range
			// has to be looked at.
			l := []seqRange{{c.isn, c.isn.add(n - 1)}}
			if err := c.onNak(s.w.Now(), l); err != nil {
				t.Fatal(err)
			}
			c.send.minRTT = time.Minute
			for a.c.send.lost.Len() > 0 {
				c.collect(s.w.Now(), &a.out)
				a.out.reset()
				c.send.paceAt = 0
			}
			for len(l) < times {
				l = append(l, l[0])
			}
			start := time.Now()
			if err := c.onNak(s.w.Now(), l); err != nil {
				t.Fatal(err)
			}
			best = min(best, time.Since(start))
		}
		return best
	}
	if once, often := cost(1), cost(180); often > 30*once {
		t.Errorf("%v for one range, %v for 180 of them", once, often)
	}
}

// TestSmallPackets: a peer that wants the smallest packets does not get the most
// of them.
func TestSmallPackets(t *testing.T) {
	small, large := packets(1<<20, minMSS-udpAllowance-headerLen), packets(1<<20, 1456)
	if small > 3*large {
		t.Errorf("%d small packets, %d large ones", small, large)
	}
}

// TestForgedAck2: an answer to no acknowledgement measures nothing.
func TestForgedAck2(t *testing.T) {
	s, a, b := made(t, 1, netsim.Params{Delay: 5 * ms}, Config{})
	a.give(noise(1, 1<<20))
	s.run(10*time.Second, "transfer", func() bool { return len(b.got) == 1<<20 })
	s.w.Run(s.w.Now() + time.Second)
	for slot := range b.c.recv.history { // all of them answered
		b.c.recv.history[slot] = &ackRecord{sub: math.MaxUint32}
	}
	before, rtt := b.c.count.Bad, b.c.rtt
	b.take(t, appendEmpty(nil, kindAck2, math.MaxUint32, b.c.id))
	if b.c.count.Bad != before+1 || b.c.rtt != rtt {
		t.Errorf("taken for an answer: %+v, %+v", b.c.rtt, b.c.count)
	}
}
