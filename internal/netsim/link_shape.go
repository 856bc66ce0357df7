package netsim

import (
	"math"
	"math/rand/v2"
	"time"
)

// jitterMemory is the time over which delays are alike. Paths that vary from
// packet to packet would reorder; real ones breathe with the queues on them.
const jitterMemory = 10 * time.Millisecond

// jitter is a Gaussian process of mean 0 and deviation 1: independent values
// sit on a grid of jitterMemory, and between two of them the process turns from
// one to the other by cosine and sine, whose squares add up to 1. It has a
// slope, not steps: a fast flow is stretched and squeezed by it, not jammed
// behind its slowest packet, which would make the mean delay grow.
type jitter struct {
	rand *rand.Rand
	knot int64 // number of the grid's interval
	a, b float64
}

func (j *jitter) init(r *rand.Rand) {
	j.rand, j.a, j.b = r, r.NormFloat64(), r.NormFloat64()
}

// at gives the process at time now, which never goes back.
func (j *jitter) at(now time.Duration) float64 {
	knot, rest := int64(now/jitterMemory), now%jitterMemory
	if steps := knot - j.knot; steps > 0 {
		if j.a = j.b; steps > 1 {
			j.a = j.rand.NormFloat64()
		}
		j.b, j.knot = j.rand.NormFloat64(), knot
	}
	sin, cos := math.Sincos(math.Pi / 2 * float64(rest) / float64(jitterMemory))
	return cos*j.a + sin*j.b
}

// crossTraffic is a Poisson stream of packets that do not yield.
type crossTraffic struct {
	rand *rand.Rand
	next time.Duration // when the next one comes
}

// pass lets the cross traffic that came up to now take its place in the queue.
func (l *Link) pass(now time.Duration) {
	c := &l.cross
	c.next = max(c.next, now-crossHorizon)
	for gap := crossPacket * 1e9 / float64(l.params.Cross); c.next <= now; {
		l.enqueue(c.next, crossPacket)
		c.next += 1 + time.Duration(c.rand.ExpFloat64()*gap)
	}
}

// FlipBit damages b, what a packet carries, as a verdict of Corrupted says: one
// random bit is flipped, which every checksum notices. An empty b stays so.
func (l *Link) FlipBit(b []byte) {
	if len(b) > 0 {
		b[l.damages.IntN(len(b))] ^= 1 << l.damages.IntN(8)
	}
}

// SwapBits damages b as a verdict of Mangled says: the same bit of two 16-bit
// words is swapped, so that the Internet checksum (RFC 1071) is as before, and
// the damage reaches the program. It reports whether b has changed; it cannot
// when all words are equal. b starts at an even offset of what the checksum
// covers; an odd last byte counts as half a word.
func (l *Link) SwapBits(b []byte) bool {
	if len(b) < 3 {
		return false
	}
	start := l.damages.IntN(len(b))
	// From a random place on, look for two places that differ; the first two
	// random ones do so half of the time in random data.
	for range 16 {
		if other := start%2 + 2*l.damages.IntN((len(b)-start%2+1)/2); l.swap(b, start, other) {
			return true
		}
	}
	for first := range 2 {
		for i := first + 2; i < len(b); i += 2 {
			if l.swap(b, first, i) {
				return true
			}
		}
	}
	return false
}

// swap exchanges one bit in which bytes i and j of b differ, if there is one.
func (l *Link) swap(b []byte, i, j int) bool {
	diff := b[i] ^ b[j]
	if diff == 0 {
		return false
	}
	bit := byte(1) << l.damages.IntN(8)
	for diff&bit == 0 {
		bit = bit<<1 | bit>>7
	}
	b[i] ^= bit
	b[j] ^= bit
	return true
}
