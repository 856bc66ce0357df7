package mover

import (
	"encoding/json"
	"math"
	"sync"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/history"
	"github.com/gomover/gomover/tuner/choice"
)

// pathFact is what a job learned of its path, for the next one: how data travelled
// in the end, and how fast.
type pathFact struct {
	Transport string  `json:"transport"`
	Streams   int     `json:"streams"`
	CC        string  `json:"cc,omitempty"`
	RTTms     float64 `json:"rtt_ms"`
	Rate      float64 `json:"rate"` // median of the job's seconds, bytes per second
}

// probeFactName is the name of what a probe told, in a history.
const probeFactName = "probe-1"

// Constants of what is remembered.
const (
	// pathFactName is the fact's name in a history.
	pathFactName = "path-1"
	// factHalfLife is after which time a fact counts half, and less than factWeight
	// is not used any more: paths are changed, and nobody tells.
	factHalfLife, factWeight = 7 * 24 * time.Hour, 0.5
	// stillGood is the share of the remembered rate that a job must reach which began
	// as the last one ended. Otherwise the next one begins as if nothing were known.
	stillGood = 0.8
	// factPatience is how long a job waits for what is remembered: a file that is
	// free is read in one or two milliseconds.
	factPatience = 50 * time.Millisecond
)

// useful tells if a fact makes sense; the file may have been written by anybody who
// is this user.
func (f *pathFact) useful() bool {
	return (f.Transport == "tcp" || f.Transport == "udt") && f.Streams >= 1 && f.Streams <= 256 && len(f.CC) <= 16 &&
		f.RTTms > 0 && f.RTTms < 1e5 && f.Rate > 0 && !math.IsInf(f.Rate, 0)
}

// pathFactOf takes the fact out of what is remembered of a pair of hosts.
func pathFactOf(r *history.Record, now time.Time) (f pathFact, ok bool) {
	known, ok := r.Facts[pathFactName]
	if !ok || known.Weight(now, factHalfLife) < factWeight || json.Unmarshal(known.Value, &f) != nil || !f.useful() {
		return pathFact{}, false
	}
	return f, true
}

// memory is what earlier jobs have left about a path, and what this one has learned
// since.
type memory struct {
	fact pathFact // what the job begins with; zero: nothing
	probeFact
	weight float64       // how much the latter counts: 1 is new, 0 that there is none
	age    time.Duration // of it
}

// memoryOf is what probes have told, as far as it counts still.
func memoryOf(r *history.Record, now time.Time) (m memory) {
	var f probeFact
	p, ok := r.Facts[probeFactName]
	if w := p.Weight(now, factHalfLife); ok && w >= factWeight && json.Unmarshal(p.Value, &f) == nil && f.path() != (choice.Path{}) {
		m.probeFact, m.weight, m.age = f, w, max(0, now.Sub(p.At))
	}
	return m
}

// begin gives the job as it is to begin with what earlier ones learned, if anything
// was and the user leaves it open.
func (j *Job) begin(now time.Time) (*Job, memory) {
	h := j.history()
	if h == nil || j.Engine.CC != "" || j.Probe == ProbeOff {
		return j, memory{}
	}
	loaded := make(chan history.Record, 1)
	go func() {
		r, err := h.Load(j.pair())
		if err != nil {
			r = history.Record{} // the job goes as the first one does
		}
		loaded <- r
	}()
	var r history.Record
	select {
	case r = <-loaded:
	case <-time.After(factPatience):
		return j, memory{}
	}
	next := *j
	m := memoryOf(&r, now)
	f, _ := pathFactOf(&r, now)
	switch {
	case f.Transport == "tcp":
		next.Engine.LastStreams, next.Engine.LastCC, next.Engine.LastRTTms = f.Streams, f.CC, f.RTTms
	case f.Transport == "udt" && j.Spare && !j.UDT:
		next.UDT = true
		next.Engine.LastRate, next.Engine.LastRTTms = f.Rate, f.RTTms
	default:
		f = pathFact{}
	}
	m.fact = f
	return &next, m
}

// learner notes from the events of a job how its data travels.
type learner struct {
	events.Recorder
	mu   sync.Mutex
	fact pathFact
}

// Record implements events.Recorder.
func (l *learner) Record(at time.Time, e events.Event) {
	l.mu.Lock()
	switch e := e.(type) {
	case events.Plan:
		l.fact.Transport, l.fact.Streams, l.fact.CC, l.fact.RTTms = e.Transport, e.Streams, e.CC, e.RTTms
	case events.Transport:
		l.fact.Transport = e.To
	case events.Tune:
		if e.What == "streams" && l.fact.Transport == "tcp" {
			l.fact.Streams = int(e.To)
		}
	}
	l.mu.Unlock()
	if l.Recorder != nil {
		l.Recorder.Record(at, e)
	}
}

// planned is the round trip at the start, before data filled any queue, in ms; 0: not
// known.
func (l *learner) planned() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fact.RTTms
}

// learned is what the job has learned, in a form for the history; nil: nothing that
// the next one should begin with. before is what this one began with.
func (l *learner) learned(rate float64, before pathFact) *pathFact {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.fact
	f.Rate = rate
	if !f.useful() || before.Rate > 0 && rate < stillGood*before.Rate {
		return nil
	}
	return &f
}

// keep puts what a job has learned into a record; nil takes out what was there.
func (f *pathFact) keep(r *history.Record, now time.Time) {
	if f == nil {
		delete(r.Facts, pathFactName)
		return
	}
	if v, err := json.Marshal(f); err == nil {
		r.SetFact(pathFactName, history.Fact{At: now.UTC(), Value: v})
	}
}
