package mover

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/replica/pull"
	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/wire"
)

// fetchSpec is a pull that an agent does. The agent knows hosts by their number: how
// they are logged in to, and which of their files are served, is the director's
// business, who does both.
type fetchSpec struct {
	Write     writeSpec     `json:"write"`
	IntoDir   bool          `json:"into_dir,omitempty"`
	Recursive bool          `json:"recursive,omitempty"`
	Replicas  []farReplica  `json:"replicas,omitempty"`
	Lists     []farReplica  `json:"lists,omitempty"` // their texts follow, one message each
	ListFile  []byte        `json:"list_file,omitempty"`
	Location  string        `json:"location,omitempty"`
	Signed    bool          `json:"signed,omitempty"`
	Streams   int           `json:"streams,omitempty"`
	Sources   int           `json:"sources,omitempty"`
	MinRate   int64         `json:"min_rate,omitempty"` // bytes per second
	Trust     bool          `json:"trust,omitempty"`
	Prefer    int           `json:"prefer,omitempty"`
	Dial      string        `json:"dial,omitempty"`
	GiveUp    time.Duration `json:"give_up"` // ns
}

// farReplica is a Replica for an agent.
type farReplica struct {
	URL    string `json:"url,omitempty"`
	User   string `json:"user,omitempty"`
	Host   string `json:"host,omitempty"`
	Port   int    `json:"port,omitempty"`
	Base   []byte `json:"base,omitempty"`
	Shown  string `json:"shown"`
	Inside bool   `json:"inside,omitempty"`
}

// farOrder is what a director tells an agent that fetches. Exactly one is set.
type farOrder struct {
	Opened  *farOpened      `json:"opened,omitempty"`
	Control *engine.Control `json:"control,omitempty"`
	Alive   bool            `json:"alive,omitempty"` // nothing but that the director is there
}

// farOpened answers farOpen.
type farOpened struct {
	Chan  uint8  `json:"chan"`
	Addr  string `json:"addr,omitempty"` // of the host, as the director reached it; "": where the director is
	Error string `json:"error,omitempty"`
	Final bool   `json:"final,omitempty"` // it is of no use to ask again
}

// farOpen asks for a link to the agent of a host.
type farOpen struct {
	Chan uint8 `json:"chan"` // of that link
	Host int   `json:"host"`
	// How the one who asks is reached.
	Secret    []byte   `json:"secret"`
	Offer     []string `json:"offer,omitempty"`
	TCP       bool     `json:"tcp,omitempty"`
	UDT       bool     `json:"udt,omitempty"`
	Listen    bool     `json:"listen,omitempty"`
	DialOnly  bool     `json:"dial_only,omitempty"`
	DialFirst bool     `json:"dial_first,omitempty"`
}

// farNews is what an agent that fetches tells its director.
type farNews struct {
	Open   *farOpen       `json:"open,omitempty"`
	Totals *engine.Totals `json:"totals,omitempty"`
	Shares []farShare     `json:"shares,omitempty"` // with Totals
	Event  *farEvent      `json:"event,omitempty"`
	End    bool           `json:"end,omitempty"` // nothing comes after this
	Fail   *wire.Fail     `json:"fail,omitempty"`
	Gave   []farShare     `json:"gave,omitempty"` // with End: all that each replica gave
}

// farShare is how a replica is.
type farShare struct {
	Name  string          `json:"name"`
	State pull.PlaceState `json:"state"`
}

// farEvent is one event.
type farEvent struct {
	Plan  *events.Plan `json:"plan,omitempty"`
	Warn  *events.Warn `json:"warn,omitempty"`
	Scan  *events.Scan `json:"scan,omitempty"`
	File  *events.File `json:"file,omitempty"`
	Path  []byte       `json:"path,omitempty"` // of File and Warn
	Class byte         `json:"class,omitempty"`
}

// mostFarHosts bounds how often an agent may ask for links in its life. Ours.
const mostFarHosts = 200

// Times between a director and an agent that fetches. Ours: as between those of a pull
// and the agents that serve.
const (
	aliveEvery  = 5 * time.Second  // so often the director says that it is there
	farSilence  = 60 * time.Second // nothing is heard of it: the agent ends
	farDeafness = 30 * time.Second // nothing is heard of the agent, which tells how far it is all the time
)

// sessionFar has the far host pull: it gets an agent, which asks for links to the
// agents of the replicas' hosts. All logins are this machine's own.
func (d *director) sessionFar(ctx context.Context) error {
	// What it will ask for is known here; nobody else is logged in to.
	hosts := newPullHosts(context.WithoutCancel(ctx), d)
	defer hosts.close()
	spec, texts, err := d.fetchSpec(ctx, hosts)
	if err != nil {
		return err
	}
	far := &d.job.Dest
	record(d.rec, events.Host{Host: far.Host, Role: "dest", State: "connecting"})
	login := d.job.Login
	if login.Prompt != nil {
		login.Prompt = oneAtATime{login.Prompt, &hosts.prompt}
	}
	sh, err := sshboot.Dial(ctx, sshboot.Target{User: far.User, Host: far.Host, Port: far.Port}, login)
	if err != nil {
		return err
	}
	defer sh.Close()
	record(d.rec, events.Host{Host: far.Host, Role: "dest", State: "agent"})
	bo := d.job.Boot
	bo.Args, bo.Version, bo.Protocol = []string{"agent"}, d.job.Version, wire.Version
	b, err := sshboot.Boot(ctx, sh, bo)
	if err != nil {
		return err
	}
	record(d.rec, events.Host{Host: far.Host, Role: "dest", State: "ready"})
	conn := framing.New(b)
	defer conn.Close()
	unhook := context.AfterFunc(ctx, func() { conn.Close() })
	defer unhook()
	err = d.startFar(conn, spec, texts)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return d.named(err)
	}
	m := newMux(conn)
	e := &farEnd{d: d, hosts: hosts, m: m, own: m.open(chanOwn), at: sh.Remote().Addr(), chans: make(map[uint8]bool)}
	go m.run()
	defer func() {
		conn.Close()
		<-m.over
		e.wg.Wait()
	}()
	err = d.runEnd(ctx, e)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return d.named(err)
}

// fetchSpec is what the far host is told, and the texts of the lists. hosts gets all
// hosts that the pull needs.
func (d *director) fetchSpec(ctx context.Context, hosts *pullHosts) (*fetchSpec, [][]byte, error) {
	j, p := d.job, d.job.Pull
	s := &fetchSpec{IntoDir: j.IntoDir, Recursive: j.Recursive, ListFile: []byte(p.ListFile), Location: p.Location, Signed: p.RequireSignature, Streams: p.Streams,
		Sources: p.MaxSources, MinRate: int64(p.MinRate), Trust: p.Trust, Prefer: p.Prefer, Dial: j.Dial, GiveUp: j.GiveUp}
	s.Write = writeSpec{Path: []byte(j.Dest.Path), Shown: j.Dest.Shown, Slash: j.Dest.Inside, Exact: j.Exact, MkPath: j.MkPath}
	var texts [][]byte
	for i := range p.Lists {
		l := &p.Lists[i]
		text, err := d.listText(ctx, *l)
		if err != nil {
			return nil, nil, wire.Failf(wire.ClassSource, "%s: %s", l.Shown, plainError(err))
		}
		if len(text) >= framing.Max-1 {
			return nil, nil, wire.Failf(wire.ClassUsage, "%s: has %d bytes, too many to be sent to another host", l.Shown, len(text))
		}
		l.text = append([]byte{}, text...)
		texts = append(texts, l.text)
		s.Lists = append(s.Lists, far(l))
	}
	for i := range p.Replicas {
		s.Replicas = append(s.Replicas, far(&p.Replicas[i]))
	}
	// The far host numbers hosts as this does.
	quiet := &director{job: j, id: d.id, far: &farFetch{}, pasts: newPasts(&Job{})}
	if j.Recursive && len(p.Replicas) > 0 {
		_, _, err := quiet.treePlaces(hosts)
		return s, texts, err
	}
	_, err := quiet.pullFiles(ctx, hosts)
	return s, texts, err
}

func far(r *Replica) farReplica {
	return farReplica{URL: r.URL, User: r.User, Host: r.Host, Port: r.Port, Base: []byte(r.Base), Shown: r.Shown, Inside: r.Inside}
}

// startFar tells the agent its job.
func (d *director) startFar(conn *framing.Conn, spec *fetchSpec, texts [][]byte) error {
	j := d.job
	o := d.options()
	st := start{Version: wire.Version, JobID: d.id, Engine: o, TCP: j.TCP, UDT: j.UDT, Seal: uint8(j.Seal), Ports: j.Ports, Window: j.Window, DSCP: j.DSCP, IPv4: j.IPv4, IPv6: j.IPv6, Fetch: spec}
	if err := sendJSON(conn, wire.KindStart, st); err != nil {
		return wire.Failf(wire.ClassLost, "the connection ended: %v", err)
	}
	for _, t := range texts {
		if err := conn.Send([]byte{byte(wire.KindData)}, t); err != nil {
			return wire.Failf(wire.ClassLost, "the connection ended: %v", err)
		}
	}
	var rd ready
	return d.awaitReady(conn, &rd)
}

// farEnd stands for a pull on another host.
type farEnd struct {
	d     *director
	hosts *pullHosts
	m     *mux
	own   *muxLink
	at    netip.Addr // of the far host
	wg    sync.WaitGroup
	chans map[uint8]bool // that were asked for; Run's

	mu     sync.Mutex // guards what follows
	totals engine.Totals
	shares []farShare
	gave   []farShare
}

var (
	_ end        = (*farEnd)(nil)
	_ controlled = (*farEnd)(nil)
	_ sharing    = (*farEnd)(nil)
)

// Run takes what the agent tells until it has ended.
func (e *farEnd) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer e.wg.Wait()
	defer e.m.conn.Close()
	defer cancel()
	defer context.AfterFunc(ctx, func() { e.m.conn.Close() })()
	quiet := time.AfterFunc(farDeafness, func() { e.m.conn.Close() })
	defer quiet.Stop()
	e.wg.Go(func() { e.alive(ctx) })
	for {
		var n farNews
		b, err := e.own.Recv()
		quiet.Reset(farDeafness)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return wire.Failf(wire.ClassLost, "the connection ended")
		}
		if err := wire.ParseJSON(b, &n); err != nil {
			return wire.Failf(wire.ClassProtocol, "the far host broke the protocol: %v", err)
		}
		switch {
		case n.End:
			e.mu.Lock()
			e.gave, e.shares = n.Gave, nil
			e.mu.Unlock()
			for _, g := range n.Gave {
				e.d.gave([]pull.Place{{Name: g.Name}}, pull.Result{Places: []pull.PlaceResult{{Bytes: max(0, g.State.Bytes)}}})
			}
			if n.Fail != nil {
				return n.Fail
			}
			return nil
		case n.Open != nil:
			if err := e.open(ctx, n.Open); err != nil {
				return err
			}
		case n.Totals != nil:
			e.mu.Lock()
			e.totals, e.shares = *n.Totals, n.Shares
			e.totals.Sent = 0 // by this machine
			e.mu.Unlock()
		case n.Event != nil:
			e.event(n.Event)
		}
	}
}

// alive tells the agent now and then that somebody is here.
func (e *farEnd) alive(ctx context.Context) {
	t := time.NewTicker(aliveEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			e.tell(farOrder{Alive: true})
		case <-ctx.Done():
			return
		}
	}
}

// event shows what the far host reports.
func (e *farEnd) event(x *farEvent) {
	switch {
	case x.Plan != nil:
		record(e.d.rec, *x.Plan)
	case x.Scan != nil:
		record(e.d.rec, *x.Scan)
	case x.Warn != nil:
		w := *x.Warn
		w.Path = string(x.Path)
		if w.Host == "local" {
			w.Host = e.d.job.Dest.Host
		}
		record(e.d.rec, w)
	case x.File != nil:
		f := *x.File
		f.Path, f.Class = string(x.Path), x.Class
		record(e.d.rec, f)
	}
}

// open brings the agent a link to a host's agent. Errors: what it must not ask for.
func (e *farEnd) open(ctx context.Context, o *farOpen) error {
	if o.Host < 0 || o.Host >= len(e.hosts.list) || o.Chan < chanFirst || e.chans[o.Chan] || len(e.chans) >= mostFarHosts || len(o.Secret) != sha256.Size {
		return wire.Failf(wire.ClassProtocol, "the far host asked for a connection that makes no sense")
	}
	e.chans[o.Chan] = true
	l := e.m.open(o.Chan)
	h := e.hosts.list[o.Host]
	e.wg.Go(func() {
		defer l.Close()
		agent, err := e.start(ctx, h, o)
		x := farOpened{Chan: o.Chan}
		if err != nil {
			var f interface{ Final() bool }
			x.Error, x.Final = err.Error(), errors.As(err, &f) && f.Final()
			e.tell(farOrder{Opened: &x})
			return
		}
		defer agent.close()
		// A host that takes nothing any more would hold up who sends to it, and the end.
		defer context.AfterFunc(ctx, agent.close)()
		if agent.addr.IsValid() {
			x.Addr = agent.addr.String()
		}
		e.tell(farOrder{Opened: &x})
		h.event("ready", "")
		down := make(chan struct{})
		go func() {
			defer close(down)
			pump(agent, l)
			agent.close()
		}()
		pump(l, agent)
		l.Close()
		<-down
	})
	return nil
}

// start starts the agent of a host for the far host, whose addresses and key it gets.
// What it serves, it is told from here.
func (e *farEnd) start(ctx context.Context, h *pullHost, o *farOpen) (agentLink, error) {
	j := e.d.job
	offer, err := parseOffer(o.Offer, e.at)
	if err != nil {
		return agentLink{}, err
	}
	st := &start{Version: wire.Version, JobID: e.d.id, Secret: o.Secret, Engine: e.d.options(), TCP: o.TCP, UDT: o.UDT, Offer: offerText(offer), Seal: uint8(j.Seal), Ports: j.Ports,
		Window: j.Window, DSCP: j.DSCP, IPv4: j.IPv4, IPv6: j.IPv6, Listen: o.Listen, DialOnly: o.DialOnly, DialFirst: o.DialFirst}
	if h.name != "" {
		return e.hosts.open(ctx, h, st)
	}
	// A copy on this machine.
	st.Serve = &serveSpec{Roots: h.roots, Links: j.Links}
	a, b := engine.MemoryLink()
	e.wg.Go(func() {
		defer b.Close()
		err := serveFiles(ctx, AgentEnv{}, b, st, func(string) (string, error) { return "", errors.New("not permitted") })
		var told *reportedError
		if err != nil && !errors.As(err, &told) {
			_ = sendJSON(b, wire.KindFail, wire.Failf(wire.ClassSource, "%v", err)) // nobody may be there to hear it
		}
	})
	return agentLink{Link: a, close: func() { a.Close() }}, nil
}

func (e *farEnd) tell(o farOrder) {
	if b, err := json.Marshal(o); err == nil {
		_ = e.own.Send(b) // a dead connection ends the run by itself
	}
}

// Totals implements end.
func (e *farEnd) Totals() engine.Totals {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.totals
}

// Control changes the pull while it runs.
func (e *farEnd) Control(c engine.Control) error {
	e.tell(farOrder{Control: &c})
	return nil
}

// shared implements sharing.
func (e *farEnd) shared() (names []string, states []pull.PlaceState) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.shares {
		if !slices.Contains(names, s.Name) {
			names, states = append(names, s.Name), append(states, s.State)
		}
	}
	return names, states
}

// ownKnown are addresses of this end that it cannot find by itself.
func (d *director) ownKnown() []netip.Addr {
	if d.far == nil || !d.far.env.Server.IsValid() {
		return nil
	}
	return []netip.Addr{d.far.env.Server}
}

// err is the error of an answer.
func (x *farOpened) err() error {
	switch {
	case x.Error == "":
		return nil
	case x.Final:
		return finalError{x.Error}
	}
	return fmt.Errorf("%s", x.Error)
}
