package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestPrinted(t *testing.T) {
	text := "=== RUN   TestA\n    sim_test.go:302: bytes that came twice: median 0.0002, 95% 0.0009, worst 0.0016\n" +
		"=== RUN   TestB/one\n=== NAME  TestB/one\n    sim_test.go:9: bytes that came twice: median 1.5000, 95% 2.0000, worst -3.0000\n" +
		"    sim_test.go:10: rate 0: 34.55s of 34.459s\n--- PASS: TestA (0.1s)\n"
	got := printed(text)
	for key, want := range map[string]float64{
		"TestA: bytes that came twice: median": 0.0002, "TestA: bytes that came twice: worst": 0.0016,
		"TestB/one: bytes that came twice: 95%": 2, "TestB/one: bytes that came twice: worst": -3,
	} {
		if v, ok := got[key]; !ok || v != want {
			t.Errorf("%s is %v, %t; want %v", key, v, ok, want)
		}
	}
	if len(got) != 6 {
		t.Errorf("%d figures, want 6: %v", len(got), got)
	}
}

func TestReadEvents(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events")
	text := `{"ev":"job.start","sources":["a","b"]}
{"ev":"warn","code":"replica.left","message":"http://b/f left out: size 5"}
{"ev":"progress","done_bytes":5}
{"ev":"job.end","exit":14,"sources":[{"source":"a","bytes":7,"share":1}]}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := readEvents(path)
	if err != nil || !e.end || e.exit != 14 || e.bytes["a"] != 7 {
		t.Errorf("%+v, %v", e, err)
	}
	if !e.named("http://b/f", "size") || e.named("http://a/f") || e.named("http://b/f", "hash") {
		t.Errorf("names are found wrongly in %q", e.warnings)
	}
	if err := os.WriteFile(path, []byte("nothing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readEvents(path); err == nil {
		t.Error("no error for what is no event")
	}
}

func TestEnds(t *testing.T) {
	// The second mirror sends for three looks, then only the end of its connections.
	w := &watcher{n: &network{mirrors: []*mirror{{site: site{delay: 100 * time.Millisecond}}, {}}}, first: []int64{1000, 0}}
	for i, sent := range [][]int64{{1000, 0}, {1e6, 1e6}, {2e6, 2e6}, {3e6, 2e6 + 500}, {4e6, 2e6 + 600}, {4e6 + 60, 2e6 + 600}} {
		w.times = append(w.times, float64(i))
		w.sent = append(w.sent, sent)
	}
	ends, given := w.ends()
	if !slices.Equal(ends, []float64{4.1, 2}) || !slices.Equal(given, []int64{4e6 - 940, 2e6 + 600}) {
		t.Errorf("ends %v, given %v", ends, given)
	}
}

func TestCarried(t *testing.T) {
	if got := carried(rates(), sinkRate); got != 700*mbit*payloadShare {
		t.Errorf("%v", got)
	}
	if got := carried(with(fastest, 0.1), sinkRate); got != 340*mbit*payloadShare {
		t.Errorf("%v with the fastest at a tenth", got)
	}
	if got := carried(rates(), 300); got != 300*mbit*payloadShare {
		t.Errorf("%v into 300 Mbit/s", got)
	}
}

func TestFluid(t *testing.T) {
	// 700 Mbit/s for half of it, then 340.
	size := int64(2 * 700 * mbit * payloadShare)
	half, optimum := fluid(size, with(fastest, 0.1))
	if half.Round(time.Millisecond) != time.Second || math.Abs(optimum-(1+700.0/340)) > 1e-3 {
		t.Errorf("half time %v, optimum %.4f s", half, optimum)
	}
}
