package mover

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/transports/tcpxm"
	"github.com/gomover/gomover/wire"
)

// How destinations may get data together.
const (
	MulticastNever  = "never"  // also ""
	MulticastAuto   = "auto"   // where it is worth it and reaches at least two, in a moment
	MulticastAlways = "always" // where it can be done
)

// GroupOptions say how data is sent to a multicast group.
type GroupOptions struct {
	Addr      netip.Addr // zero: a random one that is this machine's alone (RFC 4607)
	TTL       int        // 0: 32
	Interface string     // by name; "": that of the way to the destinations
}

// Times and sizes of our choice.
const (
	// castLeast is how much at least two destinations must lack before it is tried to
	// send it to them together: finding out who hears costs up to a megabyte.
	castLeast = 8 << 20
	// castAsked is that where it is asked for; less goes inside ssh.
	castAsked = 512 << 10
	// joinLeast is that for one that may join a group at work.
	joinLeast = 1 << 20
	// waitLeast and waitMost bound how long a destination gets nothing at its start,
	// and how long two wait for others to log in, since it may come together: what the
	// data would take at waitRate bytes per second. It is waitAsked where multicast is
	// asked for.
	waitLeast = 100 * time.Millisecond
	waitMost  = time.Second
	waitAsked = 4 * time.Second
	waitRate  = 1 << 30
	// answerWait is how long agents may take to open their ports, connectWait how long
	// the receivers may take to answer.
	answerWait  = 2 * time.Second
	connectWait = 3 * time.Second
	// castDead is how long a receiver may be silent: less than the engine gives up a
	// stream after.
	castDead = 25 * time.Second
	// verdictWait is how long it may take until two destinations hear the group.
	verdictWait = 4 * time.Second
	// castAhead is how far the log is made ahead of what was sent, in bytes.
	castAhead = 4 << 20
	// castEvery is how often it is looked how the receivers do.
	castEvery = 50 * time.Millisecond
	// castStream is the number of the stream of a cast: beyond those of both ends.
	castStream = 1 << 30
	// returnShare is the part of what the group gets that a destination gets beside it
	// which has been lost: others do not pay for it.
	returnShare = 20
)

// casting is one multicast session of a fan: it waits until several destinations are
// ready, tries to reach them together, and gives them what at least two of them
// lack. Data goes by transports/tcpxm, keys and ports over the ssh connection of each.
//
//	engine.Source 1 --.                                        .-- agent 1: Sink.Take
//	engine.Source 2 --+-- engine.Cast -- tcpxm.Session == group +-- agent 2
//	engine.Source 3 --'     (a log of frames)                   '-- agent 3
type casting struct {
	run    *fanRun
	always bool
	o      GroupOptions
	free   chan struct{} // closed when nobody need wait for the group any more
	over   chan struct{} // closed when no group will be, or it has ended
	news   chan struct{} // capacity 1
	once   sync.Once

	mu      sync.Mutex // guards what follows, and the legs' fields
	legs    []*castLeg
	atWork  bool
	gather  bool  // two at least are ready, and it is being tried to reach them together
	put     int64 // bytes put into the log
	sent    tcpxm.Counters
	reached bool // two at least hear the group
}

// castLeg is one destination as a casting knows it.
type castLeg struct {
	c      *casting
	i      int
	leg    *leg
	answer chan castAnswer // capacity 1
	looks  chan struct{}   // capacity 1: a lock for the stream that looks whether it is held

	// Guarded by casting.mu.
	src      *engine.Source // of the session that runs; nil: none does
	link     engine.Link
	addr     netip.Addr // of the destination
	since    time.Time  // src began
	sessions int
	out      bool // it has ended for good

	// Of the latest session whose agent was asked for a port: once.
	asked  *engine.Source
	at     netip.Addr
	secret tcpxm.Secret
	port   uint16

	// Guarded by casting.mu again.
	member  bool
	status  tcpxm.Result
	base    int64    // casting.put when a lost one came back
	used    int64    // bytes sent to it since
	refused [2]int64 // datagrams, as its agent says: the one at work, and those before it
}

// castOrder asks an agent to open a port for a group. Exactly one session is meant. The
// group's key is not in it: the session tells that to those that have answered.
type castOrder struct {
	Tag       uint32 `json:"tag"`
	Secret    []byte `json:"secret"`
	GroupPort uint16 `json:"group_port"`
	Stream    uint32 `json:"stream"` // number of the stream for the engine
	IPv6      bool   `json:"ipv6,omitempty"`
}

// castAnswer is what the agent says to that, and later, with Refused alone, how many
// datagrams it has refused so far: they were not sealed by the sender, or came again.
type castAnswer struct {
	Tag     uint32 `json:"tag"`
	Port    uint16 `json:"port,omitempty"`
	Error   string `json:"error,omitempty"`
	Refused int64  `json:"refused,omitempty"`
}

// newCasting makes the casting of a run, nil if there can be none.
func newCasting(r *fanRun) *casting {
	f := r.fan
	if f.Multicast != MulticastAuto && f.Multicast != MulticastAlways || f.Chain {
		return nil
	}
	c := &casting{run: r, always: f.Multicast == MulticastAlways, o: f.Group,
		free: make(chan struct{}), over: make(chan struct{}), news: make(chan struct{}, 1)}
	n, block := 0, usualBlock(r.legs)
	for i, l := range r.legs {
		j := l.dir.job
		cl := &castLeg{c: c, i: i, leg: l, answer: make(chan castAnswer, 1), looks: make(chan struct{}, 1)}
		cl.out = !j.push() || !j.TCP && !j.UDT || j.Engine.BlockSize != block
		c.legs = append(c.legs, cl)
		if !cl.out {
			n++
			l.dir.cast = cl
		}
	}
	if n < 2 {
		for _, l := range r.legs {
			l.dir.cast = nil
		}
		if c.always {
			c.tellNone(errNobody)
		}
		return nil
	}
	return c
}

// usualBlock is the block size that most destinations are to have: those of another one
// cannot get the same frames.
func usualBlock(legs []*leg) (size int64) {
	count := make(map[int64]int)
	for _, l := range legs {
		count[l.dir.job.Engine.BlockSize]++
	}
	for _, l := range legs {
		if s := l.dir.job.Engine.BlockSize; count[s] > count[size] {
			size = s
		}
	}
	return size
}

func (c *casting) poke() {
	select {
	case c.news <- struct{}{}:
	default:
	}
}

// letGo lets everybody go on who waits for the group.
func (c *casting) letGo() { c.once.Do(func() { close(c.free) }) }

// begin notes that a source is about to run.
func (l *castLeg) begin(src *engine.Source, link engine.Link, addr netip.Addr) {
	l.c.mu.Lock()
	l.src, l.link, l.addr, l.since = src, link, addr.Unmap(), time.Now()
	l.sessions++
	l.base, l.used = l.c.put, 0
	l.refused = [2]int64{0, l.refused[0] + l.refused[1]}
	l.c.mu.Unlock()
	l.c.poke()
}

// end notes that it has ended.
func (l *castLeg) end() {
	l.c.mu.Lock()
	l.src, l.link = nil, nil
	l.c.mu.Unlock()
	l.c.poke()
}

// leave notes that the destination has ended for good.
func (l *castLeg) leave() {
	l.c.mu.Lock()
	l.out = true
	l.c.mu.Unlock()
	l.c.poke()
}

// take takes what the agent answers.
func (l *castLeg) take(body []byte) error {
	var a castAnswer
	if err := wire.ParseJSON(body, &a); err != nil {
		return err
	}
	if a.Refused > 0 {
		l.c.mu.Lock()
		l.refused[0] = max(l.refused[0], a.Refused)
		l.c.mu.Unlock()
		return nil
	}
	l.hear(a)
	return nil
}

// hear keeps an answer for who waits for it.
func (l *castLeg) hear(a castAnswer) {
	select {
	case l.answer <- a:
	default: // one was asked for
	}
}

// small tells that what this one lacks is too little for a group.
func (l *castLeg) small() bool {
	l.c.mu.Lock()
	src := l.src
	l.c.mu.Unlock()
	if src == nil {
		return false
	}
	n, all := engine.Wants([]*engine.Source{src, src})
	return all && n < l.c.least()
}

// least is how much two must lack.
func (c *casting) least() int64 {
	if c.always {
		return castAsked
	}
	return castLeast
}

// hold waits while a destination is not to be sent anything of its own: until it is
// known whether there will be a group, for a moment; and, for one that was lost and is
// back, so that those of the group keep the network.
func (c *casting) hold(ctx context.Context, i int) error {
	if !c.holds(i) {
		return nil
	}
	// One of a destination's streams looks for all of them, which may be dozens.
	select {
	case c.legs[i].looks <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-c.legs[i].looks }()
	for c.holds(i) {
		select {
		case <-time.After(holdLook):
		case <-c.over:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// holdLook is how often those look who wait.
const holdLook = 10 * time.Millisecond

// holds tells whether destination i has to wait. If not it may send one frame.
func (c *casting) holds(i int) bool {
	select {
	case <-c.over:
		return false
	default:
	}
	l := c.legs[i]
	c.mu.Lock()
	since, lost := l.since, false
	if l.sessions > 1 && !l.member && c.atWork {
		if lost = l.used > 1<<20+(c.put-l.base)/returnShare; !lost {
			l.used += engine.DefaultBlock
		}
	}
	gather := c.gather
	c.mu.Unlock()
	if lost {
		return true
	}
	select {
	case <-c.free:
		return false
	default:
	}
	return (c.always && gather || time.Since(since) < c.patience(l)) && !l.small()
}

// patience is how long it is worth to wait for others.
func (c *casting) patience(of ...*castLeg) time.Duration {
	if c.always {
		return waitAsked
	}
	list := sources(of)
	if len(list) == 1 {
		list = append(list, list[0])
	}
	bytes, _ := engine.Wants(list)
	return min(max(time.Duration(float64(bytes)/waitRate*float64(time.Second)), waitLeast), waitMost)
}

// Why there is no group; the first is not worth telling.
var (
	errNoGroup = errors.New("nothing to be sent together")
	errNobody  = errors.New("fewer than two destinations can get the same by UDP")
)

// tellNone says why there is no multicast although it was asked for.
func (c *casting) tellNone(why error) {
	record(c.run.rec, events.Warn{Code: "net.multicast", Message: fmt.Sprintf("no multicast: %v; each destination gets its own data", why)})
}

// work is the casting's life; it ends with stop at the latest.
func (c *casting) work(stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with work
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	defer close(c.over)
	defer c.letGo()
	err := c.try(ctx)
	c.mu.Lock()
	c.atWork = false
	c.mu.Unlock()
	if err != nil && c.always && !errors.Is(err, errNoGroup) && ctx.Err() == nil {
		c.tellNone(err)
	}
}

func (c *casting) try(ctx context.Context) error {
	legs, err := c.form(ctx)
	if err != nil {
		return err
	}
	s, err := c.connect(ctx, legs)
	if err != nil {
		return err
	}
	err = s.run(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil && !c.reached {
		err = errUnheard // until all was sent otherwise
	}
	return err
}

// form waits until enough destinations are ready, and gives them.
func (c *casting) form(ctx context.Context) ([]*castLeg, error) {
	var second time.Time // when the second one was ready
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for {
		ready, coming, others := c.ready()
		if len(ready) >= 2 && second.IsZero() {
			second = time.Now()
		}
		switch {
		case len(ready)+coming < 2 && len(ready)+others >= 2:
			return nil, errNobody
		case len(ready)+coming < 2:
			return nil, errNoGroup
		case len(ready) >= 2:
			bytes, all := engine.Wants(sources(ready))
			c.mu.Lock()
			c.gather = bytes >= c.least()
			c.mu.Unlock()
			switch {
			case all && bytes < c.least() && coming == 0:
				return nil, errNoGroup
			case bytes < c.least():
			case coming == 0 || time.Since(second) > c.patience(ready...):
				return ready, nil
			}
		}
		select {
		case <-t.C:
		case <-c.news:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ready gives the destinations that can be reached together by now, how many may become
// so, and how many others there are that cannot.
func (c *casting) ready() (l []*castLeg, coming, others int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.legs {
		switch {
		case x.out:
		case x.src == nil:
			coming++
		case !x.addr.IsValid() || !c.always && ownAddress(x.addr):
			others++ // not to be reached but by ssh, or this machine itself
		default:
			l = append(l, x)
		}
	}
	return l, coming, others
}

func sources(legs []*castLeg) (l []*engine.Source) {
	for _, x := range legs {
		x.c.mu.Lock()
		if x.src != nil {
			l = append(l, x.src)
		}
		x.c.mu.Unlock()
	}
	return l
}

// connect has the agents open their ports and makes a session with those that can.
func (c *casting) connect(ctx context.Context, legs []*castLeg) (*castSession, error) {
	v6 := 0
	c.mu.Lock()
	for _, l := range legs {
		if l.asked, l.at = l.src, l.addr; l.at.Is6() {
			v6++
		}
	}
	c.mu.Unlock()
	six := 2*v6 > len(legs)
	group := c.group(six, legs[0].leg.dir.job.Ports)
	var tag [4]byte
	_, _ = rand.Read(tag[:]) // never fails
	o := castOrder{Tag: max(1, binary.BigEndian.Uint32(tag[:])), GroupPort: group.Port(), Stream: castStream, IPv6: six}
	legs, why := c.order(ctx, legs, o)
	if len(legs) < 2 {
		if why == nil {
			why = errNoGroup
		}
		return nil, why
	}
	s := &castSession{c: c, legs: legs, order: o, came: make(chan newcomer)}
	var dests []tcpxm.Destination
	for _, l := range legs {
		dests = append(dests, tcpxm.Destination{Addr: netip.AddrPortFrom(l.at, l.port), Secret: l.secret})
		s.six = s.six || l.at.Is6()
	}
	cfg := tcpxm.Config{Tag: o.Tag, Group: group, Source: s, Growing: true, Connect: connectWait, Dead: castDead,
		TTL: c.o.TTL, Interface: c.o.Interface, Bind: legs[0].leg.dir.job.Bind}
	if cfg.Interface == "" {
		cfg.Interface = wayTo(ctx, legs[0].at)
	}
	if c.run.fan.Slow == SlowWait {
		cfg.Slow = tcpxm.SlowWait
	}
	return s, s.dial(ctx, cfg, dests)
}

// order asks the agents for ports, and gives those that have one.
func (c *casting) order(ctx context.Context, legs []*castLeg, o castOrder) (with []*castLeg, why error) {
	late, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	var asked []*castLeg
	for _, l := range legs {
		c.mu.Lock()
		link, same := l.link, l.src == l.asked
		c.mu.Unlock()
		if link == nil || !same {
			continue
		}
		_, _ = rand.Read(l.secret[:]) // never fails
		o.Secret = append([]byte(nil), l.secret[:]...)
		b, err := json.Marshal(o)
		if err != nil {
			return nil, err
		}
		asked = append(asked, l)
		go func() { // ends with the link: an end that does not listen holds nobody back
			if err := link.Send([]byte{byte(wire.KindGroup)}, b); err != nil {
				l.hear(castAnswer{Tag: o.Tag, Error: err.Error()})
			}
		}()
	}
	for _, l := range asked {
		a, ok := l.heard(late)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !ok:
			why = fmt.Errorf("%s: no answer for %v", l.leg.host, answerWait)
		case a.Tag != o.Tag || a.Port == 0:
			why = fmt.Errorf("%s: %s", l.leg.host, a.Error)
		default:
			l.port = a.Port
			with = append(with, l)
		}
	}
	return with, why
}

// heard gives what the agent has answered, until late ends at the latest.
func (l *castLeg) heard(late context.Context) (a castAnswer, ok bool) {
	select {
	case a = <-l.answer:
		return a, true
	default: // one that has come counts, even if it is late by now for others
	}
	select {
	case a = <-l.answer:
		return a, true
	case <-late.Done():
		return a, false
	}
}

// group is the group and its port.
func (c *casting) group(six bool, ports [2]uint16) netip.AddrPort {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	port := 20000 + binary.BigEndian.Uint16(b[4:])%40000
	if ports != [2]uint16{} {
		port = ports[1] // no other is permitted
	}
	switch a := c.o.Addr; {
	case a.IsValid():
		return netip.AddrPortFrom(a, port)
	case six:
		g := netip.MustParseAddr("ff3e::8000:0").As16()
		copy(g[13:], b[:3])
		return netip.AddrPortFrom(netip.AddrFrom16(g), port)
	}
	// RFC 4607, section 1: 232.0.0.0 to 232.0.0.255 are reserved. The next two are for
	// slower ones.
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{232, max(1, b[0]), b[1], b[2] & 0xfc}), port)
}

// counts are what went to one destination by the group's session. now tells that it
// gets its data by it.
func (l *castLeg) counts() (r tcpxm.Result, now bool) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	return l.status, l.member
}

// turnedAway is what one destination has refused of what came in this machine's name.
func (l *castLeg) turnedAway() Refused {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	return Refused{Blocks: l.status.Refused, Packets: l.refused[0] + l.refused[1]}
}

// Together is what a run has sent to several destinations at once. Sizes are in bytes.
type Together struct {
	Group, Unicast Carried // to groups, and by unicast within their sessions; packets are datagrams of any kind
	Coded, Resent  int64   // coded repair, besides; what of Unicast was sent before
	Wire           int64   // all of it with the heads of UDP and IP
}

// together is what was sent to all at once.
func (c *casting) together() Together {
	if c == nil {
		return Together{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := &c.sent
	return Together{Group: Carried{n.GroupBytes, n.GroupPackets}, Unicast: Carried{n.UnicastBytes, n.UnicastPackets}, Coded: n.CodedBytes, Resent: n.ResentBytes, Wire: n.WireBytes}
}
