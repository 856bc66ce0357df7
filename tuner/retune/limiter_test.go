package retune

import "testing"

func TestClassify(t *testing.T) {
	const belief = 100e6
	tests := []struct {
		name string
		r    Record
		c    Context
		want Class
	}{
		{"nothing known", Record{Rate: 50e6}, Context{}, Unknown},
		{"nothing stands out", Record{Known: KnownAll, Rate: 99e6}, Context{Belief: belief}, Unknown},
		{"as fast as allowed", Record{Known: KnownAll, Rate: 96e6, Queue: 1}, Context{Limit: 100e6}, Limit},
		{"slower than allowed", Record{Known: KnownAll, Rate: 90e6, Queue: 1}, Context{Limit: 100e6}, Saturated},
		{"reading takes the time", Record{Known: KnownAll, App: 0.6, Source: End{Disk: 0.95}}, Context{}, SourceDisk},
		{"files take the time", Record{Known: KnownAll, App: 0.6, Source: End{Disk: 0.95, Files: 0.7}}, Context{}, SmallFiles},
		{"reading, yet senders are never idle", Record{Known: KnownAll, App: 0.1, Source: End{Disk: 0.95}}, Context{}, Unknown},
		{"sealing takes the time", Record{Known: KnownAll, App: 0.5, Source: End{CPU: 0.95}}, Context{}, SourceCPU},
		{"all that a quota allows", Record{Known: KnownAll, App: 0.5, Source: End{Own: 0.95}}, Context{}, SourceCPU},
		{"one processor is hot", Record{Known: KnownAll, App: 0.5, Source: End{Core: 0.97}}, Context{}, SourceCPU},
		{"writing takes the time", Record{Known: KnownAll, Wnd: 0.4, Sink: End{Disk: 0.95}}, Context{}, TargetDisk},
		{"opening takes the time", Record{Known: KnownAll, Wnd: 0.4, Sink: End{CPU: 0.95}}, Context{}, TargetCPU},
		{"window, with a sink at rest", Record{Known: KnownAll, Wnd: 0.8, Sink: End{Disk: 0.2}}, Context{}, ReceiverWindow},
		{"window, although there is a queue", Record{Known: KnownAll, Wnd: 0.8, Queue: 0.9}, Context{}, ReceiverWindow},
		{"own buffer", Record{Known: KnownAll, Snd: 0.8}, Context{}, SendBuffer},
		{"ends are not known", Record{Known: KnownAll &^ KnownEnds, App: 0.6, Wnd: 0.6}, Context{}, ReceiverWindow},
		{"a queue", Record{Known: KnownAll, Queue: 0.8, Rising: true}, Context{}, Saturated},
		{"a queue that nobody measured", Record{Known: KnownAll &^ KnownRTT, Queue: 0.8}, Context{}, Unknown},
		{"growing", Record{Known: KnownAll, Rising: true, Stray: 3, Events: 3, Bad: 3}, Context{}, Growing},
		{"losing, yet growing", Record{Known: KnownAll, Rising: true, Stray: 9, Events: 9, Bad: 5}, Context{}, Losing},
		{"losses without a queue", Record{Known: KnownAll, Rate: 50e6, Stray: 9, Events: 9, Bad: 5}, Context{Belief: belief}, Losing},
		{"losses, nothing believed", Record{Known: KnownAll, Rate: 50e6, Stray: 9, Events: 9, Bad: 5}, Context{}, Losing},
		{"losses that do not matter", Record{Known: KnownAll, Rate: 95e6, Stray: 9, Events: 9, Bad: 5}, Context{Belief: belief}, Unknown},
		{"one burst", Record{Known: KnownAll, Rate: 50e6, Stray: 9, Events: 9, Bad: 1}, Context{}, Unknown},
		{"few losses", Record{Known: KnownAll, Rate: 50e6, Stray: 3, Events: 3, Bad: 3}, Context{}, Unknown},
		{"losses of a full queue", Record{Known: KnownAll, Rate: 50e6, Stray: 5, Events: 20, Bad: 5}, Context{}, Unknown},
		{"losses that nobody counted", Record{Known: KnownAll &^ KnownLoss, Rate: 50e6, Stray: 9, Events: 9, Bad: 5}, Context{}, Unknown},
	}
	for _, tt := range tests {
		if got := Classify(tt.r, tt.c); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestClassWords(t *testing.T) {
	for c, want := range map[Class]string{SourceDisk: "source disk", SendBuffer: "receiver window", Losing: "network", Growing: "network", Saturated: "network", Unknown: "unknown", Limit: "bwlimit"} {
		if got := c.LimitedBy(); got != want {
			t.Errorf("%q is shown as %q, want %q", c, got, want)
		}
	}
}

// TestLimiterHolds: one odd period changes nothing, two do.
func TestLimiterHolds(t *testing.T) {
	var l limiter
	in := []Class{Saturated, Saturated, Unknown, Saturated, Losing, Unknown, Losing, Losing, SourceDisk, Growing, Losing}
	want := []Class{Saturated, Saturated, Saturated, Saturated, Saturated, Saturated, Losing, Losing, Losing, Losing, Losing}
	for i, c := range in {
		if got := l.step(c); got != want[i] {
			t.Errorf("after %v: %q, want %q", in[:i+1], got, want[i])
		}
	}
	l.clear()
	if got := l.step(Growing); got != Growing {
		t.Errorf("first after a change: %q, want %q", got, Growing)
	}
}
