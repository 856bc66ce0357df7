package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/history"
)

// remember puts jobs to a host into a state folder, one an hour until now.
func remember(t *testing.T, dir, far string, rates ...float64) {
	t.Helper()
	now := time.Now()
	p := history.Pair{From: "here", To: far}
	err := history.At(filepath.Join(dir, "history.db")).Change(p, now, func(r *history.Record) {
		for i, rate := range rates {
			r.Add(history.Job{Start: now.Add(time.Duration(i-len(rates)) * time.Hour), Seconds: 60, Bytes: int64(60 * rate), Files: 1, Streams: 4,
				Rate: history.Rates{Median: rate, P10: 0.9 * rate, P90: 1.1 * rate}, RTT: 0.02, Loss: 0.001, Limits: map[string]float64{"network": 0.9, "target disk": 0.1}})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestProbeHistory(t *testing.T) {
	dir := t.TempDir()
	remember(t, dir, "far:0", 1e8, 1.1e8, 0.9e8, 1.2e8)
	run := func(args ...string) (string, error) {
		var out, errs bytes.Buffer
		env, _, _ := testEnv(nil, nil, args...)
		env.Stdout, env.Stderr = &out, &errs
		err := dispatch(context.Background(), env, handlers{hosts: map[string]func(context.Context, *Options, []string) error{
			"probe": func(ctx context.Context, o *Options, words []string) error { return runProbe(ctx, env, o, words) }}})
		return out.String(), err
	}
	out, err := run("probe", "--state-dir="+dir, "--history", "Far")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"local -> Far\n", "800 Mbit/s (720 Mbit/s to 880 Mbit/s)", "20 ms", "0.1%", "network\n", "the next: about 880 Mbit/s, in 60 of 100 cases 720 Mbit/s to 960 Mbit/s", "Far -> local\n  nothing is remembered"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not said:\n%s", want, out)
		}
	}

	out, err = run("probe", "--state-dir="+dir, "--json", "--history", "far")
	if err != nil {
		t.Fatal(err)
	}
	kinds := ""
	for line := range strings.Lines(out) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		kinds += e["ev"].(string) + " "
		if e["ev"] == "history" && e["from"] == "local" && (e["rate_bps"] != 1.1e8 || e["low_bps"] != 9e7 || e["high_bps"] != 1.2e8 || e["holds"] != 0.6 || e["jobs"] != 4.0) {
			t.Errorf("got %v", e)
		}
	}
	if kinds != "history.job history.job history.job history.job history history job.end " {
		t.Errorf("events: %s", kinds)
	}

	picture := filepath.Join(t.TempDir(), "path.svg")
	if _, err := run("probe", "--state-dir="+dir, "--history", "--plot="+picture, "far"); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(picture); err != nil || !bytes.Contains(text, []byte("What is remembered of far")) {
		t.Errorf("the picture has %d bytes, %v", len(text), err)
	}
	empty := filepath.Join(t.TempDir(), "empty.svg")
	if _, err := run("probe", "--state-dir="+dir, "--history", "--plot="+empty, "stranger"); err == nil || !strings.Contains(err.Error(), "nothing is remembered of stranger") {
		t.Errorf("a picture of nothing: %v", err)
	}
	if _, err := os.Stat(empty); err == nil {
		t.Error("a picture of nothing is there")
	}
	for _, args := range [][]string{{"probe", "--plot=x.svg", "far"}, {"probe", "--history", "--plot=x.pdf", "far"}, {"probe", "--history", "--plot=x.svg", "a", "b"}, {"probe", "--history"}} {
		if _, err := run(args...); err == nil || exitCodeOf(err) != exitUsage {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// TestHistoryText: what limits have held foretells nothing, and what probes told is
// said with its age.
func TestHistoryText(t *testing.T) {
	now := time.Now()
	r := history.Record{Facts: map[string]history.Fact{"probe-1": {At: now.Add(-7 * 24 * time.Hour), Value: json.RawMessage(`{"rtt_ms":20,"capacity":125000000,"udp":false,"mtu":1400}`)}}}
	r.Add(history.Job{Start: now.Add(-time.Hour), Seconds: 60, Bytes: 6e8, Rate: history.Rates{Median: 1e7, P10: 1e7, P90: 1e7}, Limits: map[string]float64{"bwlimit": 0.9}})
	text := historyText("local", "far", &r, now)
	for _, want := range []string{"  path: measured 7 days ago (counts 50% still): round trip 20 ms, the link carries 1.00 Gbit/s, packets of up to 1400 bytes, no UDP\n", "bwlimit\n", "the next: not known; limits that somebody had set held all of these\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not said:\n%s", want, text)
		}
	}
	r.Add(history.Job{Start: now, Seconds: 60, Bytes: 6e9, Rate: history.Rates{Median: 1e8, P10: 1e8, P90: 1e8}, Limits: map[string]float64{"network": 0.9, "bwlimit": 0.1}})
	if text = historyText("local", "far", &r, now); !strings.Contains(text, "the next: about 800 Mbit/s; one job tells no more\n") {
		t.Errorf("with one that was not held:\n%s", text)
	}
	if c := historyChart("far", [2]history.Record{r, {}}, now); len(c.Panels) != 2 {
		t.Errorf("%d panels, want 2: no round trip is known", len(c.Panels))
	}
}
