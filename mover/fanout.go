package mover

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/jobs"
	"github.com/gomover/gomover/tuner/pace"
)

// What becomes of a destination that is slower than the others.
const (
	SlowDetach = "detach" // it goes on at its own pace
	SlowWait   = "wait"   // the others wait for it
	SlowDrop   = "drop"   // it is given up when the others would be done long before it
)

// ErrTooSlow is the end of a destination that was given up as too slow.
var ErrTooSlow = errors.New("much slower than the other destinations")

// Fan copies the same sources to several destinations. Each destination is a job
// of its own, with its own login, connections, journal, retries and result; they
// share a process and limits, and none waits for another unless that is asked
// for.
type Fan struct {
	Jobs []*Job // one for each destination; their sources are the same and local
	Slow string // SlowDetach (also ""), SlowWait or SlowDrop
	// Chain makes destinations pass on to each other what they get, so that this
	// machine sends about one copy.
	Chain bool
	// PassOn permits that they do so where it is faster and no multicast is possible, which
	// is found out; with MulticastAuto only.
	PassOn bool
	// Multicast is whether data goes to several destinations at once, MulticastNever
	// (also ""), MulticastAuto or MulticastAlways; not in a chain. Group says how.
	Multicast string
	Group     GroupOptions

	// Limit is the rate to all destinations together; with Controls it can be changed,
	// and so can all else, for all jobs at once. Without, nobody will.
	Limit    pace.Timetable
	Controls *FanControls
}

// Outcome is what came of one destination. Err is as Run returns it, or
// ErrTooSlow.
type Outcome struct {
	Report
	Err error
	// Group and Unicast are what it got by a group's session, for which several
	// destinations were served at once, and what by unicast within that. Resent of
	// Unicast was sent before.
	Group, Unicast Carried
	Resent         int64 // bytes
	Refused        Refused
}

// Refused is what a destination has refused of what came to it in this machine's name.
type Refused struct {
	Blocks  int64 // sealed with the group's key, and other bytes than this machine sent
	Packets int64 // datagrams that were sealed with no key of the session, or came again
}

// Carried is payload, in bytes, and the segments that carried it.
type Carried struct{ Bytes, Packets int64 }

// ID names all destinations together: the same command gives the same name.
func (f *Fan) ID() string {
	var parts []string
	for _, j := range f.Jobs {
		parts = append(parts, j.ID())
	}
	return jobs.ID(append([]string{"fanout"}, parts...)...)
}

// Names are what events call the destinations: as the user wrote them.
func (f *Fan) Names() (l []string) {
	for _, j := range f.Jobs {
		l = append(l, j.Dest.Shown)
	}
	return l
}

// Run copies to every destination at the same time and returns what came of each,
// in the order of Jobs, and what was sent to several at once, once for all of them. rec
// hears everything but the start and end of the whole. When a destination has ended,
// done is called with its number, by any goroutine; it may be nil.
func (f *Fan) Run(ctx context.Context, rec events.Recorder, done func(i int, o Outcome)) ([]Outcome, Together) {
	r := newFanRun(f, rec)
	stop := make(chan struct{})
	var beside, legs sync.WaitGroup
	beside.Go(func() { r.progress(stop) })
	beside.Go(func() { r.limit.run(stop, rec) })
	if f.Slow == SlowWait {
		beside.Go(func() { r.pace.keep(stop, r.positions) })
	}
	if r.cast != nil {
		beside.Go(func() { r.cast.work(stop) })
	}
	if r.over != nil {
		beside.Go(func() { r.over.work(stop) })
	}
	out := make([]Outcome, len(f.Jobs))
	for i, l := range r.legs {
		legs.Go(func() {
			inner, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			l.setCancel(cancel)
			report, err := l.dir.whole(inner)
			if l.dir.cast != nil {
				n, _ := l.dir.cast.counts()
				report.Totals.Sent += n.UnicastBytes
				out[i].Group = Carried{n.GroupBytes, n.GroupPackets}
				out[i].Unicast = Carried{n.UnicastBytes, n.UnicastPackets}
				out[i].Resent = n.ResentBytes
				out[i].Refused = l.dir.cast.turnedAway()
			}
			out[i].Report, out[i].Err = report, err
			l.end(err)
			if done != nil {
				done(i, out[i])
			}
		})
	}
	legs.Wait()
	close(stop)
	beside.Wait()
	return out, r.cast.together()
}

// fanRun is a Fan at work.
type fanRun struct {
	fan   *Fan
	rec   events.Recorder
	legs  []*leg
	began time.Time
	pace  together
	limit *FanControls
	cast  *casting  // nil: each destination gets its own data
	over  *overseer // nil: it is told how data goes

	mu     sync.Mutex // guards what follows
	scan   events.Scan
	warned map[events.Warn]bool // what is the same for all destinations
}

// leg is the way to one destination.
type leg struct {
	run  *fanRun
	i    int
	name string // as the user wrote the destination
	host string // for what is told of the host: its name, or name where several are on one host
	dir  *director

	mu        sync.Mutex // guards what follows
	cancel    context.CancelCauseFunc
	last      events.Progress // zero until heard
	heard     bool
	transport string
	host0     string // state of the host, as in events.Host; "" before the first
	ended     bool
	err       error
	took      time.Duration
}

func newFanRun(f *Fan, rec events.Recorder) *fanRun {
	r := &fanRun{fan: f, rec: rec, began: time.Now(), warned: make(map[events.Warn]bool)}
	r.pace.next = make(chan struct{})
	hosts := make(map[string]int)
	for _, j := range f.Jobs {
		hosts[j.FarHost()]++
	}
	common := engine.Common{Sources: len(f.Jobs)}
	if r.limit = f.Controls; r.limit == nil {
		r.limit = NewFanControls(f)
	}
	common.Limit = r.limit.common
	var line *chain
	if f.Chain {
		line = newChain()
	}
	for i, j := range f.Jobs {
		l := &leg{run: r, i: i, name: j.Dest.Shown, host: j.FarHost()}
		if hosts[l.host] > 1 {
			l.host = l.name
		}
		l.dir = newDirector(j, l)
		l.dir.common = common
		if j.Dest.Remote {
			l.dir.chain = line
		}
		r.legs = append(r.legs, l)
	}
	r.cast = newCasting(r)
	r.over = newOverseer(r)
	for i, l := range r.legs {
		l.dir.common.Hold = r.holding(i)
	}
	return r
}

// holding is what destination i waits for before each frame of its own; nil: nothing.
func (r *fanRun) holding(i int) func(ctx context.Context) error {
	paced, cast := r.fan.Slow == SlowWait, r.cast
	if !paced && (cast == nil || r.legs[i].dir.cast == nil) {
		return nil
	}
	return func(ctx context.Context) error {
		if cast != nil && r.legs[i].dir.cast != nil {
			if err := cast.hold(ctx, i); err != nil {
				return err
			}
			if r.over != nil {
				if err := r.over.hold(ctx, i); err != nil {
					return err
				}
			}
		}
		if paced {
			return r.pace.hold(ctx, i)
		}
		return nil
	}
}

func (l *leg) setCancel(cancel context.CancelCauseFunc) {
	l.mu.Lock()
	l.cancel = cancel
	l.mu.Unlock()
}

// end notes how the destination ended, and tells.
func (l *leg) end(err error) {
	l.mu.Lock()
	l.ended, l.err, l.took = true, err, time.Since(l.run.began)
	l.mu.Unlock()
	if l.dir.cast != nil {
		l.dir.cast.leave()
	}
	if h := l.dir.job.FarHost(); h != "" {
		e := events.Host{Host: l.host, Role: "dest", State: "gone"}
		if err == nil {
			e.Detail = "complete"
		}
		record(l.run.rec, e)
	}
}

// Record implements events.Recorder for the director of one destination: it says
// of which one its events are, and keeps what is told of all together.
func (l *leg) Record(t time.Time, e events.Event) {
	switch x := e.(type) {
	case events.Progress:
		l.mu.Lock()
		l.last, l.heard = x, true
		l.mu.Unlock()
		return
	case events.Scan:
		l.run.scanned(t, x)
		return
	case events.Host:
		l.mu.Lock()
		l.host0 = x.State
		l.mu.Unlock()
		x.Host = l.host
		e = x
	case events.Plan:
		l.uses(x.Transport)
		x.Dest = l.name
		e = x
	case events.Transport:
		l.uses(x.To)
		x.Dest = l.name
		e = x
	case events.Tune:
		// Each director counts its own steps.
		x.ID, x.Dest = x.ID*len(l.run.legs)+l.i, l.name
		e = x
	case events.ProgressStream:
		x.Dest = l.name
		e = x
	case events.Anomaly:
		x.Dest = l.name
		e = x
	case events.File:
		x.Dest = l.name
		e = x
	case events.Warn:
		switch {
		case x.Host == "local" || x.Code == "source.link" && x.Host == "": // not one that a sink has made up
			if !l.run.first(x) {
				return
			}
		case x.Host == "" || x.Host == l.dir.job.FarHost():
			x.Host = l.host
		}
		e = x
	}
	if l.run.rec != nil {
		l.run.rec.Record(t, e)
	}
}

// uses notes how data goes to the destination.
func (l *leg) uses(transport string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.transport = transport
}

// first tells whether a warning about this machine comes up for the first time.
func (r *fanRun) first(w events.Warn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.warned[w]
	r.warned[w] = true
	return !known
}

// scanned passes on what is news of the listing: every destination has one of the
// same source.
func (r *fanRun) scanned(t time.Time, s events.Scan) {
	r.mu.Lock()
	news := !r.scan.Done && (s.Done || s.Files+s.Dirs > r.scan.Files+r.scan.Dirs)
	if news {
		r.scan = s
	}
	r.mu.Unlock()
	if news && r.rec != nil {
		r.rec.Record(t, s)
	}
}

// progress records the state of every destination and of all together until stop
// is closed, and once more then.
func (r *fanRun) progress(stop <-chan struct{}) {
	t := time.NewTicker(progressEvery)
	defer t.Stop()
	for stopped := false; !stopped; {
		select {
		case <-t.C:
		case <-stop:
			stopped = true
		}
		sum := events.Progress{ETAms: -1, ETALoMs: -1, ETAHiMs: -1}
		var states []events.ProgressDest
		heard := false
		for _, l := range r.legs {
			p, d, ok := l.state()
			states = append(states, d)
			if ok {
				heard = heard || d.State != "failed"
				addProgress(&sum, &p)
			}
		}
		for _, d := range states {
			record(r.rec, d)
		}
		sum.SentBytes += r.cast.together().Group.Bytes
		if heard || stopped {
			r.total(&sum, states)
			record(r.rec, sum)
		}
		if r.fan.Slow == SlowDrop && !stopped {
			r.dropSlow(time.Since(r.began), states)
		}
	}
}

// addProgress adds what one destination has to what all have. Rates of those that
// have ended are 0.
func addProgress(sum, p *events.Progress) {
	sum.DoneBytes += p.DoneBytes
	sum.SentBytes += p.SentBytes
	sum.VerifiedBytes += p.VerifiedBytes
	sum.FilesDone += p.FilesDone
	sum.RateBps += p.RateBps
	sum.AvgBps += p.AvgBps
	sum.Streams += p.Streams
	sum.Retrans += p.Retrans
	sum.Repaired += p.Repaired
	sum.RTTms = max(sum.RTTms, p.RTTms)
	if p.ETAms > sum.ETAms {
		// The last one decides.
		sum.ETAms, sum.ETALoMs, sum.ETAHiMs = p.ETAms, p.ETALoMs, p.ETAHiMs
	}
	if sum.CurrentPath == "" {
		sum.CurrentPath, sum.CurrentShare = p.CurrentPath, p.CurrentShare
	}
}

// total completes the sum: every destination is to have as much as the one that
// knows most of the source, whether it can be reached or not.
func (r *fanRun) total(sum *events.Progress, states []events.ProgressDest) {
	n := int64(len(states))
	var bytes, files int64
	listed := false
	limits := make(map[string]int)
	stalled := int64(-1)
	for i, d := range states {
		if d.TotalBytes != nil {
			listed, bytes = true, max(bytes, *d.TotalBytes)
		}
		files = max(files, r.legs[i].files())
		if d.State == "done" || d.State == "failed" {
			continue
		}
		limits[d.LimitedBy]++
		if stalled < 0 || d.StalledMs < stalled {
			stalled, sum.State = d.StalledMs, d.Detail
		}
	}
	if listed {
		bytes *= n
		sum.TotalBytes = &bytes
	}
	sum.FilesTotal = files * n
	sum.StalledMs = max(0, stalled)
	sum.LimitedBy = "unknown"
	most := 0
	for _, d := range states {
		if c := limits[d.LimitedBy]; c > most {
			sum.LimitedBy, most = d.LimitedBy, c
		}
	}
}

func (l *leg) files() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last.FilesTotal
}

// state is what is known of the destination; ok tells whether it has been heard
// of.
func (l *leg) state() (p events.Progress, d events.ProgressDest, ok bool) {
	l.dir.mu.Lock()
	via, remote := l.dir.via, l.dir.job.FarHost() != ""
	l.dir.mu.Unlock()
	held := l.run.fan.Slow == SlowWait && l.run.pace.holds(l.i)
	l.mu.Lock()
	defer l.mu.Unlock()
	p = l.last
	d = events.ProgressDest{Dest: l.name, Transport: l.transport, Streams: p.Streams, DoneBytes: p.DoneBytes, SentBytes: p.SentBytes, TotalBytes: p.TotalBytes,
		RateBps: p.RateBps, ETAms: p.ETAms, LimitedBy: p.LimitedBy, StalledMs: p.StalledMs, RepairedBlocks: p.Repaired, State: "running", Detail: p.State, Via: via}
	switch {
	case l.ended && l.err == nil:
		d.State, d.Detail = "done", ""
	case l.ended:
		d.State = "failed"
		d.Detail, _, _ = strings.Cut(l.err.Error(), "\n")
	case l.host0 == "lost":
		d.State = "lost"
	case l.host0 != "ready" && l.host0 != "back" && remote:
		d.State, d.ETAms = "connecting", -1
		if l.host0 == "agent" {
			d.Detail = "starting the agent"
		}
	case held:
		d.State, d.LimitedBy = "held", "slowest host"
	}
	l.countCast(&p, &d)
	if l.ended {
		p.RateBps, p.Streams, p.ETAms = 0, 0, -1
		d.RateBps, d.Streams, d.ETAms, d.StalledMs = 0, 0, -1, 0
	}
	return p, d, l.heard
}

// countCast adds what came by a group's session.
func (l *leg) countCast(p *events.Progress, d *events.ProgressDest) {
	if l.dir.cast == nil {
		return
	}
	r, now := l.dir.cast.counts()
	d.GroupBytes, d.GroupPackets, d.UnicastBytes, d.UnicastPackets, d.ResentBytes = r.GroupBytes, r.GroupPackets, r.UnicastBytes, r.UnicastPackets, r.ResentBytes
	p.SentBytes += r.UnicastBytes
	d.SentBytes = p.SentBytes
	if now {
		d.Streams = 0 // they wait
	}
}

// dropSlow gives up destinations that are much slower than the others.
func (r *fanRun) dropSlow(now time.Duration, states []events.ProgressDest) {
	took := make([]time.Duration, len(states))
	for i, d := range states {
		switch {
		case d.State == "done":
			r.legs[i].mu.Lock()
			took[i] = r.legs[i].took
			r.legs[i].mu.Unlock()
		case d.ETAms >= 0:
			took[i] = now + time.Duration(d.ETAms)*time.Millisecond
		}
	}
	for _, i := range slowOnes(now, took) {
		l := r.legs[i]
		l.mu.Lock()
		cancel, over := l.cancel, l.ended
		l.mu.Unlock()
		if !over && cancel != nil {
			cancel(ErrTooSlow)
		}
	}
}

// When a destination is too slow. Ours.
const (
	slowAfter  = 10 * time.Second // rates say little before
	slowFactor = 2                // times the median of all
)

// slowOnes gives the destinations which are not done at now and will take more
// than slowFactor times the median of all. took is how long each takes, as far as
// can be foretold; 0 is not known.
func slowOnes(now time.Duration, took []time.Duration) (slow []int) {
	var known []time.Duration
	for _, d := range took {
		if d > 0 {
			known = append(known, d)
		}
	}
	if now < slowAfter || len(known) < 2 {
		return nil
	}
	slices.Sort(known)
	median := known[(len(known)-1)/2]
	for i, d := range took {
		// Those that are done took less than now.
		if d > now && d > slowFactor*median {
			slow = append(slow, i)
		}
	}
	return slow
}
