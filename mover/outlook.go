package mover

import (
	"path/filepath"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/history"
	"github.com/gomover/gomover/tuner/anomaly"
	"github.com/gomover/gomover/tuner/forecast"
)

// historyName is the file of the state folder in which earlier jobs are
// remembered.
const historyName = "history.db"

// Constants of the outlook.
const (
	// settle is how long a rate may move after a change that was ours.
	settle = 3 * time.Second
	// manyFiles is from how many files ended between two looks on the rate says
	// more about their sizes than about the path.
	manyFiles = 3
	// tail is how much time must be left at the present rate for the rate to be
	// watched: at the end streams run dry one after the other.
	tail = 5 * time.Second
	// worthwhile is how long data must have flowed for a job to be remembered.
	worthwhile = 5 * time.Second
)

// outlook is what the director makes of the totals as they come: rates, the
// time left, and word of lasting changes. It belongs to one goroutine.
type outlook struct {
	forecast forecast.Forecast
	watch    anomaly.Watch
	past     history.Record
	expected float64 // rate in bytes per second that earlier jobs let expect; 0: not known
	last     engine.Totals
	path     engine.Path // counts of all sessions together, and the least round trip
	alerts   int
	streams  int // the last that there were
	limits   map[string]time.Duration
	at       time.Duration // of the last look
	held     time.Duration // of pauses, which are left out
}

// hold leaves out a time in which the job was paused: it says nothing of the path.
func (o *outlook) hold(d time.Duration) { o.held += d }

// look takes the totals at an instant since the start. working is false while
// there is no session. What was found comes back as events.
func (o *outlook) look(at time.Duration, c engine.Totals, working bool) []events.Anomaly {
	at -= o.held
	if c.Listed && !o.last.Listed {
		o.expected = o.past.Expect(time.Now(), c.Bytes)
	}
	o.forecast.Expected = o.expected
	if c.Limit > 0 { // which earlier jobs may not have had
		o.forecast.Expected = min(o.expected, float64(c.Limit))
	}
	o.forecast.Add(at, c.Verified)
	last := o.last
	passed := at - o.at
	o.last, o.at = c, at
	if c.Streams > 0 {
		o.streams = c.Streams
	}
	if o.limits == nil {
		o.limits = make(map[string]time.Duration)
	}
	if working && c.LimitedBy != "" {
		o.limits[c.LimitedBy] += passed
	}
	if !working || c.Streams != last.Streams || c.Limit != last.Limit || c.DoneFiles-last.DoneFiles >= manyFiles || o.ends(c) {
		o.watch.Suspend(at + settle)
	}
	o.path.Losses += max(0, c.Path.Losses-last.Path.Losses)
	o.path.Again += max(0, c.Path.Again-last.Path.Again)
	o.path.Segs += max(0, c.Path.Segs-last.Path.Segs)
	// The smoothed one tells of the queue that the job itself has filled, too.
	for _, rtt := range []time.Duration{c.Path.RTT, c.Path.MinRTT} {
		if rtt > 0 && (o.path.MinRTT == 0 || rtt < o.path.MinRTT) {
			o.path.MinRTT = rtt
		}
	}
	var found []events.Anomaly
	for _, f := range o.watch.Add(anomaly.Sample{At: at, Bytes: c.Verified, RTT: c.Path.RTT, Segments: o.path.Segs, Lost: o.path.Again,
		Losses: o.path.Losses, Saturated: c.Path.Saturated, LimitedBy: c.LimitedBy}) {
		if f.Stage == anomaly.Suspected {
			o.forecast.Shifted()
			continue
		}
		if f.Stage == anomaly.Confirmed {
			o.alerts++
		}
		found = append(found, events.Anomaly{Metric: string(f.Metric), Was: f.Was, Now: f.Now, Over: f.Stage == anomaly.Over,
			Confidence: f.Confidence, SinceMs: (f.At - f.Since).Milliseconds(), Likely: f.Likely, LimitedBy: c.LimitedBy, Message: f.Words()})
	}
	return found
}

// ends tells that little is left.
func (o *outlook) ends(c engine.Totals) bool {
	return c.Listed && float64(c.Bytes-c.DoneBytes) < tail.Seconds()*float64(o.forecast.Average())
}

// recall learns from earlier jobs between the same hosts. Without a history the
// job goes as the first one does.
func (o *outlook) recall(j *Job) {
	if h := j.history(); h != nil {
		if r, err := h.Load(j.pair()); err == nil {
			o.past = r
			o.forecast.Past = forecast.Calibrate(r.Outcomes())
		}
	}
}

// remember keeps how a job went that is complete. It changes nothing for the job
// if that does not work.
func (o *outlook) remember(d *director, began time.Time, took time.Duration, c engine.Totals) error {
	j := d.job
	h := j.history()
	p10, median, p90, seconds := o.forecast.Rates()
	if h == nil || seconds < worthwhile {
		return nil
	}
	job := history.Job{Start: began.UTC(), Seconds: took.Seconds(), Bytes: c.Verified, Files: c.OK, Streams: o.streams,
		Rate: history.Rates{Median: median, P10: p10, P90: p90}, Limits: make(map[string]float64), Alerts: o.alerts, Outcomes: o.forecast.Outcomes(o.at), RTT: o.path.MinRTT.Seconds()}
	if o.path.Segs > 0 {
		job.Loss = min(1, float64(o.path.Again)/float64(o.path.Segs))
	}
	for name, d := range o.limits {
		job.Limits[name] = d.Seconds() / o.at.Seconds()
	}
	fact := d.learner.learned(median, d.known.fact)
	if fact != nil {
		job.Transport = fact.Transport
	}
	return h.Change(j.pair(), began, func(r *history.Record) {
		r.Add(job)
		fact.keep(r, began)
	})
}

// history is the file in which jobs like this one are remembered; nil: nowhere.
func (j *Job) history() *history.File {
	if j.local() || j.StateDir == "" {
		return nil
	}
	return history.At(filepath.Join(j.StateDir, historyName))
}

// pair is this host and the far one, in the direction of the data.
func (j *Job) pair() history.Pair {
	p := j.farPlace()
	return pairOf(p.Host, p.Port, j.push())
}

// thisHost is the name of this host in its own history.
const thisHost = "here"
