package engine

import (
	"fmt"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/tuner/choice"
	"github.com/gomover/gomover/wire"
)

// chooser looks out for a better way than the streams' present one, and tries it
// beside them. It belongs to the ticker.
type chooser struct {
	watch choice.Watch
	at    time.Time // of the last sample
	seen  map[uint32]lastSeen
	id    int  // of the last trial, as it was told
	moved bool // to another transport
}

// lastSeen is what a stream had done at the last sample.
type lastSeen struct {
	transports.Stats
	bytes int64
}

// newChooser returns nil where there is nothing to choose: within one process, or where
// there is no other way and the user has said how it shall be. With a congestion control
// that was asked for, TCP stays, and so does the control; only the number of its streams
// is open then.
func newChooser(o *Options, p *Paths) *chooser {
	spare := p.Spare != "" && o.CC == ""
	if p.Endpoint == nil || p.Local || !spare && o.Retune != retuneAuto {
		return nil
	}
	c := &chooser{watch: choice.Watch{Known: p.Known, Ends: choice.Ends{CCs: p.CCs}}}
	if spare {
		c.watch.Permitted = []string{p.Spare}
	}
	if o.CC != "" {
		c.watch.Ends.CCs = []string{o.CC}
	}
	return c
}

// pinned tells whether somebody has set the number of streams, which may change.
func (s *Source) pinned() bool {
	b := s.streamBounds()
	return b[0] > 0 && b[0] == b[1]
}

// choose takes a sample and does what the watch wants; t is the progress so far.
func (s *Source) choose(now time.Time, t Totals) {
	c := s.chooser
	if c == nil || s.retuneMode() == retuneOn {
		return
	}
	x := &s.streams
	x.mu.Lock()
	other, way, draining := x.other, x.way, x.draining
	x.mu.Unlock()
	if draining {
		return
	}
	if s.pinned() {
		s.forgo(now, "the number of streams is set")
		c.seen = nil // it begins anew when it is not set any more
		return
	}
	if c.moved && way == s.usual() {
		c.moved = false
		c.watch.Back(now.Sub(s.start))
	}
	v := c.sample(now, now.Sub(s.start), s.streams.list(), other)
	if wanted, _ := s.sched.load(); wanted == 0 {
		v.Held = true // the last bytes are no measure of the path
	}
	switch t.LimitedBy {
	case "", "unknown", "network", "receiver window":
	default:
		v.Held = true
	}
	if known := s.known.Swap(nil); known != nil {
		c.watch.Known = *known
	}
	if t.Listed {
		c.watch.Left = t.Bytes - t.DoneBytes
	}
	switch d := c.watch.Step(v); d.Action {
	case choice.Grow:
		if s.opts.Retune == retuneAuto {
			s.grown = true
			s.emit(events.Tune{ID: s.tuneID(), What: "streams", From: int64(v.Streams), To: int64(v.Streams), BeforeBps: int64(d.Before), Reason: d.Reason + ": looking for better settings from now on"})
		}
	case choice.Try:
		s.tryOther(d, v.Streams)
	case choice.Commit:
		c.moved = true
		s.moveOver(d, v.MinRTT)
	case choice.Close:
		s.closeOther(d, v.Streams)
	}
}

// forgo ends a trial that is under way, for a reason that is told.
func (s *Source) forgo(now time.Time, why string) {
	x := &s.streams
	x.mu.Lock()
	trying, streams := x.other != "", len(x.m)
	for _, ss := range x.m {
		if ss.way == x.other {
			streams--
		}
	}
	x.mu.Unlock()
	if trying {
		d := s.chooser.watch.Forgo(now.Sub(s.start))
		d.Reason = why
		s.closeOther(d, streams)
	}
}

// sample tells what the streams did since the last one. Those that are new since
// then are left out, but for whether there are some of the transport that is tried.
func (c *chooser) sample(now time.Time, at time.Duration, list []*sendStream, other string) choice.Sample {
	span := now.Sub(c.at)
	v := choice.Sample{At: at, Span: span}
	seen := make(map[uint32]lastSeen, len(list))
	var rtt time.Duration
	for _, ss := range list {
		if ss.stopped.Load() {
			continue
		}
		st := lastSeen{ss.st.Stats(), ss.bytes.Load()}
		last, known := c.seen[ss.id]
		seen[ss.id] = st
		if other != "" && ss.way == other {
			v.OtherStreams++
			v.Other += st.bytes - last.bytes
			continue
		}
		if !known {
			continue
		}
		v.Streams++
		v.CC = st.CC
		v.Acked += st.bytes - last.bytes
		v.Segs += (st.SentBytes - last.SentBytes) / segment
		v.Lost += max(0, st.Retrans-last.Retrans)
		v.Wnd += share(float64(st.RwndLimited-last.RwndLimited), span)
		rtt += st.RTT
		if st.MinRTT > 0 && (v.MinRTT == 0 || st.MinRTT < v.MinRTT) {
			v.MinRTT = st.MinRTT
		}
	}
	c.at, c.seen = now, seen
	if v.Streams > 0 {
		v.RTT = rtt / time.Duration(v.Streams)
		v.Wnd /= float64(v.Streams)
	}
	return v
}

// tryOther opens streams of another transport beside those that there are.
func (s *Source) tryOther(d choice.Decision, streams int) {
	x := &s.streams
	s.chooser.id = s.tuneID()
	s.emit(events.Tune{ID: s.chooser.id, What: "streams", From: int64(streams), To: int64(streams + d.Setting.Streams), BeforeBps: int64(d.Before),
		Reason: fmt.Sprintf("trying %s beside: %s", d.Setting.Transport, d.Reason)})
	err := s.paths.Endpoint.(transports.Switcher).Use(false)
	x.mu.Lock()
	x.other, x.otherStreams, x.otherErr = d.Setting.Transport, d.Setting.Streams, ""
	x.seen = d.Before / float64(max(1, d.Setting.Streams))
	if err != nil {
		x.otherErr = err.Error()
	}
	own, all := x.ownWay, len(x.m)+d.Setting.Streams
	x.mu.Unlock()
	if err != nil {
		return // the watch gives up when none comes
	}
	m := wire.Streams{Way: d.Setting.Transport}
	if !own {
		m.Count = all
	}
	s.sendStreams(m)
}

// otherOpen is called when the sink has opened the way that is to be tried.
func (s *Source) otherOpen(m wire.Streams) {
	x := &s.streams
	x.mu.Lock()
	switch {
	case x.other != m.Way:
	case m.Error != "":
		x.otherErr = m.Error
	case x.ownWay:
		x.otherDial, x.otherStreams = x.otherStreams, 0
	}
	x.mu.Unlock()
	x.poke()
}

// moveOver leaves the present streams for those that were tried. What is under way
// on them is still confirmed.
func (s *Source) moveOver(d choice.Decision, rtt time.Duration) {
	x := &s.streams
	x.mu.Lock()
	from := orElse(x.way, s.usual())
	x.way, x.other, x.target = d.Setting.Transport, "", d.Setting.Streams
	cc := ""
	var old []*sendStream
	for _, ss := range x.m {
		if ss.way != d.Setting.Transport {
			old = append(old, ss)
		} else {
			cc = ss.st.Stats().CC
		}
	}
	x.mu.Unlock()
	s.stopStreams(old)
	reason := d.Reason + " on the same path"
	s.emit(events.Transport{Dest: s.paths.Name, From: from, To: d.Setting.Transport, Reason: reason})
	s.emit(events.Plan{Transport: d.Setting.Transport, Streams: d.Setting.Streams, WindowBytes: int64(s.paths.Window), BlockBytes: s.opts.BlockSizeFor(0), CC: cc,
		RTTms: msOf(rtt), Encrypt: s.paths.Seal.String(), Reason: reason,
		Alternatives: []events.Alternative{{Transport: from, PredictedBps: int64(d.Before), Reason: "what it reached"}}})
	x.poke()
}

// closeOther closes the streams that were tried in vain.
func (s *Source) closeOther(d choice.Decision, streams int) {
	x := &s.streams
	x.mu.Lock()
	var tried []*sendStream
	for _, ss := range x.m {
		if ss.way == x.other {
			tried = append(tried, ss)
		}
	}
	if x.otherErr != "" {
		d.Reason += " (" + x.otherErr + ")"
	}
	x.other, x.seen = "", 0
	x.mu.Unlock()
	s.stopStreams(tried)
	_ = s.paths.Endpoint.(transports.Switcher).Use(true) // the usual way is always open
	s.sendStreams(wire.Streams{Way: s.usual()})
	s.emit(events.Tune{ID: s.chooser.id, What: "streams", From: int64(streams + len(tried)), To: int64(streams), BeforeBps: int64(d.Before), AfterBps: int64(d.After),
		Reason: fmt.Sprintf("%s is no better: %s", d.Setting.Transport, d.Reason)})
	x.poke()
}

// stopStreams lets streams finish what they carry; then they are closed.
func (s *Source) stopStreams(list []*sendStream) {
	for _, ss := range list {
		ss.stopped.Store(true)
		s.sched.stopStream(ss.id)
	}
}

// retuneMode is whether streams are retuned now: on when they were found to be held
// back, if the user leaves that to the program.
func (s *Source) retuneMode() string {
	switch {
	case s.opts.Retune != retuneAuto:
		return s.opts.Retune
	case s.grown:
		return retuneOn
	}
	return ""
}

// predictions are the ways that there are besides one, each with what it would reach
// as far as the path is known. cc is the congestion control of TCP.
func (s *Source) predictions(way string, rtt time.Duration, cc string) (l []events.Alternative) {
	ends := choice.Ends{CCs: withFirst(s.paths.CCs, cc), Cores: float64(cores())}
	path := s.paths.Known
	path.RTT = rtt
	var permitted []string
	if s.paths.Spare != "" {
		permitted = append(permitted, s.paths.Spare)
	}
	if !s.opts.NoInband {
		permitted = append(permitted, choice.SSH)
	}
	for _, p := range choice.Rank(path, ends, 0, permitted...) {
		if p.Transport == way {
			continue
		}
		a := events.Alternative{Transport: p.Transport, PredictedBps: int64(p.Rate), Reason: p.Why(path)}
		if p.By == choice.ByNetwork && path.Free == 0 || p.By == choice.ByCPU && p.Transport != choice.SSH {
			a.PredictedBps, a.Reason = 0, "tried when losses are seen to hold TCP back"
		}
		l = append(l, a)
	}
	return l
}

// withFirst is a list with a name first, once.
func withFirst(l []string, name string) []string {
	if name == "" {
		name = "cubic"
	}
	out := []string{name}
	for _, n := range l {
		if n != name {
			out = append(out, n)
		}
	}
	return out
}
