package replica

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestPastChooses: what earlier runs say decides who is used from the first moment on,
// and how much is asked for at first.
func TestPastChooses(t *testing.T) {
	pasts := []Past{
		{Runs: 5, Rate: 1e5, Spread: 0.1},
		{Runs: 5, Rate: 50e6, Spread: 0.1},
		{Runs: 5, Rate: 40e6, Spread: 1, Start: 2 * time.Second, Latency: 50 * time.Millisecond},
		{},
	}
	for _, test := range []struct {
		c    Config
		open []SourceID
	}{
		{Config{}, []SourceID{1, 2, 3}}, // one of 0.1 MB/s would save little
		{Config{MaxSources: 2}, []SourceID{1, 2}},
		{Config{MaxSources: 1}, []SourceID{1}},
		// The second one may well bring less than half of what is expected.
		{Config{Sink: 80e6}, []SourceID{1, 2, 3}},
		{Config{Sink: 40e6}, []SourceID{1}},
	} {
		var l []Source
		for _, p := range pasts {
			s := Source{Latency: 10 * time.Millisecond}
			p.Apply(&s)
			l = append(l, s)
		}
		test.c.Size, test.c.Block = 3e9, 1<<20
		s, err := NewSched(test.c, l, nil)
		if err != nil {
			t.Fatal(err)
		}
		var open []SourceID
		for _, o := range s.Poll(0) {
			if o.Kind == Open {
				open = append(open, o.Source)
			}
		}
		if !slices.Equal(open, test.open) {
			t.Errorf("%+v: opened %v, want %v", test.c, open, test.open)
		}
		if len(open) < 2 {
			continue
		}
		asked := map[SourceID]float64{} // in seconds of the expected rate
		s.Up(0, 1, 0)
		s.Up(0, 2, 0)
		for _, o := range s.Poll(0) {
			if o.Kind == Fetch && asked[o.Source] == 0 {
				asked[o.Source] = float64(s.bytes(o.Blocks)) / float64(l[o.Source].Rate)
			}
		}
		if asked[1] < 1.2 || asked[2] > 1 {
			t.Errorf("%+v: at first %.2f s were asked for of the one that is known well, %.2f of the other", test.c, asked[1], asked[2])
		}
		if s.sources[2].Start != 2*time.Second || s.sources[2].Latency != 10*time.Millisecond {
			t.Errorf("%+v", s.sources[2].Source)
		}
	}
}

// TestSeen: what a source did is told, long runs in few numbers.
func TestSeen(t *testing.T) {
	x := steady(rand.New(rand.NewPCG(1, 1)), []float64{20 * mb, 10 * mb}, []time.Duration{20 * time.Millisecond, 30 * time.Millisecond})
	w := newSim(t, Config{Size: 600 * mb, Block: 1 << 20}, x)
	w.run(time.Minute)
	for i, want := range []float64{20 * mb, 10 * mb} {
		seen := w.s.Seen(SourceID(i))
		rates := slices.Sorted(slices.Values(seen.Rates))
		if seen.Took < 15*time.Second || seen.Took > 21*time.Second || math.Abs(rates[len(rates)/2]/want-1) > 0.02 {
			t.Errorf("source %d: %v, %v", i, seen.Took, rates)
		}
	}
	if s := w.s.Seen(7); s.Took != 0 || s.Rates != nil {
		t.Errorf("of nobody: %+v", s)
	}
	var r record
	for i := range 5000 {
		r.add(float64(i), time.Second)
	}
	if n := len(r.rates); n < mostRates/2 || n >= mostRates || r.took != 5000*time.Second || math.Abs(mean(r.rates)-2500) > 50 {
		t.Errorf("%d rates of 5000, %v, mean %v", n, r.took, mean(r.rates))
	}
}
