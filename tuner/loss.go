package tuner

import (
	"fmt"
	"math"
	"time"
)

// CCSample is what all streams of a job looked like over a short interval, some
// hundred milliseconds.
type CCSample struct {
	At      time.Duration // since the job's start, at the interval's end
	RTT     time.Duration // smoothed, mean over the streams
	MinRTT  time.Duration // least ever seen on any of them
	Retrans int64         // segments sent again since the start, all streams
	Rate    int64         // bytes per second confirmed in the interval
	CC      string        // congestion control of the streams
	Streams int
	// Full is the share of the interval, 0 to 1, in which all that fits into a stream's
	// send buffer was under way; mean over the streams.
	Full float64
}

// CCChange is what a CCPolicy wants to be changed.
type CCChange struct {
	CC      string // of all streams from now on; "": the system's own
	Streams int    // how many there shall be; 0: as many as there are
	Reason  string // for people
}

// CCPolicy decides when streams leave the system's congestion control for bbr.
//
// A control that takes every loss for a full queue, as Reno and CUBIC do, falls
// far below the link's rate when packets get lost at random, while bbr does not
// mind; where losses do come from a full queue, several bbr streams push each
// other into far more of them: a third of all segments sent again, at about the
// same rate (docs/performance.md). The round trip tells
// which it is: with a full queue it is long, and a loss while the queue is empty
// is none of congestion's. The rule of Biaz and Vaidya ("Is the round-trip time
// correlated with the number of packets in flight?", 2003) in its simplest form.
//
// Several streams of bbr probe against each other, each for the most that it has seen,
// and overflow the queue together. On paths of some hundred Mbit/s a few find the same
// rate and lose far less, on faster ones as many lose no more. So once the rate is known
// streams that it does not need go one after the other, as long as much is lost; and
// they are doubled while their send buffers, and no queue, hold them back.
//
// The zero value is ready; it belongs to one goroutine.
type CCPolicy struct {
	last     CCSample
	any      bool
	hits     int
	switched time.Duration // when bbr was chosen; 0: not
	before   float64       // mean rate before
	full     int           // samples in a row in which buffers held the streams back
	widened  time.Duration // when there were more streams for that last
	wide     int           // how many
	first    time.Duration // when streams of bbr were seen first; 0: not yet
	seen     mean          // rates since the last look at what is lost
	seenAt   time.Duration
	again    int64 // Retrans then
	after    mean
	recent   mean
	settled  bool
}

// segment is the payload in bytes of a TCP segment on most paths.
const segment = 1448

// Constants of ours.
const (
	// emptyQueue is the round trip, as a multiple of the least, below which the
	// queue counts as empty.
	emptyQueue = 1.2
	// lossHits is in how many intervals there must be such losses: one may be
	// the tail of a burst.
	lossHits = 2
	// ccRamp is how long a changed stream gets to find its rate, ccTrial how
	// long it is measured after that.
	ccRamp  = 2 * time.Second
	ccTrial = 3 * time.Second
	// ccWorse is the share of the rate before below which the change is undone.
	ccWorse = 0.8
	// bbrStreams is how many streams of bbr any far path may have, and bbrEach the rate
	// in bytes per second for which there may be a further one. Of 200 Mbit/s and 100 ms
	// twelve streams lost 15 to 43% of what they sent and four 6 to 25%, at the same rate;
	// of 1 Gbit/s twelve lost 8 to 16% and four 10 to 24% (docs/tuning.md).
	bbrStreams = 4
	bbrEach    = 8e6
	// bbrLoses is the share of segments sent again from which streams go. Every
	// narrowTrips round trips, a second at least, a quarter of them.
	bbrLoses    = 0.03
	narrowTrips = 10
	// bbrMost is how many there may become because of their buffers.
	bbrMost = 64
	// fullShare is the share of the time from which buffers hold streams back,
	// fullHits in how many intervals in a row.
	fullShare = 0.5
	fullHits  = 2
	// widenTrips is after how many round trips new streams have found their rate.
	widenTrips = 6
)

type mean struct {
	sum float64
	n   int
}

func (m *mean) add(v int64) { m.sum += float64(v); m.n++ }
func (m *mean) value() float64 {
	if m.n == 0 {
		return 0
	}
	return m.sum / float64(m.n)
}

// Step takes the next sample. ok tells that c shall be made true now.
func (p *CCPolicy) Step(s CCSample) (c CCChange, ok bool) {
	last := p.last
	p.last = s
	if !p.any {
		p.any = true
		return CCChange{}, false
	}
	if c, ok := p.rescale(s); ok {
		return c, true
	}
	lost := s.Retrans - last.Retrans
	switch {
	case p.settled:
	case p.switched > 0:
		return p.judge(s)
	case s.MinRTT < farRTT || s.RTT == 0 || s.CC == "bbr":
		// So near that a loss is made good before it is felt; or bbr from the start.
	case lost > 0 && s.emptyQueue():
		if p.hits++; p.hits >= lossHits {
			p.switched, p.before = s.At, p.recent.value()
			return CCChange{CC: "bbr", Reason: fmt.Sprintf("segments are lost while the queue is empty (rtt %.3g ms of at least %.3g): random loss, which bbr does not slow down for", ms(s.RTT), ms(s.MinRTT))}, true
		}
	}
	p.recent.add(s.Rate)
	return CCChange{}, false
}

// emptyQueue tells whether the round trip was about that of an empty queue.
func (s *CCSample) emptyQueue() bool { return float64(s.RTT) < emptyQueue*float64(s.MinRTT) }

// rescale finds another number of streams of bbr.
func (p *CCPolicy) rescale(s CCSample) (c CCChange, ok bool) {
	if s.CC != "bbr" || s.MinRTT < farRTT || s.RTT == 0 {
		p.first, p.wide = 0, 0
		return c, false
	}
	if p.first == 0 {
		p.first = s.At
	}
	if c, ok = p.widen(s); ok {
		return c, true
	}
	return p.narrow(s)
}

// widen doubles streams whose send buffers are all that holds them back.
func (p *CCPolicy) widen(s CCSample) (c CCChange, ok bool) {
	if s.Full < fullShare || !s.emptyQueue() || s.At-max(p.first, p.widened) < widenTrips*s.RTT {
		p.full = 0
		return c, false
	}
	if p.full++; p.full < fullHits || s.Streams >= bbrMost {
		return c, false
	}
	p.full, p.widened, p.wide = 0, s.At, min(2*s.Streams, bbrMost)
	return CCChange{CC: "bbr", Streams: p.wide, Reason: "each stream has as much under way as its send buffer holds"}, true
}

// narrow takes streams away that lose much and that the rate does not need.
func (p *CCPolicy) narrow(s CCSample) (c CCChange, ok bool) {
	if s.At-p.first < ccRamp+ccTrial {
		p.seen, p.seenAt, p.again = mean{}, s.At, s.Retrans
		return c, false
	}
	p.seen.add(s.Rate)
	span := s.At - p.seenAt
	if span < max(time.Second, narrowTrips*s.RTT) {
		return c, false
	}
	rate, again := p.seen.value(), float64(s.Retrans-p.again)*segment/span.Seconds()
	p.seen, p.seenAt, p.again = mean{}, s.At, s.Retrans
	least := max(bbrStreams, int(math.Ceil(rate/bbrEach)), p.wide)
	if rate <= 0 || again < bbrLoses*rate || s.Streams <= least {
		return c, false
	}
	return CCChange{CC: "bbr", Streams: max(least, s.Streams-max(1, s.Streams/4)),
		Reason: fmt.Sprintf("%.2g%% of segments are sent again: streams of bbr push each other into losses, and %d carry %.0f MB/s", 100*again/rate, least, rate/1e6)}, true
}

// judge undoes the change when it has made things worse.
func (p *CCPolicy) judge(s CCSample) (c CCChange, ok bool) {
	since := s.At - p.switched
	if since < ccRamp {
		return c, false
	}
	p.after.add(s.Rate)
	if since < ccRamp+ccTrial {
		return c, false
	}
	p.settled = true
	if got := p.after.value(); got < ccWorse*p.before {
		return CCChange{Reason: fmt.Sprintf("bbr brought %.0f MB/s after %.0f: back to the system's own", got/1e6, p.before/1e6)}, true
	}
	return c, false
}
