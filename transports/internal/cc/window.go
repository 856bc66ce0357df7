package cc

import (
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Constants of controllers that steer by a window.
const (
	initialWindow = 10   // packets; RFC 6928
	lowWindow     = 2    // packets; of ssthresh, RFC 5681, equation 4, and after a timeout
	noThreshold   = 1e12 // packets; slow start until a loss
	// Pacing spreads a window over a round trip; a bit faster, so that the
	// window decides, and twice as fast while it doubles. Source: as Linux does.
	paceSlowStart = 2.0
	paceAvoidance = 1.2
)

// window is what controllers that steer by a window have in common: slow start,
// one cut for all losses of a round trip, a pace, and timeouts. Source: RFC 5681
// and 6582, with losses told by the transport instead of by duplicates.
type window struct {
	Ignore
	cwnd, ssthresh float64 // packets
	limit          float64 // packets; the peer's
	cutUntil       int64   // losses of packets before this position are cut for already
	timeouts       int     // since the last acknowledgement
	mss            int
	rtt            time.Duration // smoothed
	gentle         bool          // slow start ends early by HyStart++
	hystart        hystart
}

func (w *window) Init(s *Stats) {
	w.cwnd, w.ssthresh = initialWindow, noThreshold
	w.cutUntil, w.timeouts = 0, 0
	w.hystart.restart(s)
	w.learn(s)
}

// learn notes what Control needs, and keeps the window within bounds.
func (w *window) learn(s *Stats) {
	w.mss, w.rtt = s.MSS, s.RTT
	w.limit = windowLimit(s)
	w.cwnd = clamp(w.cwnd, 1, w.limit)
	w.ssthresh = clamp(w.ssthresh, lowWindow, noThreshold)
}

// growth gives the packets of an acknowledgement that may let the window grow:
// none while losses are being repaired, or while less is sent than the window
// allows (RFC 9002, section 7.8), or if the acknowledgement told nothing new.
func (w *window) growth(s *Stats, a *Ack) float64 {
	if a.Packets <= 0 {
		return 0
	}
	w.timeouts = 0
	used := float64(max(0, s.InFlight)) + float64(a.Packets)
	if s.Acked < w.cutUntil || s.AppLimited || 2*used < w.cwnd {
		return 0
	}
	return float64(a.Packets)
}

// slowStart grows the window by delivered packets up to ssthresh, and gives what
// is left of them.
func (w *window) slowStart(s *Stats, a *Ack, packets float64) float64 {
	if w.cwnd >= w.ssthresh {
		return packets
	}
	divisor := 1.0
	if w.gentle {
		if divisor = w.hystart.round(s, a); divisor == 0 {
			w.ssthresh = w.cwnd
			return packets
		}
	}
	grow := min(packets/divisor, w.ssthresh-w.cwnd)
	w.cwnd += grow
	return max(0, packets-grow*divisor)
}

// fresh tells whether a loss asks for a cut of its own, and notes that it has
// had it.
func (w *window) fresh(s *Stats, l *Loss) bool {
	if len(l.Ranges) == 0 || l.Last() < w.cutUntil {
		return false
	}
	w.cutUntil = max(s.Sent, l.Last()+1)
	return true
}

// cut shrinks the window to a share of it and leaves slow start.
func (w *window) cut(share float64) {
	w.ssthresh = max(w.cwnd*share, lowWindow)
	w.cwnd = w.ssthresh
}

// collapse is the answer to a timeout: slow start again, up to a share of the
// window. Repeated timeouts keep ssthresh (RFC 5681, section 3.1).
func (w *window) collapse(s *Stats, share float64) {
	if w.timeouts == 0 {
		w.ssthresh = max(w.cwnd*share, lowWindow)
	}
	w.timeouts = min(w.timeouts+1, 1<<20)
	w.cwnd = lowWindow
	w.cutUntil = s.Sent
	w.hystart.restart(s)
}

func (w *window) Control() Control {
	gain := paceAvoidance
	if w.cwnd < w.ssthresh {
		gain = paceSlowStart
	}
	c := Control{Window: w.cwnd}
	if w.rtt > 0 {
		c.Rate = paceOf(gain * w.cwnd * float64(w.mss) / w.rtt.Seconds())
	}
	return c
}

// windowLimit is the largest sensible window: the peer's.
func windowLimit(s *Stats) float64 {
	if s.MaxWindow <= 0 {
		return MaxWindow
	}
	return min(float64(s.MaxWindow), MaxWindow)
}

// clamp bounds a value, which becomes low if it is not a number.
func clamp(v, low, high float64) float64 {
	if !(v >= low) {
		return low
	}
	return min(v, high)
}

// paceOf gives a rate in bytes per second within the bounds of Control.
func paceOf(rate float64) units.Rate {
	return units.Rate(clamp(rate, float64(MinRate), float64(MaxRate)))
}
