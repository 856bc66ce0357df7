package forecast

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// feed adds n samples 250 ms apart at a rate in bytes per second.
func feed(f *Forecast, n int, rate int64) {
	for range n {
		f.Add(f.last.at+250*time.Millisecond, f.last.bytes+rate/4)
	}
}

func TestForecast(t *testing.T) {
	var f Forecast
	if f.Rate() != 0 || f.Average() != 0 {
		t.Error("a rate out of nothing")
	}
	if _, _, _, ok := f.Left(1); ok {
		t.Error("an estimate out of nothing")
	}
	f.Add(0, 0)
	feed(&f, 8, 100)
	if _, _, _, ok := f.Left(100); ok {
		t.Error("an estimate after two seconds")
	}
	feed(&f, 32, 100)
	if f.Rate() != 100 || f.Average() != 100 {
		t.Errorf("rate %d, average %d", f.Rate(), f.Average())
	}
	mid, lo, hi, ok := f.Left(500)
	if !ok || mid != 5*time.Second || lo >= mid || hi <= mid || lo < 4*time.Second || hi > 6*time.Second {
		t.Errorf("left %v, %v to %v, %t", mid, lo, hi, ok)
	}
	if mid, _, _, ok := f.Left(0); !ok || mid != 0 {
		t.Errorf("nothing left takes %v, %t", mid, ok)
	}
	feed(&f, 20, 0)
	if _, _, _, ok := f.Left(1); !ok || f.Rate() != 0 {
		t.Errorf("no estimate in a short stall, or rate %d", f.Rate())
	}
	feed(&f, 20, 0)
	if _, _, _, ok := f.Left(1); ok {
		t.Error("an estimate while nothing moves")
	}
	if len(f.recent) > 12 {
		t.Errorf("%d samples kept", len(f.recent))
	}
}

func TestForecastOfAges(t *testing.T) {
	var f Forecast
	f.Add(0, 0)
	feed(&f, 40, 4)
	mid, lo, hi, ok := f.Left(math.MaxInt64 / 2)
	if !ok || mid <= 0 || lo <= 0 || hi < mid || lo > mid {
		t.Errorf("left %v, %v to %v, %t", mid, lo, hi, ok)
	}
}

func TestTimeThatDoesNotCount(t *testing.T) {
	for _, c := range []struct {
		name string
		gap  func(f *Forecast)
	}{
		{"none", func(*Forecast) {}},
		{"nobody took samples", func(f *Forecast) { f.Add(f.last.at+time.Hour, f.last.bytes) }},
		{"bytes that fall", func(f *Forecast) { f.Add(f.last.at, 0) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var f Forecast
			f.Add(0, 0)
			feed(&f, 100, 0) // a wait for the first byte
			feed(&f, 40, 1000)
			c.gap(&f)
			feed(&f, 40, 1000)
			if mid, _, _, ok := f.Left(10_000); !ok || mid.Round(time.Millisecond) != 10*time.Second {
				t.Errorf("left %v, %t", mid, ok)
			}
		})
	}
}

func TestExpectedRate(t *testing.T) {
	f := Forecast{Expected: 200}
	f.Add(0, 0)
	feed(&f, 60, 100)
	if mid, _, _, _ := f.Left(1000); math.Abs(mid.Seconds()-1000/math.Sqrt(100*200)) > 0.01 {
		t.Errorf("left %v after as long as the expectation counts", mid)
	}
	feed(&f, 4000, 100)
	if mid, _, _, _ := f.Left(1000); mid < 9800*time.Millisecond {
		t.Errorf("left %v long after", mid)
	}
}

func TestShifted(t *testing.T) {
	var f Forecast
	f.Shifted()
	f.Add(0, 0)
	feed(&f, 2400, 1000)
	f.Shifted()
	if got := f.tournament.series.sinceMark(); got != 1000 {
		t.Errorf("mean %v right after a change, want that of all", got)
	}
	feed(&f, 40, 250)
	if got := f.tournament.series.sinceMark(); math.Abs(got-250) > 5 {
		t.Errorf("mean %v since a change, want about 250", got)
	}
	if got := f.tournament.series.mean(); got < 900 {
		t.Errorf("mean %v of all: what was before is forgotten", got)
	}
}

// TestPhases: a path that is fast for a minute and slow for a minute is forecast
// at its mean, not at what it does right now.
func TestPhases(t *testing.T) {
	var f Forecast
	f.Add(0, 0)
	for range 6 {
		feed(&f, 240, 1000)
		feed(&f, 240, 200)
	}
	mid, lo, hi, _ := f.Left(600 * 1000)
	if s := mid.Seconds(); s < 850 || s > 1200 || lo.Seconds() > 1000 || hi.Seconds() < 1000 {
		t.Errorf("left %v, %v to %v; want about 1000 s", mid, lo, hi)
	}
}

func TestOutcomes(t *testing.T) {
	var f Forecast
	f.Add(0, 0)
	const total = 100_000
	for f.last.bytes < total {
		rate := int64(1000)
		if f.last.bytes >= 80_000 {
			rate = 500
		}
		feed(&f, 4, rate)
		f.Left(total - f.last.bytes)
	}
	l := f.Outcomes(f.last.at)
	if len(l) != len(stages) {
		t.Fatalf("%d outcomes", len(l))
	}
	// At 10 % 90 s were said, and 70 s + 40 s it took.
	for i, want := range []float64{math.Log(110. / 90), math.Log(95. / 75), math.Log(70. / 50), math.Log(45. / 25)} {
		if o := l[i]; o.Stage != i || math.Abs(o.LogError-want) > 0.02 || o.Sigma < 0.05 || o.Sigma > 0.3 || !o.valid() {
			t.Errorf("outcome %d: %+v, want an error of %.3f", i, o, want)
		}
	}
}

func TestCalibrate(t *testing.T) {
	jobs := func(n int, score float64) (l [][]Outcome) {
		for range n {
			l = append(l, []Outcome{{0, score * 0.1, 0.1}, {1, -score * 0.1, 0.1}, {2, score * 0.1, 0.1}, {3, score * 0.1, 0.1}, {4, score * 0.1, 0.1}})
		}
		return l
	}
	for _, c := range []struct {
		name   string
		jobs   [][]Outcome
		at     float64
		lo, hi float64
	}{
		{"none", nil, 0.3, 1.2, 1.3},
		{"one that was exact", jobs(1, 0), 0.3, 1.2, 2},
		{"ten that were exact", jobs(10, 0), 0.3, leastFactor, leastFactor},
		{"ten twice as wrong as assumed", jobs(10, 2), 0, 2, 2},
		{"the same, at the end", jobs(10, 2), 1, 2, 2},
		{"hopeless ones", jobs(10, 100), 0.5, mostFactor, mostFactor},
		{"what makes no sense", [][]Outcome{{{7, 1, 1}, {-1, 1, 1}, {1, math.NaN(), 1}, {1, 1, 0}, {1, math.Inf(1), 1}}}, 0.25, 1.2, 1.3},
		{"old ones count less", append(jobs(10, 3), jobs(14, 1)...), 0.5, 1, 3},
	} {
		k := Calibrate(c.jobs)
		if got := k.factor(c.at); !(got >= c.lo-1e-9 && got <= c.hi+1e-9) {
			t.Errorf("%s: factor %v, want %v to %v", c.name, got, c.lo, c.hi)
		}
	}
	var a, b Calibration
	a.factors, b.factors = [len(stages)]float64{1, 4, 4, 4, 4}, [len(stages)]float64{1, 1, 1, 1, 1}
	if got := a.factor(0.175); math.Abs(got-2) > 1e-9 || b.factor(0.6) != 1 {
		t.Errorf("factor %v half way from 1 to 4, want 2", got)
	}
}

func TestSpread(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var white, walk spread
	level := 0.0
	for range 20_000 {
		white.add(1000 * math.Exp(0.1*r.NormFloat64()))
		level += 0.01 * r.NormFloat64()
		walk.add(1000 * math.Exp(level))
	}
	if len(white.cum) > spreadLen+1 || white.width != 16 {
		t.Errorf("%d bins of %v s", len(white.cum), white.width)
	}
	// Means over n seconds deviate by 0.1/sqrt(n), two of them by sqrt(2) more.
	for _, h := range []float64{64, 256} {
		if got, want := white.over(h), 0.1*math.Sqrt2/math.Sqrt(h); got < 0.8*want || got > 1.25*want {
			t.Errorf("white noise over %v s: %v, want %v", h, got, want)
		}
	}
	// Of a random walk they deviate by step*sqrt(2n/3).
	if got, want := walk.over(256), 0.01*math.Sqrt(2*256/3.); got < 0.7*want || got > 1.4*want {
		t.Errorf("random walk over 256 s: %v, want %v", got, want)
	}
	if white.over(1e6) >= white.over(4096) || walk.over(1e6) < walk.over(4096) {
		t.Error("extrapolated in the wrong direction")
	}
	var dead spread
	for i := range 100 {
		dead.add(float64(i / 50))
	}
	if got := dead.over(50); math.IsNaN(got) || math.IsInf(got, 0) {
		t.Errorf("a path that was dead: %v", got)
	}
}

func TestSeries(t *testing.T) {
	var s series
	for i := range 1000 {
		s.add(float64(i))
	}
	if l := s.last(3); len(l) != 3 || l[0] != 997 || l[2] != 999 {
		t.Errorf("last %v", l)
	}
	if l := s.last(1000); len(l) != windowLen || l[0] != 1000-windowLen {
		t.Errorf("%d kept", len(l))
	}
	if s.mean() != 499.5 {
		t.Errorf("mean %v", s.mean())
	}
	r := rand.New(rand.NewPCG(3, 3))
	var a autocorrelation
	x := 0.0
	for range 10_000 {
		x = 0.8*x + r.NormFloat64()
		a.add(1e6 + x)
	}
	if phi := a.lag1(); phi < 0.77 || phi > 0.83 {
		t.Errorf("correlation %v, want 0.8", phi)
	}
}

func TestKnee(t *testing.T) {
	step := func(n, m int, a, b float64) (l []float64) {
		for i := range n + m {
			r := a
			if i >= n {
				r = b
			}
			l = append(l, r*(0.95+0.1*float64(i*7%10)/10))
		}
		return l
	}
	for _, c := range []struct {
		name  string
		rates []float64
		want  int
	}{
		{"nothing", nil, 0},
		{"one level", step(0, 60, 0, 100), 0},
		{"caches that are full", step(10, 20, 400, 100), 10},
		{"a slow start", step(8, 30, 20, 100), 8},
		{"too soon to tell", step(10, 10, 400, 100), 0},
		{"late", step(60, 30, 400, 100), 0},
		{"little", step(10, 60, 110, 100), 0},
		{"to nothing", step(10, 20, 400, 0), 10},
	} {
		if got := knee(c.rates); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	var s series
	for _, r := range step(10, 30, 400, 100) {
		s.add(r)
		s.level()
	}
	if got := s.level(); got < 95 || got > 105 {
		t.Errorf("level %v after a knee from 400 to 100", got)
	}
}

func TestPeriod(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for _, c := range []struct {
		name   string
		rate   func(i int) float64
		lo, hi int
	}{
		{"phases of 30 s", func(i int) float64 { return 100 - 50*float64(i/30%2) }, 59, 61},
		{"a short one of 40 s", func(i int) float64 { return 100 - 60*float64(i%40/32) }, 39, 41},
		{"a wave of 50 s", func(i int) float64 { return 100 + 40*math.Sin(2*math.Pi*float64(i)/50) }, 49, 51},
		{"none", func(int) float64 { return 100 }, 0, 0},
		{"one change", func(i int) float64 { return 100 - 50*float64(i/120) }, 0, 0},
		{"drift", func(i int) float64 { return 100 + float64(i) }, 0, 0},
	} {
		var s series
		for i := range 200 {
			s.add(c.rate(i) * math.Exp(0.05*r.NormFloat64()))
		}
		if got := period(s.last(periodSpan)); got < c.lo || got > c.hi {
			t.Errorf("%s: period %d, want %d to %d", c.name, got, c.lo, c.hi)
		}
	}
	if period(nil) != 0 || period(make([]float64, 240)) != 0 {
		t.Error("a period of nothing")
	}
}

// TestPredictorsOfOneRate: with one rate only, all say that rate.
func TestPredictorsOfOneRate(t *testing.T) {
	for _, n := range []int{1, 2, 500} {
		var s series
		for range n {
			s.add(7)
		}
		for _, p := range predictors {
			for _, h := range []float64{1, 100, 1e9} {
				if got := p.of(&s, h); math.Abs(got-7) > 1e-9 {
					t.Errorf("%s of %d rates of 7 over %v s: %v", p.name, n, h, got)
				}
			}
		}
	}
}

func TestTournamentFollowsTheBest(t *testing.T) {
	var tour tournament
	for i := range 600 { // a ramp: the latest says most
		tour.add(float64(100+10*i), 5)
	}
	if got := tour.mean(5); got < 5500 {
		t.Errorf("a ramp at 6090 is forecast at %v by %s", got, predictors[tour.leader].name)
	}
	if len(tour.bets) > 4*stretches {
		t.Errorf("%d bets are open", len(tour.bets))
	}
}

func BenchmarkSecond(b *testing.B) {
	var f Forecast
	r := rand.New(rand.NewPCG(1, 1))
	b.ReportAllocs()
	for b.Loop() {
		for range 4 {
			feed(&f, 1, int64(1e8*math.Exp(0.1*r.NormFloat64())))
			f.Left(1 << 40)
		}
	}
}

func TestRates(t *testing.T) {
	var f Forecast
	if _, m, _, d := f.Rates(); m != 0 || d != 0 {
		t.Error("rates out of nothing")
	}
	f.Add(0, 0)
	for i := range 10 {
		feed(&f, 40, int64(100*(i+1)))
	}
	if lo, m, hi, d := f.Rates(); lo < 100 || lo > 200 || m < 500 || m > 600 || hi < 900 || d != 100*time.Second {
		t.Errorf("rates %v, %v, %v of %v", lo, m, hi, d)
	}
}
