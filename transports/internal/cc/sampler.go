package cc

import "time"

// Sampler measures the delivery rate of a connection, for its transport to hand
// to a controller. Source: draft-cheng-iccrg-delivery-rate-estimation-02.
//
// The rate of a packet is what was delivered between the last delivery before
// its sending and its own delivery, by that time, or by the time in which as
// much was sent if that is longer. So neither bursts of packets nor of
// acknowledgements make it higher than what the path did.
//
// The zero value is ready. Concurrency: one goroutine at a time.
type Sampler struct {
	delivered   int64         // bytes
	deliveredAt time.Duration // of the last delivery
	firstSentAt time.Duration // sending of the packet last delivered
	limitedTill int64         // delivered bytes at which app-limited packets are gone
	late        int64         // bytes of delivered that no rate counts
	best        Mark          // of the packet of this acknowledgement that was sent last
	has         bool
}

// Mark is what is to be kept with a packet, or with a burst sent at one instant,
// until it is delivered or sent again. It is opaque, and 48 bytes.
type Mark struct {
	delivered, late                  int64
	deliveredAt, firstSentAt, sentAt time.Duration
	limited                          bool
}

// Sent gives the mark of a packet sent now, also for one sent again. inFlight is
// the number of packets in flight before it.
func (p *Sampler) Sent(now time.Duration, inFlight int) Mark {
	if inFlight <= 0 {
		p.firstSentAt, p.deliveredAt = now, now
	}
	return Mark{p.delivered, p.late, p.deliveredAt, p.firstSentAt, now, p.limitedTill > 0}
}

// Starved tells that there is room to send, but nothing to send. inFlight is in
// bytes.
func (p *Sampler) Starved(inFlight int64) {
	p.limitedTill = max(p.delivered+inFlight, 1)
}

// Deliver tells that a packet has been delivered, with the mark of its last
// sending. Call it once for each packet of an acknowledgement, or once for each
// burst with its bytes, then Sample.
func (p *Sampler) Deliver(now time.Duration, m Mark, bytes int) {
	p.delivered += int64(bytes)
	p.deliveredAt = now
	if p.limitedTill > 0 && p.delivered > p.limitedTill {
		p.limitedTill = 0
	}
	// Of packets sent at one state of delivery the one sent last tells most.
	if !p.has || m.delivered > p.best.delivered || m.delivered == p.best.delivered && m.sentAt > p.best.sentAt {
		p.best, p.has = m, true
		p.firstSentAt = m.sentAt
	}
}

// DeliverLate tells that a packet was delivered some time ago, which was not
// known. Many of these at once would look like a rate that the path never had.
func (p *Sampler) DeliverLate(bytes int) {
	p.delivered += int64(bytes)
	p.late += int64(bytes)
}

// Delivered is the bytes delivered so far, which is Stats.Delivered.
func (p *Sampler) Delivered() int64 { return p.delivered }

// Sample ends an acknowledgement and gives its sample. Rate is 0 if nothing was
// delivered, or in less than minRTT, which no packet can do (0 is unknown).
func (p *Sampler) Sample(minRTT time.Duration) Delivery {
	if !p.has {
		return Delivery{}
	}
	m := p.best
	p.best, p.has = Mark{}, false
	d := Delivery{Prior: m.delivered, AppLimited: m.limited}
	span := max(p.deliveredAt-m.deliveredAt, m.sentAt-m.firstSentAt)
	if span > 0 && span >= minRTT {
		d.Rate = float64(p.delivered-m.delivered-(p.late-m.late)) / span.Seconds()
	}
	return d
}
