// Package estimatetest sends the trains of a probe through a simulated link to a host
// whose adapter holds interrupts back, as figures and tests of probe/estimate need it.
package estimatetest

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/probe/estimate"
)

// Path is what trains pass, and how their receiver takes them.
type Path struct {
	Rate     units.Rate // of the narrowest link
	Cross    units.Rate // of other traffic on it
	Delay    time.Duration
	Queue    netsim.Limit
	Loss     float64
	Send     units.Rate    // at most what the sender brings out
	Period   time.Duration // of the receiver's adapter: from the first packet to the interrupt
	Jitter   time.Duration // standard deviation of the receiver's stamps
	Limit    units.Rate    // what the interfaces say
	Bytes    int64         // budget; 0: 64 MiB
	Lasting  time.Duration // budget; 0: 600 ms
	Reversed bool          // the receiver's clock runs backwards
}

// Of the receiver's adapter: most packets taken at one interrupt, and the time
// that each takes.
const (
	ring     = 64
	perFrame = 80 * time.Nanosecond
)

// adapter stamps packets as a host does whose adapter holds interrupts back.
type adapter struct {
	period time.Duration
	jitter time.Duration
	rng    *rand.Rand
	wake   time.Duration // when the interrupt of the packets at hand comes
	busy   time.Duration // when the last packet is stamped
	taken  int           // by the interrupt at hand
}

func (a *adapter) stamp(now time.Duration) time.Duration {
	if now > a.wake || a.taken == ring {
		// Polling goes on while there are packets, so the ring's limit costs no wait.
		if now > a.wake && now > a.busy {
			a.wake = now + a.period
		}
		a.taken = 0
	}
	a.taken++
	a.busy = max(a.busy+perFrame, a.wake, now)
	return max(0, a.busy+time.Duration(a.rng.NormFloat64()*float64(a.jitter)))
}

// Packet is the length of all packets in bytes, headers included.
const Packet = 1500

// Find runs the trains of one direction over the path: the same for the same seed. Errors
// are those of a path that cannot be simulated.
func (p Path) Find(seed uint64) (c estimate.Capacity, pl *estimate.Planner, err error) {
	w := netsim.NewWorld(seed)
	link := netsim.Params{Rate: p.Rate, Cross: p.Cross, Delay: p.Delay, Queue: p.Queue, Loss: p.Loss}
	from, err := w.AddHost("from", netsim.Params{Delay: p.Delay}, netsim.Params{})
	if err != nil {
		return c, nil, err
	}
	to, err := w.AddHost("to", netsim.Params{}, link)
	if err != nil {
		return c, nil, err
	}
	a := &adapter{period: p.Period, jitter: p.Jitter, rng: rand.New(rand.NewPCG(seed, 1))}
	var got [][]estimate.Arrival // of each train of a step
	sink, err := to.Listen(0, func(now time.Duration, d netsim.Datagram) {
		at := a.stamp(now)
		if p.Reversed {
			at = time.Hour - at
		}
		k := binary.BigEndian.Uint32(d.Payload[4:])
		got[k] = append(got[k], estimate.Arrival{Seq: binary.BigEndian.Uint32(d.Payload), At: at})
	})
	if err != nil {
		return c, nil, err
	}
	out, err := from.Listen(0, nil)
	if err != nil {
		return c, nil, err
	}
	if p.Bytes == 0 {
		p.Bytes = 64 << 20
	}
	if p.Lasting == 0 {
		p.Lasting = 600 * time.Millisecond
	}
	pl = &estimate.Planner{Size: Packet, Limit: p.Limit, Bytes: p.Bytes, Time: p.Lasting}
	w.Run(200 * time.Millisecond) // other traffic fills its queue
	for {
		s, ok := pl.Next()
		if !ok {
			break
		}
		// All of a step are under way before anything comes back of the first.
		var took []time.Duration
		begin, trains := w.Now(), make([][]estimate.Arrival, s.Times)
		got = trains
		for k := range s.Times {
			took = append(took, p.train(w, out, sink.LocalAddr(), begin+time.Duration(k)*s.Apart, k, s, &err))
		}
		w.Run(begin + time.Duration(s.Times-1)*s.Apart + took[0] + 2*p.Delay + time.Duration(float64(s.Packets*Packet)/float64(p.Rate)*3e9) + 200*time.Millisecond)
		for k := range s.Times {
			tr := estimate.Train{Sent: s.Packets, Size: Packet, Took: took[k], Paced: s.Pace > 0, Limit: p.Limit, Arrivals: trains[k]}
			pl.Add(s, tr.Dispersion())
		}
	}
	return pl.Capacity(), pl, err
}

// train sends the k-th train of a step from begin on, and gives how long that takes. What
// cannot be sent is told in failed.
func (p Path) train(w *netsim.World, out *netsim.Socket, to netip.AddrPort, begin time.Duration, k int, s estimate.Step, failed *error) time.Duration {
	rate := p.Send
	if s.Pace > 0 {
		rate = min(rate, s.Pace)
	}
	burst := 44
	if rate < 1<<30/8 {
		burst = 1 // what a pacer does with a fine timer
	}
	var last time.Duration
	lastBurst := 0
	for i := 0; i < s.Packets; i += burst {
		last = time.Duration(float64(i*Packet) / float64(rate) * 1e9)
		lastBurst = i
		w.At(begin+last, func() {
			for j := i; j < min(i+burst, s.Packets); j++ {
				b := make([]byte, Packet-28)
				binary.BigEndian.PutUint32(b, uint32(j))
				binary.BigEndian.PutUint32(b[4:], uint32(k))
				if err := out.Send(to, b); err != nil {
					*failed = err
				}
			}
		})
	}
	if lastBurst > 0 {
		return last * time.Duration(s.Packets-1) / time.Duration(lastBurst)
	}
	return last
}
