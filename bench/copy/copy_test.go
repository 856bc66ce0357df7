package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   samples
		want float64
	}{
		{nil, 0}, {samples{3}, 3}, {samples{9, 1, 2}, 2}, {samples{4, 1, 3, 2}, 2.5},
	} {
		if got := c.in.median(); got != c.want {
			t.Errorf("median of %v = %v, want %v", c.in, got, c.want)
		}
	}
	if got, want := (samples{9, 1, 2}).text("%.0f", " s"), "2 s [1 to 9]"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
}

func TestParse(t *testing.T) {
	s, err := parse([]string{"-rows", "loop,kill", "-kills", "7"})
	if err != nil || !s.selected["loop"] || !s.selected["kill"] || s.selected["wan"] || s.kills != 7 {
		t.Errorf("parse gives %+v, %v", s, err)
	}
	if s, err = parse(nil); err != nil || len(s.selected) != len(rows) {
		t.Errorf("without options there are %d rows of %d, %v", len(s.selected), len(rows), err)
	}
	for _, bad := range [][]string{{"-rows", "loop,nothing"}, {"-rows", ""}, {"-rounds", "0"}, {"-scale", "NaN"}, {"word"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("parse %q: no error", bad)
		}
	}
}

func TestKillMomentsReachTheBar(t *testing.T) {
	type kind struct {
		when moment
		who  victim
		pace int
	}
	count, kinds := map[moment]int{}, map[kind]int{}
	for i := range 100 {
		count[momentOf(i)]++
		kinds[kind{momentOf(i), victim(i / 2 % 3), i % 2}]++
	}
	if count[lastMoment] < 10 || count[inResume] < 10 {
		t.Errorf("kills by moment: %v", count)
	}
	if len(kinds) != 3*3*2 {
		t.Errorf("%d of 18 kinds occur: %v", len(kinds), kinds)
	}
}

func TestSameFile(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := makeFile(path("a"), 3<<20+5, 1); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path("a"))
	if err != nil {
		t.Fatal(err)
	}
	other := append([]byte(nil), data...)
	other[3<<20] ^= 1
	for name, content := range map[string][]byte{"same": data, "short": data[:2<<20], "one bit": other, "empty": nil} {
		if err := os.WriteFile(path(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, want := sameFile(path("a"), path(name)) == nil, name == "same"; got != want {
			t.Errorf("%s: same is %v", name, got)
		}
	}
}

func TestSameTree(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	for _, root := range []string{a, b} {
		if err := makeTree(root, 3, 10, 100); err != nil {
			t.Fatal(err)
		}
	}
	if err := sameTree(a, b); err != nil {
		t.Error(err)
	}
	if err := os.Rename(filepath.Join(b, "d0001/f000001"), filepath.Join(b, "d0001/x")); err != nil {
		t.Fatal(err)
	}
	if err := sameTree(a, b); err == nil {
		t.Error("another name goes unseen")
	}
}

func TestTopology(t *testing.T) {
	text, err := lossyLink.topology()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Hosts []struct {
			Name string
			Link struct{ Rate, Queue, Delay string }
			Down struct{ Loss float64 }
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Hosts) != 2 || got.Hosts[1].Name != farHost || got.Hosts[1].Link.Delay != "25ms" || got.Hosts[0].Down.Loss != 0.001 {
		t.Errorf("topology %s", text)
	}
	if text, _ = wanLink.topology(); strings.Contains(string(text), "loss") {
		t.Errorf("loss on the path without: %s", text)
	}
}

func TestPort(t *testing.T) {
	for in, want := range map[string]int{"0100007F:08AE": 2222, "0000:0016": 22, "": 0, "x:12": 0, "x:zzzz": 0} {
		if got := port(in); got != want {
			t.Errorf("port of %q is %d, want %d", in, got, want)
		}
	}
}

func TestPartsCostSomething(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := hashCost(ctx); err == nil {
		t.Error("hashing does not end with its context")
	}
	if _, err := sealCost(ctx); err == nil {
		t.Error("sealing does not end with its context")
	}
}
