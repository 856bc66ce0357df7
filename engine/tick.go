package engine

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// baseWindow is the payload in bytes that may be under way, sent and not
// confirmed, on a path of no length: what is lost and sent again when an end is
// killed.
const baseWindow = 24 << 20

// tickEvery is how often a source looks at its streams, yieldEvery how often when it
// gives way to others, whose queue it must see while it grows.
const (
	tickEvery  = 200 * time.Millisecond
	yieldEvery = 50 * time.Millisecond
)

func tickOf(yields bool) time.Duration {
	if yields {
		return yieldEvery
	}
	return tickEvery
}

func cores() int { return runtime.GOMAXPROCS(0) }

// tick adjusts the window, watches for stalls, reports and pings.
func (s *Source) tick(ctx context.Context) {
	every := tickEvery
	t := time.NewTicker(every)
	defer t.Stop()
	var w watcher
	rate := float64(0) // bytes per second confirmed, smoothed
	lastBytes, lastAt := int64(0), time.Now()
	second := time.Now()
	for {
		select {
		case <-t.C:
		case <-s.nudge:
			s.pace(time.Now())
			continue
		case <-ctx.Done():
			return
		}
		now := time.Now()
		c := s.snapshot()
		r := float64(c.Verified-lastBytes) / now.Sub(lastAt).Seconds()
		lastBytes, lastAt = c.Verified, now
		rate = max(r, 0.7*rate+0.3*r)
		s.flow.look(now, s.streams.carriers())
		rtt := s.pathRTT()
		// Two round trips of data: one under way, one for the confirmation to
		// come back and for the rate to grow.
		s.sched.setWindow(baseWindow + int64(2*rate*rtt.Seconds()) + roomForMany(c.Streams))
		s.watchStalls(now)
		yields := s.isPriority(Background)
		if yields { // which has few streams, and looks for no faster way
			s.forgo(now, "the job gives way to others now")
		} else {
			s.choose(now, c)
		}
		s.steer(now, c.Verified, c.LimitedBy, yields)
		if s.retuneMode() != retuneOn && !yields {
			s.tuneCC(now, int64(r))
		}
		s.pace(now)
		if want := tickOf(yields); want != every {
			every = want
			t.Reset(every)
		}
		if now.Sub(second) >= time.Second {
			s.everySecond(now, now.Sub(second), &w)
			second = now
		}
	}
}

// fewStreams is how many streams are never short of data with a window of baseWindow,
// and streamRoom what each further one needs: a block that it sends, and one that is
// not confirmed yet.
const (
	fewStreams = 32
	streamRoom = 2 * DefaultBlock
)

// roomForMany is by how much the window is larger for many streams, in bytes.
func roomForMany(streams int) int64 { return int64(max(0, streams-fewStreams)) * streamRoom }

// pathRTT is the least round trip seen on the path of the data.
func (s *Source) pathRTT() time.Duration {
	var least time.Duration
	for _, ss := range s.streams.list() {
		if st := ss.st.Stats(); st.MinRTT > 0 && (least == 0 || st.MinRTT < least) {
			least = st.MinRTT
		}
	}
	if least == 0 {
		s.mu.Lock()
		least = s.rtt
		s.mu.Unlock()
	}
	return least
}

// errStalled ends a stream on which nothing is confirmed any more.
var errStalled = errors.New("nothing confirmed for too long")

// watchStalls replaces streams on which nothing moves.
func (s *Source) watchStalls(now time.Time) {
	for _, ss := range s.streams.list() {
		if s.sched.idle(ss.id) || ss.waiting.Load() {
			ss.moved.Store(now.UnixNano())
			continue
		}
		if now.Sub(time.Unix(0, ss.moved.Load())) > s.opts.stall() {
			s.streamDead(ss, errStalled)
		}
	}
}

// peerOf is the other end's address of a stream, "" where there is none.
func peerOf(st transports.Stats) string {
	if !st.Remote.IsValid() {
		return ""
	}
	return st.Remote.String()
}

// everySecond says how it goes, to the sink and to those who listen.
func (s *Source) everySecond(now time.Time, span time.Duration, w *watcher) {
	s.warnOfStreams()
	r := s.report(now)
	for _, ss := range s.streams.list() {
		st, bytes := ss.seen, ss.bytes.Load()
		r.PerStr = append(r.PerStr, wire.StreamReport{Stream: ss.id, Peer: peerOf(st), Bytes: bytes, RTT: int64(st.RTT), Retrans: st.Retrans, Cwnd: st.Cwnd})
		s.emit(events.ProgressStream{Stream: ss.id, Peer: peerOf(st), RateBps: int64(float64(bytes-ss.shown) / span.Seconds()),
			RTTms: msOf(st.RTT), Retrans: st.Retrans, CwndBytes: st.Cwnd})
		ss.shown = bytes
	}
	s.mu.Lock()
	far := s.far
	ping := s.pinged.IsZero()
	if ping {
		s.pinged = now
	}
	s.mu.Unlock()
	s.followDepth(w.far.Depth, far.Depth)
	r.By, r.Detail = w.look(s, &r, &far)
	if w.source != nil {
		if c, ok := s.depth.look(s.opts.Retune, now.Sub(s.start), span, r.Sent, w.source); ok {
			s.tellDepth("readers", c)
		}
	}
	if b, err := wire.AppendJSON(nil, wire.KindReport, r); err == nil {
		if err := s.link.Send(b); err != nil {
			s.fail(lost(err))
		}
	}
	if ping {
		if err := s.link.Send([]byte{byte(wire.KindPing)}); err != nil {
			s.fail(lost(err))
		}
	}
	s.update(func(t *Totals) {
		t.LimitedBy, t.LimitDetail = r.By, r.Detail
		t.Retrans = max(t.Retrans, r.Retrans)
		t.Path = pathOf(&r)
	})
}

// pathOf is what a source's report tells of the path.
func pathOf(r *wire.Report) Path {
	rtt, least := time.Duration(r.RTT), time.Duration(r.MinRTT)
	return Path{RTT: rtt, MinRTT: least, Losses: r.Losses, Segs: r.Segs, Again: r.Again, Saturated: rtt > 0 && saturated(rtt, least)}
}

// silence is after how many seconds without a report a sink is taken for silent, and
// unheard the same for a source. Both report every second.
const (
	silence = 2
	unheard = 2500 * time.Millisecond
)

// watcher names what holds a source's job back, from the reports of both ends. It
// belongs to the ticker.
type watcher struct {
	own, far wire.Report // of the looks before
	acked    int64       // before, as in flow
	source   *end        // as of the last look; nil: not known
	missing  int         // looks since the sink's latest came
	sink     *end        // as the sink's last two reports tell; nil: not yet
	opinion  opinion
}

// look takes the latest reports.
func (w *watcher) look(s *Source, own, far *wire.Report) (by, detail string) {
	source, ok := between(&w.own, own)
	w.source = nil
	if ok {
		w.source = &source
	}
	w.missing++
	if far.Span != w.far.Span {
		w.missing = 0
		w.sink = nil
		if e, ok := between(&w.far, far); ok {
			w.sink = &e
		}
		w.far = *far
	}
	packed, sent := own.Packed-w.own.Packed, own.Sent-w.own.Sent
	w.own = *own
	if !ok {
		return w.opinion.take("", "")
	}
	wanted, underway := s.sched.load()
	m := moment{wanted: wanted > 0, underway: underway > 0, small: packed > sent/2, silent: w.missing >= silence, dead: s.flow.unacked && s.flow.acked == w.acked}
	w.acked = s.flow.acked
	s.mu.Lock()
	m.verdicts = len(s.pending) > maxOutstanding/2
	s.mu.Unlock()
	if sent == 0 {
		c := s.snapshot()
		m.small = c.Files > 0 && c.Bytes/c.Files <= smallFile
	}
	return w.opinion.take(limitedBy(&source, w.sink, &m))
}
