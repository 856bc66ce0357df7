package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/gomover/gomover/events"
)

// planWide is a plan over a long path, as several tests use it.
func planWide() events.Plan {
	return events.Plan{
		Transport: "tcp", Streams: 6, WindowBytes: 16 << 20, BlockBytes: 4 << 20, Dial: "source",
		RTTms: 88.13, Encrypt: "on", CC: "bbr", Reason: "rtt 88 ms, loss 2e-05",
		Alternatives: []events.Alternative{
			{Transport: "udt", PredictedBps: 640e6, Reason: "sender cpu"},
			{Transport: "ssh", PredictedBps: 24e6, Reason: "channel window"},
		},
	}
}

func TestExplainLines(t *testing.T) {
	want := []string{
		"plan: tcp x6, 16 MiB each, rtt 88 ms, encrypted, congestion control bbr",
		"  because: rtt 88 ms, loss 2e-05",
		"  blocks:  4 MiB, the unit of checking and of resuming",
		"  dial:    the source opens the data connections",
		"  windows: 16 MiB each, 96 MiB together: at most 1.14 GB/s at rtt 88 ms",
		"  instead: udt, 640 MB/s predicted: sender cpu",
		"           ssh, 24.0 MB/s predicted: channel window",
		"  pin it:  --transport=tcp --streams=6 --window=16M --cc=bbr --dial=source",
	}
	if got := explainLines(planWide(), viewStyle{}); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	want = []string{"plan: local"}
	if got := explainLines(events.Plan{Transport: "local"}, viewStyle{}); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	got := explainLines(events.Plan{Transport: "tcp", Streams: 4, Reason: "a\x1bb"}, viewStyle{})
	want = []string{"plan: tcp x4", `  because: a\x1bb`, "  windows: left to the kernel", "  pin it:  --transport=tcp --streams=4"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestViewTune(t *testing.T) {
	for _, c := range []struct {
		e           events.Tune
		view, plain string
	}{
		{events.Tune{What: "streams", From: 5, To: 6, BeforeBps: 852, AfterBps: 912, Reason: "room"}, "5 -> 6 streams (+7%)", "streams 5 -> 6: +7%"},
		{events.Tune{What: "streams", From: 6, To: 5, Reason: "no gain"}, "6 -> 5 streams", "streams 6 -> 5: no gain"},
		{events.Tune{What: "window", From: 4 << 20, To: 8 << 20, BeforeBps: 100, AfterBps: 90}, "window 4 MiB -> 8 MiB (-10%)", "window 4 MiB -> 8 MiB: -10%"},
		{events.Tune{What: "cc", CC: "bbr", Reason: "random loss"}, "congestion control bbr", "congestion control bbr: random loss"},
		{events.Tune{What: "rate", From: 5e6, To: 10e6}, "rate 5.00MB/s -> 10.0MB/s", "rate 5.00MB/s -> 10.0MB/s"},
	} {
		if got := viewTune(c.e, viewStyle{}); got != c.view {
			t.Errorf("viewTune = %q, want %q", got, c.view)
		}
		if got := plainTune(c.e, viewStyle{}); got != c.plain {
			t.Errorf("plainTune = %q, want %q", got, c.plain)
		}
	}
}

// TestPlanWithoutRTT: a round trip that was not measured is not spoken of.
func TestPlanWithoutRTT(t *testing.T) {
	p := events.Plan{Transport: "tcp", Streams: 2, WindowBytes: 1 << 20, Encrypt: "on"}
	if got, want := strings.Join(viewPlanParts(p), ", "), "tcp x2, 1 MiB each, encrypted"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := plainPlan(p, viewStyle{}), "tcp x2 1MiB encrypt on"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := (viewStyle{}).explainWindow(p), "  windows: 1 MiB each"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestExplainHostile: a plan may come from the far host, and what is to be typed is for a
// shell.
func TestExplainHostile(t *testing.T) {
	for _, line := range explainLines(events.Plan{Transport: "tcp", CC: "bbr;reboot\x1b]0;x\a", Dial: "$(reboot)"}, viewStyle{}) {
		if strings.ContainsAny(line, "\x1b\a") {
			t.Errorf("control characters in %q", line)
		}
		if pin, ok := strings.CutPrefix(line, "  pin it:  "); ok && (!strings.Contains(pin, "'--cc=bbr;reboot") || !strings.Contains(pin, "'--dial=$(reboot)'")) {
			t.Errorf("not quoted for a shell: %s", pin)
		}
	}
}
