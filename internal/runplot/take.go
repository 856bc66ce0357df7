package runplot

import (
	"fmt"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/chart"
)

// takers gives the function that takes events of a kind, or nil.
func takers(ev string) func(*Run, float64, []byte) error {
	switch ev {
	case "job.start":
		return as((*Run).jobStart)
	case "job.end":
		return as((*Run).jobEnd)
	case "host":
		return as((*Run).host)
	case "plan":
		return as((*Run).plan)
	case "tune":
		return as((*Run).tune)
	case "transport":
		return as((*Run).transport)
	case "progress":
		return as((*Run).progress)
	case "progress.stream":
		return as((*Run).progressStream)
	case "progress.dest":
		return as((*Run).progressDest)
	case "progress.source":
		return as((*Run).progressSource)
	case "file":
		return as((*Run).file)
	case "warn":
		return as((*Run).warn)
	case "error":
		return as((*Run).failure)
	case "scan", "probe", "anomaly":
		return func(*Run, float64, []byte) error { return nil }
	}
	return nil
}

// progressEvent is a progress event. The counts that older programs did not write
// are nil then.
type progressEvent struct {
	events.Progress
	Streams *int     `json:"streams"`
	Retrans *int64   `json:"retrans"`
	RTTms   *float64 `json:"rtt_ms"`
}

// placeEvent is the state of one destination or source of several.
type placeEvent struct {
	Dest         string  `json:"dest"`
	Source       string  `json:"source"`
	DoneBytes    int64   `json:"done_bytes"`
	PlannedShare float64 `json:"planned_share"`
	State        string  `json:"state"`
}

func (r *Run) jobStart(t float64, e *events.JobStart) {
	r.starts++
	if r.starts > 1 {
		r.mark(t, "started again", chart.Info)
	}
	r.closeLanes(t)
	r.ended = false
	r.confirmed.begin(t)
	r.sent.begin(t)
	r.retrans.begin(t)
	r.sources, r.dests = e.Sources, e.Dests
	r.version, r.resumed = e.Version, e.Resumed
	if len(r.sources) > maxPlaces {
		r.sources = r.sources[:maxPlaces]
	}
	if len(r.dests) > maxPlaces {
		r.dests = r.dests[:maxPlaces]
	}
}

func (r *Run) jobEnd(t float64, e *events.JobEnd) {
	r.result, r.ended = *e, true
	r.result.Dests, r.result.Sources = nil, nil
	r.closeLanes(t)
	if e.Exit != 0 {
		r.mark(t, fmt.Sprintf("exit %d: %s", e.Exit, e.Reason), chart.Bad)
	}
}

// closeLanes ends all that is known of the present: a run begins or ends.
func (r *Run) closeLanes(t float64) {
	for _, name := range r.laneNames {
		if l := r.lanes[name]; l.open {
			l.set(t, "")
		}
	}
	r.seen, r.flowing = t, false
}

func (r *Run) host(t float64, e *events.Host) {
	if l := r.lane(e.Host); l != nil && e.Host != "" {
		l.set(t, cut(e.State))
	}
	switch e.State {
	case "lost":
		r.mark(t, e.Host+" lost: "+e.Detail, chart.Bad)
	case "gone":
		if e.Detail == "complete" {
			r.mark(t, e.Host+" complete", chart.Info)
			return
		}
		r.mark(t, e.Host+" given up", chart.Bad)
	case "back":
		r.mark(t, e.Host+" back", chart.Info)
	case "ready":
		if r.lost[e.Host] {
			r.mark(t, e.Host+" ready again", chart.Info)
		}
	}
	if len(r.lost) < maxPlaces || r.lost[e.Host] {
		r.lost[e.Host] = e.State == "lost" || e.State != "ready" && r.lost[e.Host]
	}
}

func (r *Run) plan(t float64, e *events.Plan) {
	if l := r.lane("transport"); l != nil && e.Transport != "local" {
		l.set(t, cut(e.Transport))
	}
	now := fmt.Sprintf("%s, %d streams", e.Transport, e.Streams)
	if e.Streams == 1 {
		now = e.Transport + ", 1 stream"
	}
	if e.CC != "" {
		now += ", " + e.CC
	}
	if now != r.planned {
		r.mark(t, now, chart.Info)
	}
	r.planned = now
}

func (r *Run) tune(t float64, e *events.Tune) {
	if e.AfterBps != 0 {
		return // the outcome of a step that has its mark already
	}
	value := func(v int64) string { return fmt.Sprint(v) }
	switch e.What {
	case "window":
		value = func(v int64) string { return chart.FormatValue(float64(v), chart.Bytes) }
	case "rate":
		value = func(v int64) string { return chart.FormatValue(8*float64(v), chart.BitsPerSecond) }
	}
	r.mark(t, fmt.Sprintf("%s %s → %s", e.What, value(e.From), value(e.To)), chart.Info)
}

func (r *Run) transport(t float64, e *events.Transport) {
	if l := r.lane("transport"); l != nil {
		l.set(t, cut(e.To))
	}
	r.mark(t, e.From+" → "+e.To+": "+e.Reason, chart.Warn)
}

func (r *Run) progress(t float64, e *progressEvent) {
	r.confirmed.count(t, float64(e.VerifiedBytes))
	r.sent.count(t, float64(e.SentBytes))
	if e.TotalBytes != nil {
		r.total = *e.TotalBytes
	}
	from := r.seen
	if l := r.lane("limited by"); l != nil && r.flowing && t-from < gap {
		label := cut(e.LimitedBy)
		if e.StalledMs > 0 || e.State != "" {
			label = "stalled"
			if e.State != "" {
				label = cut(e.State)
			}
		}
		l.during(from, t, label)
	}
	r.seen, r.flowing = t, true
	if e.Streams != nil {
		r.streams.add(t, float64(*e.Streams), 1)
	}
	if e.Retrans != nil {
		r.retrans.count(t, float64(*e.Retrans))
	}
	if e.RTTms != nil && *e.RTTms > 0 {
		r.rtt.add(t, *e.RTTms/1000, 1)
	}
}

func (r *Run) progressStream(t float64, e *events.ProgressStream) {
	s := r.byID[streamKey{e.Dest, e.Stream}]
	if s == nil {
		if len(r.order) >= maxStreams {
			r.streamsLeftOut++
			return
		}
		s = &stream{streamKey: streamKey{e.Dest, e.Stream}, retrans: counter{breaks: gap}}
		r.byID[streamKey{e.Dest, e.Stream}] = s
		r.order = append(r.order, s)
	}
	s.rate.add(t, 8*float64(e.RateBps), 1)
	if e.RTTms > 0 {
		s.rtt.add(t, e.RTTms/1000, 1)
	}
	if e.CwndBytes > 0 {
		s.cwnd.add(t, float64(e.CwndBytes), 1)
	}
	if !s.retrans.seen {
		s.retrans.count(max(0, t-1), 0) // it began without any
	}
	s.retrans.count(t, float64(e.Retrans))
}

func (r *Run) progressDest(t float64, e *placeEvent) { r.byDest.count(t, e.Dest, e.DoneBytes) }

func (r *Run) progressSource(t float64, e *placeEvent) {
	r.bySource.count(t, e.Source, e.DoneBytes)
	r.bySource.plan(t, e.Source, e.PlannedShare)
	if l := r.lane(e.Source); l != nil && e.Source != "" {
		l.set(t, cut(e.State))
	}
}

// fileEvent is what is of interest of a file.
type fileEvent struct {
	Path   string `json:"path"`
	Action string `json:"action"`
	Error  string `json:"error"`
}

func (r *Run) file(t float64, e *fileEvent) {
	if e.Action == "fail" {
		r.mark(t, "file failed: "+e.Path+": "+e.Error, chart.Bad)
	}
}

func (r *Run) warn(t float64, e *events.Warn) {
	r.warnings++
	r.mark(t, e.Code+": "+e.Message, chart.Warn)
}

func (r *Run) failure(t float64, e *events.Error) {
	r.failures++
	if !e.Fatal { // the end says the same
		r.mark(t, e.Code+": "+e.Message, chart.Bad)
	}
}
