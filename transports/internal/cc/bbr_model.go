package cc

import "time"

// bbrModel is what a BBR knows of its path.
type bbrModel struct {
	rates    [bbrRateRounds]float64 // highest of each of the last round trips, bytes per second
	extra    [bbrRateRounds]float64 // most that came at once beyond the rate, bytes
	index    int
	roundEnd int64 // bytes delivered that end the round trip
	minRTT   time.Duration
	minRTTAt time.Duration
	// Of acknowledgements that come in lumps.
	lumpAt    time.Duration
	lumpBytes float64
}

// learn updates the filters of rate and lumps, and tells whether a round trip
// has ended. Rates of a sender with too little to send count if they are higher;
// as they prove nothing else, their round trips make it forget nothing (the filter
// of Linux's BBR expires with what enters it, too).
func (m *bbrModel) learn(s *Stats, a *Ack) (round bool) {
	d := a.Delivery
	if d.Rate > 0 && d.Prior >= m.roundEnd {
		round = true
		m.roundEnd = s.Delivered
		if !d.AppLimited {
			m.index = (m.index + 1) % bbrRateRounds
			m.rates[m.index], m.extra[m.index] = 0, 0
		}
	}
	if d.Rate > 0 && d.Rate <= float64(MaxRate) && (!d.AppLimited || d.Rate > m.rate()) {
		m.rates[m.index] = max(m.rates[m.index], d.Rate)
	}
	m.aggregate(s, a)
	return round
}

// aggregate measures how much is acknowledged at once beyond the rate: where
// acknowledgements are rare the window must be as much larger (section 5.6.5 of
// the draft, version 02).
func (m *bbrModel) aggregate(s *Stats, a *Ack) {
	bytes := float64(a.Packets) * float64(max(s.MSS, 1))
	rate := m.rate()
	expected := rate * max(0, s.Now-m.lumpAt).Seconds()
	if m.lumpBytes <= expected {
		m.lumpAt, m.lumpBytes, expected = s.Now, 0, 0
	}
	m.lumpBytes += bytes
	extra := min(m.lumpBytes-expected, rate*max(m.minRTT, bbrLumpTime).Seconds())
	m.extra[m.index] = max(m.extra[m.index], extra)
}

// rate is the estimated rate of the path, in bytes per second.
func (m *bbrModel) rate() float64 { return highestOf(m.rates[:]) }

// lumps is how much comes at once, in bytes.
func (m *bbrModel) lumps() float64 { return highestOf(m.extra[:]) }

// learnRTT updates the lowest RTT, and tells whether it was old.
func (m *bbrModel) learnRTT(now, rtt time.Duration) (old bool) {
	old = m.minRTT > 0 && now > m.minRTTAt+bbrMinRTTAge
	if rtt > 0 && (m.minRTT == 0 || rtt <= m.minRTT || old) {
		m.minRTT, m.minRTTAt = rtt, now
	}
	return old
}

func highestOf(l []float64) float64 {
	high := 0.0
	for _, v := range l {
		high = max(high, v)
	}
	return high
}

// bbrLosses is what a BBR makes of losses.
type bbrLosses struct {
	gaps, before int     // lost ranges in this round trip, and in the one before
	sent, lost   int64   // at the end of the last round trip
	share        float64 // lost in the last round trip
	gain         float64 // of the window

	// Of a longer look.
	rounds             int
	manySent, manyLost int64
	low                time.Duration // lowest RTT
}

// round ends a round trip.
func (b *bbrLosses) round(s *Stats, minRTT time.Duration) {
	sent, lost := s.Sent+s.Resent-b.sent, s.Lost-b.lost
	b.sent, b.lost = s.Sent+s.Resent, s.Lost
	b.before, b.gaps = b.gaps, 0
	if sent <= 0 || lost < 0 {
		return
	}
	b.share = min(1, float64(lost)/float64(sent))
	b.rounds, b.manySent, b.manyLost = b.rounds+1, b.manySent+sent, b.manyLost+lost
	if b.rounds >= bbrLookRounds {
		b.judge(minRTT)
	}
}

// judge sets the gain of the window after a look, which covers all phases of a
// cycle. A flow alone empties the queue once in a cycle; a queue that stands is
// of several flows, and all of them see it.
func (b *bbrLosses) judge(minRTT time.Duration) {
	stands := float64(b.low) > bbrStanding*float64(minRTT)
	if stands && float64(b.manyLost) > bbrCongested*float64(b.manySent) {
		b.gain = bbrSmallGain
	} else {
		b.gain = bbrCwndGain
	}
	b.rounds, b.manySent, b.manyLost, b.low = 0, 0, 0, 0
}
