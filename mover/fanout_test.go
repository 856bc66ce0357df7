package mover

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/jobs"
)

func TestSlowOnes(t *testing.T) {
	s := time.Second
	for _, c := range []struct {
		name string
		now  time.Duration
		took []time.Duration
		want []int
	}{
		{"all alike", 20 * s, []time.Duration{40 * s, 41 * s, 45 * s}, nil},
		{"one slow", 20 * s, []time.Duration{40 * s, 41 * s, 100 * s}, []int{2}},
		{"too early", 5 * s, []time.Duration{40 * s, 41 * s, 100 * s}, nil},
		{"the others are done", 60 * s, []time.Duration{40 * s, 41 * s, 100 * s}, []int{2}},
		{"done itself", 120 * s, []time.Duration{40 * s, 41 * s, 100 * s}, nil},
		{"of two the slower", 20 * s, []time.Duration{100 * s, 30 * s}, []int{0}},
		{"nothing known", 20 * s, []time.Duration{0, 0, 100 * s}, nil},
		{"one not known", 20 * s, []time.Duration{0, 30 * s, 100 * s}, []int{2}},
		{"none", 20 * s, nil, nil},
	} {
		if got := slowOnes(c.now, c.took); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestPace holds who is ahead until the slowest has come near, or has ended.
func TestPace(t *testing.T) {
	p := &together{next: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	if err := p.hold(ctx, 1); err != nil {
		t.Errorf("held before the first look: %v", err)
	}
	p.look([]int64{0, paceSlack, 5})
	if p.holds(0) || !p.holds(1) || p.holds(2) {
		t.Errorf("held: %t %t %t, want the second alone", p.holds(0), p.holds(1), p.holds(2))
	}
	free := make(chan error)
	go func() { free <- p.hold(ctx, 1) }()
	p.look([]int64{0, paceSlack, paceSlack})
	select {
	case err := <-free:
		t.Fatalf("went on too early: %v", err)
	default:
	}
	p.look([]int64{-1, paceSlack, 5}) // the slowest has ended
	if err := <-free; err != nil {
		t.Error(err)
	}
	p.look([]int64{0, paceSlack, 5})
	go func() { free <- p.hold(ctx, 1) }()
	cancel()
	if err := <-free; err == nil {
		t.Error("the end of the run did not end the wait")
	}
}

// recorded keeps events.
type recorded struct{ list []events.Event }

func (r *recorded) Record(_ time.Time, e events.Event) { r.list = append(r.list, e) }

// TestFanEvents looks at what is said of which destination.
func TestFanEvents(t *testing.T) {
	var rec recorded
	job := func(host, shown string) *Job {
		return &Job{Sources: []Place{{Path: "f"}}, Dest: Place{Remote: true, Host: host, Shown: shown}}
	}
	f := &Fan{Jobs: []*Job{job("a", "a:"), job("b", "b:x"), job("b", "b:y")}}
	r := newFanRun(f, &rec)
	now := time.Now()
	for _, l := range r.legs {
		l.Record(now, events.Scan{Files: 1, Bytes: 5})
		l.Record(now, events.Scan{Files: 1, Bytes: 5, Done: true})
		l.Record(now, events.Warn{Code: "source.link", Message: "link left out", Path: "x"})
		l.Record(now, events.Warn{Code: "dest.owner", Message: "no"})
		l.Record(now, events.Tune{ID: 1, What: "streams"})
		l.Record(now, events.Host{Host: l.dir.job.FarHost(), Role: "dest", State: "ready"})
	}
	want := []events.Event{
		events.Scan{Files: 1, Bytes: 5}, events.Scan{Files: 1, Bytes: 5, Done: true},
		events.Warn{Code: "source.link", Message: "link left out", Path: "x"},
		events.Warn{Code: "dest.owner", Message: "no", Host: "a"}, events.Tune{Dest: "a:", ID: 3, What: "streams"}, events.Host{Host: "a", Role: "dest", State: "ready"},
		events.Warn{Code: "dest.owner", Message: "no", Host: "b:x"}, events.Tune{Dest: "b:x", ID: 4, What: "streams"}, events.Host{Host: "b:x", Role: "dest", State: "ready"},
		events.Warn{Code: "dest.owner", Message: "no", Host: "b:y"}, events.Tune{Dest: "b:y", ID: 5, What: "streams"}, events.Host{Host: "b:y", Role: "dest", State: "ready"},
	}
	if !slices.Equal(rec.list, want) {
		t.Errorf("got  %v\nwant %v", rec.list, want)
	}
	five := int64(5)
	r.legs[0].Record(now, events.Progress{DoneBytes: 5, TotalBytes: &five, VerifiedBytes: 5, RateBps: 7, ETAms: 0, FilesTotal: 1, FilesDone: 1})
	r.legs[1].Record(now, events.Progress{DoneBytes: 2, TotalBytes: &five, VerifiedBytes: 2, RateBps: 3, ETAms: 1000, FilesTotal: 1, LimitedBy: "network"})
	r.legs[0].end(nil)
	r.legs[2].end(ErrTooSlow)
	rec.list = nil
	stop := make(chan struct{})
	close(stop)
	r.progress(stop)
	var states []string
	for _, e := range rec.list[:3] {
		states = append(states, e.(events.ProgressDest).State)
	}
	if !slices.Equal(states, []string{"done", "running", "failed"}) {
		t.Errorf("states %q", states)
	}
	p := rec.list[3].(events.Progress)
	if p.DoneBytes != 7 || *p.TotalBytes != 15 || p.RateBps != 3 || p.ETAms != 1000 || p.FilesTotal != 3 || p.LimitedBy != "network" {
		t.Errorf("together %+v", p)
	}
}

// TestFanHostileWarnings: what a sink warns of is about its host, whatever it calls that,
// and nothing of it is kept.
func TestFanHostileWarnings(t *testing.T) {
	var rec recorded
	r := newFanRun(&Fan{Jobs: []*Job{{Dest: Place{Remote: true, Host: "a", Shown: "a:"}}, {Dest: Place{Remote: true, Host: "b", Shown: "b:"}}}}, &rec)
	for i := range 3 {
		r.legs[0].Record(time.Now(), events.Warn{Code: "source.link", Message: strings.Repeat("x", i), Host: "a"})
	}
	if len(r.warned) != 0 || len(rec.list) != 3 {
		t.Errorf("%d kept, %d told", len(r.warned), len(rec.list))
	}
}

// TestFanProbe: that one of the paths is looked at is said, though another one cannot be.
func TestFanProbe(t *testing.T) {
	c := NewFanControls(&Fan{Jobs: []*Job{{}, {}, {}}})
	c.legs[1].begin(nil, nil, func() bool { return true })
	said, err := c.Set([]jobs.Setting{{Name: "probe"}})
	if err != nil || len(said) != 1 || said[0] != saidLooks {
		t.Errorf("%q, %v", said, err)
	}
}
