package mover

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// order is what the director tells an agent about passing on: first to make an
// endpoint, then where the next sink is, and then what to change while it runs. Exactly
// one of Begin, Go and Control is set.
type order struct {
	Chan    uint8           `json:"chan"` // of the link to the next sink
	Begin   *passOn         `json:"begin,omitempty"`
	Go      *passTarget     `json:"go,omitempty"`
	Control *engine.Control `json:"control,omitempty"`
}

// passOn is what an endpoint for the next sink is made with.
type passOn struct {
	Secret []byte         `json:"secret"` // 32 bytes, one time
	Engine engine.Options `json:"engine"`
	Roots  []passRoot     `json:"roots"`
	Seal   uint8          `json:"seal"`
	Ports  [2]uint16      `json:"ports"`
	Window int            `json:"window"`
	DSCP   int            `json:"dscp"`
	IPv4   bool           `json:"ipv4,omitempty"`
	IPv6   bool           `json:"ipv6,omitempty"`
}

// passRoot is a root of the source.
type passRoot struct {
	Base   []byte `json:"base"`
	Inside bool   `json:"inside,omitempty"`
	Shown  []byte `json:"shown"`
}

// passTarget is where the next sink is.
type passTarget struct {
	Offer []string `json:"offer"`
}

// answer is what an agent tells the director about passing on; with nothing in it, that
// it lives.
type answer struct {
	Chan   uint8          `json:"chan"`
	Offer  []string       `json:"offer,omitempty"` // of the endpoint that was asked for
	Totals *engine.Totals `json:"totals,omitempty"`
	Event  *passEvent     `json:"event,omitempty"`
	End    bool           `json:"end,omitempty"`
	Fail   *wire.Fail     `json:"fail,omitempty"` // with End: why; nil: all is done
}

// passEvent is an event of a source that passes on.
type passEvent struct {
	Plan      *events.Plan      `json:"plan,omitempty"`
	Transport *events.Transport `json:"transport,omitempty"`
	Tune      *events.Tune      `json:"tune,omitempty"`
	File      *events.File      `json:"file,omitempty"`
	Path      []byte            `json:"path,omitempty"` // of File
	Class     byte              `json:"class,omitempty"`
}

// maxPassing bounds the sinks that one agent serves in its life. Ours: each that is
// lost is followed by another one.
const maxPassing = 200

// passSilence is how long what was passed on may go without an answer of the next host's
// kernel before the connection is given up, and another one tried: two or three
// repetitions were lost then. When that is in vain, too, the next host goes elsewhere.
// Together they stay within what a host that is lost may cost those behind it. Ours.
const passSilence = time.Second

// passer is an agent that passes on what its sink gets.
type passer struct {
	m       *mux
	control *muxLink
	tap     *tap
	env     AgentEnv

	wg   sync.WaitGroup
	runs map[byte]*passRun // by channel; only the reader of control uses it
}

// passRun is one sink that is served.
type passRun struct {
	link  *muxLink
	begin *passOn
	ep    transports.Endpoint
	src   *engine.Source // serves it; nil: not yet
	pass  *passing       // what that reads
}

// beat gives signs of life until the connection ends.
func (a *passer) beat() {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	for a.tell(answer{}) == nil {
		select {
		case <-t.C:
		case <-a.m.over:
			return
		}
	}
}

// beside runs the agent's sink and serves others meanwhile, and after it until the
// director goes.
func (a *passer) beside(ctx context.Context, e end) error {
	var wg sync.WaitGroup
	wg.Go(func() { a.serve(ctx) })
	wg.Go(a.beat)
	err := e.Run(ctx)
	if err != nil {
		// What is not complete here is passed on by somebody else.
		a.tap.end(err)
		a.m.conn.Close()
		err = &reportedError{err} // the engine tells its other end
	}
	wg.Wait()
	a.tap.close()
	return err
}

// serve takes orders until the connection ends, and returns when all that it
// began has ended.
func (a *passer) serve(ctx context.Context) {
	for {
		var o order
		b, err := a.control.Recv()
		if err == nil {
			err = wire.ParseJSON(b, &o)
		}
		if err == nil {
			err = a.take(ctx, &o)
		}
		if err != nil {
			break
		}
	}
	a.m.conn.Close()
	for _, r := range a.runs {
		if r.ep != nil {
			r.ep.Close()
		}
	}
	a.wg.Wait()
}

// take follows one order.
func (a *passer) take(ctx context.Context, o *order) error {
	r := a.runs[o.Chan]
	switch {
	case o.Control != nil && o.Begin == nil && o.Go == nil && r != nil && r.src != nil:
		return r.src.Control(*o.Control)
	case o.Control != nil:
	case o.Begin != nil && o.Go == nil && r == nil && o.Chan >= chanFirst && len(a.runs) < maxPassing &&
		len(o.Begin.Roots) <= wire.MaxRoots && o.Begin.Engine.ValidBlocks():
		r = &passRun{link: a.m.open(o.Chan), begin: o.Begin}
		a.runs[o.Chan] = r
		b := o.Begin
		var known []netip.Addr
		if a.env.Server.IsValid() {
			known = append(known, a.env.Server)
		}
		var err error
		r.ep, err = newEndpoint(ctx, params{secret: b.Secret, tcp: true, seal: transports.Seal(b.Seal), maxBody: b.Engine.FrameMax(), listen: true,
			ports: b.Ports, window: b.Window, dscp: b.DSCP, ipv4: b.IPv4, ipv6: b.IPv6, known: known, silence: passSilence, warn: func(string) {}})
		if err != nil {
			return a.over(o.Chan, err)
		}
		return a.tell(answer{Chan: o.Chan, Offer: offerText(r.ep.Offer())})
	case o.Go != nil && o.Begin == nil && r != nil && r.ep != nil:
		far, err := parseOffer(o.Go.Offer)
		if err != nil {
			return err
		}
		ep := r.ep
		r.ep = nil // the source's from here on
		a.source(o.Chan, r, ep, far)
		a.wg.Go(func() { a.run(ctx, o.Chan, r, ep) })
		return nil
	}
	return wire.Failf(wire.ClassProtocol, "an order to pass on that makes no sense")
}

// tell sends an answer.
func (a *passer) tell(x answer) error {
	b, err := json.Marshal(x)
	if err != nil {
		return err
	}
	return a.control.Send(b)
}

// over tells that passing on to one sink has ended.
func (a *passer) over(id uint8, err error) error {
	x := answer{Chan: id, End: true}
	if err != nil && !errors.As(err, &x.Fail) {
		x.Fail = wire.Failf(wire.ClassLost, "%v", err)
	}
	return a.tell(x)
}

// source makes the source for one sink.
func (a *passer) source(id uint8, r *passRun, ep transports.Endpoint, far transports.Offer) {
	r.pass = &passing{p: a.tap}
	var roots []engine.SourceRoot
	for i, x := range r.begin.Roots {
		roots = append(roots, engine.SourceRoot{Store: &passingRoot{r: r.pass, i: i}, Base: string(x.Base), Inside: x.Inside, Shown: string(x.Shown)})
	}
	o := r.begin.Engine
	o.NoInband, o.NoStreams = true, false
	paths := engine.Paths{Endpoint: ep, Far: far, DialFirst: true, Passing: true, Name: otherEnd, Seal: transports.Seal(r.begin.Seal), Window: r.begin.Window, CCs: ccs(), Prefer: "tcp", Ports: "TCP"}
	r.src = engine.NewSource(o, paths, passLink{r.link, r.pass}, roots, passRecorder{a, id})
}

// run serves one sink.
func (a *passer) run(ctx context.Context, id uint8, r *passRun, ep transports.Endpoint) {
	defer ep.Close()
	src, pass := r.src, r.pass
	stop := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() {
		t := time.NewTicker(progressEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
			case <-stop:
				return
			}
			c := src.Totals()
			if a.tell(answer{Chan: id, Totals: &c}) != nil {
				return
			}
		}
	})
	err := src.Run(ctx)
	pass.end()
	close(stop)
	beside.Wait()
	c := src.Totals()
	_ = a.tell(answer{Chan: id, Totals: &c}) // a dead connection ends the agent
	_ = a.over(id, err)
	r.link.Close()
}

// passLink is the link of a source that passes on: when it breaks, nobody waits any
// longer for what is to be passed on.
type passLink struct {
	engine.Link
	pass *passing
}

// Recv implements engine.Link.
func (l passLink) Recv() ([]byte, error) {
	b, err := l.Link.Recv()
	if err != nil {
		l.pass.end()
	}
	return b, err
}

// passRecorder tells the director what a source that passes on reports.
type passRecorder struct {
	a  *passer
	id uint8
}

// Record implements events.Recorder.
func (r passRecorder) Record(_ time.Time, e events.Event) {
	var x passEvent
	switch e := e.(type) {
	case events.Plan:
		x.Plan = &e
	case events.Transport:
		x.Transport = &e
	case events.Tune:
		x.Tune = &e
	case events.File:
		x.File, x.Path, x.Class = &e, []byte(e.Path), e.Class
	default:
		return
	}
	_ = r.a.tell(answer{Chan: r.id, Event: &x}) // as above
}
