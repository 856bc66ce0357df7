package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/events"
)

func TestSourceLines(t *testing.T) {
	p := progressState{style: viewStyle{UTF8: true}, sources: true, streams: true, files: true, from: -1}
	total := int64(4e9)
	p.fold(progressNow, events.JobStart{Mode: "pull", Sources: []string{"h1:/f", "h2:/f", "https://m/f"}, Dests: []string{"f"}})
	p.fold(progressNow, events.Progress{DoneBytes: 2e9, TotalBytes: &total, RateBps: 30e6})
	p.fold(progressNow, events.ProgressSource{Source: "h1:/f", DoneBytes: 15e8, Share: 0.75, RateBps: 30e6, State: "active"})
	p.fold(progressNow, events.ProgressSource{Source: "h2:/f\x1b[2J", DoneBytes: 5e8, Share: 0.25, State: "resting"})
	got := p.lines(79, 12, progressNow.Add(time.Second))
	want := []string{
		` h1:/f          75%  30.0 MB/s   1.50 GB`,
		` h2:/f\x1b[2J   25%  resting     500 MB`,
	}
	if len(got) < 4 || !slices.Equal(got[2:4], want) {
		t.Errorf("got %q", got)
	}
	for _, tt := range []struct {
		width, most int
		want        string // contained in the last line; "": there is none
	}{{79, 5, " h2:/f"}, {79, 3, " 50%"}, {20, 5, "25%"}} {
		got := p.lines(tt.width, tt.most, progressNow.Add(time.Second))
		if len(got) > tt.most || tt.want != "" && !strings.Contains(strings.Join(got, "\n"), tt.want) {
			t.Errorf("%d columns, %d lines: %q", tt.width, tt.most, got)
		}
		for _, line := range got {
			if viewWidth(line) > tt.width {
				t.Errorf("%q is wider than %d columns", line, tt.width)
			}
		}
	}
	// Sources of a file that is complete are not shown any more; one alone needs no line.
	p.fold(progressNow.Add(time.Minute), events.ProgressSource{Source: "h1:/g", Share: 1, State: "active"})
	if got := p.lines(79, 12, progressNow.Add(time.Minute)); strings.Contains(strings.Join(got, "\n"), "h2:") || len(p.src.list) != 1 {
		t.Errorf("got %q", got)
	}
	p.sources = false
	p.fold(progressNow.Add(time.Minute), events.ProgressSource{Source: "h2:/g", State: "active"})
	if got := p.lines(79, 12, progressNow.Add(time.Minute)); strings.Contains(strings.Join(got, "\n"), "h2:") {
		t.Errorf("not asked for: %q", got)
	}
}
