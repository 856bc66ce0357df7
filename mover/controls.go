package mover

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/jobs"
	"github.com/gomover/gomover/tuner/choice"
	"github.com/gomover/gomover/tuner/pace"
)

// Controls changes a job while it runs, and holds it to its timetable and its deadline.
// Any goroutine may use it. It is made by [NewControls] and serves one job.
type Controls struct {
	job  *Job
	wake chan struct{} // capacity 1: something has changed

	// sending is held from looking at the state until the end is told of it, so that it
	// hears of changes in their order. It is taken before mu.
	sending sync.Mutex

	mu       sync.Mutex // guards what follows
	rec      events.Recorder
	end      controlled // of the session that runs; nil: none can be controlled
	stop     context.CancelCauseFunc
	stopped  bool // by Set, perhaps before there was something to stop
	began    time.Time
	timed    timedLimit
	deadline *pace.Deadline
	plan     pace.Plan
	priority string
	streams  [2]int
	paused   bool
	resumed  time.Time   // when the last pause ended; zero: there was none
	rate     units.Rate  // in force
	look     func() bool // looks at the path, if that may be; nil: nobody does
}

// controlled is an end that can be changed while it runs.
type controlled interface {
	Control(engine.Control) error
}

// NewControls makes the controls of a job that begins now.
func NewControls(j *Job) *Controls {
	c := &Controls{job: j, wake: make(chan struct{}, 1), began: time.Now(), timed: timedLimit{table: j.Limit}, priority: j.Engine.Priority,
		streams: [2]int{j.Engine.StreamsMin, j.Engine.StreamsMax}}
	if c.priority == "" {
		c.priority = engine.Fair
	}
	if !j.FinishBy.IsZero() {
		c.deadline = pace.NewDeadline(c.began, j.FinishBy)
	}
	c.rate, _, _ = c.due(c.began)
	return c
}

// begin tells who hears of the job, how it is stopped, and who looks at the path when
// asked.
func (c *Controls) begin(rec events.Recorder, stop context.CancelCauseFunc, look func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rec, c.stop, c.look = rec, stop, look
	if c.stopped && stop != nil {
		stop(errStopped)
	}
}

// due is the rate at now, how long it holds at most, 0 for ever, and why it is that. The
// lock is held, or c is new.
func (c *Controls) due(now time.Time) (rate units.Rate, holds time.Duration, why string) {
	rate, holds, why = c.timed.due(now)
	if p := units.Rate(float64(c.plan.Rate) * wireShare); c.deadline != nil && p > 0 && (rate == 0 || p < rate) {
		rate, why = p, "to end by "+clockTime(c.deadline.At(), now)
	}
	return rate, holds, why
}

// wireShare is what comes onto the wire for each byte of payload, at most.
const wireShare = 1.05

// clockTime is an instant for people, with its day where that is another one.
func clockTime(t, now time.Time) string {
	t = t.In(now.Location())
	if y, d := t.Year(), t.YearDay(); y == now.Year() && d == now.YearDay() {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}

// run keeps the rate as it is due until stop is closed.
func (c *Controls) run(stop <-chan struct{}) { follow(stop, c.wake, c.follow) }

// follow sets the rate that is due, and tells how long it holds at most, 0 for ever.
func (c *Controls) follow() time.Duration {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.mu.Lock()
	rate, holds, why := c.due(time.Now())
	end := c.end
	changed := rate != c.rate
	c.rate = rate
	c.mu.Unlock()
	if changed && end != nil {
		r := int64(rate)
		c.control(end, engine.Control{Rate: &r, Why: why})
	}
	return holds
}

// control tells an end what to change. One that does not take it any more is at its
// end.
func (c *Controls) control(end controlled, x engine.Control) { _ = end.Control(x) }

// options puts what holds at present into the options of the next session.
func (c *Controls) options(o *engine.Options) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o.Rate, o.Priority = int64(c.rate), c.priority
	o.StreamsMin, o.StreamsMax = c.streams[0], c.streams[1]
}

// session tells of the end that runs from now on, nil for none.
func (c *Controls) session(e end) {
	x, ok := e.(controlled)
	if ok { // else somebody may still wait for the end that is gone
		c.sending.Lock()
		defer c.sending.Unlock()
	}
	c.mu.Lock()
	c.end = x
	rate, paused := int64(c.rate), c.paused
	c.mu.Unlock()
	if ok {
		set := engine.Control{Rate: &rate}
		if paused {
			set.Paused = &paused
		}
		c.control(x, set)
	}
}

// saw takes how far the job is. expected is the rate in bytes per second that earlier
// jobs make likely; 0: not known.
func (c *Controls) saw(now time.Time, p events.Progress, expected float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deadline == nil || p.TotalBytes == nil || c.paused {
		return
	}
	before := c.plan
	look := pace.Progress{Left: *p.TotalBytes - p.DoneBytes, Rate: units.Rate(max(0, p.RateBps)), Known: p.ETAms >= 0,
		Mid: msec(p.ETAms), Lo: msec(p.ETALoMs), Hi: msec(p.ETAHiMs)}
	table := c.timed.table
	if c.timed.lifted {
		table = pace.Timetable{}
	}
	plan, changed := c.deadline.Step(now, look, table)
	if !changed {
		return
	}
	c.plan = plan
	poke(c.wake)
	switch by := clockTime(c.deadline.At(), now); {
	case before == (pace.Plan{}) && plan.Verdict == pace.InTime && expected > 0 && float64(plan.Need) > expected:
		c.warn(fmt.Sprintf("perhaps not complete by %s: that takes %s, earlier jobs to there had %s", by, units.FormatRate(plan.Need, false), units.FormatRate(units.Rate(expected), false)))
	case plan.Verdict == before.Verdict:
	case plan.Verdict == pace.TooLate && look.Rate == 0 && plan.Need == 0: // the time is over
		c.warn("not complete by " + by)
	case plan.Verdict == pace.TooLate && look.Rate == 0:
		c.warn(fmt.Sprintf("not complete by %s: that takes %s", by, units.FormatRate(plan.Need, false)))
	case plan.Verdict == pace.TooLate && plan.Need == 0:
		c.warn(fmt.Sprintf("not complete by %s; about %s too late at %s", by, units.FormatLeft(plan.Late), units.FormatRate(look.Rate, false)))
	case plan.Verdict == pace.TooLate:
		c.warn(fmt.Sprintf("not complete by %s: that takes %s; about %s too late at %s", by, units.FormatRate(plan.Need, false), units.FormatLeft(plan.Late), units.FormatRate(look.Rate, false)))
	case plan.Verdict == pace.Doubtful:
		c.warn(fmt.Sprintf("perhaps not complete by %s: that takes %s, there are %s", by, units.FormatRate(plan.Need, false), units.FormatRate(look.Rate, false)))
	case before.Verdict != pace.InTime && now.Before(c.deadline.At()):
		c.warn("complete by " + by + " after all, it seems")
	}
}

// warn tells of the deadline. The lock is held.
func (c *Controls) warn(text string) {
	record(c.rec, events.Warn{Code: "limit.finish-by", Message: text})
}

func msec(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// learned tells the end what is known of the path by now.
func (c *Controls) learned(p choice.Path) {
	c.mu.Lock()
	end := c.end
	c.mu.Unlock()
	if end != nil {
		c.control(end, engine.Control{Known: &p})
	}
}

// background tells whether the job gives way to all others.
func (c *Controls) background() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.priority == engine.Background
}

// obey sets the rate of a job whose controls are elsewhere.
func (c *Controls) obey(rate units.Rate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rate = rate
}

// limit is the rate in force, in bytes per second; 0 is none.
func (c *Controls) limit() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(c.rate)
}

// Paused tells whether the job is paused.
func (c *Controls) Paused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paused
}

// heldUntil is the last instant until now at which the job was paused; zero: none.
func (c *Controls) heldUntil(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused {
		return now
	}
	return c.resumed
}

// Pause stops what has not been sent yet, or lets it go on. Streams stay open.
func (c *Controls) Pause(stop bool) error {
	_, err := c.Set([]jobs.Setting{{Name: map[bool]string{true: "pause", false: "continue"}[stop]}})
	return err
}

// ToggleLimit takes the limit away, or brings it back.
func (c *Controls) ToggleLimit() {
	c.mu.Lock()
	c.timed.lifted = !c.timed.lifted
	c.mu.Unlock()
	poke(c.wake)
}

// Set changes settings, all of them or, on an error, none, and gives for each a line for
// people. The names are bwlimit, streams, window, priority, finish-by, pause, continue,
// resume, probe, and stop.
func (c *Controls) Set(list []jobs.Setting) ([]string, error) {
	all, err := parseChanges(list, time.Now())
	if err != nil {
		return nil, err
	}
	for _, x := range all {
		if c.job.Pull != nil && !x.Stop && x.Table == nil && x.FinishBy == nil && !(c.job.Recursive && x.Paused != nil) {
			return nil, errors.New("of a pull from replicas only bwlimit and finish-by can be changed, and it can be stopped")
		}
	}
	c.mu.Lock()
	table, priority := c.timed.table, c.priority
	c.mu.Unlock()
	if err := checkBold(all, table, priority); err != nil {
		return nil, err
	}
	return c.applyAll(all), nil
}

// checkBold refuses changes after which a job would take all that there is: one that is
// bold needs a limit.
func checkBold(all []change, table pace.Timetable, priority string) error {
	why := error(nil)
	for _, x := range all {
		switch {
		case x.Table != nil:
			table = *x.Table
			why = errors.New("bwlimit: a job that is bold needs a limit; priority=fair takes it as it comes")
		case x.Priority != nil:
			priority = *x.Priority
			why = errors.New("priority: bold needs a limit, such as bwlimit=800Mbit")
		}
	}
	if priority == engine.Bold && !table.Limits() {
		return why // nil: it was so before
	}
	return nil
}

func parseChanges(list []jobs.Setting, now time.Time) (all []change, err error) {
	for _, s := range list {
		x, err := parseChange(s, now)
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, nil
}

func (c *Controls) applyAll(all []change) (said []string) {
	for _, x := range all {
		if x.Probe {
			x.Said = c.probe()
		} else {
			c.apply(x)
		}
		said = append(said, x.Said)
	}
	poke(c.wake)
	return said
}

// What is said of a wish to look at the path.
const (
	saidLooks  = "the path is looked at; the job's events tell what is found"
	saidCannot = "the path cannot be looked at now, or was within the last minute"
)

// probe has the path looked at, and says whether.
func (c *Controls) probe() string {
	c.mu.Lock()
	look := c.look
	c.mu.Unlock()
	if look == nil || !look() {
		return saidCannot
	}
	return saidLooks
}

// apply makes one change.
func (c *Controls) apply(x change) {
	if !x.Stop { // which does not wait for an end that does not listen
		c.sending.Lock()
		defer c.sending.Unlock()
	}
	c.mu.Lock()
	end := c.end
	var set engine.Control
	switch {
	case x.Table != nil:
		c.timed = timedLimit{table: *x.Table}
	case x.Streams != nil:
		c.streams = *x.Streams
		if c.streams == [2]int{} { // what memory allows still holds
			c.streams[1] = c.job.Engine.StreamsMax
		}
		s := c.streams
		set.Streams = &s
	case x.Window != nil:
		set.Window = x.Window
	case x.Priority != nil:
		c.priority = *x.Priority
		set.Priority = x.Priority
	case x.FinishBy != nil:
		c.deadline, c.plan = nil, pace.Plan{}
		if !x.FinishBy.IsZero() {
			c.deadline = pace.NewDeadline(time.Now(), *x.FinishBy)
		}
	case x.Paused != nil:
		if c.paused && !*x.Paused {
			c.resumed = time.Now()
		}
		c.paused = *x.Paused
		set.Paused = x.Paused
	case x.Stop:
		c.stopped = true
	}
	stop := c.stop
	c.mu.Unlock()
	if x.Stop && stop != nil {
		stop(errStopped)
	}
	if set != (engine.Control{}) && end != nil {
		set.Why = "as asked while running"
		c.control(end, set)
	}
}

// errStopped ends a job that is asked to stop from elsewhere.
var errStopped = fmt.Errorf("stopped by gomover ctl: %w", ErrInterrupted)

// Settings are those that can be changed, as a user would write them, and the limit
// that is in force.
func (c *Controls) Settings() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := map[string]string{"bwlimit": c.timed.String(), "priority": c.priority, "streams": streamsText(c.streams)}
	if c.deadline != nil {
		m["finish-by"] = c.deadline.At().Format(time.RFC3339)
	}
	if c.rate > 0 {
		m["limit"] = c.rate.String()
	}
	return m
}

func streamsText(b [2]int) string {
	switch {
	case b[0] == 0:
		return "auto"
	case b[0] == b[1]:
		return strconv.Itoa(b[0])
	}
	return fmt.Sprintf("%d-%d", b[0], b[1])
}

// change is one setting as it was read. Exactly one of the fields but Said is set.
type change struct {
	Table    *pace.Timetable
	Streams  *[2]int
	Window   *int
	Priority *string
	FinishBy *time.Time
	Paused   *bool
	Stop     bool
	Probe    bool
	Said     string
}

// Bounds of settings.
const (
	mostStreams = 256
	leastWindow = 4 << 10
	mostWindow  = 1 << 30
)

// parseChange reads a setting of a running job; now is what times of day are after.
// Errors are for people, and name the setting.
func parseChange(s jobs.Setting, now time.Time) (change, error) {
	x, err := parseSetting(s, now)
	if err != nil {
		return x, fmt.Errorf("%s: %w", clip(s.Name), err)
	}
	return x, nil
}

func clip(s string) string {
	if len(s) > 40 {
		s = s[:40] + "..."
	}
	return s
}

func parseSetting(s jobs.Setting, now time.Time) (x change, err error) {
	yes, no := true, false
	bare := true
	switch s.Name {
	case "pause":
		x = change{Paused: &yes, Said: "paused"}
	case "continue", "resume":
		x = change{Paused: &no, Said: "goes on"}
	case "stop":
		x = change{Stop: true, Said: "stops; the same command goes on later"}
	case "probe":
		x = change{Probe: true}
	default:
		bare = false
	}
	if bare {
		if s.Value != "" {
			err = errors.New("takes no value")
		}
		return x, err
	}
	x.Said = s.Name + " is " + s.Value
	switch s.Name {
	case "bwlimit":
		var t pace.Timetable
		t, err = pace.Parse(s.Value)
		x.Table = &t
	case "streams":
		x.Streams, err = parseStreams(s.Value)
	case "window":
		var n int64
		if n, err = units.ParseSize(s.Value); err == nil && (n < leastWindow || n > mostWindow) {
			err = fmt.Errorf("%s: must be between 4K and 1G", s.Value)
		}
		w := int(n)
		x.Window = &w
	case "priority":
		if !engine.ValidPriority(s.Value) {
			err = fmt.Errorf("%q: must be fair, background or bold", clip(s.Value))
		}
		x.Priority = &s.Value
	case "finish-by":
		var t time.Time
		t, err = ParseFinishBy(s.Value, now)
		x.FinishBy = &t
	default:
		err = errors.New("is none of bwlimit, streams, window, priority, finish-by, pause, continue, probe and stop")
	}
	return x, err
}

// parseStreams reads auto, N or MIN-MAX.
func parseStreams(text string) (*[2]int, error) {
	if text == "auto" {
		return &[2]int{}, nil
	}
	low, high, span := strings.Cut(text, "-")
	if !span {
		high = low
	}
	a, err1 := strconv.ParseUint(low, 10, 16)
	b, err2 := strconv.ParseUint(high, 10, 16)
	if err1 != nil || err2 != nil || a < 1 || b < a || b > mostStreams {
		return nil, fmt.Errorf("%q: must be auto, a number from 1 to 256, or a range such as 2-16", clip(text))
	}
	return &[2]int{int(a), int(b)}, nil
}

// ParseFinishBy reads a deadline: a time such as 06:00, an instant by RFC 3339, or a
// duration from now on; off is none, the zero time.
func ParseFinishBy(text string, now time.Time) (time.Time, error) {
	if text == "off" {
		return time.Time{}, nil
	}
	t, err := units.ParseTime(text, now)
	if err != nil {
		d, derr := units.ParseDuration(text)
		if derr != nil {
			return t, &units.ValueError{Value: clip(text), Reason: "must be a time such as 06:00 or 2026-03-01T06:00:00Z, or a duration such as 2h30m"}
		}
		t = now.Add(d)
	}
	if !t.After(now) {
		return t, &units.ValueError{Value: clip(text), Reason: "has passed already"}
	}
	return t, nil
}

var _ controlled = (*engine.Source)(nil)
var _ controlled = (*engine.Sink)(nil)
