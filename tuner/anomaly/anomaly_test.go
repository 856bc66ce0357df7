package anomaly

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// line feeds a watch samples 250 ms apart.
type line struct {
	w     Watch
	s     Sample
	r     *rand.Rand
	found []Finding
}

func newLine() *line {
	l := &line{r: rand.New(rand.NewPCG(5, 5)), s: Sample{RTT: 20 * time.Millisecond, LimitedBy: "network"}}
	l.w.Add(l.s)
	return l
}

// run passes seconds at a rate in bytes per second, with 5 % noise.
func (l *line) run(seconds int, rate float64) {
	for range seconds {
		now := rate * math.Exp(0.05*l.r.NormFloat64())
		for range 4 {
			l.s.At += 250 * time.Millisecond
			l.s.Bytes += int64(now / 4)
			l.s.Segments += int64(now / 4 / 1448)
			l.found = append(l.found, l.w.Add(l.s)...)
		}
	}
}

// told returns what was found and forgets it.
func (l *line) told() (s []string) {
	for _, f := range l.found {
		stage := [...]string{"suspected", "confirmed", "over"}[f.Stage]
		if f.Metric == Rate && f.Stage == Suspected && f.Now > f.Was {
			stage = "rise"
		}
		s = append(s, string(f.Metric)+" "+stage+" "+f.Likely)
	}
	l.found = nil
	return s
}

func TestWatch(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(l *line)
		want []string
	}{
		{"nothing happens", func(l *line) { l.run(600, 1e8) }, nil},
		{"nothing ever moves", func(l *line) { l.run(100, 0) }, nil},
		{"a drop", func(l *line) { l.run(30, 5e7) }, []string{"rate suspected ", "rate confirmed "}},
		{"to nothing", func(l *line) { l.run(30, 0) }, []string{"rate confirmed "}},
		{"a stall", func(l *line) { l.run(8, 0); l.run(60, 1e8) }, nil},
		{"a drop and a recovery", func(l *line) { l.run(60, 5e7); l.run(60, 1e8) },
			[]string{"rate suspected ", "rate confirmed ", "rate rise ", "rate over "}},
		{"two drops within a minute", func(l *line) { l.run(30, 5e7); l.run(20, 2e7) },
			[]string{"rate suspected ", "rate confirmed ", "rate suspected "}},
		{"a rise is not for people", func(l *line) { l.run(60, 2e8) }, []string{"rate rise "}},
		{"one bad second", func(l *line) { l.run(1, 1e6); l.run(60, 1e8) }, nil},
		{"a drop with a known cause", func(l *line) { l.w.Suspend(l.s.At + 3*time.Second); l.run(3, 4e7); l.run(60, 1e8) }, nil},
		{"a disk", func(l *line) { l.s.LimitedBy = "target disk"; l.run(30, 5e7) }, []string{"rate suspected disk", "rate confirmed disk"}},
		{"a processor", func(l *line) { l.s.LimitedBy = "source cpu"; l.run(30, 5e7) }, []string{"rate suspected cpu", "rate confirmed cpu"}},
		{"others", func(l *line) { l.s.Saturated = true; l.run(30, 5e7) }, []string{"rate suspected less-available", "rate confirmed less-available"}},
		{"another path", func(l *line) { l.s.RTT = 60 * time.Millisecond; l.run(45, 1e8); l.run(20, 5e7) },
			[]string{"rtt confirmed path-change", "rate suspected path-change", "rate confirmed path-change"}},
		{"a shorter path", func(l *line) { l.s.RTT = 5 * time.Millisecond; l.run(60, 1e8) }, []string{"rtt confirmed path-change"}},
		{"a little longer", func(l *line) { l.s.RTT = 23 * time.Millisecond; l.run(60, 1e8) }, nil},
		{"nobody took samples", func(l *line) { l.s.At += time.Hour; l.run(60, 1e8) }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLine()
			if c.name != "nothing ever moves" {
				l.run(120, 1e8)
			}
			if got := l.told(); got != nil {
				t.Fatalf("before: %q", got)
			}
			c.run(l)
			got := l.told()
			if strings.Join(got, "; ") != strings.Join(c.want, "; ") {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

// TestRestlessPath: of a path that goes up and down for hours people are told now
// and then.
func TestRestlessPath(t *testing.T) {
	l := newLine()
	l.run(120, 1e8)
	for range 60 {
		l.run(60, 4e7)
		l.run(60, 1e8)
	}
	told := 0
	for _, f := range l.found {
		if f.Stage == Confirmed {
			told++
		}
	}
	if told < 2 || told > 10 {
		t.Errorf("told %d times of 60 drops in two hours", told)
	}
}

func TestLossRise(t *testing.T) {
	l := newLine()
	lose := func(seconds int, chance float64) {
		for range seconds {
			if l.r.Float64() < chance {
				l.s.Losses++
				l.s.Lost += 3
			}
			l.run(1, 1e8)
		}
	}
	lose(1200, 0.1)
	if got := l.told(); got != nil {
		t.Fatalf("as ever: %q", got)
	}
	for range 30 {
		l.s.Losses += 4
		l.s.Lost += 9
		l.run(1, 1e8)
	}
	if got := l.told(); len(got) != 2 || got[0] != "loss suspected loss-rise" || got[1] != "loss confirmed loss-rise" {
		t.Errorf("losses of 4 a second after 0.1: %q", got)
	}
}

func TestDireLossNeedsNoTest(t *testing.T) {
	var l losses
	for range learned {
		l.add(3, 0.01)
	}
	for i, want := range []verdict{calm, calm, confirmed, calm} {
		if got, _ := l.add(3, 0.3); got != want {
			t.Errorf("block %d with 30 %% lost: %v, want %v", i, got, want)
		}
	}
}

// TestQuietPath: of rates without any noise a drop is found as well.
func TestQuietPath(t *testing.T) {
	var w Watch
	var s Sample
	w.Add(s)
	told := 0
	for i := range 4 * 100 {
		s.At += 250 * time.Millisecond
		s.Bytes += 25e6
		if i >= 4*80 {
			s.Bytes -= 10e6
		}
		for _, f := range w.Add(s) {
			if f.Stage == Confirmed && f.At < 90*time.Second {
				told++
			}
		}
	}
	if told != 1 {
		t.Errorf("told %d times of a drop by 40 %% without noise", told)
	}
}

func TestWhenAndHowMuch(t *testing.T) {
	l := newLine()
	l.run(200, 1e8)
	l.run(30, 6e7)
	for _, f := range l.found {
		if f.Stage != Confirmed {
			continue
		}
		if f.Since < 198*time.Second || f.Since > 203*time.Second || f.At < f.Since || f.At > 215*time.Second {
			t.Errorf("since %v, found at %v; it was at 200 s", f.Since, f.At)
		}
		if math.Abs(f.Was/1e8-1) > 0.05 || math.Abs(f.Now/6e7-1) > 0.1 {
			t.Errorf("from %.3g to %.3g, want 1e8 to 6e7", f.Was, f.Now)
		}
		return
	}
	t.Error("not found")
}

func TestWords(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		f    Finding
		want string
	}{
		{Finding{Metric: Rate, Stage: Confirmed, At: 100 * s, Since: 88 * s, Was: 60e6, Now: 41.25e6, Likely: LossRise}, "the rate fell from 480 Mbit/s to 330 Mbit/s, 31% less, about 12s ago: packets get lost while no queue is full"},
		{Finding{Metric: Rate, Stage: Over, At: 100 * s, Since: 88 * s, Was: 41e6, Now: 60e6}, "the rate is back at 480 Mbit/s"},
		{Finding{Metric: Rate, At: 100 * s, Since: 98 * s, Was: 60e6, Now: 120e6}, "the rate rose from 480 Mbit/s to 960 Mbit/s about 2s ago"},
		{Finding{Metric: RTT, Stage: Confirmed, At: 100 * s, Since: 70 * s, Was: 0.02, Now: 0.1234, Likely: PathChange}, "the round trip went from 20 ms to 123 ms about 30s ago: the path has changed"},
		{Finding{Metric: Loss, Stage: Confirmed, At: 100 * s, Since: 97 * s, Was: 0.1, Now: 12, Likely: "new words"}, "losses rose from 0.1 to 12 a second about 3s ago"},
	} {
		if got := c.f.Words(); got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

// TestAnySamples: whatever is fed, numbers stay finite and memory bounded.
func TestAnySamples(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	var w Watch
	var s Sample
	for range 200_000 {
		s.At += time.Duration(r.Int64N(int64(400 * time.Millisecond)))
		switch r.IntN(50) {
		case 0:
			s.At += 10 * time.Second
		case 1:
			s.Bytes -= r.Int64N(1 << 30)
		case 2:
			s.Bytes += 1 << 40
		}
		s.Bytes += r.Int64N(1 << 20)
		s.RTT = time.Duration(r.Int64N(int64(time.Second)))
		s.Losses += r.Int64N(3)
		s.Segments += r.Int64N(1000)
		s.Lost += r.Int64N(100)
		for _, f := range w.Add(s) {
			if math.IsNaN(f.Was) || math.IsNaN(f.Now) || math.IsInf(f.Was, 0) || math.IsInf(f.Now, 0) || f.Since > f.At || f.Words() == "" {
				t.Fatalf("%+v", f)
			}
		}
	}
	if n := len(w.rate.x); n > 2*kept {
		t.Errorf("%d blocks kept", n)
	}
}

func TestLearn(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for _, phi := range []float64{0, 0.6} {
		x, l := 0.0, []float64{}
		for range 2000 {
			x = phi*x + 0.1*math.Sqrt(1-phi*phi)*r.NormFloat64()
			l = append(l, 3+x)
		}
		n := learn(l)
		if math.Abs(n.mean-3) > 0.02 || math.Abs(n.sigma-0.1) > 0.012 || math.Abs(n.phi-phi) > 0.08 {
			t.Errorf("phi %v: %+v", phi, n)
		}
	}
	same := make([]float64, 40)
	if n := learn(same); n.sigma != leastSigma || n.phi != 0 || !(n.step > 0) {
		t.Errorf("of equal rates: %+v", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	l := newLine()
	b.ReportAllocs()
	for b.Loop() {
		l.run(1, 1e8)
	}
}
