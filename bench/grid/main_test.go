package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReadEvents(t *testing.T) {
	const head = `{"t":"2026-01-01T00:00:00.000Z","ev":"job.start"}
{"t":"2026-01-01T00:00:01.000Z","ev":"plan"}
{"t":"2026-01-01T00:00:02.000Z","ev":"plan"}
`
	for _, tt := range []struct {
		text string
		want float64 // 0: an error
	}{
		{head + `{"t":"2026-01-01T00:00:09.000Z","ev":"progress","verified_bytes":800,"streams":3,"limited_by":"network"}
{"t":"2026-01-01T00:00:12.000Z","ev":"progress","verified_bytes":2000,"streams":9,"limited_by":"unknown"}`, 100},
		{head + `{"t":"2026-01-01T00:00:03.000Z","ev":"progress","verified_bytes":800}`, 0},
		{head + "nonsense", 0},
		{`{"t":"2026-01-01T00:00:09.000Z","ev":"progress","verified_bytes":800}`, 0},
	} {
		got, streams, by, err := readEvents(strings.NewReader(tt.text), 10*time.Second)
		if got != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%.0f, %v; want %.0f", got, err, tt.want)
		}
		if err == nil && (streams != 3 || by != "network") {
			t.Errorf("%d streams, %q", streams, by)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		shares []float64
		ok     bool
	}{{nil, false}, {[]float64{0.96, 0.9, 1.01}, true}, {[]float64{0.96, 0.8, 1}, false}, {[]float64{0.9, 0.9, 1}, false}, {[]float64{0.9, 1}, true}, {[]float64{0.88, 1}, false}} {
		if err := verdict(io.Discard, "", tt.shares); (err == nil) != tt.ok {
			t.Errorf("%v: %v", tt.shares, err)
		}
	}
}

// TestLedger: what an earlier run has left counts, other builds' runs of fixed settings,
// too; what is void does not.
func TestLedger(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results")
	p := &path{name: "p", ccs: both}
	l, err := openLedger(file, "old", 60)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.missing(p, 1, nil); len(got) != 3 {
		t.Errorf("at first %v are missing", got)
	}
	for _, o := range []outcome{
		{Setting: "no flags", Rate: 90}, {Setting: "8 cubic", Rate: 50}, {Setting: "8 bbr", Rate: 900, Void: "late"}, {Setting: "8 bbr", Rate: 95}, {Setting: "1 bbr", Rate: 100},
	} {
		o.Path, o.Program, o.Span = p.name, "old", 60
		if err := l.add(o); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.missing(p, 1, []string{"--retune=on"}); len(got) != 6 || got[0].name != "--retune=on" {
		t.Errorf("later %v are missing", got)
	}
	if got := l.report(io.Discard, p, nil); len(got) != 1 || got[0] != 0.9 {
		t.Errorf("shares are %v", got)
	}
	l.file.Close()
	if l, err = openLedger(file, "new", 60); err != nil {
		t.Fatal(err)
	}
	defer l.file.Close()
	if l.betterCC(p) != "bbr" || len(l.rates(p.name, "no flags")) != 0 || len(l.missing(p, 1, nil)) != 6 {
		t.Errorf("a new build has the control %q, rates %v", l.betterCC(p), l.rates(p.name, "no flags"))
	}
	if err := os.WriteFile(file, []byte("{\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openLedger(file, "new", 60); err == nil {
		t.Error("a damaged file is no error")
	}
}

func TestVoid(t *testing.T) {
	for _, tt := range []struct {
		o       outcome
		overrun int64
		counts  bool
	}{
		{outcome{LateAvg: 0.0005, LateMax: 0.02, CPU: 0.4}, 0, true}, {outcome{}, 1, false}, {outcome{LateAvg: 0.003}, 0, false},
		{outcome{LateMax: 0.5}, 0, false}, {outcome{CPU: 0.95}, 0, false},
	} {
		if got := void(&tt.o, tt.overrun); (got == "") != tt.counts {
			t.Errorf("%+v: %q", tt.o, got)
		}
	}
}
