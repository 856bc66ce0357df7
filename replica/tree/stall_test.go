package tree

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/replica"
	"github.com/gomover/gomover/store"
)

// stuck is a place of which some answers never come.
type stuck struct {
	*fake
	mu    sync.Mutex // guards what follows
	reads int        // of how many requests for bytes the answers do not come
	sums  bool       // those for sums do not
	asked int        // requests for sums that did not get any
}

func (s *stuck) Read(ctx context.Context, e store.Entry, off int64, data []byte, came func(int)) (integrity.Sum, error) {
	s.mu.Lock()
	s.reads--
	stop := s.reads >= 0
	s.mu.Unlock()
	if stop {
		<-ctx.Done()
		return integrity.Sum{}, context.Cause(ctx)
	}
	return s.fake.Read(ctx, e, off, data, came)
}

func (s *stuck) Sum(ctx context.Context, e store.Entry, off, n int64) (integrity.Sum, error) {
	s.mu.Lock()
	stop := s.sums
	if stop {
		s.asked++
	}
	s.mu.Unlock()
	if stop {
		<-ctx.Done()
		return integrity.Sum{}, context.Cause(ctx)
	}
	return s.fake.Sum(ctx, e, off, n)
}

// timeOf is how long some readers at once take for the file f of a tree, which is to be
// data.
func timeOf(t *testing.T, c Config, data []byte, readers int) time.Duration {
	t.Helper()
	tree := New(c)
	defer tree.Close()
	if err := tree.Gather(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	got, err := readAll(tree, "f", readers)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatal(err)
	}
	return time.Since(began)
}

// A block that is late comes from another place, and nobody waits for the first one.
func TestLateBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := pattern(256 << 10)
		files := map[string][]byte{"f": data}
		a, b := &stuck{fake: &fake{files: files}, reads: 1}, &stuck{fake: &fake{files: files}, reads: 0}
		if took := timeOf(t, Config{Places: []Place{{"a", a}, {"b", b}}}, data, 1); took > 4*time.Second {
			t.Errorf("it came after %v", took)
		}
	})
}

// Who waits for a place waits in the queue once.
func TestWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := pattern(32 << 20)
		a := &fake{files: map[string][]byte{"f": data}, rate: 4e6}
		tree, _ := gather(t, Config{}, a)
		defer tree.Close()
		most := 0
		over := make(chan struct{})
		go func() {
			for tick := time.NewTicker(time.Second); ; {
				select {
				case <-tick.C:
				case <-over:
					tick.Stop()
					return
				}
				tree.mu.Lock()
				most = max(most, len(tree.waiters))
				tree.mu.Unlock()
			}
		}()
		got, err := readAll(tree, "f", 32)
		close(over)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatal(err)
		}
		synctest.Wait()
		if most == 0 || most > 32 {
			t.Errorf("%d wait, of 32 readers", most)
		}
		if n := len(tree.waiters); n > 0 {
			t.Errorf("%d wait when all is read", n)
		}
	})
}

// A place that says nothing when it is asked for sums is not waited for.
func TestSilentVoter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := pattern(64 << 20)
		files := map[string][]byte{"f": data}
		a, b := &stuck{fake: &fake{files: files, rate: 20e6}}, &stuck{fake: &fake{files: files}, reads: 1e6, sums: true}
		// Once it is waited for 10 s, once more after a second, when it is tried again, ...
		if took := timeOf(t, Config{Places: []Place{{"a", a}, {"b", b}}, GiveUp: time.Minute}, data, 8); took > time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// Neither is one that gives bytes only.
func TestSilentSumsOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := pattern(32 << 20)
		files := map[string][]byte{"f": data}
		a, b := &stuck{fake: &fake{files: files, rate: 10e6}}, &stuck{fake: &fake{files: files, rate: 10e6}, sums: true}
		if took := timeOf(t, Config{Places: []Place{{"a", a}, {"b", b}}, GiveUp: time.Minute}, data, 8); took > 2*time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}

// What is never told is given up like what never comes.
func TestSilentSums(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &stuck{fake: &fake{files: map[string][]byte{"f": pattern(1 << 20)}}, sums: true}
		tree := New(Config{Places: []Place{{"a", a}}, GiveUp: 30 * time.Second, Patience: time.Hour})
		defer tree.Close()
		if err := tree.Gather(t.Context()); err != nil {
			t.Fatal(err)
		}
		f, err := tree.Open("f")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := f.(store.SumFile).Sum(0, 1<<20); err == nil {
			t.Error("a sum came")
		}
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("it was given up after %v", took)
		}
	})
}

// lister is a place that lists many names, or stops in the middle.
type lister struct {
	*fake
	names int
	stop  bool
}

func (l *lister) List(ctx context.Context, fn func(store.Entry) error) error {
	if err := l.fake.List(ctx, fn); err != nil {
		return err
	}
	for i := range l.names {
		if err := fn(store.Entry{Name: fmt.Sprintf("x%d", i), Kind: store.File, Mode: 0o644, Ino: 7}); err != nil {
			return err
		}
	}
	if l.stop {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return nil
}

// Who stops in the middle of listing holds nobody up for long.
func TestListStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := map[string][]byte{"f": pattern(10)}
		w := &told{}
		tree := New(Config{Places: []Place{{"a", &fake{files: files}}, {"b", &lister{&fake{files: files}, 10, true}}}, Warn: w.warn})
		defer tree.Close()
		began := time.Now()
		if err := tree.Gather(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 2*time.Minute || !w.has("b left out: it does not go on with its list") {
			t.Errorf("%v, said %q", took, w.l)
		}
	})
}

// One that lists too much must not have the others left out, and be believed alone.
func TestListFlood(t *testing.T) {
	files := map[string][]byte{"f": pattern(10)}
	w := &told{}
	flood := &lister{fake: &fake{files: map[string][]byte{"f": pattern(11)}}, names: 900}
	late := make(chan struct{})
	slow := func() *slowLister { return &slowLister{&fake{files: files}, late} }
	tree := New(Config{Places: []Place{{"flood", &doneLister{flood, late}}, {"b", slow()}, {"c", slow()}}, Warn: w.warn})
	tree.most = budget{entries: 904, names: maxNames}
	defer tree.Close()
	if err := tree.Gather(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := tree.Places("f"); n != 2 || tree.files["f"].e.Size != 10 || !w.has("flood left out: lists too much") {
		t.Errorf("%d places, said %q", n, w.l)
	}
}

// doneLister tells when it has listed all.
type doneLister struct {
	*lister
	done chan struct{}
}

func (l *doneLister) List(ctx context.Context, fn func(store.Entry) error) error {
	defer close(l.done)
	return l.lister.List(ctx, fn)
}

// slowLister lists when another one has.
type slowLister struct {
	*fake
	after chan struct{}
}

func (l *slowLister) List(ctx context.Context, fn func(store.Entry) error) error {
	<-l.after
	return l.fake.List(ctx, fn)
}

// Who waits for a place that is away, since the others differ, stops when the tree is
// closed.
func TestRecallEnds(t *testing.T) {
	files := map[string][]byte{"f": pattern(10)}
	tree, _ := gather(t, Config{}, &fake{files: files}, &fake{files: files}, &fake{files: files})
	defer tree.Close()
	tree.mu.Lock()
	tree.places[2].up, tree.places[2].fell = false, time.Now()
	tree.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := &ballot{t: tree, n: tree.files["f"], size: 10, ctx: ctx, voters: 7, votes: map[integrity.Sum]uint64{{1}: 1, {2}: 2}}
	if b.recall() {
		t.Error("it is asked again and again for a block that nobody wants")
	}
}

// A place that is slow to tell sums is not asked for ever more of them while the others
// are a majority.
func TestVotesPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := pattern(48 << 20)
		files := map[string][]byte{"f": data}
		a, b := &fake{files: files, rate: 20e6}, &fake{files: files, rate: 20e6}
		tree := New(Config{Places: []Place{{"a", a}, {"b", b}, {"c", &stuck{fake: &fake{files: files, delay: 9 * time.Second}, reads: 1e6}}}})
		defer tree.Close()
		if err := tree.Gather(t.Context()); err != nil {
			t.Fatal(err)
		}
		most := 0
		over, watched := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(watched)
			for tick := time.NewTicker(50 * time.Millisecond); ; {
				select {
				case <-tick.C:
				case <-over:
					tick.Stop()
					return
				}
				tree.mu.Lock()
				most = max(most, tree.places[2].voting)
				tree.mu.Unlock()
			}
		}()
		got, err := readAll(tree, "f", 16)
		close(over)
		<-watched
		if err != nil || !bytes.Equal(got, data) {
			t.Fatal(err)
		}
		if most < 2 || most > mostVotes+16 {
			t.Errorf("%d sums are waited for", most)
		}
	})
}

// Who was not asked for a sum, since it is behind, counts until it was: two that say the
// same are no majority of five.
func TestJury(t *testing.T) {
	up := func(voting ...int) *Tree {
		tree := &Tree{}
		for _, n := range voting {
			tree.places = append(tree.places, &place{up: n >= 0, voting: n})
		}
		return tree
	}
	for _, tt := range []struct {
		name      string
		tree      *Tree
		but       int
		ask, rest uint64
	}{
		{"one that gives the bytes", up(0), 0, 0, 0},
		{"one for its sum alone", up(500), -1, 1, 0},
		{"all", up(0, 0, 5, 127), 0, 0b1110, 0},
		{"one is down", up(0, -1, 0), 0, 0b100, 0},
		{"the other one is behind", up(0, 500), 0, 0b10, 0},
		{"one of three is behind", up(0, 0, 500), 0, 0b10, 0b100},
		{"two of three are", up(0, 500, 400), 0, 0b100, 0b10},
		{"two of four are", up(0, 0, 500, 400), 0, 0b1010, 0b100},
		{"three of five are", up(0, 0, 500, 400, 300), 0, 0b10010, 0b1100},
		{"two of four, of sums alone", up(0, 0, 500, 400), -1, 0b1011, 0b100},
	} {
		if ask, rest := tt.tree.jury(1<<len(tt.tree.places)-1, tt.but); ask != tt.ask || rest != tt.rest {
			t.Errorf("%s: %b asked, %b not; want %b, %b", tt.name, ask, rest, tt.ask, tt.rest)
		}
	}
	b := &ballot{t: up(0, 0, 500, 400, 300), votes: map[integrity.Sum]uint64{{1}: 0b11}, waiting: 0b10000, rest: 0b1100}
	if _, ok := b.decide(); ok {
		t.Error("two of five decide")
	}
	b.votes[integrity.Sum{1}], b.waiting = 0b10011, 0
	if _, ok := b.decide(); !ok {
		t.Error("three of five do not")
	}
}

// Wrong bytes, about which two others that lie answer first, are not taken because the
// four who would tell are behind.
func TestLiarsAreFirst(t *testing.T) {
	for name, read := range map[string]func(*Tree, int) ([]byte, error){
		"a block": func(tree *Tree, _ int) ([]byte, error) { return readAll(tree, "f", 1) },
		"a batch": func(tree *Tree, n int) ([]byte, error) {
			tree.Soon([]string{"f"})
			f, err := tree.Open("f")
			if err != nil {
				return nil, err
			}
			data := make([]byte, n)
			_, err = f.ReadAt(data, 0)
			return data, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				data := pattern(5000)
				right, wrong := map[string][]byte{"f": data}, map[string][]byte{"f": flipped(data, 7)}
				slow := func() *fake { return &fake{files: right, delay: time.Second} }
				liar := func() *fake { return &fake{files: wrong} }
				tree, _ := gather(t, Config{}, liar(), liar(), liar(), slow(), slow(), slow(), slow())
				defer tree.Close()
				tree.mu.Lock()
				for _, p := range tree.places[3:] {
					p.voting += mostVotes // of other files
				}
				tree.mu.Unlock()
				got, err := read(tree, len(data))
				if err != nil || !bytes.Equal(got, data) {
					t.Errorf("the bytes of the majority did not come: %v", err)
				}
				tree.mu.Lock()
				for _, p := range tree.places[3:] {
					p.voting -= mostVotes
				}
				tree.mu.Unlock()
			})
		})
	}
}

// A place that is slower than it must be is left out, wherever it stands in the list; the
// fastest one is not.
func TestTooSlow(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rates []float64
		left  []bool
	}{
		{"the first", []float64{100e3, 600e3}, []bool{true, false}},
		{"the last", []float64{600e3, 100e3}, []bool{false, true}},
		{"both", []float64{300e3, 100e3}, []bool{false, true}},
		{"both, the first more", []float64{100e3, 300e3}, []bool{true, false}},
		{"two of three", []float64{100e3, 600e3, 200e3}, []bool{true, false, true}},
		{"the only one", []float64{100e3}, []bool{false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var places []*fake
				for range tt.rates {
					places = append(places, &fake{})
				}
				tree, _ := gather(t, Config{MinRate: 500e3}, places...)
				defer tree.Close()
				now := time.Now()
				tree.mu.Lock()
				for i, p := range tree.places {
					p.rate, p.queued, p.heard, p.slow = tt.rates[i], 1, now, now.Add(-2*slowSpan)
				}
				tree.mu.Unlock()
				time.Sleep(time.Second)
				synctest.Wait()
				for i, s := range tree.States() {
					if (s.State == replica.Out) != tt.left[i] {
						t.Errorf("place %d is %v", i, s.State)
					}
				}
			})
		})
	}
}
