package main

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/gomover/gomover/events"
)

func TestViewName(t *testing.T) {
	for _, c := range []struct{ raw, ascii, utf8 string }{
		{"evt0093.root", "evt0093.root", "evt0093.root"},
		{"a b'$;\\x", "a b'$;\\x", "a b'$;\\x"},
		{"a\x1b[31mb\n\x7f", `a\x1b[31mb\x0a\x7f`, `a\x1b[31mb\x0a\x7f`},
		{"é日", `\xc3\xa9\xe6\x97\xa5`, "é日"},
		{"\xff\xc3", `\xff\xc3`, `\xff\xc3`},
		{"\u202egpj.exe", `\xe2\x80\xaegpj.exe`, `\xe2\x80\xaegpj.exe`}, // turns the writing direction
		{"\u009b31m", `\xc2\x9b31m`, `\xc2\x9b31m`},                     // an escape in one character
		{"\uFFFD", `\xef\xbf\xbd`, "\uFFFD"},                            // written as such, not a broken byte
	} {
		if got := (viewStyle{}).name(c.raw); got != c.ascii {
			t.Errorf("name(%q) in ASCII = %q, want %q", c.raw, got, c.ascii)
		}
		if got := (viewStyle{UTF8: true}).name(c.raw); got != c.utf8 {
			t.Errorf("name(%q) in UTF-8 = %q, want %q", c.raw, got, c.utf8)
		}
	}
}

func TestViewCut(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		utf8  bool
		want  string
	}{
		{"short", 5, false, "short"},
		{"a/very/long/path/evt0093.root", 20, false, "a/very/l...0093.root"},
		{"a/very/long/path/evt0093.root", 20, true, "a/very/lo…vt0093.root"[:len("a/very/lo…")] + "t0093.root"},
		{"日本語日本語日本語", 9, true, "日本…本語"},
		{"abcdef", 4, false, "abcd"},
		{"abcdef", 0, false, ""},
	} {
		got := viewStyle{UTF8: c.utf8}.cut(c.text, c.width)
		if got != c.want || viewWidth(got) > max(0, c.width) {
			t.Errorf("cut(%q, %d) = %q (%d columns), want %q", c.text, c.width, got, viewWidth(got), c.want)
		}
	}
}

func FuzzViewName(f *testing.F) {
	f.Add("a\x1b[0m\xff日本\u202e", 10)
	f.Fuzz(func(t *testing.T, raw string, width int) {
		width %= 200
		for _, s := range []viewStyle{{}, {UTF8: true}} {
			safe := s.name(raw)
			if strings.ContainsFunc(safe, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) || !utf8.ValidString(safe) {
				t.Fatalf("name(%q) = %q lets something through", raw, safe)
			}
			if cut := s.cut(safe, width); viewWidth(cut) > max(0, width) {
				t.Fatalf("cut(%q, %d) = %q is too wide", safe, width, cut)
			}
		}
	})
}

func TestViewNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{viewAmount(1240e9, 2e12), "1.24 of 2.00 TB"},
		{viewAmount(912e6, 2e12), "912 MB of 2.00 TB"},
		{viewAmount(0, 0), "0 of 0 B"},
		{viewGroups(80211), "80 211"},
		{viewGroups(999), "999"},
		{viewGroups(1234567), "1 234 567"},
		{viewGroups(-1234), "-1 234"},
		{viewPlural(1, "directory"), "1 directory"},
		{viewPlural(0, "directory"), "0 directories"},
		{viewPlural(2, "file"), "2 files"},
		{viewBinary(16 << 20), "16 MiB"},
		{viewBinary(3 << 29), "1536 MiB"},
		{viewBinary(64 << 10), "64 KiB"},
		{viewBinary(6553600 + 1), "6.3 MiB"},
		{viewBinary(1000), "1000 B"},
		{viewMillis(88.13), "88 ms"},
		{viewMillis(8.44), "8.4 ms"},
		{viewMillis(100), "100 ms"},
		{viewMillis(9.96), "10 ms"},
		{viewMillis(0.996), "1.0 ms"},
		{viewMillis(0.118), "0.12 ms"},
		{viewMillis(0.0524), "0.052 ms"},
		{viewMillis(0.05), "0.05 ms"},
		{viewMillis(0.004), "0.004 ms"},
		{viewMillis(0.0001), "0.001 ms"},
		{viewMillis(0), "unknown"},
		{viewMillis(math.NaN()), "unknown"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestViewLeft(t *testing.T) {
	for _, c := range []struct {
		ms, lo, hi   int64
		left, spread string
	}{
		{14 * 60e3, 12 * 60e3, 17 * 60e3, "14 min", "12-17"},
		{90e3, 80e3, 130e3, "1.5 min", "1.3-2.2"},
		{45e3, 40e3, 52e3, "45 s", "40-52"},
		{45e3, 45e3, 45e3, "45 s", ""},
		{45e3, -1, -1, "45 s", ""},
		{9000e3, 7200e3, 10800e3, "2.5 h", "2-3"},
		{0, 0, 5000, "0 s", ""},
		{math.MaxInt64, 0, math.MaxInt64, "106752 days", "0-106752"},
	} {
		left, spread := viewLeft(c.ms, c.lo, c.hi)
		if left != c.left || spread != c.spread {
			t.Errorf("viewLeft(%d, %d, %d) = %q, %q; want %q, %q", c.ms, c.lo, c.hi, left, spread, c.left, c.spread)
		}
	}
}

func TestViewPercent(t *testing.T) {
	total := func(n int64) *int64 { return &n }
	var v viewPercent
	for _, c := range []struct {
		name string
		p    events.Progress
		want int
	}{
		{"listing", events.Progress{DoneBytes: 5}, -1},
		{"rounded down", events.Progress{DoneBytes: 619, TotalBytes: total(1000), FilesTotal: 2}, 61},
		{"never backwards", events.Progress{DoneBytes: 619, TotalBytes: total(2000), FilesTotal: 2}, 61},
		{"bytes there, files not ended", events.Progress{DoneBytes: 1000, TotalBytes: total(1000), FilesDone: 1, FilesTotal: 2}, 99},
		{"more than all", events.Progress{DoneBytes: math.MaxInt64, TotalBytes: total(1), FilesDone: 1, FilesTotal: 2}, 99},
		{"done", events.Progress{DoneBytes: 1000, TotalBytes: total(1000), FilesDone: 2, FilesTotal: 2}, 100},
	} {
		if got := v.of(c.p); got != c.want {
			t.Errorf("%s: got %d, want %d", c.name, got, c.want)
		}
	}
	empty := events.Progress{TotalBytes: total(0), FilesDone: 1, FilesTotal: 4}
	if got := new(viewPercent).of(empty); got != 25 {
		t.Errorf("empty files: got %d, want 25", got)
	}
}

func TestViewStalled(t *testing.T) {
	for _, c := range []struct {
		ms     int64
		state  string
		silent time.Duration
		want   string
	}{
		{0, "", 0, ""},
		{4900, "", time.Second, ""},
		{7100, "", 0, "stalled 7 s"},
		{0, "", 7 * time.Second, "stalled 7 s"},
		{4000, "reconnecting stream 3", 0, ""},
		{31000, "reconnecting stream 3", 0, "stalled 31 s, reconnecting stream 3"},
		{1000, "lost dtn2, retry in 8 s (2 of 15 min)", 0, "lost dtn2, retry in 8 s (2 of 15 min)"},
		{0, "paused", 0, "paused"},
		{600e3, "", 0, "stalled 10 min"},
	} {
		if got := viewStalled(events.Progress{StalledMs: c.ms, State: c.state}, c.silent); got != c.want {
			t.Errorf("viewStalled(%d, %q, %v) = %q, want %q", c.ms, c.state, c.silent, got, c.want)
		}
	}
}

func TestViewMessages(t *testing.T) {
	var s viewStyle
	got := s.errorLines(events.Error{Message: "permission denied", Host: "dtn2", Path: "a\nb", Hint: "one\n\ntwo\nthree"})
	want := []string{`dtn2: a\x0ab: permission denied`, "  hint: one", "  hint: two"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	got = s.errorLines(events.Error{Message: "dtn2: ssh could not log in\nssh: no\x1b[2J", Host: "dtn2"})
	want = []string{"dtn2: ssh could not log in", `  ssh: no\x1b[2J`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	got = s.warnLines(events.Warn{Message: "cannot open a\nb", Path: "a\nb"})
	if want = []string{`warning: cannot open a\x0ab`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestViewRepeats(t *testing.T) {
	var v viewRepeats
	shown := 0
	for range 10000 {
		if v.show("dest.name", "win1", "a: the name cannot exist there") {
			shown++
		}
	}
	if !v.show("dest.name", "win2", "b: the name cannot exist there") {
		t.Error("another host's first message was not shown")
	}
	if shown != viewRepeatShown {
		t.Errorf("%d shown, want %d", shown, viewRepeatShown)
	}
	want := []string{"9995 more like this: a: the name cannot exist there"}
	if got := v.rest(); !slices.Equal(got, want) {
		t.Errorf("rest = %q, want %q", got, want)
	}
	if got := v.rest(); len(got) != 0 {
		t.Errorf("second rest = %q, want none", got)
	}
}

// gate is a reader of ours that takes text only while it is open.
type gate struct {
	mu   sync.Mutex
	text bytes.Buffer
	open chan struct{} // receives once for each write that may pass; closed: all may
	err  error
}

func (g *gate) Write(p []byte) (int, error) {
	if g.open != nil {
		<-g.open
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return 0, g.err
	}
	return g.text.Write(p)
}

func (g *gate) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.String()
}

func TestViewSinkHoldsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		s := newViewSink(g)
		line := append(bytes.Repeat([]byte("x"), 1<<20-1), '\n')
		var put int
		var wg sync.WaitGroup
		wg.Go(func() {
			for put = 0; put < 12; put++ {
				s.put(func(buf []byte) []byte { return append(buf, line...) })
			}
		})
		synctest.Wait()
		// As much may be in the reader's hands as waits behind it.
		if put < 4 || put > 9 {
			t.Errorf("%d MiB were taken from nobody reading, want 4 to 9", put)
		}
		close(g.open)
		wg.Wait()
		if err := s.Close(0); err != nil {
			t.Error(err)
		}
		if got := len(g.String()); got != 12<<20 {
			t.Errorf("%d bytes arrived, want %d", got, 12<<20)
		}
	})
}

func TestViewSinkReaderGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{err: io.ErrClosedPipe}
		s := newViewSink(g)
		for range 20 {
			s.put(func(buf []byte) []byte { return append(buf, make([]byte, 1<<20)...) })
		}
		if err := s.Close(0); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Close = %v, want %v", err, io.ErrClosedPipe)
		}
		s.put(func([]byte) []byte { t.Error("put after Close ran"); return nil })
	})
}

func TestViewSinkCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		s := newViewSink(g)
		s.put(func(buf []byte) []byte { return append(buf, "x\n"...) })
		began := time.Now()
		s.Close(2 * time.Second)
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("Close took %v, want 2s", took)
		}
		close(g.open)
	})
}
