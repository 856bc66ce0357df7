package mover

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/jobs"
	"github.com/gomover/gomover/tuner/pace"
)

// lever is an end that notes how it is changed.
type lever struct {
	end
	mu  sync.Mutex
	set []engine.Control
	at  []time.Time
}

func (l *lever) Control(c engine.Control) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set, l.at = append(l.set, c), append(l.at, time.Now())
	return nil
}

// rates are the rates that it was set to, and when since start.
func (l *lever) rates(start time.Time) (r []int64, after []time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, c := range l.set {
		if c.Rate != nil {
			r, after = append(r, *c.Rate), append(after, l.at[i].Sub(start))
		}
	}
	return r, after
}

func table(t *testing.T, text string) pace.Timetable {
	t.Helper()
	x, err := pace.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestTimetable: the rate changes when the timetable says, to the nanosecond, and a
// session that begins later has what holds then.
func TestTimetable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A bubble's clock begins on Saturday, 1 January 2000, midnight UTC.
		time.Sleep(7*time.Hour + 59*time.Minute + 30*time.Second + 123*time.Millisecond)
		now := time.Now()
		local := now.In(time.UTC)
		if local.Location() != now.Location() {
			time.Local = time.UTC
		}
		c := NewControls(&Job{Limit: table(t, "08:00,1MB 08:01,off 08:02,3MB Sun-08:00,4MB")})
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { c.run(stop) })
		l := new(lever)
		c.session(l)
		time.Sleep(10 * time.Minute)
		c.session(nil)
		time.Sleep(24 * time.Hour)
		var o engine.Options
		c.options(&o)
		close(stop)
		wg.Wait()
		start := now.Add(-7*time.Hour - 59*time.Minute - 30*time.Second - 123*time.Millisecond)
		r, after := l.rates(start)
		want := []int64{3e6, 1e6, 0, 3e6}
		if len(r) != len(want) {
			t.Fatalf("rates %v at %v", r, after)
		}
		for i, at := range []time.Duration{0, 8 * time.Hour, 8*time.Hour + time.Minute, 8*time.Hour + 2*time.Minute} {
			if r[i] != want[i] || i > 0 && after[i] != at {
				t.Errorf("change %d: %d at %v, want %d at %v", i, r[i], after[i], want[i], at)
			}
		}
		if o.Rate != 3e6 {
			t.Errorf("a session on Sunday at eight has %d", o.Rate)
		}
	})
}

// heard are the warnings of a job.
type heard struct {
	mu   sync.Mutex
	text []string
}

func (h *heard) Record(_ time.Time, e events.Event) {
	if w, ok := e.(events.Warn); ok {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.text = append(h.text, w.Code+": "+w.Message)
	}
}

// TestFinishBy: the rate is what the deadline takes, and what cannot be done is told.
func TestFinishBy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		c := NewControls(&Job{FinishBy: start.Add(100 * time.Second)})
		rec := new(heard)
		c.begin(rec, nil, nil)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { c.run(stop) })
		l := new(lever)
		c.session(l)
		total, done := int64(970e6), int64(0)
		step := func(rate int64, n int) {
			for range n {
				time.Sleep(250 * time.Millisecond)
				done += rate / 4
				left := (total - done) * 1000 / rate
				c.saw(time.Now(), events.Progress{TotalBytes: &total, DoneBytes: done, RateBps: rate, ETAms: left, ETALoMs: left * 95 / 100, ETAHiMs: left * 105 / 100}, 0)
			}
		}
		step(10e6, 4)
		if r := c.limit(); r < 1.04*10e6 || r > 1.06*10.1e6 {
			t.Errorf("970 MB in 97 s go at %d on the wire", r)
		}
		step(4e6, 60)
		if len(rec.text) == 0 || !strings.HasPrefix(rec.text[0], "limit.finish-by: not complete by ") || !strings.Contains(rec.text[0], " too late at 4.00 MB/s") {
			t.Errorf("of a path that is too slow it says %q", rec.text)
		}
		step(30e6, 40)
		if n := len(rec.text); n < 2 || !strings.Contains(rec.text[n-1], "after all") {
			t.Errorf("of a path that is fast again it says %q", rec.text)
		}
		if _, err := c.Set([]jobs.Setting{{Name: "finish-by", Value: "off"}}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if r := c.limit(); r != 0 {
			t.Errorf("without a deadline the limit is %d", r)
		}
		close(stop)
		wg.Wait()
	})
}

// TestFinishByPassed: of a job that begins to move when its time is over no rate is asked.
func TestFinishByPassed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := new(heard)
		c := NewControls(&Job{FinishBy: time.Now().Add(2 * time.Second)})
		c.begin(rec, nil, nil)
		total := int64(1e6)
		time.Sleep(3 * time.Second)
		c.saw(time.Now(), events.Progress{TotalBytes: &total, ETAms: -1}, 0)
		if len(rec.text) != 1 || !strings.HasPrefix(rec.text[0], "limit.finish-by: not complete by ") || strings.Contains(rec.text[0], "takes") {
			t.Errorf("it says %q", rec.text)
		}
	})
}

// TestSet: what is asked for reaches the end, what makes no sense nobody.
func TestSet(t *testing.T) {
	for _, tt := range []struct {
		set  string
		said string
		err  string
	}{
		{"bwlimit=200Mbit", "bwlimit is 200Mbit", ""},
		{"bwlimit=08:00,1MB", "bwlimit is 08:00,1MB", ""},
		{"bwlimit=", "", "bwlimit: "},
		{"bwlimit=fast", "", "bwlimit: "},
		{"streams=5", "streams is 5", ""},
		{"streams=2-9", "streams is 2-9", ""},
		{"streams=auto", "streams is auto", ""},
		{"streams=9-2", "", "streams: "},
		{"streams=+2", "", "streams: "},
		{"streams=257", "", "streams: "},
		{"window=4M", "window is 4M", ""},
		{"window=1", "", "window: "},
		{"priority=background", "priority is background", ""},
		{"priority=", "", "priority: "},
		{"finish-by=2h", "finish-by is 2h", ""},
		{"finish-by=0s", "", "has passed"},
		{"pause", "paused", ""},
		{"pause=yes", "", "takes no value"},
		{"continue", "goes on", ""},
		{"colour=red", "", "colour: is none of bwlimit"},
		{strings.Repeat("x", 1000), "", "xxx...: is none of"},
	} {
		c := NewControls(&Job{})
		l := new(lever)
		c.session(l)
		name, value, _ := strings.Cut(tt.set, "=")
		said, err := c.Set([]jobs.Setting{{Name: name, Value: value}})
		switch {
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err) || len(said) > 0 || len(l.set) > 1):
			t.Errorf("%.40s: %v, %q, %+v", tt.set, err, said, l.set)
		case tt.err == "" && (err != nil || len(said) != 1 || said[0] != tt.said):
			t.Errorf("%s: %v, %q", tt.set, err, said)
		}
		if tt.err == "" && !c.Paused() && name == "pause" {
			t.Error("it is not paused")
		}
	}
	c := NewControls(&Job{Pull: new(Pull)})
	var cause error
	c.begin(nil, func(err error) { cause = err }, nil)
	if _, err := c.Set([]jobs.Setting{{Name: "pause"}}); err == nil {
		t.Error("a pull from replicas is paused")
	}
	if _, err := c.Set([]jobs.Setting{{Name: "stop"}}); err != nil || !errors.Is(cause, ErrInterrupted) {
		t.Errorf("stop: %v, and the cause is %v", err, cause)
	}
	c, cause = NewControls(&Job{}), nil
	if _, err := c.Set([]jobs.Setting{{Name: "stop"}}); err != nil {
		t.Error(err)
	}
	c.begin(nil, func(err error) { cause = err }, nil)
	if !errors.Is(cause, errStopped) {
		t.Errorf("stopped before it began, the cause is %v", cause)
	}
}

// TestFloor: a job is too slow after a minute below the least rate, and not while it is
// paused.
func TestFloor(t *testing.T) {
	f := floor{least: 1e6}
	now := time.Now()
	bytes := int64(0)
	step := func(n int, rate int64, idle bool) (err error) {
		for range n {
			now = now.Add(250 * time.Millisecond)
			bytes += rate / 4
			if err = f.step(now, bytes, idle); err != nil {
				return err
			}
		}
		return nil
	}
	if err := step(800, 1_100_000, false); err != nil {
		t.Error(err)
	}
	if err := step(200, 999_000, false); err != nil {
		t.Errorf("after 50 s: %v", err)
	}
	if err := step(400, 0, true); err != nil {
		t.Errorf("in a pause: %v", err)
	}
	err := step(245, 900_000, false)
	var slow *slowError
	if !errors.Is(err, ErrMinRate) || !errors.As(err, &slow) || slow.was != units.Rate(900_000) {
		t.Errorf("after a minute: %v", err)
	}
	f = floor{}
	if err := step(1000, 0, false); err != nil {
		t.Errorf("without a least rate: %v", err)
	}
}

// TestBold: no change makes a job take all that there is.
func TestBold(t *testing.T) {
	set := func(text string) (l []jobs.Setting) {
		for w := range strings.FieldsSeq(text) {
			name, value, _ := strings.Cut(w, "=")
			l = append(l, jobs.Setting{Name: name, Value: value})
		}
		return l
	}
	table, err := pace.Parse("50MB")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		job  Job
		set  string
		want string // part of the error; "": none
	}{
		{Job{}, "priority=bold", "priority: bold needs a limit"},
		{Job{}, "bwlimit=50MB priority=bold", ""},
		{Job{}, "priority=bold bwlimit=50MB", ""},
		{Job{}, "priority=bold bwlimit=off", "bwlimit: a job that is bold needs a limit"},
		{Job{Limit: table}, "priority=bold", ""},
		{Job{Limit: table, Engine: engine.Options{Priority: engine.Bold}}, "bwlimit=off", "bwlimit: a job that is bold needs a limit"},
		{Job{Limit: table, Engine: engine.Options{Priority: engine.Bold}}, "bwlimit=off priority=fair", ""},
		{Job{}, "priority=background", ""},
	} {
		one := NewControls(&tt.job)
		_, err := one.Set(set(tt.set))
		j := tt.job
		j.Limit = pace.Timetable{}
		_, ferr := NewFanControls(&Fan{Jobs: []*Job{&j}, Limit: tt.job.Limit}).Set(set(tt.set))
		for _, err := range []error{err, ferr} {
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %q", tt.set, err, tt.want)
			}
		}
		if tt.want != "" && one.Settings()["bwlimit"] != tt.job.Limit.String() {
			t.Errorf("%s: refused, and bwlimit is %s", tt.set, one.Settings()["bwlimit"])
		}
	}
}

// TestHeldUntil: a pause is no time without progress.
func TestHeldUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewControls(&Job{})
		if at := c.heldUntil(time.Now()); !at.IsZero() {
			t.Errorf("never paused, and held until %v", at)
		}
		c.Pause(true)
		time.Sleep(time.Hour)
		if at := c.heldUntil(time.Now()); !at.Equal(time.Now()) {
			t.Errorf("paused, and held until %v before now", time.Since(at))
		}
		c.Pause(false)
		time.Sleep(time.Minute)
		c.Pause(false)
		if at := c.heldUntil(time.Now()); time.Since(at) != time.Minute {
			t.Errorf("held until %v before now", time.Since(at))
		}
	})
}

// TestFanLimit: what is in force for all together is told.
func TestFanLimit(t *testing.T) {
	table, err := pace.Parse("50MB")
	if err != nil {
		t.Fatal(err)
	}
	m := NewFanControls(&Fan{Jobs: []*Job{{}, {}}, Limit: table}).Settings()
	if m["limit"] == "" || m["limit"] != m["bwlimit"] {
		t.Errorf("got %v", m)
	}
}

// TestAskProbe: who asks for a look at the path is told whether there will be one.
func TestAskProbe(t *testing.T) {
	c := NewControls(&Job{})
	ask := []jobs.Setting{{Name: "probe"}}
	if said, err := c.Set(ask); err != nil || !strings.Contains(said[0], "cannot be looked at") {
		t.Errorf("nobody looks: %q, %v", said, err)
	}
	c.begin(nil, nil, func() bool { return true })
	if said, err := c.Set(ask); err != nil || !strings.Contains(said[0], "is looked at") {
		t.Errorf("%q, %v", said, err)
	}
	f := &FanControls{legs: []*Controls{c}, wake: make(chan struct{}, 1)}
	if said, err := f.Set(ask); err != nil || !strings.Contains(said[0], "is looked at") {
		t.Errorf("of several: %q, %v", said, err)
	}
	if _, err := c.Set([]jobs.Setting{{Name: "probe", Value: "now"}}); err == nil {
		t.Error("probe=now is taken")
	}
}
