package mover

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/jobs"
	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/transports/pipe"
	"github.com/gomover/gomover/wire"
)

// ErrInterrupted is the cause to cancel Run's context with when the user wants
// to stop: what is under way is still confirmed.
var ErrInterrupted = errors.New("interrupted")

// errTime ends a job at its time limit.
var errTime = errors.New("time limit reached")

// director runs one job.
type director struct {
	job *Job
	rec events.Recorder
	id  string

	common engine.Common // with the directors of the job's other destinations
	chain  *chain        // of the destinations that pass on to each other; nil: none do
	cast   *castLeg      // where destinations may get data together; nil: this one does not
	far    *farFetch     // this one runs in an agent; nil: it does not
	direct bool          // this one is served from here in a chain, too; the session's

	mu      sync.Mutex              // guards what follows
	current end                     // of the session that runs
	leave   context.CancelCauseFunc // ends that session
	turned  bool                    // chain is to be next from the next session on
	next    *chain
	state   string // what is being tried between sessions
	totals  engine.Totals
	started bool
	lived   bool               // in this session both ends have met
	sources []events.SourceEnd // of a pull
	pasts   *pasts             // of a pull; set before its session begins
	via     string             // destination that passes on to this one; "": none

	controls *Controls
	floor    floor   // progress's
	outlook  outlook // progress's, and Run's after that
	learner  *learner
	known    memory // of the path: whole's, and then besides'
	lookout  lookout
}

// Run does the job. The error is nil when every file is where it should be,
// except those that Totals count as failed; otherwise a *wire.Fail, a
// *sshboot.Error, or the cause of ctx's end. rec hears everything but the job's
// start and end.
func Run(ctx context.Context, j *Job, rec events.Recorder) (Report, error) {
	return newDirector(j, rec).whole(ctx)
}

func newDirector(j *Job, rec events.Recorder) *director {
	l := &learner{Recorder: rec}
	d := &director{job: j, rec: l, id: j.ID(), learner: l, controls: j.Controls, floor: floor{least: j.MinRate}}
	if d.controls == nil {
		d.controls = NewControls(j)
	}
	return d
}

// whole is Run.
func (d *director) whole(ctx context.Context) (Report, error) {
	j := d.job
	r := Report{JobID: d.id, Began: time.Now()}
	if j.TimeLimit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, j.TimeLimit, errTime)
		defer cancel()
	}
	begun, known := j.begin(r.Began)
	d.mu.Lock() // others may look at it already
	d.job, d.known = begun, known
	d.mu.Unlock()
	d.tellKnown()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d.controls.begin(d.rec, cancel, d.lookout.ask)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { d.progress(stop, cancel) })
	wg.Go(func() { d.controls.run(stop) })
	err := d.run(ctx)
	if err != nil && ctx.Err() != nil {
		// Whatever broke on the way out, this is why.
		err = context.Cause(ctx)
	}
	close(stop)
	wg.Wait()
	if errors.Is(err, errTime) {
		err = wire.Failf(wire.ClassTime, "the time limit of %v was reached", j.TimeLimit)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	r.Totals, r.Started, r.Took = d.totals, d.started, time.Since(r.Began)
	r.Sources = shares(d.sources)
	if err == nil {
		// The job is done; that the next one knows less is no concern of its user.
		_ = d.outlook.remember(d, r.Began, r.Took, r.Totals)
	}
	return r, err
}

// run repeats sessions until the job is done or can't be.
func (d *director) run(ctx context.Context) error {
	if !d.job.Dest.Remote {
		// The sink is here, and so is its lock.
		lock, err := jobs.Acquire(d.job.StateDir, d.id, lockWait)
		if err != nil {
			return busy(err, "on this machine")
		}
		defer lock.Release()
	}
	if d.job.Pull != nil && !d.job.Dest.Remote {
		began := time.Now()
		d.pasts = newPasts(d.job)
		err := d.sessionPull(ctx)
		if err == nil {
			// The job is done; that the next one knows less is no concern of its user.
			_ = d.pasts.remember(began)
		}
		return err
	}
	if d.job.local() {
		return d.sessionLocal(ctx)
	}
	wait := max(d.job.RetryWait, 10*time.Millisecond)
	last := time.Now() // of progress
	var best int64
	began := false // something was stored in this run
	for {
		d.turn()
		err := d.session(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		d.mu.Lock()
		done, started, lived := d.totals.DoneBytes+d.totals.DoneFiles, d.started, d.lived
		began = began || d.totals.Verified+d.totals.OK > 0
		d.lived = false
		d.mu.Unlock()
		if held := d.controls.heldUntil(time.Now()); lived && held.After(last) {
			last = held // it was told to make none; the link was there until now
		}
		if done > best {
			best, last, wait = done, time.Now(), max(d.job.RetryWait, 10*time.Millisecond)
		}
		pause, ok := again(err, started, best > 0, began, wait)
		if !ok {
			return err
		}
		left := time.Until(last.Add(d.job.GiveUp))
		if d.job.GiveUp > 0 && left < pause {
			return d.gaveUp(err)
		}
		host := d.job.FarHost()
		if errors.Is(err, errAgain) {
			continue
		}
		if full(err) {
			record(d.rec, events.Warn{Code: "dest.space", Message: err.Error()})
		} else {
			record(d.rec, events.Host{Host: host, Role: d.farRole(), State: "lost", Detail: err.Error()})
		}
		d.setState(waiting(err, host, pause))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		wait = min(2*wait, time.Minute)
	}
}

func (d *director) gaveUp(err error) error {
	if full(err) {
		return err
	}
	d.mu.Lock()
	t := d.totals
	d.mu.Unlock()
	safe := ""
	if t.Bytes > 0 {
		safe = fmt.Sprintf("; %d%% is safe there", 100*t.DoneBytes/t.Bytes)
	}
	return wire.Failf(wire.ClassLost, "%s: no answer for %v (%v)%s", d.job.FarHost(), d.job.GiveUp, err, safe)
}

func (d *director) farRole() string {
	if d.job.push() {
		return "dest"
	}
	return "source"
}

func (d *director) setState(s string) {
	d.mu.Lock()
	d.state = s
	d.mu.Unlock()
}

// use makes e the end whose totals count.
func (d *director) use(e end) {
	d.mu.Lock()
	d.current, d.state, d.started, d.lived = e, "", true, true
	d.mu.Unlock()
	d.controls.session(e)
}

// drop keeps the totals of the session that has ended.
func (d *director) drop() {
	d.controls.session(nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.current != nil {
		before := d.totals
		d.totals = d.current.Totals()
		d.totals.Sent += before.Sent
		d.totals.Verified += before.Verified
		d.totals.Repaired += before.Repaired
		t := &d.totals
		if whole := t.Listed && t.DoneBytes >= t.Bytes; !whole && t.DoneBytes < before.DoneBytes {
			// It ended before it was told of all that is there.
			t.DoneBytes, t.Bytes = before.DoneBytes, max(t.Bytes, before.Bytes)
		}
		d.current = nil
	}
}

// newSource returns a source in this process, with what it shares with those of
// the job's other destinations.
func (d *director) newSource(o engine.Options, p engine.Paths, l engine.Link, roots []engine.SourceRoot) *engine.Source {
	s := engine.NewSource(o, p, l, roots, d.rec)
	s.Join(d.common)
	return s
}

// drainer is an end that can let what is under way be confirmed.
type drainer interface{ Drain(d time.Duration) }

// runEnd runs this process's end; on an interrupt a source first lets what is
// under way be confirmed.
func (d *director) runEnd(ctx context.Context, e end) error {
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	d.use(e)
	defer d.drop()
	defer d.stays(nil)
	if !d.stays(leave) {
		return errAgain
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-ctx.Done():
			if s, ok := e.(drainer); ok && errors.Is(context.Cause(ctx), ErrInterrupted) {
				s.Drain(5 * time.Second)
			} else if ok && errors.Is(context.Cause(ctx), errAgain) {
				s.Drain(leaveDrain)
			}
			cancel(context.Cause(ctx))
		case <-done:
		}
	}()
	return e.Run(inner)
}

// leaveDrain is how long what is under way may take to be confirmed when a session ends to
// begin again otherwise.
const leaveDrain = time.Second

// goOver has sessions be in a chain from now on, or in none any more (nil). One that runs
// ends. Any goroutine may call it.
func (d *director) goOver(c *chain) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turned, d.next = true, c
	if d.leave != nil {
		d.leave(errAgain)
	}
}

// turn does before a session what goOver has said.
func (d *director) turn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.turned {
		d.chain, d.direct, d.turned, d.next = d.next, false, false, nil
	}
}

// stays notes how the session that runs is ended, nil when it has; false: it is to end
// already.
func (d *director) stays(leave context.CancelCauseFunc) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leave = leave
	return !d.turned
}

func (d *director) specs() (r readSpec, w writeSpec) {
	j := d.job
	r = readSpec{Recursive: j.Recursive, Glob: j.Glob && j.Sources[0].Remote, Links: j.Links}
	for i := range j.Sources {
		s := &j.Sources[i]
		r.Sources = append(r.Sources, sourceSpec{Path: []byte(s.Path), Inside: s.Inside, Shown: s.Shown})
	}
	w = writeSpec{Path: []byte(j.Dest.Path), Shown: j.Dest.Shown, Slash: j.Dest.Inside || j.IntoDir, Exact: j.Exact, MkPath: j.MkPath, Several: len(j.Sources) > 1}
	return r, w
}

// options are the engine's, for both ends.
func (d *director) options() engine.Options {
	o := d.job.Engine
	o.JobID = d.id
	// In a chain nothing is shared: who passes a file on would wait for all of it, to be sure
	// that it is the one that others read, too.
	o.Rehash, o.Shared = d.chain != nil, d.cast != nil && d.chain == nil
	d.controls.options(&o)
	if d.chain != nil {
		o.Least = chainBlock(o.Rate)
	}
	o.NoStreams, o.NoInband = !d.job.TCP && !d.job.UDT && !d.job.local(), !d.job.SSH
	return o
}

func (d *director) warnLink(text, path string) {
	record(d.rec, events.Warn{Code: "source.link", Message: text, Path: path})
}

// sessionLocal copies within this machine.
func (d *director) sessionLocal(ctx context.Context) error {
	r, w := d.specs()
	roots, err := openSources(&r, d.warnLink)
	if err != nil {
		return err
	}
	defer closeSources(roots)
	w.Never = sourceDirs(r.Sources)
	if err := refuseInside(&w); err != nil {
		return err
	}
	if err := refuseSame(&r, &w); err != nil {
		return err
	}
	o := d.options()
	o.NoInband = true
	la, lb := engine.MemoryLink()
	ea, eb := pipe.Pair()
	src := d.newSource(o, engine.Paths{Endpoint: ea, Local: true, DialFirst: true, Name: "local"}, la, roots)
	sink := engine.NewSink(o, engine.Paths{Endpoint: eb, Local: true, Name: "local"}, lb, target(&w, d.id, o.Attrs, denyOnce(d.rec)), nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = sink.Run(ctx) // tells the source, whose error counts
		lb.Close()
	})
	err = d.runEnd(ctx, src)
	if err != nil {
		la.Close()
	}
	wg.Wait()
	return err
}

// session logs in, starts the far end and runs the job to its end or the
// connection's.
func (d *director) session(ctx context.Context) error {
	j := d.job
	far := j.farPlace()
	if j.Pull != nil {
		return d.sessionFar(ctx)
	}
	r, w := d.specs()
	// What can be refused here is refused before anybody is bothered.
	var roots []engine.SourceRoot
	if j.push() {
		var err error
		if roots, err = openSources(&r, d.warnLink); err != nil {
			return err
		}
		defer closeSources(roots)
	}
	record(d.rec, events.Host{Host: far.Host, Role: d.farRole(), State: "connecting"})
	sh, err := sshboot.Dial(ctx, sshboot.Target{User: far.User, Host: far.Host, Port: far.Port}, j.Login)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait() // a probe that is under way ends with the connection at once
	defer sh.Close()
	record(d.rec, events.Host{Host: far.Host, Role: d.farRole(), State: "agent"})
	bo := j.Boot
	bo.Args, bo.Version, bo.Protocol = []string{"agent"}, j.Version, wire.Version
	if d.early(sh) {
		bo.Args = append(bo.Args, "--early")
	}
	b, err := sshboot.Boot(ctx, sh, bo)
	if err != nil {
		return err
	}
	detail := ""
	if b.Uploaded {
		detail = "uploaded to " + b.Path
	}
	record(d.rec, events.Host{Host: far.Host, Role: d.farRole(), State: "ready", Detail: detail})
	conn := framing.New(b)
	defer conn.Close()
	if d.chain != nil {
		return d.named(d.sessionChained(ctx, sh, conn, &r, &w, roots, earlyPort(b.Greeting.Extra)))
	}
	// A cancelled context must end waiting for the far end as well.
	unhook := context.AfterFunc(ctx, func() {
		if !d.running() {
			conn.Close()
		}
	})
	defer unhook()
	e, done, err := d.meet(ctx, sh, conn, &r, &w, roots, earlyPort(b.Greeting.Extra))
	if done != nil {
		defer done()
	}
	if err != nil {
		return d.named(err)
	}
	if src, ok := e.(*engine.Source); ok && d.cast != nil {
		addr := sh.Remote().Addr()
		if len(j.DataAddr) > 0 {
			addr = j.DataAddr[0]
		}
		d.cast.begin(src, conn, addr)
		defer d.cast.end()
	}
	beside, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { d.besides(beside, sh) })
	return d.named(d.runEnd(ctx, e))
}

// early tells whether the agent may listen before it knows its job: when it
// receives and nothing was asked for about how it listens.
func (d *director) early(sh sshboot.Shell) bool {
	j := d.job
	return j.push() && j.TCP && !j.UDT && j.Dial != "target" && j.Ports == [2]uint16{} && j.Window == 0 && j.DSCP == 0 &&
		!j.IPv4 && !j.IPv6 && len(j.DataAddr) == 0 && sh.Remote().IsValid()
}

func (d *director) running() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current != nil
}

// otherEnd is how the far end speaks of this one.
const otherEnd = "the other end"

// localError marks what is wrong with this machine.
type localError struct{ error }

// Unwrap returns what is wrong.
func (e *localError) Unwrap() error { return e.error }

// named puts the far host's name in front of what was said of it, and into what
// an end says of itself and the other one: the user knows this machine and the
// far host.
func (d *director) named(err error) error {
	var f *wire.Fail
	var local *localError
	if errors.Is(err, wire.ErrMalformed) {
		err = wire.Failf(wire.ClassProtocol, "the other end broke the protocol: %v", err)
	}
	if !errors.As(err, &f) {
		return err
	}
	host := d.job.FarHost()
	g := *f
	switch f.Class {
	case wire.ClassNoPath:
		if errors.As(err, &local) {
			g.Text = "local: " + f.Text
			return &g
		}
		words := []string{"this end", "this machine"}
		if !d.job.push() {
			words = []string{otherEnd + ": ", host + ": ", otherEnd, "this machine", "this end", host}
		}
		g.Text = strings.NewReplacer(words...).Replace(f.Text)
	case wire.ClassLost, wire.ClassProtocol, wire.ClassBusy, wire.ClassVersion:
	case wire.ClassStopped:
		g.Text = "the agent was told to stop there" // what stops this end is not told by an end
	default:
		return err
	}
	if !strings.HasPrefix(g.Text, host+":") {
		g.Text = host + ": " + g.Text
	}
	return &g
}

// meet tells both ends of each other and returns this process's end.
func (d *director) meet(ctx context.Context, sh sshboot.Shell, conn engine.Link, r *readSpec, w *writeSpec, roots []engine.SourceRoot, early uint16) (e end, done func(), err error) {
	j := d.job
	o := d.options()
	st := start{Version: wire.Version, JobID: d.id, Secret: make([]byte, 32), Engine: o, TCP: j.TCP, UDT: j.UDT, Spare: j.Spare, Known: d.known.path(), Client: true, Seal: uint8(j.Seal),
		Ports: j.Ports, Window: j.Window, DSCP: j.DSCP, IPv4: j.IPv4, IPv6: j.IPv6, Listen: true, Pass: d.chain != nil}
	if _, err := rand.Read(st.Secret); err != nil {
		return nil, nil, err
	}
	// This end dials first: the way on which ssh got through.
	mine := true
	switch j.Dial {
	case "source":
		mine, st.DialOnly = j.push(), true
	case "target":
		mine, st.DialOnly = !j.push(), true
	}
	// DialFirst is seen from the source, whichever process it is in.
	paths := engine.Paths{DialOnly: st.DialOnly, Name: j.FarHost(), Seal: j.Seal, Window: j.Window, Hasty: true}
	if d.cast != nil {
		paths.Group = d.cast.take
	}
	paths.DialFirst = mine == j.push()
	st.DialFirst = paths.DialFirst
	st.SameHost = sameHost(sh)
	if j.push() {
		st.Write = w
		if st.SameHost {
			w.Never = sourceDirs(r.Sources)
		}
	} else {
		st.Read = r
	}
	if j.TCP || j.UDT {
		ep, err := newEndpoint(ctx, params{secret: st.Secret, tcp: j.TCP, udt: j.UDT, spare: j.Spare, streams: udtOptions(&o), seal: j.Seal, maxBody: o.FrameMax(), listen: !(st.DialOnly && mine),
			ports: j.Ports, window: j.Window, dscp: j.DSCP, ipv4: j.IPv4, ipv6: j.IPv6, bind: j.Bind,
			warn: func(text string) { record(d.rec, events.Warn{Code: "net.buffer", Message: text, Host: "local"}) }})
		if err != nil {
			return nil, nil, &localError{err}
		}
		paths.Endpoint, paths.Prefer, paths.Ports = ep, prefer(j.UDT), portsOf(j.TCP, j.UDT)
		paths.Spare, paths.Known = spareWay(j.TCP, j.UDT, j.Spare), d.known.path()
		done = func() { ep.Close() }
		st.Offer = offerText(ep.Offer())
		st.Listen = !(st.DialOnly && !mine)
		paths.CCs = ccs()
	}
	sent := time.Now()
	if err := sendJSON(conn, wire.KindStart, st); err != nil {
		return nil, done, wire.Failf(wire.ClassLost, "the connection ended: %v", err)
	}
	if early != 0 && d.early(sh) {
		// All that is still to be heard comes while the work goes on.
		paths.Far.Addrs = []netip.AddrPort{netip.AddrPortFrom(sh.Remote().Addr().Unmap(), early)}
		if ownAddress(sh.Remote().Addr()) {
			paths.RTT = nearRTT
		}
		var src *engine.Source
		paths.Ready = func(body []byte) error {
			var rd ready
			if err := wire.ParseJSON(body, &rd); err != nil {
				return err
			}
			far, err := parseOffer(rd.Offer, sh.Remote().Addr())
			if err != nil {
				return err
			}
			src.SetFar(far)
			return nil
		}
		src = d.newSource(o, paths, conn, roots)
		return src, done, nil
	}
	var rd ready
	if err := d.awaitReady(conn, &rd); err != nil {
		if ctx.Err() != nil {
			return nil, done, context.Cause(ctx)
		}
		return nil, done, err
	}
	paths.RTT = time.Since(sent)
	first := j.DataAddr
	if len(first) == 0 {
		first = []netip.Addr{sh.Remote().Addr()}
	}
	if paths.Far, err = parseOffer(rd.Offer, first...); err != nil {
		return nil, done, err
	}
	if len(j.DataAddr) > 0 {
		paths.Far.Addrs = paths.Far.Addrs[:min(len(paths.Far.Addrs), len(j.DataAddr))]
	}
	if j.push() {
		return d.newSource(o, paths, conn, roots), done, nil
	}
	w.Never = rd.Dirs
	if err := refuseInside(w); err != nil {
		_ = sendJSON(conn, wire.KindFail, wire.Failf(wire.ClassStopped, "stopped")) // the agent ends without it, too
		return nil, done, err
	}
	t := target(w, d.id, o.Attrs, denyOnce(d.rec))
	t.Accept = acceptRoots(r)
	return engine.NewSink(o, paths, conn, t, d.ownWords()), done, nil
}
