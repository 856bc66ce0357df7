package main

import (
	"math"
	"testing"
)

func TestFirstBars(t *testing.T) {
	own := standing{name: "gomover", whole: 20, after: 19}
	for _, c := range []struct {
		list  []standing
		after bool
		whole bool
	}{
		{[]standing{own, {name: "GridFTP", whole: 19.5, after: 19.5}, {name: "rclone", whole: 30, after: 29}}, true, true},
		{[]standing{own, {name: "GridFTP", whole: 18.5, after: 18.5}, {name: "rclone", whole: 30, after: 29}}, false, true},
		{[]standing{own, {name: "xrdcp", whole: 21, after: 21}, {name: "scp", whole: 19.9, after: 19.1}}, true, false},
		{[]standing{own}, false, false},
	} {
		bars := firstBars("wan", c.list, true)
		if len(bars) != 2 || bars[0].Pass != c.after || bars[1].Pass != c.whole {
			t.Errorf("%+v: %+v", c.list, bars)
		}
	}
	if bars := firstBars("wan", []standing{own, {name: "GridFTP", whole: 19.5, after: 19.5}}, false); len(bars) != 1 || !bars[0].Pass {
		t.Errorf("without peers that log in: %+v", bars)
	}
}

func TestKnownAfter(t *testing.T) {
	text := `{"t":"2026-01-01T00:00:00Z","ev":"job.start"}
{"t":"2026-01-01T00:00:00.1Z","ev":"host","state":"connecting"}
{"t":"2026-01-01T00:00:00.9Z","ev":"host","state":"agent"}
`
	if got, err := knownAfter([]byte(text)); err != nil || math.Abs(got-0.9) > 1e-9 {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "x\n", `{"ev":"job.start"}` + "\n"} {
		if _, err := knownAfter([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}
