package main

import (
	"context"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/bench/ground"
)

// The test's binary is also the ends of flows.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == endWord {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestFlowAt(t *testing.T) {
	f := flow{samples: []sample{{}, {10, 0}, {11, 100}, {12, 300}}}
	for _, tt := range []struct{ at, want float64 }{{9, 0}, {10, 0}, {10.5, 50}, {11, 100}, {11.25, 150}, {12, 300}, {20, 300}} {
		if got := f.at(tt.at); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("at %v: %v bytes, want %v", tt.at, got, tt.want)
		}
	}
	if got := f.rate(10, 12); got != 150 {
		t.Errorf("rate %v, want 150", got)
	}
}

func TestParse(t *testing.T) {
	b, err := parse([]string{"-rows", "loop,wan", "-quick", "-rounds", "5"})
	if err != nil || b.Rounds != 1 || len(b.Rows) != 2 {
		t.Errorf("parse gives %+v, %v", b, err)
	}
	for _, bad := range [][]string{{"-rows", "nothing"}, {"-rounds", "0"}, {"word"}, {"-program", "x"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("parse %q: no error", bad)
		}
	}
}

func TestSites(t *testing.T) {
	l := path{rate: 1e8, queue: 500_000, loss: 0.01, rtts: rtts(10, 100)}.sites()
	if len(l) != 3 || l[0].Up.Rate != "100000000bit" || l[2].Down.Delay != "50ms" || l[1].Down.Loss != 0.01 || l[1].Up.Loss != 0.01 {
		t.Errorf("sites %+v", l)
	}
}

func TestDecided(t *testing.T) {
	for _, tt := range []struct {
		samples ground.Samples
		rounds  int
		want    bool
	}{
		{nil, 1, false},
		{ground.Samples{0.1}, 1, true},
		{ground.Samples{1}, 3, false},
		{ground.Samples{1, 0.9}, 3, true},
		{ground.Samples{0.8, 0.7}, 3, true},
		{ground.Samples{1, 0.89}, 3, false},
		{ground.Samples{1, 0.8, 1}, 3, true},
		{ground.Samples{1, 1}, 4, false},
	} {
		if got := decided(tt.samples, tt.rounds, 0.9); got != tt.want {
			t.Errorf("%v of %d rounds: decided %v, want %v", tt.samples, tt.rounds, got, tt.want)
		}
	}
}

// A path that does not do what was asked of it makes a row fail.
func TestKept(t *testing.T) {
	counters := func(packets, lost int64) ground.Counters {
		return ground.Counters{Links: []ground.LinkCounters{{
			Name: "to0.down", Unicast: ground.Count{Packets: packets}, Drops: map[string]int64{"loss": lost},
		}}}
	}
	for _, tt := range []struct {
		what  string
		share float64
		loss  float64
		c     ground.Counters
		want  bool
	}{
		{"all in order", 1, 0, counters(1e6, 0), true},
		{"a link without a rate", 1.2, 0, counters(1e6, 0), false},
		{"losses on a clean path", 0.5, 0, counters(1e6, 1), false},
		{"1% of loss", 0.5, 0.01, counters(1e6, 10_100), true},
		{"no loss where 1% should be", 0.5, 0.01, counters(1e6, 0), false},
		{"2% of loss where 1% should be", 0.5, 0.01, counters(1e6, 20_000), false},
	} {
		p := path{rate: 1e9, loss: tt.loss}
		if err := p.kept([]float64{tt.share / 2 * p.capacity(), tt.share / 2 * p.capacity()}, tt.c); (err == nil) != tt.want {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
}

// loopBench is what the row loop needs, for a very short time.
func loopBench(t *testing.T, scale float64) *bench {
	t.Helper()
	b := &bench{Bench: ground.Bench{Options: ground.Options{Rounds: 1, Scale: scale, Memory: t.TempDir()}}}
	t.Cleanup(b.Close)
	if err := b.Open("gomover-udt-"); err != nil {
		t.Fatal(err)
	}
	if err := b.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// spaces lists the network namespaces of a bench.
func spaces(t *testing.T, b *bench) string {
	t.Helper()
	out, err := exec.Command("ip", "netns").Output()
	if err != nil {
		t.Fatal(err)
	}
	var l []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, filepath.Base(b.Dir)) {
			l = append(l, line)
		}
	}
	return strings.Join(l, "")
}

func TestLoopRow(t *testing.T) {
	b := loopBench(t, 0.1)
	if err := rowLoop(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if len(b.Results) != 4 || b.Results[0].Value <= 0 || b.Results[1].Value <= 0 || len(b.Results[0].Notes) != 3 {
		t.Errorf("results %+v", b.Results)
	}
	if l := spaces(t, b); l != "" {
		t.Errorf("left are the network namespaces %s", l)
	}
}

// A run that is interrupted, and one whose end dies, end at once and leave nothing.
func TestLoopRowEnds(t *testing.T) {
	for _, what := range []string{"interrupted", "the receiver dies"} {
		t.Run(what, func(t *testing.T) {
			b := loopBench(t, 100)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			g, err := b.loopback(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			ended := make(chan error, 1)
			go func() {
				_, err := b.measured(ctx, g, path{}, 0, b.span(time.Minute), model)
				ended <- err
			}()
			to := g.Hosts[1].Group
			for len(to.PIDs()) == 0 || len(g.Hosts[0].Group.PIDs()) == 0 {
				if err := ground.Wait(t.Context(), time.Millisecond); err != nil {
					t.Fatal(err)
				}
			}
			if what == "interrupted" {
				cancel()
			} else {
				to.Kill()
			}
			if err := <-ended; err == nil {
				t.Error("no error")
			}
			for _, h := range g.Hosts {
				if n := h.Group.Names(); n != "" {
					t.Errorf("%s still runs %s", h.Name, n)
				}
			}
			g.Close()
			if l := spaces(t, b); l != "" {
				t.Errorf("left are the network namespaces %s", l)
			}
		})
	}
}

func rtts(ms ...int) (l []time.Duration) {
	for _, n := range ms {
		l = append(l, time.Duration(n)*time.Millisecond)
	}
	return l
}
