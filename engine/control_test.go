package engine

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/tuner/choice"
	"github.com/gomover/gomover/wire"
)

func ptr[T any](v T) *T { return &v }

// TestControl: what is asked for is done, and said once.
func TestControl(t *testing.T) {
	tests := []struct {
		name   string
		c      Control
		target int
		tune   []events.Tune
	}{
		{"nothing", Control{}, 4, nil},
		{"rate", Control{Rate: ptr[int64](1 << 30), Why: "because"}, 4, []events.Tune{{ID: 1, What: "rate", To: 1 << 30, Reason: "because"}}},
		{"no rate", Control{Rate: ptr[int64](0)}, 4, nil},
		{"pinned", Control{Streams: &[2]int{7, 7}}, 7, []events.Tune{{ID: 1, What: "streams", From: 4, To: 7, Reason: "as asked"}}},
		{"at most", Control{Streams: &[2]int{0, 3}}, 3, []events.Tune{{ID: 1, What: "streams", From: 4, To: 3, Reason: "as asked"}}},
		{"fair", Control{Priority: ptr(Fair)}, 4, nil},
		{"bold", Control{Priority: ptr(Bold)}, 24, []events.Tune{{ID: 1, What: "priority", To: 1, Reason: "as asked"}}},
		{"background", Control{Priority: ptr(Background)}, 2, []events.Tune{{ID: 1, What: "priority", To: -1, Reason: "as asked"}}},
		{"background beats streams", Control{Priority: ptr(Background), Streams: &[2]int{5, 9}}, 2, []events.Tune{{ID: 1, What: "priority", To: -1, Reason: "as asked"}}},
		{"pause", Control{Paused: ptr(true)}, 4, []events.Tune{{ID: 1, What: "pause", To: 1, Reason: "as asked"}}},
		{"no pause", Control{Paused: ptr(false)}, 4, nil},
		{"window", Control{Window: ptr(1 << 20)}, 4, []events.Tune{{ID: 1, What: "window", To: 1 << 20, Reason: "as asked"}}},
	}
	for _, tt := range tests {
		s, l, told := gauges(t, Options{}, 4)
		if err := s.Control(tt.c); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		var got []events.Tune
		for _, e := range *told {
			got = append(got, e.(events.Tune))
		}
		if s.streams.goal() != tt.target || !reflect.DeepEqual(got, tt.tune) {
			t.Errorf("%s: %d streams, %+v; want %d, %+v", tt.name, s.streams.goal(), got, tt.target, tt.tune)
		}
		if tt.c.Window != nil && !reflect.DeepEqual(l[0].set, []transports.Settings{{Window: 1 << 20}}) {
			t.Errorf("%s: the stream is set to %+v", tt.name, l[0].set)
		}
		*told = nil
		if err := s.Control(tt.c); err != nil || len(*told) > 0 && tt.c.Window == nil {
			t.Errorf("%s, again: %v, %+v", tt.name, err, *told)
		}
	}
}

// TestControlFromAfar: a control of the other end is taken if the user is there, one out
// of range ends the job.
func TestControlFromAfar(t *testing.T) {
	for _, tt := range []struct {
		body string
		ok   bool
	}{
		{`{"rate":1000000,"streams":[1,256],"window":65536,"priority":"fair","paused":true,"why":"x"}`, true},
		{`{}`, true},
		{`{"known":{"RTT":50000000,"Free":1e8,"NoUDP":true}}`, true},
		{`{"known":{"RTT":-1}}`, false},
		{`{"known":{"Free":-1}}`, false},
		{`{"known":{"Free":1e300}}`, false},
		{`{"known":{"Loss":2}}`, false},
		{`{"rate":-1}`, false},
		{`{"rate":9000000000000000}`, false},
		{`{"streams":[9,8]}`, false},
		{`{"streams":[-1,8]}`, false},
		{`{"streams":[1,257]}`, false},
		{`{"window":0}`, false},
		{`{"window":2000000000}`, false},
		{`{"priority":""}`, false},
		{`{"priority":"first"}`, false},
		{`{"paused":"yes"}`, false},
		{`{"why":"` + strings.Repeat("x", wire.MaxText+1) + `"}`, false},
		{`[`, false},
	} {
		s, _, _ := gauges(t, Options{}, 4)
		if _, err := s.handle(wire.KindControl, []byte(tt.body)); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%.60s: a source where the user is takes it: %v", tt.body, err)
		}
		s.paths.Obeys = true
		done, err := s.handle(wire.KindControl, []byte(tt.body))
		if done || (err == nil) != tt.ok {
			t.Errorf("%.60s: %v", tt.body, err)
		}
		if err != nil && !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%.60s: %v is another error", tt.body, err)
		}
	}
}

// TestControlKnown: what is learned of the path is what a choice is made by from then
// on.
func TestControlKnown(t *testing.T) {
	s, _, told := gauges(t, Options{}, 4)
	s.chooser = &chooser{watch: choice.Watch{Known: choice.Path{Free: 1e9}}}
	want := choice.Path{RTT: 50 * time.Millisecond, Free: 25e6, NoUDP: true}
	if err := s.Control(Control{Known: &want}); err != nil || len(*told) > 0 {
		t.Fatalf("%v, told %+v", err, *told)
	}
	for range 2 {
		if s.choose(time.Now(), Totals{}); s.chooser.watch.Known != want {
			t.Errorf("known is %+v, want %+v", s.chooser.watch.Known, want)
		}
	}
}

// TestPace: a limit is divided among the sockets by what they use, what is sent again
// counts, and a low limit leaves few streams useful.
func TestPace(t *testing.T) { synctest.Test(t, dividesPace) }

func dividesPace(t *testing.T) {
	s, l, _ := gauges(t, Options{Rate: 151.4e6}, 4)
	now := time.Now()
	s.pace(now)
	rate := func(i int) int64 { return l[i].set[len(l[i].set)-1].PacingRate }
	for i := range l {
		if got := rate(i); got < 36.4e6 || got > 36.9e6 { // a quarter of 144.8 and room
			t.Errorf("stream %d may send %d", i, got)
		}
		l[i].advance(time.Second, 36e6, false)
	}
	l[0].st.SentBytes -= 30e6
	l[0].st.Retrans += 1000
	s.pace(now.Add(time.Second))
	if a, b := rate(0), rate(1); a > 8e6 || b < 45e6 {
		t.Errorf("a slow one may send %d, others %d", a, b)
	}
	if s.limit.clock.Wait(time.Now(), s.limit.clock.Take(time.Now(), 1)) == 0 {
		t.Error("segments sent again do not count")
	}
	if s.streams.most < 100 {
		t.Errorf("at most %d streams are of use", s.streams.most)
	}
	if err := s.Control(Control{Rate: ptr[int64](1e6)}); err != nil {
		t.Fatal(err)
	}
	s.pace(now.Add(2 * time.Second))
	if s.streams.most != 1 {
		t.Errorf("at 1 MB/s at most %d streams are of use, want 1", s.streams.most)
	}
	if err := s.Control(Control{Rate: ptr[int64](0)}); err != nil {
		t.Fatal(err)
	}
	s.pace(now.Add(3 * time.Second))
	if rate(0) != unpaced || rate(3) != unpaced || s.streams.most != 0 {
		t.Errorf("without a limit the streams may send %d and %d, and there may be %d", rate(0), rate(3), s.streams.most)
	}
	sets := len(l[0].set)
	s.pace(now.Add(4 * time.Second))
	if len(l[0].set) != sets {
		t.Error("without a limit sockets are touched")
	}
}

// TestCommonLimitRises: a limit that several sources keep together comes to what it
// was raised to.
func TestCommonLimitRises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := gauges(t, Options{}, 1)
		l := NewLimit(100e3)
		s.Join(Common{Limit: l})
		l.Set(1e6)
		time.Sleep(2 * time.Second)
		s.pace(time.Now())
		begun := time.Now()
		for range 100 {
			if err := l.l.wait(t.Context(), 100e3, l.l.over); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took > 10500*time.Millisecond {
			t.Errorf("10 MB at 1 MB/s took %v", took)
		}
	})
}

// TestBackground: a job in the background has two streams whose rate follows the
// queue, tells of it now and then, and is let go when it becomes fair.
func TestBackground(t *testing.T) {
	s, l, told := gauges(t, Options{Priority: Background}, 2)
	now := time.Now()
	step := func(queue time.Duration) {
		now = now.Add(100 * time.Millisecond)
		for _, g := range l {
			g.advance(100*time.Millisecond, float64(max(1, s.pacer.trim))/2, false)
			g.st.RTT = 50*time.Millisecond + queue
		}
		s.steer(now, 0, "network", s.isPriority(Background))
		s.pace(now)
	}
	for range 30 {
		step(0)
	}
	alone := s.pacer.trim
	if s.retuner == nil || !s.retuner.yield || alone < 10e6 {
		t.Fatalf("alone it has %d bytes per second", alone)
	}
	for range 10 {
		step(20 * time.Millisecond)
	}
	if got := s.pacer.trim; got > alone/4 {
		t.Errorf("beside a queue it goes from %d to %d", alone, got)
	}
	rates := 0
	for _, e := range *told {
		if e, ok := e.(events.Tune); ok && e.What == "rate" && strings.Contains(e.Reason, "background") {
			rates++
		}
	}
	if rates == 0 || rates > 2 {
		t.Errorf("it tells of %d rates", rates)
	}
	if err := s.Control(Control{Priority: ptr(Fair)}); err != nil {
		t.Fatal(err)
	}
	step(0)
	if s.pacer.trim != 0 || l[0].set[len(l[0].set)-1].PacingRate != unpaced {
		t.Errorf("fair, it has %d bytes per second", s.pacer.trim)
	}
}
