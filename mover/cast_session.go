package mover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/transports/tcpxm"
)

// castSession is a casting at work.
type castSession struct {
	c     *casting
	s     *tcpxm.Session
	roots []engine.SourceRoot
	order castOrder // as agents are asked for ports, but for their secrets
	six   bool      // addresses of IPv6 can be reached

	trial struct { // pump's: the group's rate
		at    time.Time
		bytes int64
	}

	paying    atomic.Int64  // since when the pump waits for a limit, Unix ns; 0: it does not
	comparing atomic.Bool   // destinations send by themselves for a moment
	came      chan newcomer // has room for none
	asking    sync.WaitGroup

	mu    sync.Mutex   // guards what follows; the watcher alone changes it once it is at work
	cast  *engine.Cast // nil before there is one
	legs  []*castLeg   // in the order of the session's receivers; one that was lost is there twice
	place []int        // of each leg in the cast; -1: in none

	// The watcher's.
	gone  []bool
	told  []string // transport that was told last
	at    []uint64 // frames confirmed at the last look
	moved []time.Time
	began time.Time
	since time.Time // when two heard the group last
	all   bool      // the log is complete

	alarmed bool // the user knows that somebody forges
}

// ReadAt implements io.ReaderAt for the session.
func (s *castSession) ReadAt(b []byte, off int64) (int, error) {
	s.mu.Lock()
	c := s.cast
	s.mu.Unlock()
	if c == nil {
		return 0, io.ErrUnexpectedEOF
	}
	return c.ReadAt(b, off)
}

// dial connects to the receivers.
func (s *castSession) dial(ctx context.Context, cfg tcpxm.Config, dests []tcpxm.Destination) (err error) {
	r, _ := s.legs[0].leg.dir.specs()
	if s.roots, err = openSources(&r, func(string, string) {}); err != nil {
		return err
	}
	s.s, err = tcpxm.Dial(ctx, &netx.System{}, cfg, dests)
	if err != nil {
		closeSources(s.roots)
		return err
	}
	return nil
}

// run sends what is to be sent together, until nothing is left or it is in vain.
func (s *castSession) run(ctx context.Context) error {
	defer closeSources(s.roots)
	defer s.s.Close()
	if err := s.begin(); err != nil {
		return err
	}
	defer s.cast.Close()
	defer s.s.Close() // before the cast, of which it reads
	s.c.letGo()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	var pumped sync.WaitGroup
	pumped.Go(func() { ended <- s.pump(ctx) })
	err := s.watch(ctx, ended)
	if ctx.Err() != nil {
		err = ctx.Err() // what ended first by that tells nothing
	}
	cancel()
	pumped.Wait()
	s.asking.Wait()
	s.leaveAll(err)
	return err
}

// begin makes the cast with those that have answered.
func (s *castSession) begin() error {
	n := len(s.legs)
	s.place, s.gone, s.told, s.at, s.moved = make([]int, n), make([]bool, n), make([]string, n), make([]uint64, n), make([]time.Time, n)
	s.began = time.Now()
	s.since = s.began
	var list []*engine.Source
	c := s.c
	results := s.s.Results()
	c.mu.Lock()
	for i, l := range s.legs {
		s.place[i], s.moved[i] = -1, s.began
		if r := results[i]; r.Connected && r.Err == nil && l.src != nil && l.src == l.asked {
			s.place[i] = len(list)
			list = append(list, l.src)
			l.member = true
		}
	}
	c.atWork = len(list) >= 2
	c.mu.Unlock()
	for i := range s.legs {
		if s.place[i] < 0 {
			s.gone[i] = true
			s.s.Drop(i)
		}
	}
	if len(list) < 2 {
		c.mu.Lock()
		for _, l := range s.legs {
			l.member = false
		}
		c.mu.Unlock()
		return fmt.Errorf("%d of %d destinations answer over UDP", len(list), n)
	}
	cast := engine.NewCast(castStream, s.roots, list)
	s.mu.Lock()
	s.cast = cast
	s.mu.Unlock()
	return nil
}

// pump puts frames into the log as they are needed. io.EOF: it is complete.
func (s *castSession) pump(ctx context.Context) error {
	tried := s.c.always || s.cast.Limited()
	for {
		if !tried {
			var err error
			if tried, err = s.compare(ctx); err != nil {
				return err
			}
		}
		ahead := int64(castAhead)
		if s.cast.Limited() {
			ahead = engine.DefaultBlock / 2
		}
		if err := s.s.Hungry(ctx, ahead); err != nil {
			return err
		}
		if err := s.together(ctx); err != nil {
			return err
		}
		n, err := s.cast.Next(ctx)
		if errors.Is(err, io.EOF) {
			s.s.CloseWrite()
		}
		if err != nil {
			return err
		}
		s.paying.Store(time.Now().UnixNano())
		err = s.cast.Pay(ctx, s.s.Counters().WireBytes, n)
		s.paying.Store(0)
		if err != nil {
			return err
		}
		s.c.mu.Lock()
		s.c.put += n
		s.c.mu.Unlock()
		s.s.Extend(n)
	}
}

// together waits where destinations wait for each other.
func (s *castSession) together(ctx context.Context) error {
	if s.c.run.fan.Slow != SlowWait {
		return nil
	}
	for !s.mayGoOn() {
		select {
		case <-time.After(holdLook):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// mayGoOn tells that no member has to wait for others, or that one of those that are
// waited for has nothing more to come: without a further frame they would wait for ever.
func (s *castSession) mayGoOn() bool {
	all, short := true, false
	s.mu.Lock()
	legs, place := s.legs, s.place
	s.mu.Unlock()
	for i, l := range legs {
		if place[i] < 0 {
			continue
		}
		n, of, live := s.cast.Confirmed(place[i])
		if !live {
			continue
		}
		held := s.c.run.pace.holds(l.i)
		all = all && !held
		short = short || !held && n == of
	}
	return all || short
}

// watch looks how the receivers do, until all is with those that have not failed.
func (s *castSession) watch(ctx context.Context, ended <-chan error) error {
	t := time.NewTicker(castEvery)
	defer t.Stop()
	for {
		select {
		case err := <-ended:
			s.all = true
			if !errors.Is(err, io.EOF) {
				return err
			}
			ended = nil
		case n := <-s.came:
			s.admit(n)
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if busy, err := s.look(time.Now()); err != nil || !busy {
			return err
		}
		s.invite(ctx)
	}
}

// errUnheard ends a session that reaches fewer than two destinations by the group.
var errUnheard = errors.New("it does not reach two destinations")

// look looks at all receivers; busy tells that some are still to get something.
func (s *castSession) look(now time.Time) (busy bool, err error) {
	results, sent := s.s.Results(), s.s.Counters()
	heard, open, group := 0, 0, 0 // group: are known to hear it
	s.note(results)
	s.alarm(results)
	for i, l := range s.legs {
		r := &results[i]
		s.c.mu.Lock()
		src := l.src
		s.c.mu.Unlock()
		if s.gone[i] {
			continue
		}
		n, of, live := s.cast.Confirmed(s.place[i])
		if n != s.at[i] || n == of || s.held(now) {
			s.at[i], s.moved[i] = n, now
		}
		switch {
		case src == nil || !live:
			s.drop(i, "")
			continue
		case r.Err != nil:
			s.drop(i, r.Err.Error())
			continue
		case now.Sub(s.moved[i]) > castDead:
			s.drop(i, fmt.Sprintf("nothing confirmed for %v", castDead))
			continue
		}
		if !r.Connected {
			open++ // it was late
			continue
		}
		if r.Mode == tcpxm.Multicast {
			heard++
			group++
			s.tell(i, "multicast", "")
		} else if r.Mode != tcpxm.GroupUnicast {
			s.tell(i, "tcpxm", r.Mode.String())
		}
		if r.Mode == tcpxm.GroupUnicast || s.all && n == of {
			heard++ // not known yet, or done
		}
		if !s.all || n < of {
			open++
		}
	}
	s.cast.Release()
	s.c.mu.Lock()
	s.c.sent = sent
	s.c.reached = s.c.reached || group >= 2
	reached := s.c.reached
	s.c.mu.Unlock()
	if heard >= 2 {
		s.since = now
	}
	switch {
	case open == 0 || open < 2 && heard < 2:
		return false, nil // what is left is one destination's alone
	case heard == 0 && !reached, now.Sub(s.since) > verdictWait:
		return false, errUnheard
	}
	return true, nil
}

// note keeps how it stands with all destinations: what one got before it was lost, too.
func (s *castSession) note(results []tcpxm.Result) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for _, l := range s.legs {
		l.status = tcpxm.Result{}
	}
	for i, l := range s.legs {
		before := l.status
		l.status = results[i]
		l.status.GroupBytes += before.GroupBytes
		l.status.GroupPackets += before.GroupPackets
		l.status.UnicastBytes += before.UnicastBytes
		l.status.UnicastPackets += before.UnicastPackets
		l.status.ResentBytes += before.ResentBytes
		l.status.Refused += before.Refused
	}
}

// alarm tells the user, once, that a destination was sent bytes by the group that are not
// this machine's: only who knows the group's key can do that.
func (s *castSession) alarm(results []tcpxm.Result) {
	for i, l := range s.legs {
		if s.alarmed || results[i].Refused == 0 {
			continue
		}
		s.alarmed = true
		record(s.c.run.rec, events.Warn{Code: "net.forged", Message: fmt.Sprintf(
			"somebody who knows the group's key sends other data to it: %s has refused some, and gets that part by unicast", l.leg.host)})
	}
}

// heldAfter is how long a frame waits for a limit before nobody is blamed for
// confirming nothing meanwhile: there is a pause, or hardly any rate.
const heldAfter = time.Second

// held tells that a limit holds back what would be confirmed next.
func (s *castSession) held(now time.Time) bool {
	since := s.paying.Load()
	return since != 0 && now.Sub(time.Unix(0, since)) > heldAfter
}

// drop goes on without one receiver.
func (s *castSession) drop(i int, why string) {
	s.gone[i] = true
	s.s.Drop(i)
	s.cast.Drop(s.place[i])
	s.c.mu.Lock()
	s.legs[i].member = false
	s.c.mu.Unlock()
	if why != "" {
		s.tell(i, s.own(i), why)
	}
}

// own is what a destination's own connections are.
func (s *castSession) own(i int) string { return prefer(s.legs[i].leg.dir.job.UDT) }

// tell records by what a destination gets its data.
func (s *castSession) tell(i int, way, why string) {
	from := s.told[i]
	if from == "" {
		from = s.own(i)
	}
	if from == way {
		return
	}
	s.told[i] = way
	if why == "" {
		why = "several destinations get it at once"
	}
	s.legs[i].leg.dir.rec.Record(time.Now(), events.Transport{From: from, To: way, Reason: why})
}

// leaveAll lets all members go on by themselves.
func (s *castSession) leaveAll(err error) {
	for i := range s.legs {
		if s.gone[i] {
			continue
		}
		why := ""
		if err != nil && !errors.Is(err, context.Canceled) {
			why = err.Error()
		}
		s.drop(i, why)
	}
	s.note(s.s.Results())
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.c.sent = s.s.Counters()
}

// Of comparing both ways. Ours.
const (
	compareAfter = 3 * time.Second         // of the group, of which the latter half counts
	compareFor   = 1500 * time.Millisecond // for each destination by itself; the last two thirds count
	// compareLeft is how much is to be left at the rate of the group, where that may be
	// what the processors can do, and compareSlow where the network is more likely the
	// limit: then the comparison costs all that several copies take longer.
	compareLeft = 10 * time.Second
	compareSlow = 60 * time.Second
	compareRate = 60e6 // bytes per second to each, between the two
)

// errSlower ends a session that is slower than all destinations by themselves.
var errSlower = errors.New("it is slower than unicast to each")

// compare tries for a moment, once, whether all destinations by themselves get more
// than the group, as may be on a fast network. tried tells that it need not be asked
// again.
func (s *castSession) compare(ctx context.Context) (tried bool, err error) {
	now := time.Now()
	switch x := &s.trial; {
	case now.Sub(s.began) < compareAfter/2:
		return false, nil
	case x.at.IsZero():
		x.at, x.bytes = now, s.sum(func(t *engine.Totals) int64 { return t.Verified })
		return false, nil
	case now.Sub(s.began) < compareAfter:
		return false, nil
	}
	list := s.sources()
	if len(list) < 2 {
		return true, nil
	}
	group := float64(s.sum(func(t *engine.Totals) int64 { return t.Verified })-s.trial.bytes) / now.Sub(s.trial.at).Seconds()
	left, all := engine.Wants(list)
	if !worthComparing(group/float64(len(list)), left) {
		return all, nil // else there may come more
	}
	s.comparing.Store(true)
	defer s.comparing.Store(false)
	s.cast.Suspend()
	own, err := s.ownRate(ctx)
	if err != nil {
		return true, err
	}
	if own > group {
		return true, errSlower
	}
	s.cast.Resume()
	return true, nil
}

// worthComparing tells whether so much is left, at a rate to each destination.
func worthComparing(each float64, left int64) bool {
	limit := compareSlow
	if each > compareRate {
		limit = compareLeft
	}
	return float64(left) > each*limit.Seconds()
}

// ownRate is what all destinations together get by themselves.
func (s *castSession) ownRate(ctx context.Context) (float64, error) {
	sent := func() int64 { return s.sum(func(t *engine.Totals) int64 { return t.Sent }) }
	var before int64
	var began time.Time
	for _, wait := range [...]time.Duration{compareFor / 3, 2 * compareFor / 3} {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		if began.IsZero() {
			before, began = sent(), time.Now()
		}
	}
	return float64(sent()-before) / time.Since(began).Seconds(), nil
}

// sources are those of the members.
func (s *castSession) sources() (l []*engine.Source) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	for _, x := range s.c.legs {
		if x.member && x.src != nil {
			l = append(l, x.src)
		}
	}
	return l
}

// sum adds up what the members have of something.
func (s *castSession) sum(of func(*engine.Totals) int64) (n int64) {
	for _, src := range s.sources() {
		t := src.Totals()
		n += of(&t)
	}
	return n
}
