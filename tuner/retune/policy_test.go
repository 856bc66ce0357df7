package retune

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// model makes a sample of a tenth of a second for the settings of the moment.
type model func(set Settings, at time.Duration) Sample

// drive runs a policy against a model and gives what it decided.
func drive(p interface {
	Start() Settings
	Step(Sample) (Decision, bool)
}, span time.Duration, m model) (l []Decision, set Settings) {
	set = p.Start()
	for at := 100 * ms; at <= span; at += 100 * ms {
		s := m(set, at)
		s.At, s.Span, s.Streams = at, 100*ms, set.Streams
		if d, ok := p.Step(s); ok {
			l = append(l, d)
			set = d.Settings
		}
	}
	return l, set
}

// path is a sample of a path that nothing troubles, at a rate in bytes per
// second.
func path(rate float64) Sample {
	return Sample{Acked: int64(rate / 10), Known: KnownAll, RTT: rtt, MinRTT: rtt, Cwnd: 1e5, Segs: int64(rate / 14480)}
}

// each gives every stream the same, up to what the path carries, where a queue
// builds up.
func each(share, capacity float64) model {
	return func(set Settings, _ time.Duration) Sample {
		rate := share * float64(set.Streams)
		if rate < capacity {
			return path(rate)
		}
		s := path(capacity)
		s.RTT += 10 * ms
		return s
	}
}

// losing is a path on which every stream meets losses, while the queue is empty,
// unless it uses bbr.
func losing(share, capacity float64) model {
	even := each(share, capacity)
	return func(set Settings, at time.Duration) Sample {
		if set.CC == "bbr" {
			return path(0.95 * capacity)
		}
		s := even(set, at)
		s.Events, s.Lost = 1, 1
		return s
	}
}

// changing is one model until an instant and another from then on.
func changing(before, after model, when time.Duration) model {
	return func(set Settings, at time.Duration) Sample {
		if at < when {
			return before(set, at)
		}
		return after(set, at)
	}
}

func start(n int) Config {
	return Config{Start: Settings{Streams: n, CC: "cubic"}, CCs: []string{"cubic"}}
}

// TestPolicy: what is done about what, on paths that do as they are told.
func TestPolicy(t *testing.T) {
	window := func(set Settings, at time.Duration) Sample {
		s := each(10e6, 100e6)(set, at)
		if set.Streams < 10 {
			s.Wnd = 1
		}
		return s
	}
	disk := func(set Settings, _ time.Duration) Sample {
		s := path(50e6)
		s.Wnd, s.Sink.Disk = 0.9, 0.98
		return s
	}
	oneCore := func(set Settings, _ time.Duration) Sample {
		s := path(min(20e6*float64(set.Streams), 80e6))
		if set.Streams < 4 {
			s.App, s.Source = 0.5, End{Core: 0.99, Own: 0.25 * float64(set.Streams) / 2}
		}
		return s
	}
	longer := func(set Settings, _ time.Duration) Sample {
		s := path(min(6e6*float64(set.Streams), 100e6))
		s.RTT = 3 * rtt
		return s
	}
	bold, pinned, both, limited := start(4), start(4), start(4), start(4)
	bold.Priority = Bold
	pinned.Least, pinned.Most = 4, 4
	both.CCs = []string{"cubic", "bbr"}
	limited.Limit = 60e6
	tests := []struct {
		name      string
		c         Config
		span      time.Duration
		m         model
		least     int // streams at the end
		most      int
		cc        string
		decisions int // at most
	}{
		{"nothing is wrong", start(4), time.Minute, func(Settings, time.Duration) Sample { return path(50e6) }, 4, 6, "cubic", 8},
		{"a limit of each stream that nobody sees", start(4), time.Minute, func(set Settings, _ time.Duration) Sample { return path(min(5e6*float64(set.Streams), 90e6)) }, 18, 32, "cubic", 20},
		{"a full path, few streams", start(4), 2 * time.Minute, each(50e6, 100e6), 4, 4, "cubic", 6},
		{"a full path, many streams", start(32), 3 * time.Minute, each(50e6, 100e6), 8, 9, "cubic", 60},
		{"losses without a queue", start(4), time.Minute, losing(2e6, 60e6), 30, 75, "cubic", 30},
		{"losses without a queue, bbr allowed", both, time.Minute, losing(2e6, 60e6), 4, 6, "bbr", 10},
		{"losses, streams pinned", pinned, time.Minute, losing(2e6, 60e6), 4, 4, "cubic", 0},
		{"windows", start(2), time.Minute, window, 8, 16, "cubic", 20},
		{"windows, pinned", pinned, time.Minute, window, 4, 4, "cubic", 0},
		{"a slow disk", start(12), 2 * time.Minute, disk, 3, 3, "cubic", 6},
		{"one processor", start(1), time.Minute, oneCore, 4, 6, "cubic", 14},
		{"as fast as allowed", limited, time.Minute, func(Settings, time.Duration) Sample { s := path(59e6); s.RTT += 10 * ms; return s }, 4, 4, "cubic", 0},
		{"a longer way", start(8), 2 * time.Minute, changing(each(50e6, 100e6), longer, 30*time.Second), 12, 40, "cubic", 40},
		{"bold has more", bold, time.Minute, losing(1e6, 110e6), 100, 128, "cubic", 20},
	}
	for _, tt := range tests {
		p := New(tt.c)
		l, set := drive(p, tt.span, tt.m)
		if set.Streams < tt.least || set.Streams > tt.most || set.CC != tt.cc || len(l) > tt.decisions {
			t.Errorf("%s: %v after %d decisions, want %d to %d streams with %s after at most %d", tt.name, set, len(l), tt.least, tt.most, tt.cc, tt.decisions)
			for _, d := range l {
				t.Log(d)
			}
		}
		again, _ := drive(New(tt.c), tt.span, tt.m)
		if !slices.Equal(l, again) {
			t.Errorf("%s: the same samples make other decisions", tt.name)
		}
	}
}

// TestTrials: a trial ends once, with what it brought, and one that harms is
// undone.
func TestTrials(t *testing.T) {
	worse := func(set Settings, _ time.Duration) Sample {
		s := path(60e6 / float64(1+set.Streams/6))
		s.Events, s.Lost = 1, 1
		return s
	}
	l, set := drive(New(start(5)), 20*time.Second, worse)
	if len(l) < 2 || set.Streams != 5 {
		t.Fatalf("%v after %v", set, l)
	}
	try, end := l[0], l[1]
	if try.Step != Try || try.To.Streams <= 5 || try.Settings != try.To || try.From.Streams != 5 || try.Class != Losing || try.Reason == "" || try.Before != 60e6 || try.After != 0 {
		t.Errorf("first decision is %+v", try)
	}
	if end.Step != Undo || end.ID != try.ID || end.Settings != try.From || end.To != try.To || end.Before != try.Before || end.After >= end.Before || end.At <= try.At {
		t.Errorf("second decision is %+v", end)
	}
	if got, want := end.String(), "undo n=5 cubic -> n=13 cubic (network, losses)"; !strings.Contains(got, want) {
		t.Errorf("%q does not have %q", got, want)
	}
}

// TestObserve: who only observes changes nothing, and says what it would do now
// and then.
func TestObserve(t *testing.T) {
	c := start(4)
	c.Observe = true
	for name, p := range map[string]interface {
		Start() Settings
		Step(Sample) (Decision, bool)
	}{"guided": New(c), "blind": NewClimber(c)} {
		l, set := drive(p, 2*time.Minute, losing(2e6, 60e6))
		if set != c.Start || len(l) == 0 || len(l) > 12 {
			t.Errorf("%s: %v after %d decisions", name, set, len(l))
		}
		for _, d := range l {
			if d.Step != Would || d.To.Streams <= 4 || d.Settings != c.Start {
				t.Errorf("%s: %v", name, d)
			}
		}
	}
}

// TestUnknown: a policy needs none of the groups. Without round trips or losses it
// tries what it cannot know.
func TestUnknown(t *testing.T) {
	for _, known := range []Known{0, KnownRTT, KnownLoss, KnownBusy, KnownEnds, KnownRTT | KnownLoss, KnownAll &^ KnownRTT, KnownAll &^ KnownLoss, KnownAll &^ KnownBusy} {
		m := losing(2e6, 60e6)
		l, set := drive(New(start(4)), time.Minute, func(set Settings, at time.Duration) Sample {
			s := m(set, at)
			s.Known = known
			return s
		})
		if set.Streams < 25 {
			t.Errorf("with groups %b: %v after %v", known, set, l)
		}
		if guided := l[0].Class == Losing; guided != known.Has(KnownRTT|KnownLoss) {
			t.Errorf("with groups %b the first decision is %v", known, l[0])
		}
	}
}

// TestStrange: samples that cannot be change nothing.
func TestStrange(t *testing.T) {
	p := New(start(4))
	for i := range 1000 {
		s := path(1e6)
		s.At, s.Span, s.Streams = time.Duration(i)*ms, 100*ms, 4
		s.Acked = -s.Acked
		if d, ok := p.Step(s); ok {
			t.Fatalf("a negative count made %v", d)
		}
	}
	if p.Class() != Unknown {
		t.Errorf("class is %q", p.Class())
	}
}

func TestBounds(t *testing.T) {
	for _, tt := range []struct {
		c      Config
		losing bool
		n      int
		want   int
	}{
		{Config{}, false, 100, 64},
		{Config{}, true, 100, 100},
		{Config{}, true, 1000, 128},
		{Config{}, false, 0, 1},
		{Config{Priority: Bold}, false, 1000, 128},
		{Config{Priority: Background}, true, 64, 2},
		{Config{Least: 8}, false, 3, 8},
		{Config{Most: 6}, true, 64, 6},
		{Config{Most: 256}, false, 200, 64},
		{Config{Least: 5, Most: 5}, true, 64, 5},
		{Config{Least: 100}, false, 3, 100},
	} {
		if got := New(tt.c).bound(tt.n, tt.losing); got != tt.want {
			t.Errorf("%+v, losing %v: %d streams become %d, want %d", tt.c, tt.losing, tt.n, got, tt.want)
		}
	}
}
