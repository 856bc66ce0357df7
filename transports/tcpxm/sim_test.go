package tcpxm

import (
	"errors"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
)

// home is the link of a sender.
func home(rate float64) netsim.Params { return netsim.Params{Rate: mbit(rate), Delay: 5 * ms} }

// all checks all receivers.
func (x *world) all() {
	x.t.Helper()
	for i := range x.sites {
		x.check(i)
	}
}

func TestOneReceiverGetsAllByUnicast(t *testing.T) {
	x := build(t, 1, home(100), Config{Size: 5_000_001, Group: groupAt}, same(1, line(5*ms, 0)))
	x.run(20 * time.Second)
	x.tell()
	x.all()
	if got := x.goodput(0); got < 65 {
		t.Errorf("%.1f Mbit/s", got)
	}
	if got := x.wire(); got > 1.08 {
		t.Errorf("%.3f times the size has left the sender", got)
	}
}

func TestSimulatedGroup(t *testing.T) {
	for _, tt := range []struct {
		name    string
		n       int
		size    int64
		loss    float64
		wire    float64
		goodput float64
	}{
		{"one segment", 3, 1000, 0, 1e3, 0},

		{"two", 2, 10e6, 0, 1.075, 70},
		{"eight", 8, 10e6 + 77, 0, 1.13, 70},
		{"eight lossy", 8, 10e6 + 77, 0.01, 1.15, 60},
		{"eight very lossy", 8, 4e6, 0.05, 1.6, 30},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := build(t, 1, home(100), Config{Size: tt.size, Group: groupAt}, same(tt.n, line(5*ms, tt.loss)))
			x.run(20 * time.Second)
			x.tell()
			x.all()
			low, high := 1e9, 0.0
			for i := range x.sites {
				low, high = min(low, x.goodput(i)), max(high, x.goodput(i))
				if p := x.s.pcbs[i]; tt.size > 1e6 && (p.counts.Forwards != 1 || p.counts.Fallbacks != 0) {
					t.Errorf("receiver %d went forward %d times and back %d times", i, p.counts.Forwards, p.counts.Fallbacks)
				}
			}
			if tt.goodput > 0 && (low < tt.goodput || tt.loss == 0 && high > 1.01*low) {
				t.Errorf("goodput %.2f to %.2f Mbit/s, want %.2f", low, high, tt.goodput)
			}
			if got := x.wire(); got > tt.wire {
				t.Errorf("%.4f times the size has left the sender, want %.4f", got, tt.wire)
			}
		})
	}
}

// TestSimulatedLossesAreThoseThatHappen has receivers tell enough that nothing is taken for
// lost that has arrived, and a repair sent to all of them mends nearly all.
func TestSimulatedLossesAreThoseThatHappen(t *testing.T) {
	const n, loss = 16, 0.01
	x := build(t, 11, home(100), Config{Size: 15e6, Group: groupAt}, same(n, line(5*ms, loss)))
	x.run(20 * time.Second)
	x.tell()
	x.all()
	for i, p := range x.s.pcbs {
		if most := 1.5 * loss * float64(x.s.stream.slots()); float64(p.counts.Lost) > most {
			t.Errorf("receiver %d: %d slots were taken for lost, at most %.0f are likely", i, p.counts.Lost, most)
		}
	}
	c := x.s.stats
	if most := int64(0.01 * float64(x.s.stream.slots())); c.ResentPackets > most {
		t.Errorf("%d slots went again by unicast, at most %d are needed", c.ResentPackets, most)
	}
	if most := int64(0.035 * float64(x.s.stream.slots())); c.CodedPackets > most {
		t.Errorf("%d coded symbols, at most %d are needed", c.CodedPackets, most)
	}
}

func TestSimulatedSomeHearNoMulticast(t *testing.T) {
	sites := same(6, line(5*ms, 0.001))
	sites[1].deaf, sites[4].plain = true, true
	x := build(t, 2, home(100), Config{Size: 10e6, Group: groupAt}, sites)
	x.run(30 * time.Second)
	x.tell()
	x.all()
	for i, p := range x.s.pcbs {
		if got, want := p.counts.GroupBytes > 5e6, i != 1 && i != 4; got != want {
			t.Errorf("receiver %d got %d bytes by the group", i, p.counts.GroupBytes)
		}
	}
	if got := x.wire(); got > 3.3 {
		t.Errorf("%.4f times the size has left the sender for three copies", got)
	}
}

func TestSimulatedSlowReceiverHoldsNobody(t *testing.T) {
	sites := same(4, line(5*ms, 0))
	sites[2].down.Rate = mbit(4)
	x := build(t, 3, home(100), Config{Size: 10e6, Group: groupAt}, sites)
	x.run(200 * time.Second)
	x.tell()
	x.all()
	for i := range x.sites {
		if got := x.goodput(i); i != 2 && got < 50 || i == 2 && got < 3.5 {
			t.Errorf("receiver %d: %.2f Mbit/s", i, got)
		}
	}
}

// table are the sites of the UK e-Science table: RTT in ms, Mbit/s, multicast.
var table = []struct {
	name      string
	rtt, rate float64
	multicast bool
}{
	{"Belfast", 18.6, 16, false}, {"Cardiff", 13.5, 22.4, true}, {"Daresbury", 21.3, 28.1, true},
	{"Glasgow", 16.2, 33.9, false}, {"Imperial", 17.1, 51, true}, {"Manchester", 9.9, 34.5, true},
	{"Newcastle", 11.8, 1.5, true}, {"Oxford", 7, 4, true}, {"Southampton", 8.8, 39.3, true}, {"UCL", 4.9, 42.1, true},
}

// sitesOfTable sends to all sites of the table over a link of so many Mbit/s, and to each
// alone. It gives by how much
// longer the worst takes than alone, and how many copies have left the sender.
func sitesOfTable(t testing.TB, up float64, size int64) (worst, copies float64) {
	t.Helper()
	var sites []site
	for _, s := range table {
		d := time.Duration(s.rtt * float64(ms) / 4)
		sites = append(sites, site{up: netsim.Params{Delay: d}, down: netsim.Params{Rate: mbit(s.rate), Delay: d, Queue: netsim.Limit{Time: 50 * ms}}, deaf: !s.multicast})
	}
	sent := 0.0
	alone := make([]float64, len(sites))
	for i := range sites {
		x := build(t, 4, netsim.Params{Rate: mbit(up)}, Config{Size: size}, sites[i:i+1])
		x.run(300 * time.Second)
		x.check(0)
		alone[i] = x.sites[0].done.Seconds()
		sent += x.wire() / float64(len(sites))
	}
	x := build(t, 4, netsim.Params{Rate: mbit(up)}, Config{Size: size, Group: groupAt}, sites)
	x.run(300 * time.Second)
	x.tell()
	x.all()
	for i, s := range table {
		got := x.sites[i].done.Seconds() / alone[i]
		worst = max(worst, got)
		t.Logf("# %s: %.2f s, %.2f times as long as alone", s.name, x.sites[i].done.Seconds(), got)
	}
	return worst, x.wire() / sent
}

func TestSimulatedTableOfSites(t *testing.T) {
	for _, up := range []float64{1000, 100} { // 100 is less than the sites can take together
		worst, copies := sitesOfTable(t, up, 20e6)
		if worst > 1.6 || copies > 6.4 {
			t.Errorf("from %.0f Mbit/s a site takes %.2f times as long as alone, and %.2f copies have left the sender", up, worst, copies)
		}
	}
}

func TestSimulatedReceiverDies(t *testing.T) {
	for _, at := range []time.Duration{50 * ms, 600 * ms} {
		x := build(t, 5, home(100), Config{Size: 20e6, Group: groupAt, Dead: 5 * time.Second}, same(4, line(5*ms, 0.001)))
		x.w.At(at, func() { x.sites[1].dead = true })
		x.run(200 * time.Second)
		x.tell()
		for i := range x.sites {
			if i != 1 {
				x.check(i)
			}
			if got := x.goodput(i); i != 1 && got < 45 {
				t.Errorf("receiver %d: %.2f Mbit/s", i, got)
			}
		}
		if p := x.s.pcbs[1]; p.state != failed || !errors.Is(p.err, ErrTimeout) {
			t.Errorf("the dead one: %v, %v", p.state, p.err)
		}
		if x.s.stats.Epochs != 1 {
			t.Errorf("%d changes of the group's key", x.s.stats.Epochs)
		}
	}
}

func TestSimulatedReceiverGivesUp(t *testing.T) {
	x := build(t, 6, home(100), Config{Size: 20e6, Group: groupAt}, same(4, line(5*ms, 0.001)))
	x.w.At(700*ms, func() { x.sites[0].r.close(x.w.Now()); x.sites[0].pump() })
	x.run(200 * time.Second)
	x.tell()
	for i := 1; i < 4; i++ {
		x.check(i)
	}
	if p := x.s.pcbs[0]; !errors.Is(p.err, ErrAborted) {
		t.Errorf("the one that gave up: %v, %v", p.state, p.err)
	}
}

func TestSimulatedPartition(t *testing.T) {
	x := build(t, 7, home(50), Config{Size: 60e6, Group: groupAt}, same(4, line(5*ms, 0)))
	x.w.At(2*time.Second, func() { x.w.Partition([]*netsim.Host{x.sites[3].host}) })
	x.w.At(5*time.Second, func() { x.w.Partition() })
	x.run(300 * time.Second)
	x.tell()
	x.all()
	for i := range 3 {
		if got := x.goodput(i); got < 35 {
			t.Errorf("receiver %d: %.2f Mbit/s", i, got)
		}
	}
}

func TestSimulatedMulticastEndsForOne(t *testing.T) {
	x := build(t, 8, home(50), Config{Size: 40e6, Group: groupAt}, same(4, line(5*ms, 0)))
	x.w.At(2*time.Second, func() { x.sites[0].group.Leave(groupAt.Addr()) })
	x.run(300 * time.Second)
	x.tell()
	x.all()
	if p := x.s.pcbs[0]; p.counts.Fallbacks == 0 {
		t.Error("did not fall back")
	}
}

func TestSimulatedDamageAndReplay(t *testing.T) {
	s := line(5*ms, 0.002)
	s.down.Mangle, s.down.Corrupt, s.down.Duplicate, s.down.Reorder = 0.02, 0.01, 0.01, 0.01
	s.up.Mangle = 0.02
	x := build(t, 9, home(50), Config{Size: 10e6, Group: groupAt}, same(4, s))
	x.run(300 * time.Second)
	x.tell()
	x.all()
}
