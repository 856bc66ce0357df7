package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gomover/gomover/store/osfs"
	"github.com/gomover/gomover/transports"
)

// roll is the log of a cast on its way to sinks.
type roll struct {
	mu    sync.Mutex // guards what follows
	cond  *sync.Cond
	log   io.ReaderAt
	size  int64
	ended bool
}

func (r *roll) grow(n int64, end bool) (size int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size, r.ended = r.size+n, r.ended || end
	r.cond.Broadcast()
	return r.size
}

// reel is a stream that brings a roll to one sink.
type reel struct {
	r      *roll
	at     int64
	frames int             // that come before it breaks; -1: it does not
	spoil  func(b []byte)  // what is done to a frame
	broken chan struct{}   // closed when it breaks
	closed context.Context // by Close
	end    context.CancelFunc
}

func (r *roll) stream(frames int) *reel {
	s := &reel{r: r, frames: frames, broken: make(chan struct{})}
	s.closed, s.end = context.WithCancel(context.Background())
	return s
}

func (s *reel) ID() uint32                       { return 1 << 30 }
func (s *reel) Send(*transports.Frame) error     { return errors.ErrUnsupported }
func (s *reel) Stats() transports.Stats          { return transports.Stats{} }
func (s *reel) Retune(transports.Settings) error { return nil }
func (s *reel) Close() error                     { s.end(); s.r.grow(0, false); return nil }
func (s *reel) Recv(f *transports.Frame) error {
	s.r.mu.Lock()
	for s.at >= s.r.size && !s.r.ended && s.closed.Err() == nil {
		s.r.cond.Wait()
	}
	size := s.r.size
	s.r.mu.Unlock()
	switch {
	case s.closed.Err() != nil:
		return io.ErrClosedPipe
	case s.frames == 0:
		close(s.broken)
		s.frames--
		return io.ErrUnexpectedEOF
	case s.at >= size:
		return io.EOF
	}
	s.frames--
	var head [lengthLen]byte
	s.r.log.ReadAt(head[:], s.at)
	b := f.Resize(int(binary.BigEndian.Uint32(head[:])))
	s.r.log.ReadAt(b, s.at+lengthLen)
	s.at += lengthLen + int64(len(b))
	if s.spoil != nil {
		s.spoil(b)
	}
	return nil
}

// crowd is one source for each of several destinations of one tree.
type crowd struct {
	t      *testing.T
	src    string
	worlds []*world
	free   chan struct{}
	errs   []error
	wg     sync.WaitGroup
}

func newCrowd(t *testing.T, src string, dsts ...string) *crowd {
	c := &crowd{t: t, src: src, free: make(chan struct{}), errs: make([]error, len(dsts))}
	for _, d := range dsts {
		w := newWorld(src, d)
		w.inside, w.opts.Shared = true, true
		c.worlds = append(c.worlds, w)
	}
	return c
}

// start starts all, and makes a cast of them.
func (c *crowd) start() *Cast {
	c.t.Helper()
	cast := c.begin(len(c.worlds))
	close(c.free)
	return cast
}

// begin starts all, which send nothing until free is closed, and makes a cast of the
// first n.
func (c *crowd) begin(n int) *Cast {
	c.t.Helper()
	st, err := osfs.NewSource(c.src, osfs.SourceOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { st.Close() })
	var up sync.WaitGroup
	for i, w := range c.worlds {
		up.Add(1)
		w.onStart = func(w *world) {
			w.source.Join(Common{Hold: func(ctx context.Context) error {
				select {
				case <-c.free:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}})
			up.Done()
		}
		c.wg.Go(func() { c.errs[i] = w.run(c.t, c.t.Context()) })
	}
	up.Wait()
	var list []*Source
	for _, w := range c.worlds {
		list = append(list, w.source)
	}
	for all := false; !all; time.Sleep(time.Millisecond) {
		_, all = Wants(list) // else what one knows late goes to it alone
	}
	return NewCast(1<<30, []SourceRoot{{Store: st, Inside: true, Shown: c.src}}, list[:n])
}

// play sends all of a cast to streams, and gives how long the log has become.
func (c *crowd) play(cast *Cast, r *roll) int64 {
	c.t.Helper()
	for {
		n, err := cast.Next(c.t.Context())
		if errors.Is(err, io.EOF) {
			return r.grow(0, true)
		}
		if err != nil {
			c.t.Fatal(err)
		}
		r.grow(n, false)
		cast.Release()
	}
}

// TestCast sends a tree to four destinations at once, of which one has the largest
// file already, the stream of one breaks, and that of one damages frames.
func TestCast(t *testing.T) {
	dir := t.TempDir()
	src := dir + "/src"
	makeTree(t, src)
	fill(t, src+"/huge", 30<<20)
	dsts := []string{dir + "/a", dir + "/b", dir + "/c", dir + "/d"}
	if err := os.CopyFS(dsts[1], os.DirFS(src)); err == nil {
		t.Log("# links are copied, too")
	}
	for _, name := range []string{"/big", "/mid", "/d0", "/d1", "/d2", "/d3", "/d4"} {
		os.RemoveAll(dsts[1] + name)
	}
	info, err := os.Stat(src + "/huge")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(dsts[1]+"/huge", info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	c := newCrowd(t, src, dsts...)
	cast := c.start()
	r := &roll{log: cast}
	r.cond = sync.NewCond(&r.mu)
	streams := make([]*reel, len(dsts))
	for i, w := range c.worlds {
		streams[i] = r.stream(map[int]int{2: 20}[i] - 1)
		w.sink.Take(streams[i])
	}
	spoiled := 0
	streams[3].spoil = func(b []byte) {
		if len(b) > 1000 && spoiled < 5 {
			spoiled++
			b[len(b)-1] ^= 1
		}
	}
	go func() {
		<-streams[2].broken
		cast.Drop(2)
	}()
	size := c.play(cast, r)
	c.wg.Wait()
	cast.Close()
	if most := int64(42 << 20); size > most {
		t.Errorf("%d bytes went into the log, not %d at most", size, most)
	}
	for i, w := range c.worlds {
		if c.errs[i] != nil || w.sinkErr != nil {
			t.Fatal(i, c.errs[i], w.sinkErr)
		}
		sameTree(t, src, dsts[i])
		k := w.source.Totals()
		if k.DoneBytes != k.Bytes || k.DoneFiles != k.Files {
			t.Errorf("destination %d: %+v", i, k)
		}
		// Two get all by the cast, or nearly; one takes back what was under way.
		if most := []int64{1 << 20, 1 << 20, 45 << 20, 3 << 20}[i]; k.Sent > most {
			t.Errorf("destination %d was sent %d bytes by itself", i, k.Sent)
		}
	}
	if n := c.worlds[3].source.Totals().Repaired; n != int64(spoiled) {
		t.Errorf("%d frames were repaired, %d damaged", n, spoiled)
	}
}

// TestCastLog reads a log again whose frames are in memory no longer.
func TestCastLog(t *testing.T) {
	dir := t.TempDir()
	src := dir + "/src"
	makeTree(t, src)
	fill(t, src+"/huge", 3*castKept/2)
	c := newCrowd(t, src, dir+"/a", dir+"/b")
	cast := c.start()
	var want []byte
	for {
		n, err := cast.Next(t.Context())
		if err != nil {
			break
		}
		b := make([]byte, n)
		cast.ReadAt(b, int64(len(want)))
		want = append(want, b...)
	}
	if cast.log.kept > castKept || cast.log.frames[0].body != nil {
		t.Errorf("%d bytes are kept, the first frame too: %t", cast.log.kept, cast.log.frames[0].body != nil)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		at := r.IntN(len(want))
		b := make([]byte, min(len(want)-at, 1+r.IntN(20_000)))
		if n, err := cast.ReadAt(b, int64(at)); n != len(b) || err != nil || !slices.Equal(b, want[at:at+n]) {
			t.Fatalf("%d bytes at %d of %d: read %d, the right ones: %t, %v", len(b), at, len(want), n, slices.Equal(b, want[at:at+len(b)]), err)
		}
	}
	// What a transport vouches for may begin before the frames that are lacking.
	next := cast.log.frames[90].off
	cast.log.release(90)
	near := make([]byte, castSlack)
	if cast.ReadAt(near, next-castSlack); cast.log.first == 0 || !slices.Equal(near, want[next-castSlack:next]) {
		t.Errorf("released before frame %d, and the bytes before frame 90 are the right ones: %t", cast.log.first, slices.Equal(near, want[next-castSlack:next]))
	}
	// What cannot be read any more comes as zeros.
	if err := os.Truncate(src+"/huge", 10); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2*DefaultBlock)
	if n, err := cast.ReadAt(b, int64(len(want)/4)); n != len(b) || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
	cast.log.release(20)
	if n, err := cast.ReadAt(b[:100], int64(len(want)-50)); n != 100 || err != nil || !slices.Equal(b[:50], want[len(want)-50:]) {
		t.Errorf("read %d at the end, %v", n, err)
	}
	cast.Close() // nobody got anything by it
	c.wg.Wait()
}

// TestCastChanges changes files while they are sent together.
func TestCastChanges(t *testing.T) {
	dir := t.TempDir()
	src := dir + "/src"
	fill(t, src+"/large", 8<<20)
	fill(t, src+"/other", 2<<20)
	c := newCrowd(t, src, dir+"/a", dir+"/b")
	cast := c.start()
	r := &roll{log: cast}
	r.cond = sync.NewCond(&r.mu)
	for _, w := range c.worlds {
		w.sink.Take(r.stream(-1))
	}
	for i := range 3 {
		n, err := cast.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.grow(n, false)
		if i == 1 {
			cast.Suspend()
			cast.Resume()
		}
	}
	fill(t, src+"/large", 8<<20+1)
	c.play(cast, r)
	c.wg.Wait()
	cast.Close()
	for i, w := range c.worlds {
		if c.errs[i] != nil || w.sinkErr != nil {
			t.Fatal(i, c.errs[i], w.sinkErr)
		}
		sameTree(t, src, w.target.Path)
	}
}

func TestBlockListRemove(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int64{1, 64, 1000} {
		for _, set := range []bool{false, true} {
			in := make(map[int64]bool)
			var ext [][2]int64
			for b := int64(0); b < n; b++ {
				if in[b] = n == 1 || r.IntN(3) > 0; in[b] {
					if k := len(ext) - 1; k >= 0 && ext[k][1] == b && !set {
						ext[k][1]++
					} else {
						ext = append(ext, [2]int64{b, b + 1})
					}
				}
			}
			l := newBlockList(ext, n)
			for range 3 * n {
				b := r.Int64N(n)
				if l.has(b) != in[b] || l.remove(b) != in[b] {
					t.Fatalf("block %d of %d: there %t, want %t", b, n, l.has(b), in[b])
				}
				in[b] = false
				if l.left > 0 {
					first := l.first()
					if !in[first] || l.take() != first {
						t.Fatalf("the first block of %d is %d", n, first)
					}
					in[first] = false
				}
			}
			for b, there := range in {
				if there && l.left == 0 {
					t.Fatalf("block %d is lost", b)
				}
			}
		}
	}
}

// TestCastKept sends very small files: what the log keeps takes the memory that it counts.
func TestCastKept(t *testing.T) {
	dir := t.TempDir()
	for i := range 20 {
		fill(t, fmt.Sprintf("%s/src/f%d", dir, i), 1+i)
	}
	c := newCrowd(t, dir+"/src", dir+"/a", dir+"/b")
	cast := c.start()
	r := &roll{log: cast}
	r.cond = sync.NewCond(&r.mu)
	for _, w := range c.worlds {
		w.sink.Take(r.stream(-1))
	}
	n, err := cast.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cast.log.mu.Lock()
	kept := 0
	for _, f := range cast.log.frames {
		kept += cap(f.body)
	}
	if int64(kept) > 2*cast.log.kept {
		t.Errorf("%d bytes of memory for %d", kept, cast.log.kept)
	}
	cast.log.mu.Unlock()
	r.grow(n, false)
	c.play(cast, r)
	c.wg.Wait()
	cast.Close()
	for i, w := range c.worlds {
		if c.errs[i] != nil || w.sinkErr != nil {
			t.Fatal(i, c.errs[i], w.sinkErr)
		}
	}
}
