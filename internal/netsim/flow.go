package netsim

import (
	"fmt"
	"slices"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// FlowConfig says what a modelled TCP connection does.
type FlowConfig struct {
	// Name is for traces and is the source of the flow's seed; it must not be
	// empty.
	Name    string
	Control Control
	// MSS is what a segment carries, Header what the network adds, in bytes: if
	// both are 0, 1448 and 52, TCP over IPv4 with timestamps at an MTU of 1500.
	MSS, Header int
	// Window limits what is sent beyond what was acknowledged, in bytes, as the
	// smaller of the buffers at both ends does; 0 is DefaultWindow.
	Window int64
	// Rate is at most what the program writes, in bytes per second; 0 is no
	// limit. What could not be sent at once waits in memory.
	Rate units.Rate
	// Bytes is how much the program has to send; 0 is without end.
	Bytes int64
	// AckEvery is how many segments one acknowledgement speaks for when they
	// come in order, unless it is 40 ms late; 0 is 1, kernels use 2 or more.
	AckEvery int
	// Start is when the first segment is sent. The handshake is not modelled.
	Start time.Duration
	// Sample is the interval of samples; 0 takes none.
	Sample time.Duration
	// Done, if not nil, is called when the last byte was acknowledged.
	Done func()
}

// DefaultWindow is the window of a flow whose FlowConfig names none. Without
// one, a flow over links that have no rate would double its window for ever.
// Unit: bytes. Source: Linux, the last figure of net.ipv4.tcp_wmem, which is less
// than that of tcp_rmem.
const DefaultWindow = 4 << 20

// Defaults of a FlowConfig, in bytes.
const (
	defaultMSS    = 1448
	defaultHeader = 52
)

// Validate tells what is wrong with the settings.
func (c *FlowConfig) Validate() error {
	switch {
	case c.Name == "":
		return fmt.Errorf("flow has no name")
	case c.Control > BBR:
		return fmt.Errorf("flow %s: unknown congestion control %d", c.Name, c.Control)
	case c.MSS < 0 || c.Header < 0 || c.MSS == 0 && c.Header > 0 || c.MSS+c.Header > 1<<16:
		return fmt.Errorf("flow %s: segments of %d bytes with %d of headers", c.Name, c.MSS, c.Header)
	case c.Window < 0 || c.Rate < 0 || c.Bytes < 0 || c.AckEvery < 0 || c.Start < 0 || c.Sample < 0:
		return fmt.Errorf("flow %s: negative setting in %+v", c.Name, *c)
	case c.Start > EndOfTime || c.Sample > EndOfTime:
		return fmt.Errorf("flow %s: start %v or sample %v is behind the end of time, %v", c.Name, c.Start, c.Sample, EndOfTime)
	}
	return nil
}

func (c *FlowConfig) setDefaults() {
	if c.MSS == 0 {
		c.MSS, c.Header = defaultMSS, defaultHeader
	}
	c.setWindow(c.Window)
	c.AckEvery = max(c.AckEvery, 1)
}

func (c *FlowConfig) setWindow(bytes int64) {
	if c.Window = bytes; bytes <= 0 {
		c.Window = DefaultWindow
	}
}

// FlowStats tell what a flow has done since its start. Bytes are the program's,
// without headers.
type FlowStats struct {
	Delivered     int64 // bytes that arrived in order
	Segments      int64 // sent, retransmissions included
	Retransmitted int64 // segments sent again
	Lost          int64 // segments taken for lost, rightly or not
	Cuts          int64 // times that losses were reported to the congestion control
	Timeouts      int64 // times that the RTO passed
	MinRTT, SRTT  time.Duration
	Cwnd          int64 // bytes
	Inflight      int64 // bytes
}

// Sample is what a flow did in one interval, and how it stood at its end.
type Sample struct {
	At            time.Duration // end of the interval
	Goodput       units.Rate    // what arrived in order in it
	Lost          int64         // segments taken for lost in it
	Retransmitted int64         // segments sent again in it
	RTT           time.Duration // smoothed, at the end
	Cwnd          int64         // bytes, at the end
}

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
	w       *World
	config  FlowConfig
	name    string
	control control
	out     []*Hop // the way of segments
	back    []*Hop // the way of acknowledgements
	from    *Host
	to      *Host
	total   int64 // segments to send; -1 is without end

	send    sender
	recv    receiver
	news    ack    // for the control; kept here so that none is allocated
	pacer   *Timer // when the next segment may be sent, or is there
	timeout *Timer
	delayed *Timer
	sampler *Timer
	stopped bool

	stats   FlowStats
	samples []Sample
	before  FlowStats // at the last sample
}

// AddFlow adds a flow between two hosts of the world.
//
// Errors: those of FlowConfig.Validate; a flow without end or rate over links
// that take no time, which would be busy for ever at one instant.
func (w *World) AddFlow(from, to *Host, c FlowConfig) (*Flow, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("adding a flow: %w", err)
	}
	if c.Bytes == 0 && c.Rate == 0 && instant(from.route(to)) && instant(to.route(from)) {
		return nil, fmt.Errorf("adding flow %s: it has neither end nor rate, and its links no delay and no rate", c.Name)
	}
	c.setDefaults()
	f := &Flow{w: w, config: c, name: c.Name, from: from, to: to, out: from.route(to), back: to.route(from), total: -1}
	f.control = newControl(c.Control, SeedFor(w.seed, "flow "+c.Name))
	if c.Bytes > 0 {
		f.total = (c.Bytes + int64(c.MSS) - 1) / int64(c.MSS)
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

// Name gives the flow's name.
func (f *Flow) Name() string { return f.name }

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

// Samples gives the samples so far. The slice is the flow's.
func (f *Flow) Samples() []Sample { return f.samples }

// Done reports whether all bytes were acknowledged, or the flow was stopped.
func (f *Flow) Done() bool { return f.stopped }

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
	f.config.setWindow(bytes)
	f.transmit()
}

func (f *Flow) sample() {
	s := f.Stats()
	f.samples = append(f.samples, Sample{
		At:            f.w.now,
		Goodput:       units.Rate(float64(s.Delivered-f.before.Delivered) / f.config.Sample.Seconds()),
		Lost:          s.Lost - f.before.Lost,
		Retransmitted: s.Retransmitted - f.before.Retransmitted,
		RTT:           s.SRTT,
		Cwnd:          s.Cwnd,
	})
	f.before = s
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
