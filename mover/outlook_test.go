package mover

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/history"
	"github.com/gomover/gomover/internal/units"
)

// glance feeds an outlook totals 250 ms apart.
type glance struct {
	o     outlook
	at    time.Duration
	c     engine.Totals
	found []events.Anomaly
}

func (g *glance) run(seconds int, rate int64) {
	for range 4 * seconds {
		g.at += 250 * time.Millisecond
		g.c.Verified += rate / 4
		g.c.DoneBytes += rate / 4
		g.found = append(g.found, g.o.look(g.at, g.c, true)...)
	}
}

func TestOutlookTellsOfADrop(t *testing.T) {
	for _, c := range []struct {
		name  string
		cause func(g *glance)
		told  bool
	}{
		{"without a cause", func(g *glance) { g.run(30, 4e7) }, true},
		{"with other streams", func(g *glance) { g.c.Streams = 2; g.run(1, 4e7); g.run(30, 1e8) }, false},
		{"with many small files", func(g *glance) {
			for range 120 {
				g.c.DoneFiles += 50
				g.at += 250 * time.Millisecond
				g.found = append(g.found, g.o.look(g.at, g.c, true)...)
			}
		}, false},
		{"while there is no session", func(g *glance) {
			for range 120 {
				g.at += 250 * time.Millisecond
				g.found = append(g.found, g.o.look(g.at, g.c, false)...)
			}
		}, false},
		{"at the end", func(g *glance) { g.c.Bytes = g.c.DoneBytes + 2e8; g.run(4, 4e7) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := glance{c: engine.Totals{Streams: 8, Listed: true, Bytes: 1 << 50}}
			g.run(100, 1e8)
			c.cause(&g)
			if (len(g.found) > 0) != c.told {
				t.Fatalf("found %+v", g.found)
			}
			if !c.told {
				return
			}
			if a := g.found[0]; a.Metric != "rate" || a.Over || a.Was < 9.5e7 || a.Now > 4.5e7 || a.SinceMs < 1000 || a.SinceMs > 15000 || !strings.HasPrefix(a.Message, "the rate fell from 8") {
				t.Errorf("%+v", a)
			}
		})
	}
}

func TestOutlookRemembers(t *testing.T) {
	j := Job{Sources: []Place{{Path: "x"}}, Dest: Place{Remote: true, Host: "Far", Port: 22}, StateDir: t.TempDir()}
	start := time.Now()
	for range 6 {
		g := glance{c: engine.Totals{Listed: true, Bytes: 6e9, LimitedBy: "network", OK: 1, Streams: 8,
			Path: engine.Path{RTT: 190 * time.Millisecond, MinRTT: 100 * time.Millisecond}}} // in the queue that it has filled
		g.o.recall(&j)
		for g.c.DoneBytes < g.c.Bytes {
			g.run(1, 1e8)
			g.o.forecast.Left(g.c.Bytes - g.c.DoneBytes)
		}
		g.c.Streams = 0 // all are closed by then
		if err := g.o.remember(&director{job: &j, learner: new(learner)}, start, g.at, g.c); err != nil {
			t.Fatal(err)
		}
	}
	r, err := history.At(filepath.Join(j.StateDir, historyName)).Load(history.Pair{From: "here", To: "far:22"})
	if err != nil || len(r.Jobs) != 6 {
		t.Fatalf("%d jobs, %v", len(r.Jobs), err)
	}
	last := r.Jobs[5]
	if last.Bytes != 6e9 || last.Streams != 8 || last.Rate.Median < 9.9e7 || last.Rate.Median > 1.01e8 || last.Limits["network"] < 0.95 || len(last.Outcomes) != 5 {
		t.Errorf("%+v", last)
	}
	if last.RTT != 0.1 {
		t.Errorf("the least round trip of a copy that fills a queue is remembered as %.3g s, want 0.1", last.RTT)
	}
	var cold, warm glance
	warm.o.recall(&j)
	width := func(g *glance) time.Duration {
		g.c = engine.Totals{Listed: true, Bytes: 6e9}
		g.run(10, 1e8)
		_, lo, hi, ok := g.o.forecast.Left(g.c.Bytes - g.c.DoneBytes)
		if !ok {
			t.Error("no estimate")
		}
		return hi - lo
	}
	if a, b := width(&cold), width(&warm); b >= a/2 {
		t.Errorf("interval %v wide without and %v with a history of a steady path", a, b)
	}
	// Short jobs, local ones, and those without a folder are not remembered.
	var short glance
	short.run(2, 1e8)
	local := Job{Sources: []Place{{Path: "x"}}, Dest: Place{Path: "y"}, StateDir: j.StateDir}
	if err := short.o.remember(&director{job: &j, learner: new(learner)}, start, short.at, short.c); err != nil || local.history() != nil {
		t.Errorf("remembered: %v", err)
	}
	if r, _ := history.At(filepath.Join(j.StateDir, historyName)).Load(j.pair()); len(r.Jobs) != 6 {
		t.Errorf("%d jobs", len(r.Jobs))
	}
}

// TestOutlookLimit: a job under a limit does not expect what earlier ones had without.
func TestOutlookLimit(t *testing.T) {
	g := glance{c: engine.Totals{Listed: true, Bytes: 1e9, Limit: 1e6}}
	g.o.past.Add(history.Job{Start: time.Now(), Seconds: 10, Bytes: 1e9, Rate: history.Rates{P10: 1e8, Median: 1e8, P90: 1e8}, Limits: map[string]float64{"network": 1}})
	g.run(10, 1e6)
	left := float64(g.c.Bytes-g.c.DoneBytes) / 1e6
	if mid, _, _, ok := g.o.forecast.Left(g.c.Bytes - g.c.DoneBytes); !ok || mid.Seconds() < 0.9*left || mid.Seconds() > 1.1*left {
		t.Errorf("%v left at the limit, want %.0f s", mid, left)
	}
	g.c.Limit = 0
	g.run(1, 1e6)
	if mid, _, _, ok := g.o.forecast.Left(g.c.Bytes - g.c.DoneBytes); !ok || mid.Seconds() > left/2 {
		t.Errorf("%v left without the limit: earlier jobs do not count", mid)
	}
	if g.o.expected < 9e7 {
		t.Errorf("earlier jobs had %.3g", g.o.expected)
	}
}

// TestLimitOfAll: the totals of a destination tell the limit that binds it, its own or
// that of all destinations together.
func TestLimitOfAll(t *testing.T) {
	for _, c := range []struct{ own, all, want int64 }{{0, 0, 0}, {5e6, 0, 5e6}, {0, 5e6, 5e6}, {3e6, 5e6, 3e6}, {5e6, 3e6, 3e6}} {
		d := &director{controls: &Controls{rate: units.Rate(c.own)}, common: engine.Common{Limit: engine.NewLimit(c.all)}}
		if got := d.limit(); got != c.want {
			t.Errorf("own %d, of all %d: %d, want %d", c.own, c.all, got, c.want)
		}
	}
	if got := (&director{controls: &Controls{rate: 7}}).limit(); got != 7 {
		t.Errorf("with nothing in common: %d", got)
	}
}

// TestPauseLeftOut: after a pause the job is as fast as before, and nothing has changed.
func TestPauseLeftOut(t *testing.T) {
	var o outlook
	c := engine.Totals{Listed: true, Bytes: 100e9, Streams: 4, LimitedBy: "network"}
	at := time.Duration(0)
	flow := func(seconds int) {
		for range 4 * seconds {
			at += progressEvery
			c.Verified += 10e6 / 4
			c.DoneBytes = c.Verified
			if found := o.look(at, c, true); len(found) > 0 {
				t.Errorf("after %v: %+v", at, found)
			}
		}
	}
	flow(120)
	left, _, _, _ := o.forecast.Left(10e9)
	at += time.Hour
	o.hold(time.Hour)
	flow(2)
	again, _, _, ok := o.forecast.Left(10e9)
	if r := o.forecast.Rate(); !ok || r < 9.9e6 || r > 10.1e6 || again > left*11/10 {
		t.Errorf("after a pause it goes at %d, and takes %v instead of %v", r, again, left)
	}
	if d := o.limits["network"]; d > 3*time.Minute {
		t.Errorf("it was held back for %v", d)
	}
}
