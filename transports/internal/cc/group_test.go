package cc

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// listener is one receiver of a group that delivers at most at a rate.
type listener struct {
	c     Controller
	rate  float64 // bytes per second
	stats Stats
}

// groupWorld sends at the pace of a group to receivers of given rates, in steps of an
// RTT, and is no more than that: what exceeds a rate is neither lost nor queued.
type groupWorld struct {
	now time.Duration
	all []*listener
}

const groupRTT = 20 * time.Millisecond

func (w *groupWorld) join(g *Group, rate float64) *listener {
	l := &listener{c: g.Join(), rate: rate, stats: Stats{MSS: 1500, MaxWindow: 1 << 16, RTT: groupRTT, MinRTT: groupRTT, Now: w.now}}
	l.c.Init(&l.stats)
	w.all = append(w.all, l)
	return l
}

// pace is the lowest rate that is asked for, and what the windows allow.
func (w *groupWorld) pace() float64 {
	low := float64(MaxRate)
	for _, l := range w.all {
		c := l.c.Control()
		low = min(low, float64(c.Rate), c.Window*1500/groupRTT.Seconds())
	}
	return low
}

func (w *groupWorld) step() {
	pace := w.pace()
	w.now += groupRTT
	for _, l := range w.all {
		got := min(pace, l.rate)
		packets := max(1, int(got*groupRTT.Seconds()/1500))
		prior := l.stats.Delivered
		l.stats.Now = w.now
		l.stats.Delivered += int64(packets * 1500)
		l.stats.Sent += int64(packets)
		l.stats.InFlight = packets
		l.c.OnAck(&l.stats, &Ack{Packets: packets, RTT: groupRTT, Delivery: Delivery{Rate: got, Prior: prior}})
	}
}

func TestGroupGoesAtTheRateOfTheSlowest(t *testing.T) {
	g, err := NewGroup("bbr")
	if err != nil {
		t.Fatal(err)
	}
	var w groupWorld
	w.join(g, 50e6)
	slow := w.join(g, 5e6)
	w.join(g, 60e6)
	mean := func() float64 {
		sum := 0.0
		for range 16 {
			w.step()
			sum += w.pace()
		}
		return sum / 16
	}
	for range 40 {
		w.step()
	}
	if got := mean(); got < 4.5e6 || got > 5.8e6 {
		t.Errorf("%.0f B/s with a receiver of 5 MB/s", got)
	}
	if got := slow.c.(Estimator).Estimate(); got < 4_500_000 || got > 5_000_000 {
		t.Errorf("the slowest is taken for %d B/s", got)
	}
	// When it leaves, the others soon get what they can take.
	w.all = append(w.all[:1], w.all[2:]...)
	slow.c.Close(&slow.stats)
	for range 20 {
		w.step()
	}
	if got := mean(); got < 45e6 || got > 58e6 {
		t.Errorf("%.0f B/s with receivers of 50 and 60 MB/s", got)
	}
	// One that joins does not hold them back until it is known.
	before := w.pace()
	w.join(g, 60e6)
	if got := w.pace(); got < before/2 {
		t.Errorf("%.0f B/s when another has joined, %.0f before", got, before)
	}
	for range 20 {
		w.step()
	}
	if got := mean(); got < 45e6 {
		t.Errorf("%.0f B/s with three receivers", got)
	}
}

func TestGroupOfOthers(t *testing.T) {
	if _, err := NewGroup("nobody"); err == nil {
		t.Error("made with an unknown name")
	}
	g, err := NewGroup("cubic")
	if err != nil {
		t.Fatal(err)
	}
	c := g.Join()
	if _, ok := c.(*CUBIC); !ok {
		t.Errorf("a %T", c)
	}
	g.Leave(c)
}

// TestGroupStaysWithinBounds has anything happen to the members of a group.
func TestGroupStaysWithinBounds(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 7))
		g, err := NewGroup("bbr")
		if err != nil {
			t.Fatal(err)
		}
		var members []Controller
		s := Stats{MSS: 1500, MaxWindow: 1 << 14}
		for range 3000 {
			s.Now += time.Duration(r.Int64N(int64(30 * time.Millisecond)))
			s.RTT, s.MinRTT = time.Duration(r.Int64N(1e9)), time.Duration(r.Int64N(1e8))
			s.Delivered += r.Int64N(1e6)
			s.InFlight = int(r.Int64N(1e5)) - 10
			if len(members) == 0 || r.IntN(100) == 0 {
				c := g.Join()
				c.Init(&s)
				members = append(members, c)
			}
			i := r.IntN(len(members))
			switch c := members[i]; r.IntN(20) {
			case 0:
				c.OnTimeout(&s)
			case 1:
				c.OnLoss(&s, &Loss{Ranges: []Range{{1, 3}}, Packets: 3})
				s.Lost += 3
			case 2:
				c.Close(&s)
				members = append(members[:i], members[i+1:]...)
			case 3:
				g.Restart()
			default:
				c.OnAck(&s, &Ack{Packets: r.IntN(100), RTT: time.Duration(r.Int64N(1e9)), Delivery: Delivery{Rate: r.Float64() * 1e14, Prior: s.Delivered - r.Int64N(1e6)}})
			}
			for _, c := range members {
				if k := c.Control(); k.Rate < MinRate || k.Rate > MaxRate || !(k.Window >= 1) || k.Window > MaxWindow {
					t.Fatalf("seed %d: %+v", seed, k)
				}
				if e := c.(Estimator).Estimate(); e < 0 || e > units.Rate(MaxRate) {
					t.Fatalf("seed %d: estimate %d", seed, e)
				}
			}
		}
	}
}

// TestGroupPaceIsOfNow has one member that has not told anything since the group went on to
// its next phase: what the others know counts.
func TestGroupPaceIsOfNow(t *testing.T) {
	g, err := NewGroup("bbr")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := g.Pace(); ok {
		t.Error("a group of nobody has a pace")
	}
	var w groupWorld
	w.join(g, 5e6)
	w.join(g, 5e6)
	for range 40 {
		w.step()
	}
	seen := map[float64]bool{}
	for range bbrCycle {
		w.step()
		r, ok := g.Pace()
		if !ok {
			t.Fatal("no pace")
		}
		seen[math.Round(100*float64(r)/g.lowest())/100] = true
	}
	for _, gain := range []float64{bbrProbeGain, bbrPaceMargin} { // nothing queues here, so nothing is yielded
		if !seen[gain] {
			t.Errorf("the pace is never %.2f of the rate: %v", gain, seen)
		}
	}
	reno, err := NewGroup("reno")
	if err != nil {
		t.Fatal(err)
	}
	w.all = nil
	w.join(reno, 5e6)
	if _, ok := reno.Pace(); ok {
		t.Error("a group of controllers of their own has a pace")
	}
}

// TestGroupMakesUpForLosses has members that lose some of what passes the sender's link.
func TestGroupMakesUpForLosses(t *testing.T) {
	for _, tt := range []struct{ loss, want float64 }{{0, 1}, {0.01, 1 / 0.99}, {0.1, 1 / (1 - groupLossMost)}} {
		g, err := NewGroup("bbr")
		if err != nil {
			t.Fatal(err)
		}
		var w groupWorld
		l := w.join(g, 5e6)
		for range 200 {
			w.step()
			l.stats.Lost = int64(tt.loss * float64(l.stats.Sent))
		}
		r, _ := g.Pace()
		if got := float64(r) / g.lowest() / g.gain(); math.Abs(got-tt.want) > 0.002 {
			t.Errorf("%g of losses: the pace is %.4f of the rate, want %.4f", tt.loss, got, tt.want)
		}
	}
}

// TestGroupBeginsWhereUnicastWas has members that were sent to before.
func TestGroupBeginsWhereUnicastWas(t *testing.T) {
	for _, tt := range []struct {
		packets int64
		want    float64
	}{{0, initialWindow}, {15, initialWindow + 15}, {1000, groupInitial}} {
		g, err := NewGroup("bbr")
		if err != nil {
			t.Fatal(err)
		}
		c := g.Join()
		c.Init(&Stats{MSS: 1500, MaxWindow: 1 << 16, RTT: groupRTT, MinRTT: groupRTT, Delivered: 1500 * tt.packets})
		if got := c.Control().Window; got != tt.want {
			t.Errorf("%d packets before: begins with %.0f, want %.0f", tt.packets, got, tt.want)
		}
	}
}
