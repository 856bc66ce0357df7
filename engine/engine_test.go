package engine

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomover/gomover/transports"
)

func TestTree(t *testing.T) {
	for _, fsync := range []string{"batch", "none", "file", "dir"} {
		for name, set := range map[string]func(o *Options){
			"one stream": func(o *Options) { o.StreamsMax = 1 },
			"streams":    func(o *Options) { o.StreamsMin = 5 },
			"inband":     func(o *Options) { o.NoStreams = true },
			"blocks":     func(o *Options) { o.BlockSize = 32 << 10 },
			"large":      func(o *Options) { o.BlockSize = 1 << 20; o.Verify = "readback" },
		} {
			t.Run(fsync+" "+name, func(t *testing.T) {
				dir := t.TempDir()
				makeTree(t, dir+"/src")
				w := newWorld(dir+"/src", dir+"/dst")
				w.opts.Fsync = fsync
				set(&w.opts)
				w.inside = true
				if err := w.run(t, t.Context()); err != nil {
					t.Fatal(err, w.sinkErr)
				}
				if w.sinkErr != nil {
					t.Fatal(w.sinkErr)
				}
				sameTree(t, dir+"/src", dir+"/dst")
				c := w.source.Totals()
				if c.DoneBytes != c.Bytes || c.DoneFiles != c.Files || c.Files != 46 || !c.Listed {
					t.Errorf("totals %+v", c)
				}
				if k := w.sink.Totals(); k.DoneBytes != c.Bytes || k.DoneFiles != c.Files {
					t.Errorf("sink's totals %+v", k)
				}
				// Once more: nothing to do.
				again := newWorld(dir+"/src", dir+"/dst")
				again.inside = true
				if err := again.run(t, t.Context()); err != nil {
					t.Fatal(err)
				}
				for p, f := range w.rec.files {
					if f.Error != "" {
						t.Errorf("%s: %s", p, f.Error)
					}
				}
				if c := again.source.Totals(); c.Skipped != c.Files || c.Sent != 0 || c.DoneBytes != c.Bytes {
					t.Errorf("second run: %+v", c)
				}
				sameTree(t, dir+"/src", dir+"/dst")
			})
		}
	}
}

// breaker kills each stream after some frames.
type breaker struct {
	transports.Endpoint
	frames int
}

func (b breaker) Accept(ctx context.Context) (transports.Stream, error) {
	s, err := b.Endpoint.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return &breaking{Stream: s, left: b.frames}, nil
}

type breaking struct {
	transports.Stream
	left int
}

func (b *breaking) Recv(f *transports.Frame) error {
	if b.left--; b.left < 0 {
		b.Close()
	}
	return b.Stream.Recv(f)
}

func TestStreamsThatBreak(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir+"/src")
	fill(t, dir+"/src/large", 30<<20)
	w := newWorld(dir+"/src", dir+"/dst")
	mk := w.endpoint
	w.endpoint = func() (a, b transports.Endpoint) {
		a, b = mk()
		return a, breaker{b, 20}
	}
	w.inside = true
	w.opts.StreamsMin = 3
	if err := w.run(t, t.Context()); err != nil {
		t.Fatal(err)
	}
	sameTree(t, dir+"/src", dir+"/dst")
	if len(w.rec.warns) == 0 {
		t.Error("no stream broke")
	}
}

// damager changes a byte of some frames behind the transport's back; of few, since
// a block that comes damaged again and again is given up, which is right.
type damager struct{ transports.Endpoint }

func (d damager) Accept(ctx context.Context) (transports.Stream, error) {
	s, err := d.Endpoint.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return &damaging{Stream: s}, nil
}

type damaging struct {
	transports.Stream
	n int
}

func (d *damaging) Recv(f *transports.Frame) error {
	err := d.Stream.Recv(f)
	if d.n++; err == nil && d.n%16 == 1 {
		f.Body()[len(f.Body())-1] ^= 1
	}
	return err
}

func TestDamagedFramesAreSentAgain(t *testing.T) {
	dir := t.TempDir()
	makeTree(t, dir+"/src")
	w := newWorld(dir+"/src", dir+"/dst")
	mk := w.endpoint
	w.endpoint = func() (a, b transports.Endpoint) {
		a, b = mk()
		return a, damager{b}
	}
	w.inside = true
	if err := w.run(t, t.Context()); err != nil {
		t.Fatal(err)
	}
	sameTree(t, dir+"/src", dir+"/dst")
	c := w.source.Totals()
	if w.source.work.sent.Load() <= c.Bytes {
		t.Error("nothing was sent again")
	}
}

// dam lets some frames through, and the others once it is opened: what has to happen in
// the middle of a job then does, however busy the machine is.
type dam struct {
	transports.Endpoint
	left *atomic.Int64
	open <-chan struct{}
}

func (d dam) Accept(ctx context.Context) (transports.Stream, error) {
	s, err := d.Endpoint.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return &dammed{s, d}, nil
}

type dammed struct {
	transports.Stream
	dam dam
}

func (d *dammed) Recv(f *transports.Frame) error {
	if d.dam.left.Add(-1) < 0 {
		<-d.dam.open
	}
	return d.Stream.Recv(f)
}

// damUp has a world's frames wait behind some of them until open is closed.
func damUp(w *world, frames int64, open <-chan struct{}) {
	mk, left := w.endpoint, new(atomic.Int64)
	left.Store(frames)
	w.endpoint = func() (a, b transports.Endpoint) {
		a, b = mk()
		return a, dam{b, left, open}
	}
}

func TestResumeSendsOnlyWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	const size = 40 << 20
	fill(t, dir+"/f", size)
	dst := dir + "/g"
	ctx, cancel := context.WithCancel(t.Context())
	w := newWorld(dir+"/f", dst)
	damUp(w, 80, ctx.Done())
	w.onStart = func(w *world) {
		go func() {
			for w.sink.Totals().Verified < 15<<20 {
				time.Sleep(time.Millisecond)
			}
			cancel()
		}()
	}
	if err := w.run(t, ctx); err == nil {
		t.Fatal("ended well although it was stopped")
	}
	if _, err := os.Stat(dst); err == nil {
		t.Fatal("a final name after half a run")
	}
	kept := w.sink.Totals().Verified
	w = newWorld(dir+"/f", dst)
	if err := w.run(t, t.Context()); err != nil {
		t.Fatal(err)
	}
	sameTree(t, dir+"/f", dst)
	c := w.source.Totals()
	if c.Had != kept || w.source.work.sent.Load() != size-kept {
		t.Errorf("had %d of %d kept, sent %d", c.Had, kept, w.source.work.sent.Load())
	}
	if w.rec.count("resume") != 1 {
		t.Errorf("events %v", w.rec.files)
	}
	left, _ := filepath.Glob(dir + "/.gomover-*")
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSourceThatChangesIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir+"/src/f", 20<<20)
	fill(t, dir+"/src/g", 1000)
	w := newWorld(dir+"/src", dir+"/dst")
	w.inside = true
	changed := make(chan struct{})
	damUp(w, 30, changed)
	w.onStart = func(w *world) {
		go func() {
			defer close(changed)
			for w.sink.Totals().Verified < 5<<20 {
				time.Sleep(time.Millisecond)
			}
			f, _ := os.OpenFile(dir+"/src/f", os.O_WRONLY|os.O_APPEND, 0)
			f.Write([]byte("more"))
			f.Close()
		}()
	}
	if err := w.run(t, t.Context()); err != nil {
		t.Fatal(err, w.sinkErr)
	}
	sameTree(t, dir+"/src", dir+"/dst")
	if c := w.source.Totals(); c.DoneBytes != c.Bytes || c.DoneFiles != 2 {
		t.Errorf("totals %+v", c)
	}
}

// TestReadbackIsTold: who pushes hears which files were read again from storage.
func TestReadbackIsTold(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir+"/src/large", smallFile+1)
	fill(t, dir+"/src/small", 1000)
	w := newWorld(dir+"/src", dir+"/dst")
	w.inside, w.opts.Verify = true, "readback"
	if err := w.run(t, t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"large": "readback", "small": "wire"} {
		if got := w.rec.files[dir+"/src/"+name].Verified; got != want {
			t.Errorf("%s is verified by %q, want %q", name, got, want)
		}
	}
}
