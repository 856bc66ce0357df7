package mover

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/wire"
)

// chain is the destinations of a job that pass on to each other what they get, in
// the order in which they can: each new one goes behind one that serves nobody yet.
// Data goes straight from host to host, with keys and addresses that the director
// has brought to both over its own logins; their messages go through the director.
//
// When a host is lost, those behind it end, too, and go behind others.
type chain struct {
	mu    sync.Mutex // guards what follows, and nodes
	cond  *sync.Cond
	nodes []*node            // of sessions that run
	quiet map[string]bool    // destinations that have fallen silent once: they serve nobody
	apart map[[2]string]bool // destinations of which the first could not pass on to the second any more
}

func newChain() *chain {
	c := &chain{quiet: make(map[string]bool), apart: make(map[[2]string]bool)}
	c.cond = sync.NewCond(&c.mu)
	return c
}

// Blocks in a chain, in bytes. Ours: a quarter of the usual size, and less where a limit
// makes each hop slow.
const (
	chainMost  = 64 << 10
	chainLeast = 16 << 10
	chainSlow  = 16 * time.Millisecond // a block is to take no longer
)

// chainBlock is the size of blocks in a chain, but for huge files, where each hop is
// limited to rate bytes per second, or to none (0). Each host passes a block on when it has
// all of it, so each adds the time of one.
func chainBlock(rate int64) int64 {
	n := int64(chainMost)
	for rate > 0 && n > chainLeast && time.Duration(float64(n)/float64(rate)*float64(time.Second)) > chainSlow {
		n /= 2
	}
	return n
}

// node is one session of a destination in a chain.
type node struct {
	c       *chain
	name    string
	m       *mux
	control *muxLink

	silent chan struct{} // closed when its agent has fallen silent: it serves nobody any more

	started bool  // its agent is told its job; guarded by chain.mu
	behind  int   // sinks that it serves, without silent ones; guarded by chain.mu
	next    uint8 // channel for the next one, 0 when it serves nobody; guarded by chain.mu
	first   *node // that serves it and counts it; guarded by chain.mu

	mu    sync.Mutex // guards what follows
	calls map[uint8]func(answer)
}

// join adds a session.
func (c *chain) join(name string, m *mux) *node {
	n := &node{c: c, name: name, m: m, control: m.open(chanControl), silent: make(chan struct{}), next: chanFirst, calls: make(map[uint8]func(answer))}
	go n.listen()
	go n.watch()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet[name] {
		n.next = 0
	}
	c.nodes = append(c.nodes, n)
	return n
}

// leave takes a session out.
func (n *node) leave() {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	for i, x := range n.c.nodes {
		if x == n {
			n.c.nodes = append(n.c.nodes[:i:i], n.c.nodes[i+1:]...)
		}
	}
	n.c.cond.Broadcast()
}

// begin notes that the agent has its job, and can get orders.
func (n *node) begin() {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.started = true
	n.c.cond.Broadcast()
}

// before chooses who serves n: the latest of those before it that serve nobody,
// with the channel to use; nil for the director itself. It waits until those before
// it have begun or are gone.
func (n *node) before(ctx context.Context) (*node, uint8) {
	c := n.c
	unhook := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.cond.Broadcast()
	})
	defer unhook()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		var best *node
		wait := false
		for _, x := range c.nodes {
			if x == n {
				break
			}
			wait = wait || !x.started && x.next != 0 && !c.apart[[2]string{x.name, n.name}]
			if x.started && x.behind == 0 && x.next != 0 && !c.apart[[2]string{x.name, n.name}] {
				best = x
			}
		}
		switch {
		case wait && ctx.Err() == nil:
			c.cond.Wait()
			continue
		case best == nil:
			return nil, 0
		}
		best.behind++
		n.first = best
		id := best.next
		best.next++ // 0 again: it has served as many as it may
		if best.next >= maxPassing {
			best.next = 0
		}
		return best, id
	}
}

// part notes that first could not pass on to name any more, though both are heard: the
// path between them is cut.
func (c *chain) part(first, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apart[[2]string{first, name}] = true
}

// release ends the service to n, if it has not been ended before.
func (n *node) release() {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.releaseLocked()
}

func (n *node) releaseLocked() {
	if n.first != nil {
		n.first.behind--
		n.first = nil
		n.c.cond.Broadcast()
	}
}

// Ours: with a new login and what comes before the first byte, a host that falls silent
// costs those behind it less than 3 s.
const (
	// beatEvery is how often an agent in a chain gives a sign of life.
	beatEvery = 250 * time.Millisecond
	// silentBeats are so many that have not come, and nothing else; before the first
	// one it is twice as many.
	silentBeats = 7
)

// watch looks whether the agent is heard. One that falls silent without a broken
// connection, as when its host is cut off, keeps its own session until that is given up;
// those behind it go elsewhere at once, to the one before it if that serves nobody else,
// and nobody comes behind that destination any more. Turns are counted, and not time:
// when this process did not run, nobody was silent.
func (n *node) watch() {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	missed, before := 0, uint64(0)
	for missed < silentBeats || before == 0 && missed < 2*silentBeats {
		select {
		case <-t.C:
		case <-n.m.over:
			return
		}
		now := n.m.got.Load()
		if missed++; now != before || !n.hasBegun() {
			missed = 0
		}
		before = now
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.next, n.c.quiet[n.name] = 0, true
	n.releaseLocked()
	n.c.cond.Broadcast()
	close(n.silent)
}

func (n *node) hasBegun() bool {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.started
}

// drain waits until nobody needs n any more, and takes it out.
func (n *node) drain(ctx context.Context) {
	unhook := context.AfterFunc(ctx, func() {
		n.c.mu.Lock()
		defer n.c.mu.Unlock()
		n.c.cond.Broadcast()
	})
	defer unhook()
	n.c.mu.Lock()
	for n.behind > 0 && ctx.Err() == nil {
		n.c.cond.Wait()
	}
	n.next = 0
	n.c.mu.Unlock()
	n.leave()
}

// listen hands the agent's answers to those who wait for them.
func (n *node) listen() {
	for {
		var a answer
		b, err := n.control.Recv()
		if err == nil {
			err = wire.ParseJSON(b, &a)
		}
		if err != nil {
			n.m.conn.Close()
			return
		}
		n.mu.Lock()
		f := n.calls[a.Chan]
		n.mu.Unlock()
		if f != nil {
			f(a)
		}
	}
}

// on sets who hears the answers of a channel; nil: nobody.
func (n *node) on(id uint8, f func(answer)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f == nil {
		delete(n.calls, id)
		return
	}
	n.calls[id] = f
}

// tell sends an order.
func (n *node) tell(o order) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return n.control.Send(b)
}

// startLink is the own link of a session: its first message, which starts the
// agent, has no channel in front.
type startLink struct {
	*muxLink
	n    *node
	once sync.Once
}

// Send implements engine.Link.
func (l *startLink) Send(parts ...[]byte) (err error) {
	first := false
	l.once.Do(func() {
		first = true
		err = l.m.conn.Send(parts...)
		l.n.begin()
	})
	if first {
		return err
	}
	return l.muxLink.Send(parts...)
}

// errBefore is the end of a session whose source, another destination, was lost.
var errBefore = errors.New("the host that passed the data on was lost")

// errAgain asks for one more session without those that pass on.
var errAgain = errors.New("some files could not be passed on")

// sessionChained is the part of a session behind the login, in a chain.
func (d *director) sessionChained(ctx context.Context, sh sshboot.Shell, conn engine.Link, r *readSpec, w *writeSpec, roots []engine.SourceRoot, early uint16) error {
	m := newMux(conn)
	own := m.open(chanOwn)
	n := d.chain.join(d.job.Dest.Shown, m)
	defer n.leave()
	go m.run()
	defer func() { <-m.over }()
	defer conn.Close()
	link := &startLink{muxLink: own, n: n}
	var first *node
	var id uint8
	if !d.direct {
		first, id = n.before(ctx)
	}
	unhook := context.AfterFunc(ctx, func() {
		if !d.running() {
			conn.Close() // it may wait for the agent
		}
	})
	defer unhook()
	d.setVia(first)
	var e end
	var done func()
	var err error
	if first == nil {
		e, done, err = d.meet(ctx, sh, link, r, w, roots, early)
	} else {
		defer n.release()
		e, err = d.meetBehind(ctx, sh, link, first, id, w, roots)
	}
	if done != nil {
		defer done()
	}
	if err == nil {
		err = d.runEnd(ctx, e)
	}
	if err == nil {
		n.drain(ctx)
	}
	return err
}

func (d *director) setVia(first *node) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.via = ""; first != nil {
		d.via = first.name
	}
}

// beforeWait is how long a destination waits when the one before it was lost.
const beforeWait = 20 * time.Millisecond

// orderWait bounds how long an agent that passes on may take to answer.
const orderWait = 10 * time.Second

// meetBehind tells a sink and the host before it of each other and returns what
// stands for that source here.
func (d *director) meetBehind(ctx context.Context, sh sshboot.Shell, link *startLink, first *node, id uint8, w *writeSpec, roots []engine.SourceRoot) (end, error) {
	j := d.job
	o := d.options()
	st := start{Version: wire.Version, JobID: d.id, Secret: make([]byte, 32), Engine: o, TCP: true, Seal: uint8(j.Seal), Ports: j.Ports, Window: j.Window, DSCP: j.DSCP,
		IPv4: j.IPv4, IPv6: j.IPv6, Listen: true, DialFirst: true, Write: w, Pass: true}
	if _, err := rand.Read(st.Secret); err != nil {
		return nil, err
	}
	begin := &passOn{Secret: st.Secret, Engine: o, Seal: st.Seal, Ports: st.Ports, Window: st.Window, DSCP: st.DSCP, IPv4: st.IPv4, IPv6: st.IPv6}
	for _, r := range roots {
		begin.Roots = append(begin.Roots, passRoot{Base: []byte(r.Base), Inside: r.Inside, Shown: []byte(r.Shown)})
	}
	b := &behind{d: d, first: first, link: link, up: first.m.open(id), offers: make(chan []string, 1), ended: make(chan *wire.Fail, 1)}
	first.on(id, b.answer)
	if err := first.tell(order{Chan: id, Begin: begin}); err != nil {
		b.close(id)
		return nil, errBefore
	}
	timer := time.NewTimer(orderWait)
	defer timer.Stop()
	select {
	case st.Offer = <-b.offers:
	case f := <-b.ended:
		b.close(id)
		d.direct = true
		return nil, wire.Failf(wire.ClassLost, "%s cannot pass data on: %v", first.name, f)
	case <-first.m.over:
		b.close(id)
		return nil, errBefore
	case <-first.silent:
		b.close(id)
		return nil, errBefore
	case <-timer.C:
		b.close(id)
		d.direct = true
		return nil, wire.Failf(wire.ClassLost, "%s did not answer for %v", first.name, orderWait)
	case <-ctx.Done():
		b.close(id)
		return nil, context.Cause(ctx)
	}
	if err := sendJSON(link, wire.KindStart, st); err != nil {
		b.close(id)
		return nil, wire.Failf(wire.ClassLost, "the connection ended: %v", err)
	}
	var rd ready
	if err := d.awaitReady(link, &rd); err != nil {
		b.close(id)
		return nil, err
	}
	at := []netip.Addr{sh.Remote().Addr()}
	if len(j.DataAddr) > 0 {
		at = j.DataAddr
	}
	far, err := parseOffer(rd.Offer, at...)
	if err != nil {
		b.close(id)
		return nil, err
	}
	b.id = id
	if err := first.tell(order{Chan: id, Go: &passTarget{Offer: offerText(far)}}); err != nil {
		b.close(id)
		return nil, errBefore
	}
	return b, nil
}

// behind stands for a source at another destination: it carries the messages
// between that and the sink, and keeps what it reports.
type behind struct {
	d      *director
	first  *node
	id     uint8
	link   *startLink // to the sink
	up     *muxLink   // to the source
	offers chan []string
	ended  chan *wire.Fail // nil: all is done

	mu     sync.Mutex // guards what follows
	totals engine.Totals
	failed bool // files that were not passed on, or failed here
}

var (
	_ end        = (*behind)(nil)
	_ controlled = (*behind)(nil)
)

// answer takes what the host before reports.
func (b *behind) answer(a answer) {
	switch {
	case a.End:
		select {
		case b.ended <- a.Fail:
		default: // it has ended before
		}
	case a.Totals != nil:
		t := *a.Totals
		t.Sent = 0 // by this machine
		if t.LimitedBy == "source disk" {
			t.LimitedBy = "slowest host" // it waits for what it passes on
		}
		b.mu.Lock()
		b.totals = t
		b.mu.Unlock()
	case a.Event != nil:
		b.event(a.Event)
	case a.Offer != nil:
		select {
		case b.offers <- a.Offer:
		default: // one was asked for
		}
	}
}

// event passes on what the source at the host before reports. Files that failed
// are tried again from here, and told of then.
func (b *behind) event(x *passEvent) {
	switch {
	case x.Plan != nil:
		record(b.d.rec, *x.Plan)
	case x.Transport != nil:
		record(b.d.rec, *x.Transport)
	case x.Tune != nil:
		record(b.d.rec, *x.Tune)
	case x.File != nil:
		f := *x.File
		f.Path, f.Class = string(x.Path), x.Class
		if f.Action == "fail" {
			b.mu.Lock()
			b.failed = true
			b.mu.Unlock()
			return
		}
		record(b.d.rec, f)
	}
}

// Totals implements end.
func (b *behind) Totals() engine.Totals {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.totals
}

// Control tells the source at the host before what to change.
func (b *behind) Control(c engine.Control) error {
	return b.first.tell(order{Chan: b.id, Control: &c})
}

// close lets go of the host before.
func (b *behind) close(id uint8) {
	b.first.on(id, nil)
	b.up.Close()
}

// lastPumped is how long the last messages may take when all is done.
const lastPumped = 2 * time.Second

// Run implements end.
func (b *behind) Run(ctx context.Context) error {
	defer b.close(b.id)
	down, up := make(chan struct{}), make(chan struct{})
	go func() { defer close(down); pump(b.link, b.up) }()
	go func() { defer close(up); pump(b.up, b.link) }()
	var f *wire.Fail
	select {
	case f = <-b.ended:
	case <-b.first.m.over:
		return errBefore
	case <-b.first.silent:
		return errBefore
	case <-b.link.m.over:
		return wire.Failf(wire.ClassLost, "the connection ended")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	switch {
	case f == nil:
		select {
		case <-down:
		case <-time.After(lastPumped):
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.failed {
			b.d.direct = true
			return errAgain
		}
		return nil
	case f.Class == wire.ClassNoPath || f.Class == wire.ClassSource:
		// Nothing is wrong with the sink: it is served from here.
		b.d.direct = true
		return errAgain
	case f.Class == wire.ClassLost:
		// Whose fault it was shows in a moment.
		select {
		case <-b.link.m.over:
			return wire.Failf(wire.ClassLost, "the connection ended")
		case <-b.first.m.over:
		case <-b.first.silent:
		case <-time.After(lastPumped / 10):
			b.d.chain.part(b.first.name, b.link.n.name)
		}
		return errBefore
	}
	return f
}

// pump carries messages until one of the links ends.
func pump(to, from engine.Link) {
	for {
		b, err := from.Recv()
		if err != nil || to.Send(b) != nil {
			return
		}
	}
}
