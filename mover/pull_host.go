package mover

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/framing"
	"github.com/gomover/gomover/replica/peer"
	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/tuner"
	"github.com/gomover/gomover/wire"
)

// Times of our choice.
const (
	dialTimeout = 8 * time.Second         // for data connections in one direction
	otherWay    = 1500 * time.Millisecond // then the other direction is tried, too
	pingTimeout = 5 * time.Second         // a link that is silent for so long is given up
	stalledFor  = 2 * time.Second         // a stream on which nothing comes is given up when its host is opened again
)

// pullHosts are the hosts that a pull logs in to.
type pullHosts struct {
	d      *director
	ctx    context.Context // of the whole pull: a login outlives the one who waited for it
	cancel context.CancelFunc
	wg     sync.WaitGroup
	prompt sync.Mutex // held while the user is asked something
	list   []*pullHost
	// open starts an agent on a host with a job; its ready comes next on the link.
	open func(ctx context.Context, h *pullHost, st *start) (agentLink, error)
}

// agentLink is the way to an agent.
type agentLink struct {
	engine.Link
	addr  netip.Addr // of its host, to be dialled for data before others; the zero Addr: not known
	close func()     // ends it, and what it needs
}

func newPullHosts(ctx context.Context, d *director) *pullHosts {
	h := &pullHosts{d: d}
	h.open = h.dial
	if d.far != nil {
		h.open = d.far.dial
	}
	h.ctx, h.cancel = context.WithCancel(ctx)
	return h
}

// close ends all connections.
func (h *pullHosts) close() {
	h.cancel()
	h.wg.Wait()
	for _, host := range h.list {
		host.mu.Lock()
		c := host.live
		host.live = nil
		host.mu.Unlock()
		if c != nil {
			c.close()
		}
	}
}

// at gives the host of a replica, and the number of the replica there. It is called
// before the first connection.
func (h *pullHosts) at(r Replica) (host *pullHost, root int) {
	for _, x := range h.list {
		if x.user == r.User && x.name == r.Host && x.port == r.Port {
			host = x
		}
	}
	if host == nil {
		host = &pullHost{all: h, user: r.User, name: r.Host, port: r.Port}
		h.list = append(h.list, host)
	}
	host.roots = append(host.roots, sourceSpec{Path: []byte(r.Path), Shown: r.Shown})
	return host, len(host.roots) - 1
}

// pullHost is a host with replicas: one login, however many files come from it.
type pullHost struct {
	all        *pullHosts
	user, name string
	port       int
	roots      []sourceSpec

	mu   sync.Mutex // guards what follows
	live *hostConn
	busy *attempt // that runs
	lost bool     // there was a connection
}

// attempt is a login under way.
type attempt struct {
	done chan struct{} // closed when conn and err are set
	conn *hostConn
	err  error
}

// hostConn is an agent that serves.
type hostConn struct {
	h      *pullHost
	link   agentLink
	client *peer.Client
	ep     transports.Endpoint // nil: only inside the link
	far    transports.Offer
	rtt    time.Duration
	label  atomic.Uint32
	wg     sync.WaitGroup
	end    context.CancelFunc
	udt    bool       // is tried first
	last   pathFact   // what the last run ended with; zero: not known
	fixed  bool       // the number of streams is never changed
	adding sync.Mutex // held while a stream is taken into use

	mu      sync.Mutex    // guards what follows
	streams int           // that there should be
	there   bool          // they are made from there
	way     string        // in which they are made, if it is another one than at first
	limit   string        // what holds them back, as far as is known; "": not known
	making  chan struct{} // closed when streams were made or could not be; nil: nobody makes any
	failed  error         // of the last one who made streams
	inside  bool          // no data connection got through: it is not tried again for each file
}

// connect gives a connection to the agent, the present one if it is alive.
func (h *pullHost) connect(ctx context.Context) (*hostConn, error) {
	h.mu.Lock()
	c := h.live
	h.mu.Unlock()
	if c != nil {
		ping, cancel := context.WithTimeout(ctx, pingTimeout)
		_, err := c.client.Ping(ping)
		cancel()
		if err == nil {
			return c, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		h.drop(c)
	}
	h.mu.Lock()
	a := h.busy
	if a == nil && h.live != nil {
		c = h.live
		h.mu.Unlock()
		return c, nil
	}
	if a == nil {
		a = &attempt{done: make(chan struct{})}
		h.busy = a
		h.all.wg.Go(func() { h.attempt(a) })
	}
	h.mu.Unlock()
	select {
	case <-a.done:
		return a.conn, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// drop ends a connection that is dead.
func (h *pullHost) drop(c *hostConn) {
	h.mu.Lock()
	mine := h.live == c
	if mine {
		h.live = nil
	}
	h.mu.Unlock()
	if mine {
		h.event("lost", "")
		c.close()
	}
}

func (h *pullHost) event(state, detail string) {
	record(h.all.d.rec, events.Host{Host: h.name, Role: "source", State: state, Detail: detail})
}

// attempt logs in once.
func (h *pullHost) attempt(a *attempt) {
	c, err := h.login(h.all.ctx)
	h.mu.Lock()
	a.conn, a.err = c, err
	h.busy, h.live = nil, c
	state := "ready"
	if h.lost {
		state = "back"
	}
	h.lost = h.lost || c != nil
	h.mu.Unlock()
	if err == nil {
		h.event(state, "")
	} else if h.all.ctx.Err() == nil {
		h.event("lost", err.Error())
	}
	close(a.done)
}

// login starts an agent and meets it.
func (h *pullHost) login(ctx context.Context) (*hostConn, error) {
	c := &hostConn{h: h}
	st, err := c.prepare(ctx)
	if err == nil {
		c.link, err = h.all.open(ctx, h, st)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	unhook := context.AfterFunc(ctx, func() { c.link.Close() })
	err = c.meet(ctx, time.Now())
	if !unhook() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// dial logs in to a host.
func (h *pullHosts) dial(ctx context.Context, at *pullHost, st *start) (agentLink, error) {
	st.Serve = &serveSpec{Roots: at.roots, Links: h.d.job.Links}
	j := h.d.job
	at.event("connecting", "")
	login := j.Login
	if login.Prompt != nil {
		login.Prompt = oneAtATime{login.Prompt, &h.prompt}
	}
	sh, err := sshboot.Dial(ctx, sshboot.Target{User: at.user, Host: at.name, Port: at.port}, login)
	if err != nil {
		return agentLink{}, loginError(err)
	}
	at.event("agent", "")
	bo := j.Boot
	bo.Args, bo.Version, bo.Protocol = []string{"agent"}, j.Version, wire.Version
	b, err := sshboot.Boot(ctx, sh, bo)
	if err != nil {
		sh.Close()
		return agentLink{}, loginError(err)
	}
	link := framing.New(b)
	l := agentLink{link, sh.Remote().Addr(), func() { link.Close(); sh.Close() }}
	if err := sendJSON(link, wire.KindStart, st); err != nil {
		l.close()
		return agentLink{}, err
	}
	return l, nil
}

// oneAtATime asks one question after the other, since several logins run at once.
type oneAtATime struct {
	sshboot.Prompter
	mu *sync.Mutex
}

// Ask implements sshboot.Prompter.
func (o oneAtATime) Ask(ctx context.Context, question string, secret bool) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.Prompter.Ask(ctx, question, secret)
}

// loginError tells whether it is of use to log in again.
func loginError(err error) error {
	var s *sshboot.Error
	if !errors.As(err, &s) {
		return err
	}
	switch s.Kind {
	case sshboot.Unreachable, sshboot.NoName, sshboot.Lost:
		return errors.New(s.Text)
	}
	return finalError{s.Text}
}

// prepare makes this end of the data connections, and what the agent is told of it.
func (c *hostConn) prepare(ctx context.Context) (*start, error) {
	j := c.h.all.d.job
	o := c.h.all.d.options()
	c.last = c.h.all.d.pasts.fact(c.h.name, c.h.port)
	c.udt = j.UDT || c.last.Transport == "udt" && j.Spare
	st := &start{Version: wire.Version, JobID: c.h.all.d.id, Secret: make([]byte, 32), Engine: o, TCP: j.TCP, UDT: c.udt, Spare: j.Spare, Client: true, Seal: uint8(j.Seal),
		Ports: j.Ports, Window: j.Window, DSCP: j.DSCP, IPv4: j.IPv4, IPv6: j.IPv6, Listen: j.Dial != "source"}
	st.DialOnly, st.DialFirst = j.Dial == "source" || j.Dial == "target", j.Dial == "source"
	if _, err := rand.Read(st.Secret); err != nil {
		return nil, err
	}
	if j.TCP || j.UDT {
		ep, err := newEndpoint(ctx, params{secret: st.Secret, tcp: j.TCP, udt: c.udt, spare: j.Spare, streams: udtOptions(&o), seal: j.Seal, maxBody: wire.MaxServeFrame, listen: j.Dial != "target",
			ports: j.Ports, window: j.Window, dscp: j.DSCP, ipv4: j.IPv4, ipv6: j.IPv6, bind: j.Bind, known: c.h.all.d.ownKnown(),
			warn: func(text string) {
				record(c.h.all.d.rec, events.Warn{Code: "net.buffer", Message: text, Host: "local"})
			}})
		if err != nil {
			return nil, err
		}
		c.ep, st.Offer = ep, offerText(ep.Offer())
	}
	return st, nil
}

// meet learns how the agent can be reached, which was told its job at asked, and begins
// to make connections for data.
func (c *hostConn) meet(ctx context.Context, asked time.Time) error {
	j := c.h.all.d.job
	var rd ready
	if err := c.h.all.d.awaitReady(c.link, &rd); err != nil {
		return err
	}
	c.rtt = time.Since(asked)
	first := j.DataAddr
	if len(first) == 0 {
		first = []netip.Addr{c.link.addr}
	}
	far, err := parseOffer(rd.Offer, first...)
	if err != nil {
		return err
	}
	if len(j.DataAddr) > 0 {
		far.Addrs = far.Addrs[:min(len(far.Addrs), len(j.DataAddr))]
	}
	c.far = far
	c.client = peer.NewClient(c.link)
	if c.h.all.d.far != nil { // the agent was ready before that was said here
		if c.rtt, err = c.client.Ping(ctx); err != nil {
			return err
		}
	}
	o := c.h.all.d.options()
	facts := tuner.Facts{RTT: c.rtt, Cores: runtime.GOMAXPROCS(0), UDT: c.udt, CC: o.CC, Streams: [2]int{o.StreamsMin, o.StreamsMax}}
	if c.last.Transport == "tcp" {
		facts.Last = tuner.Last{Streams: c.last.Streams, CC: c.last.CC, RTT: time.Duration(c.last.RTTms * float64(time.Millisecond))}
	}
	initial := tuner.Initial(facts)
	c.streams = initial.Streams
	if c.ep != nil {
		life, end := context.WithCancel(context.Background())
		c.end = end
		t := newHostTuner(c, initial.CC)
		if c.fixed = t == nil; !c.fixed {
			c.wg.Go(func() { t.run(life) })
		}
		c.wg.Go(func() {
			for {
				s, err := c.ep.Accept(life)
				if err != nil {
					return
				}
				c.add(s)
			}
		})
		// What is asked for meanwhile is answered at the same time as they are made.
		c.wg.Go(func() { _ = c.ways(life, math.MaxInt64) }) // whoever reads hears of it
	}
	return nil
}

// close ends the agent and all that belongs to it.
func (c *hostConn) close() {
	if c.client != nil {
		c.client.Close()
	}
	if c.end != nil {
		c.end()
	}
	if c.ep != nil {
		c.ep.Close()
	}
	if c.link.close != nil {
		c.link.close()
	}
	c.wg.Wait()
}

// ways sees to it that there is a stream to ask on. size is what will be asked for,
// in bytes: for a little, the link will do.
func (c *hostConn) ways(ctx context.Context, size int64) error {
	j := c.h.all.d.job
	c.client.DropStalled(stalledFor)
	if c.ep == nil || j.SSH && size <= smallPull {
		c.client.AddInside()
		return nil
	}
	if n, way := c.client.Streams(); n > 1 || n == 1 && way != "ssh" {
		return nil
	}
	c.mu.Lock()
	if c.inside {
		c.mu.Unlock()
		return nil
	}
	wait := c.making
	if wait == nil {
		wait = make(chan struct{})
		c.making = wait
		c.wg.Go(func() {
			err := c.makeStreams()
			c.mu.Lock()
			c.failed, c.making = err, nil
			c.mu.Unlock()
			close(wait)
		})
	}
	c.mu.Unlock()
	select {
	case <-wait:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.client.Done():
		return errors.New("the connection ended")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// smallPull is how many bytes travel inside the link without connections of their
// own: opening one would take longer. As for copies.
const smallPull = 512 << 10

// makeStreams makes data connections, in the direction in which ssh got through
// first, then in the other one; when neither works data travels inside ssh.
func (c *hostConn) makeStreams() error {
	j := c.h.all.d.job
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout+otherWay)
	defer cancel()
	c.wg.Go(func() {
		select {
		case <-c.client.Done():
			cancel()
		case <-ctx.Done():
		}
	})
	c.usual()
	n := c.wanted()
	here := func() error { return c.dial(ctx, n, false) }
	there := func() error { return c.dial(ctx, n, true) }
	tries := []func() error{here, there}
	switch j.Dial {
	case "source":
		tries = []func() error{there}
	case "target":
		tries = []func() error{here}
	}
	errs := make(chan error, len(tries))
	next := time.NewTimer(0)
	defer next.Stop()
	var why []error
	begun := 0
	for len(why) < len(tries) {
		select {
		case <-next.C:
			if begun < len(tries) {
				try := tries[begun]
				begun++
				c.wg.Go(func() { errs <- try() })
				next.Reset(otherWay)
			}
		case err := <-errs:
			if err == nil {
				return nil
			}
			why = append(why, err)
			next.Reset(0)
		}
	}
	select {
	case <-c.client.Done():
		return errors.New("the connection ended")
	default:
	}
	text := fmt.Sprintf("no data connection gets through (%v)", why[0])
	if !j.SSH {
		return &wire.Fail{Class: wire.ClassNoPath, Text: text}
	}
	record(c.h.all.d.rec, events.Warn{Code: "net.inband", Host: c.h.name, Message: text + "; sending inside ssh, which is slow"})
	c.client.AddInside()
	c.mu.Lock()
	c.inside = true
	c.mu.Unlock()
	return nil
}

// dial makes n streams, from here or from there.
func (c *hostConn) dial(ctx context.Context, n int, there bool) error {
	var err error
	if there {
		err = c.client.Dial(ctx, n)
	} else {
		err = dialStreams(ctx, c.ep, c.far, n, func() uint32 { return 2*c.label.Add(1) - 1 }, c.add)
	}
	if err == nil {
		c.mu.Lock()
		c.there = there
		c.mu.Unlock()
	}
	return err
}

// add takes a stream into use. When streams are made in both directions at once there
// come twice as many as are wanted; those too many are closed here, or by what tunes them.
func (c *hostConn) add(s transports.Stream) {
	c.adding.Lock()
	defer c.adding.Unlock()
	if n, way := c.client.Streams(); c.fixed && way != "ssh" && n >= c.wanted() {
		s.Close()
		return
	}
	c.client.Add(s)
}

// wanted is how many streams there should be.
func (c *hostConn) wanted() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.streams
}

// connections is how many streams are to be used at once, when a file is opened.
func (c *hostConn) connections() int {
	n, way := c.client.Streams()
	if way != "ssh" {
		n = max(n, c.wanted())
	}
	return n
}

// streams is how many data connections there are to all hosts.
func (h *pullHosts) streams() (n int) {
	for _, host := range h.list {
		host.mu.Lock()
		c := host.live
		host.mu.Unlock()
		if c != nil {
			k, _ := c.client.Streams()
			n += k
		}
	}
	return n
}

// ways are the transports of all connected hosts, in words.
func (h *pullHosts) ways() (ways []string) {
	for _, host := range h.list {
		host.mu.Lock()
		c := host.live
		host.mu.Unlock()
		if c == nil {
			continue
		}
		if _, way := c.client.Streams(); way != "" && !slices.Contains(ways, way) {
			ways = append(ways, way)
		}
	}
	return ways
}
