package engine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/tuner/choice"
	"github.com/gomover/gomover/tuner/retune"
)

// gauge is a stream of which only its counters matter.
type gauge struct {
	cableStream
	st  transports.Stats
	set []transports.Settings
}

func (g *gauge) Stats() transports.Stats { return g.st }

func (g *gauge) Retune(s transports.Settings) error {
	g.set = append(g.set, s)
	if s.CC != "" {
		g.st.CC = s.CC
	}
	return nil
}

// advance lets the stream do what it does in a span: a share of the loss and so
// many bytes a second.
func (g *gauge) advance(span time.Duration, rate float64, losing bool) {
	g.st.SentBytes += int64(rate * span.Seconds())
	if losing {
		g.st.Retrans++
	}
}

// told are the events of a source.
type told []events.Event

func (l *told) Record(_ time.Time, e events.Event) { *l = append(*l, e) }

// gauges makes a source with n streams whose counters are set by hand.
func gauges(t *testing.T, o Options, n int) (*Source, []*gauge, *told) {
	t.Helper()
	told := new(told)
	s := NewSource(o, Paths{CCs: []string{"cubic", "bbr"}}, cableEnd{newCable(0, 1), 0}, nil, told)
	s.streams.target = n
	s.sched.wanted = 1 << 40
	var l []*gauge
	for i := range n {
		g := &gauge{st: transports.Stats{Transport: "tcp", RTT: 50 * time.Millisecond, MinRTT: 50 * time.Millisecond, Cwnd: 1 << 20, CC: "cubic", SentBytes: 1 << 30}}
		l = append(l, g)
		s.streams.m[uint32(i)] = &sendStream{id: uint32(i), st: g}
	}
	return s, l, told
}

// TestRetuneSample: what counters come to.
func TestRetuneSample(t *testing.T) {
	const span = 200 * time.Millisecond
	before := transports.Stats{SentBytes: 10e6, Unacked: 2e6, NotSent: 1e6, Retrans: 5, RwndLimited: time.Second, BufLimited: time.Second, RTT: 40 * time.Millisecond, MinRTT: 30 * time.Millisecond, Cwnd: 1e6}
	after := before
	after.SentBytes, after.Unacked, after.NotSent, after.Retrans = 20e6, 3e6, 2e6, 9
	after.RwndLimited += span / 2
	after.BufLimited += 2 * span // a kernel's clock and ours are not one
	after.RTT, after.Cwnd = 60*time.Millisecond, 3e6
	now := time.Now()
	r := &retuner{own: "cubic", began: now.Add(-time.Second), at: now.Add(-span), seen: map[uint32]transports.Stats{1: before, 2: before}}
	stats := map[uint32]transports.Stats{1: after, 2: before, 3: after}
	v, ok := r.sample(now, 0, stats, "target disk")
	want := retune.Sample{At: time.Second, Span: span, Acked: 8e6, Streams: 2, Known: retune.KnownAll, RTT: 50 * time.Millisecond, MinRTT: 30 * time.Millisecond, Cwnd: 2e6,
		Segs: 10_000_000 / segment, Lost: 4, Events: 1, Wnd: 1, Snd: 1, Sink: retune.End{Disk: 1}}
	if v != want || !ok {
		t.Errorf("got  %+v, %v\nwant %+v", v, ok, want)
	}
	// Nothing has passed since.
	if v, ok = r.sample(now.Add(10*time.Millisecond), 0, stats, ""); ok {
		t.Errorf("less than a round trip makes %+v", v)
	}
	if v, ok = r.sample(now.Add(span), 0, stats, ""); !ok || v.Acked != 0 || v.Streams != 3 || v.Wnd != 0 {
		t.Errorf("nothing makes %+v, %v", v, ok)
	}
	// Other streams than before: they are counted from now on.
	if _, ok = r.sample(now.Add(2*span), 0, map[uint32]transports.Stats{7: after}, ""); ok {
		t.Error("streams that nobody has seen before make a sample")
	}
	// A kernel that tells nothing.
	r.own, r.bytes = "", 0
	after.RTT = 0
	v, ok = r.sample(now.Add(3*span), 5e6, map[uint32]transports.Stats{7: after}, "")
	if !ok || v.Known != 0 || v.Acked != 5e6 {
		t.Errorf("without counters: %+v, %v", v, ok)
	}
}

// TestRetune: a source whose streams lose is given more of them, or another
// congestion control, and says so; one that is told to observe only says so.
func TestRetune(t *testing.T) {
	tests := []struct {
		name    string
		o       Options
		streams int // at the end, at least; 0: as at the start
		cc      string
	}{
		{"bbr", Options{Retune: retuneOn}, 0, "bbr"},
		{"pinned control", Options{Retune: retuneOn, CC: "cubic"}, 8, "cubic"},
		{"pinned", Options{Retune: retuneOn, CC: "cubic", StreamsMin: 4, StreamsMax: 4}, 0, "cubic"},
		{"observe", Options{Retune: retuneObserve}, 0, "cubic"},
	}
	for _, tt := range tests {
		s, l, told := gauges(t, tt.o, 4)
		now := time.Now()
		const span = 200 * time.Millisecond
		for i := range 100 {
			for k, g := range l {
				rate := 2e6
				if g.st.CC == "bbr" {
					rate = 20e6
				}
				g.advance(span, rate, (i+k)%3 == 0 && g.st.CC != "bbr")
			}
			now = now.Add(span)
			s.retune(now, 0, "network")
		}
		got := s.streams.target
		if tt.streams == 0 && got != 4 || got < tt.streams {
			t.Errorf("%s: %d streams", tt.name, got)
		}
		if l[0].st.CC != tt.cc {
			t.Errorf("%s: congestion control %s, want %s", tt.name, l[0].st.CC, tt.cc)
		}
		said := 0
		for _, e := range *told {
			switch e := e.(type) {
			case events.Tune:
				said++
				if e.ID == 0 || e.BeforeBps == 0 || !strings.Contains(e.Reason, "(limited by ") || tt.o.Retune == retuneObserve && e.From != e.To {
					t.Errorf("%s: %+v", tt.name, e)
				}
			case events.Plan:
				said++
				if e.CC != "bbr" || e.Streams != 4 || e.RTTms != 50 {
					t.Errorf("%s: %+v", tt.name, e)
				}
			}
		}
		if pinned := tt.o.StreamsMin > 0; (said == 0) != pinned {
			t.Errorf("%s: %d events", tt.name, said)
		}
	}
}

// TestRetuneLeaves: there are streams that are none of its business, and a change
// by somebody else starts it anew.
func TestRetuneLeaves(t *testing.T) {
	s, l, _ := gauges(t, Options{Retune: retuneOn}, 2)
	now := time.Now()
	s.retune(now, 0, "")
	if s.retuner == nil || s.retuner.set.Streams != 2 {
		t.Fatalf("it begins with %+v", s.retuner)
	}
	first := s.retuner
	s.SetStreams(5)
	s.retune(now.Add(time.Second), 0, "")
	if s.retuner == first || s.retuner.set.Streams != 5 {
		t.Errorf("after somebody else's change it has %+v", s.retuner.set)
	}
	l[0].st.Transport, l[1].st.Transport = "udt", "udt"
	s.retune(now.Add(2*time.Second), 0, "")
	if s.retuner != nil {
		t.Error("UDT's streams are retuned")
	}
	s, _, _ = gauges(t, Options{Retune: retuneOn}, 2)
	s.paths.Local = true
	s.retune(now, 0, "")
	if s.retuner != nil {
		t.Error("streams within the process are retuned")
	}
}

// TestRetunePace: a rate is divided among the streams, and taken away again.
func TestRetunePace(t *testing.T) {
	s, l, told := gauges(t, Options{Retune: retuneOn}, 4)
	r := &retuner{set: retune.Settings{Streams: 4, CC: "bbr"}}
	limited := retune.Settings{Streams: 4, CC: "bbr", Rate: 100e6}
	s.apply(r, retune.Decision{Settings: limited, From: r.set, To: limited, ID: 3, Reason: "x"}, s.streams.list(), 0)
	now := time.Now()
	s.pace(now)
	if got := l[0].set; len(got) != 1 || got[0].PacingRate != 25e6 {
		t.Errorf("a quarter of the rate is %+v", got)
	}
	s.apply(r, retune.Decision{Settings: retune.Settings{Streams: 4, CC: "bbr"}, From: retune.Settings{Streams: 4, CC: "bbr"}, To: limited, ID: 3, Step: retune.Undo}, s.streams.list(), 0)
	s.pace(now.Add(time.Second))
	if got := l[0].set; len(got) != 2 || got[1].PacingRate != unpaced {
		t.Errorf("no rate is %+v", got)
	}
	e, ok := (*told)[0].(events.Tune)
	if !ok || e.What != "rate" || e.From != 0 || e.To != 100e6 || e.ID != 1 {
		t.Errorf("it says %+v", (*told)[0])
	}
	if e, ok := (*told)[1].(events.Tune); !ok || e.ID != 1 {
		t.Errorf("and at its end %+v", (*told)[1])
	}
}

// TestTuneCC: streams that lose while the queue is empty are given bbr; those that lose
// much go by and by, and small buffers bring more. What somebody has asked for stays.
func TestTuneCC(t *testing.T) {
	for _, tt := range []struct {
		name string
		o    Options
		own  string
		lost int64 // segments sent again each time, by each stream of bbr
		full bool  // send buffers hold the first streams of bbr back
		want int
		cc   string
	}{
		{"losses", Options{Retune: retuneAuto}, "cubic", 1, false, 12, "bbr"},
		{"many losses", Options{Retune: retuneAuto}, "cubic", 40, false, 4, "bbr"},
		{"small buffers", Options{Retune: retuneAuto}, "cubic", 1, true, 24, "bbr"},
		{"at most sixteen", Options{Retune: retuneAuto, StreamsMax: 16}, "cubic", 1, true, 16, "bbr"},
		{"at least six", Options{Retune: retuneAuto, StreamsMin: 6}, "cubic", 40, false, 6, "bbr"},
		{"streams as they are", Options{}, "cubic", 40, true, 12, "bbr"},
		{"a control that was asked for", Options{Retune: retuneAuto, CC: "cubic"}, "cubic", 40, true, 12, "cubic"},
		{"bbr that was asked for", Options{Retune: retuneAuto, CC: "bbr"}, "bbr", 40, false, 4, "bbr"},
		{"bbr from the start", Options{Retune: retuneAuto}, "bbr", 40, false, 4, "bbr"},
		{"bbr from the start, small buffers", Options{Retune: retuneAuto}, "bbr", 1, true, 24, "bbr"},
	} {
		const first = 12
		s, l, told := gauges(t, tt.o, first)
		s.bounds = [2]int{tt.o.StreamsMin, tt.o.StreamsMax}
		now := s.start
		for _, g := range l {
			g.st.CC = tt.own
		}
		const span = 200 * time.Millisecond
		for range 100 {
			// What is opened and closed elsewhere follows the target.
			for i := range s.streams.m {
				if int(i) >= s.streams.target {
					delete(s.streams.m, i)
				}
			}
			for _, g := range l {
				g.advance(span, 2e6, true)
				if g.st.CC == "bbr" {
					g.st.Retrans += tt.lost
				}
				if tt.full && s.streams.target == first {
					g.st.BufLimited += span
				}
			}
			now = now.Add(span)
			s.flow.look(now, s.streams.list())
			s.tuneCC(now, 2e7)
		}
		if got := s.streams.target; got != tt.want {
			t.Errorf("%s: %d streams, want %d", tt.name, got, tt.want)
		}
		if got := l[0].st.CC; got != tt.cc {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.cc)
		}
		streams, plans := int64(first), 0
		for _, e := range *told {
			switch e := e.(type) {
			case events.Plan:
				plans++
				if e.Streams != first || e.CC != "bbr" {
					t.Errorf("%s: the plan is %+v", tt.name, e)
				}
			case events.Tune:
				if e.What != "streams" || e.From != streams || e.To == streams || e.Reason == "" {
					t.Errorf("%s: the step is %+v", tt.name, e)
				}
				streams = e.To
			}
		}
		if streams != int64(tt.want) || (plans == 1) != (tt.own != tt.cc) {
			t.Errorf("%s: told %+v", tt.name, *told)
		}
	}
}

// TestTuneNumbers: each step of tuning has a number of its own, whoever takes it, and its
// end has that of its begin.
func TestTuneNumbers(t *testing.T) {
	s, _, told := gauges(t, Options{Retune: retuneOn}, 4)
	s.chooser = &chooser{}
	s.paths.Endpoint = turner{}
	s.link, _ = MemoryLink()
	r := &retuner{}
	tune := func(id int, after int64) {
		s.tellTuned(r, retune.Decision{From: retune.Settings{Streams: 4}, To: retune.Settings{Streams: 5}, ID: id, After: after}, 0)
	}
	tune(1, 0)
	s.tellDepth("readers", retune.Change{From: 1, To: 2, Before: 5})
	s.followDepth(1, 2)
	tune(1, 7)
	s.tryOther(choice.Decision{Setting: choice.Setting{Transport: "udt", Streams: 1}}, 4)
	tune(2, 0)
	s.tellDepth("readers", retune.Change{From: 1, To: 2, Before: 5, After: 9})
	s.closeOther(choice.Decision{Setting: choice.Setting{Transport: "udt"}}, 4)
	tune(2, 7)
	var got []int
	for _, e := range *told {
		if e, ok := e.(events.Tune); ok {
			got = append(got, e.ID)
		}
	}
	if want := []int{1, 2, 3, 1, 4, 5, 2, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("numbers %v, want %v", got, want)
	}
}

// turner is an endpoint that turns as it is told.
type turner struct {
	transports.Endpoint
	transports.Switcher
}

func (turner) Use(bool) error { return nil }
