package pull_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/internal/leak"
	"github.com/gomover/gomover/replica"
	"github.com/gomover/gomover/replica/pull"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/store/osfs"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

const piece = 100_000

// content is what the good places have: 50 pieces and a bit.
var content = func() []byte {
	b := make([]byte, 50*piece+1234)
	for i := range b {
		b[i] = byte(i*i>>7 ^ i>>11)
	}
	return b
}()

// memory is a place in memory.
type memory struct {
	data     []byte
	whole    bool // gives no parts
	openErr  error
	modTime  int64
	nameless bool // gives neither tag nor date
	// ranged, unless nil, sees each request and may refuse it.
	ranged func(ctx context.Context, offset, n int64) error

	mu    sync.Mutex
	given int64 // bytes
}

func (m *memory) Open(context.Context) (pull.Facts, error) {
	facts := pull.Facts{Size: int64(len(m.data)), Ranges: !m.whole, Version: "1", ModTime: m.modTime, Latency: time.Millisecond}
	if m.nameless {
		facts.Version = ""
	}
	return facts, m.openErr
}

func (m *memory) Range(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
	if m.whole && (offset != 0 || n != int64(len(m.data))) {
		return nil, final("no ranges here")
	}
	if m.ranged != nil {
		if err := m.ranged(ctx, offset, n); err != nil {
			return nil, err
		}
	}
	return &reader{m: m, ctx: ctx, r: bytes.NewReader(m.data[offset : offset+n])}, nil
}

type reader struct {
	m   *memory
	ctx context.Context
	r   io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.r.Read(p)
	r.m.mu.Lock()
	r.m.given += int64(n)
	r.m.mu.Unlock()
	return n, err
}

func (*reader) Close() error { return nil }

// final is an error after which nobody asks again.
type final string

func (f final) Error() string { return string(f) }
func (final) Final() bool     { return true }

func good() *memory { return &memory{data: content} }

// changed is the content with some bytes changed.
func changed(at ...int) *memory {
	b := bytes.Clone(content)
	for _, i := range at {
		b[i] ^= 1
	}
	return &memory{data: b}
}

// stale has the same size and other bytes everywhere.
func stale() *memory {
	b := bytes.Clone(content)
	for i := range b {
		b[i]++
	}
	return &memory{data: b}
}

// pieces is the check of a list with piece hashes.
func pieces() pull.Check {
	return pull.Check{Known: true, Size: int64(len(content)), PieceLen: piece, ID: "content", Piece: func(i int64, data []byte) bool {
		return sha256.Sum256(data) == sha256.Sum256(content[i*piece:min(len(content), int(i+1)*piece)])
	}}
}

// hashed is the check of a list with a hash of the whole.
func hashed() pull.Check {
	return pull.Check{Known: true, Size: int64(len(content)), Whole: func() (io.Writer, func() bool) {
		h := sha256.New()
		return h, func() bool { return [32]byte(h.Sum(nil)) == sha256.Sum256(content) }
	}}
}

// bench is a destination and what was told.
type bench struct {
	t    *testing.T
	dir  string
	dest store.Dest

	mu   sync.Mutex
	said []string
	more *sync.Cond // said grew
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	dest, err := osfs.NewDest(dir, osfs.DestOptions{JobID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dest.Close() })
	b := &bench{t: t, dir: dir, dest: dest}
	b.more = sync.NewCond(&b.mu)
	return b
}

// run pulls f from places called a, b, c ...
func (b *bench) run(ctx context.Context, j pull.Job, places ...*memory) (pull.Result, error) {
	b.t.Helper()
	for i, m := range places {
		j.Places = append(j.Places, pull.Place{Name: string(rune('a' + i)), Source: m})
	}
	j.Dest, j.Name = b.dest, "f"
	j.Attrs.Times = true
	j.Warn = func(_, text string) {
		b.mu.Lock()
		b.said = append(b.said, text)
		b.more.Broadcast()
		b.mu.Unlock()
	}
	return pull.New(j).Run(ctx)
}

// told tells whether some warning holds a text.
func (b *bench) told(text string) bool { return strings.Contains(strings.Join(b.said, "\n"), text) }

// await lets a place wait until all of some texts were told, so that it does not
// bring everything before the others had their turn.
func (b *bench) await(m *memory, texts []string) {
	m.ranged = func(ctx context.Context, _, _ int64) error {
		stop := context.AfterFunc(ctx, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.more.Broadcast()
		})
		defer stop()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, text := range texts {
			for !b.told(text) && ctx.Err() == nil {
				b.more.Wait()
			}
		}
		return ctx.Err()
	}
}

// right fails unless f has the content and nothing unfinished is left.
func (b *bench) right(r pull.Result, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("%v; %q", err, b.said)
	}
	got, err := os.ReadFile(filepath.Join(b.dir, "f"))
	if err != nil || !bytes.Equal(got, content) {
		b.t.Fatalf("%d bytes are here, not the content: %v", len(got), err)
	}
	if r.Hash != integrity.Whole(content) && !r.Skipped {
		b.t.Errorf("hash %v", r.Hash)
	}
	if all, _ := filepath.Glob(filepath.Join(b.dir, ".gomover-*")); len(all) > 0 {
		b.t.Errorf("left behind: %v", all)
	}
}

// nothing fails if f is there.
func (b *bench) nothing() {
	b.t.Helper()
	if _, err := os.Stat(filepath.Join(b.dir, "f")); err == nil {
		b.t.Error("something stands under the final name")
	}
}

// full is a destination whose disk is so full that no journal can be written.
type full struct{ store.Dest }

func (d full) OpenJournal(name string) (store.AppendFile, error) {
	f, err := d.Dest.OpenJournal(name)
	return fullJournal{f}, err
}

type fullJournal struct{ store.AppendFile }

func (fullJournal) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestFullFromTheStart: what could not be begun leaves nothing behind, and what an
// earlier run has left stays.
func TestFullFromTheStart(t *testing.T) {
	b := newBench(t)
	whole := b.dest
	left := func() int {
		all, _ := filepath.Glob(filepath.Join(b.dir, ".gomover-*"))
		return len(all)
	}
	b.dest = full{whole}
	if _, err := b.run(t.Context(), pull.Job{Check: pieces()}, good()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	if n := left(); n != 0 {
		t.Errorf("%d files are left behind", n)
	}
	w, _, err := whole.OpenPartial("f")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.run(t.Context(), pull.Job{Check: pieces()}, good()); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	if n := left(); n == 0 {
		t.Error("what was there before is gone")
	}
}

func TestAllGood(t *testing.T) {
	b := newBench(t)
	a, c, d := good(), good(), good()
	r, err := b.run(t.Context(), pull.Job{Check: pieces()}, a, c, d)
	b.right(r, err)
	if r.Verified != "pieces" || len(b.said) > 0 {
		t.Errorf("%+v, %q", r, b.said)
	}
	sum := int64(0)
	for _, p := range r.Places {
		sum += p.Bytes
	}
	if sum != int64(len(content)) {
		t.Errorf("%d bytes from all, want %d: %+v", sum, len(content), r.Places)
	}
	// Again: it is here.
	r, err = b.run(t.Context(), pull.Job{Check: pieces()}, &memory{openErr: errors.New("off")})
	if b.right(r, err); !r.Skipped {
		t.Error("fetched again")
	}
	// Not if it is damaged.
	if err := os.WriteFile(filepath.Join(b.dir, "f"), stale().data, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err = b.run(t.Context(), pull.Job{Check: pieces()}, good())
	if b.right(r, err); r.Skipped {
		t.Error("a damaged file is taken")
	}
}

func TestBadReplicas(t *testing.T) {
	tests := []struct {
		name   string
		check  pull.Check
		places []*memory
		told   []string
	}{
		{"a byte flipped", pieces(), []*memory{changed(5), good()}, nil},
		{"all but one block wrong", pieces(), []*memory{good(), stale()}, []string{"b left out: sends wrong bytes"}},
		{"truncated", pieces(), []*memory{good(), {data: content[:len(content)-1]}}, []string{"b left out: size 5001233, it should be 5001234"}},
		{"flipped, stale, truncated and good", pieces(), []*memory{changed(1), stale(), {data: content[:5]}, good()}, []string{"b left out: sends wrong bytes", "c left out: size 5"}},
		{"the only one is wrong once, then right", pieces(), []*memory{good()}, nil},
		{"refuses", pieces(), []*memory{{data: content, ranged: func(context.Context, int64, int64) error { return final("403") }}, good()}, []string{"a left out: 403"}},
		{"does not open", pieces(), []*memory{{data: content, openErr: final("404")}, good()}, []string{"a left out: 404"}},
		{"no ranges beside others", pieces(), []*memory{{data: content, whole: true}, good()}, []string{"a left out: it cannot be asked for parts"}},
		{"no ranges alone", pieces(), []*memory{{data: content, whole: true}}, nil},
		{"whole hash, a mixture is wrong", hashed(), []*memory{stale(), good(), stale()}, []string{"not the right whole", "a left out: its content has another hash"}},
		{"whole hash, first one's size wrong", hashed(), []*memory{{data: content[1:]}, good()}, []string{"a left out: size"}},
		{"whole hash, no ranges", hashed(), []*memory{{data: content, whole: true}}, nil},
		{"nothing known, majority", pull.Check{}, []*memory{good(), {data: content[2:]}, good()}, []string{"b left out: size 5001232, the others have 5001234", "only a is used"}},
		{"nothing known, first refuses", pull.Check{}, []*memory{{data: content, ranged: func(context.Context, int64, int64) error { return final("403") }}, good()}, []string{"a left out: 403"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			for i, m := range test.places {
				// Those that are not to be left out let the others come first.
				told := strings.Contains(strings.Join(test.told, "\n"), string(rune('a'+i))+" left out")
				if test.check.PieceLen > 0 && !told && !m.whole {
					b.await(m, test.told)
				}
			}
			r, err := b.run(t.Context(), pull.Job{Check: test.check}, test.places...)
			b.right(r, err)
			for _, text := range test.told {
				if !b.told(text) {
					t.Errorf("%q is not in %q", text, b.said)
				}
			}
		})
	}
}

func TestNoneIsRight(t *testing.T) {
	tests := []struct {
		name   string
		check  pull.Check
		places []*memory
		want   error
	}{
		{"all stale", pieces(), []*memory{stale(), stale()}, replica.ErrNoReplica},
		{"stale, truncated, refuses", pieces(), []*memory{stale(), {data: content[:9]}, {data: content, ranged: func(context.Context, int64, int64) error { return final("403") }}}, replica.ErrNoReplica},
		{"all truncated", pieces(), []*memory{{data: content[:5]}, {}}, replica.ErrNoReplica},
		{"one block is wrong everywhere", pieces(), []*memory{changed(9), changed(9), changed(9)}, replica.ErrNoReplica},
		{"whole hash", hashed(), []*memory{changed(5), stale()}, pull.ErrWrong},
		{"another BLAKE3", pull.Check{Root: integrity.Whole(content).String()}, []*memory{changed(5)}, pull.ErrWrong},
		{"two sizes", pull.Check{}, []*memory{good(), {data: content[1:]}}, replica.ErrDisagree},
		{"none opens", hashed(), []*memory{{openErr: final("404")}}, replica.ErrNoReplica},
		{"nobody", pieces(), nil, replica.ErrNoReplica},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			_, err := b.run(t.Context(), pull.Job{Check: test.check}, test.places...)
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			b.nothing()
		})
	}
}

func TestTrust(t *testing.T) {
	b := newBench(t)
	r, err := b.run(t.Context(), pull.Job{Trust: true, Seed: 7}, good(), stale(), good())
	b.right(r, err)
	if r.Verified != "sampled" || !b.told("b left out: same size, but its sampled blocks differ") {
		t.Errorf("%s, %q", r.Verified, b.said)
	}
	r, err = b.run(t.Context(), pull.Job{Force: true}, good())
	if b.right(r, err); r.Verified != "none" {
		t.Errorf("%s", r.Verified)
	}
}

func TestSkipsByDate(t *testing.T) {
	b := newBench(t)
	m := good()
	m.modTime = 1_500_000_000e9
	r, err := b.run(t.Context(), pull.Job{}, m)
	b.right(r, err)
	r, err = b.run(t.Context(), pull.Job{}, m)
	if b.right(r, err); !r.Skipped {
		t.Error("fetched again")
	}
	m.modTime += 1e9
	r, err = b.run(t.Context(), pull.Job{}, m)
	if b.right(r, err); r.Skipped {
		t.Error("not fetched although it changed")
	}
}

func TestResume(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped")
	m := good()
	m.ranged = func(ctx context.Context, offset, _ int64) error {
		if offset > int64(len(content)/2) {
			cancel(stop)
			return ctx.Err()
		}
		return nil
	}
	if _, err := b.run(ctx, pull.Job{Check: pieces(), Streams: 1}, m); !errors.Is(err, stop) {
		t.Fatalf("%v", err)
	}
	b.nothing()
	other := good()
	r, err := b.run(t.Context(), pull.Job{Check: pieces()}, other)
	b.right(r, err)
	if r.Had == 0 || other.given+r.Had > int64(len(content))+10*piece {
		t.Errorf("%d bytes were here, %d were fetched of %d", r.Had, other.given, len(content))
	}
}

// TestResumesNoStranger: what nothing names may be another object by now.
func TestResumesNoStranger(t *testing.T) {
	for _, nameless := range []bool{false, true} {
		b := newBench(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stopped")
		old := changed(0)
		old.nameless = nameless
		old.ranged = func(ctx context.Context, offset, _ int64) error {
			if offset > int64(len(content)/2) {
				cancel(stop)
				return ctx.Err()
			}
			return nil
		}
		if _, err := b.run(ctx, pull.Job{Streams: 1}, old); !errors.Is(err, stop) {
			t.Fatalf("%v", err)
		}
		now := good()
		now.nameless = nameless
		r, err := b.run(t.Context(), pull.Job{}, now)
		if !nameless {
			// The place says that it is the same.
			if err != nil || r.Had == 0 {
				t.Errorf("%d bytes were here, %v", r.Had, err)
			}
			continue
		}
		if b.right(r, err); r.Had != 0 {
			t.Errorf("%d bytes of what may be another object were taken", r.Had)
		}
	}
}

func TestTroubles(t *testing.T) {
	// One breaks after a while and stays broken, one answers nothing any more, one
	// breaks every third request.
	var mu sync.Mutex
	n := 0
	breaks := good()
	breaks.ranged = func(_ context.Context, offset, _ int64) error {
		if offset > int64(len(content)/3) {
			return errors.New("connection reset")
		}
		return nil
	}
	hangs := good()
	hangs.ranged = func(ctx context.Context, offset, _ int64) error {
		if offset > int64(len(content)/3) {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	shaky := good()
	shaky.ranged = func(context.Context, int64, int64) error {
		mu.Lock()
		defer mu.Unlock()
		if n++; n%3 == 0 {
			return errors.New("connection reset")
		}
		return nil
	}
	b := newBench(t)
	r, err := b.run(t.Context(), pull.Job{Check: pieces()}, breaks, hangs, shaky)
	b.right(r, err)
}

func TestGivesUp(t *testing.T) {
	m := good()
	m.ranged = func(context.Context, int64, int64) error { return errors.New("connection reset") }
	b := newBench(t)
	if _, err := b.run(t.Context(), pull.Job{Check: pieces(), GiveUp: time.Second}, m); !errors.Is(err, pull.ErrLost) {
		t.Errorf("%v", err)
	}
	b.nothing()
}

// TestTurns: a place that does not deliver any more does not keep others waiting
// that could.
func TestTurns(t *testing.T) {
	breaks := good()
	breaks.ranged = func(_ context.Context, offset, _ int64) error {
		if offset > 0 {
			return errors.New("connection reset")
		}
		return nil
	}
	b := newBench(t)
	r, err := b.run(t.Context(), pull.Job{GiveUp: time.Hour, Patience: time.Second}, breaks, good())
	b.right(r, err)
	if !b.told("a left out: nothing came for 1s") {
		t.Errorf("%q", b.said)
	}
}

// TestReplacesFilesOnly: a directory and a socket stay what they are.
func TestReplacesFilesOnly(t *testing.T) {
	for name, occupy := range map[string]func(path string) error{
		"is a directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"is a device, a pipe or a socket": func(path string) error {
			l, err := net.Listen("unix", path)
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		},
	} {
		b := newBench(t)
		path := filepath.Join(b.dir, "f")
		if err := occupy(path); err != nil {
			t.Fatal(err)
		}
		for _, force := range []bool{false, true} {
			if _, err := b.run(t.Context(), pull.Job{Force: force}, good()); err == nil || !strings.HasPrefix(err.Error(), name) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if info, err := os.Lstat(path); err != nil || info.Mode().IsRegular() {
			t.Errorf("%s was replaced: %v", name, err)
		}
	}
}

func TestSizes(t *testing.T) {
	for _, n := range []int{0, 1, piece - 1, piece, piece + 1} {
		b := newBench(t)
		data := content[:n]
		for _, check := range []pull.Check{{}, {Known: true, Size: int64(n), PieceLen: 1 << 16, Piece: func(i int64, p []byte) bool {
			return bytes.Equal(p, data[i<<16:min(n, int(i+1)<<16)])
		}}} {
			r, err := b.run(t.Context(), pull.Job{Check: check, Force: true}, &memory{data: data})
			got, rerr := os.ReadFile(filepath.Join(b.dir, "f"))
			if err != nil || rerr != nil || !bytes.Equal(got, data) || r.Hash != integrity.Whole(data) {
				t.Errorf("%d bytes: %d came, %v, %v", n, len(got), err, rerr)
			}
		}
	}
}

func TestState(t *testing.T) {
	b := newBench(t)
	m := good()
	var p *pull.Pull
	seen := false
	m.ranged = func(context.Context, int64, int64) error {
		s := p.State()
		seen = seen || s.Ready && s.Size == int64(len(content)) && s.Done > 0 && len(s.Plan.Shares) == 1
		return nil
	}
	p = pull.New(pull.Job{Places: []pull.Place{{Name: "a", Source: m}}, Check: pieces(), Dest: b.dest, Name: "f", Streams: 1})
	r, err := p.Run(t.Context())
	b.right(r, err)
	if s := p.State(); !seen || s.Done != int64(len(content)) {
		t.Errorf("seen %t, %+v", seen, s)
	}
}
