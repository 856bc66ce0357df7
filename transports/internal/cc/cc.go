package cc

import (
	"time"

	"github.com/gomover/gomover/internal/units"
)

// A Controller decides the sending of one end of one connection.
//
// Order of calls: Init once and first, Close once and last, the others as things
// happen. Control may be called at any time after Init, and is to be read again
// after every event; it changes nothing. Stats, Ack, Loss and their slices are
// lent for the call. What cannot be (time running backwards, more delivered than
// sent) must not make a controller panic, nor leave the bounds of Control.
//
// Concurrency: one goroutine at a time; methods do not block.
type Controller interface {
	// Init begins. RTT may be a guess, or that of an earlier connection.
	Init(s *Stats)
	// OnAck tells that packets were delivered, or that an acknowledgement told
	// nothing new (Ack.Duplicate).
	OnAck(s *Stats, a *Ack)
	// OnLoss tells of packets which are newly taken for lost. A packet sent
	// again and lost again is told again.
	OnLoss(s *Stats, l *Loss)
	// OnTimeout tells that nothing was heard for a whole RTO with packets on
	// the way.
	OnTimeout(s *Stats)
	// OnSent tells of data packets sent at one instant. Stats are as of after it.
	OnSent(s *Stats, p Packets)
	// OnReceived tells of data packets that arrived at this end, duplicates
	// included.
	OnReceived(s *Stats, p Packets)
	// OnCustom tells of a packet of the controller at the other end; see
	// Messenger. It is hostile input, lent for the call.
	OnCustom(s *Stats, body []byte)
	// Control is what the transport has to do until the next event.
	Control() Control
	// Close ends.
	Close(s *Stats)
}

// A Messenger is a controller that talks to the one at the other end. After
// every event the transport sends what Outgoing gives, unreliably and at once,
// until it gives nil. The slice belongs to the caller.
type Messenger interface {
	Controller
	Outgoing() []byte
}

// A Resumer is a controller that can begin with what is known of its path.
type Resumer interface {
	Controller
	// Resume tells that the path was seen to carry so much, in bytes per second, a
	// while ago or by other means. It may be wrong. Later than at the start it
	// changes nothing.
	Resume(s *Stats, rate units.Rate)
}

// Control is what a controller asks of its transport.
type Control struct {
	// Rate is the pace of sending, retransmissions included, in bytes per
	// second: 0 for no pace, else MinRate to MaxRate.
	Rate units.Rate
	// Window is how many packets may be in flight (Stats.InFlight), from 1 to
	// MaxWindow. The peer's buffer is a limit beside it, and on the span of
	// unacknowledged packets.
	Window float64
	// RTO replaces the transport's timeout; 0 leaves it to the transport.
	RTO time.Duration
	// AckPeriod is the longest time between acknowledgements that this end
	// sends; 0 leaves it to the transport. AckInterval is the number of packets
	// after which one is sent earlier; 0 is off. They serve the peer's control
	// only if both ends use the same one.
	AckPeriod   time.Duration
	AckInterval int
}

// Bounds of a Control. Ours: beyond any path, and far from what overflows.
const (
	MinRate   units.Rate = 100               // bytes per second
	MaxRate   units.Rate = 1_000_000_000_000 // bytes per second
	MaxWindow            = 1 << 26           // packets
	minRTO               = time.Millisecond
	maxRTO               = time.Minute
)

// Gap is the time from the sending of so many bytes to the next sending; 0 if
// there is no pace.
func (c Control) Gap(bytes int) time.Duration {
	if c.Rate <= 0 || bytes <= 0 {
		return 0
	}
	return time.Duration(float64(bytes) / float64(c.Rate) * float64(time.Second))
}

// Stats is how a connection stands at an event. Zero is "not known" where a
// value can be unknown.
type Stats struct {
	// Now is the time since any fixed instant; it does not run backwards.
	Now time.Duration
	// MSS is what a full packet counts, in bytes; constant from Init on.
	MSS int
	// MaxWindow is the most packets that the peer has ever said it can take beyond
	// what it has acknowledged; it may grow. That it takes fewer for a while is for
	// the transport to heed.
	MaxWindow int
	// Seed decides what is random in the controller. Read by Init only.
	Seed uint64

	// RTT is smoothed, RTTVar its mean deviation, MinRTT the lowest of the
	// connection's life.
	RTT, RTTVar, MinRTT time.Duration

	// ArrivalRate is the rate at which the peer receives, Capacity the
	// estimated rate of the narrowest link, both in packets per second, both as
	// reported by the peer and smoothed. Reports is how many reports they rest
	// on.
	ArrivalRate, Capacity float64
	Reports               int

	// Sent is the number of packets sent, repetitions excluded: the position of
	// the next new one. Acked is that of the first packet not acknowledged
	// in order.
	Sent, Acked int64
	// InFlight is the number of packets that were sent and are neither known to
	// have arrived nor taken for lost. Packets that arrived behind a gap do not
	// count if the transport knows of them, and it should: what lies before the
	// last reported gap and is in none has arrived. On a long path with random
	// losses it makes a third of the throughput of BBR.
	InFlight int
	// Delivered counts the bytes known to have arrived, behind gaps or not;
	// Lost the packets taken for lost, Resent those sent again.
	Delivered    int64
	Lost, Resent int64
	// LossList is what is lost and not yet delivered, ascending and disjoint.
	// May be cut at any length.
	LossList []Range
	// AppLimited: the last time there was room to send, there was nothing to
	// send; the window and the rate were not what held the sender back.
	AppLimited bool
}

// Range is packets by their positions, both inclusive.
type Range struct{ First, Last int64 }

// Len is the number of packets in the range; 0 if Last is before First.
func (r Range) Len() int64 { return max(0, r.Last-r.First+1) }

// Packets are packets that were sent or received at one instant.
type Packets struct {
	First int64 // position of the first one
	Count int
	Bytes int
	Again bool // sent before
}

// Ack is what one acknowledgement told.
type Ack struct {
	// Packets are newly delivered: those acknowledged in order or, if the
	// transport learns of it, behind a gap. Each packet counts once.
	Packets int
	// Duplicate: it told nothing new. Packets is 0 then.
	Duplicate bool
	// RTT is a sample of the round-trip time, not smoothed; 0 is none.
	RTT time.Duration
	// Delivery is a sample of the delivery rate; its Rate is 0 if there is none.
	Delivery Delivery
}

// Delivery is a sample of the rate at which packets were delivered, as a
// [Sampler] gives it.
type Delivery struct {
	// Rate is in bytes per second.
	Rate float64
	// Prior is Stats.Delivered when the packet was sent that the sample is about.
	Prior int64
	// AppLimited: the sender had too little to send to fill the path, so the
	// rate is a lower bound.
	AppLimited bool
}

// Loss is packets that are newly taken for lost.
type Loss struct {
	// Ranges are ascending, disjoint, and at least one.
	Ranges []Range
	// Packets is their number.
	Packets int
}

// First is the position of the first lost packet; 0 without any.
func (l *Loss) First() int64 {
	if len(l.Ranges) == 0 {
		return 0
	}
	return l.Ranges[0].First
}

// Last is the position of the last lost packet; 0 without any.
func (l *Loss) Last() int64 {
	if len(l.Ranges) == 0 {
		return 0
	}
	return l.Ranges[len(l.Ranges)-1].Last
}

// Ignore ignores the events that most controllers do not need; embed it.
type Ignore struct{}

// OnSent does nothing.
func (Ignore) OnSent(*Stats, Packets) {}

// OnReceived does nothing.
func (Ignore) OnReceived(*Stats, Packets) {}

// OnCustom does nothing.
func (Ignore) OnCustom(*Stats, []byte) {}

// Close does nothing.
func (Ignore) Close(*Stats) {}
