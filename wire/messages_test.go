package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

var sum = [32]byte{0: 0xaa, 31: 0xbb}

const sumHex = "aa000000000000000000000000000000000000000000000000000000000000bb"

// message is one message in all its forms.
type message struct {
	name  string
	hex   string // of all its bytes, blanks ignored
	value any
	bytes func() []byte
	parse func(body []byte) (value any, again []byte, err error)
}

func manifestParser(b []byte) (any, []byte, error) {
	m, err := ParseManifest(b)
	return m, m.Append(nil), err
}

func verdictsParser(b []byte) (any, []byte, error) {
	m, err := ParseVerdicts(b)
	return m, m.Append(nil), err
}

func storedParser(b []byte) (any, []byte, error) {
	m, err := ParseStored(b)
	return m, m.Append(nil), err
}

func vouchedParser(b []byte) (any, []byte, error) {
	m, err := ParseVouched(b)
	return m, m.Append(nil), err
}

func missedParser(b []byte) (any, []byte, error) {
	m, err := ParseMissed(b)
	return m, m.Append(nil), err
}

func doneParser(b []byte) (any, []byte, error) {
	m, err := ParseDone(b)
	return m, m.Append(nil), err
}

func goneParser(b []byte) (any, []byte, error) {
	m, err := ParseGone(b)
	return m, m.Append(nil), err
}

func fileSumParser(b []byte) (any, []byte, error) {
	m, err := ParseFileSum(b)
	return m, m.Append(nil), err
}

func countsParser(b []byte) (any, []byte, error) {
	m, err := ParseCounts(b)
	return m, m.Append(nil, KindEnd), err
}

func messages() []message {
	manifest := Manifest{First: 300, Entries: []Entry{
		{Root: 2, Kind: 2, Mode: 0o755, ModTime: -1, Base: "dir", Inside: true},
		{Root: 2, Name: "a/one", Kind: 1, Mode: 0o644, Size: 1000, ModTime: 1, Ino: 7, UID: 1000, GID: 100},
		{Root: 2, Name: "a/on\xff", Kind: 3, Mode: 0o777, Target: "../x"},
		{Root: 1, Name: "a/on\xff", Kind: 1, Size: MaxSize, Attempt: 2},
	}}
	verdicts := Verdicts{
		{ID: 1, Verdict: Want},
		{ID: 2, Verdict: Want, Replace: true},
		{ID: 300, Verdict: Part, Have: 1 << 20, Extents: [][2]int64{{1, 3}, {3, 4}, {200, 328}}},
		{ID: 4, Verdict: Same}, {ID: 5, Verdict: Made}, {ID: 6, Verdict: SendSum},
		{ID: 7, Verdict: Failed, Class: ClassDest, Text: "no"},
		{ID: 8, Verdict: Ignored, Text: "pipe"},
	}
	stored := Stored{{Stream: 0, Frames: 1}, {Stream: math.MaxUint32, Frames: math.MaxUint64}}
	missed := Missed{Stream: 3, File: 300, Block: MaxSize}
	done := Done{{ID: 1, Sum: sum}, {ID: 2, Class: ClassSpace, Text: "full"}}
	gone := Gone{ID: 5, Class: ClassChanged, Retry: true, Text: "grew"}
	fileSum := FileSum{ID: 128, Sum: sum}
	counts := Counts{1, 2, 3, 4, 5, MaxSize}
	return []message{
		{"manifest", `10 ac02 04
			06 02 02 03646972 00 00 ed03 00 01 00
			01 01 00 05612f6f6e65 a403 e807 02 07 e807 64
			00 03 04 01ff ff03 00 00 00 042e2e2f78
			08 01 05 00 00 ffffffffffffffff3f 00 00 02 01`, manifest, func() []byte { return manifest.Append(nil) }, manifestParser},
		{"verdicts", `20 08 01 01 02 81 ac02 02 808040 03 01 02 00 01 c401 8001 04 03 05 04 06 06 07 05 03 026e6f 08 07 00 0470697065`,
			verdicts, func() []byte { return verdicts.Append(nil) }, verdictsParser},
		{"stored", `21 00 01 ffffffff0f ffffffffffffffffff01`, stored, func() []byte { return stored.Append(nil) }, storedParser},
		{"missed", `22 03 ac02 ffffffffffffffff3f`, missed, func() []byte { return missed.Append(nil) }, missedParser},
		{"done", `23 02 01 00 ` + sumHex + ` 00 02 04 ` + strings.Repeat("00", 32) + ` 0466756c6c`, done, func() []byte { return done.Append(nil) }, doneParser},
		{"gone", `12 05 86 0467726577`, gone, func() []byte { return gone.Append(nil) }, goneParser},
		{"file sum", `13 8001 ` + sumHex, fileSum, func() []byte { return fileSum.Append(nil) }, fileSumParser},
		{"vouched", `18 00 ac02`, Vouched{0, 300}, func() []byte { return Vouched{0, 300}.Append(nil) }, vouchedParser},
		{"counts", `11 01 02 03 04 05 ffffffffffffffff3f`, counts, func() []byte { return counts.Append(nil, KindEnd) }, countsParser},
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessages(t *testing.T) {
	for _, m := range messages() {
		t.Run(m.name, func(t *testing.T) {
			want := unhex(t, m.hex)
			if got := m.bytes(); !bytes.Equal(got, want) {
				t.Fatalf("appended\n%x, want\n%x", got, want)
			}
			v, again, err := m.parse(want[1:])
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(v, m.value) {
				t.Errorf("parsed\n%+v, want\n%+v", v, m.value)
			}
			if !bytes.Equal(again, want) {
				t.Errorf("appended again\n%x, want\n%x", again, want)
			}
			for n := range want[1:] {
				_, _, err := m.parse(want[1 : 1+n])
				if m.name == "stored" && (n == 0 || n == 2) || m.name == "vouched" && n < 2 {
					continue // whole elements are whole messages
				}
				if !errors.Is(err, ErrMalformed) {
					t.Errorf("cut after %d bytes: %v", n, err)
				}
			}
			if _, _, err := m.parse(append(want[1:len(want):len(want)], 0)); !errors.Is(err, ErrMalformed) && m.name != "vouched" {
				t.Errorf("with a byte behind: %v", err)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	root := "06 02 00 00 00 00 ed03 00 01 00" // a root entry
	for _, tt := range []struct {
		name, hex string
		parse     func([]byte) (any, []byte, error)
	}{
		{"long form of a number", "8000 00", manifestParser},
		{"number beyond 64 bits", "ffffffffffffffffff02 00", manifestParser},
		{"more entries than bytes", "00 8020 " + root, manifestParser},
		{"more entries than the limit", "00 8120 " + root, manifestParser},
		{"unknown flag", "00 01 16 02 00 00 00 00 ed03 00 01 00", manifestParser},
		{"root with a name", "00 01 06 02 00 00 00 01 61 ed03 00 01 00", manifestParser},
		{"no root without a name", "00 01 00 02 00 00 ed03 00 01 00", manifestParser},
		{"shares more than there is", "00 01 00 01 01 01 61 a403 00 00 00", manifestParser},
		{"shares less than there is", "00 02 00 01 00 0161 a403 00 00 00 00 01 00 026162 a403 00 00 00", manifestParser},
		{"owner without need", "00 01 01 01 00 0161 a403 00 00 00 00 00", manifestParser},
		{"retry without need", "00 01 08 01 00 0161 a403 00 00 00 00 00", manifestParser},
		{"root says two numbers", "00 01 0a 02 00 00 00 00 ed03 00 01 00 01 01", manifestParser},
		{"mode too large", "00 01 00 01 00 0161 8020 00 00 00", manifestParser},
		{"size too large", "00 01 00 01 00 0161 00 80808080808080808001 00 00", manifestParser},
		{"name too long", "00 01 00 01 00 818002" + strings.Repeat("61", MaxName+1) + " 00 00 00 00", manifestParser},
		{"more verdicts than bytes", "05 01 01", verdictsParser},
		{"unknown verdict", "01 01 08", verdictsParser},
		{"no verdict", "01 01 00", verdictsParser},
		{"more extents than bytes", "01 01 02 00 05 01 01", verdictsParser},
		{"empty extent", "01 01 02 00 01 01 00", verdictsParser},
		{"extent beyond the last size", "01 01 02 00 01 ffffffffffffffff3f 01", verdictsParser},
		{"stream beyond 32 bits", "8080808010 01", storedParser},
		{"more done than bytes", "05 01 00" + sumHex + "00", doneParser},
		{"count too large", "01 02 03 04 05 80808080808080804001", countsParser},
		{"stored for ever", strings.Repeat("0101", MaxStored+1), storedParser},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if v, _, err := tt.parse(unhex(t, tt.hex)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v; parsed as %+v", err, v)
			}
		})
	}
}

// TestSharedNamesAreBounded: a short message must not unfold into gigabytes.
func TestSharedNamesAreBounded(t *testing.T) {
	long := strings.Repeat("x", MaxName-1)
	m := Manifest{Entries: []Entry{{Name: long, Kind: 1}}}
	for i := range 1000 {
		m.Entries = append(m.Entries, Entry{Name: long + string(rune('a'+i%2)), Kind: 1})
	}
	b := m.Append(nil)
	if len(b) > 64<<10 {
		t.Fatalf("%d bytes: names are not shared", len(b))
	}
	if _, err := ParseManifest(b[1:]); !errors.Is(err, ErrMalformed) {
		t.Errorf("%d bytes unfolded into %d: %v", len(b), len(m.Entries)*MaxName, err)
	}
}

func TestTextsAreCut(t *testing.T) {
	long := strings.Repeat("e", MaxText+100)
	d, err := ParseDone(Done{{ID: 1, Class: 1, Text: long}}.Append(nil)[1:])
	if err != nil || len(d[0].Text) != MaxText {
		t.Errorf("%v, %d bytes", err, len(d[0].Text))
	}
	g, err := ParseGone(Gone{ID: 1, Text: long}.Append(nil)[1:])
	if err != nil || len(g.Text) != MaxText {
		t.Errorf("%v, %d bytes", err, len(g.Text))
	}
}

func TestSplit(t *testing.T) {
	if _, _, err := Split(nil); !errors.Is(err, ErrMalformed) {
		t.Error("an empty message:", err)
	}
	if k, b, err := Split([]byte{byte(KindBye)}); k != KindBye || len(b) != 0 || err != nil {
		t.Error(k, b, err)
	}
	long := make([]byte, MaxMessage+1)
	long[0] = byte(KindReport)
	if _, _, err := Split(long); !errors.Is(err, ErrMalformed) {
		t.Error("a long report:", err)
	}
	long[0] = byte(KindData)
	if _, b, err := Split(long); err != nil || len(b) != MaxMessage {
		t.Error("a long frame:", err)
	}
}

func TestJSON(t *testing.T) {
	in := Report{Span: 5, Streams: 2, PerStr: []StreamReport{{Stream: 1, Peer: "[::1]:5", Bytes: 9}}}
	b, err := AppendJSON([]byte("x"), KindReport, in)
	if err != nil || b[0] != 'x' || Kind(b[1]) != KindReport {
		t.Fatal(err, b)
	}
	var out Report
	if err := ParseJSON(b[2:], &out); err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("%v: %+v", err, out)
	}
	for n := range b[2:] {
		if err := ParseJSON(b[2:2+n], &out); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	f := Failf(ClassSpace, "%s: full", "x")
	if f.Error() != "x: full" || f.Class != ClassSpace {
		t.Errorf("%+v", f)
	}
}
