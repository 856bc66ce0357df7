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
