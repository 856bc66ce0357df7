package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gomover/gomover/store/osfs"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// deafLink is a sink's link that keeps quiet about what has come by a cast.
type deafLink struct{ Link }

func (l deafLink) Send(parts ...[]byte) error {
	if wire.Kind(parts[0][0]) == wire.KindStored {
		m, err := wire.ParseStored(parts[0][1:])
		if err != nil {
			return err
		}
		m = slices.DeleteFunc(m, func(c wire.StreamCount) bool { return c.Stream == 1<<30 })
		parts = [][]byte{m.Append(nil)}
	}
	return l.Link.Send(parts...)
}

// gapStream leaves frames out.
type gapStream struct {
	*reel
	n, from, to int
}

func (s *gapStream) Recv(f *transports.Frame) error {
	for {
		if err := s.reel.Recv(f); err != nil {
			return err
		}
		if s.n++; s.n <= s.from || s.n > s.to {
			return nil
		}
	}
}

// soon waits until something is so.
func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not %s", what)
		}
	}
}

// alone has a source send a block of the file at the head of its queue by itself, and
// waits for that.
func alone(t *testing.T, s *Source, block int64) {
	t.Helper()
	f, _ := s.sched.castHead(1 << 30)
	s.sched.leaveAlone(1<<30, f, block)
	soon(t, "one block sent alone", func() bool {
		s.sched.mu.Lock()
		defer s.sched.mu.Unlock()
		return s.work.sent.Load() > 0 || f.gone
	})
}

// TestCastChangedLate changes a file when all of it was read and its sinks know so, but
// lack some of it: what is read again must not come beside what was read before.
func TestCastChangedLate(t *testing.T) {
	dir := t.TempDir()
	src := dir + "/src"
	const size = 8 << 20
	fill(t, src+"/large", size)
	c := newCrowd(t, src, dir+"/a", dir+"/b")
	for _, w := range c.worlds {
		w.opts.OnChange = "fail" // else it comes again, and mends that
		w.wrapLink = func(a, b Link) (Link, Link) { return a, deafLink{b} }
	}
	cast := c.start()
	r := &roll{log: cast}
	r.cond = sync.NewCond(&r.mu)
	for _, w := range c.worlds {
		w.sink.Take(&gapStream{reel: r.stream(-1), from: 3, to: 6})
		alone(t, w.source, 10) // so that it has the file open before it changes
	}
	c.play(cast, r)
	for _, w := range c.worlds {
		soon(t, "all but three blocks there", func() bool {
			w.sink.mu.Lock()
			defer w.sink.mu.Unlock()
			for _, f := range w.sink.files {
				f.mu.Lock()
				defer f.mu.Unlock()
				return f.unchanged && f.left == 3
			}
			return false
		})
	}
	if err := os.WriteFile(src+"/large", bytes.Repeat([]byte("new "), size/4), 0o644); err != nil {
		t.Fatal(err)
	}
	cast.Close()
	c.wg.Wait()
	for i, w := range c.worlds {
		if c.errs[i] != nil || w.sinkErr != nil {
			t.Fatal(i, c.errs[i], w.sinkErr)
		}
		if _, err := os.Stat(w.target.Path + "/large"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("destination %d has a file that never was, %v", i, err)
		}
	}
}

// TestCastReplaced replaces a file by another one of its name while it is sent together,
// and has a source read a block of it by itself: that is of the new file, the rest of
// the old one.
func TestCastReplaced(t *testing.T) {
	dir := t.TempDir()
	src := dir + "/src"
	const size = 8 << 20
	fill(t, src+"/large", size)
	before, err := os.ReadFile(src + "/large")
	if err != nil {
		t.Fatal(err)
	}
	after := bytes.Repeat([]byte("new "), size/4)
	c := newCrowd(t, src, dir+"/a", dir+"/b")
	cast := c.start()
	r := &roll{log: cast}
	r.cond = sync.NewCond(&r.mu)
	for _, w := range c.worlds {
		w.sink.Take(r.stream(-1))
	}
	for range 4 {
		n, err := cast.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.grow(n, false)
	}
	if err := os.WriteFile(dir+"/other", after, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+"/other", src+"/large"); err != nil {
		t.Fatal(err)
	}
	alone(t, c.worlds[0].source, 10)
	c.play(cast, r)
	c.wg.Wait()
	cast.Close()
	for i, w := range c.worlds {
		if c.errs[i] != nil || w.sinkErr != nil {
			t.Fatal(i, c.errs[i], w.sinkErr)
		}
		got, err := os.ReadFile(w.target.Path + "/large")
		if err != nil || !bytes.Equal(got, before) && !bytes.Equal(got, after) {
			t.Errorf("destination %d has neither the file before nor the one after, %v", i, err)
		}
	}
}

// TestOpenFilesReplaced opens a file anew that was listed anew, and not as another one.
func TestOpenFilesReplaced(t *testing.T) {
	dir := t.TempDir()
	st, err := osfs.NewSource(dir, osfs.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	list := func(content string) *wire.Entry {
		if err := os.WriteFile(dir+"/new", []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(dir+"/new", dir+"/f"); err != nil {
			t.Fatal(err)
		}
		r, err := st.Open("f")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		now, err := r.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return &wire.Entry{Name: "f", Size: now.Size, ModTime: now.ModTime, Ino: now.Ino}
	}
	o := openFiles{roots: []SourceRoot{{Store: st}}, strict: true}
	defer o.close()
	b := make([]byte, 5)
	old := list("first")
	if _, err := o.read(old, 0, b); err != nil || string(b) != "first" {
		t.Fatalf("read %q, %v", b, err)
	}
	if _, err := o.read(list("again"), 0, b); err != nil || string(b) != "again" {
		t.Errorf("read %q of the file that replaced it, %v", b, err)
	}
	o.close()
	var what notListed
	if _, err := o.read(old, 0, b); !errors.As(err, &what) {
		t.Errorf("read %q as what is not there any more, %v", b, err)
	}
}

// TestCastPay sets a limit when much was sent without one.
func TestCastPay(t *testing.T) {
	s := NewSource(Options{Shared: true}, Paths{}, nil, nil, nil)
	limit := NewLimit(0)
	s.Join(Common{Limit: limit})
	cast := NewCast(1<<30, nil, []*Source{s})
	defer cast.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := cast.Pay(ctx, 1<<40, 1000); err != nil {
		t.Fatal(err)
	}
	limit.Set(10_000_000)
	for i := range int64(3) {
		if err := cast.Pay(ctx, 1<<40+1000*i, 1000); err != nil {
			t.Fatalf("what was sent before counts: %v", err)
		}
	}
}

// TestTakenStream ends a stream beside the endpoint: what came by it is confirmed, and
// it stands for none of the endpoint's.
func TestTakenStream(t *testing.T) {
	a, b := MemoryLink()
	defer a.Close()
	e := &dialCounter{}
	s := NewSink(Options{Shared: true}, Paths{Endpoint: e}, b, Target{}, nil)
	r := &recvStream{id: 1 << 30, st: (&roll{cond: sync.NewCond(new(sync.Mutex))}).stream(-1), beside: true}
	s.streams[inbandID], s.streams[r.id] = &recvStream{id: inbandID, st: s.inband}, r
	s.dial(t.Context(), 2)
	if e.n != 2 {
		t.Errorf("%d streams are made, want 2", e.n)
	}
	if _, err := a.Recv(); err != nil { // why none was made
		t.Fatal(err)
	}
	r.count.Store(7)
	s.streamEnded(r, io.EOF)
	if err := s.confirmNow(); err != nil {
		t.Fatal(err)
	}
	s.confirmNow()
	if err := b.Send([]byte{byte(wire.KindPing)}); err != nil {
		t.Fatal(err)
	}
	msg, err := a.Recv()
	if want := (wire.Stored{{Stream: r.id, Frames: 7}}).Append(nil); err != nil || !bytes.Equal(msg, want) {
		t.Errorf("told %x, want %x, %v", msg, want, err)
	}
	if msg, err = a.Recv(); err != nil || wire.Kind(msg[0]) != wire.KindPing {
		t.Errorf("then told %x, %v", msg, err)
	}
}

// dialCounter is an endpoint that makes no stream.
type dialCounter struct {
	mu sync.Mutex // guards what follows
	n  int
}

func (e *dialCounter) Offer() transports.Offer { return transports.Offer{} }
func (e *dialCounter) Dial(context.Context, transports.Offer, uint32) (transports.Stream, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n++
	return nil, errors.New("none")
}
func (e *dialCounter) Accept(ctx context.Context) (transports.Stream, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
func (e *dialCounter) Close() error { return nil }
