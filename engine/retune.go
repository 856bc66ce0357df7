package engine

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/tuner/retune"
)

// Values of Options.Retune.
const (
	retuneOn      = "on"
	retuneObserve = "observe"
	retuneAuto    = "auto"
)

// segment is the payload of a TCP segment in bytes on most paths. The kernel tells
// how many segments it sent again, not how many it sent.
const segment = 1448

// retuner changes a source's streams while it runs. It belongs to the ticker.
type retuner struct {
	policy interface {
		Step(retune.Sample) (retune.Decision, bool)
	}
	set   retune.Settings // as last decided
	yield bool            // to everybody: the rate changes all the time, and without trials
	said  time.Time       // when a rate of a job that yields was told last
	told  int64           // that rate
	step  int             // the policy's last, by its own number
	id    int             // which was told by this one
	own   string          // the system's congestion control
	began time.Time
	at    time.Time // of the last sample
	bytes int64     // confirmed then
	seen  map[uint32]transports.Stats
}

// steer has the retuner look at the streams when there is to be one: always in a job that
// yields. One that does so no more is let go.
func (s *Source) steer(now time.Time, bytes int64, by string, yields bool) {
	switch {
	case yields || s.retuneMode() != "":
		s.retune(now, bytes, by)
	case s.retuner != nil:
		s.dropRetuner() // else its last rate would stay
	}
}

// retune looks at the streams and does what the policy wants. bytes is what is
// confirmed so far, by what held the job back in the last second.
//
// Streams over UDT, which fill a path with few, and those within one process are
// left alone.
func (s *Source) retune(now time.Time, bytes int64, by string) {
	list := s.streams.list()
	s.streams.mu.Lock()
	target, draining := s.streams.target, s.streams.draining
	s.streams.mu.Unlock()
	if s.renew.Swap(false) {
		s.dropRetuner()
	}
	if target == 0 || len(list) == 0 || draining || s.paths.Local || s.limit.isPaused() {
		return
	}
	stats := make(map[uint32]transports.Stats, len(list))
	for _, ss := range list {
		st := ss.st.Stats()
		if st.Transport == "udt" {
			s.dropRetuner()
			return
		}
		stats[ss.id] = st
	}
	r := s.retuner
	if r == nil || r.set.Streams != target {
		// The first look, or somebody else has changed the number.
		s.dropRetuner()
		s.retuner = s.newRetuner(now, bytes, target, stats)
		if s.retuner.yield {
			s.pacer.trim = s.retuner.set.Rate
			s.SetStreams(s.retuner.set.Streams)
		}
		return
	}
	v, ok := r.sample(now, bytes, stats, by)
	if !ok {
		return
	}
	if wanted, _ := s.sched.load(); wanted == 0 {
		return // the last bytes are no measure of the path
	}
	d, ok := r.policy.Step(v)
	if ok {
		s.apply(r, d, list, v.MinRTT)
	}
}

// dropRetuner ends a policy. What it has set stays, but for a limit of the rate.
func (s *Source) dropRetuner() {
	s.retuner, s.pacer.trim = nil, 0
}

// newRetuner begins with the streams as they are.
func (s *Source) newRetuner(now time.Time, bytes int64, target int, stats map[uint32]transports.Stats) *retuner {
	r := &retuner{began: now, at: now, bytes: bytes, seen: stats}
	for _, st := range stats {
		r.own = st.CC
	}
	s.mu.Lock()
	if s.sysCC == "" {
		s.sysCC = r.own
	}
	s.mu.Unlock()
	b := s.streamBounds()
	limit, _ := s.limit.rates()
	c := retune.Config{Start: retune.Settings{Streams: target, CC: r.own}, Least: b[0], Most: b[1], Limit: payload(limit),
		Interval: time.Duration(s.opts.Interval), Running: s.grown, Observe: s.opts.Retune == retuneObserve}
	if s.isPriority(Bold) {
		c.Priority = retune.Bold
	}
	if r.yield = s.isPriority(Background); r.yield {
		c.Priority = retune.Background
	}
	if s.opts.CC == "" && slices.Contains(s.paths.CCs, "bbr") && !c.Observe {
		c.CCs = []string{"bbr"}
	}
	r.set = c.Start
	switch {
	case r.own == "": // a kernel that tells nothing
		r.yield = false
		r.policy = retune.NewClimber(c)
	case r.yield:
		y := retune.NewYielder(c)
		r.policy, r.set = y, y.Start()
	default:
		r.policy = retune.New(c)
	}
	return r
}

// sample tells what the streams did since the last one. Streams that are new since
// then are left out. ok is false while not even a round trip has passed.
func (r *retuner) sample(now time.Time, bytes int64, stats map[uint32]transports.Stats, by string) (v retune.Sample, ok bool) {
	span := now.Sub(r.at)
	v = retune.Sample{At: now.Sub(r.began), Span: span, Known: retune.KnownAll}
	var rtt time.Duration
	var cwnd int64
	for id, st := range stats {
		last, known := r.seen[id]
		if !known {
			continue
		}
		v.Streams++
		v.Acked += acknowledged(&st) - acknowledged(&last)
		v.Segs += (st.SentBytes - last.SentBytes) / segment
		if again := st.Retrans - last.Retrans; again > 0 {
			v.Lost += again
			v.Events++
		}
		v.Wnd += float64(st.RwndLimited - last.RwndLimited)
		v.Snd += float64(st.BufLimited - last.BufLimited)
		rtt += st.RTT
		cwnd += st.Cwnd
		if st.MinRTT > 0 && (v.MinRTT == 0 || st.MinRTT < v.MinRTT) {
			v.MinRTT = st.MinRTT
		}
		if st.RTT == 0 {
			v.Known &^= retune.KnownRTT
		}
	}
	if v.Streams == 0 {
		r.restart(now, bytes, stats)
		return v, false
	}
	n := float64(v.Streams)
	v.RTT, v.Cwnd = rtt/time.Duration(v.Streams), cwnd/int64(v.Streams)
	if span < v.RTT {
		return v, false
	}
	v.Wnd, v.Snd = share(v.Wnd/n, span), share(v.Snd/n, span)
	if r.own == "" {
		v.Known, v.Acked = 0, bytes-r.bytes
	}
	v.Acked = max(0, v.Acked)
	limit(&v, by)
	r.restart(now, bytes, stats)
	return v, true
}

func (r *retuner) restart(now time.Time, bytes int64, stats map[uint32]transports.Stats) {
	r.at, r.bytes, r.seen = now, bytes, stats
}

func share(v float64, span time.Duration) float64 { return min(max(0, v/float64(span)), 1) }

// limit says in a sample which end the engine has found to be the limit, from what
// the streams of both ends spent their time on.
func limit(v *retune.Sample, by string) {
	switch by {
	case "source disk":
		v.App, v.Source.Disk = 1, 1
	case "source cpu":
		v.App, v.Source.Own = 1, 1
	case "too many small files":
		v.App, v.Source.Files = 1, 1
	case "target disk":
		v.Wnd, v.Sink.Disk = 1, 1
	case "target cpu":
		v.Wnd, v.Sink.Own = 1, 1
	}
}

// apply makes a decision true and tells of it.
func (s *Source) apply(r *retuner, d retune.Decision, list []*sendStream, rtt time.Duration) {
	before := r.set
	r.set = d.Settings
	if d.Streams != before.Streams {
		s.SetStreams(d.Streams)
	}
	if d.CC != before.CC {
		s.mu.Lock()
		s.cc = d.CC
		s.mu.Unlock()
		for _, ss := range list {
			s.tuneStream(ss.st)
		}
	}
	s.pacer.trim = d.Rate
	if r.yield {
		s.tellYield(r, before.Rate, d.Rate)
		return
	}
	s.tellTuned(r, d, rtt)
}

// A job that yields tells of its rate so often, and of changes by so much.
const (
	yieldToldEvery = 5 * time.Second
	yieldToldShare = 0.2
)

// tellYield reports by how much the rate has changed since that was told last.
func (s *Source) tellYield(r *retuner, before, rate int64) {
	if r.said.IsZero() {
		r.told = before
	}
	if now := time.Now(); now.Sub(r.said) >= yieldToldEvery && math.Abs(float64(rate-r.told)) > yieldToldShare*float64(r.told) {
		s.emit(events.Tune{ID: s.tuneID(), What: "rate", From: r.told, To: rate, Reason: "in the background: as the queue on the path allows"})
		r.said, r.told = now, rate
	}
}

// tellTuned reports a decision. One that ends a trial has the trial's number, and
// what it brought. Of a policy that observes, nothing changes but what is said.
func (s *Source) tellTuned(r *retuner, d retune.Decision, rtt time.Duration) {
	if d.ID != r.step { // others tell of steps, too
		r.step, r.id = d.ID, s.tuneID()
	}
	from, to := d.From, d.To
	if d.Step == retune.Undo {
		from, to = d.To, d.Settings
	}
	reason := fmt.Sprintf("%s: %s (limited by %s)", d.Step, d.Reason, d.Class.LimitedBy())
	if d.Step == retune.Would {
		reason, to = fmt.Sprintf("would try %v: %s (limited by %s)", d.To, d.Reason, d.Class.LimitedBy()), from
	}
	if from.CC != to.CC {
		s.replan(to.Streams, to.CC, rtt, reason)
		return
	}
	t := events.Tune{ID: r.id, What: "streams", From: int64(from.Streams), To: int64(to.Streams), BeforeBps: d.Before, AfterBps: d.After, Reason: reason}
	if from.Rate != to.Rate {
		t.What, t.From, t.To = "rate", from.Rate, to.Rate
	}
	s.emit(t)
}
