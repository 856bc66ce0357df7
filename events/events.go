// Package events says what can happen during a job, one struct for each kind.
// Whoever wants to know implements [Recorder]: the terminal view, the plain log
// and the JSON lines are recorders. Names and units are those of the JSON
// schema (docs/events.md): bytes, bytes per second, milliseconds.
package events

import "time"

// Event is one of the structs of this package.
type Event interface {
	// Name is the value of "ev" in the JSON form.
	Name() string
}

// A Recorder takes events. Record is fast, never blocks for long, and may be
// called by any goroutine. t is when it happened.
type Recorder interface {
	Record(t time.Time, e Event)
}

// Probe is what was measured of one direction of a path.
type Probe struct {
	From         string   `json:"from"`
	To           string   `json:"to"`
	RTTms        float64  `json:"rtt_ms"` // median, both ways together
	RTTMinMs     float64  `json:"rtt_min_ms"`
	RTTP95Ms     float64  `json:"rtt_p95_ms"`
	ConnectMs    float64  `json:"connect_ms"` // of a TCP handshake
	Loss         float64  `json:"loss"`       // of echoes, both ways together
	LossLow      float64  `json:"loss_low"`
	LossHigh     float64  `json:"loss_high"`
	Reordered    float64  `json:"reordered"` // share of echoes
	CapacityBps  int64    `json:"capacity_bps"`
	CapacityIs   string   `json:"capacity_is"` // measured, at least, unusable
	AvailableBps int64    `json:"available_bps"`
	AvailableIs  string   `json:"available_is"`
	Class        string   `json:"class,omitempty"` // Ethernet of this capacity
	Reason       string   `json:"reason,omitempty"`
	BDPBytes     int64    `json:"bdp_bytes"`
	MTU          int      `json:"mtu"`
	TCPOut       bool     `json:"tcp_out"`   // From connects to To
	TCPIn        bool     `json:"tcp_in"`    // To connects to From
	UDP          bool     `json:"udp"`       // datagrams of From reach To
	Multicast    bool     `json:"multicast"` // packets of From to a group reach To; it is tried by gomover probe, that way alone
	Cached       bool     `json:"cached"`    // remembered, not measured now
	Flags        []string `json:"flags"`
	Ms           int64    `json:"ms"` // the whole probe, both directions
	SentBytes    int64    `json:"sent_bytes"`
	AgeMs        int64    `json:"age_ms,omitempty"`     // of what is remembered
	Confidence   float64  `json:"confidence,omitempty"` // how much that counts still, 0..1
	Finding      string   `json:"finding,omitempty"`    // what has changed, where that was the reason to look, for people
}

// Facts is what an end of a path has to offer.
type Facts struct {
	Host            string   `json:"host"`
	OS              string   `json:"os"`
	Cores           int      `json:"cores"`
	CPUBusy         float64  `json:"cpu_busy"`
	CPUHottest      float64  `json:"cpu_hottest"`
	MemoryBytes     int64    `json:"memory_bytes"`
	MemoryFreeBytes int64    `json:"memory_free_bytes"`
	Interface       string   `json:"interface"`
	MTU             int      `json:"mtu"`
	SpeedBps        int64    `json:"speed_bps"`
	SendsBps        int64    `json:"sends_bps"`
	GetsBps         int64    `json:"gets_bps"`
	RmemMax         int64    `json:"rmem_max_bytes"`
	WmemMax         int64    `json:"wmem_max_bytes"`
	TCPRmemMax      int64    `json:"tcp_rmem_max_bytes"`
	TCPWmemMax      int64    `json:"tcp_wmem_max_bytes"`
	CC              string   `json:"cc"`
	CCs             []string `json:"ccs"`
	AllowedCCs      []string `json:"allowed_ccs"`
	Dir             string   `json:"dir"`
	FS              string   `json:"fs"`
	DiskBytes       int64    `json:"disk_bytes"`
	DiskFreeBytes   int64    `json:"disk_free_bytes"`
	DiskBusy        float64  `json:"disk_busy"`
}

// Check is a line of what is well with a host and the way to it.
type Check struct {
	Host   string `json:"host"`
	Check  string `json:"check"`
	State  string `json:"state"` // ok, problem, unknown
	Detail string `json:"detail"`
	Mend   string `json:"mend,omitempty"`
}

// HistoryJob is a job that is remembered of a path.
type HistoryJob struct {
	From    string             `json:"from"` // this machine is local
	To      string             `json:"to"`
	Start   string             `json:"start"` // RFC 3339, UTC
	Ms      int64              `json:"ms"`
	Bytes   int64              `json:"bytes"`
	Files   int64              `json:"files"`
	Streams int                `json:"streams"`
	RateBps int64              `json:"rate_bps"` // median of its seconds
	LowBps  int64              `json:"low_bps"`  // outer tenths
	HighBps int64              `json:"high_bps"`
	RTTms   float64            `json:"rtt_ms"` // least; 0: not known
	Loss    float64            `json:"loss"`   // share of segments sent again
	Limits  map[string]float64 `json:"limits,omitempty"`
	Alerts  int                `json:"alerts"`
}

// History is what the next job on a path may reach, by those that are remembered.
type History struct {
	From    string  `json:"from"`
	To      string  `json:"to"`
	Jobs    int     `json:"jobs"`
	RateBps int64   `json:"rate_bps"` // 0: not known
	LowBps  int64   `json:"low_bps"`
	HighBps int64   `json:"high_bps"`
	Holds   float64 `json:"holds"` // share of jobs between the last two; 0: too few to tell
}

// JobStart is the first event of a job.
type JobStart struct {
	Version string   `json:"version"`
	Argv    []string `json:"argv"`
	Mode    string   `json:"mode"` // copy, local, pull, fanout
	Sources []string `json:"sources"`
	Dests   []string `json:"dests"`
	Resumed bool     `json:"resumed"`
	DryRun  bool     `json:"dry_run"`
}

// Scan tells how far the listing of the source is.
type Scan struct {
	Files int64 `json:"files"`
	Dirs  int64 `json:"dirs"`
	Bytes int64 `json:"bytes"`
	Done  bool  `json:"done"`
}

// Host is a change in what is known of a host.
type Host struct {
	Host   string `json:"host"`
	Role   string `json:"role"`  // source, dest
	State  string `json:"state"` // connecting, agent, ready, lost, back, gone
	Detail string `json:"detail,omitempty"`
}

// Plan is how data will travel, at the start and whenever that changes.
type Plan struct {
	Dest         string        `json:"dest,omitempty"` // which of several destinations
	Transport    string        `json:"transport"`      // tcp, ssh, local
	Streams      int           `json:"streams"`
	WindowBytes  int64         `json:"window_bytes"` // 0: the kernel's own tuning
	BlockBytes   int64         `json:"block_bytes"`
	Dial         string        `json:"dial"` // source, target
	RTTms        float64       `json:"rtt_ms"`
	Encrypt      string        `json:"encrypt"` // on, auth, off, ssh, tls
	CC           string        `json:"cc,omitempty"`
	Reason       string        `json:"reason"`
	Alternatives []Alternative `json:"alternatives"`
}

// Alternative is a way that was not taken.
type Alternative struct {
	Transport    string `json:"transport"`
	PredictedBps int64  `json:"predicted_bps"` // bytes per second
	Reason       string `json:"reason"`
}

// Tune is a change of a setting in a running job.
type Tune struct {
	Dest      string `json:"dest,omitempty"` // which of several destinations
	ID        int    `json:"id"`
	What      string `json:"what"`
	From      int64  `json:"from"`
	To        int64  `json:"to"`
	CC        string `json:"cc,omitempty"` // with What "cc": the congestion control from now on
	Reason    string `json:"reason"`
	BeforeBps int64  `json:"before_bps"`
	AfterBps  int64  `json:"after_bps"`
}

// Transport is a change of transport.
type Transport struct {
	Dest   string `json:"dest"`
	From   string `json:"from"`
	To     string `json:"to"`
	Reason string `json:"reason"`
}

// Progress is the state of the whole job. Everything counts what the
// destination confirmed, except SentBytes.
type Progress struct {
	DoneBytes     int64   `json:"done_bytes"`  // includes what was already there
	TotalBytes    *int64  `json:"total_bytes"` // nil while listing
	SentBytes     int64   `json:"sent_bytes"`
	VerifiedBytes int64   `json:"verified_bytes"`
	FilesDone     int64   `json:"files_done"`
	FilesTotal    int64   `json:"files_total"`
	RateBps       int64   `json:"rate_bps"`
	AvgBps        int64   `json:"avg_bps"`
	ETAms         int64   `json:"eta_ms"` // -1: not known
	ETALoMs       int64   `json:"eta_lo_ms"`
	ETAHiMs       int64   `json:"eta_hi_ms"`
	LimitedBy     string  `json:"limited_by"`
	LimitedDetail string  `json:"limited_detail,omitempty"` // of LimitedBy: send buffer
	StalledMs     int64   `json:"stalled_ms"`
	Streams       int     `json:"streams"`         // data connections open now
	Retrans       int64   `json:"retrans"`         // TCP segments sent again, on all streams
	Repaired      int64   `json:"-"`               // blocks that came damaged and were sent again
	RTTms         float64 `json:"rtt_ms"`          // of the link; 0: not known
	State         string  `json:"state,omitempty"` // what is being tried while stalled
	CurrentPath   string  `json:"-"`               // a file being sent, raw bytes; for the terminal view
	CurrentShare  float64 `json:"-"`               // 0..1 of it
}

// ProgressDest is the state of one of several destinations.
type ProgressDest struct {
	Dest           string `json:"dest"`
	Transport      string `json:"transport"`
	Streams        int    `json:"streams"`
	DoneBytes      int64  `json:"done_bytes"` // as in Progress
	SentBytes      int64  `json:"sent_bytes"`
	TotalBytes     *int64 `json:"total_bytes"` // nil while listing
	RateBps        int64  `json:"rate_bps"`
	ETAms          int64  `json:"eta_ms"` // -1: not known
	LimitedBy      string `json:"limited_by"`
	StalledMs      int64  `json:"stalled_ms"`
	RepairedBlocks int64  `json:"repaired_blocks"`  // came damaged and were sent again
	State          string `json:"state"`            // connecting, running, held, lost, done, failed
	Detail         string `json:"detail,omitempty"` // what is being tried, or why it failed
	Via            string `json:"via,omitempty"`    // destination that passes the data on; "": from the source
	// What was sent for it to multicast groups, which others get, too, and by unicast
	// within the same session. Payload, repetitions included.
	GroupBytes     int64 `json:"multicast_bytes,omitempty"`
	GroupPackets   int64 `json:"multicast_packets,omitempty"`
	UnicastBytes   int64 `json:"unicast_bytes,omitempty"`
	UnicastPackets int64 `json:"unicast_packets,omitempty"`
	ResentBytes    int64 `json:"resent_bytes,omitempty"` // of UnicastBytes
}

// Anomaly is a lasting change that nobody here brought about, or its end. A Warn
// says the same to people.
type Anomaly struct {
	Dest       string  `json:"dest,omitempty"` // which of several destinations
	Metric     string  `json:"metric"`         // rate, rtt, loss
	Was        float64 `json:"was"`            // bytes per second, seconds, loss events per second
	Now        float64 `json:"now"`
	Over       bool    `json:"over"`             // the rate is back at Was of the change before
	Confidence float64 `json:"confidence"`       // 0: not known
	SinceMs    int64   `json:"since_ms"`         // how long ago it began
	Likely     string  `json:"likely,omitempty"` // path-change, loss-rise, less-available, disk, cpu
	LimitedBy  string  `json:"limited_by"`
	Action     string  `json:"action,omitempty"` // what is done about it, for people
	Message    string  `json:"message"`
}

// ProgressStream is the state of one stream.
type ProgressStream struct {
	Dest        string  `json:"dest,omitempty"` // which of several destinations
	Stream      uint32  `json:"stream"`
	Peer        string  `json:"peer"`
	RateBps     int64   `json:"rate_bps"`
	RTTms       float64 `json:"rtt_ms"`
	Retrans     int64   `json:"retrans"`
	CwndBytes   int64   `json:"cwnd_bytes"`
	WindowBytes int64   `json:"window_bytes"`
}

// ProgressSource is the state of one of several sources.
type ProgressSource struct {
	Source       string  `json:"source"`
	DoneBytes    int64   `json:"done_bytes"`    // that came from it and are kept
	RateBps      int64   `json:"rate_bps"`      // of late
	Share        float64 `json:"share"`         // 0..1 of what came from all in this run
	PlannedShare float64 `json:"planned_share"` // 0..1 of what is still to come
	State        string  `json:"state"`         // stand-by, connecting, active, resting, left out
}

// File is the end of one file, link or directory.
type File struct {
	Path      string `json:"-"` // raw bytes; written as path and path_b64
	Dest      string `json:"dest"`
	Action    string `json:"action"` // new, resume, replace, skip, link, dir, fail
	SizeBytes int64  `json:"size_bytes"`
	SentBytes int64  `json:"sent_bytes"`
	Hash      string `json:"hash,omitempty"` // blake3:HEX of the whole file
	Verified  string `json:"verified"`       // wire, readback, none
	Ms        int64  `json:"ms"`
	Error     string `json:"error,omitempty"`
	Class     byte   `json:"-"` // of the error, see package wire; for the exit code
}

// Warn is what a user should know; it never changes the exit code.
type Warn struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Host    string `json:"host,omitempty"`
	Path    string `json:"path,omitempty"`
}

// Error is a failure; Fatal ends the job.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Host    string `json:"host,omitempty"`
	Path    string `json:"path,omitempty"`
	Fatal   bool   `json:"fatal"`
}

// JobEnd is the last event, always.
type JobEnd struct {
	Exit         int              `json:"exit"`
	Reason       string           `json:"reason"`
	Resumable    bool             `json:"resumable"`
	ResumeCmd    string           `json:"resume_cmd,omitempty"`
	DoneBytes    int64            `json:"done_bytes"`
	TotalBytes   int64            `json:"total_bytes"`
	SentBytes    int64            `json:"sent_bytes"`
	Ms           int64            `json:"ms"`
	AvgBps       int64            `json:"avg_bps"`
	FilesOK      int64            `json:"files_ok"`
	FilesSkipped int64            `json:"files_skipped"`
	FilesFailed  int64            `json:"files_failed"`
	Retrans      int64            `json:"retrans"`
	Limits       map[string]int64 `json:"limits_ms,omitempty"` // time spent per limiting factor
	Dests        []DestEnd        `json:"dests"`
	Sources      []SourceEnd      `json:"sources"`
	Multicast    *Multicast       `json:"multicast,omitempty"` // nil: none was sent
}

// Multicast is what was sent to several destinations at once: by groups, and by
// unicast within their sessions.
type Multicast struct {
	Dests          int   `json:"dests"`             // destinations that got some of their data by groups
	GroupBytes     int64 `json:"multicast_bytes"`   // payload, each byte once for all
	GroupPackets   int64 `json:"multicast_packets"` // datagrams, those of coded repair included
	CodedBytes     int64 `json:"coded_bytes"`       // besides: coded repair to groups
	UnicastBytes   int64 `json:"unicast_bytes"`     // payload, repetitions included
	UnicastPackets int64 `json:"unicast_packets"`   // datagrams, those without data included
	ResentBytes    int64 `json:"resent_bytes"`      // of UnicastBytes: repetitions
	WireBytes      int64 `json:"wire_bytes"`        // all of it with the heads of UDP and IP
	CopyBytes      int64 `json:"copy_bytes"`        // the most that one destination has got in this run, in any way
	GotBytes       int64 `json:"got_bytes"`         // what all have
}

// DestEnd is what came of one destination.
type DestEnd struct {
	Dest        string `json:"dest"`
	Exit        int    `json:"exit"`
	DoneBytes   int64  `json:"done_bytes"`
	FilesFailed int64  `json:"files_failed"`
	Reason      string `json:"reason,omitempty"` // why it is not complete
	// As in ProgressDest.
	GroupBytes     int64 `json:"multicast_bytes,omitempty"`
	GroupPackets   int64 `json:"multicast_packets,omitempty"`
	UnicastBytes   int64 `json:"unicast_bytes,omitempty"`
	UnicastPackets int64 `json:"unicast_packets,omitempty"`
	ResentBytes    int64 `json:"resent_bytes,omitempty"` // of UnicastBytes
	// What came to it in the sender's name and was refused: blocks that somebody who knows
	// the group's key had sealed, and datagrams that nobody who may had, or that came again.
	RefusedBlocks  int64 `json:"refused_blocks,omitempty"`
	RefusedPackets int64 `json:"refused_packets,omitempty"`
}

// SourceEnd is what one source gave.
type SourceEnd struct {
	Source string  `json:"source"`
	Bytes  int64   `json:"bytes"`
	Share  float64 `json:"share"`
}

// Name implements Event.
func (Probe) Name() string { return "probe" }

// Name implements Event.
func (Facts) Name() string { return "facts" }

// Name implements Event.
func (Check) Name() string { return "check" }

// Name implements Event.
func (History) Name() string { return "history" }

// Name implements Event.
func (HistoryJob) Name() string { return "history.job" }

// Name implements Event.
func (JobStart) Name() string { return "job.start" }

// Name implements Event.
func (Scan) Name() string { return "scan" }

// Name implements Event.
func (Host) Name() string { return "host" }

// Name implements Event.
func (Plan) Name() string { return "plan" }

// Name implements Event.
func (Tune) Name() string { return "tune" }

// Name implements Event.
func (Transport) Name() string { return "transport" }

// Name implements Event.
func (Progress) Name() string { return "progress" }

// Name implements Event.
func (ProgressDest) Name() string { return "progress.dest" }

// Name implements Event.
func (Anomaly) Name() string { return "anomaly" }

// Name implements Event.
func (ProgressStream) Name() string { return "progress.stream" }

// Name implements Event.
func (ProgressSource) Name() string { return "progress.source" }

// Name implements Event.
func (File) Name() string { return "file" }

// Name implements Event.
func (Warn) Name() string { return "warn" }

// Name implements Event.
func (Error) Name() string { return "error" }

// Name implements Event.
func (JobEnd) Name() string { return "job.end" }

// Multi records to each of its members, in order.
type Multi []Recorder

// Record implements Recorder.
func (m Multi) Record(t time.Time, e Event) {
	for _, r := range m {
		r.Record(t, e)
	}
}

// Discard drops everything.
type Discard struct{}

// Record implements Recorder.
func (Discard) Record(time.Time, Event) {}
