package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/payload"
)

func TestDrawKeepsToTheRun(t *testing.T) {
	const login, whole = 200 * time.Millisecond, 2 * time.Second
	span := whole - login
	bounds := map[moment]struct{ from, to, from2, to2 time.Duration }{
		anyMoment:  {login, whole, 0, 0},
		lastMoment: {whole - killLast, whole, 0, 0},
		inResume:   {login + span/10, login + span*6/10, login, whole},
	}
	random := rand.New(rand.NewPCG(1, 0))
	for when, b := range bounds {
		seen := map[time.Duration]bool{}
		for range 1000 {
			first, second := (&trial{when: when, random: random, login: login, whole: whole}).draw()
			if first < b.from || first > b.to || second < b.from2 || second > b.to2 {
				t.Fatalf("%s: kills after %v and %v", when, first, second)
			}
			seen[first] = true
		}
		if len(seen) < 500 {
			t.Errorf("%s: only %d different times", when, len(seen))
		}
	}
	// A run that is shorter than its login was must not draw times before that.
	if first, _ := (&trial{when: lastMoment, random: random, login: whole, whole: login}).draw(); first != whole {
		t.Errorf("without a span the kill is after %v, want %v", first, whole)
	}
}

func TestLastSamplesCount(t *testing.T) {
	if got := last(ground.Samples{1, 2, 3, 4, 5, 6, 7}); !slices.Equal(got, ground.Samples{3, 4, 5, 6, 7}) {
		t.Errorf("last are %v", got)
	}
	if got := last(ground.Samples{1}); len(got) != 1 {
		t.Errorf("last of one are %v", got)
	}
}

func TestTally(t *testing.T) {
	wrong := fmt.Errorf("%w: differs", errWrong)
	for _, c := range []struct {
		name      string
		trials    []trial
		errs      []error
		pass      bool
		figure    string
		value     float64 // MiB
		inNotes   string
		badTrials int
	}{
		{"none", nil, nil, false, "0 of 0 identical, none wrong under", 0, "", 0},
		{"good", []trial{{kills: 1, extra: 5 << 20}, {kills: 1, extra: 64 << 20, who: killBoth}}, []error{nil, nil}, true,
			"2 of 2 identical, none wrong under the final name, at most 64.0 MiB", 64, "near end 1, far end 0, both 1", 0},
		{"too much", []trial{{kills: 1, extra: 64<<20 + 1}}, []error{nil}, false, "1 of 1 identical", 64, "MiB beyond the file after 1 kills", 1},
		{"two kills", []trial{{kills: 2, extra: 100 << 20, when: inResume}}, []error{nil}, true, "at most 50.0 MiB per kill", 50, "during a resume 1", 0},
		{"two kills, too much", []trial{{kills: 2, extra: 129 << 20, when: inResume}}, []error{nil}, false, "at most 64.5 MiB per kill", 64.5, "after 2 kills", 1},
		{"failed", []trial{{kills: 1}, {kills: 1}}, []error{nil, errors.New("broke")}, false, "1 of 2 identical, none wrong", 0, "near end, any moment: broke", 1},
		{"wrong", []trial{{kills: 1, when: lastMoment, selfDone: true}}, []error{wrong}, false, "0 of 1 identical, 1 wrong under", 0, "1 killed runs reconnected", 1},
	} {
		var k killTally
		for i, one := range c.trials {
			k.count(one, c.errs[i])
		}
		b := &bench{}
		b.reportKill(k)
		got := b.Results[0]
		if got.Pass != c.pass || !strings.Contains(got.Figure, c.figure) || got.Value < c.value-0.01 || got.Value > c.value+0.01 {
			t.Errorf("%s: pass %v, %v MiB, %q", c.name, got.Pass, got.Value, got.Figure)
		}
		if !strings.Contains(strings.Join(got.Notes, "\n"), c.inNotes) || len(k.bad) != c.badTrials {
			t.Errorf("%s: notes %q, bad %q", c.name, got.Notes, k.bad)
		}
	}
}

func TestLoopbackSent(t *testing.T) {
	const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
  wan0:    2000       2    0    0    0     0          0         0      300       3    0    0    0     0       0          0
    lo:     100       1    0    0    0     0          0         0      107       1    0    0    0     0       0          0
`
	if n, err := loopbackSent(text); n != 107 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	for _, bad := range []string{"", "lo: 1 2 3\n", "lo: a b c d e f g h i j k\n", strings.ReplaceAll(text, "lo:", "l0:")} {
		if n, err := loopbackSent(bad); err == nil {
			t.Errorf("%d bytes of %q", n, bad)
		}
	}
}

// TestJudge lets the watcher of the final name see what may be there and what not.
func TestJudge(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for i, name := range []string{"src", "old", "other"} {
		if err := payload.MakeFile(t.Context(), path(name), 100_000, byte(i)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		old, content string
		good         bool
	}{
		{"", "src", true}, {"", "", true}, {"", "old", false}, {"", "other", false},
		{"old", "src", true}, {"old", "old", true}, {"old", "other", false}, {"old", "", false},
	} {
		r := trial{src: path("src"), dst: path("dst")}
		if c.old != "" {
			r.old = path(c.old)
		}
		os.Remove(r.dst)
		if c.content != "" {
			if err := os.Link(path(c.content), r.dst); err != nil {
				t.Fatal(err)
			}
		}
		look := r.watchName()
		if err := look(); (err == nil) != c.good || err != nil && !errors.Is(err, errWrong) {
			t.Errorf("old file %q, %q under the name: %v", c.old, c.content, err)
		}
	}
}

func TestPlaceAndVictims(t *testing.T) {
	dir := t.TempDir()
	r := trial{old: filepath.Join(dir, "old"), dst: filepath.Join(dir, "dst")}
	if err := os.WriteFile(r.old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.place(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(r.dst); string(text) != "old" {
		t.Errorf("under the name is %q, %v", text, err)
	}
	r.old = ""
	if err := r.place(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(r.dst); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the name is still there: %v", err)
	}
	for who, want := range map[victim]string{killNear: "near end", killFar: "far end", killBoth: "both ends"} {
		if who.String() != want {
			t.Errorf("victim %d is %q", who, who)
		}
	}
}
