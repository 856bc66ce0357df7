package replica

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
	"github.com/gomover/gomover/internal/units"
)

func TestSolve(t *testing.T) {
	second := time.Second
	tests := []struct {
		name   string
		size   int64
		sink   units.Rate
		loads  []Load
		finish time.Duration
		shares []int64
	}{
		{"one", 1000, 0, []Load{{second, 100}}, 11 * second, []int64{1000}},
		// T = (1000 + 100*1 + 300*2) / 400 = 4.25 s
		{"two", 1000, 0, []Load{{second, 100}, {2 * second, 300}}, 4250 * time.Millisecond, []int64{325, 675}},
		{"too late", 100, 0, []Load{{0, 100}, {second, 1000}}, second, []int64{100, 0}},
		{"sink", 1000, 100, []Load{{0, 100}, {0, 300}}, 10 * second, []int64{250, 750}},
		{"sink later", 500, 200, []Load{{0, 100}, {2 * second, 300}}, 3500 * time.Millisecond, []int64{275, 225}},
		{"no rate", 5, 0, []Load{{0, 0}}, Never, []int64{0}},
		{"nothing", 0, 0, []Load{{0, 10}}, 0, []int64{0}},
		{"nobody", 7, 0, nil, Never, nil},
	}
	for _, test := range tests {
		finish, shares := Solve(test.size, test.sink, test.loads)
		if finish != test.finish || fmt.Sprint(shares) != fmt.Sprint(test.shares) {
			t.Errorf("%s: %v, %v; want %v, %v", test.name, finish, shares, test.finish, test.shares)
		}
	}
}

// numeric finds by halving the time in which the loads can deliver the size.
func numeric(size float64, sink float64, loads []Load) float64 {
	delivered := func(until float64) (n float64) {
		// The rate only changes where a load starts.
		marks := []float64{0, until}
		for _, l := range loads {
			marks = append(marks, min(until, l.Start.Seconds()))
		}
		slices.Sort(marks)
		for i, to := range marks[1:] {
			from := marks[i]
			sum := 0.0
			for _, l := range loads {
				if l.Start.Seconds() <= from {
					sum += float64(l.Rate)
				}
			}
			n += limited(sum, sink) * (to - from)
		}
		return n
	}
	lo, hi := 0.0, 1.0
	for delivered(hi) < size {
		hi *= 2
	}
	for range 100 {
		if mid := (lo + hi) / 2; delivered(mid) < size {
			lo = mid
		} else {
			hi = mid
		}
	}
	return hi
}

func TestSolveAgainstNumbers(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 2))
		var loads []Load
		for range 1 + r.IntN(8) {
			loads = append(loads, Load{time.Duration(r.Int64N(int64(20 * time.Second))), units.Rate(r.Int64N(1e8))})
		}
		loads[0].Rate++
		size := 1 + r.Int64N(1e10)
		sink := units.Rate(0)
		if r.IntN(2) == 0 {
			sink = units.Rate(1 + r.Int64N(2e8))
		}
		finish, shares := Solve(size, sink, loads)
		if want := numeric(float64(size), float64(sink), loads); math.Abs(finish.Seconds()-want) > 1e-6*want+1e-6 {
			t.Fatalf("seed %d: done in %v, the numbers say %v s", seed, finish, want)
		}
		sum := int64(0)
		for i, n := range shares {
			sum += n
			// Nobody can have delivered more than it could since it started.
			if most := float64(loads[i].Rate) * (finish - loads[i].Start).Seconds(); n < 0 || float64(n) > max(0, most)+10 {
				t.Fatalf("seed %d: share %d of %v", seed, n, most)
			}
		}
		if sum != size {
			t.Fatalf("seed %d: shares are %d of %d bytes", seed, sum, size)
		}
	}
}

func TestChoose(t *testing.T) {
	load := func(start time.Duration, rate units.Rate) Load { return Load{start, rate} }
	tests := []struct {
		name string
		size int64
		sink float64
		most int
		cs   []candidate
		use  string // one letter each
		why  string // of one that is left out
	}{
		{"all", 1e10, 0, 0, []candidate{{load: load(0, 1e8)}, {load: load(0, 1e7)}}, "yy", ""},
		{"gains nothing", 1e11, 0, 0, []candidate{{load: load(0, 1e8)}, {load: load(0, 4e5)}}, "yn", "would save"},
		{"equal ones, short", 1e7, 0, 0, []candidate{{load: load(0, 1e8)}, {load: load(0, 1e8)}, {load: load(0, 1e8)}}, "ynn", ""},
		{"late", 1e8, 0, 0, []candidate{{load: load(0, 1e8)}, {load: load(2*time.Second, 1e9)}}, "yn", "others are done"},
		{"long block", 2e9, 0, 0, []candidate{{load: load(0, 1e8)}, {load: load(0, 2e6)}}, "yn", "one block takes 8.4s"},
		{"only one, poor", 1e10, 0, 0, []candidate{{load: load(time.Hour, 1)}}, "y", ""},
		{"no rate", 1e10, 0, 0, []candidate{{load: load(0, 0)}, {load: load(0, 5e6)}}, "ny", "no rate"},
		{"sink", 1e10, 1e8, 0, []candidate{{load: load(0, 1e8)}, {load: load(0, 2e7)}, {load: load(0, 1e7)}}, "yyn", "fill"},
		{"sink, cheap first", 1e10, 1e8, 0, []candidate{{load: load(0, 2e8), cost: 1}, {load: load(0, 1.2e8)}}, "ny", "fill"},
		{"too many", 1e10, 0, 1, []candidate{{load: load(0, 1e8), rank: 1e8}, {load: load(0, 1.5e8), rank: 1.5e8}}, "ny", "better"},
		{"keeps what runs", 1e10, 0, 1, []candidate{{load: load(0, 1e8), rank: 1e8, held: true}, {load: load(0, 1.5e8), rank: 1.5e8}}, "yn", "better"},
		{"replaces what is poor", 1e10, 0, 1, []candidate{{load: load(0, 1e8), rank: 1e8, held: true}, {load: load(0, 2.5e8), rank: 2.5e8}}, "ny", "better"},
	}
	for _, test := range tests {
		for i := range test.cs {
			test.cs[i].id = SourceID(i)
		}
		choose(test.size, 16<<20, test.sink, test.most, test.cs)
		use, why := "", ""
		for _, c := range test.cs {
			if c.use {
				use += "y"
			} else {
				use += "n"
				why = c.why
			}
		}
		if use != test.use || !strings.Contains(why, test.why) {
			t.Errorf("%s: %s, %q; want %s, %q", test.name, use, why, test.use, test.why)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []Config{{Size: -1, Block: 1}, {Size: 1}, {Size: 1, Block: 1, Sink: -1}, {Size: 1, Block: 1, MaxSources: -1}, {Size: 1, Block: 1, MinRate: -1}, {Size: 1, Block: 1, Ahead: -1}} {
		if _, err := NewSched(c, nil, nil); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
	s, err := NewSched(Config{Block: 1 << 20}, []Source{{Name: "a"}}, nil)
	if err != nil || !s.Done() || s.Hopeless() || len(s.Poll(0)) > 0 || s.Next() != Never {
		t.Errorf("an empty object is not done: %v", err)
	}
	// Blocks that are there already are not asked for.
	var have rangeset.Set
	have.Add(-5, 3)
	have.Add(4, 100)
	s, err = NewSched(Config{Size: 950, Block: 100}, []Source{{Name: "a", Rate: 1000}}, &have)
	if err != nil {
		t.Fatal(err)
	}
	s.Poll(0)
	s.Up(0, 0, 0)
	orders := s.Poll(0)
	if len(orders) != 1 || orders[0].Kind != Fetch || orders[0].Blocks != (rangeset.Extent{Lo: 3, Hi: 4}) {
		t.Errorf("orders %v", orders)
	}
	if n := s.Stored(time.Second, 0, rangeset.Extent{Lo: 3, Hi: 4}); n != 100 || !s.Done() {
		t.Errorf("%d bytes, done %t", n, s.Done())
	}
}

func TestSlowSourceLeaves(t *testing.T) {
	s, _ := NewSched(Config{Size: 1e9, Block: 1e5, MinRate: 1e6}, []Source{{Name: "a", Rate: 1e6}, {Name: "b", Rate: 1e6}}, nil)
	s.Poll(0)
	for id := range SourceID(2) {
		s.Up(0, id, time.Millisecond)
	}
	asked := make([]rangeset.Set, 2)
	for now := time.Duration(0); now < 70*time.Second; now += 100 * time.Millisecond {
		for _, o := range s.Poll(now) {
			switch o.Kind {
			case Fetch:
				asked[o.Source].Add(o.Blocks.Lo, o.Blocks.Hi)
			case Drop:
				asked[o.Source].Remove(o.Blocks.Lo, o.Blocks.Hi)
			}
		}
		for id := range SourceID(2) {
			n := int64(2) // blocks in 100 ms
			if id == 1 && now%(500*time.Millisecond) != 0 {
				continue // 0.4 MB/s
			}
			for e := range asked[id].All() {
				e.Hi = min(e.Hi, e.Lo+n)
				s.Received(now, id, e.Len()*1e5)
				s.Stored(now, id, e)
				asked[id].Remove(e.Lo, e.Hi)
				break
			}
		}
	}
	sh := s.Plan(70 * time.Second).Shares
	if sh[0].State != Active || sh[1].State != Out || !strings.Contains(sh[1].Why, "below 1.00 MB/s") {
		t.Errorf("%v", s.Plan(70*time.Second))
	}
}

// two makes a schedule of two active sources of 10 blocks of 1 MB, and gives
// each some of them.
func two(t *testing.T, a, b Source, first, second rangeset.Extent) *Sched {
	t.Helper()
	s, err := NewSched(Config{Size: 10 * mb, Block: mb}, []Source{a, b}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range []rangeset.Extent{first, second} {
		c := s.sources[i]
		c.state = Active
		s.free.Remove(e.Lo, e.Hi)
		if e.Len() > 0 {
			s.give(0, c, e)
		}
	}
	for e := range s.free.All() {
		s.done.Add(e.Lo, e.Hi)
	}
	s.free.Clear()
	s.replan, s.nextPlan, s.orders = false, time.Hour, nil
	return s
}

func TestStealing(t *testing.T) {
	ms := time.Millisecond
	tests := []struct {
		name string
		a, b Source // a has blocks, b has none
		has  rangeset.Extent
		want string
	}{
		// 10 MB at 1 and 1 MB/s: half of them.
		{"halves", Source{Rate: mb}, Source{Rate: mb}, rangeset.Extent{Lo: 0, Hi: 10}, "[{drop 0 {5 10}} {fetch 1 {5 10}}]"},
		{"by rates", Source{Rate: mb}, Source{Rate: 4 * mb}, rangeset.Extent{Lo: 0, Hi: 10}, "[{drop 0 {2 10}} {fetch 1 {2 10}}]"},
		{"b begins late", Source{Rate: mb}, Source{Rate: mb, Latency: 2000 * ms}, rangeset.Extent{Lo: 0, Hi: 10}, "[{drop 0 {6 10}} {fetch 1 {6 10}}]"},
		// 4 MB are on their way from a; what is left is asked for twice.
		{"on their way", Source{Rate: mb, Latency: 4000 * ms}, Source{Rate: 100 * mb}, rangeset.Extent{Lo: 0, Hi: 10}, "[{drop 0 {4 10}} {fetch 1 {4 10}}]"},
		{"a copy", Source{Rate: mb / 4}, Source{Rate: 4 * mb}, rangeset.Extent{Lo: 3, Hi: 4}, "[{drop 0 {3 4}} {fetch 1 {3 4}}]"},
		{"no use", Source{Rate: 4 * mb}, Source{Rate: mb}, rangeset.Extent{Lo: 3, Hi: 4}, "[]"},
		{"as soon", Source{Rate: mb}, Source{Rate: mb}, rangeset.Extent{Lo: 3, Hi: 4}, "[]"},
	}
	for _, test := range tests {
		s := two(t, test.a, test.b, test.has, rangeset.Extent{})
		if got := fmt.Sprint(s.Poll(0)); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestCopies(t *testing.T) {
	// Half of the only block has come from a slow source, and the rest is on its
	// way: it is asked for twice, and who is second hears that it is too late.
	for _, winner := range []SourceID{0, 1} {
		s := two(t, Source{Rate: mb / 10, Latency: time.Second}, Source{Rate: 10 * mb}, rangeset.Extent{Lo: 9, Hi: 10}, rangeset.Extent{})
		s.sources[0].partial = 950_000
		if got, want := fmt.Sprint(s.Poll(0)), "[{fetch 1 {9 10}}]"; got != want {
			t.Fatalf("%s, want %s", got, want)
		}
		check(t, s)
		if n := s.Stored(0, winner, rangeset.Extent{Lo: 9, Hi: 10}); n != mb {
			t.Errorf("%d bytes are new", n)
		}
		if got, want := fmt.Sprint(s.Poll(0)), fmt.Sprintf("[{drop %d {9 10}}]", 1-winner); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if n := s.Stored(0, 1-winner, rangeset.Extent{Lo: 9, Hi: 10}); n != 0 || !s.Done() {
			t.Errorf("%d bytes are new the second time", n)
		}
		check(t, s)
	}
	// When one of the two breaks the other still has it.
	s := two(t, Source{Rate: mb / 10, Latency: time.Second}, Source{Rate: 10 * mb}, rangeset.Extent{Lo: 9, Hi: 10}, rangeset.Extent{})
	s.sources[0].partial = 950_000
	s.Poll(0)
	s.Down(0, 1, "reset")
	check(t, s)
	s.Down(0, 0, "reset")
	check(t, s)
	if !s.free.Contains(9, 10) {
		t.Error("the block is lost")
	}
}

func TestCopiesAreBounded(t *testing.T) {
	s := two(t, Source{Rate: 10_000, Latency: time.Hour}, Source{Rate: 100 * mb}, rangeset.Extent{Lo: 0, Hi: 10}, rangeset.Extent{})
	for range 5 {
		s.Poll(0)
		check(t, s)
	}
	if _, n := s.Waste(); n != copyBlocks*mb {
		t.Errorf("%d bytes asked for twice, want %d blocks", n, copyBlocks)
	}
}

func TestWrongBlockGoesElsewhere(t *testing.T) {
	s := two(t, Source{Rate: 100 * mb}, Source{Rate: mb}, rangeset.Extent{Lo: 0, Hi: 1}, rangeset.Extent{Lo: 1, Hi: 5})
	s.Received(0, 0, mb)
	s.Bad(0, 0, rangeset.Extent{Lo: 0, Hi: 1})
	for _, o := range s.Poll(0) {
		if o.Source == 0 && o.Kind == Fetch && o.Blocks.Lo == 0 {
			t.Errorf("%v: the block came wrong from there", o)
		}
	}
	check(t, s)
	// With the other one gone there is no choice.
	s.Gone(0, 1, "changed")
	asked := false
	for _, o := range s.Poll(0) {
		asked = asked || o.Source == 0 && o.Kind == Fetch && o.Blocks.Lo == 0
	}
	if !asked {
		t.Error("the only source is not asked again")
	}
	s.Bad(0, 0, rangeset.Extent{Lo: 0, Hi: 1})
	if s.Poll(0); !s.Hopeless() {
		t.Errorf("still hopes: %v", s.Plan(0))
	}
}

func TestBytesOfNoUse(t *testing.T) {
	// a has much to do still, though as many bytes came from it: of blocks that were
	// taken away.
	s := two(t, Source{Name: "a", Rate: 10 * mb}, Source{Name: "b", Rate: 10 * mb}, rangeset.Extent{Lo: 0, Hi: 8}, rangeset.Extent{Lo: 8, Hi: 9})
	s.Received(0, 0, 8*mb)
	if left := s.sources[0].remaining(); left != 0 {
		t.Fatalf("%.0f bytes left", left)
	}
	s.Void(0, 7*mb)
	if left := s.sources[0].remaining(); left != 7*mb {
		t.Errorf("%.0f bytes left, want 7 MB", left)
	}
	s.Void(0, 1<<60)
	s.Void(0, -5)
	s.Void(7, 5)
	if left := s.sources[0].remaining(); left > float64(s.sources[0].left) {
		t.Errorf("%.0f bytes left of %d", left, s.sources[0].left)
	}
}

func TestSilentSourceComesBack(t *testing.T) {
	// It says nothing, and the other one takes all its blocks and then breaks for
	// good: it is opened again, or speaks, and gets what is left.
	for _, speaks := range []bool{false, true} {
		s := two(t, Source{Rate: mb}, Source{Rate: mb}, rangeset.Extent{Lo: 0, Hi: 5}, rangeset.Extent{})
		s.nextPlan = 0
		now := 3 * time.Second
		s.Poll(now)
		if c := s.sources[0]; !c.silent || c.left != 0 {
			t.Fatalf("%d bytes are with the silent one: %v", c.left, s.Plan(now))
		}
		s.Gone(now, 1, "changed")
		if speaks {
			s.Received(now, 0, 1)
		}
		asked := false
		for range 100 {
			for _, o := range s.Poll(now) {
				asked = asked || o.Kind == Fetch && o.Source == 0
				if o.Kind == Open {
					s.Up(now, o.Source, 0)
				}
			}
			check(t, s)
			if now = s.Next(); asked || now == Never {
				break
			}
		}
		if !asked || speaks && now > 6*time.Second {
			t.Errorf("speaks %t: at %v nobody is asked: %v", speaks, now, s.Plan(now))
		}
	}
}

func TestFinishWaitsForTheFirstByte(t *testing.T) {
	s := two(t, Source{Rate: mb, Latency: 3 * time.Second}, Source{Rate: mb}, rangeset.Extent{Lo: 0, Hi: 2}, rangeset.Extent{})
	if got := s.sources[0].finish(time.Second); got != 4 {
		t.Errorf("2 MB at 1 MB/s, 2 s from now: done in %v s", got)
	}
}

func TestWords(t *testing.T) {
	s, _ := NewSched(Config{Size: 40e9, Block: 1 << 20, Sink: 1e9}, []Source{
		{Name: "h1:/f", Rate: 8e8}, {Name: "h2:/f", Rate: 2e8, Start: time.Second}, {Name: "h3:/f", Rate: 1e3}, {Name: "h4:/f", Rate: 1e8}, {Name: "h5:/f", Rate: 1e8, Runs: 4, Spread: 0.25},
	}, nil)
	s.Gone(0, 3, "size 5, the others have 7")
	s.Poll(0)
	s.Up(0, 0, 10*time.Millisecond)
	const want = `40.0 GB of 40.0 GB left, all sources done in 40s, limited by this end to 1.00 GB/s
  h1:/f: 73% of it, 800 MB/s (expected)
  h2:/f: 18% of it, 200 MB/s (expected), connecting, which takes 1s
  h3:/f: stand-by, too slow: one block takes 17m29s
  h4:/f: left out, size 5, the others have 7
  h5:/f: 9% of it, 100 MB/s (expected by 4 earlier runs, varying by 25%), connecting`
	if got := s.Plan(0).String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	p := Plan{Size: 5, Left: Never, Shares: []Share{{Name: "a", State: Resting, Why: "connection reset"}}}
	if got, want := p.String(), "5 B of 5 B left, nobody delivers\n  a: resting, connection reset"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// check looks at every block: stored, free, or with one source, or with two.
func check(t *testing.T, s *Sched) {
	t.Helper()
	if s.blocks > 4096 {
		t.Fatal("too many blocks to look at")
	}
	owners := make([]int, s.blocks)
	for _, c := range s.sources {
		var left int64
		for _, e := range c.spans {
			if e.Lo < 0 || e.Hi > s.blocks || e.Lo >= e.Hi {
				t.Fatalf("source %d has %v of %d blocks", c.id, e, s.blocks)
			}
			if c.state != Active {
				t.Fatalf("source %d is %v and has %v", c.id, c.state, e)
			}
			left += s.bytes(e)
			for b := e.Lo; b < e.Hi; b++ {
				owners[b]++
			}
		}
		if left != c.left || c.partial < 0 || c.partial > c.left {
			t.Fatalf("source %d: %d bytes left, counted %d, %d have come", c.id, left, c.left, c.partial)
		}
	}
	for b, n := range owners {
		b := int64(b)
		done, free, twice := s.done.Contains(b, b+1), s.free.Contains(b, b+1), s.twice.Contains(b, b+1)
		want, ok := map[[3]bool]int{{true, false, false}: 0, {false, true, false}: 0, {false, false, true}: 2, {false, false, false}: 1}[[3]bool{done, free, twice}]
		if !ok || n != want {
			t.Fatalf("block %d: stored %t, free %t, twice %t, with %d sources", b, done, free, twice, n)
		}
	}
	if most := max(int64(copyShare*float64(s.config.Size)), copyBlocks*s.config.Block); s.copied > most {
		t.Fatalf("%d bytes asked for twice, more than %d", s.copied, most)
	}
}

// play lets whatever a stream of bytes says happen to a schedule, and looks at
// it after every step. asked is what the driver believes was asked for.
type play struct {
	t     *testing.T
	s     *Sched
	now   time.Duration
	open  map[SourceID]bool
	asked map[SourceID]*rangeset.Set
}

func newPlay(t *testing.T, c Config, n int) *play {
	t.Helper()
	var l []Source
	for i := range n {
		l = append(l, Source{Name: fmt.Sprint(i), Rate: units.Rate(i * 1000), Start: time.Duration(i) * time.Second, Latency: time.Duration(i*100) * time.Millisecond})
	}
	s, err := NewSched(c, l, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &play{t: t, s: s, open: map[SourceID]bool{}, asked: map[SourceID]*rangeset.Set{}}
	for i := range n {
		p.asked[SourceID(i)] = &rangeset.Set{}
	}
	return p
}

func (p *play) poll() {
	p.t.Helper()
	for _, o := range p.s.Poll(p.now) {
		e, a := o.Blocks, p.asked[o.Source]
		switch o.Kind {
		case Open:
			if p.open[o.Source] {
				p.t.Fatalf("source %d opened twice", o.Source)
			}
			p.open[o.Source] = true
		case Close:
			p.open[o.Source] = false
			a.Clear()
		case Fetch:
			if !p.open[o.Source] || e.Lo < 0 || e.Hi > p.s.blocks || e.Len() == 0 || a.Add(e.Lo, e.Hi) != e.Len() || p.overlap(e) != 0 {
				p.t.Fatalf("order %v; open %t", o, p.open[o.Source])
			}
		case Drop:
			if a.Remove(e.Lo, e.Hi) != e.Len() {
				p.t.Fatalf("source %d was not asked for all of %v", o.Source, e)
			}
		}
	}
	check(p.t, p.s)
	if next := p.s.Next(); next <= p.now {
		p.t.Fatalf("Poll at %v wants to be called at %v", p.now, next)
	}
}

// overlap is how many of the blocks are stored already.
func (p *play) overlap(e rangeset.Extent) (n int64) {
	n = e.Len()
	for m := range p.s.done.Missing(e.Lo, e.Hi) {
		n -= m.Len()
	}
	return n
}

// step does one thing: op, which source, a number.
func (p *play) step(op byte, who SourceID, x int64) {
	p.t.Helper()
	s, a := p.s, p.asked[who]
	var first rangeset.Extent
	if a != nil {
		for e := range a.All() {
			first = e
			break
		}
	}
	switch op % 12 {
	case 0, 1:
		s.Up(p.now, who, time.Duration(x)*time.Millisecond)
	case 2:
		s.Down(p.now, who, "reset")
		if a != nil {
			p.open[who] = false
			a.Clear()
		}
	case 3:
		if x > 250 {
			s.Gone(p.now, who, "changed")
			if a != nil {
				p.open[who] = false
				a.Clear()
			}
		}
	case 4, 5:
		s.Received(p.now, who, x*100)
	case 6, 7, 8: // the first ones that it was asked for
		e := rangeset.Extent{Lo: first.Lo, Hi: min(first.Hi, first.Lo+1+x%4)}
		s.Received(p.now, who, s.bytes(e))
		s.Stored(p.now, who, e)
		if a != nil {
			a.Remove(e.Lo, e.Hi)
		}
	case 9: // whatever
		e := rangeset.Extent{Lo: x - 20, Hi: x - 20 + x%7}
		s.Stored(p.now, who, e)
		if a != nil {
			a.Remove(e.Lo, e.Hi)
		}
	case 10:
		s.Bad(p.now, who, rangeset.Extent{Lo: first.Lo, Hi: first.Lo + x%2})
		if a != nil {
			a.Remove(first.Lo, first.Lo+x%2)
		}
	case 11:
		p.now += time.Duration(x*x) * time.Millisecond
		s.SetSink(units.Rate(x * 1000))
	}
	p.poll()
}

// finish lets the sources that are left deliver everything.
func (p *play) finish() {
	p.t.Helper()
	p.s.Add(Source{Name: "rescue", Rate: 1e5})
	last := SourceID(len(p.s.sources) - 1)
	p.asked[last] = &rangeset.Set{}
	for range 3000 {
		p.poll()
		if p.s.Done() {
			return
		}
		// The rescue delivers everything it is asked for.
		if p.open[last] {
			p.s.Up(p.now, last, 0)
			p.poll()
		}
		a := p.asked[last]
		for e := range a.All() {
			p.s.Received(p.now, last, p.s.bytes(e))
			p.s.Stored(p.now, last, e)
			a.Remove(e.Lo, e.Hi)
			break
		}
		p.now += 200 * time.Millisecond
	}
	p.t.Fatalf("not done: %v", p.s.Plan(p.now))
}

func TestAnyOrderOfEvents(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 3))
		p := newPlay(t, Config{Size: 1 + r.Int64N(200_000), Block: 1000, MaxSources: r.IntN(4), MinRate: units.Rate(r.IntN(2) * 500)}, 4)
		p.poll()
		for range 400 {
			p.step(byte(r.IntN(12)), SourceID(r.IntN(6)-1), r.Int64N(256))
		}
		p.finish()
	}
}

func FuzzSched(f *testing.F) {
	f.Add(uint16(100), []byte{0, 0, 10, 0, 1, 20, 6, 0, 3, 6, 1, 2, 11, 0, 60, 2, 1, 0, 9, 2, 50})
	f.Add(uint16(20), []byte{0, 0, 10, 6, 0, 200, 10, 0, 1, 10, 0, 1, 11, 0, 200, 0, 1, 0})
	f.Fuzz(func(t *testing.T, blocks uint16, ops []byte) {
		p := newPlay(t, Config{Size: int64(blocks%2000)*1000 + 1, Block: 1000, MaxSources: int(blocks>>11) % 4}, 4)
		p.poll()
		for ; len(ops) >= 3; ops = ops[3:] {
			p.step(ops[0], SourceID(ops[1]%6)-1, int64(ops[2]))
		}
		p.finish()
	})
}

// BenchmarkDecisions moves a million blocks from 32 sources: what the schedule
// costs for each.
func BenchmarkDecisions(b *testing.B) {
	for b.Loop() {
		const blocks = 1_000_000
		var l []Source
		for i := range 32 {
			l = append(l, Source{Rate: units.Rate(1e8 + i*1e6)})
		}
		s, err := NewSched(Config{Size: blocks << 18, Block: 1 << 18}, l, nil)
		if err != nil {
			b.Fatal(err)
		}
		asked := make([][]int64, 32)
		now := time.Duration(0)
		for !s.Done() {
			for _, o := range s.Poll(now) {
				switch o.Kind {
				case Open:
					s.Up(now, o.Source, time.Millisecond)
				case Fetch:
					for x := o.Blocks.Lo; x < o.Blocks.Hi; x++ {
						asked[o.Source] = append(asked[o.Source], x)
					}
				}
			}
			for id := range asked {
				if len(asked[id]) == 0 {
					continue
				}
				x := asked[id][0]
				asked[id] = asked[id][1:]
				s.Received(now, SourceID(id), 1<<18)
				s.Stored(now, SourceID(id), rangeset.Extent{Lo: x, Hi: x + 1})
			}
			now += 2 * time.Millisecond
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e6, "ns/block")
}
