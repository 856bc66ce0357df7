package netsim

import (
	"fmt"
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

// tcpFlow is what a [Flow] of segments and a [FluidFlow] have in common: the
// settings, the congestion control, and the records.
type tcpFlow struct {
	config  FlowConfig
	control control
	news    ack // for the control; kept here so that none is allocated
	stopped bool

	stats   FlowStats
	samples []Sample
	before  FlowStats // at the last sample
}

// newTCPFlow makes one whose randomness follows from seed.
//
// Errors: those of FlowConfig.Validate.
func newTCPFlow(seed uint64, c FlowConfig) (tcpFlow, error) {
	if err := c.Validate(); err != nil {
		return tcpFlow{}, fmt.Errorf("adding a flow: %w", err)
	}
	c.setDefaults()
	return tcpFlow{config: c, control: newControl(c.Control, seed)}, nil
}

// flowSeed is the source of what is random in a flow.
func (w *World) flowSeed(name string) uint64 { return SeedFor(w.seed, "flow "+name) }

// Name gives the flow's name.
func (f *tcpFlow) Name() string { return f.config.Name }

// Samples gives the samples so far. The slice is the flow's.
func (f *tcpFlow) Samples() []Sample { return f.samples }

// Done reports whether all bytes were acknowledged, or the flow was stopped.
func (f *tcpFlow) Done() bool { return f.stopped }

// SetWindow changes the limit of the buffers, in bytes; 0 is DefaultWindow.
func (f *tcpFlow) SetWindow(bytes int64) { f.config.setWindow(bytes) }

// sampleAt takes a sample at an instant, at which the flow stands as s says.
func (f *tcpFlow) sampleAt(now time.Duration, s FlowStats) {
	f.samples = append(f.samples, Sample{
		At:            now,
		Goodput:       units.Rate(float64(s.Delivered-f.before.Delivered) / f.config.Sample.Seconds()),
		Lost:          s.Lost - f.before.Lost,
		Retransmitted: s.Retransmitted - f.before.Retransmitted,
		RTT:           s.SRTT,
		Cwnd:          s.Cwnd,
	})
	f.before = s
}

// through tells the program that all its bytes are.
func (f *tcpFlow) through() {
	if f.config.Done != nil {
		f.config.Done()
	}
}
