package estimate_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/probe/estimate"
)

// path is what trains of a test pass, and how their receiver takes them.
type path struct {
	rate     units.Rate // bytes per second
	cross    units.Rate
	delay    time.Duration
	queue    netsim.Limit
	loss     float64
	send     units.Rate    // at most what the sender brings out
	period   time.Duration // of the receiver's adapter: from the first packet to the interrupt
	jitter   time.Duration // standard deviation of the receiver's stamps
	limit    units.Rate    // what the interfaces say
	bytes    int64         // budget; 0: 64 MiB
	lasting  time.Duration // budget; 0: 600 ms
	reversed bool          // the receiver's clock runs backwards
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

const packet = 1500

// find runs the trains of one direction over the path.
func (p path) find(t testing.TB, seed uint64) (estimate.Capacity, *estimate.Planner) {
	t.Helper()
	w := netsim.NewWorld(seed)
	link := netsim.Params{Rate: p.rate, Cross: p.cross, Delay: p.delay, Queue: p.queue, Loss: p.loss}
	from, err := w.AddHost("from", netsim.Params{Delay: p.delay}, netsim.Params{})
	if err != nil {
		t.Fatal(err)
	}
	to, err := w.AddHost("to", netsim.Params{}, link)
	if err != nil {
		t.Fatal(err)
	}
	a := &adapter{period: p.period, jitter: p.jitter, rng: rand.New(rand.NewPCG(seed, 1))}
	var got [][]estimate.Arrival // of each train of a step
	sink, err := to.Listen(0, func(now time.Duration, d netsim.Datagram) {
		at := a.stamp(now)
		if p.reversed {
			at = time.Hour - at
		}
		k := binary.BigEndian.Uint32(d.Payload[4:])
		got[k] = append(got[k], estimate.Arrival{Seq: binary.BigEndian.Uint32(d.Payload), At: at})
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := from.Listen(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.bytes == 0 {
		p.bytes = 64 << 20
	}
	if p.lasting == 0 {
		p.lasting = 600 * time.Millisecond
	}
	pl := &estimate.Planner{Size: packet, Limit: p.limit, Bytes: p.bytes, Time: p.lasting}
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
			took = append(took, p.train(t, w, out, sink.LocalAddr(), begin+time.Duration(k)*s.Apart, k, s))
		}
		w.Run(begin + time.Duration(s.Times-1)*s.Apart + took[0] + 2*p.delay + time.Duration(float64(s.Packets*packet)/float64(p.rate)*3e9) + 200*time.Millisecond)
		for k := range s.Times {
			tr := estimate.Train{Sent: s.Packets, Size: packet, Took: took[k], Paced: s.Pace > 0, Limit: p.limit, Arrivals: trains[k]}
			pl.Add(s, tr.Dispersion())
		}
	}
	return pl.Capacity(), pl
}

// train sends the k-th train of a step from begin on, and gives how long that takes.
func (p path) train(t testing.TB, w *netsim.World, out *netsim.Socket, to netip.AddrPort, begin time.Duration, k int, s estimate.Step) time.Duration {
	rate := p.send
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
		last = time.Duration(float64(i*packet) / float64(rate) * 1e9)
		lastBurst = i
		w.At(begin+last, func() {
			for j := i; j < min(i+burst, s.Packets); j++ {
				b := make([]byte, packet-28)
				binary.BigEndian.PutUint32(b, uint32(j))
				binary.BigEndian.PutUint32(b[4:], uint32(k))
				if err := out.Send(to, b); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	if lastBurst > 0 {
		return last * time.Duration(s.Packets-1) / time.Duration(lastBurst)
	}
	return last
}
