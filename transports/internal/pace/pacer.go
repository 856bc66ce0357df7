package pace

import (
	"math"
	"time"

	"github.com/gomover/gomover/internal/units"
)

const (
	// tick is how much of the rate one quantum carries, unless that is more than
	// a train. Ours: a thousand wake-ups per second cost little, and queues of a
	// millisecond are everywhere.
	tick = time.Millisecond
	// trainPackets and trainBytes bound a quantum: what goes to the kernel, and
	// from there to the wire, as one packet that it cuts (UDP_SEGMENT).
	trainPackets = 44
	trainBytes   = 65507
)

// Quantum is how many bytes a sender at that rate releases at once: what one
// millisecond carries, at most one train, whole packets of so many bytes, at
// least one. Where clocks are so coarse that this could not keep the rate, it is
// what goes in grain, the time that they are late. A sender with a small window
// takes an eighth of it, if that is less.
func Quantum(rate units.Rate, packet int, grain time.Duration) int {
	packet = max(packet, 1)
	in := func(d time.Duration) float64 { return float64(rate) * d.Seconds() / float64(packet) }
	train := min(trainPackets, trainBytes/packet)
	packets := max(math.Floor(min(in(tick), float64(train))), math.Ceil(in(grain)), 1)
	return int(min(packets, float64(math.MaxInt32/packet))) * packet
}

// Pacer tells how much may be sent at a time. It is a bucket of tokens: credit
// grows at the rate, up to a depth, and what is sent is taken from it; a
// sender may overdraw it by a packet. The zero value has no pace: everything may
// be sent. Times are since any instant that stays the same. Not for several
// goroutines at once.
type Pacer struct {
	rate    units.Rate
	quantum int
	most    int           // bytes of credit
	over    bool          // credit was lost
	credit  float64       // bytes; negative is debt
	at      time.Duration // when credit was that
}

// Set changes rate, quantum and depth; 0 is no pace, a quantum is at least 1 byte, and
// the depth at least two quanta. What was earned and owed until now remains, as far as
// the depth allows. From no pace on, one quantum may be sent at once.
func (p *Pacer) Set(now time.Duration, rate units.Rate, quantum, depth int) {
	quantum = min(max(quantum, 1), math.MaxInt/2)
	if p.rate <= 0 {
		p.credit, p.at = float64(quantum), now
	}
	p.settle(now)
	p.rate, p.quantum, p.most = max(rate, 0), quantum, max(depth, 2*quantum)
	p.credit = min(p.credit, float64(p.most))
}

// Depth is how many bytes a sender may make up for that wakes up late, where packets
// take at least rtt to be acknowledged: what a quarter of that carries, which a path
// that is probed for more has in its queue, too, and at most 10 ms (ours).
func Depth(rate units.Rate, rtt time.Duration) int {
	return int(min(float64(rate)*min(rtt/4, 10*time.Millisecond).Seconds(), math.MaxInt32))
}

// Overrun tells whether the sender came so late that some of the pace was lost for
// ever, or had nothing to send for so long, since it was last asked.
func (p *Pacer) Overrun() bool {
	over := p.over
	p.over = false
	return over
}

// settle brings credit up to date. A clock that goes backwards changes nothing.
func (p *Pacer) settle(now time.Duration) {
	if now <= p.at {
		return
	}
	p.credit += float64(p.rate) * (now - p.at).Seconds()
	if p.at = now; p.credit > float64(p.most) {
		p.credit, p.over = float64(p.most), true
	}
}

// Budget is how many bytes may be sent now; 0 or less is none.
func (p *Pacer) Budget(now time.Duration) int {
	if p.rate <= 0 {
		return math.MaxInt
	}
	p.settle(now)
	return int(math.Floor(p.credit))
}

// Sent counts n bytes that were sent.
func (p *Pacer) Sent(now time.Duration, n int) {
	if p.rate > 0 {
		p.settle(now)
		p.credit -= float64(n)
	}
}

// Next is when a whole quantum may be sent; it is now, if that is so already.
func (p *Pacer) Next(now time.Duration) time.Duration {
	if p.rate <= 0 {
		return now
	}
	p.settle(now)
	missing := float64(p.quantum) - p.credit
	if missing <= 0 {
		return now
	}
	wait := math.Ceil(missing / float64(p.rate) * 1e9)
	return now + time.Duration(min(wait, float64(math.MaxInt64/2)))
}
