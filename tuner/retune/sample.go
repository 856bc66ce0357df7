package retune

import "time"

// Sample is what a job did in one short interval, at the end that sends. A caller
// fills in what it knows: the fields of a group count only when Known has the
// group, and a policy gets along with any of them missing.
type Sample struct {
	// At is the end of the interval, since the job's start, and Span its length.
	// At rises from one sample to the next.
	At, Span time.Duration
	// Acked is the payload in bytes that the other ends' transports acknowledged
	// in the interval, all streams together. Never what was written: that only
	// fills buffers.
	Acked int64
	// Streams is how many streams carried data.
	Streams int
	// Known says which of the groups below were measured.
	Known Known

	// RTT is the smoothed round trip, the mean over the streams, and MinRTT the
	// least that any of them has ever seen. Group KnownRTT.
	RTT, MinRTT time.Duration
	// Cwnd is the mean congestion window of a stream in bytes. Group KnownRTT.
	Cwnd int64

	// Segs is how many segments were sent, Lost how many of them again, less
	// those that were found needless; Events in how many episodes of recovery,
	// at most one a stream and round trip. A sender that cannot tell episodes
	// apart counts intervals of a round trip in which a stream lost anything.
	// Group KnownLoss.
	Segs, Lost, Events int64

	// Wnd and Snd are the shares of the time, while there was something to send,
	// that a stream waited for the receiver's window and for its own send
	// buffer; App is the share of the whole interval in which it had nothing to
	// send. Means over the streams, 0 to 1. Group KnownBusy.
	Wnd, Snd, App float64

	// Source and Sink are how hard the two ends worked. Group KnownEnds.
	Source, Sink End
}

// End is how hard one end worked in an interval: shares of the interval, 0 to 1.
type End struct {
	// Disk is the share of its workers' time that went into reading or writing
	// files, CPU into hashing and sealing. Core is the load of the busiest
	// processor, Own the share of the processors it may use that the process
	// used.
	Disk, CPU, Core, Own float64
	// Files is the share of the time that went into opening, naming and
	// finishing files instead of their bytes.
	Files float64
}

// Known is a set of groups of a sample's fields.
type Known uint8

// The groups of fields, and all of them.
const (
	KnownRTT Known = 1 << iota
	KnownLoss
	KnownBusy
	KnownEnds
	KnownAll = KnownRTT | KnownLoss | KnownBusy | KnownEnds
)

// Has tells whether all of the groups are in the set.
func (k Known) Has(groups Known) bool { return k&groups == groups }

// Valid tells whether a sample can be used: it took time, no count is negative,
// and time has passed since the last one, which ended at last. Counters of a
// kernel that start again show as negative counts.
func (s *Sample) Valid(last time.Duration) bool {
	return s.Span > 0 && s.At > last && s.Acked >= 0 && s.Streams > 0 && s.Segs >= 0 && s.Lost >= 0 && s.Events >= 0 && s.RTT >= 0 && s.MinRTT >= 0
}
