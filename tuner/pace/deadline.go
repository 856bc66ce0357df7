package pace

import (
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Constants of Deadline. Ours.
const (
	reserveLeast = time.Second // before the deadline all shall have arrived, and
	reserveShare = 0.03        // of the time there was, more where the rate varies, up to
	reserveMost  = 0.10
	lowest       = 125e3 // bytes per second, below which nothing is gained for others
	planEvery    = 5 * time.Second
	planChange   = 0.02 // of the rate; less is not worth a change
	sureAfter    = 8 * time.Second
	keepsUp      = 0.93 // of the rate that it may have, from which a job is held back by that
)

// Verdict is whether a deadline will be met.
type Verdict uint8

// The verdicts.
const (
	InTime   Verdict = iota // as far as can be told
	Doubtful                // at the rate that there is, perhaps not
	TooLate                 // at the rate that there is, no
)

// Progress is how far a job is that has a deadline.
type Progress struct {
	Left int64      // bytes of payload that are not there yet
	Rate units.Rate // of payload, of late, bytes per second
	// Mid, Lo and Hi are the time that the rest takes as foreseen at the rate of
	// late; Known says that it is foreseen.
	Mid, Lo, Hi time.Duration
	Known       bool
}

// Plan is what a job with a deadline may send, and whether it will meet it.
type Plan struct {
	Rate    units.Rate // of payload, bytes per second; 0: as fast as it goes
	Verdict Verdict
	Late    time.Duration // by how much, unless it is in time
	Need    units.Rate    // what it takes to be in time, bytes per second; 0: the time has passed
}

// Deadline finds the lowest steady rate at which a job is complete in time. It aims
// at an instant some time before the deadline, the earlier the more the rate varies,
// and looks again every some seconds: what was lost is made good over all that is
// left. A Deadline is made by [NewDeadline] and belongs to one goroutine.
type Deadline struct {
	at, began time.Time
	aim       time.Time
	plan      Plan
	planned   time.Time
	slow      time.Time // since when the job is slower than it may be
}

// NewDeadline makes one for a job that begins at now and shall be complete at an
// instant.
func NewDeadline(now, at time.Time) *Deadline {
	d := &Deadline{at: at, began: now, slow: now}
	d.aim = at.Add(-d.reserve(reserveShare))
	return d
}

// At is when the job shall be complete.
func (d *Deadline) At() time.Time { return d.at }

// reserve is how long before the deadline all shall be there.
func (d *Deadline) reserve(share float64) time.Duration {
	r := time.Duration(share * float64(d.at.Sub(d.began)))
	return min(max(r, reserveLeast), max(0, d.at.Sub(d.began)/3))
}

// Step looks at how far the job is. table is what it may send in any case. changed
// tells that the plan is another one than before.
func (d *Deadline) Step(now time.Time, p Progress, table Timetable) (plan Plan, changed bool) {
	d.watch(now, p)
	next := Plan{Verdict: InTime}
	next.Need, next.Rate = d.need(now, p, table)
	next.Verdict, next.Late = d.judge(now, p, table, next.Need)
	if d.keep(now, next) {
		next.Rate, next.Need = d.plan.Rate, d.plan.Need
		changed = next.Verdict != d.plan.Verdict
		d.plan.Verdict, d.plan.Late = next.Verdict, next.Late
		return d.plan, changed
	}
	d.plan, d.planned = next, now
	return next, true
}

// keep tells whether the rate of before is good enough.
func (d *Deadline) keep(now time.Time, next Plan) bool {
	if d.planned.IsZero() {
		return false
	}
	if (next.Rate == 0) != (d.plan.Rate == 0) || (next.Need == 0) != (d.plan.Need == 0) {
		return false
	}
	off := float64(next.Rate)/max(1, float64(d.plan.Rate)) - 1
	return now.Sub(d.planned) < planEvery || off < planChange && off > -planChange
}

// watch moves the aim to an earlier instant where the rate varies, and notes since
// when the job has been slower than it may.
func (d *Deadline) watch(now time.Time, p Progress) {
	if d.plan.Rate > 0 && float64(p.Rate) >= keepsUp*float64(d.plan.Rate) {
		d.slow = now
	}
	if !p.Known || p.Mid <= 0 {
		return
	}
	spread := float64(p.Hi-p.Mid) / float64(p.Mid)
	aim := d.at.Add(-d.reserve(min(max(reserveShare, spread/2), reserveMost)))
	// Later than before the aim never comes, and not at once where little is left.
	if aim.Before(d.aim) && aim.After(now.Add(p.Mid/2)) {
		d.aim = aim
	}
}

// need finds the rate that it takes, and the one to go at.
func (d *Deadline) need(now time.Time, p Progress, table Timetable) (need, rate units.Rate) {
	span := d.aim.Sub(now)
	if left := d.at.Sub(now); left <= 0 {
		return 0, 0
	} else if span <= 0 {
		return units.Rate(float64(p.Left) / max(0.1, left.Seconds())), 0
	}
	// Where a timetable holds it back for a while it must go faster at other times.
	lo := float64(p.Left) / span.Seconds()
	hi := lo
	if c := table.Carries(now, d.aim, 0); c >= 0 && c <= float64(p.Left) {
		return units.Rate(lo), 0 // not even all that is allowed is enough
	}
	for range 40 {
		if table.Carries(now, d.aim, units.Rate(hi)) >= float64(p.Left) {
			break
		}
		hi *= 2
	}
	for range 30 {
		if mid := (lo + hi) / 2; table.Carries(now, d.aim, units.Rate(mid)) >= float64(p.Left) {
			hi = mid
		} else {
			lo = mid
		}
	}
	need = units.Rate(hi) + 1
	return need, max(need, lowest)
}

// judge tells whether it will be in time.
func (d *Deadline) judge(now time.Time, p Progress, table Timetable, need units.Rate) (Verdict, time.Duration) {
	left := d.at.Sub(now)
	if p.Left <= 0 {
		return InTime, 0
	}
	if left <= 0 {
		late := -left
		if p.Known {
			late += p.Mid
		}
		return TooLate, late
	}
	if c := table.Carries(now, d.at, 0); c >= 0 && c < float64(p.Left) {
		late := (float64(p.Left) - c) / max(1, c/max(0.001, left.Seconds())) * 1e9
		return TooLate, time.Duration(min(late, 1<<62))
	}
	// While it may go no faster it says nothing of how fast it could.
	if d.slow.Equal(now) {
		return InTime, 0
	}
	if now.Sub(d.slow) < sureAfter || !p.Known {
		return d.plan.Verdict, d.plan.Late
	}
	switch {
	case p.Lo > left:
		return TooLate, p.Mid - left
	case p.Mid > left && need > p.Rate:
		return Doubtful, p.Mid - left
	}
	return InTime, 0
}
