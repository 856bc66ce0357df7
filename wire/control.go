package wire

import "fmt"

// Class says whose trouble an error is and so what may be done; it is what the
// program's exit code is made from. The numbers are fixed.
type Class = byte

// The classes.
const (
	ClassNone      Class = 0
	ClassUsage     Class = 1  // the request makes no sense at this end
	ClassSource    Class = 2  // source missing or unreadable
	ClassDest      Class = 3  // destination refuses: permission, read-only, exists
	ClassSpace     Class = 4  // no space, inodes or quota
	ClassIntegrity Class = 5  // content does not fit its hash
	ClassChanged   Class = 6  // the source changed while it was read
	ClassBusy      Class = 7  // another gomover is at it
	ClassNoPath    Class = 8  // no permitted data path
	ClassLost      Class = 9  // the connection is gone; the same again may work
	ClassProtocol  Class = 10 // the other end broke the rules
	ClassInternal  Class = 11 // a fault of ours
	ClassStopped   Class = 12 // ended on request
	ClassVersion   Class = 13 // the other end speaks another version
	ClassTime      Class = 14 // the time limit was reached
	ClassReplica   Class = 15 // replicas of a file differ, or none can be used
	ClassSlow      Class = 16 // slower than was asked for
)

// Fail is the body of KindFail: this end gives up.
type Fail struct {
	Class Class    `json:"class"`
	Text  string   `json:"text"`
	Hints []string `json:"hints,omitempty"`
}

// Error returns the text for people.
func (f *Fail) Error() string { return f.Text }

// Failf makes a Fail.
func Failf(c Class, format string, a ...any) *Fail {
	return &Fail{Class: c, Text: fmt.Sprintf(format, a...)}
}

// Warn is the body of KindWarn.
type Warn struct {
	Code string `json:"code"`
	Text string `json:"text"`
	Path []byte `json:"path,omitempty"`
}

// Streams is the body of KindStreams. The source says how many data streams
// there should be; the sink, asked to dial, dials what is missing and answers
// with Error when it can't. With a Way, a word of --transport, they are to be made
// that way from now on.
type Streams struct {
	Count int    `json:"count"`
	Way   string `json:"way,omitempty"`
	Open  bool   `json:"open,omitempty"` // the sink: the Way is open
	Error string `json:"error,omitempty"`
}

// Report is the body of KindReport: one end's counters since its start, sent
// about once a second, for the other end's view of what limits the transfer.
// Times are nanoseconds summed over streams.
type Report struct {
	Span     int64          `json:"span"`      // since the end's start
	Streams  int            `json:"streams"`   // open now
	Disk     int64          `json:"disk"`      // reading or writing files
	Network  int64          `json:"network"`   // waiting for the network
	Idle     int64          `json:"idle"`      // waiting for work, or for confirmation
	Compute  int64          `json:"compute"`   // all else: hashing, sealing, copying
	CPU      int64          `json:"cpu"`       // processor time of the whole process
	Cores    int            `json:"cores"`     // processors it may use
	Sent     int64          `json:"sent"`      // payload bytes sent, repeats included
	Retrans  int64          `json:"retrans"`   // segments sent again by the network
	RTT      int64          `json:"rtt"`       // smoothed, least of the streams
	RwndWait int64          `json:"rwnd_wait"` // limited by the receiver's window
	BufWait  int64          `json:"buf_wait"`  // limited by the send buffer
	Limited  int64          `json:"limited"`   // waiting for the limit of the rate
	Held     int64          `json:"held"`      // waiting for other destinations of the job
	Sync     int64          `json:"sync"`      // at a sink: syncing files, beside its streams
	Delay    int64          `json:"delay"`     // threads were ready and waited for a processor
	Periods  int64          `json:"periods"`   // of a quota of processor time
	UsedUp   int64          `json:"used_up"`   // of these, in which it was used up
	Packed   int64          `json:"packed"`    // of Sent, of small files
	Losses   int64          `json:"losses"`    // episodes of loss
	Again    int64          `json:"again"`     // as Retrans, of streams that are gone, too
	Segs     int64          `json:"segs"`      // segments sent
	MinRTT   int64          `json:"min_rtt"`   // least of the streams
	Depth    int            `json:"depth"`     // of a sink: what each stream writes at a time; 0: not told
	By       string         `json:"by"`        // of a source: what the job is limited by
	Detail   string         `json:"detail"`    // of By
	PerStr   []StreamReport `json:"per_stream,omitempty"`
}

// StreamReport is one stream's part of Report.
type StreamReport struct {
	Stream  uint32 `json:"stream"`
	Peer    string `json:"peer"`
	Bytes   int64  `json:"bytes"`
	RTT     int64  `json:"rtt"`
	Retrans int64  `json:"retrans"`
	Cwnd    int64  `json:"cwnd"`
}
