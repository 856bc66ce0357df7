package netsim

import (
	"fmt"
	"slices"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Flow is a modelled TCP connection: a sender, a receiver, and their segments,
// which share the links of a world with everything else. The bytes themselves
// do not exist.
//
// What is lost is found by the order of sending: a segment is lost when three
// that were sent later have arrived, or one a whole RTT and an eighth later
// (RFC 9002, section 6.1). Without reordering that marks what RFC 6675 marks,
// and lost retransmissions besides. The number of three grows when it was
// wrong, as RFC 8985 does it.
type Flow struct {
	tcpFlow
	w     *World
	out   []*Hop // the way of segments
	back  []*Hop // the way of acknowledgements
	from  *Host
	to    *Host
	total int64 // segments to send; -1 is without end

	send    sender
	recv    receiver
	pacer   *Timer // when the next segment may be sent, or is there
	timeout *Timer
	delayed *Timer
	sampler *Timer
}

// AddFlow adds a flow between two hosts of the world.
//
// Errors: those of FlowConfig.Validate; a flow without end or rate over links
// that take no time, which would be busy for ever at one instant.
func (w *World) AddFlow(from, to *Host, c FlowConfig) (*Flow, error) {
	made, err := newTCPFlow(w.flowSeed(c.Name), c)
	if err != nil {
		return nil, err
	}
	if c.Bytes == 0 && c.Rate == 0 && instant(from.route(to)) && instant(to.route(from)) {
		return nil, fmt.Errorf("adding flow %s: it has neither end nor rate, and its links no delay and no rate", c.Name)
	}
	f := &Flow{tcpFlow: made, w: w, from: from, to: to, out: from.route(to), back: to.route(from), total: -1}
	if c.Bytes > 0 {
		mss := int64(f.config.MSS)
		f.total = (c.Bytes + mss - 1) / mss
	}
	f.send.init()
	f.pacer = w.NewTimer(f.transmit)
	f.timeout = w.NewTimer(f.timedOut)
	f.delayed = w.NewTimer(f.acknowledge)
	f.pacer.Reset(c.Start)
	f.send.programAt = max(c.Start, w.now)
	if c.Sample > 0 {
		f.sampler = w.NewTimer(f.sample)
		f.sampler.Reset(max(c.Start, w.now) + c.Sample)
	}
	return f, nil
}

// instant tells whether packets pass all links of a route at once.
func instant(route []*Hop) bool {
	return !slices.ContainsFunc(route, func(h *Hop) bool { return h.link.params.Rate > 0 || h.link.params.Delay > 0 })
}

// Stats gives what the flow has done so far.
func (f *Flow) Stats() FlowStats {
	s, mss := f.stats, int64(f.config.MSS)
	s.Delivered = f.recv.cum * mss
	if f.total >= 0 && f.recv.cum == f.total {
		s.Delivered = f.config.Bytes
	}
	s.MinRTT, s.SRTT = f.send.minRTT, f.send.srtt
	s.Cwnd = int64(f.control.window()) * mss
	s.Inflight = f.send.inflight * mss
	return s
}

// Stop ends the flow at once; what is on its way arrives.
func (f *Flow) Stop() {
	f.stopped = true
	f.pacer.Stop()
	f.timeout.Stop()
	if f.sampler != nil {
		f.sampler.Stop()
	}
}

// SetRate changes what the program writes, in bytes per second; 0 is no limit.
// What it wrote before and was not sent is dropped.
func (f *Flow) SetRate(r units.Rate) {
	f.config.Rate = r
	f.send.programAt, f.send.programFrom = f.w.now, f.send.next
	f.transmit()
}

// SetWindow changes the limit of the buffers, in bytes; 0 is DefaultWindow.
func (f *Flow) SetWindow(bytes int64) {
	f.tcpFlow.SetWindow(bytes)
	f.transmit()
}

func (f *Flow) sample() {
	f.sampleAt(f.w.now, f.Stats())
	f.sampler.Reset(f.w.now + f.config.Sample)
}

// segment is what a packet of a flow carries besides its bytes.
type segment struct {
	ack  bool
	seq  int64         // number of the segment from 0; of an ack, that which is expected
	sent time.Duration // when the segment was sent; of an ack, what it answers (RFC 7323)
	sack [3]span       // of an ack: what arrived out of order (RFC 2018)
}

// arrive handles a segment that has crossed its links.
func (f *Flow) arrive(p *packet) {
	if f.w.capture != nil {
		f.w.capture.delivered(f.w, p)
	}
	if p.seg.ack {
		f.hear(&p.seg)
		return
	}
	f.receive(&p.seg)
}
