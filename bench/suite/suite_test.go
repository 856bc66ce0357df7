package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/bench/peer"
)

func TestParse(t *testing.T) {
	s, err := parse([]string{"-quick", "-rows", "wan", "-programs", "scp"})
	if err != nil || s.Rounds != 1 || len(s.Rows) != 1 || len(s.programs()) != 2 || s.programs()[0].Name != "gomover" {
		t.Errorf("parse gives %+v, %v", s, err)
	}
	if s, err = parse(nil); err != nil || len(s.Rows) != len(rows) || len(s.programs()) != len(peer.All()) || s.Rounds != 3 {
		t.Errorf("without options: %+v, %v", s, err)
	}
	for _, bad := range [][]string{{"-rows", "wan,nothing"}, {"-rows", ""}, {"-rounds", "-1"}, {"-scale", "NaN"}, {"-programs", "cp"}, {"word"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("parse %q: no error", bad)
		}
	}
}

// TestPackages compares what the programs need with what "make bench-deps"
// installs.
func TestPackages(t *testing.T) {
	text, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(strings.ReplaceAll(string(text), "\\\n", " "), "\nBENCH_PACKAGES = ")
	list, _, _ = strings.Cut(list, "\n")
	for _, p := range peer.All() {
		for _, name := range p.Packages {
			if !slices.Contains(strings.Fields(list), name) {
				t.Errorf("make bench-deps does not install %s for %s", name, p.Name)
			}
		}
	}
}

func TestBDP(t *testing.T) {
	for _, c := range []struct {
		path Path
		want int64
	}{
		{Path{RateBits: 1e9, RTTSeconds: 0.1}, 12_500_000},
		{Path{RateBits: 1e9}, 125_000},
		{Path{RTTSeconds: 0.01}, 12_500_000},
	} {
		if got := bdp(c.path); got != c.want {
			t.Errorf("%+v: %d, want %d", c.path, got, c.want)
		}
	}
}

func TestFitting(t *testing.T) {
	for _, c := range []struct {
		rate float64
		want int64
	}{{0, 1 << 30}, {1e9, 1 << 30}, {1 << 30 / 10 / 3, 1 << 28}, {1, 1 << 20}} {
		if got := fitting(c.rate, 10, 1<<30, 1<<20); got != c.want {
			t.Errorf("at %v B/s: %d, want %d", c.rate, got, c.want)
		}
	}
}

// TestSearchEndsWhatCannotWin goes through a search as it would be on a lossy path.
func TestSearchEndsWhatCannotWin(t *testing.T) {
	s := Search{Program: "p", Bytes: 1000}
	if got := s.limit(false); got != 15*time.Second {
		t.Errorf("the first candidate has %v", got)
	}
	if s.failed() == nil {
		t.Error("a search without candidates does not fail")
	}
	streams := func(n int) peer.Settings { return peer.Settings{Streams: n} }
	late := fmt.Errorf("%w: 15s", ground.ErrLimit)
	for _, c := range []struct {
		settings peer.Settings
		run      Run
		err      error
		limit    time.Duration
		best     peer.Settings
	}{
		{streams(1), Run{}, errors.New("broken"), 15 * time.Second, peer.Settings{}},
		{streams(2), Run{Seconds: 15, Goodput: 10}, late, 15 * time.Second, streams(2)},
		{streams(3), Run{Seconds: 15, Goodput: 9}, late, 15 * time.Second, streams(2)},
		{streams(4), Run{Seconds: 15, Goodput: 12}, late, 15 * time.Second, streams(4)},
		{streams(8), Run{Seconds: 10, Goodput: 100}, nil, 13 * time.Second, streams(8)},
		// Far ahead when it was ended, but it was not done.
		{streams(9), Run{Seconds: 13, Goodput: 200}, late, 13 * time.Second, streams(8)},
		{streams(16), Run{Seconds: 12, Goodput: 83}, nil, 13 * time.Second, streams(8)},
		{peer.Settings{}, Run{Seconds: 5, Goodput: 200}, nil, 6500 * time.Millisecond, peer.Settings{}},
		{streams(32), Run{Seconds: 6, Goodput: 167}, nil, 6500 * time.Millisecond, peer.Settings{}},
	} {
		s.add(c.settings, c.run, c.err)
		if s.limit(false) != c.limit || s.Best != c.best {
			t.Errorf("after %s: limit %v, best %s; want %v, %s", c.settings, s.limit(false), s.Best, c.limit, c.best)
		}
	}
	if err := s.failed(); err != nil {
		t.Error(err)
	}
	if got := s.rateOf(streams(4)); got != 12 {
		t.Errorf("what was ended had %v B/s, want 12", got)
	}
	text := s.text()
	for _, want := range []string{"1 streams: failed", "2 streams: 8e-05 when ended", "8 streams: 0.0008;", "best: default"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if got := s.limit(true); got != 15*time.Second {
		t.Errorf("a program that sends for a fixed time has %v", got)
	}
}

func TestMeasurementIsSettled(t *testing.T) {
	run := func(goodput, jain float64) Run { return Run{Goodput: goodput, Fairness: &Fairness{Jain: jain}} }
	for _, c := range []struct {
		runs []Run
		want bool
	}{
		{nil, false}, {[]Run{{Goodput: 1}}, false}, {[]Run{{Goodput: 100}, {Goodput: 103}}, true}, {[]Run{{Goodput: 100}, {Goodput: 110}}, false},
		{[]Run{run(100, 1), run(100, 0.98)}, true}, {[]Run{run(100, 1), run(100, 0.6)}, false}, {[]Run{run(1, 1), run(2, 1), run(3, 1)}, true},
	} {
		if got := (Measurement{Runs: c.runs}).settled(table{rounds: 3}); got != c.want {
			t.Errorf("%v: %v", c.runs, got)
		}
	}
}

func TestSlowRunsOfTheGridAreNotRepeated(t *testing.T) {
	for seconds, want := range map[float64]bool{4.9: false, 5: true} {
		if got := (Measurement{Runs: []Run{{Seconds: seconds}}}).settled(table{rounds: 2, once: 5}); got != want {
			t.Errorf("after a run of %v s: %v", seconds, got)
		}
	}
}

func TestGains(t *testing.T) {
	hand := peer.Settings{Streams: 8}
	try := func(s peer.Settings, goodput float64) Try {
		return Try{Settings: s, Goodput: goodput, Reached: goodput}
	}
	for _, c := range []struct {
		best  peer.Settings
		tried []Try
		want  bool
	}{
		{peer.Settings{}, []Try{try(hand, 1), try(peer.Settings{}, 2)}, false},
		{hand, []Try{try(hand, 101), try(peer.Settings{}, 100)}, false},
		{hand, []Try{try(hand, 103), try(peer.Settings{}, 100)}, true},
		{hand, []Try{try(hand, 100), {Reached: 50}}, true}, // the default was ended
		{hand, []Try{try(hand, 100)}, true},                // or not tried
		{hand, nil, true},                                  // a quick run takes it unseen
		{hand, []Try{{Settings: hand, Reached: 2}, {Reached: 1}}, true},
	} {
		if got := (Search{Best: c.best, Tried: c.tried}).gains(); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestPlanned(t *testing.T) {
	b := &bench{settings: settings{Bench: ground.Bench{Options: ground.Options{Rows: []string{rows[1].name, rows[3].name}}}}}
	if got, want := b.planned(0), rows[1].minutes+rows[3].minutes; got != want || want == 0 {
		t.Errorf("%v minutes, want %v", got, want)
	}
	if got := b.planned(len(rows) - 1); got != 0 {
		t.Errorf("%v minutes after the last chosen row", got)
	}
}

func TestACutRunHasWhatCameUntilThen(t *testing.T) {
	w := &watcher{job: job{bytes: 1000, to: []*ground.Host{{}}}, begin: -5000}
	if got := w.cut(ground.Usage{Wall: 10 * time.Second}); got.Seconds != 10 || got.Goodput != 100 {
		t.Errorf("%+v: more than the payload counts", got)
	}
	w.begin, w.start = -500, time.Unix(100, 0)
	w.moving = time.Unix(108, 0)
	if got := w.cut(ground.Usage{Wall: 10 * time.Second}); got.steady != 250 {
		t.Errorf("%+v, want 250 B/s once it was under way", got)
	}
	if got := w.cut(ground.Usage{Wall: 8 * time.Second}); got.steady != 0 {
		t.Errorf("%+v: too short to tell", got)
	}
	if got := w.cut(ground.Usage{Wall: 10 * time.Second}); got.Goodput != 50 {
		t.Errorf("%+v, want 50 B/s", got)
	}
}

// exampleReport has one of everything.
func exampleReport() Report {
	run := Run{Seconds: 2, Bytes: 1 << 20, Goodput: 1 << 19, Sender: End{1, 2}, Receiver: End{3, 4}, Wire: 1.05, SentWire: 1.1, Dropped: 7, Foreign: 0.5,
		Fairness: &Fairness{1, 2, 3}, Series: []Point{{0.1, 5}}}
	slow := run
	slow.Goodput /= 4
	return Report{
		Schema: schema, Machine: Machine{Processors: 2, Model: "m", Kernel: "k", Go: "g", ReceiveMax: "1", SendMax: "2"},
		Options: Options{Quick: true, Rounds: 2, Scale: 0.5, Control: "cubic"},
		Searches: []Search{{Row: "wan", Program: "scp", Bytes: 1 << 20, Best: peer.Settings{Window: 5e6},
			Tried: []Try{{Goodput: 1e6, Reached: 1e6}, {Settings: peer.Settings{Window: 5e6}, Goodput: 2e6, Reached: 2e6}, {Settings: peer.Settings{Streams: 3}, Error: "slow"}}}},
		Measurements: []Measurement{
			{Row: "wan", Program: "gomover", Label: "default", Bytes: 1 << 20, Files: 1, Runs: []Run{run, run}, Command: []string{"gomover"}},
			{Row: "wan", Program: "scp", Label: "tuned", Settings: peer.Settings{Window: 5e6}, Note: "slow", Bytes: 1 << 20, Files: 1, Runs: []Run{slow}},
			{Row: "wan", Program: "rsync", Label: "default", Runs: []Run{}, Error: "broken"},
		},
		Bars:     []Bar{{Row: "wan", Figure: "f", Bar: "b", Value: 1, Limit: 2, Pass: true}, {Row: "x", Figure: "g"}, {Row: "y", Reference: true}},
		Failures: []string{"wan, rsync: broken"},
	}
}

func TestReportIsReadBackAsWritten(t *testing.T) {
	r := exampleReport()
	r.finish()
	path := filepath.Join(t.TempDir(), "results.json")
	if err := r.write(path); err != nil {
		t.Fatal(err)
	}
	got, err := readReport(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("read back\n%+v\nwritten\n%+v", got, r)
	}
	if a := r.Measurements[1].Advantage; a != 4 {
		t.Errorf("gomover is %v times as fast, want 4", a)
	}
	if m := r.Measurements[2]; m.Goodput != (Summary{}) || m.Advantage != 0 {
		t.Errorf("a measurement without runs has %+v", m)
	}
}

// TestSchema holds the names that others read; docs/bench.md lists them.
func TestSchema(t *testing.T) {
	r := exampleReport()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(text, &top); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"schema", "start", "machine", "options", "searches", "measurements", "bars", "failures"} {
		if _, ok := top[key]; !ok {
			t.Errorf("the report has no %q", key)
		}
	}
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(top["measurements"], &list); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"row", "program", "label", "settings", "command", "path", "payload_bytes", "files", "runs",
		"goodput_bytes_per_second", "gomover_is_times_as_fast"} {
		if _, ok := list[0][key]; !ok {
			t.Errorf("a measurement has no %q", key)
		}
	}
	var runs []map[string]json.RawMessage
	if err := json.Unmarshal(list[0]["runs"], &runs); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"seconds", "payload_bytes", "goodput_bytes_per_second", "sender", "receiver", "wire_per_payload",
		"sent_per_payload", "dropped_packets", "other_busy_processors", "fairness", "series"} {
		if _, ok := runs[0][key]; !ok {
			t.Errorf("a run has no %q", key)
		}
	}
}

func TestMarkdown(t *testing.T) {
	r := exampleReport()
	r.finish()
	text := r.markdown()
	for _, want := range []string{
		"## wan", "| gomover | default | 1 | 4.19 [4.19 to 4.19] | 1.00 |", "| scp | window 5 MB | 1 | 1.05 | 4.00 |", "| rsync | default |  | FAIL |",
		"- scp: slow", "best: window 5 MB", "| 1.00 [1.00 to 1.00] | 0.0 |", "3 streams: failed", "| wan | f | b | pass |", "| x | g |  | FAIL |", "- wan, rsync: broken",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the Markdown has no %q:\n%s", want, text)
		}
	}
}

func TestALinkThatDidNotCarryThePayloadFails(t *testing.T) {
	far, near := &ground.Host{Name: "far"}, &ground.Host{Name: "near"}
	counters := ground.Counters{Links: []ground.LinkCounters{
		{Name: "far.down", Out: ground.Count{Bytes: 1050}, Drops: map[string]int64{"loss": 2}},
		{Name: "near.up", Out: ground.Count{Bytes: 1090}, Unicast: ground.Count{Bytes: 1000}, Multicast: ground.Count{Bytes: 100}, Drops: map[string]int64{"queue": 3}},
	}}
	j := job{from: []*ground.Host{near}, to: []*ground.Host{far}, bytes: 1000}
	var r Run
	if err := carried(&r, counters, j); err != nil || r.Wire != 1.05 || r.SentWire != 1.1 || r.Dropped != 5 {
		t.Errorf("run %+v, %v", r, err)
	}
	j.bytes = 1051
	if err := carried(&r, counters, j); err == nil {
		t.Error("a link that carried less than the payload gives no error")
	}
	j.bytes, j.from = 1000, []*ground.Host{{Name: "elsewhere"}}
	if err := carried(&r, counters, j); err == nil {
		t.Error("a sender that sent nothing gives no error")
	}
	j.from, j.to = []*ground.Host{near}, []*ground.Host{{Name: "elsewhere"}}
	if err := carried(&r, counters, j); err == nil {
		t.Error("a link that carried nothing gives no error")
	}
}

func TestTunedFollowsThePath(t *testing.T) {
	p, _ := peer.Named("GridFTP")
	b := &bench{}
	path := Path{RateBits: 1e9, RTTSeconds: 0.01}
	if got, want := b.tuned(p, path), (peer.Settings{Streams: 8, Window: 2_500_000}); got != want {
		t.Errorf("without a search %v, want %v", got, want)
	}
	b.report.Searches = []Search{
		{Row: "wan", Program: "GridFTP", Best: peer.Settings{Streams: 4, Window: 25e6}},
		{Row: "lossy", Program: "GridFTP", Best: peer.Settings{Streams: 32}},
	}
	if got, want := b.tuned(p, path), (peer.Settings{Streams: 4, Window: 2_500_000}); got != want {
		t.Errorf("without loss %v, want %v", got, want)
	}
	path.Loss = 0.01
	if got, want := b.tuned(p, path), (peer.Settings{Streams: 32}); got != want {
		t.Errorf("with loss %v, want %v", got, want)
	}
}

func TestExpected(t *testing.T) {
	scp, _ := peer.Named("scp")
	path := Path{RateBits: 1e9, RTTSeconds: 0.1, Loss: 0.01}
	one := expected(path, scp, peer.Settings{})
	if math.Abs(one-176_656) > 1 {
		t.Errorf("one connection gets %.0f B/s, want 176656", one)
	}
	if got := expected(path, scp, peer.Settings{Streams: 8}); got != 8*one {
		t.Errorf("eight connections get %.0f B/s", got)
	}
	if got := expected(wanPath, scp, peer.Settings{}); got != 0 {
		t.Errorf("without loss %.0f B/s is expected", got)
	}
}

func TestSmoothKeepsTheBytes(t *testing.T) {
	var points []Point
	bytes := 0.0
	for i := range 1000 {
		rate := float64(i % 7)
		points = append(points, Point{Seconds: 0.1 * float64(i+1), Rate: rate})
		bytes += rate * 0.1
	}
	got, last, sum := smooth(points, 100), 0.0, 0.0
	for _, p := range got {
		sum += p.Rate * (p.Seconds - last)
		last = p.Seconds
	}
	if len(got) > 100 || math.Abs(sum-bytes) > 1e-6 {
		t.Errorf("%d points with %v bytes, want at most 100 with %v", len(got), sum, bytes)
	}
	if got := smooth(nil, 0); got != nil {
		t.Errorf("smooth of nothing: %v", got)
	}
}

func TestPlots(t *testing.T) {
	var r Report
	add := func(row, program string, s peer.Settings, p Path, rate float64) {
		r.Measurements = append(r.Measurements, Measurement{Row: row, Program: program, Settings: s, Path: p,
			Runs: []Run{{Seconds: 2, Goodput: rate, Series: []Point{{1, rate}, {2, rate}}}}})
	}
	for _, rtt := range []float64{0.01, 0.1} {
		for _, loss := range []float64{0, 0.001} {
			p := Path{RateBits: 1e9, RTTSeconds: rtt, Loss: loss, Senders: 1, Receivers: 1}
			add("grid", "gomover", peer.Settings{}, p, 1e8)
			add("grid", "GridFTP", peer.Settings{Streams: 8, Window: 2 * bdp(p)}, p, 5e7)
		}
	}
	add("wan", "gomover", peer.Settings{}, wanPath, 1e8)
	add("receivers", "UFTP", peer.Settings{}, Path{Receivers: 4}, 1e7)
	add("receivers", "UFTP", peer.Settings{}, Path{Receivers: 1}, 1e7)
	r.finish()
	names := map[string]plot{}
	for _, p := range r.plots() {
		names[p.name] = p
	}
	if len(names) != 4 {
		t.Fatalf("the pictures are %v, want wan, rtt, loss, receivers", names)
	}
	loss := names["loss"].chart.Panels
	if len(loss) != 2 || loss[1].Title != "RTT 100 ms" || !reflect.DeepEqual(loss[0].Categories, []string{"0%", "0.1%"}) || len(loss[0].Series) != 2 {
		t.Errorf("throughput against loss: %+v", loss)
	}
	if s := loss[0].Series[1]; s.Name != "GridFTP, tuned" || !reflect.DeepEqual(s.X, []float64{0, 1}) {
		t.Errorf("a line: %+v", s)
	}
	if s := names["receivers"].chart.Panels[0].Series[0]; !reflect.DeepEqual(s.X, []float64{1, 4}) {
		t.Errorf("receivers are not in order: %v", s.X)
	}
	dir := t.TempDir()
	if _, err := r.draw(dir); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 8 {
		t.Errorf("%d files: %v, %v", len(files), files, err)
	}
}
