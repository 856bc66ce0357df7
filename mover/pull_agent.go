package mover

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/jobs"
	"github.com/gomover/gomover/replica/metalink"
	"github.com/gomover/gomover/replica/pull"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/tuner/pace"
	"github.com/gomover/gomover/wire"
)

// farFetch is an agent that pulls for a director elsewhere. Links to the hosts of the
// replicas come from there; data comes from these hosts.
type farFetch struct {
	env AgentEnv
	m   *mux
	own *muxLink

	mu    sync.Mutex // guards what follows
	next  uint8      // channel for the next link; 0: there were too many
	waits map[uint8]chan *farOpened
}

// serveFetch is the life of an agent that pulls.
func serveFetch(ctx context.Context, env AgentEnv, raw *framing.Conn, st *start, home func(string) (string, error)) error {
	j, err := fetchJob(st, home)
	if err != nil {
		return err
	}
	j.Pull.Proxy, j.Version = env.Proxy, env.Version
	for i := range j.Pull.Lists {
		msg, err := raw.Recv()
		if err != nil {
			return wire.Failf(wire.ClassLost, "the connection ended: %v", err)
		}
		if len(msg) == 0 || wire.Kind(msg[0]) != wire.KindData || len(msg) > metalink.MaxBytes {
			return wire.Failf(wire.ClassProtocol, "a list was promised, and something else came")
		}
		j.Pull.Lists[i].text = msg[1:]
	}
	lock, err := jobs.Acquire(env.StateDir, st.JobID, lockWait)
	if err != nil {
		return busy(err, "there")
	}
	defer lock.Release()
	if err := sendJSON(raw, wire.KindReady, ready{}); err != nil {
		return wire.Failf(wire.ClassLost, "%v", err)
	}
	m := newMux(raw)
	f := &farFetch{env: env, m: m, own: m.open(chanOwn), next: chanFirst, waits: make(map[uint8]chan *farOpened)}
	d := newDirector(j, farRecorder{f})
	d.id, d.far, d.pasts = st.JobID, f, newPasts(j)
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		m.run()
		cancel(ErrInterrupted) // nobody is there any more
	})
	wg.Go(func() { f.listen(d) })
	stop := make(chan struct{})
	wg.Go(func() { f.report(d, stop) })
	err = d.sessionPull(ctx)
	close(stop)
	f.over(d, err)
	raw.Close()
	cancel(nil)
	wg.Wait()
	if err != nil {
		return &reportedError{err}
	}
	return nil
}

// fetchJob is the job of an agent.
func fetchJob(st *start, home func(string) (string, error)) (*Job, error) {
	s := st.Fetch
	if len(s.Replicas)+len(s.Lists) == 0 || len(s.Replicas) > wire.MaxRoots || len(s.Lists) > wire.MaxRoots || s.Prefer < 0 || s.Prefer > len(s.Replicas) || s.MinRate < 0 {
		return nil, wire.Failf(wire.ClassProtocol, "there is nothing to be fetched")
	}
	path, err := expandHome(string(s.Write.Path), home)
	if err != nil {
		return nil, wire.Failf(wire.ClassDest, "%s: %v", s.Write.Shown, err)
	}
	j := &Job{Dest: Place{Path: path, Shown: s.Write.Shown, Inside: s.Write.Slash}, Recursive: s.Recursive, Exact: s.Write.Exact, MkPath: s.Write.MkPath, IntoDir: s.IntoDir,
		Engine: st.Engine, TCP: st.TCP, UDT: st.UDT, Dial: s.Dial, Seal: transports.Seal(st.Seal), Ports: st.Ports, Window: st.Window, DSCP: st.DSCP, IPv4: st.IPv4, IPv6: st.IPv6,
		GiveUp: s.GiveUp, Limit: pace.Constant(units.Rate(st.Engine.Rate))}
	j.Pull = &Pull{ListFile: string(s.ListFile), Location: s.Location, RequireSignature: s.Signed, Streams: s.Streams, MaxSources: s.Sources, MinRate: units.Rate(s.MinRate), Trust: s.Trust, Prefer: s.Prefer}
	for _, r := range s.Replicas {
		j.Pull.Replicas = append(j.Pull.Replicas, r.replica())
	}
	for _, r := range s.Lists {
		j.Pull.Lists = append(j.Pull.Lists, r.replica())
	}
	return j, nil
}

func (r *farReplica) replica() Replica {
	return Replica{URL: r.URL, User: r.User, Host: r.Host, Port: r.Port, Base: string(r.Base), Shown: r.Shown, Inside: r.Inside}
}

// tell sends news.
func (f *farFetch) tell(n farNews) {
	if b, err := json.Marshal(n); err == nil {
		_ = f.own.Send(b) // a dead connection ends the run by itself
	}
}

// listen takes orders until the connection ends, or nothing is heard of the director:
// this end alone would not learn that a path is dead.
func (f *farFetch) listen(d *director) {
	quiet := time.AfterFunc(farSilence, func() { f.m.conn.Close() })
	defer quiet.Stop()
	for {
		var o farOrder
		b, err := f.own.Recv()
		quiet.Reset(farSilence)
		if err == nil {
			err = wire.ParseJSON(b, &o)
		}
		if err != nil {
			f.m.conn.Close()
			return
		}
		switch {
		case o.Opened != nil:
			f.mu.Lock()
			w := f.waits[o.Opened.Chan]
			delete(f.waits, o.Opened.Chan)
			f.mu.Unlock()
			if w != nil {
				w <- o.Opened
			}
		case o.Control != nil:
			if r := o.Control.Rate; r != nil {
				d.controls.obey(units.Rate(*r))
			}
			d.mu.Lock()
			e, ok := d.current.(controlled)
			d.mu.Unlock()
			if ok {
				d.controls.control(e, *o.Control)
			}
		}
	}
}

// dial asks the director for a link to a host's agent.
func (f *farFetch) dial(ctx context.Context, h *pullHost, st *start) (agentLink, error) {
	o := farOpen{Secret: st.Secret, Offer: st.Offer, TCP: st.TCP, UDT: st.UDT, Listen: st.Listen, DialOnly: st.DialOnly, DialFirst: st.DialFirst}
	for i := range h.all.list {
		if h.all.list[i] == h {
			o.Host = i
		}
	}
	w := make(chan *farOpened, 1)
	f.mu.Lock()
	o.Chan = f.next
	if f.next != 0 {
		f.waits[o.Chan] = w
		if f.next++; f.next >= chanFirst+mostFarHosts {
			f.next = 0
		}
	}
	f.mu.Unlock()
	if o.Chan == 0 {
		return agentLink{}, finalError{"it was connected to too often"}
	}
	l := f.m.open(o.Chan)
	f.tell(farNews{Open: &o})
	select {
	case x := <-w:
		if err := x.err(); err != nil {
			l.Close()
			return agentLink{}, err
		}
		addr := f.env.Client
		if x.Addr != "" {
			a, err := netip.ParseAddr(x.Addr)
			if err != nil {
				l.Close()
				return agentLink{}, wire.Failf(wire.ClassProtocol, "the director gave %q, which is no address", x.Addr)
			}
			addr = a
		}
		return agentLink{l, addr, func() { l.Close() }}, nil
	case <-ctx.Done():
	case <-f.m.over:
	}
	l.Close()
	if ctx.Err() != nil {
		return agentLink{}, context.Cause(ctx)
	}
	return agentLink{}, errors.New("the connection ended")
}

// report tells how far the pull is, until stop is closed.
func (f *farFetch) report(d *director, stop <-chan struct{}) {
	t := time.NewTicker(progressEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-stop:
			return
		}
		f.tell(f.news(d))
	}
}

// news is how far the pull is.
func (f *farFetch) news(d *director) farNews {
	c, state, _ := d.now()
	if c.State == "" {
		c.State = state
	}
	n := farNews{Totals: &c}
	d.mu.Lock()
	e, ok := d.current.(sharing)
	d.mu.Unlock()
	if ok {
		names, states := e.shared()
		for i := range names {
			n.Shares = append(n.Shares, farShare{names[i], states[i]})
		}
	}
	return n
}

// over tells that the pull has ended, and why.
func (f *farFetch) over(d *director, err error) {
	f.tell(f.news(d))
	n := farNews{End: true}
	d.mu.Lock()
	for _, s := range d.sources {
		n.Gave = append(n.Gave, farShare{s.Source, pull.PlaceState{Bytes: s.Bytes}})
	}
	d.mu.Unlock()
	switch {
	case err == nil:
	case errors.Is(err, ErrReplicas):
		n.Fail = wire.Failf(wire.ClassReplica, "%v", err)
	case errors.Is(err, ErrBelowRate), errors.Is(err, ErrMinRate):
		n.Fail = wire.Failf(wire.ClassSlow, "%v", err)
	case !errors.As(err, &n.Fail):
		n.Fail = wire.Failf(wire.ClassInternal, "%v", err)
	}
	f.tell(n)
}

// farRecorder tells the director what an agent reports.
type farRecorder struct{ f *farFetch }

// Record implements events.Recorder.
func (r farRecorder) Record(_ time.Time, e events.Event) {
	var x farEvent
	switch e := e.(type) {
	case events.Plan:
		x.Plan = &e
	case events.Warn:
		x.Warn, x.Path = &e, []byte(e.Path)
	case events.Scan:
		x.Scan = &e
	case events.File:
		x.File, x.Path, x.Class = &e, []byte(e.Path), e.Class
	default:
		return
	}
	r.f.tell(farNews{Event: &x})
}
