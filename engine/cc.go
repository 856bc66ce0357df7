package engine

import (
	"slices"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/tuner"
)

// tuneStream gives a new stream the congestion control that was asked for, or
// that the job has come to by now.
func (s *Source) tuneStream(st transports.Stream) {
	s.mu.Lock()
	cc := s.cc
	s.mu.Unlock()
	if s.opts.CC != "" {
		cc = s.opts.CC
	}
	if cc == "" {
		return
	}
	// A refusal leaves the system's default, which works.
	if err := st.Retune(transports.Settings{CC: cc}); err != nil && s.opts.CC != "" {
		s.tellRefused(st.Stats().CC, err)
	}
}

// resume tells a stream that has just begun what the path carries: that it was tried
// for so much, or that the last job came to it.
func (s *Source) resume(st transports.Stream) {
	s.streams.mu.Lock()
	seen := s.streams.seen
	s.streams.mu.Unlock()
	if seen == 0 {
		seen = tuner.Initial(s.facts(st.Stats())).Rate
	}
	if seen >= 1 && seen < 1e12 {
		_ = st.Retune(transports.Settings{SeenRate: int64(seen)}) // refused, it begins as any other
	}
}

// tuneCC moves all streams to another congestion control, and to as many streams as
// suit it, when their losses say that it is better.
func (s *Source) tuneCC(now time.Time, rate int64) {
	sample := tuner.CCSample{At: now.Sub(s.start), Rate: rate}
	var sum time.Duration
	list := s.streams.list()
	for _, ss := range list {
		st := ss.st.Stats()
		if st.Transport == "udt" { // its control was chosen when it began
			return
		}
		sum += st.RTT
		if sample.MinRTT == 0 || (st.MinRTT > 0 && st.MinRTT < sample.MinRTT) {
			sample.MinRTT = st.MinRTT
		}
		sample.Retrans += st.Retrans
		sample.CC = st.CC
	}
	if len(list) == 0 || sample.CC == "" {
		return
	}
	s.mu.Lock()
	if s.sysCC == "" {
		s.sysCC = sample.CC
	}
	own := s.sysCC
	s.mu.Unlock()
	if sample.CC != "bbr" && (s.opts.CC != "" || !slices.Contains(s.paths.CCs, "bbr")) {
		return
	}
	sample.RTT = sum / time.Duration(len(list))
	sample.Streams = len(list)
	sample.Full = s.flow.full
	c, change := s.ccPolicy.Step(sample)
	if !change {
		return
	}
	if c.Streams > 0 {
		s.rescale(&c, rate)
	}
	c.CC = orElse(c.CC, own)
	if c.CC == sample.CC {
		return
	}
	s.mu.Lock()
	s.cc = c.CC
	s.mu.Unlock()
	for _, ss := range list {
		s.tuneStream(ss.st)
	}
	s.replan(len(list), c.CC, sample.MinRTT, c.Reason)
}

// rescale makes the streams as many as a change wants, within what is allowed, if their
// number is the program's to choose.
func (s *Source) rescale(c *tuner.CCChange, rate int64) {
	was := s.streams.goal()
	if s.opts.Retune != retuneAuto || was == 0 {
		return
	}
	n, b := c.Streams, s.streamBounds()
	if b[1] > 0 {
		n = min(n, b[1])
	}
	if n = max(n, b[0]); n == was {
		return
	}
	s.SetStreams(n)
	s.emit(events.Tune{ID: s.tuneID(), What: "streams", From: int64(was), To: int64(n), BeforeBps: rate, Reason: c.Reason})
}

// replan says that streams over TCP have another congestion control from now on.
func (s *Source) replan(streams int, cc string, rtt time.Duration, reason string) {
	s.emit(events.Plan{Transport: "tcp", Streams: streams, WindowBytes: int64(s.paths.Window), BlockBytes: s.opts.BlockSizeFor(0), CC: cc, RTTms: msOf(rtt), Encrypt: s.paths.Seal.String(), Reason: reason})
}

// last is what the last job on the path ended with.
func (s *Source) last() tuner.Last {
	o := &s.opts
	return tuner.Last{Streams: min(max(0, o.LastStreams), maxStreams), CC: o.LastCC, RTT: time.Duration(o.LastRTTms * float64(time.Millisecond)), Rate: o.LastRate}
}

// seedCC gives all streams the congestion control that the last job ended with, if it
// is one that may be chosen here, and returns it; "": none.
func (s *Source) seedCC(cc string) string {
	if s.opts.CC != "" || !slices.Contains(s.paths.CCs, cc) {
		return ""
	}
	s.mu.Lock()
	s.cc = cc
	s.mu.Unlock()
	for _, ss := range s.streams.list() {
		s.tuneStream(ss.st)
	}
	return cc
}
