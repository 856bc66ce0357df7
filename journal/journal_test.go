package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/gomover/gomover/journal"
)

// memFile is a file in memory that can be told to fail.
type memFile struct {
	mu     sync.Mutex
	data   []byte
	synced int  // bytes that a crash leaves
	writes int  // calls of Write so far
	failAt int  // the Write to fail, from 1; 0: none
	short  int  // bytes that the failing Write still writes
	stuck  bool // Truncate fails as well
	closed bool
}

var errDisk = errors.New("no space left on device")

func (f *memFile) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	if f.writes++; f.writes == f.failAt {
		n := min(f.short, len(p))
		f.data = append(f.data, p[:n]...)
		return n, errDisk
	}
	f.data = append(f.data, p...)
	return len(p), nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(f.data).ReadAt(p, off)
}
func (f *memFile) Size() (int64, error) { return int64(len(f.data)), nil }
func (f *memFile) Sync() error          { f.synced = len(f.data); return nil }
func (f *memFile) Close() error         { f.closed = true; return nil }
func (f *memFile) Truncate(n int64) error {
	if f.stuck {
		return errDisk
	}
	f.data = f.data[:n:n]
	return nil
}

var head = journal.Header{
	JobID: [16]byte{1, 2, 3}, Size: 1000*4096 + 17, ModTime: 1700000000123456789,
	Ino: 77, BlockSize: 4096, Hash: "blake3", Name: "dir/f\xff.dat",
}

func sum(block int64, version byte) (s [32]byte) {
	for i := range s {
		s[i] = byte(block>>(i%4*8)) + version*31 + byte(i)
	}
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func recorded(s *journal.State) map[int64][32]byte {
	m := map[int64][32]byte{}
	last := int64(-1)
	for b, h := range s.Recorded() {
		if b <= last {
			panic(fmt.Sprintf("block %d after %d", b, last))
		}
		last = b
		m[b] = h
	}
	return m
}

func TestWriteAndReplay(t *testing.T) {
	f := &memFile{}
	j, err := journal.Create(f, head)
	check(t, err)
	for _, b := range []int64{5, 4, 3, 900, 1000, 5} {
		j.Add(b, sum(b, 1))
	}
	j.Add(1001, sum(0, 0)) // outside the file
	j.Add(-1, sum(0, 0))
	check(t, j.Mark(nil))
	j.Add(6, sum(6, 1))
	j.Add(4, sum(4, 2)) // written again after the mark
	check(t, j.Close())

	j, s, err := journal.Open(&memFile{data: f.data})
	check(t, err)
	if s.Header != head {
		t.Errorf("header %+v, want %+v", s.Header, head)
	}
	if s.Clean || s.Cut != 0 || s.Count() != 6 {
		t.Errorf("clean %v, cut %d, count %d; want false, 0, 6", s.Clean, s.Cut, s.Count())
	}
	want := map[int64][32]byte{
		3: sum(3, 1), 4: sum(4, 2), 5: sum(5, 1), 6: sum(6, 1), 900: sum(900, 1), 1000: sum(1000, 1),
	}
	if got := recorded(s); len(got) != len(want) {
		t.Errorf("recorded %d blocks, want %d", len(got), len(want))
	}
	for b, h := range want {
		if got, ok := s.Sum(b); !ok || got != h {
			t.Errorf("block %d: %x %v, want %x", b, got, ok, h)
		}
		if got, want := s.Synced(b), b != 6 && b != 4; got != want {
			t.Errorf("block %d synced: %v, want %v", b, got, want)
		}
	}
	for _, b := range []int64{-1, 0, 7, 1001, 1 << 60} {
		if _, ok := s.Sum(b); ok || s.Synced(b) {
			t.Errorf("block %d is claimed", b)
		}
	}
	check(t, j.CloseClean(nil))
}

func TestCleanEnd(t *testing.T) {
	f := &memFile{}
	j, err := journal.Create(f, head)
	check(t, err)
	j.Add(1, sum(1, 1))
	synced := 0
	check(t, j.CloseClean(func() error { synced++; return nil }))
	if synced != 1 || !f.closed {
		t.Errorf("synced %d times, closed %v; want once, true", synced, f.closed)
	}
	j, s, err := journal.Open(f)
	check(t, err)
	if !s.Clean || !s.Synced(1) {
		t.Errorf("clean %v, synced %v; want both", s.Clean, s.Synced(1))
	}
	f.closed = false
	j.Add(2, sum(2, 1))
	check(t, j.Flush())
	_, s, err = journal.Open(f)
	check(t, err)
	if s.Clean || !s.Synced(1) || s.Synced(2) {
		t.Errorf("after more: clean %v, synced %v %v; want false, true, false", s.Clean, s.Synced(1), s.Synced(2))
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if err := j.Flush(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("flush after close: %v", err)
	}
}

// A block whose data may have been written after the caller's sync began must
// not count as synced.
func TestMarkCoversOnlyWhatCameBefore(t *testing.T) {
	f := &memFile{}
	j, err := journal.Create(f, head)
	check(t, err)
	j.Add(1, sum(1, 1))
	check(t, j.Mark(func() error {
		j.Add(2, sum(2, 1))
		return j.Flush()
	}))
	_, s, err := journal.Open(&memFile{data: f.data})
	check(t, err)
	if !s.Synced(1) || s.Synced(2) {
		t.Errorf("synced %v %v, want true false", s.Synced(1), s.Synced(2))
	}
	check(t, j.CloseClean(func() error { j.Add(3, sum(3, 1)); return j.Flush() }))
	_, s, err = journal.Open(&memFile{data: f.data})
	check(t, err)
	if s.Clean || !s.Synced(2) || s.Synced(3) {
		t.Errorf("clean %v, synced %v %v; want false true false", s.Clean, s.Synced(2), s.Synced(3))
	}
}

func TestMarkFails(t *testing.T) {
	f := &memFile{}
	j, err := journal.Create(f, head)
	check(t, err)
	j.Add(1, sum(1, 1))
	if err := j.Mark(func() error { return errDisk }); !errors.Is(err, errDisk) {
		t.Errorf("mark: %v, want the error of sync", err)
	}
	_, s, err := journal.Open(&memFile{data: f.data})
	check(t, err)
	if _, ok := s.Sum(1); !ok || s.Synced(1) {
		t.Errorf("recorded %v, synced %v; want true, false", ok, s.Synced(1))
	}
}

// run writes a journal of many records and returns its bytes.
func run(t *testing.T, seed uint64) (data []byte, claims map[int64][][32]byte) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 2))
	f := &memFile{}
	j, err := journal.Create(f, head)
	check(t, err)
	claims = map[int64][][32]byte{}
	for range 12 {
		at := r.Int64N(990)
		for i := range r.Int64N(5) + 1 {
			h := sum(at+i, byte(r.IntN(3)))
			claims[at+i] = append(claims[at+i], h)
			j.Add(at+i, h)
		}
		check(t, j.Flush())
		if r.IntN(3) == 0 {
			check(t, j.Mark(nil))
		}
	}
	check(t, j.CloseClean(nil))
	return f.data, claims
}

func TestEveryPrefixIsAJournal(t *testing.T) {
	data, claims := run(t, 1)
	count := int64(0)
	started := false
	for n := range len(data) + 1 {
		f := &memFile{data: slices.Clone(data[:n])}
		j, s, err := journal.Open(f)
		if errors.Is(err, journal.ErrForeign) && !started {
			continue
		}
		if err != nil {
			t.Fatalf("prefix of %d bytes: %v", n, err)
		}
		started = true
		if s.Count() < count {
			t.Fatalf("prefix of %d bytes claims %d blocks, a shorter one %d", n, s.Count(), count)
		}
		count = s.Count()
		onlyClaims(t, s, claims)
		if s.Clean != (n == len(data)) && s.Clean {
			t.Fatalf("prefix of %d bytes is clean", n)
		}
		// What was cut can be written on, and reads back.
		j.Add(0, sum(0, 9))
		check(t, j.Flush())
		_, s2, err := journal.Open(f)
		check(t, err)
		if h, ok := s2.Sum(0); !ok || h != sum(0, 9) || s2.Cut != 0 {
			t.Fatalf("prefix of %d bytes: written on, block 0 is %x %v, cut %d", n, h, ok, s2.Cut)
		}
	}
	if !started || count == 0 {
		t.Fatal("no prefix was a journal")
	}
}

// onlyClaims checks that s claims nothing that was never added.
func onlyClaims(t *testing.T, s *journal.State, claims map[int64][][32]byte) {
	t.Helper()
	for b, h := range s.Recorded() {
		if !slices.Contains(claims[b], h) {
			t.Fatalf("block %d is claimed with hash %x, which was never added", b, h)
		}
	}
}

func TestEveryFlippedByte(t *testing.T) {
	data, claims := run(t, 2)
	for i := range data {
		for _, bit := range []byte{0x01, 0x80} {
			bad := slices.Clone(data)
			bad[i] ^= bit
			_, s, err := journal.Open(&memFile{data: bad})
			if errors.Is(err, journal.ErrForeign) {
				continue
			}
			check(t, err)
			if s.Cut == 0 || s.Clean {
				t.Fatalf("byte %d changed: cut %d, clean %v; want a cut", i, s.Cut, s.Clean)
			}
			onlyClaims(t, s, claims)
		}
	}
}

// Remains of another journal behind the end must not be taken for a part of this
// one, even where sequence numbers go on.
func TestRemainsOfAnotherJournal(t *testing.T) {
	old := &memFile{}
	j, err := journal.Create(old, head)
	check(t, err)
	n := len(old.data)
	j.Add(1, sum(1, 1))
	check(t, j.Flush())
	other := head
	other.ModTime++
	f := &memFile{}
	_, err = journal.Create(f, other)
	check(t, err)
	f.data = append(f.data, old.data[n:]...)
	_, s, err := journal.Open(f)
	check(t, err)
	if s.Count() != 0 || s.Cut == 0 {
		t.Errorf("%d blocks of another journal are claimed", s.Count())
	}
}

func TestWriteErrors(t *testing.T) {
	for failAt := 2; failAt <= 5; failAt++ {
		for _, short := range []int{0, 1, 30} {
			f := &memFile{failAt: failAt, short: short}
			j, err := journal.Create(f, head)
			check(t, err)
			failures := 0
			for b := range int64(6) {
				j.Add(b, sum(b, 1))
				if err := j.Flush(); err != nil {
					if !errors.Is(err, errDisk) {
						t.Fatalf("flush: %v", err)
					}
					failures++
				}
			}
			check(t, j.Flush())
			_, s, err := journal.Open(&memFile{data: f.data})
			check(t, err)
			if failures != 1 || s.Count() != 6 || s.Cut != 0 {
				t.Errorf("write %d fails after %d bytes: %d failures, %d blocks, cut %d; want 1, 6, 0",
					failAt, short, failures, s.Count(), s.Cut)
			}
		}
	}
}

func TestStuckAfterError(t *testing.T) {
	f := &memFile{failAt: 2, short: 9, stuck: false}
	j, err := journal.Create(f, head)
	check(t, err)
	f.stuck = true
	j.Add(1, sum(1, 1))
	for range 2 {
		if err := j.Flush(); !errors.Is(err, errDisk) {
			t.Fatalf("flush: %v, want the error of the disk each time", err)
		}
	}
	_, s, err := journal.Open(&memFile{data: f.data})
	check(t, err)
	if s.Count() != 0 || s.Cut != 9 {
		t.Errorf("%d blocks, cut %d; want 0, 9", s.Count(), s.Cut)
	}
}

// Marks make claims outlive a crash that takes all that was not synced.
func TestCrashKeepsMarked(t *testing.T) {
	f := &memFile{}
	j, err := journal.Create(f, head)
	check(t, err)
	for b := range int64(50) {
		j.Add(b, sum(b, 1))
		check(t, j.Flush())
		if b%10 == 9 {
			check(t, j.Mark(nil))
		}
		_, s, err := journal.Open(&memFile{data: slices.Clone(f.data[:f.synced])})
		if b < 9 && errors.Is(err, journal.ErrForeign) {
			continue
		}
		check(t, err)
		for m := range (b + 1) / 10 * 10 {
			if !s.Synced(m) {
				t.Fatalf("after block %d a crash loses block %d", b, m)
			}
		}
	}
}

func TestManyGoroutines(t *testing.T) {
	f := &memFile{}
	j, err := journal.Create(f, head)
	check(t, err)
	var wg sync.WaitGroup
	for w := range int64(8) {
		wg.Go(func() {
			for b := w; b < 1001; b += 8 {
				j.Add(b, sum(b, 1))
				if b%50 == w {
					if err := j.Flush(); err != nil {
						t.Error(err)
					}
				}
				if b%200 == w {
					if err := j.Mark(nil); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	check(t, j.CloseClean(nil))
	_, s, err := journal.Open(&memFile{data: f.data})
	check(t, err)
	if s.Count() != 1001 || !s.Clean {
		t.Errorf("%d blocks, clean %v; want 1001, true", s.Count(), s.Clean)
	}
}

func TestLargeFlush(t *testing.T) {
	h := head
	h.Size, h.BlockSize = 200_000, 1
	f := &memFile{}
	j, err := journal.Create(f, h)
	check(t, err)
	for b := int64(199_999); b >= 0; b -= 2 {
		j.Add(b, sum(b, 1))
	}
	check(t, j.CloseClean(nil))
	_, s, err := journal.Open(&memFile{data: f.data})
	check(t, err)
	if s.Count() != 100_000 || s.Cut != 0 {
		t.Errorf("%d blocks, cut %d; want 100000, 0", s.Count(), s.Cut)
	}
}

func TestForeign(t *testing.T) {
	good := &memFile{}
	_, err := journal.Create(good, head)
	check(t, err)
	newer := slices.Clone(good.data)
	newer[9] = 2
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("this is not a journal at all, is it?"),
		"newer version": newer, "preamble only": good.data[:16], "torn header": good.data[:len(good.data)-1],
	} {
		f := &memFile{data: slices.Clone(data)}
		if _, _, err := journal.Open(f); !errors.Is(err, journal.ErrForeign) {
			t.Errorf("%s: %v, want ErrForeign", name, err)
		}
		if !bytes.Equal(f.data, data) {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func TestBadHeaders(t *testing.T) {
	for name, change := range map[string]func(h *journal.Header){
		"negative size":   func(h *journal.Header) { h.Size = -1 },
		"no block size":   func(h *journal.Header) { h.BlockSize = 0 },
		"too many blocks": func(h *journal.Header) { h.Size, h.BlockSize = journal.MaxBlocks+1, 1 },
		"long name":       func(h *journal.Header) { h.Name = string(make([]byte, 32<<10+1)) },
		"long hash":       func(h *journal.Header) { h.Hash = string(make([]byte, 65)) },
	} {
		h := head
		change(&h)
		if _, err := journal.Create(&memFile{}, h); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The format is a promise to older and newer programs: these are its bytes.
func TestLiteralBytes(t *testing.T) {
	f := &memFile{}
	h := journal.Header{Size: 3, BlockSize: 1, Hash: "h", Name: "n"}
	j, err := journal.Create(f, h)
	check(t, err)
	j.Add(1, [32]byte{0: 0xaa, 31: 0xbb})
	check(t, j.CloseClean(nil))
	zeros := func(n int) string { return string(make([]byte, n)) }
	want := "gomoverj\x00\x01" + zeros(6) +
		"\x00\x00\x00\x36\x01" + zeros(3) + zeros(8) + // front of the header
		zeros(16) + zeros(7) + "\x03" + zeros(8) + zeros(8) + zeros(7) + "\x01" + "\x00\x01h\x00\x01n"
	got := string(f.data)
	if got[:len(want)] != want {
		t.Fatalf("preamble and header:\n got %x\nwant %x", got[:len(want)], want)
	}
	got = got[len(want)+4:]
	want = "\x00\x00\x00\x2c\x02" + zeros(3) + zeros(7) + "\x01" +
		zeros(7) + "\x01" + "\x00\x00\x00\x01" + "\xaa" + zeros(30) + "\xbb"
	if got[:len(want)] != want {
		t.Fatalf("blocks:\n got %x\nwant %x", got[:len(want)], want)
	}
	got = got[len(want)+4:]
	want = "\x00\x00\x00\x08\x04" + zeros(3) + zeros(7) + "\x02" + zeros(7) + "\x01"
	if got[:len(want)] != want || len(got) != len(want)+4 {
		t.Fatalf("clean:\n got %x\nwant %x and a checksum", got, want)
	}
}

func FuzzOpen(f *testing.F) {
	mem := &memFile{}
	j, err := journal.Create(mem, head)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(slices.Clone(mem.data))
	j.Add(1, sum(1, 1))
	j.Add(2, sum(2, 1))
	j.Add(700, sum(700, 1))
	if err := j.Mark(nil); err != nil {
		f.Fatal(err)
	}
	f.Add(slices.Clone(mem.data))
	if err := j.CloseClean(nil); err != nil {
		f.Fatal(err)
	}
	f.Add(slices.Clone(mem.data))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := &memFile{data: slices.Clone(data)}
		j, s, err := journal.Open(file)
		if err != nil {
			return
		}
		if s.Count()*32 > int64(len(data)) {
			t.Fatalf("%d bytes claim %d blocks", len(data), s.Count())
		}
		before := recorded(s)
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		_, s, err = journal.Open(&memFile{data: file.data})
		if err != nil || s.Cut != 0 {
			t.Fatalf("opened again: %v, cut %d", err, s.Cut)
		}
		after := recorded(s)
		if len(after) != len(before) {
			t.Fatalf("opened again: %d blocks, before %d", len(after), len(before))
		}
	})
}

var _ io.ReaderAt = (*memFile)(nil)
