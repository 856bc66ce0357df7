package retune

// Class is what holds a transfer back, in the words of the event's limited_by.
type Class string

// What can hold a transfer back. The three kinds of network differ in what helps.
const (
	Unknown        Class = "unknown"
	Limit          Class = "bwlimit"
	SourceDisk     Class = "source disk"
	SourceCPU      Class = "source cpu"
	SmallFiles     Class = "too many small files"
	TargetDisk     Class = "target disk"
	TargetCPU      Class = "target cpu"
	ReceiverWindow Class = "receiver window"
	SendBuffer     Class = "send buffer"
	Saturated      Class = "network"
	Losing         Class = "network, losses"
	Growing        Class = "network, growing"
)

// LimitedBy is the class in the words that users read: they know one network, and
// a window is a window at either end.
func (c Class) LimitedBy() string {
	switch c {
	case SendBuffer:
		return string(ReceiverWindow)
	case Losing, Growing:
		return string(Saturated)
	}
	return string(c)
}

// AtEnd tells whether one of the ends is the limit, so that no number of streams
// makes the transfer faster.
func (c Class) AtEnd() bool {
	switch c {
	case SourceDisk, SourceCPU, SmallFiles, TargetDisk, TargetCPU:
		return true
	}
	return false
}

// Bounds of the tests. Ours, after Marlin (2023) for the ends, and after what
// Linux documents for its counters.
const (
	idleShare    = 0.3  // of the time, that a sender had nothing to send
	waitShare    = 0.3  // of the time, that a sender waited for the far end
	windowShare  = 0.5  // of the time, that makes a window the limit by itself
	busyShare    = 0.9  // of the time, that makes a worker the bottleneck
	hotCore      = 0.95 // load of one processor
	filesShare   = 0.5  // of the time spent on files rather than bytes
	queueFull    = 0.5  // share of round trips with a queue: the path is full
	queueEmpty   = 0.15 // share of round trips with a queue: it is not
	lossEvents   = 4    // episodes that are no chance
	lossSamples  = 3    // samples with any: a burst hits all streams at once
	belowBelief  = 0.93 // of what the path is believed to carry
	closeToLimit = 0.95 // of what the user allowed
)

// Context is what else a classification needs.
type Context struct {
	Limit  float64 // bytes per second that the user allowed; 0 is any
	Belief float64 // bytes per second that the path is believed to carry; 0: not known
}

// Classify tells what holds back a job that did what the record says. The ends
// come first, the network only when they have time left; the first test that
// holds wins.
func Classify(r Record, c Context) Class {
	busy, ends := r.Known.Has(KnownBusy), r.Known.Has(KnownEnds)
	idle := busy && ends && r.App > idleShare
	waits := busy && ends && r.Wnd > waitShare
	full := r.Known.Has(KnownRTT) && r.Queue > queueFull
	switch {
	case c.Limit > 0 && r.Rate > closeToLimit*c.Limit:
		return Limit
	case idle && r.Source.Files > filesShare:
		return SmallFiles
	case idle && r.Source.Disk > busyShare:
		return SourceDisk
	case idle && hot(r.Source):
		return SourceCPU
	case waits && r.Sink.Disk > busyShare:
		return TargetDisk
	case waits && hot(r.Sink):
		return TargetCPU
	case busy && r.Wnd > windowShare:
		return ReceiverWindow
	case busy && r.Snd > windowShare:
		return SendBuffer
	case full:
		return Saturated
	case r.Known.Has(KnownLoss) && r.Stray >= lossEvents && r.Bad >= lossSamples && 2*r.Stray > r.Events && (c.Belief == 0 || r.Rate < belowBelief*c.Belief):
		return Losing
	case r.Rising:
		return Growing
	}
	return Unknown
}

// hot tells whether an end's processors are the limit: its own work, all that it
// may use, or one processor that a single stream depends on.
func hot(e End) bool { return e.CPU > busyShare || e.Own > busyShare || e.Core > hotCore }

// limiter keeps a class until another one has won two times of three, so that one
// odd period does not change what is done.
type limiter struct {
	last [3]Class
	held Class
}

func (l *limiter) step(c Class) Class {
	l.last[0], l.last[1], l.last[2] = l.last[1], l.last[2], c
	if l.held == "" || l.last[0] == c || l.last[1] == c {
		l.held = c
	}
	return l.held
}

// clear forgets what was, after a change of settings.
func (l *limiter) clear() { *l = limiter{} }
