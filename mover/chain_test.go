package mover

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/transports/pipe"
	"github.com/gomover/gomover/wire"
)

// TestMuxBounded: an end that sends very many very short messages does not fill the memory.
func TestMuxBounded(t *testing.T) {
	a, _ := engine.MemoryLink()
	l := newMux(a).open(1)
	n, b := 0, []byte{7}
	for l.put(b) == nil {
		if n++; n > maxQueued/messageCost {
			t.Fatalf("%d messages wait", n)
		}
	}
	for range n {
		if _, err := l.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	if l.queued != 0 {
		t.Errorf("%d bytes are counted in an empty queue", l.queued)
	}
}

// TestMux sends over several channels of one connection.
func TestMux(t *testing.T) {
	a, b := engine.MemoryLink()
	x, y := newMux(a), newMux(b)
	x0, x1, y0, y1 := x.open(0), x.open(1), y.open(0), y.open(1)
	go x.run()
	go y.run()
	for _, m := range []struct {
		to   *muxLink
		text string
	}{{x0, "one"}, {x1, "two"}, {x0, "three"}, {x.open(9), "nobody"}, {x1, "four"}} {
		if err := m.to.Send([]byte(m.text[:1]), []byte(m.text[1:])); err != nil {
			t.Fatal(err)
		}
	}
	got := func(l *muxLink) string {
		t.Helper()
		m, err := l.Recv()
		if err != nil {
			return err.Error()
		}
		return string(m)
	}
	if err := x1.Close(); err != nil {
		t.Error(err)
	}
	for i, want := range []string{"two", "four", "EOF", "EOF"} {
		if s := got(y1); s != want {
			t.Errorf("message %d of the second channel is %q, want %q", i, s, want)
		}
	}
	if s := got(y0) + got(y0); s != "onethree" {
		t.Errorf("on the first channel came %q", s)
	}
	if err := x1.Send([]byte("x")); err != io.ErrClosedPipe {
		t.Errorf("sending after the end: %v", err)
	}
	if err := y0.Send([]byte("back")); err != nil || got(x0) != "back" {
		t.Errorf("the way back: %v", err)
	}
	a.Close()
	<-x.over
	<-y.over
	if s := got(y0); s != "EOF" {
		t.Errorf("after the connection: %q", s)
	}
	if _, err := y.open(3).Recv(); err == nil {
		t.Error("a channel opened after the connection works")
	}
}

// TestMuxHostile ends a connection whose other end floods it or breaks the form.
func TestMuxHostile(t *testing.T) {
	for name, send := range map[string]func(l engine.Link) error{
		"empty": func(l engine.Link) error { return l.Send() },
		"flood": func(l engine.Link) (err error) {
			for b := append([]byte{0}, make([]byte, 1<<20)...); err == nil; err = l.Send(b) {
			}
			return nil
		},
	} {
		a, b := engine.MemoryLink()
		m := newMux(a)
		m.open(0)
		go m.run()
		if err := send(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		<-m.over
	}
}

// TestChainOrder looks at who goes behind whom.
func TestChainOrder(t *testing.T) {
	c := newChain()
	ctx := context.Background()
	join := func(name string) *node {
		a, _ := engine.MemoryLink()
		m := newMux(a)
		go m.run()
		t.Cleanup(func() { a.Close(); <-m.over })
		return c.join(name, m)
	}
	behind := func(n, want *node, id uint8) {
		t.Helper()
		got, at := n.before(ctx)
		if got != want || want != nil && at != id {
			t.Errorf("%s is behind %+v at %d", n.name, got, at)
		}
	}
	n1, n2, n3 := join("n1"), join("n2"), join("n3")
	behind(n1, nil, 0)
	waited := make(chan struct{})
	go func() { defer close(waited); behind(n2, n1, 2) }()
	n1.begin()
	<-waited
	n2.begin()
	behind(n3, n2, 2)
	n3.begin()
	// n2 is lost, and n3 with it; both come back.
	n2.release()
	n2.leave()
	n3.leave()
	m3, m2 := join("n3 again"), join("n2 again")
	behind(m3, n1, 3)
	m3.begin()
	behind(m2, m3, 2)
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if n, _ := join("late").before(ended); n != nil {
		t.Errorf("behind %s, though the run has ended", n.name)
	}
	gone := make(chan struct{})
	go func() { defer close(gone); n1.drain(ctx) }()
	m3.release()
	<-gone
	if len(c.nodes) != 3 {
		t.Errorf("%d nodes are left, want 3", len(c.nodes))
	}
}

// TestChainBlock: the slower a hop, the smaller the blocks.
func TestChainBlock(t *testing.T) {
	for rate, want := range map[int64]int64{0: 64 << 10, 1 << 40: 64 << 10, 24 << 20: 64 << 10, 3e6: 32 << 10, 1e6: 16 << 10, 1: 16 << 10} {
		if got := chainBlock(rate); got != want {
			t.Errorf("%d bytes per second: %d, want %d", rate, got, want)
		}
	}
	if o := (engine.Options{Least: chainLeast}); !o.ValidBlocks() {
		t.Errorf("blocks of %d bytes are none", o.Least)
	}
}

// TestChainApart has a path between two hosts of a chain end: the second one goes behind
// another one, or is served from here, also when it comes back.
func TestChainApart(t *testing.T) {
	c := newChain()
	join := func(name string) *node {
		a, _ := engine.MemoryLink()
		m := newMux(a)
		go m.run()
		t.Cleanup(func() { a.Close(); <-m.over })
		n := c.join(name, m)
		n.begin()
		return n
	}
	n1, n2 := join("n1"), join("n2")
	first, id := n2.before(t.Context())
	if first != n1 {
		t.Fatalf("n2 is behind %+v", first)
	}
	b := &behind{d: &director{chain: c}, first: first, id: id, link: &startLink{muxLink: n2.m.open(chanOwn), n: n2}, up: first.m.open(id), ended: make(chan *wire.Fail, 1)}
	b.answer(answer{Chan: id, End: true, Fail: wire.Failf(wire.ClassLost, "all data connections were lost")})
	if err := b.Run(t.Context()); err != errBefore {
		t.Errorf("n2 ended with %v", err)
	}
	n2.release()
	n2.leave()
	n2 = join("n2")
	if got, _ := n2.before(t.Context()); got != nil {
		t.Errorf("n2 is behind %s again", got.name)
	}
	n3 := join("n3")
	if got, _ := n3.before(t.Context()); got != n2 {
		t.Errorf("n3 is behind %+v", got)
	}
	n2.leave()
	if got, _ := join("n2").before(t.Context()); got != n3 {
		t.Errorf("n2 is behind %+v, not n3", got)
	}
}

// TestChainSilent has agents fall silent without a broken connection: those behind them
// go elsewhere, and nobody is taken for silent who was heard a moment ago.
func TestChainSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain()
		ctx := context.Background()
		beats := make(map[*node]chan struct{}) // closed: its agent says nothing more
		join := func(name string) *node {
			a, b := engine.MemoryLink()
			m := newMux(a)
			go m.run()
			n, quiet := c.join(name, m), make(chan struct{})
			go func() {
				(&passer{m: &mux{conn: b, over: quiet}, control: newMux(b).open(chanControl)}).beat()
			}()
			beats[n] = quiet
			t.Cleanup(func() { a.Close(); <-m.over })
			n.begin()
			return n
		}
		silent := func(want ...*node) {
			t.Helper()
			for n := range beats {
				is := false
				select {
				case <-n.silent:
					is = true
				default:
				}
				if is != slices.Contains(want, n) {
					t.Errorf("%s is silent: %v", n.name, is)
				}
			}
		}
		n1, n2, n3 := join("n1"), join("n2"), join("n3")
		for _, x := range []struct{ n, want *node }{{n1, nil}, {n2, n1}, {n3, n2}} {
			if got, _ := x.n.before(ctx); got != x.want {
				t.Errorf("%s is behind %+v", x.n.name, got)
			}
		}
		time.Sleep(time.Minute)
		silent()
		close(beats[n2])
		time.Sleep(1500 * time.Millisecond)
		silent()
		time.Sleep(750 * time.Millisecond)
		silent(n2)
		n3.release()
		n3.leave()
		back := join("n2")
		again := join("n3")
		if got, _ := again.before(ctx); got != n1 {
			t.Errorf("n3 is behind %s, not the one before the silent one", got.name)
		}
		n2.release() // once more: n1 serves the other one
		if got, _ := join("n4").before(ctx); got != again {
			t.Errorf("n4 is behind %s", got.name)
		}
		if got, _ := back.before(ctx); got != nil {
			t.Errorf("n2 is behind %s", got.name)
		}
		for n, quiet := range beats {
			if n != n2 {
				close(quiet)
			}
		}
	})
}

// line runs a source and n sinks of which each passes on to the next, within this
// process, and returns how long it took. rate is in bytes per second.
func line(t *testing.T, from string, to []string, rate int64, change func(i int, d store.Dest) store.Dest) (time.Duration, []error) {
	t.Helper()
	o := engine.Options{JobID: "abc", Rate: rate, NoInband: true, StreamsMin: 2, StreamsMax: 2}
	r := readSpec{Sources: []sourceSpec{{Path: []byte(from), Inside: true, Shown: from}}, Recursive: true}
	roots, err := openSources(&r, func(text, path string) { t.Errorf("%s: %s", path, text) })
	if err != nil {
		t.Fatal(err)
	}
	defer closeSources(roots)
	errs := make([]error, len(to))
	var wg sync.WaitGroup
	began := time.Now()
	la, lb := engine.MemoryLink()
	ea, eb := pipe.Pair()
	first := engine.NewSource(o, engine.Paths{Endpoint: ea, DialFirst: true}, la, roots, nil)
	wg.Go(func() {
		if err := first.Run(context.Background()); err != nil {
			la.Close()
		}
	})
	for i, dir := range to {
		tg := target(&writeSpec{Path: []byte(dir), Shown: dir, Slash: true}, o.JobID, o.Attrs, nil)
		if change != nil {
			open := tg.Open
			tg.Open = func(root string, create bool) (store.Dest, error) {
				d, err := open(root, create)
				return change(i, d), err
			}
		}
		p := newTap(o, tg)
		defer p.close()
		sink := engine.NewSink(o, engine.Paths{Endpoint: eb}, tapLink{lb, p}, p.aim(), nil)
		link := lb
		wg.Go(func() {
			if errs[i] = sink.Run(context.Background()); errs[i] != nil {
				p.end(errs[i])
			}
			link.Close()
		})
		if i == len(to)-1 {
			break
		}
		pass := &passing{p: p}
		next, far := engine.MemoryLink()
		ea, eb = pipe.Pair()
		src := engine.NewSource(o, engine.Paths{Endpoint: ea, DialFirst: true}, passLink{next, pass}, []engine.SourceRoot{{Store: &passingRoot{r: pass}, Inside: true}}, nil)
		wg.Go(func() {
			if err := src.Run(context.Background()); err != nil {
				next.Close()
			}
			pass.end()
		})
		lb = far
	}
	wg.Wait()
	return time.Since(began), errs
}

// places makes n destinations.
func places(t *testing.T, n int) (l []string) {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		l = append(l, filepath.Join(dir, fmt.Sprint(i)))
	}
	return l
}

// TestPassOn sends a tree along a line of sinks: all are as the source, and a line
// takes hardly longer than one hop.
func TestPassOn(t *testing.T) {
	from := t.TempDir()
	files := map[string][]byte{"empty": nil, "sub/small": []byte("small"), "sub/middle": bytes.Repeat([]byte("middle"), 50000)}
	files["big"] = bytes.Repeat([]byte("0123456789abcde"), 400000)
	all := 0
	for name, data := range files {
		p := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, data, 0o644); err != nil {
			t.Fatal(err)
		}
		all += len(data)
	}
	const rate = 16 << 20
	to := places(t, 8)
	took, errs := line(t, from, to, rate, nil)
	for i, dir := range to {
		if errs[i] != nil {
			t.Errorf("sink %d: %v", i, errs[i])
		}
		for name, data := range files {
			if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(b, data) {
				t.Errorf("sink %d: %s has %d bytes, want %d (%v)", i, name, len(b), len(data), err)
			}
		}
	}
	ideal := time.Duration(float64(all) / rate * float64(time.Second))
	t.Logf("%d sinks: %v, %.2f of size/rate", len(to), took, took.Seconds()/ideal.Seconds())
	if took > 6*ideal { // passed on whole, it would be eight
		t.Errorf("it took %v; one hop takes %v", took, ideal)
	}
}

// refusing is a destination that takes no large files.
type refusing struct{ store.Dest }

func (refusing) OpenPartial(name string) (store.WriteFile, bool, error) {
	return nil, false, fmt.Errorf("opening: %w", os.ErrPermission)
}

// TestPassOnFails has a file that the first sink can't write: the others do not get
// it either, and nobody waits for ever.
func TestPassOnFails(t *testing.T) {
	from := t.TempDir()
	for name, n := range map[string]int{"small": 10, "big": 3 << 20} {
		if err := os.WriteFile(filepath.Join(from, name), make([]byte, n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	to := places(t, 3)
	_, errs := line(t, from, to, 0, func(i int, d store.Dest) store.Dest {
		if i == 0 {
			return refusing{d}
		}
		return d
	})
	for i, dir := range to {
		if errs[i] != nil {
			t.Errorf("sink %d: %v", i, errs[i])
		}
		if b, err := os.ReadFile(filepath.Join(dir, "small")); err != nil || len(b) != 10 {
			t.Errorf("sink %d has %d bytes of the small file (%v)", i, len(b), err)
		}
		if _, err := os.Stat(filepath.Join(dir, "big")); err == nil {
			t.Errorf("sink %d has what the first could not write", i)
		}
		if l, err := filepath.Glob(filepath.Join(dir, ".gomover-*")); err != nil || len(l) > 0 && i == 0 {
			t.Errorf("sink %d: %s is left (%v)", i, strings.Join(l, " "), err)
		}
	}
}

// TestPassOnOld has a file at the first sink that looks like the source's and is
// not: it is not passed on.
func TestPassOnOld(t *testing.T) {
	from, to := t.TempDir(), places(t, 2)
	when := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	if err := os.Mkdir(to[0], 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct{ path, text string }{{filepath.Join(from, "f"), "right"}, {filepath.Join(to[0], "f"), "wrong"}, {filepath.Join(from, "g"), "new"}} {
		if err := os.WriteFile(f.path, []byte(f.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(f.path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	_, errs := line(t, from, to, 0, nil)
	if errs[0] != nil || errs[1] != nil {
		t.Error(errs)
	}
	if b, err := os.ReadFile(filepath.Join(to[1], "f")); err == nil {
		t.Errorf("%q was passed on", b)
	}
	if b, err := os.ReadFile(filepath.Join(to[1], "g")); err != nil || string(b) != "new" {
		t.Errorf("of the other file came %q (%v)", b, err)
	}
}
