package netsim

import (
	"math"
	"time"
)

// Constants of loss detection and timeouts. Sources: RFC 9002, section 6.1 (the
// thresholds); RFC 6298 and Linux (the RTO).
const (
	lossThreshold    = 3 // transmissions
	maxLossThreshold = 300
	flowMinRTO       = 200 * time.Millisecond
	flowFirstRTO     = time.Second
	flowMaxRTO       = time.Minute
)

// sendState is what the sender knows of a segment.
type sendState uint8

const (
	segOnWay sendState = iota
	segArrived
	segMissing // taken for lost, to be sent again
)

// sentSegment is a segment that was sent and is not yet acknowledged in order.
type sentSegment struct {
	at           time.Duration // when it was sent last
	transmission int64         // its number in the order of sending
	prior        int64         // the transmission before, if sent again; else -1
	state        sendState
	appLimited   bool
	// How the delivery stood when it was sent; see rateSample.
	delivered   int64
	deliveredAt time.Duration
	firstAt     time.Duration
}

// flight is an entry of the list of transmissions in the order of sending.
type flight struct{ seq, transmission int64 }

// sender is the sending end of a flow. Segments and transmissions are numbered
// from 0.
type sender struct {
	una, next     int64 // first one not acknowledged in order, first one not sent
	segments      []sentSegment
	sacked        spans
	flights       ring[flight]
	repair        ring[int64] // what to send again
	transmissions int64
	newest        int64 // highest transmission that has arrived
	threshold     int64 // of loss detection
	inflight      int64
	recovery      int64 // first transmission after the last reduction
	recovering    bool

	srtt, rttvar, minRTT time.Duration
	backoff              uint
	paceAt               time.Duration // when the next segment may be sent

	delivered   int64 // segments that have arrived, in any order
	deliveredAt time.Duration
	firstAt     time.Duration
	roundEnd    int64 // a round is over when what was sent now is delivered
	appLimited  int64 // delivered count up to which the program was the limit
	full        bool  // the window was full since the last acknowledgement

	programAt   time.Duration // since when the program writes at its rate
	programFrom int64         // and from which segment on
}

func (s *sender) init() {
	s.segments = make([]sentSegment, 64)
	s.threshold, s.newest, s.recovery = lossThreshold, -1, -1
}

func (s *sender) at(seq int64) *sentSegment {
	return &s.segments[seq&int64(len(s.segments)-1)]
}

// transmit sends what may be sent.
func (f *Flow) transmit() {
	s := &f.send
	for !f.stopped {
		if float64(s.inflight) >= math.Floor(f.control.window()) {
			s.full = true
			return
		}
		seq, again := f.nextSegment()
		if seq < 0 {
			return
		}
		if !f.paced() {
			return
		}
		if again {
			s.repair.pop()
			f.stats.Retransmitted++
		}
		f.emit(seq, again)
	}
}

// nextSegment gives the segment that is to be sent next, or -1.
func (f *Flow) nextSegment() (seq int64, again bool) {
	s := &f.send
	for s.repair.len() > 0 {
		seq = s.repair.front()
		if seq >= s.una && s.at(seq).state == segMissing {
			return seq, true
		}
		s.repair.pop()
	}
	switch {
	case s.next == f.total:
		s.appLimited = s.delivered + s.inflight
		return -1, false
	case (s.next+1-s.una)*int64(f.config.MSS) > f.config.Window && s.next > s.una:
		s.appLimited = s.delivered + s.inflight
		return -1, false
	case f.config.Rate > 0:
		need := time.Duration(float64((s.next+1-s.programFrom)*int64(f.config.MSS)) / float64(f.config.Rate) * 1e9)
		if at := s.programAt + need; at > f.w.now {
			s.appLimited = s.delivered + s.inflight
			f.pacer.Reset(at)
			return -1, false
		}
	}
	return s.next, false
}

// paced reports whether the pace allows a segment now, and sets the pacer if it
// does not.
func (f *Flow) paced() bool {
	s := &f.send
	pace := f.control.pace()
	if pace == 0 {
		return true
	}
	if s.paceAt > f.w.now {
		f.pacer.Reset(s.paceAt)
		return false
	}
	s.paceAt = max(s.paceAt, f.w.now-time.Millisecond) + time.Duration(1e9/pace)
	return true
}

// emit sends a segment.
func (f *Flow) emit(seq int64, again bool) {
	s, now := &f.send, f.w.now
	if !again {
		if s.next-s.una == int64(len(s.segments)) {
			s.grow()
		}
		s.next++
	}
	if s.inflight == 0 {
		s.firstAt, s.deliveredAt = now, now
	}
	e := s.at(seq)
	prior := int64(-1)
	if again {
		prior = e.transmission
	}
	*e = sentSegment{at: now, transmission: s.transmissions, prior: prior, delivered: s.delivered,
		deliveredAt: s.deliveredAt, firstAt: s.firstAt, appLimited: s.delivered < s.appLimited}
	s.flights.push(flight{seq, s.transmissions})
	s.transmissions++
	s.inflight++
	f.stats.Segments++
	if _, set := f.timeout.Deadline(); !set {
		f.timeout.Reset(now + s.rto())
	}
	p := f.w.obtain()
	p.flow, p.from, p.to, p.route = f, f.from, f.to, f.out
	p.size = f.config.MSS + f.config.Header
	if seq == f.total-1 {
		p.size -= int(f.total*int64(f.config.MSS) - f.config.Bytes)
	}
	p.seg = segment{seq: seq, sent: now}
	f.w.send(p)
}

func (s *sender) grow() {
	old := s.segments
	s.segments = make([]sentSegment, 2*len(old))
	for seq := s.una; seq < s.next; seq++ {
		*s.at(seq) = old[seq&int64(len(old)-1)]
	}
}

// hear handles an acknowledgement.
func (f *Flow) hear(g *segment) {
	s := &f.send
	if f.stopped || g.seq < s.una || g.seq > s.next {
		return
	}
	rtt := f.w.now - g.sent
	s.measure(rtt)
	r := rateSample{delivered: s.delivered, at: f.w.now, newest: -1}
	advanced := g.seq > s.una
	for seq := s.una; seq < g.seq; seq++ {
		s.deliver(seq, &r)
	}
	s.una = g.seq
	s.sacked.dropBelow(s.una)
	for _, b := range g.sack {
		if b.to > s.una && b.to <= s.next {
			s.deliverSpan(span{max(b.from, s.una), b.to}, &r)
		}
	}
	f.detect()
	if s.recovering && s.newest >= s.recovery {
		s.recovering = false
	}
	a := &f.news
	*a = ack{now: f.w.now, segments: float64(s.delivered - r.delivered), rtt: rtt, srtt: s.srtt, rate: r.rate(s),
		inflight: float64(s.inflight), recovering: s.recovering, appLimited: r.appLimited, limited: s.full}
	if r.newest >= 0 && r.prior >= s.roundEnd {
		a.round, s.roundEnd = true, s.delivered
	}
	f.control.acked(a)
	s.full = false
	if advanced {
		s.backoff = 0
	}
	switch {
	case s.una == f.total:
		f.Stop()
		f.through()
		return
	case s.inflight == 0 && s.repair.len() == 0:
		f.timeout.Stop()
	case a.segments > 0:
		f.timeout.Reset(f.w.now + s.rto())
	}
	f.transmit()
}

// deliverSpan notes what is new of a range that was reported as arrived.
func (s *sender) deliverSpan(b span, r *rateSample) {
	at := b.from
	for i := s.sacked.find(b.from); at < b.to; i++ {
		gap := b.to
		if i < len(s.sacked) {
			gap = min(gap, s.sacked[i].from)
		}
		for ; at < gap; at++ {
			s.deliver(at, r)
		}
		if i >= len(s.sacked) {
			break
		}
		at = max(at, s.sacked[i].to)
	}
	s.sacked.add(b)
}

// deliver notes that a segment has arrived.
func (s *sender) deliver(seq int64, r *rateSample) {
	e := s.at(seq)
	if e.state == segArrived {
		return
	}
	transmission := e.transmission
	switch {
	case e.state == segOnWay:
		s.inflight--
		if e.prior >= 0 && r.at-e.at < s.minRTT/2 {
			// It was not lost, only late: what arrived is the one before.
			transmission = e.prior
			s.threshold = min(max(s.threshold, s.newest-e.prior+1), maxLossThreshold)
		}
	case e.state == segMissing:
		s.threshold = min(max(s.threshold, s.newest-e.transmission+1), maxLossThreshold)
	}
	e.state = segArrived
	s.delivered++
	s.deliveredAt = r.at
	s.newest = max(s.newest, transmission)
	r.take(e)
}

// detect marks what is lost, in the order of sending, and tells the congestion
// control once per round trip.
func (f *Flow) detect() {
	s := &f.send
	late := s.srtt + s.srtt/8
	for s.flights.len() > 0 {
		l := s.flights.front()
		e := s.at(l.seq)
		if l.seq >= s.una && e.transmission == l.transmission && e.state == segOnWay {
			if l.transmission > s.newest-s.threshold && (l.transmission >= s.newest || f.w.now-e.at < late) {
				return
			}
			f.lose(l.seq, e)
		}
		s.flights.pop()
	}
}

// lose marks a segment as lost.
func (f *Flow) lose(seq int64, e *sentSegment) {
	s := &f.send
	e.state = segMissing
	s.repair.push(seq)
	s.inflight--
	f.stats.Lost++
	if e.transmission >= s.recovery {
		f.stats.Cuts++
		s.recovering, s.recovery = true, s.transmissions
		f.control.lost(f.w.now, float64(s.inflight+1))
	}
}

// timedOut takes everything on the way for lost and begins anew.
func (f *Flow) timedOut() {
	s := &f.send
	f.stats.Timeouts++
	f.control.timedOut(f.w.now, float64(s.inflight))
	for s.flights.len() > 0 {
		l := s.flights.front()
		if e := s.at(l.seq); l.seq >= s.una && e.transmission == l.transmission && e.state == segOnWay {
			e.state = segMissing
			s.repair.push(l.seq)
			s.inflight--
			f.stats.Lost++
		}
		s.flights.pop()
	}
	s.recovering, s.recovery = false, s.transmissions
	s.backoff = min(s.backoff+1, 8)
	f.timeout.Reset(f.w.now + s.rto())
	f.transmit()
}

// measure takes a round-trip time into the averages (RFC 6298, section 2).
func (s *sender) measure(rtt time.Duration) {
	if s.srtt == 0 {
		s.srtt, s.rttvar, s.minRTT = rtt, rtt/2, rtt
		return
	}
	s.minRTT = min(s.minRTT, rtt)
	s.rttvar += (max(s.srtt-rtt, rtt-s.srtt) - s.rttvar) / 4
	s.srtt += (rtt - s.srtt) / 8
}

func (s *sender) rto() time.Duration {
	rto := flowFirstRTO
	if s.srtt > 0 {
		rto = max(s.srtt+4*s.rttvar, flowMinRTO)
	}
	return min(rto<<s.backoff, flowMaxRTO)
}

// rateSample estimates the rate of delivery over the round trip of the segment
// that was sent last (draft-cheng-iccrg-delivery-rate-estimation-00).
type rateSample struct {
	at           time.Duration // of the acknowledgement
	delivered    int64         // before it
	newest       int64         // transmission of that segment; -1 is none
	prior        int64         // delivered, when it was sent
	priorAt      time.Duration
	sendInterval time.Duration
	appLimited   bool
	sentAt       time.Duration
}

func (r *rateSample) take(e *sentSegment) {
	if e.transmission <= r.newest {
		return
	}
	r.newest, r.prior, r.priorAt = e.transmission, e.delivered, e.deliveredAt
	r.sendInterval, r.appLimited, r.sentAt = e.at-e.firstAt, e.appLimited, e.at
}

// rate gives segments per second; 0 if there is nothing to tell it from.
func (r *rateSample) rate(s *sender) float64 {
	if r.newest < 0 {
		return 0
	}
	s.firstAt = r.sentAt
	interval := max(r.sendInterval, r.at-r.priorAt)
	if interval < s.minRTT || interval <= 0 {
		return 0
	}
	return float64(s.delivered-r.prior) / interval.Seconds()
}
