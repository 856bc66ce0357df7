package peer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/internal/leak"
	"github.com/gomover/gomover/replica/peer"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/store/osfs"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/pipe"
	"github.com/gomover/gomover/wire"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

const block = 1 << 20

func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*i>>5 ^ i>>13)
	}
	return b
}

// pair is a server of a directory and a client of it.
type pair struct {
	t      *testing.T
	dir    string
	client *peer.Client
	server *peer.Server
	ended  chan error // what Run returned; capacity 1
	stop   context.CancelFunc
	ctx    context.Context
	wg     sync.WaitGroup
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t, dir: t.TempDir(), ended: make(chan error, 1)}
	open := func(path string) peer.Root {
		return peer.Root{Shown: path, Open: func() (store.Source, error) { return osfs.NewSource(path, osfs.SourceOptions{}) }}
	}
	a, b := net.Pipe()
	p.server = peer.NewServer(framing.New(a), []peer.Root{open(p.dir), open(filepath.Join(p.dir, "f")), open(filepath.Join(p.dir, "none"))})
	p.client = peer.NewClient(framing.New(b))
	p.ctx, p.stop = context.WithCancel(context.Background())
	ends, far := pipe.Pair()
	p.server.Dial = func(ctx context.Context, n int) error {
		for i := range n {
			st, err := far.Dial(ctx, transports.Offer{}, uint32(i))
			if err != nil {
				return err
			}
			p.wg.Go(func() { p.server.Serve(p.ctx, st) })
		}
		return nil
	}
	p.wg.Go(func() { p.ended <- p.server.Run(p.ctx) })
	p.wg.Go(func() {
		for {
			st, err := ends.Accept(p.ctx)
			if err != nil {
				return
			}
			p.client.Add(st)
		}
	})
	t.Cleanup(p.close)
	return p
}

func (p *pair) close() {
	p.client.Close()
	p.stop()
	p.wg.Wait()
}

func (p *pair) put(name string, data []byte) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) open(root int, name string) *peer.File {
	p.t.Helper()
	f, err := p.client.Open(p.t.Context(), root, name)
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

func TestRanges(t *testing.T) {
	for _, way := range []string{"inside", "streams"} {
		t.Run(way, func(t *testing.T) {
			p := newPair(t)
			data := content(3*block + 77)
			p.put("f", data)
			p.put("empty", nil)
			if way == "inside" {
				p.client.AddInside()
			} else if err := p.client.Dial(t.Context(), 3); err != nil {
				t.Fatal(err)
			}
			f := p.open(0, "f")
			if f.Size != int64(len(data)) {
				t.Fatalf("size %d", f.Size)
			}
			if e := p.open(0, "empty"); e.Size != 0 {
				t.Errorf("an empty file has %d bytes", e.Size)
			}
			var wg sync.WaitGroup
			for b := int64(0); b*block < f.Size; b++ {
				wg.Go(func() {
					off := b * block
					want := data[off:min(off+block, f.Size)]
					r, err := f.Range(t.Context(), off, int64(len(want)), block)
					if err != nil {
						t.Error(err)
						return
					}
					defer r.Close()
					got, err := io.ReadAll(r)
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("block %d: %d bytes, %v", b, len(got), err)
					}
					if sum, ok := r.Sum(off); !ok || sum != integrity.Block(want, off, f.Size) {
						t.Errorf("block %d: sum %v, %t", b, sum, ok)
					}
				})
			}
			wg.Wait()
			r, err := f.Range(t.Context(), 5, 2*block, 0)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data[5:5+2*block]) {
				t.Errorf("a range across blocks: %d bytes, %v", len(got), err)
			}
			r.Close()
			sums, err := f.Sums(t.Context(), block, 1, 3)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range sums {
				off := int64(i+1) * block
				if s != integrity.Block(data[off:min(off+block, f.Size)], off, f.Size) {
					t.Errorf("sum of block %d is wrong", i+1)
				}
			}
			if _, err := p.client.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	p := newPair(t)
	p.put("f", content(block))
	p.client.AddInside()
	for _, c := range []struct {
		root int
		name string
		want string
	}{{0, "none", "no such file or directory"}, {2, "", "no such file or directory"}, {0, "../f", "name leaves the destination"}, {9, "f", "there is no root 9"}, {0, "", ""}} {
		_, err := p.client.Open(t.Context(), c.root, c.name)
		var r *peer.Refused
		if !errors.As(err, &r) || !r.Final() || c.want != "" && !bytes.Contains([]byte(r.Text), []byte(c.want)) {
			t.Errorf("opening %d %q: %v, want %s", c.root, c.name, err, c.want)
		}
	}
	f := p.open(1, "")
	for _, c := range []struct{ off, n, block int64 }{{0, block + 1, 0}, {1, 5, block}, {0, 5, block}, {0, block, 1000}} {
		r, err := f.Range(t.Context(), c.off, c.n, c.block)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); err == nil {
			t.Errorf("%+v was given", c)
		}
		r.Close()
	}
	f.Close()
	if _, err := f.Sums(t.Context(), block, 0, 1); err == nil {
		t.Error("sums of a closed file")
	}
	if err := p.client.List(t.Context(), 2, func(wire.Entry) error { return nil }); err == nil {
		t.Error("listed what is not there")
	}
}

func TestList(t *testing.T) {
	p := newPair(t)
	want := make(map[string]bool)
	for i := range 1500 {
		name := filepath.Join("d", string(rune('a'+i%20)), "n"+string(rune('0'+i%10))+string(rune('a'+i/100)))
		p.put(name, []byte("x"))
		want[name] = true
	}
	got := 0
	err := p.client.List(t.Context(), 0, func(e wire.Entry) error {
		if store.Kind(e.Kind) == store.File {
			if !want[e.Name] || e.Size != 1 {
				t.Errorf("%+v", e)
			}
			got++
		}
		return nil
	})
	if err != nil || got != len(want) {
		t.Errorf("%d files of %d, %v", got, len(want), err)
	}
	t.Log("# who stops in the middle does not hold up others")
	stop := errors.New("stop")
	if err := p.client.List(t.Context(), 0, func(wire.Entry) error { return stop }); err != stop {
		t.Error(err)
	}
	if _, err := p.client.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestChangedFile(t *testing.T) {
	p := newPair(t)
	p.put("f", content(4*block))
	p.client.AddInside()
	f := p.open(0, "f")
	p.put("f", content(4*block+1))
	r, err := f.Range(t.Context(), 0, 2*block, block)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = io.ReadAll(r)
	var refused *peer.Refused
	if !errors.As(err, &refused) || refused.Class != wire.ClassChanged || !refused.Final() {
		t.Errorf("a file that changed: %v", err)
	}
	if _, err := f.Sums(t.Context(), block, 0, 1); !errors.As(err, &refused) || refused.Class != wire.ClassChanged {
		t.Errorf("its sums: %v", err)
	}
}

// TestCancel: what is taken back does not hold up what is asked for behind it.
func TestCancel(t *testing.T) {
	p := newPair(t)
	data := content(24 * block)
	p.put("f", data)
	if err := p.client.Dial(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for n := 0; n == 0; n, _ = p.client.Streams() {
		runtime.Gosched() // it was made there, and is about to come here
	}
	f := p.open(0, "f")
	for i := range 8 {
		r, err := f.Range(t.Context(), 0, 24*block, block)
		if err != nil {
			t.Fatal(err)
		}
		second, err := f.Range(t.Context(), block, block, block)
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		r.Close()
		if got, err := io.ReadAll(second); err != nil || !bytes.Equal(got, data[block:2*block]) {
			t.Fatalf("behind what was taken back: %d bytes, %v", len(got), err)
		}
		second.Close()
	}
	if n, _ := p.client.Streams(); n != 1 {
		t.Errorf("%d streams are left", n)
	}
}

func TestLostLink(t *testing.T) {
	p := newPair(t)
	p.put("f", content(8*block))
	p.client.AddInside()
	f := p.open(0, "f")
	r, err := f.Range(t.Context(), 0, 8*block, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p.stop()
	if err := <-p.ended; err != context.Canceled {
		t.Errorf("the server ended with %v", err)
	}
	if _, err := io.ReadAll(r); err == nil {
		t.Error("all was read without a server")
	}
	<-p.client.Done()
	if _, err := p.client.Open(t.Context(), 0, "f"); err == nil {
		t.Error("opened without a server")
	}
	if _, err := f.Range(t.Context(), 0, 1, 0); !errors.Is(err, peer.ErrNoStream) {
		t.Errorf("asked without a server: %v", err)
	}
}

// TestSilence: an end that hears nothing more from the other one gives up.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer a.Close()
		go func() { _, _ = io.Copy(io.Discard, a) }()
		c := peer.NewClient(framing.New(b))
		defer c.Close()
		began := time.Now()
		<-c.Done()
		if d := time.Since(began); d < 25*time.Second || d > 40*time.Second {
			t.Errorf("the client gave up after %v", d)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		began := time.Now()
		err := peer.NewServer(framing.New(a), nil).Run(t.Context())
		var f *wire.Fail
		if d := time.Since(began); !errors.As(err, &f) || f.Class != wire.ClassLost || d < 50*time.Second || d > 70*time.Second {
			t.Errorf("the server ended after %v with %v", d, err)
		}
	})
}

// As much as may be asked for at once is asked for on one stream.
func TestFetchMany(t *testing.T) {
	p := newPair(t)
	data := content(64 << 10)
	p.put("d/f", data)
	if err := p.client.Dial(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	var m wire.Fetch
	if err := p.client.List(t.Context(), 0, func(x wire.Entry) error {
		if x.Name == "d/f" {
			m = wire.Fetch{Name: x.Name, Size: x.Size, ModTime: x.ModTime, Ino: x.Ino, Length: x.Size}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	begin := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 500 {
		m := m
		m.SumOnly = i%2 == 0
		var buf []byte
		if !m.SumOnly {
			buf = make([]byte, m.Length)
		}
		wg.Go(func() {
			<-begin
			if _, err := p.client.Fetch(t.Context(), m, buf, func(int) {}); err != nil {
				t.Error(err)
			}
		})
	}
	close(begin)
	wg.Wait()
}

func TestFetch(t *testing.T) {
	for _, way := range []string{"inside", "streams"} {
		t.Run(way, func(t *testing.T) {
			p := newPair(t)
			data := content(3*block + 77)
			p.put("d/f", data)
			if way == "inside" {
				p.client.AddInside()
			} else if err := p.client.Dial(t.Context(), 3); err != nil {
				t.Fatal(err)
			}
			var e wire.Entry
			kinds := make(map[string]byte)
			if err := p.client.List(t.Context(), 0, func(x wire.Entry) error {
				kinds[x.Name] = x.Kind
				if x.Name == "d/f" {
					e = x
				}
				return nil
			}); err != nil || kinds[""] != byte(store.Dir) || kinds["d"] != byte(store.Dir) || e.Size != int64(len(data)) {
				t.Fatalf("listed %v, %v", kinds, err)
			}
			m := wire.Fetch{Name: "d/f", Size: e.Size, ModTime: e.ModTime, Ino: e.Ino}
			var wg sync.WaitGroup
			for b := int64(0); b*block < e.Size; b++ {
				m := m
				m.Offset, m.Length = b*block, min(block, e.Size-b*block)
				want := data[m.Offset : m.Offset+m.Length]
				wg.Go(func() {
					got, n := make([]byte, m.Length), 0
					sum, err := p.client.Fetch(t.Context(), m, got, func(k int) { n += k })
					if err != nil || !bytes.Equal(got, want) || n != len(want) || sum != integrity.Block(want, m.Offset, e.Size) {
						t.Errorf("block %d: %d bytes, sum %v, %v", b, n, sum, err)
					}
					m.SumOnly = true
					again, err := p.client.Fetch(t.Context(), m, nil, func(int) { t.Error("bytes came") })
					if err != nil || again != sum {
						t.Errorf("block %d: sum %v and then %v, %v", b, sum, again, err)
					}
				})
			}
			wg.Wait()
			for name, bad := range map[string]wire.Fetch{
				"another size": {Name: "d/f", Size: 5, Length: 5}, "another time": {Name: "d/f", Size: e.Size, ModTime: 1, Length: 5},
				"another file": {Name: "d/f", Size: e.Size, ModTime: e.ModTime, Ino: e.Ino + 1, Length: 5}, "no file": {Name: "d/x", Size: 5, Length: 5},
				"a directory": {Name: "d", Size: 5, Length: 5}, "out of the tree": {Name: "../f", Size: 5, Length: 5}, "no block": {Name: "d/f", Size: e.Size, ModTime: e.ModTime, Offset: 5, Length: 5},
			} {
				var refused *peer.Refused
				if _, err := p.client.Fetch(t.Context(), bad, make([]byte, bad.Length), func(int) {}); !errors.As(err, &refused) {
					t.Errorf("%s: %v", name, err)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			m.Length = block
			if _, err := p.client.Fetch(ctx, m, make([]byte, block), func(int) {}); !errors.Is(err, context.Canceled) {
				t.Errorf("nobody waits: %v", err)
			}
		})
	}
}
