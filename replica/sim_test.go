package replica

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
	"github.com/gomover/gomover/internal/units"
)

// simStep is the step of the simulation.
const simStep = 5 * time.Millisecond

// simSource is a source that delivers what it was asked for in order, at a rate
// of its own, half a latency away.
type simSource struct {
	Source                              // what the schedule is told
	rate    func(time.Duration) float64 // bytes per second; negative: connections break
	start   time.Duration               // from Open to Up
	latency time.Duration               // from a request to its first byte
	wrong   func(block int64) bool      // which blocks it has wrong

	open    bool
	readyAt time.Duration
	orders  []simOrder // on their way to it
	queue   []int64    // blocks
	sent    float64    // bytes of the first of them
	pipe    []simBytes // on their way back
	last    time.Duration
}

type simOrder struct {
	at    time.Duration
	order Order
}

type simBytes struct {
	at    time.Duration
	block int64
	n     float64
	end   bool // of the block
}

// sim moves one object from sources to a sink.
type sim struct {
	t       *testing.T
	s       *Sched
	config  Config
	sources []*simSource
	now     time.Duration
	sink    float64 // what the receiving end really takes; 0: anything
	used    map[SourceID]bool
	told    map[SourceID]float64 // fractions of bytes not yet told
	asked   int                  // requests
	seen    func(*sim)
}

func newSim(t *testing.T, c Config, sources []*simSource) *sim {
	t.Helper()
	known := make([]Source, len(sources))
	for i, x := range sources {
		known[i] = x.Source
	}
	s, err := NewSched(c, known, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &sim{t: t, s: s, config: c, sources: sources, used: map[SourceID]bool{}, told: map[SourceID]float64{}, sink: float64(c.Sink)}
}

// run moves until all is stored, and returns when that was.
func (w *sim) run(limit time.Duration) time.Duration {
	w.t.Helper()
	for !w.s.Done() {
		if w.now > limit {
			w.t.Fatalf("not done after %v: %v", limit, w.s.Plan(w.now))
		}
		for _, o := range w.s.Poll(w.now) {
			w.carry(o)
		}
		w.serve()
		for i, x := range w.sources {
			w.arrive(SourceID(i), x)
		}
		if w.seen != nil {
			w.seen(w)
		}
		w.now += simStep
	}
	return w.now
}

func (w *sim) carry(o Order) {
	x := w.sources[o.Source]
	switch o.Kind {
	case Open:
		x.open, x.readyAt = true, w.now+x.start
		w.used[o.Source] = true
	case Close:
		x.shut()
	default:
		if !x.open {
			w.t.Fatalf("%v for source %d, which is not open", o, o.Source)
		}
		if o.Kind == Fetch {
			w.asked++
		}
		x.orders = append(x.orders, simOrder{w.now + x.latency/2, o})
	}
}

func (x *simSource) shut() {
	x.open, x.readyAt, x.sent = false, 0, 0
	x.orders, x.queue, x.pipe = nil, nil, nil
}

// serve lets every source send for a step, in proportion if the sink takes less.
func (w *sim) serve() {
	sum := 0.0
	for _, x := range w.sources {
		x.hear(w.now)
		if len(x.queue) > 0 {
			sum += max(0, x.rate(w.now))
		}
	}
	scale := 1.0
	if w.sink > 0 && sum > w.sink {
		scale = w.sink / sum
	}
	for _, x := range w.sources {
		x.send(w, max(0, x.rate(w.now))*scale*simStep.Seconds())
	}
}

func (x *simSource) hear(now time.Duration) {
	for len(x.orders) > 0 && x.orders[0].at <= now {
		o := x.orders[0].order
		x.orders = x.orders[1:]
		if o.Kind == Fetch {
			for b := o.Blocks.Lo; b < o.Blocks.Hi; b++ {
				x.queue = append(x.queue, b)
			}
			continue
		}
		if len(x.queue) > 0 && x.queue[0] >= o.Blocks.Lo && x.queue[0] < o.Blocks.Hi {
			x.sent = 0
		}
		x.queue = slices.DeleteFunc(x.queue, func(b int64) bool { return b >= o.Blocks.Lo && b < o.Blocks.Hi })
	}
}

func (x *simSource) send(w *sim, budget float64) {
	for budget > 0 && len(x.queue) > 0 {
		b := x.queue[0]
		size := float64(w.s.bytes(rangeset.Extent{Lo: b, Hi: b + 1}))
		n := min(budget, size-x.sent)
		budget -= n
		x.sent += n
		end := x.sent >= size-1e-6
		x.pipe = append(x.pipe, simBytes{w.now + x.latency/2, b, n, end})
		if end {
			x.queue, x.sent = x.queue[1:], 0
		}
	}
}

func (w *sim) arrive(id SourceID, x *simSource) {
	if !x.open {
		return
	}
	if x.rate(w.now) < 0 {
		x.shut()
		w.s.Down(w.now, id, "connection reset")
		return
	}
	if x.readyAt > 0 && w.now >= x.readyAt {
		x.readyAt = 0
		w.s.Up(w.now, id, x.latency)
	}
	for len(x.pipe) > 0 && x.pipe[0].at <= w.now {
		p := x.pipe[0]
		x.pipe = x.pipe[1:]
		w.told[id] += p.n
		whole := math.Floor(w.told[id] + 1e-6)
		w.told[id] -= whole
		w.s.Received(w.now, id, int64(whole))
		if !p.end {
			continue
		}
		e := rangeset.Extent{Lo: p.block, Hi: p.block + 1}
		if x.wrong != nil && x.wrong(p.block) {
			w.s.Bad(w.now, id, e)
			continue
		}
		if w.s.Stored(w.now, id, e) > 0 {
			x.last = w.now
		}
	}
}

// ideal is when all would be stored if the sources never waited: the fluid
// optimum, step by step.
func ideal(size int64, sink float64, sources []*simSource) time.Duration {
	left := float64(size)
	for at := time.Duration(0); ; at += simStep / 5 {
		sum := 0.0
		for _, x := range sources {
			if at >= x.start+x.latency {
				sum += max(0, x.rate(at))
			}
		}
		left -= limited(sum, sink) * (simStep / 5).Seconds()
		if left <= 0 {
			return at
		}
	}
}

func constant(r float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return r }
}

// steady makes sources of rates (bytes per second) and latencies, of whose rates
// the schedule knows no more than that they are within a third or so.
func steady(r *rand.Rand, rates []float64, latencies []time.Duration) (l []*simSource) {
	for i, rate := range rates {
		prior := rate * math.Exp(0.3*r.NormFloat64())
		x := &simSource{rate: constant(rate), latency: latencies[i], start: 2*latencies[i] + 100*time.Millisecond}
		x.Source = Source{Name: fmt.Sprintf("s%d", i), Rate: units.Rate(prior), Start: x.start, Latency: x.latency}
		l = append(l, x)
	}
	return l
}

// eight makes eight sources of random rates and latencies, and an object that
// keeps them busy for half a minute to two.
func eight(seed uint64) ([]*simSource, int64) {
	r := rand.New(rand.NewPCG(seed, 8))
	var rates []float64
	var latencies []time.Duration
	sum := 0.0
	for range 8 {
		rate := 2e6 * math.Exp(r.Float64()*math.Log(50)) // 2 to 100 MB/s
		rates = append(rates, rate)
		latencies = append(latencies, time.Duration(5+r.IntN(295))*time.Millisecond)
		sum += rate
	}
	return steady(r, rates, latencies), int64(sum * (30 + 90*r.Float64()))
}

const mb = 1e6

// five are the sources of the table of policies: 200, 100, 50, 20 and 10 MB/s.
func five(seed uint64) []*simSource {
	r := rand.New(rand.NewPCG(seed, 5))
	ms := func(l ...int) (d []time.Duration) {
		for _, n := range l {
			d = append(d, time.Duration(n)*time.Millisecond)
		}
		return d
	}
	return steady(r, []float64{200 * mb, 100 * mb, 50 * mb, 20 * mb, 10 * mb}, ms(20, 50, 100, 150, 200))
}

// results collects ratios of runs.
type results []float64

func (l results) quantile(q float64) float64 {
	slices.SortFunc(l, cmp.Compare)
	return l[int(math.Round(q*float64(len(l)-1)))]
}

func (l results) check(t *testing.T, what string, median, p95, worst float64) {
	t.Helper()
	t.Logf("%s: median %.4f, 95%% %.4f, worst %.4f", what, l.quantile(0.5), l.quantile(0.95), l.quantile(1))
	if m, p, w := l.quantile(0.5), l.quantile(0.95), l.quantile(1); m > median || p > p95 || w > worst {
		t.Errorf("%s: median %.4f, 95%% %.4f, worst %.4f; want at most %.4f, %.4f, %.4f", what, m, p, w, median, p95, worst)
	}
}

// wasted is the share of the bytes that came and were of no use.
func (w *sim) wasted() float64 {
	n, _ := w.s.Waste()
	return float64(n) / float64(w.config.Size)
}

func TestSimulatedEight(t *testing.T) {
	var spans, waste, asked results
	for seed := range uint64(100) {
		sources, size := eight(seed)
		want := ideal(size, 0, sources)
		w := newSim(t, Config{Size: size, Block: 1 << 20}, sources)
		spans = append(spans, float64(w.run(10*want))/float64(want))
		waste = append(waste, w.wasted())
		asked = append(asked, float64(w.asked))
	}
	spans.check(t, "makespan over the fluid optimum", 1.01, 1.03, 1.05)
	waste.check(t, "bytes that came twice", 0.002, 0.005, 0.01)
	asked.check(t, "requests", 250, 350, 400)
}

// TestSimulatedLong: the same where the optimum is a minute or more.
func TestSimulatedLong(t *testing.T) {
	var spans, waste results
	for seed := uint64(1000); len(spans) < 30; seed++ {
		sources, size := eight(seed)
		want := ideal(size, 0, sources)
		if want < time.Minute {
			continue
		}
		w := newSim(t, Config{Size: size, Block: 1 << 20}, sources)
		spans = append(spans, float64(w.run(10*want))/float64(want))
		waste = append(waste, w.wasted())
	}
	spans.check(t, "makespan over the fluid optimum", 1.01, 1.03, 1.05)
	waste.check(t, "bytes that came twice", 0.002, 0.002, 0.002)
}

func TestSimulatedAhead(t *testing.T) {
	// More is asked for before it is needed, as for several connections.
	var spans, waste results
	for seed := range uint64(20) {
		sources, size := eight(seed)
		want := ideal(size, 0, sources)
		w := newSim(t, Config{Size: size, Block: 1 << 20, Ahead: time.Second}, sources)
		spans = append(spans, float64(w.run(10*want))/float64(want))
		waste = append(waste, w.wasted())
	}
	spans.check(t, "makespan over the fluid optimum", 1.01, 1.03, 1.05)
	waste.check(t, "bytes that came twice", 0.002, 0.005, 0.01)
}

func TestSimulatedEightTogether(t *testing.T) {
	// All that take part finish together.
	for seed := range uint64(20) {
		sources, size := eight(seed)
		w := newSim(t, Config{Size: size, Block: 1 << 20}, sources)
		end := w.run(10 * time.Minute)
		for i, x := range sources {
			if w.used[SourceID(i)] && float64(end-x.last) > 0.02*float64(end) {
				t.Errorf("seed %d: source %d stored its last block at %v of %v", seed, i, x.last, end)
			}
		}
	}
}

// change is a source whose rate is multiplied from an instant on.
func change(x *simSource, at time.Duration, by float64) {
	before := x.rate
	x.rate = func(t time.Duration) float64 {
		if t < at {
			return before(t)
		}
		return before(t) * by
	}
}

func TestSimulatedChanges(t *testing.T) {
	const size = 10_000 * mb
	kinds := []struct {
		name        string
		change      func(x *simSource, half time.Duration)
		median, p95 float64
	}{
		{"stable", func(*simSource, time.Duration) {}, 1.01, 1.02},
		{"tenth", func(x *simSource, half time.Duration) { change(x, half, 0.1) }, 1.01, 1.02},
		{"double", func(x *simSource, half time.Duration) { change(x, half, 2) }, 1.01, 1.02},
		{"reset", func(x *simSource, half time.Duration) { change(x, half, -1) }, 1.01, 1.02},
		{"silent", func(x *simSource, half time.Duration) { change(x, half, 0) }, 1.01, 1.02},
	}
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) {
			var spans, late, waste results
			for seed := range uint64(20) {
				sources := five(seed)
				kind.change(sources[0], ideal(size, 0, sources)/2)
				want := ideal(size, 0, sources)
				w := newSim(t, Config{Size: size, Block: 4 << 20}, sources)
				got := w.run(10 * want)
				spans = append(spans, float64(got)/float64(want))
				late = append(late, (got - want - 2*sources[0].latency).Seconds())
				waste = append(waste, w.wasted())
			}
			spans.check(t, "makespan over the fluid optimum", kind.median, kind.p95, 1.05)
			late.check(t, "seconds beyond the optimum and two latencies", 0.5, 1, 1)
			waste.check(t, "bytes that came twice", 0.003, 0.005, 0.01)
		})
	}
}

func TestSimulatedVolatile(t *testing.T) {
	const size = 10_000 * mb
	var spans, waste results
	for seed := range uint64(20) {
		sources := five(seed)
		for i, x := range sources {
			base := x.rate(0)
			x.rate = func(at time.Duration) float64 {
				r := rand.New(rand.NewPCG(seed<<8|uint64(i), uint64(at/(5*time.Second))))
				return base * math.Exp(0.6*r.NormFloat64())
			}
		}
		want := ideal(size, 0, sources)
		w := newSim(t, Config{Size: size, Block: 4 << 20}, sources)
		spans = append(spans, float64(w.run(10*want))/float64(want))
		waste = append(waste, w.wasted())
	}
	spans.check(t, "makespan over the fluid optimum", 1.02, 1.03, 1.05)
	waste.check(t, "bytes that came twice", 0.003, 0.01, 0.01)
}

func TestSimulatedShort(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	sources := steady(r, []float64{200 * mb, 100 * mb, 80 * mb}, []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond})
	want := ideal(500*mb, 0, sources)
	got := newSim(t, Config{Size: 500 * mb, Block: 1 << 20}, sources).run(time.Minute)
	if most := want + 600*time.Millisecond + 300*time.Millisecond; got > most {
		t.Errorf("%v, more than %v", got, most)
	}
}

func TestSimulatedSink(t *testing.T) {
	const size = 10_000 * mb
	// The sink takes 150 of 380 MB/s. When that is known, some sources stay out;
	// when not, all get a part and nobody falls silent.
	for _, known := range []bool{true, false} {
		sources := five(3)
		c := Config{Size: size, Block: 4 << 20}
		if known {
			c.Sink = 150 * mb
		}
		w := newSim(t, c, sources)
		w.sink = 150 * mb
		got, want := w.run(time.Hour), ideal(size, 150*mb, sources)
		t.Logf("known %t: %v of %v, waste %.4f", known, got, want, w.wasted())
		if float64(got) > 1.01*float64(want) {
			t.Errorf("known %t: %v, want %v", known, got, want)
		}
		if known && len(w.used) > 3 {
			t.Errorf("%d sources used, want 3 at most", len(w.used))
		}
		// That who could not be missed was found out and stands by is no trouble.
		for _, sh := range w.s.Plan(w.now).Shares {
			if w.used[sh.Source] && (sh.State != Active && !sh.Shared || sh.Failures > 0 || sh.Stored == 0) {
				t.Errorf("known %t: %v", known, sh)
			}
		}
	}
}

func TestSimulatedReturn(t *testing.T) {
	// The fastest is away for some seconds, and is used again afterwards, whether
	// its connections break or it says nothing.
	const size = 10_000 * mb
	for _, gone := range []float64{-1, 0} {
		sources := five(4)
		x := sources[0]
		x.rate = func(at time.Duration) float64 {
			if at > 5*time.Second && at < 20*time.Second {
				return gone
			}
			return 200 * mb
		}
		want := ideal(size, 0, sources)
		w := newSim(t, Config{Size: size, Block: 4 << 20}, sources)
		got := w.run(time.Hour)
		t.Logf("rate %v: %v of %v", gone, got, want)
		// It rests for up to 8 s after some failures: that is what is lost.
		if most := want + want/50 + 8*time.Second*200/380; got > most {
			t.Errorf("rate %v: %v, more than %v; the optimum is %v", gone, got, most, want)
		}
		if !x.open || x.last < 30*time.Second {
			t.Errorf("the source did not come back: %v", w.s.Plan(w.now))
		}
	}
}

func TestSimulatedStandby(t *testing.T) {
	// Two at once: the best two, and a third one when one of them breaks for good.
	const size = 5_000 * mb
	sources := five(5)
	change(sources[1], 5*time.Second, -1)
	w := newSim(t, Config{Size: size, Block: 4 << 20, MaxSources: 2}, sources)
	early := 0
	w.seen = func(w *sim) {
		n := 0
		for _, x := range sources {
			if x.open {
				n++
			}
		}
		if n > 2 {
			t.Fatalf("%d sources at %v", n, w.now)
		}
		if w.now < 5*time.Second {
			early = max(early, len(w.used))
		}
	}
	w.run(time.Hour)
	if early != 2 || !w.used[0] || !w.used[2] {
		t.Errorf("%d sources used early; in all %v", early, w.used)
	}
}

func TestSimulatedWrongBytes(t *testing.T) {
	const size = 5_000 * mb
	sources := five(6)
	sources[0].wrong = func(b int64) bool { return b%50 == 7 }
	w := newSim(t, Config{Size: size, Block: 4 << 20}, sources)
	w.run(time.Hour)
	sh := w.s.Plan(w.now).Shares[0]
	if sh.State != Out || sh.Strikes != maxStrikes {
		t.Errorf("%+v", sh)
	}
	// All of them have one block wrong: each is asked again before the end.
	sources = five(6)
	times := 0
	for _, x := range sources {
		x.wrong = func(b int64) bool {
			if b == 9 {
				times++
			}
			return b == 9 && times <= 5
		}
	}
	w = newSim(t, Config{Size: size, Block: 4 << 20}, sources)
	w.run(time.Hour)
}

func TestSimulatedUnknownRates(t *testing.T) {
	const size = 10_000 * mb
	var spans results
	for seed := range uint64(10) {
		sources := five(seed)
		for _, x := range sources {
			x.Source.Rate, x.Source.Start, x.Source.Latency = 0, 0, 0
		}
		want := ideal(size, 0, sources)
		spans = append(spans, float64(newSim(t, Config{Size: size, Block: 4 << 20}, sources).run(10*want))/float64(want))
	}
	spans.check(t, "makespan over the fluid optimum", 1.01, 1.02, 1.03)
}

func TestSimulatedSame(t *testing.T) {
	log := func() (all []Order) {
		sources, size := eight(77)
		w := newSim(t, Config{Size: size, Block: 1 << 20}, sources)
		for !w.s.Done() {
			orders := w.s.Poll(w.now)
			all = append(all, orders...)
			for _, o := range orders {
				w.carry(o)
			}
			w.serve()
			for i, x := range sources {
				w.arrive(SourceID(i), x)
			}
			w.now += simStep
		}
		return all
	}
	if a, b := log(), log(); !slices.Equal(a, b) {
		t.Error("two runs of one seed differ")
	}
}
