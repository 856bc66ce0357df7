package tuner

import (
	"fmt"
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
// The zero value is ready; it belongs to one goroutine.
type CCPolicy struct {
	last     CCSample
	any      bool
	hits     int
	switched time.Duration // when bbr was chosen; 0: not
	before   float64       // mean rate before
	after    mean
	recent   mean
	settled  bool
}

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

// Step takes the next sample. change tells that the streams shall be given
// congestion control cc now ("" for the system's own), and reason why.
func (p *CCPolicy) Step(s CCSample) (cc, reason string, change bool) {
	last := p.last
	p.last = s
	if !p.any {
		p.any = true
		return "", "", false
	}
	lost := s.Retrans - last.Retrans
	switch {
	case p.settled:
	case p.switched > 0:
		return p.judge(s)
	case s.MinRTT < farRTT || s.RTT == 0:
		// So near that a loss is made good before it is felt.
	case lost > 0 && float64(s.RTT) < emptyQueue*float64(s.MinRTT):
		if p.hits++; p.hits >= lossHits {
			p.switched, p.before = s.At, p.recent.value()
			return "bbr", fmt.Sprintf("segments are lost while the queue is empty (rtt %.3g ms of at least %.3g): random loss, which bbr does not slow down for", ms(s.RTT), ms(s.MinRTT)), true
		}
	}
	p.recent.add(s.Rate)
	return "", "", false
}

// judge undoes the change when it has made things worse.
func (p *CCPolicy) judge(s CCSample) (cc, reason string, change bool) {
	since := s.At - p.switched
	if since < ccRamp {
		return "", "", false
	}
	p.after.add(s.Rate)
	if since < ccRamp+ccTrial {
		return "", "", false
	}
	p.settled = true
	if got := p.after.value(); got < ccWorse*p.before {
		return "", fmt.Sprintf("bbr brought %.0f MB/s after %.0f: back to the system's own", got/1e6, p.before/1e6), true
	}
	return "", "", false
}
