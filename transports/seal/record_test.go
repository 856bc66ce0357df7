package seal

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/gomover/gomover/transports"
)

const testMax = 1000

// ends is a stream's two ends as raw parts.
func ends(t testing.TB, mode transports.Seal, c Cipher) (d, l *Protection) {
	t.Helper()
	g := newGuard(t, testSecret, mode)
	var err error
	if d, err = g.protection(1, c, []byte("same"), true); err != nil {
		t.Fatal(err)
	}
	if l, err = g.protection(1, c, []byte("same"), false); err != nil {
		t.Fatal(err)
	}
	return d, l
}

// record seals body and returns a copy of the bytes on the wire.
func record(t testing.TB, s *Sealer, body string) []byte {
	t.Helper()
	f := transports.NewFrame(testMax)
	copy(f.Resize(len(body)), body)
	rec, err := s.Seal(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(rec) != len(body)+s.Overhead() {
		t.Fatalf("record of %d bytes for a body of %d, overhead %d", len(rec), len(body), s.Overhead())
	}
	return bytes.Clone(rec)
}

// open takes one record from the front of b, as a stream does.
func open(o *Opener, b []byte) (body, rest []byte, err error) {
	if len(b) < PrefixLen {
		return nil, nil, errors.New("truncated")
	}
	n, err := o.BodyLen(b[:PrefixLen], testMax)
	if err != nil {
		return nil, nil, err
	}
	b = b[PrefixLen:]
	if len(b) < n+o.TagLen() {
		return nil, nil, errors.New("truncated")
	}
	f := transports.NewFrame(testMax)
	f.Resize(n)
	copy(f.Wire(0, o.TagLen()), b)
	if err := o.Open(f); err != nil {
		return nil, nil, err
	}
	return f.Body(), b[n+o.TagLen():], nil
}

var kinds = []struct {
	mode transports.Seal
	c    Cipher
}{
	{transports.SealOn, CipherAES}, {transports.SealOn, CipherChaCha},
	{transports.SealAuth, CipherAES}, {transports.SealAuth, CipherChaCha},
	{transports.SealOff, CipherNone},
}

func TestRecords(t *testing.T) {
	for _, k := range kinds {
		t.Run(fmt.Sprint(k.mode, " ", k.c), func(t *testing.T) {
			d, l := ends(t, k.mode, k.c)
			for _, body := range []string{"", "a", "hello, world", string(make([]byte, testMax)), ""} {
				for _, way := range []struct {
					s *Sealer
					o *Opener
				}{{d.Sealer, l.Opener}, {l.Sealer, d.Opener}} {
					rec := record(t, way.s, body)
					if plain := bytes.Contains(rec, []byte(body)); len(body) > 3 && plain != (k.mode != transports.SealOn) {
						t.Errorf("body %q readable on the wire: %v", body, plain)
					}
					got, rest, err := open(way.o, rec)
					if err != nil || string(got) != body || len(rest) != 0 {
						t.Fatalf("opened %q (%d left), %v; want %q", got, len(rest), err, body)
					}
				}
			}
		})
	}
}

func TestDamagedRecords(t *testing.T) {
	attacks := []struct {
		name string
		do   func(one, two []byte) []byte
		ok   int // records which may still be taken
	}{
		{"first bit of the body", func(a, b []byte) []byte { return append(flip(a, PrefixLen), b...) }, 0},
		{"last bit of the tag", func(a, b []byte) []byte { return append(flip(a, len(a)-1), b...) }, 0},
		{"length", func(a, b []byte) []byte { return append(flip(a, 3), b...) }, 0},
		{"huge length", func(a, b []byte) []byte { a[0] = 0xff; return a }, 0},
		{"repeated", func(a, b []byte) []byte { return append(bytes.Clone(a), a...) }, 1},
		{"swapped", func(a, b []byte) []byte { return append(bytes.Clone(b), a...) }, 0},
		{"left out", func(a, b []byte) []byte { return b }, 0},
		{"truncated", func(a, b []byte) []byte { return append(bytes.Clone(a), b[:len(b)-1]...) }, 1},
		{"cut in the middle and joined", func(a, b []byte) []byte { return append(bytes.Clone(a[:10]), b...) }, 0},
	}
	for _, k := range kinds[:4] {
		for _, at := range attacks {
			t.Run(fmt.Sprint(k.mode, " ", k.c, " ", at.name), func(t *testing.T) {
				d, l := ends(t, k.mode, k.c)
				wire := at.do(record(t, d.Sealer, "the first frame"), record(t, d.Sealer, "the second one!"))
				taken := 0
				var err error
				for {
					var body []byte
					if body, wire, err = open(l.Opener, wire); err != nil {
						break
					}
					if string(body) != "the first frame" {
						t.Fatalf("took %q", body)
					}
					taken++
				}
				if taken != at.ok {
					t.Errorf("%d records were taken, want %d", taken, at.ok)
				}
				if at.name != "truncated" && !errors.Is(err, transports.ErrDamaged) {
					t.Errorf("error %v, want ErrDamaged", err)
				}
			})
		}
	}
}

// TestReflected: a record sent back to its sender is not taken.
func TestReflected(t *testing.T) {
	for _, k := range kinds[:4] {
		d, _ := ends(t, k.mode, k.c)
		if _, _, err := open(d.Opener, record(t, d.Sealer, "boomerang")); !errors.Is(err, transports.ErrDamaged) {
			t.Errorf("%v %v: own record: %v, want ErrDamaged", k.mode, k.c, err)
		}
	}
}

// TestOtherStream: keys of one handshake are worth nothing in another.
func TestOtherStream(t *testing.T) {
	g := newGuard(t, testSecret, transports.SealOn)
	one, err := g.protection(1, CipherAES, []byte("one"), true)
	if err != nil {
		t.Fatal(err)
	}
	two, err := g.protection(1, CipherAES, []byte("two"), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(two.Opener, record(t, one.Sealer, "body")); !errors.Is(err, transports.ErrDamaged) {
		t.Errorf("record of another stream: %v, want ErrDamaged", err)
	}
}

// TestRekey: both ends change keys at the same record, and no key and nonce
// are used twice.
func TestRekey(t *testing.T) {
	for _, k := range kinds[:4] {
		for _, limit := range []struct {
			recs uint64
			size int64
		}{{3, keyBytes}, {keyRecords, 64}, {1, keyBytes}} {
			d, l := ends(t, k.mode, k.c)
			for _, dir := range []*direction{d.Sealer.d, l.Opener.d} {
				dir.maxRecs, dir.maxByte = limit.recs, limit.size
			}
			seen := map[string]bool{}
			for i := range 50 {
				body := fmt.Sprintf("frame of no fixed length%*d", i%7, i)
				rec := record(t, d.Sealer, "same body every time")
				if seen[string(rec)] {
					t.Fatalf("%v %v: record %d is like one before: key and nonce used twice", k.mode, k.c, i)
				}
				seen[string(rec)] = true
				if _, _, err := open(l.Opener, rec); err != nil {
					t.Fatalf("%v %v limit %+v: record %d: %v", k.mode, k.c, limit, i, err)
				}
				if got, _, err := open(l.Opener, record(t, d.Sealer, body)); err != nil || string(got) != body {
					t.Fatalf("%v %v limit %+v: record %d: %q, %v", k.mode, k.c, limit, i, got, err)
				}
				if r := d.Sealer.d.records; r > limit.recs {
					t.Fatalf("%d records under one key, limit %d", r, limit.recs)
				}
			}
		}
	}
}

func TestNoAllocations(t *testing.T) {
	for _, k := range kinds {
		d, l := ends(t, k.mode, k.c)
		f, g := transports.NewFrame(testMax), transports.NewFrame(testMax)
		n := testing.AllocsPerRun(100, func() {
			f.Resize(testMax)
			rec, err := d.Sealer.Seal(f)
			if err != nil {
				t.Fatal(err)
			}
			g.Resize(testMax)
			copy(g.Wire(0, l.Opener.TagLen()), rec[PrefixLen:])
			if err := l.Opener.Open(g); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%v %v: %v allocations per frame", k.mode, k.c, n)
		}
	}
}

func TestChoose(t *testing.T) {
	if got := choose(transports.SealOn, 0); got != CipherChaCha {
		t.Errorf("other end without AES: %v", got)
	}
	if got, want := choose(transports.SealAuth, abilityAES) == CipherAES, hardwareAES(); got != want {
		t.Errorf("both with AES: chosen %v, want %v", got, want)
	}
	for mode := transports.SealOn; mode <= transports.SealOff; mode++ {
		for c := CipherNone; c < 4; c++ {
			want := c < 3 && (mode == transports.SealOff) == (c == CipherNone)
			if fits(mode, c) != want {
				t.Errorf("fits(%v, %v) = %v", mode, c, !want)
			}
		}
	}
}

func FuzzRecords(f *testing.F) {
	d, _ := ends(f, transports.SealOn, CipherAES)
	f.Add(append(record(f, d.Sealer, "one"), record(f, d.Sealer, "two")...))
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	first, second := "one", "two"
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, k := range kinds {
			_, l := ends(t, k.mode, k.c)
			rest := b
			for i := 0; ; i++ {
				body, left, err := open(l.Opener, rest)
				if err != nil {
					break
				}
				if k.mode == transports.SealOn && k.c == CipherAES && string(body) != []string{first, second}[i] {
					t.Fatalf("a forged record was taken: %x", body)
				}
				rest = left
			}
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	for _, k := range kinds {
		b.Run(fmt.Sprint(k.mode, "/", k.c), func(b *testing.B) {
			d, _ := ends(b, k.mode, k.c)
			f := transports.NewFrame(256 << 10)
			b.SetBytes(256 << 10)
			for b.Loop() {
				f.Resize(256 << 10)
				if _, err := d.Sealer.Seal(f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
