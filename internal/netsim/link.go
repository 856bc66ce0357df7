package netsim

import (
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"
)

// Constants of our choice.
const (
	// reorderHold is the longest time by which a reordered packet is held
	// back. At 10 Mbit/s one full packet passes in it, at 1 Gbit/s 160 do.
	reorderHold = 2 * time.Millisecond
	// crossPacket is the size of a packet of cross traffic, in bytes: a full
	// packet of the usual MTU, since bulk traffic consists of those.
	crossPacket = 1500
	// crossHorizon bounds how much cross traffic is made up for when a link
	// was idle, so that the first packet after an hour's pause is not slow to
	// compute. It is twice the default queue: what came earlier is gone.
	crossHorizon = 200 * time.Millisecond
)

// Cause says what became of a packet at a link.
type Cause uint8

// The causes. A packet is dropped for the first that applies, in this order.
const (
	Passed     Cause = iota // not dropped
	DropCut                 // the link is cut
	DropSize                // longer than the link takes; see SetMTU
	DropQueue               // the queue was full
	DropChosen              // named with DropPackets
	DropLoss                // random loss
	DropBurst               // loss in the bad state of a burst
	nCauses    = iota
)

// String gives the cause as one word, as in traces and statistics.
func (c Cause) String() string {
	return [...]string{"passed", "cut", "size", "queue", "chosen", "loss", "burst"}[min(c, nCauses-1)]
}

// Damage says what a packet suffered on its way.
type Damage uint8

// The kinds of damage; see Params.
const (
	Intact    Damage = iota // none
	Corrupted               // a receiver's checksum notices; see Link.FlipBit
	Mangled                 // Internet checksums do not notice; see Link.SwapBits
)

// Verdict says what becomes of one offered packet.
type Verdict struct {
	Cause  Cause         // Passed, or why it is dropped; the rest is then zero
	Damage Damage        // what the receiver gets
	Held   bool          // held back: later packets may have an earlier At
	Copies int           // how often it arrives, one right behind the other: 1 or 2
	At     time.Duration // when the last bit leaves the far end
}

// Count is a number of packets and of their bytes.
type Count struct {
	Packets, Bytes int64
}

func (c *Count) add(size int) { c.Packets++; c.Bytes += int64(size) }

// Counters tell what happened at a link since it was made or last reset. Cross
// traffic does not count, except in QueueMax.
type Counters struct {
	Offered    Count          // what came to the link
	Out        Count          // what passed it, duplicates counted once
	Drops      [nCauses]int64 // packets by Cause; the sum is Offered minus Out
	Held       int64          // packets held back
	Duplicated int64          // packets that came twice
	Corrupted  int64          // packets with a flipped bit
	Mangled    int64          // packets with swapped bits
	QueueMax   int64          // longest queue in bytes, the packet being sent included
}

// Dropped gives the number of packets dropped for any cause.
func (c Counters) Dropped() int64 { return c.Offered.Packets - c.Out.Packets }

// Link is one direction of a link: a drop-tail queue, a transmitter and a delay
// line; see the package comment.
//
// The queue is a virtual clock: what matters of it is when the transmitter will
// have sent all that was accepted. Times are spans since any common start, and
// calls come in order of time. A Link is not safe for concurrent use and must
// not be copied; its owner is who offers packets.
type Link struct {
	params   Params
	mtu      int // longest packet that passes, in bytes; 0: any
	counters Counters

	busy time.Duration // when the transmitter falls idle
	frac int64         // part of a ns that busy is short of, in 1/rate ns
	last time.Duration // when the last packet leaves; keeps the line in order

	number  int64    // of the packet offered last, from 1
	draws   rand.PCG // one decision or more per packet
	chosen  []int64  // numbers of packets still to be dropped, ascending
	bad     bool     // Gilbert-Elliott state
	block   blockLoss
	jitter  jitter
	cross   crossTraffic
	damages *rand.Rand
}

// blockLoss is the state of loss that is exact per block.
type blockLoss struct{ packets, losses int64 } // still to come in this block

// NewLink makes a link whose random decisions follow from seed.
//
// Errors: those of Params.Validate.
func NewLink(seed uint64, p Params) (*Link, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	l := &Link{params: p, damages: rand.New(rand.NewPCG(seed, 4))}
	l.draws.Seed(seed, 1)
	l.jitter.init(rand.New(rand.NewPCG(seed, 2)))
	l.cross.rand = rand.New(rand.NewPCG(seed, 3))
	return l, nil
}

// SeedFor derives the seed of the link or flow called name from the seed of a
// run, so that adding one link does not change what happens on the others.
func SeedFor(run uint64, name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	// The finishing steps of splitmix64 spread neighbouring seeds.
	x := h.Sum64() ^ run*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Params gives the settings in force.
func (l *Link) Params() Params { return l.params }

// Set changes the settings for packets offered from now on. What was accepted
// before keeps its time, so a shorter delay may wait for earlier packets: the
// line stays in order.
//
// Errors: those of Params.Validate; the settings are then unchanged.
func (l *Link) Set(p Params) error {
	if err := p.Validate(); err != nil {
		return err
	}
	if p.Rate != l.params.Rate {
		l.frac = 0
	}
	if p.Loss != l.params.Loss || p.LossBlock != l.params.LossBlock {
		l.block = blockLoss{}
	}
	l.params = p
	return nil
}

// SetMTU has packets of more bytes than that, headers included, vanish: nothing is
// cut, and nobody is told. 0, as at first, is no limit.
func (l *Link) SetMTU(bytes int) { l.mtu = bytes }

// DropPackets adds packets to be dropped with cause DropChosen, for tests that need
// an exact pattern. Numbers count what is offered to the link from 1, for as
// long as it lives; those in the past are ignored. The slice is not kept.
func (l *Link) DropPackets(numbers ...int64) {
	l.chosen = append(l.chosen, numbers...)
	slices.Sort(l.chosen)
}

// Counters gives what happened so far.
func (l *Link) Counters() Counters { return l.counters }

// ResetCounters sets all counters to zero; the numbers that DropPackets speaks
// of go on.
func (l *Link) ResetCounters() { l.counters = Counters{} }

// QueueBytes gives the bytes that wait or are being sent at time now; 0 on a
// link of unlimited rate.
func (l *Link) QueueBytes(now time.Duration) int64 {
	if l.busy <= now {
		return 0
	}
	return int64(float64(l.busy-now) * float64(l.params.Rate) / 1e9)
}

// Offer brings a packet of size bytes, headers included, to the link at time
// now, which must not be before that of an earlier call.
//
// Packets leave in the order in which they came, some perhaps at the same
// instant, except those that are held back.
func (l *Link) Offer(now time.Duration, size int) Verdict {
	p := &l.params
	l.number++
	l.counters.Offered.add(size)
	if p.Cut {
		return l.drop(DropCut)
	}
	if l.mtu > 0 && size > l.mtu {
		return l.drop(DropSize)
	}
	at := now
	if p.Rate > 0 {
		if p.Cross > 0 {
			l.pass(now)
		}
		if !l.enqueue(now, size) {
			return l.drop(DropQueue)
		}
		at = l.busy
	}
	if cause := l.lose(); cause != Passed {
		return l.drop(cause)
	}
	at += p.Delay
	if p.Jitter > 0 {
		at += max(-p.Delay, time.Duration(l.jitter.at(now)*float64(p.Jitter)))
	}
	v := Verdict{Copies: 1}
	if p.Reorder > 0 && l.chance(p.Reorder) {
		v.Held = true
		l.counters.Held++
		at = max(at, l.last) + 1 + time.Duration(l.uniform()*float64(reorderHold-1))
	} else {
		at = max(at, l.last)
		l.last = at
	}
	v.At = at
	if p.Duplicate > 0 && l.chance(p.Duplicate) {
		v.Copies = 2
		l.counters.Duplicated++
	}
	v.Damage = l.damage()
	l.counters.Out.add(size)
	return v
}

func (l *Link) drop(c Cause) Verdict {
	l.counters.Drops[c]++
	return Verdict{Cause: c}
}

// uniform draws from [0,1).
func (l *Link) uniform() float64 { return float64(l.draws.Uint64()>>11) / (1 << 53) }

// chance is true with probability p.
func (l *Link) chance(p float64) bool { return l.uniform() < p }

// enqueue puts size bytes behind what waits at time now, unless there is no
// room. An idle transmitter takes a packet of any size.
func (l *Link) enqueue(now time.Duration, size int) bool {
	wait, waiting := l.busy-now, int64(0)
	if wait > 0 {
		waiting = l.QueueBytes(now)
		if full(l.params.Queue, wait, waiting+int64(size)) {
			return false
		}
	} else if wait < 0 {
		l.busy, l.frac = now, 0
	}
	// The rest of the division is carried on, so that rates are exact however
	// short packets take.
	ns := int64(size)*1e9 + l.frac
	l.busy += time.Duration(ns / int64(l.params.Rate))
	l.frac = ns % int64(l.params.Rate)
	l.counters.QueueMax = max(l.counters.QueueMax, waiting+int64(size))
	return true
}

// lose decides whether the packet that was offered last is lost behind the
// transmitter.
func (l *Link) lose() Cause {
	p := &l.params
	for len(l.chosen) > 0 && l.chosen[0] <= l.number {
		n := l.chosen[0]
		l.chosen = l.chosen[1:]
		if n == l.number {
			return DropChosen
		}
	}
	if p.Loss > 0 && l.loseRandomly() {
		return DropLoss
	}
	if p.Burst.Enter > 0 && l.loseInBurst() {
		return DropBurst
	}
	return Passed
}

// loseRandomly draws random loss: independent, or exact per block by selection
// sampling (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S).
func (l *Link) loseRandomly() bool {
	if l.params.LossBlock == 0 {
		return l.chance(l.params.Loss)
	}
	b := &l.block
	if b.packets == 0 {
		b.packets = l.params.LossBlock
		exact := l.params.Loss * float64(b.packets)
		b.losses = int64(exact)
		if l.chance(exact - float64(b.losses)) {
			b.losses++
		}
	}
	lost := l.uniform()*float64(b.packets) < float64(b.losses)
	b.packets--
	if lost {
		b.losses--
	}
	return lost
}

// loseInBurst advances the two-state chain by one packet (E. N. Gilbert,
// Capacity of a Burst-Noise Channel, 1960; E. O. Elliott, 1963).
func (l *Link) loseInBurst() bool {
	b := &l.params.Burst
	if l.bad {
		l.bad = !l.chance(b.Exit)
	} else {
		l.bad = l.chance(b.Enter)
	}
	return l.bad && l.chance(b.Loss)
}

func (l *Link) damage() Damage {
	p := &l.params
	switch {
	case p.Corrupt > 0 && l.chance(p.Corrupt):
		l.counters.Corrupted++
		return Corrupted
	case p.Mangle > 0 && l.chance(p.Mangle):
		l.counters.Mangled++
		return Mangled
	}
	return Intact
}
