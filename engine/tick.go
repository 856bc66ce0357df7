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

func cores() int { return runtime.GOMAXPROCS(0) }

// tick adjusts the window, watches for stalls, reports and pings.
func (s *Source) tick(ctx context.Context) {
	t := time.NewTicker(200 * time.Millisecond)
	defer t.Stop()
	var last mark
	rate := float64(0) // bytes per second confirmed, smoothed
	lastBytes, lastAt := int64(0), time.Now()
	second := time.Now()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		c := s.snapshot()
		r := float64(c.Verified-lastBytes) / now.Sub(lastAt).Seconds()
		lastBytes, lastAt = c.Verified, now
		rate = max(r, 0.7*rate+0.3*r)
		rtt := s.pathRTT()
		// Two round trips of data: one under way, one for the confirmation to
		// come back and for the rate to grow.
		s.sched.setWindow(baseWindow + int64(2*rate*rtt.Seconds()))
		s.watchStalls(now)
		if s.opts.Retune != "" {
			s.retune(now, c.Verified, c.LimitedBy)
		}
		if s.opts.Retune != retuneOn {
			s.tuneCC(now, int64(r))
		}
		if now.Sub(second) >= time.Second {
			last = s.everySecond(now, now.Sub(second), last)
			second = now
		}
	}
}

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
		if s.sched.idle(ss.id) {
			ss.moved.Store(now.UnixNano())
			continue
		}
		if now.Sub(time.Unix(0, ss.moved.Load())) > s.opts.stall() {
			s.streamDead(ss, errStalled)
		}
	}
}

// mark is what the counters were a second ago.
type mark struct {
	idle, disk, limited, net, rwnd int64
	cpu                            int64
	far                            wire.Report
}

// peerOf is the other end's address of a stream, "" where there is none.
func peerOf(st transports.Stats) string {
	if !st.Remote.IsValid() {
		return ""
	}
	return st.Remote.String()
}

func (s *Source) everySecond(now time.Time, span time.Duration, last mark) mark {
	s.warnOfStreams()
	r := wire.Report{Span: int64(now.Sub(s.start)), Disk: s.work.disk.Load(), Idle: s.work.idle.Load() + s.work.limited.Load(),
		CPU: processCPU(), Cores: cores(), Sent: s.work.sent.Load()}
	for _, ss := range s.streams.list() {
		st := ss.st.Stats()
		r.Streams++
		r.Network += int64(st.SendBlocked)
		r.Retrans += st.Retrans
		r.RwndWait += int64(st.RwndLimited)
		bytes := ss.bytes.Load()
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
	m := mark{idle: s.work.idle.Load(), disk: r.Disk, limited: s.work.limited.Load(), net: r.Network, rwnd: r.RwndWait, cpu: r.CPU, far: far}
	by := s.limitedBy(span, r.Streams, m, last)
	retrans := r.Retrans
	s.update(func(t *Totals) { t.LimitedBy = by; t.Retrans = max(t.Retrans, retrans) })
	return m
}

// limitedBy names what held the transfer back in the last span, from what the
// streams of both ends spent their time on.
func (s *Source) limitedBy(span time.Duration, streams int, m, last mark) string {
	if streams == 0 {
		if s.streams.inbandRuns() {
			return "network"
		}
		return "unknown"
	}
	all := float64(span) * float64(streams)
	share := func(now, before int64) float64 { return float64(now-before) / all }
	wanted, underway := s.sched.load()
	switch {
	case share(m.limited, last.limited) > 0.3:
		return "bwlimit"
	case wanted == 0 && underway < baseWindow/4 && share(m.idle, last.idle) > 0.5:
		s.mu.Lock()
		waiting := len(s.pending)
		s.mu.Unlock()
		if waiting > maxOutstanding/2 {
			return "target disk"
		}
		return "too many small files"
	}
	full := share(m.idle, last.idle)
	if net := share(m.net, last.net); net+full > 0.5 {
		if far, ok := farLimit(m.far, last.far); ok {
			return far
		}
		if share(m.rwnd, last.rwnd) > 0.3 {
			return "receiver window"
		}
		if float64(m.cpu-last.cpu) > 0.85*float64(span)*float64(cores()) {
			return "source cpu"
		}
		return "network"
	}
	if share(m.disk, last.disk) > 0.4 {
		return "source disk"
	}
	return "source cpu"
}

// farLimit tells from two reports of the sink whether it is what holds back.
func farLimit(now, last wire.Report) (string, bool) {
	span := float64(now.Span - last.Span)
	if span <= 0 || now.Streams == 0 {
		return "", false
	}
	all := span * float64(now.Streams)
	disk, net := float64(now.Disk-last.Disk)/all, float64(now.Network-last.Network)/all
	switch {
	case net > 0.5:
		return "", false // it waits for data itself
	case disk > 0.4:
		return "target disk", true
	case float64(now.CPU-last.CPU) > 0.8*span*float64(max(1, now.Cores)) || net < 0.2:
		return "target cpu", true
	}
	return "", false
}

func (x *streamSet) inbandRuns() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.running
}
