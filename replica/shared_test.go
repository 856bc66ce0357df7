package replica

import (
	"fmt"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/units"
)

// flows are the connections of a simulated source over modelled TCP.
type flows struct {
	x    *netsim.Fluid
	list []*netsim.FluidFlow
	seen int64
	last time.Duration
	rate float64 // bytes per second since then
}

// at is the rate of a source's connections, all of which send as fast as they can.
func (f *flows) at(now time.Duration) float64 {
	if now > f.last {
		f.x.Run(now)
		n := int64(0)
		for _, one := range f.list {
			n += one.Stats().Delivered
		}
		f.rate = float64(n-f.seen) / (now - f.last).Seconds()
		f.seen, f.last = n, now
	}
	return f.rate
}

// pathTo is a source's path in a test of bottlenecks.
type pathTo struct {
	mbit  float64 // of its own link
	delay time.Duration
	via   int // number of the link behind which it is; -1: its own only
}

// behind makes sources with four connections each, some of them behind common links
// of so many Mbit/s.
func behind(t *testing.T, seed uint64, links []float64, paths []pathTo) []*simSource {
	t.Helper()
	w := netsim.NewWorld(seed)
	rate := func(mbit float64) units.Rate { return units.Rate(mbit * 1e6 / 8) }
	sink, err := w.AddHost("sink", netsim.Params{}, netsim.Params{Rate: rate(10_000)})
	if err != nil {
		t.Fatal(err)
	}
	var hops []*netsim.Hop
	for i, mbit := range links {
		h, err := w.AddLink(fmt.Sprintf("link%d", i), netsim.Params{Rate: rate(mbit), Delay: 5 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		hops = append(hops, h)
	}
	x := netsim.NewFluid(w)
	var l []*simSource
	for i, p := range paths {
		h, err := w.AddHost(fmt.Sprintf("h%d", i), netsim.Params{Rate: rate(p.mbit), Delay: p.delay}, netsim.Params{})
		if err != nil {
			t.Fatal(err)
		}
		if p.via >= 0 {
			w.Route(h, sink, hops[p.via])
		}
		f := &flows{x: x}
		for k := range 4 {
			one, err := x.AddFlow(h, sink, netsim.FlowConfig{Name: fmt.Sprintf("h%d.%d", i, k), Control: netsim.CUBIC})
			if err != nil {
				t.Fatal(err)
			}
			f.list = append(f.list, one)
		}
		s := &simSource{latency: 2*p.delay + 10*time.Millisecond, start: 300 * time.Millisecond}
		s.Source = Source{Name: fmt.Sprintf("h%d", i), Latency: s.latency}
		s.rate = f.at
		l = append(l, s)
		f.stopped(s)
	}
	return l
}

// stopped makes connections give way while their source has nothing to send.
func (f *flows) stopped(s *simSource) {
	idle := false
	at := s.rate
	s.rate = func(now time.Duration) float64 {
		if (len(s.queue) == 0) != idle {
			idle = !idle
			for _, one := range f.list {
				one.SetRate(map[bool]units.Rate{true: 1, false: 0}[idle])
			}
		}
		return at(now)
	}
}

// carriedIn is how long bytes take over links of so many Mbit/s.
func carriedIn(bytes, mbit float64) time.Duration {
	return time.Duration(bytes / (mbit * 1e6 / 8 * 1448 / 1500) * float64(time.Second))
}

// TestSharedBottleneck: two sources behind one link, and a third alone: one of the two
// is left out soon, and nothing is lost by it.
func TestSharedBottleneck(t *testing.T) {
	var spans, found results
	for seed := range uint64(6) {
		sources := behind(t, seed, []float64{200}, []pathTo{{400, 20 * time.Millisecond, 0}, {400, 30 * time.Millisecond, 0}, {100, 10 * time.Millisecond, -1}})
		w := newSim(t, Config{Size: 3_000 * mb, Block: 1 << 20}, sources)
		var out time.Duration
		w.seen = func(w *sim) {
			for i := range sources[:2] {
				if out == 0 && w.s.sources[i].shares != nil {
					out = w.now
				}
			}
		}
		got := w.run(time.Hour)
		ideal := carriedIn(3_000*mb, 300)
		if out == 0 {
			t.Fatalf("seed %d: nothing was found: %v", seed, w.s.Plan(w.now))
		}
		spans = append(spans, float64(got)/float64(ideal))
		found = append(found, out.Seconds())
		if !sources[2].open {
			t.Error("the third one was left out")
		}
	}
	spans.check(t, "makespan over the fluid optimum", 1.01, 1.01, 1.01)
	found.check(t, "seconds until one of two was left out", 15, 15, 15)
}

// TestNoSharedBottleneck: sources with links of their own are all used to the end,
// though a trial was made of one where it costs little.
func TestNoSharedBottleneck(t *testing.T) {
	for seed := range uint64(4) {
		sources := behind(t, seed, []float64{300, 200}, []pathTo{{400, 20 * time.Millisecond, 0}, {400, 30 * time.Millisecond, 1}, {100, 10 * time.Millisecond, -1}})
		const size = 15_000 * mb
		w := newSim(t, Config{Size: size, Block: 1 << 20}, sources)
		got, ideal := w.run(time.Hour), carriedIn(size, 600)
		t.Logf("seed %d: %v, ideal %v, trials cost %.4f", seed, got, ideal, w.s.joint.cost/size)
		for i, x := range sources {
			if !x.open {
				t.Errorf("seed %d: source %d was left out", seed, i)
			}
		}
		if float64(got) > 1.01*float64(ideal) {
			t.Errorf("seed %d: %v of %v", seed, got, ideal)
		}
		if w.s.joint.cost == 0 {
			t.Errorf("seed %d: no trial was made", seed)
		}
	}
}
