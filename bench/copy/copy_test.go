package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	s, err := parse([]string{"-rows", "loop,kill", "-kills", "7"})
	if err != nil || !s.Chosen("loop") || !s.Chosen("kill") || s.Chosen("wan") || s.kills != 7 {
		t.Errorf("parse gives %+v, %v", s, err)
	}
	if s, err = parse(nil); err != nil || len(s.Rows) != len(rows) {
		t.Errorf("without options there are %d rows of %d, %v", len(s.Rows), len(rows), err)
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

func TestTopology(t *testing.T) {
	text, err := json.Marshal(lossyLink.topology())
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
	if text, _ = json.Marshal(wanLink.topology()); strings.Contains(string(text), "loss") {
		t.Errorf("loss on the path without: %s", text)
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

func TestRemedy(t *testing.T) {
	const held, other, step = `{"ev":"progress","limited_by":"receiver window"}`, `{"ev":"progress","limited_by":"network"}`, `{"ev":"tune","what":"streams","from":12,"to":24,"reason":"try: each stream fills its receiver window"}`
	const look = `{"ev":"tune","what":"streams","from":12,"to":12,"reason":"12 streams wait for the receiver window: looking for better settings"}`
	for _, c := range []struct {
		lines []string
		told  bool
		step  bool
	}{
		{[]string{other, held, step}, true, true},
		{[]string{other, step, held}, false, true},
		{[]string{look, held, step}, true, true},
		{[]string{look}, false, false},
		{[]string{held, `{"ev":"tune","reason":"losses"}`}, true, false},
		{nil, false, false},
	} {
		told, reason := remedy(strings.Join(c.lines, "\n"), "receiver window")
		if told != c.told || (reason != "") != c.step {
			t.Errorf("%q: told %t, then %q", c.lines, told, reason)
		}
	}
}
