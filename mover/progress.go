package mover

import (
	"context"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
)

// progressEvery is how often the state of the job is recorded.
const progressEvery = 250 * time.Millisecond

// progress records the state of the job until stop is closed, and once more
// then. It ends a job that is too slow.
func (d *director) progress(stop <-chan struct{}, end context.CancelCauseFunc) {
	t := time.NewTicker(progressEvery)
	defer t.Stop()
	o := &d.outlook
	o.recall(d.job)
	f := &o.forecast
	var moved time.Time
	var last, high int64 = -1, 0
	began := time.Now()
	looked := began
	for stopped := false; !stopped; {
		select {
		case <-t.C:
		case <-stop:
			stopped = true
		}
		c, state, live := d.now()
		if !live && !stopped && state == "" {
			continue
		}
		now := time.Now()
		if n := c.DoneBytes + c.DoneFiles; n != last {
			last, moved = n, now
		}
		// What a session before has confirmed is there, even while the next one
		// still finds it out; so progress never goes back.
		high = max(high, c.DoneBytes)
		c.DoneBytes = high
		paused := live && state == "" && d.controls.Paused()
		if paused {
			state = "paused"
			o.hold(now.Sub(looked))
		} else {
			d.notice(o.look(now.Sub(began), c, live && state == ""))
		}
		looked = now
		p := events.Progress{DoneBytes: c.DoneBytes, SentBytes: c.Sent, VerifiedBytes: c.Verified, FilesDone: c.DoneFiles, FilesTotal: c.Files,
			RateBps: f.Rate(), AvgBps: f.Average(), ETAms: -1, ETALoMs: -1, ETAHiMs: -1, LimitedBy: c.LimitedBy, LimitedDetail: c.LimitDetail, State: state,
			CurrentPath: c.Current, CurrentShare: c.CurrentShare,
			Streams: c.Streams, Retrans: c.Retrans, Repaired: c.Repaired, RTTms: float64(c.RTT) / float64(time.Millisecond)}
		if p.LimitedBy == "" {
			p.LimitedBy = "unknown"
		}
		if c.Listed {
			total := c.Bytes
			p.TotalBytes = &total
			if mid, lo, hi, ok := f.Left(c.Bytes - c.DoneBytes); ok {
				p.ETAms, p.ETALoMs, p.ETAHiMs = mid.Milliseconds(), lo.Milliseconds(), hi.Milliseconds()
			}
		}
		if idle := now.Sub(moved); idle > time.Second && !stopped {
			p.StalledMs = idle.Milliseconds()
		}
		d.controls.saw(now, p, o.expected)
		record(d.rec, p)
		for _, s := range d.sourceStates() {
			record(d.rec, s)
		}
		if err := d.floor.step(now, c.Verified, paused || !live || c.Verified == 0); err != nil {
			end(err)
		}
	}
}

// notice tells of changes of the path, which is then looked at.
func (d *director) notice(found []events.Anomaly) {
	for _, a := range found {
		if !a.Over && d.lookout.ask() {
			a.Action = "the path is looked at"
		}
		record(d.rec, a)
		if !a.Over {
			record(d.rec, events.Warn{Code: "net.changed", Message: a.Message})
		}
	}
}

// now returns the job's totals over all its sessions.
func (d *director) now() (c engine.Totals, state string, live bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current == nil {
		return d.totals, d.state, false
	}
	c = d.current.Totals()
	c.Sent += d.totals.Sent
	c.Verified += d.totals.Verified
	c.Repaired += d.totals.Repaired
	c.Limit = d.limit()
	return c, c.State, true
}

// limit is the rate that the job may have, with what it has in common with other
// destinations; 0: any.
func (d *director) limit() int64 {
	own := d.controls.limit()
	if d.common.Limit == nil {
		return own
	}
	if all := d.common.Limit.Rate(); own == 0 || all > 0 && all < own {
		return all
	}
	return own
}
