package main

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/bench/ground"
)

func TestPeakMemoryIsJudged(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		used []usage
		pass bool
	}{
		{[]usage{{nearPeak: 256 * mib, farPeak: mib}}, true},
		{[]usage{{nearPeak: mib, farPeak: mib}, {nearPeak: mib, farPeak: 257 * mib}, {nearPeak: mib, farPeak: mib}}, false},
		{[]usage{{nearPeak: 257 * mib, farPeak: mib}}, false},
		{[]usage{{nearPeak: mib}}, false}, // an end that was never seen
	} {
		b := &bench{peaks: map[string][2]int64{}}
		for _, u := range c.used {
			b.peak("wan", u)
		}
		b.reportMemory()
		if len(b.Results) != 1 || b.Results[0].Pass != c.pass {
			t.Errorf("%+v: %+v", c.used, b.Results)
		}
	}
}

func TestLoopBars(t *testing.T) {
	part := map[string]ground.Samples{"iperf3": {0.5, 0.4, 0.6}, "cp": {0.3}, "hash": {0.2}, "AEAD": {1}}
	limit := throughputBar * float64(runtime.NumCPU()) / 1.3
	for _, c := range []struct {
		mode       mode
		cpu, speed float64
		pass, fast bool
	}{
		{mode{name: "open"}, 1.3, limit, true, true}, {mode{name: "open"}, 1.31, limit / 2, false, false},
		{mode{name: "sealed", sealed: true}, 2.6, limit, true, true}, {mode{name: "sealed", sealed: true}, 2.61, limit / 3, false, false},
	} {
		b := &bench{}
		b.reportLoop(c.mode, ground.Samples{c.cpu}, ground.Samples{c.speed}, part, 2, nil)
		if len(b.Results) != 2 || b.Results[0].Pass != c.pass || b.Results[1].Pass != c.fast {
			t.Errorf("%+v: %+v", c, b.Results)
		}
	}
}

func TestSettled(t *testing.T) {
	order := []string{"a", "b"}
	for _, c := range []struct {
		times map[string]ground.Samples
		want  bool
	}{
		{nil, false},
		{map[string]ground.Samples{"a": {1, 1}, "b": {2, 2}}, true},
		{map[string]ground.Samples{"a": {1, 1}, "b": {2, 3}}, false},
		{map[string]ground.Samples{"a": {1, 1}}, false},
		{map[string]ground.Samples{"a": {1, 9, 1}, "b": {2, 3, 9}}, true},
	} {
		if got := settled(order, c.times, 3); got != c.want {
			t.Errorf("%v: %v", c.times, got)
		}
	}
}

func TestTextsForPeople(t *testing.T) {
	times := map[string]ground.Samples{"rsync": {2}, "gomover": {1, 3}}
	if got, want := seconds([]string{"gomover", "rsync", "tar"}, times), "gomover 2.00 s [1.00 to 3.00]; rsync 2.00 s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := noise("wan", ground.Samples{0.05, 0.09}); got != nil {
		t.Errorf("a quiet machine: %q", got)
	}
	if got := noise("wan", ground.Samples{0.5}); len(got) != 1 || !strings.Contains(got[0], "0.50 processors") {
		t.Errorf("a busy machine: %q", got)
	}
	if got := rate(1000, 2*time.Second); got != 500 {
		t.Errorf("rate %v", got)
	}
}

func TestTreeCommands(t *testing.T) {
	g := &ends{Ground: &ground.Ground{Home: "/h"}, far: &ground.Host{Name: "far"}, binary: "/b/gomover"}
	for name, want := range map[string]string{
		"gomover": "/b/gomover --progress=none -r /s/ far:/d/",
		"rsync":   "rsync -a -e 'ssh -F /h/.ssh/config' /s/ far:/d/",
		"tar":     "tar c -C /s . | ssh -F /h/.ssh/config far tar x -C /d",
	} {
		if got := treeCommand(g, name, "/s", "/d"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := shell("copy", "/d", false); got[2] != "copy" {
		t.Errorf("in memory: %q", got)
	}
	if got := shell("copy", "/d", true); got[2] != "copy && sync -f /d" {
		t.Errorf("on disk: %q", got)
	}
}

func TestWhatIsNeeded(t *testing.T) {
	need := func(rows ...string) []string {
		s := settings{Bench: ground.Bench{Options: ground.Options{Rows: rows}}}
		return s.needed()
	}
	if got := need("kill"); slices.Contains(got, "rsync") || !slices.Contains(got, "ssh") {
		t.Errorf("for kill: %v", got)
	}
	got := need("tree", "peers", "loop")
	for _, program := range []string{"rsync", "tar", "rclone", "iperf3"} {
		if !slices.Contains(got, program) {
			t.Errorf("for tree, peers and loop: %v", got)
		}
	}
}
