package engine

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/store/osfs"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/pipe"
)

// patience bounds what comes about at once, but for a machine that has much else to do.
const patience = 2 * time.Minute

// recorder keeps file events by path.
type recorder struct {
	mu    sync.Mutex
	files map[string]events.File
	warns []events.Warn
	plans []events.Plan
	tunes []events.Tune
}

func (r *recorder) Record(_ time.Time, e events.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e := e.(type) {
	case events.File:
		if r.files == nil {
			r.files = make(map[string]events.File)
		}
		r.files[e.Path] = e
	case events.Warn:
		r.warns = append(r.warns, e)
	case events.Plan:
		r.plans = append(r.plans, e)
	case events.Tune:
		r.tunes = append(r.tunes, e)
	}
}

func (r *recorder) count(action string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.files {
		if f.Action == action {
			n++
		}
	}
	return n
}

// world is one job between two ends in this process.
type world struct {
	opts     Options
	src      string
	inside   bool
	target   Target
	endpoint func() (a, b transports.Endpoint)
	wrapLink func(a, b Link) (Link, Link)
	rec      recorder
	source   *Source
	sink     *Sink
	sinkErr  error
	onStart  func(w *world)
}

func newWorld(src, dst string) *world {
	w := &world{src: src, endpoint: pipe.Pair}
	w.opts = Options{JobID: "testjob", Attrs: store.Attrs{Perms: true, Times: true}}
	w.target = Target{Path: dst, Shown: dst, Stat: os.Stat, MkdirAll: func(p string) error { return os.MkdirAll(p, 0o777) },
		Open: func(root string, create bool) (store.Dest, error) {
			return osfs.NewDest(root, osfs.DestOptions{JobID: w.opts.JobID, Create: create})
		}}
	return w
}

// run moves and returns the source's error.
func (w *world) run(t *testing.T, ctx context.Context) error {
	t.Helper()
	st, err := osfs.NewSource(w.src, osfs.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	la, lb := MemoryLink()
	if w.wrapLink != nil {
		la, lb = w.wrapLink(la, lb)
	}
	var ea, eb transports.Endpoint
	if w.endpoint != nil {
		ea, eb = w.endpoint()
	}
	w.source = NewSource(w.opts, Paths{Endpoint: ea, Local: true, DialFirst: true, Name: "far"}, la,
		[]SourceRoot{{Store: st, Base: filepath.Base(w.src), Inside: w.inside, Shown: w.src}}, &w.rec)
	w.sink = NewSink(w.opts, Paths{Endpoint: eb, Local: true, Name: "near"}, lb, w.target, nil)
	var wg sync.WaitGroup
	wg.Go(func() { w.sinkErr = w.sink.Run(ctx); lb.Close() })
	if w.onStart != nil {
		w.onStart(w)
	}
	err = w.source.Run(ctx)
	if err != nil {
		la.Close()
	}
	wg.Wait()
	la.Close()
	return err
}

func fill(t *testing.T, path string, size int) {
	t.Helper()
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(size), byte(len(path))})
	r.Read(b)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// sameTree fails the test unless both trees are alike in names, kinds, content,
// modes and times.
func sameTree(t *testing.T, a, b string) {
	t.Helper()
	list := func(root string) map[string]string {
		m := make(map[string]string)
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(root, p)
			i, err := d.Info()
			if err != nil {
				return err
			}
			v := i.Mode().String()
			switch {
			case d.Type()&fs.ModeSymlink != 0:
				l, _ := os.Readlink(p)
				v += fmt.Sprint(" -> ", l, " ", i.ModTime().UnixNano())
			case d.Type().IsRegular():
				c, err := os.ReadFile(p)
				if err != nil {
					return err
				}
				v += fmt.Sprint(" ", i.ModTime().UnixNano(), " ", len(c), " ", string(c))
			default:
				v += fmt.Sprint(" ", i.ModTime().UnixNano())
			}
			m[rel] = v
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	x, y := list(a), list(b)
	brief := func(s string) string { return s[:min(len(s), 60)] }
	for k, v := range x {
		if w, ok := y[k]; !ok {
			t.Errorf("%s: missing at the destination", k)
		} else if v != w {
			t.Errorf("%s: %q at the source, %q at the destination", k, brief(v), brief(w))
		}
	}
	for k := range y {
		if _, ok := x[k]; !ok {
			t.Errorf("%s: only at the destination", k)
		}
	}
}

func makeTree(t *testing.T, root string) {
	t.Helper()
	for i := range 40 {
		fill(t, filepath.Join(root, fmt.Sprintf("d%d/s%d", i%5, i)), i*731)
	}
	fill(t, filepath.Join(root, "big"), 9<<20+123)
	fill(t, filepath.Join(root, "mid"), 300<<10)
	fill(t, filepath.Join(root, "edge"), smallFile)
	fill(t, filepath.Join(root, "edge1"), smallFile+1)
	fill(t, filepath.Join(root, "block"), DefaultBlock)
	fill(t, filepath.Join(root, "odd\xff\n name"), 10)
	if err := os.Mkdir(filepath.Join(root, "empty"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("d1/s1", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	oldLink(t, filepath.Join(root, "link"))
	if err := os.Symlink("/nowhere", filepath.Join(root, "dangling")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "mid"), 0o400); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(root, "d1"), time.Unix(1e9, 5), time.Unix(1e9, 7)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(root, "d2"), 0o555); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(root, "d2"), 0o755) })
}

// oldLink gives a link, not what it leads to, a time of its own.
func oldLink(t *testing.T, path string) {
	t.Helper()
	stamp := unix.Timespec{Sec: 1e9, Nsec: 42}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{stamp, stamp}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		t.Fatal(err)
	}
}
