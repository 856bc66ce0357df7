package cc

import "time"

// Constants of HyStart++; RFC 9406, section 4.3.
const (
	hystartMinRise   = 4 * time.Millisecond
	hystartMaxRise   = 16 * time.Millisecond
	hystartRiseShare = 8
	hystartSamples   = 8 // packets whose RTT is known, before a round is judged
	cssGrowth        = 4 // slow start is so much slower in doubt
	cssRounds        = 5 // of doubt, before slow start ends
)

// hystart ends slow start before the queue of the path overflows: when the RTT
// of a round is clearly higher than that of the round before, growth becomes
// slower for some rounds, and ends if the RTT stays. Source: RFC 9406.
type hystart struct {
	end       int64 // position that ends the round
	last, now time.Duration
	baseline  time.Duration // lowest RTT before the doubt; 0 is no doubt
	samples   int
	rounds    int // of doubt
}

func (h *hystart) restart(s *Stats) { *h = hystart{end: s.Sent} }

// round learns from an acknowledgement and gives the divisor of growth; 0 is the
// end of slow start.
func (h *hystart) round(s *Stats, a *Ack) float64 {
	if s.Acked > h.end {
		h.end = s.Sent
		h.last, h.now, h.samples = h.now, 0, 0
		if h.baseline > 0 {
			h.rounds++
		}
	}
	if a.RTT > 0 {
		h.samples += max(1, a.Packets) // one acknowledgement may speak for many
		if h.now == 0 || a.RTT < h.now {
			h.now = a.RTT
		}
	}
	if h.samples >= hystartSamples {
		h.judge()
	}
	switch {
	case h.baseline == 0:
		return 1
	case h.rounds >= cssRounds:
		return 0
	}
	return cssGrowth
}

// judge compares the RTT of this round with that of the one before.
func (h *hystart) judge() {
	if h.baseline > 0 {
		if h.now < h.baseline { // the rise was of other making
			h.baseline, h.rounds = 0, 0
		}
		return
	}
	if h.last == 0 || h.now == 0 {
		return
	}
	rise := min(max(h.last/hystartRiseShare, hystartMinRise), hystartMaxRise)
	if h.now >= h.last+rise {
		h.baseline, h.rounds = h.now, 0
	}
}
