package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/tuner"
	"github.com/gomover/gomover/wire"
)

// Times of our choice.
const (
	// secondWay is how long one direction of dialling is tried alone. A refusal
	// comes within a round trip; silence means a firewall.
	secondWay = 1500 * time.Millisecond
	// inbandAfter is how long data waits for its own connections before it
	// starts inside the link.
	inbandAfter = 2 * time.Second
	// wayTimeout is when a direction is given up, unless the path is very long.
	wayTimeout = 8 * time.Second
)

// smallJob is the payload in bytes that travels inside the link without asking
// for connections of its own: opening one would take longer.
const smallJob = 512 << 10

// sendStream is one stream at the source.
type sendStream struct {
	id      uint32
	st      transports.Stream
	way     string      // transport, as in transports.Stats
	stopped atomic.Bool // its sender has ended in good order
	dead    atomic.Bool
	bytes   atomic.Int64 // confirmed
	moved   atomic.Int64 // when something was confirmed last, Unix ns
	waiting atomic.Bool  // for the limit
	shown   int64        // bytes at the last tick; the ticker's

	seen transports.Stats // at the last tick; the ticker's
}

// streamSet is the source's streams.
type streamSet struct {
	mu      sync.Mutex // guards all below
	m       map[uint32]*sendStream
	inband  *sendStream // nil until first used
	running bool        // inband's sender runs
	nextID  uint32
	dialing int // streams that this end is making now
	target  int
	most    int    // that a limit of the rate leaves useful; 0: any
	way     string // transport that streams have moved to; "": they have not

	other        string  // transport that is being tried beside; "": none. Its streams do not count for the target
	otherStreams int     // that this end dials when the sink is ready
	otherDial    int     // which it is
	otherErr     string  // why it cannot be opened
	seen         float64 // bytes per second that a stream may begin with; 0: not known

	ownWay   bool // this end dials; settled by the first stream
	ownErr   string
	farErr   string
	closed   bool
	draining bool          // no new streams
	warnings []events.Warn // of dead streams; said unless the run ends at once
	note     chan struct{} // something changed; capacity 1, never closed
}

func (x *streamSet) init() {
	x.m = make(map[uint32]*sendStream)
	x.note = make(chan struct{}, 1)
	x.nextID = 1 // odd: dialled by the source
}

func (x *streamSet) poke() {
	select {
	case x.note <- struct{}{}:
	default:
	}
}

// farFailed notes why the sink could not dial.
func (x *streamSet) farFailed(text string) {
	x.mu.Lock()
	x.farErr = text
	x.mu.Unlock()
	x.poke()
}

// confirmed notes progress on a stream.
func (x *streamSet) confirmed(id uint32, n int64) {
	x.mu.Lock()
	ss := x.m[id]
	if id == inbandID {
		ss = x.inband
	}
	x.mu.Unlock()
	if ss != nil {
		ss.bytes.Add(n)
		ss.moved.Store(time.Now().UnixNano())
	}
}

// list returns the live streams.
func (x *streamSet) list() []*sendStream {
	x.mu.Lock()
	defer x.mu.Unlock()
	l := make([]*sendStream, 0, len(x.m))
	for _, ss := range x.m {
		l = append(l, ss)
	}
	return l
}

func (x *streamSet) closeAll() {
	x.mu.Lock()
	x.closed = true
	x.mu.Unlock()
	for _, ss := range x.list() {
		ss.st.Close()
	}
}

// manageStreams sees to it that there are ways for the data.
func (s *Source) manageStreams(ctx context.Context, walked <-chan struct{}) {
	if s.paths.Endpoint == nil || s.opts.NoStreams {
		s.startInband(ctx)
		s.emit(events.Plan{Transport: "ssh", Streams: 1, BlockBytes: s.opts.BlockSizeFor(0), Encrypt: "ssh", RTTms: msOf(s.paths.RTT), Reason: "as asked"})
		return
	}
	if !s.opts.NoInband && s.small(ctx, walked) {
		s.startInband(ctx)
		s.emit(events.Plan{Transport: "ssh", Streams: 1, BlockBytes: s.opts.BlockSizeFor(0), Encrypt: "ssh", RTTms: msOf(s.paths.RTT),
			Reason: "so little that opening connections would take longer"})
		return
	}
	s.wg.Go(func() { s.acceptLoop(ctx) })
	if !s.firstStream(ctx) {
		return
	}
	s.keepStreams(ctx)
}

func msOf(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// small waits until the listing tells whether the job is small.
func (s *Source) small(ctx context.Context, walked <-chan struct{}) bool {
	t := time.NewTicker(2 * time.Millisecond)
	defer t.Stop()
	for {
		c := s.snapshot()
		if c.Bytes > smallJob || c.Files > packFiles {
			return false
		}
		if c.Listed {
			return true
		}
		select {
		case <-walked:
			return s.snapshot().Bytes <= smallJob
		case <-t.C:
		case <-ctx.Done():
			return false
		}
	}
}

// startInband lets data travel inside the link.
func (s *Source) startInband(ctx context.Context) {
	x := &s.streams
	x.mu.Lock()
	if x.running || x.closed {
		x.mu.Unlock()
		return
	}
	if x.inband == nil {
		x.inband = &sendStream{id: inbandID, st: s.inband}
	}
	x.running = true
	ss := x.inband
	x.mu.Unlock()
	ss.moved.Store(time.Now().UnixNano())
	s.sched.resumeStream(inbandID)
	s.wg.Go(func() {
		s.send(ctx, ss)
		x.mu.Lock()
		x.running = false
		x.mu.Unlock()
	})
}

func (s *Source) stopInband() {
	s.streams.mu.Lock()
	running := s.streams.running
	s.streams.mu.Unlock()
	if running {
		s.sched.stopStream(inbandID)
	}
}

func (s *Source) acceptLoop(ctx context.Context) {
	for {
		st, err := s.paths.Endpoint.Accept(ctx)
		if err != nil {
			return
		}
		s.adopt(ctx, st)
	}
}

// adopt takes a new stream into use.
func (s *Source) adopt(ctx context.Context, st transports.Stream) {
	x := &s.streams
	ss := &sendStream{id: st.ID(), st: st, way: st.Stats().Transport}
	ss.moved.Store(time.Now().UnixNano())
	if s.opts.CC != "" {
		s.tuneStream(st) // before anybody looks at what it is
	}
	x.mu.Lock()
	if _, dup := x.m[ss.id]; x.closed || dup || ss.id == inbandID || len(x.m) >= 256 {
		x.mu.Unlock()
		st.Close()
		return
	}
	x.m[ss.id] = ss
	n := len(x.m)
	if n == 1 {
		x.ownWay = ss.id%2 == 1
	}
	x.mu.Unlock()
	s.sched.addStream(ss.id)
	if s.opts.CC == "" {
		s.tuneStream(st) // after it is listed, so that no change is missed
	}
	if ss.way == "udt" {
		s.resume(st)
	}
	s.update(func(t *Totals) { t.Streams = n; t.State = "" })
	s.wg.Go(func() { s.send(ctx, ss); x.poke() })
	s.wg.Go(func() {
		// The sink sends nothing on a stream; what comes is its end.
		err := st.Recv(transports.NewFrame(0))
		if err == nil {
			err = transports.ErrDamaged
		}
		s.streamDead(ss, err)
	})
	x.poke()
}

func (s *Source) facts(st transports.Stats) tuner.Facts {
	rtt := st.MinRTT
	if st.RTT > 0 && (rtt == 0 || st.RTT < rtt) {
		rtt = st.RTT
	}
	if rtt == 0 {
		rtt = s.paths.RTT
	}
	return tuner.Facts{RTT: rtt, Cores: cores(), Local: s.paths.Local, UDT: orElse(st.Transport, s.prefer()) == "udt", CC: s.opts.CC, Own: st.CC,
		Streams: s.streamBounds(), Bold: s.isPriority(Bold), Last: s.last()}
}

// streamDead takes a dead stream out of use; what it carried is sent again.
func (s *Source) streamDead(ss *sendStream, err error) {
	if ss.id == inbandID {
		s.fail(lost(err))
		return
	}
	if ss.dead.Swap(true) {
		return
	}
	if ss.fruitless(err) {
		distrust(s.paths.Endpoint, ss.st.Stats().Transport, s.prefer())
	}
	ss.st.Close()
	x := &s.streams
	x.mu.Lock()
	delete(x.m, ss.id)
	n, quiet := len(x.m), x.closed || x.draining
	x.mu.Unlock()
	again := s.sched.lost(ss.id)
	s.update(func(t *Totals) { t.Streams = n; t.Retrans += ss.st.Stats().Retrans })
	if again > 0 && !quiet && !ss.stopped.Load() {
		why := "the connection ended"
		if errors.Is(err, transports.ErrDamaged) {
			why = "damaged data"
		} else if errors.Is(err, errStalled) {
			why = err.Error()
		} else if silenced(err) {
			why = "nothing was heard any more"
		}
		x.mu.Lock()
		x.warnings = append(x.warnings, events.Warn{Code: "net.stream", Host: s.paths.Name,
			Message: fmt.Sprintf("stream %d: %s; %d bytes are sent again", ss.id, why, again)})
		x.mu.Unlock()
	}
	x.poke()
}

// warnOfStreams says which streams have died. When a run ends, by whose will
// ever, its streams may be gone before the message that says so is here; then
// nothing is sent again, and nothing is said.
func (s *Source) warnOfStreams() {
	x := &s.streams
	x.mu.Lock()
	list := x.warnings
	x.warnings = nil
	x.mu.Unlock()
	for _, w := range list {
		s.emit(w)
	}
}

// dial makes n streams from this end; they live as long as ctx.
func (s *Source) dial(ctx context.Context, n int) (err error) {
	dctx, cancel := context.WithTimeout(ctx, s.paths.wayTime())
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range n {
		x := &s.streams
		x.mu.Lock()
		id := x.nextID
		x.nextID += 2
		x.dialing++
		x.mu.Unlock()
		wg.Go(func() {
			defer func() {
				x.mu.Lock()
				x.dialing--
				x.mu.Unlock()
				x.poke()
			}()
			st, derr := s.paths.Endpoint.Dial(dctx, s.farOffer(), id)
			if derr != nil {
				mu.Lock()
				err = derr
				mu.Unlock()
				return
			}
			s.adopt(ctx, st)
		})
	}
	wg.Wait()
	return err
}

// askFar asks the sink to dial until there are n streams.
func (s *Source) askFar(n int) {
	m := wire.Streams{Count: n}
	if x, ok := s.paths.Endpoint.(transports.Switcher); ok && x.Turned() {
		m.Way = s.otherWay() // this end knows why, and the other one perhaps not yet
	} else if ok && s.streams.hasMoved() {
		m.Way = s.usual()
	}
	s.sendStreams(m)
}

// sendStreams tells the sink of streams.
func (s *Source) sendStreams(m wire.Streams) {
	b, err := wire.AppendJSON(nil, wire.KindStreams, m)
	if err == nil {
		err = s.link.Send(b)
	}
	if err != nil {
		s.fail(lost(err))
	}
}

// surelyFar is the round trip on the link from which there is no doubt that the
// path is a long one. Below it the first stream's own round trip decides, since
// that of the link includes what the other end had to do. While nothing is known
// yet the path counts as long: streams too many are soon closed.
const surelyFar = 20 * time.Millisecond

// tryWay starts making the first stream in one direction; on a long path all of
// them, since one after the other would cost the first two round trips again.
func (s *Source) tryWay(ctx context.Context, own bool) {
	n := 1
	if s.paths.RTT >= surelyFar || (s.paths.RTT == 0 && s.paths.Ready != nil) {
		n = tuner.Initial(s.facts(transports.Stats{RTT: max(s.paths.RTT, surelyFar)})).Streams
	}
	if !own {
		s.askFar(n)
		return
	}
	s.wg.Go(func() {
		if err := s.dial(ctx, n); err != nil {
			s.streams.mu.Lock()
			s.streams.ownErr = err.Error()
			s.streams.mu.Unlock()
			s.streams.poke()
		}
	})
}

// firstStream finds a direction in which connections get through. false: there
// is none, or the run has ended.
func (s *Source) firstStream(ctx context.Context) bool {
	x := &s.streams
	first := s.paths.DialFirst
	s.tryWay(ctx, first)
	second, inband := time.NewTimer(secondWay), time.NewTimer(inbandAfter)
	giveUp := time.NewTimer(secondWay + s.paths.wayTime() + time.Second)
	defer second.Stop()
	defer inband.Stop()
	defer giveUp.Stop()
	tried, late := s.paths.DialOnly, false
	other := func() {
		if !tried {
			tried = true
			s.tryWay(ctx, !first)
		}
	}
	for {
		x.mu.Lock()
		n, own, far := len(x.m), x.ownErr, x.farErr
		x.mu.Unlock()
		if n > 0 {
			s.stopInband()
			return true
		}
		if firstErr := map[bool]string{true: own, false: far}[first]; firstErr != "" {
			other()
		}
		if (own != "" || (s.paths.DialOnly && !first)) && (far != "" || (s.paths.DialOnly && first)) || late {
			return s.noWay(ctx, own, far)
		}
		select {
		case <-x.note:
		case <-second.C:
			other()
		case <-inband.C:
			s.startMeanwhile(ctx)
		case <-giveUp.C:
			late = true
		case <-ctx.Done():
			return false
		}
	}
}

// anotherSource is how long a sink waits for a stream that has another source to turn to,
// anotherTrips how many round trips at least: making one takes three.
const (
	anotherSource = 500 * time.Millisecond
	anotherTrips  = 6
)

// wayless is how long no stream may be left where data may not go inside the link.
func (s *Source) wayless() time.Duration {
	if s.paths.Passing {
		return min(s.opts.stall(), max(anotherSource, anotherTrips*s.pathRTT()))
	}
	return s.opts.stall()
}

// keepStreams holds the number of streams at the target while the job runs.
func (s *Source) keepStreams(ctx context.Context) {
	x := &s.streams
	var st transports.Stats
	if l := x.list(); len(l) > 0 {
		st = l[0].st.Stats()
	}
	set := tuner.Initial(s.facts(st))
	st.CC = orElse(s.seedCC(set.CC), st.CC)
	x.mu.Lock()
	if x.target == 0 {
		x.target = set.Streams
	}
	own := x.ownWay
	x.mu.Unlock()
	way := orElse(st.Transport, s.prefer())
	s.tellBlocked(way)
	plan := events.Plan{Transport: way, Streams: set.Streams, BlockBytes: s.opts.BlockSizeFor(0), Dial: "target", CC: set.CC,
		RTTms: msOf(s.facts(st).RTT), Encrypt: s.paths.Seal.String(), Reason: set.Reason, Alternatives: []events.Alternative{}}
	if own {
		plan.Dial = "source"
	}
	if s.paths.Local {
		plan.Transport, plan.Dial, plan.Encrypt = "local", "", ""
	} else {
		plan.WindowBytes = int64(s.paths.Window)
		plan.CC = orElse(st.CC, plan.CC) // as it is, not as asked
		if way != s.prefer() {
			plan.Alternatives = append(plan.Alternatives, events.Alternative{Transport: s.prefer(), Reason: s.blocked()})
		}
		plan.Alternatives = append(plan.Alternatives, s.predictions(way, s.facts(st).RTT, plan.CC)...)
	}
	s.emit(plan)

	backoff, retryAt := 100*time.Millisecond, time.Time{}
	var none time.Time // since when no stream is left
	fallen := false    // data goes inside the link for want of streams
	t := time.NewTicker(250 * time.Millisecond)
	defer t.Stop()
	for {
		least := s.streamBounds()[0]
		x.mu.Lock()
		have, want, draining := 0, x.target, x.draining
		if x.most > 0 {
			want = max(min(want, x.most), least)
		}
		var spare *sendStream
		if x.way != "" && way != x.way && x.way != s.usual() {
			way = x.way // which was told when it was changed
		}
		dial := x.otherDial
		x.otherDial = 0
		for _, ss := range x.m {
			if ss.stopped.Load() {
				if s.sched.idle(ss.id) {
					ss.st.Close() // its watcher removes it
				}
				continue
			}
			if x.other != "" && ss.way == x.other {
				continue
			}
			have++
			if spare == nil || ss.id > spare.id {
				spare = ss
			}
		}
		own, coming := x.ownWay, x.dialing
		x.mu.Unlock()
		if dial > 0 {
			s.wg.Go(func() {
				_ = s.dial(ctx, dial) // without them they are not tried
			})
		}
		now := time.Now()
		switch {
		case have > want:
			spare.stopped.Store(true)
			s.sched.stopStream(spare.id)
			x.poke()
		case have+coming < want && now.After(retryAt) && !draining:
			retryAt = now.Add(backoff)
			backoff = min(2*backoff, 5*time.Second)
			if own {
				s.wg.Go(func() {
					_ = s.dial(ctx, want-have-coming) // tried again while streams are missing
				})
			} else {
				s.askFar(want)
			}
		case have == want:
			backoff, retryAt = 100*time.Millisecond, time.Time{}
		}
		if have == 0 && !none.IsZero() && now.Sub(none) > s.paths.wayTime() {
			s.forsake()
		}
		if have > 0 {
			way, fallen = s.followWay(way, fallen), false
			none = time.Time{}
			s.stopInband()
		} else if none.IsZero() {
			none = now
		} else if now.Sub(none) > inbandAfter && !s.opts.NoInband {
			s.update(func(t *Totals) { t.State = "reconnecting streams" })
			if !fallen {
				fallen = true
				s.emit(events.Transport{Dest: s.paths.Name, From: way, To: "ssh", Reason: "all data connections are lost and no new one gets through"})
				s.emit(events.Warn{Code: "net.inband", Host: s.paths.Name, Message: fmt.Sprintf("all data connections are lost; sending inside ssh, which is slow: at most about %d MB/s, while new ones are tried", inbandRate(s.pathRTT())/1e6)})
			}
			s.startInband(ctx)
		} else if now.Sub(none) > s.wayless() && s.opts.NoInband {
			s.fail(wire.Failf(wire.ClassLost, "%s: all data connections were lost and none can be made", s.paths.Name))
		}
		select {
		case <-x.note:
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}
