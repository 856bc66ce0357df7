package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/replica"
	"github.com/gomover/gomover/store"
)

// fake is a place with files in memory.
type fake struct {
	files map[string][]byte
	rate  float64 // bytes per second; 0: at once
	delay time.Duration

	mu     sync.Mutex // guards what follows
	down   bool
	opened int
	given  int64
	asked  int                            // requests for several files
	busy   time.Time                      // until when bytes are on their way
	lie    func(name string, data []byte) // what it makes of bytes behind their sum
}

var errAbsent = errors.New("broken")

func (f *fake) Open(ctx context.Context) (time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened++
	if f.down {
		return 0, errAbsent
	}
	return f.delay, nil
}

func (f *fake) List(_ context.Context, fn func(store.Entry) error) error {
	if err := fn(store.Entry{Kind: store.Dir, Mode: 0o755}); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(f.files)) {
		if err := fn(store.Entry{Name: name, Kind: store.File, Size: int64(len(f.files[name])), ModTime: 5, Mode: 0o644, Ino: 7}); err != nil {
			return err
		}
	}
	return nil
}

// part gives bytes when they would be there.
func (f *fake) part(ctx context.Context, e store.Entry, off, n int64, whole bool) ([]byte, error) {
	data, ok := f.files[e.Name]
	if !ok || e.Ino != 7 {
		return nil, &FileError{Text: "no such file or directory"}
	}
	f.mu.Lock()
	until := time.Now().Add(f.delay)
	if f.rate > 0 && whole {
		if f.busy.Before(until) {
			f.busy = until
		}
		f.busy = f.busy.Add(time.Duration(float64(n) / f.rate * float64(time.Second)))
		until = f.busy
	}
	down := f.down
	f.mu.Unlock()
	if down {
		return nil, errAbsent
	}
	select {
	case <-time.After(time.Until(until)):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, errAbsent
	}
	if whole {
		f.given += n
	}
	return data[off : off+n], nil
}

func (f *fake) Read(ctx context.Context, e store.Entry, off int64, data []byte, came func(int)) (sum integrity.Sum, err error) {
	part, err := f.part(ctx, e, off, int64(len(data)), true)
	if err != nil {
		return sum, err
	}
	copy(data, part)
	if f.lie != nil {
		f.lie(e.Name, data)
	}
	came(len(data))
	return integrity.Block(part, off, e.Size), nil
}

func (f *fake) Sum(ctx context.Context, e store.Entry, off, n int64) (sum integrity.Sum, err error) {
	part, err := f.part(ctx, e, off, n, false)
	if err != nil {
		return sum, err
	}
	return integrity.Block(part, off, e.Size), nil
}

func (f *fake) Several(ctx context.Context, files []store.Entry, data []byte, came func(int)) ([]Answer, error) {
	out := make([]Answer, len(files))
	total := int64(0)
	for i := range files {
		total += files[i].Size
	}
	f.mu.Lock()
	f.asked++
	until := time.Now().Add(f.delay)
	if f.rate > 0 && data != nil {
		if f.busy.Before(until) {
			f.busy = until
		}
		f.busy = f.busy.Add(time.Duration(float64(total) / f.rate * float64(time.Second)))
		until = f.busy
	}
	f.mu.Unlock()
	select {
	case <-time.After(time.Until(until)):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, errAbsent
	}
	for i := range files {
		e := &files[i]
		part, ok := f.files[e.Name]
		if !ok || e.Ino != 7 {
			out[i].Err = &FileError{Text: "no such file or directory"}
		} else {
			out[i].Sum = integrity.Whole(part)
		}
		if data == nil {
			continue
		}
		if ok {
			f.given += e.Size
			copy(data, part)
			if f.lie != nil {
				f.lie(e.Name, data[:e.Size])
			}
			came(int(e.Size))
		}
		data = data[e.Size:]
	}
	return out, nil
}

// told collects warnings.
type told struct {
	mu sync.Mutex
	l  []string
}

func (w *told) warn(_, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.l = append(w.l, text)
}

func (w *told) has(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.l, func(s string) bool { return strings.Contains(s, text) })
}

// gather makes a tree of fakes.
func gather(t *testing.T, c Config, places ...*fake) (*Tree, *told) {
	t.Helper()
	w := &told{}
	c.Warn = w.warn
	for i, p := range places {
		c.Places = append(c.Places, Place{fmt.Sprintf("h%d", i), p})
	}
	tree := New(c)
	if err := tree.Gather(t.Context()); err != nil {
		tree.Close()
		t.Fatal(err)
	}
	return tree, w
}

// readAll reads a file in blocks of 256 KiB, several at once.
func readAll(tree *Tree, name string, readers int) ([]byte, error) {
	f, err := tree.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	e, _ := f.Stat()
	data := make([]byte, e.Size)
	var mu sync.Mutex // guards what follows
	var failed error
	next := int64(0)
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			for {
				mu.Lock()
				off := next
				next += 256 << 10
				stop := failed != nil
				mu.Unlock()
				if stop || off >= e.Size {
					return
				}
				_, err := f.ReadAt(data[off:min(off+256<<10, e.Size)], off)
				if err != nil && err != io.EOF {
					mu.Lock()
					failed = err
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return data, failed
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func flipped(b []byte, at int) []byte {
	c := bytes.Clone(b)
	c[at] ^= 1
	return c
}

func TestReadShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := pattern(24<<20 + 77)
		files := map[string][]byte{"f": data, "small": data[:100], "empty": {}}
		a, b, c := &fake{files: files, rate: 5e6, delay: 20 * time.Millisecond}, &fake{files: files, rate: 10e6, delay: 60 * time.Millisecond}, &fake{files: files, rate: 20e6, delay: 120 * time.Millisecond}
		tree, w := gather(t, Config{}, a, b, c)
		defer tree.Close()
		began := time.Now()
		got, err := readAll(tree, "f", 32)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		ideal := float64(len(data)) / 35e6
		if took := time.Since(began).Seconds(); took > ideal*1.15+0.5 {
			t.Errorf("%.2f s, the ideal is %.2f s", took, ideal)
		}
		twice := a.given + b.given + c.given - int64(len(data))
		t.Logf("%.2f s of %.2f s; %d %d %d bytes, %d twice", time.Since(began).Seconds(), ideal, a.given, b.given, c.given, twice)
		if twice > hedgeLeast {
			t.Errorf("%d bytes came twice", twice)
		}
		tree.Soon([]string{"small", "empty"})
		if got, err := readAll(tree, "small", 1); err != nil || !bytes.Equal(got, data[:100]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if n := tree.Places("small"); n != 3 || tree.Places("none") != 0 {
			t.Errorf("%d places", n)
		}
		if len(w.l) > 0 {
			t.Errorf("said %q", w.l)
		}
	})
}

func TestVotes(t *testing.T) {
	data := pattern(3<<20 + 5)
	wrong := flipped(data, 2<<20)
	of := func(b []byte) *fake { return &fake{files: map[string][]byte{"f": b}} }
	for _, tt := range []struct {
		name   string
		places []*fake
		prefer int
		want   []byte // nil: they differ
		named  string
	}{
		{"one", []*fake{of(data)}, 0, data, ""},
		{"two", []*fake{of(data), of(data)}, 0, data, ""},
		{"two that differ", []*fake{of(data), of(wrong)}, 0, nil, ""},
		{"one of three", []*fake{of(wrong), of(data), of(data)}, 0, data, "h0: f left out: same size, but what it has at 2097152 differs"},
		{"two of three", []*fake{of(wrong), of(wrong), of(data)}, 0, wrong, "h2: f left out"},
		{"three that differ", []*fake{of(wrong), of(flipped(data, 2<<20+1)), of(data)}, 0, nil, ""},
		{"the preferred one", []*fake{of(wrong), of(data), of(data)}, 1, wrong, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tree, w := gather(t, Config{Prefer: tt.prefer}, tt.places...)
				defer tree.Close()
				got, err := readAll(tree, "f", 3)
				switch {
				case tt.want == nil && !errors.Is(err, ErrDiffer):
					t.Errorf("error %v", err)
				case tt.want != nil && (err != nil || !bytes.Equal(got, tt.want)):
					t.Errorf("wrong bytes, or %v", err)
				}
				synctest.Wait() // for those who speak last
				if tt.named != "" && !w.has(tt.named) {
					t.Errorf("said %q", w.l)
				}
			})
		})
	}
}

func TestDamaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := pattern(2 << 20)
		files := map[string][]byte{"f": data}
		n := 0
		a := &fake{files: files}
		a.lie = func(_ string, b []byte) {
			if n++; n == 2 {
				b[5]++
			}
		}
		tree, _ := gather(t, Config{}, a)
		defer tree.Close()
		if got, err := readAll(tree, "f", 1); err != nil || !bytes.Equal(got, data) {
			t.Errorf("what came damaged once: %v", err)
		}
		a.lie = func(_ string, b []byte) { b[5]++ }
		if _, err := readAll(tree, "f", 1); err == nil {
			t.Error("what always comes damaged was taken")
		}
	})
}

func TestPlaceFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := pattern(40 << 20)
		files := map[string][]byte{"f": data}
		a, b := &fake{files: files, rate: 5e6, delay: 10 * time.Millisecond}, &fake{files: files, rate: 5e6, delay: 10 * time.Millisecond}
		tree, w := gather(t, Config{}, a, b)
		defer tree.Close()
		time.AfterFunc(time.Second, func() {
			a.mu.Lock()
			a.down = true
			a.mu.Unlock()
		})
		time.AfterFunc(2500*time.Millisecond, func() {
			a.mu.Lock()
			a.down = false
			a.mu.Unlock()
		})
		got, err := readAll(tree, "f", 16)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatal(err)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.opened < 3 || a.given < 6<<20 {
			t.Errorf("opened %d times, %d bytes came of it", a.opened, a.given)
		}
		if !w.has("h0 does not answer: broken") {
			t.Errorf("said %q", w.l)
		}
		if s := tree.States(); s[0].State != replica.Active || s[0].Bytes+s[1].Bytes != int64(len(data)) {
			t.Errorf("states %+v", s)
		}
	})
}

func TestAllFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fake{files: map[string][]byte{"f": pattern(4 << 20)}}
		tree, _ := gather(t, Config{GiveUp: 30 * time.Second}, a)
		defer tree.Close()
		a.down = true
		if _, err := readAll(tree, "f", 4); !errors.Is(err, ErrLost) {
			t.Errorf("error %v", err)
		}
		<-tree.Done()
	})
}

func TestFileGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := pattern(2 << 20)
		a, b := &fake{files: map[string][]byte{"f": data, "g": data}}, &fake{files: map[string][]byte{"f": data, "g": data}}
		tree, w := gather(t, Config{}, a, b)
		defer tree.Close()
		delete(a.files, "f")
		if got, err := readAll(tree, "f", 2); err != nil || !bytes.Equal(got, data) {
			t.Errorf("one has removed it: %v", err)
		}
		if !w.has("h0: f left out: no such file") {
			t.Errorf("said %q", w.l)
		}
		delete(a.files, "g")
		delete(b.files, "g")
		var gone *FileError
		if _, err := readAll(tree, "g", 2); !errors.As(err, &gone) {
			t.Errorf("both have removed it: %v", err)
		}
	})
}

func TestGatherRefuses(t *testing.T) {
	t.Run("nobody", func(t *testing.T) {
		tree := New(Config{Places: []Place{{"h", &fake{down: true}}}})
		defer tree.Close()
		if err := tree.Gather(t.Context()); !errors.Is(err, ErrNone) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("names that leave the tree", func(t *testing.T) {
		good := map[string][]byte{"f": []byte("x")}
		tree, w := gather(t, Config{}, &fake{files: map[string][]byte{"../../etc/x": nil, "f": []byte("x")}}, &fake{files: good})
		defer tree.Close()
		if !w.has(`h0 left out: lists a name that leaves the tree: "../../etc/x"`) || tree.Files() != 1 || tree.Places("f") != 1 {
			t.Errorf("said %q", w.l)
		}
	})
}

func TestSums(t *testing.T) {
	data := pattern(3 << 20)
	files := map[string][]byte{"f": data}
	a, b := &fake{files: files}, &fake{files: files}
	tree, _ := gather(t, Config{}, a, b)
	defer tree.Close()
	f, err := tree.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	sum, err := f.(store.SumFile).Sum(1<<20, 1<<20)
	if want := integrity.Block(data[1<<20:2<<20], 1<<20, 3<<20); err != nil || sum != want || a.given+b.given > 0 {
		t.Errorf("%x %v, want %x; %d bytes came for it", sum, err, want, a.given+b.given)
	}
}
