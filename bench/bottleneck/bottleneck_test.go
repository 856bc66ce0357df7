package main

import (
	"strings"
	"testing"
	"time"
)

// TestCounter: the word that was told for most of the time decides, and what was said
// before the time does not count.
func TestCounter(t *testing.T) {
	const events = `{"ev":"plan"}
{"ev":"progress","t":"2026-01-01T00:00:00Z","limited_by":"unknown","verified_bytes":5}
{"ev":"progress","t":"2026-01-01T00:00:02Z","limited_by":"network","verified_bytes":1000}
nonsense
{"ev":"progress","t":"2026-01-01T00:00:05Z","limited_by":"target disk","verified_bytes":4000}
{"ev":"progress","t":"2026-01-01T00:00:06Z","limited_by":"network","verified_bytes":5000}
`
	lines, done := make(chan progress), make(chan struct{})
	go read(strings.NewReader(events), lines, done)
	r := result{All: make(map[string]float64)}
	c := counter{r: &r, from: time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC)}
	n := 0
	for p := range lines {
		c.add(p)
		n++
	}
	if err := c.sum("target disk"); err != nil || n != 4 {
		t.Fatalf("%d events, %v", n, err)
	}
	if r.Told != "target disk" || !r.Pass || r.Right != 0.75 || r.All["network"] != 0.25 || r.Rate != 1000 {
		t.Errorf("%+v", r)
	}
	if got := r.line(); !strings.Contains(got, "target disk 75%, network 25%") {
		t.Errorf("says %q", got)
	}
	if err := (&counter{r: &result{}}).sum("network"); err == nil {
		t.Error("a run without events can be judged")
	}
}

// TestScenes: names can be chosen, and every scene arranges something.
func TestScenes(t *testing.T) {
	b, err := parse([]string{"-rows", "rmem,ssh", "-for", "5s"})
	if err != nil || len(b.Rows) != 2 || b.span != 5*time.Second {
		t.Errorf("%+v, %v", b, err)
	}
	for _, args := range [][]string{{"-rows", "nothing"}, {"-for", "1s"}, {"word"}} {
		if _, err := parse(args); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
	seen := make(map[string]bool)
	for _, s := range scenes {
		if seen[s.name] || s.what == "" || s.want == "" || len(s.link) == 0 {
			t.Errorf("%+v", s)
		}
		seen[s.name] = true
	}
	if len(scenes) != 20 {
		t.Errorf("%d scenes, want 20", len(scenes))
	}
}
