package engine

import (
	"sync"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/tuner/choice"
)

// Options are what both ends of a job must agree on, and what each needs of the
// command line. They travel to the agent as JSON.
type Options struct {
	JobID     string `json:"job"`                   // names unfinished files
	BlockSize int64  `json:"block"`                 // bytes; 0: by the size of each file, see BlockSizeFor
	Least     int64  `json:"block_least,omitempty"` // the smallest block that is chosen so, in bytes; 0: DefaultBlock
	StallMs   int64  `json:"stall"`                 // nothing confirmed for so long: replace streams; 0: 30 s
	NoInband  bool   `json:"no_inband"`             // never send data inside the link
	NoStreams bool   `json:"no_streams"`            // only ever send data inside the link
	Memory    int64  `json:"memory"`                // bytes, bound of frames and of what is under way in buffers of our own; 0: none

	// Source.
	StreamsMin int    `json:"streams_min"`
	StreamsMax int    `json:"streams_max"`
	CC         string `json:"cc,omitempty"`
	Rate       int64  `json:"rate"`               // bytes per second for all streams, as an interface counts them; 0: no limit
	Priority   string `json:"priority,omitempty"` // fair (also ""), bold, background
	Interval   int64  `json:"interval,omitempty"` // ns, least time between looks of Retune; 0: a second
	Retune     string `json:"retune,omitempty"`   // streams while they run: on, observe, auto: when something holds them back; "": only their congestion control
	// What the last job on the path ended with; 0 and "": not known.
	LastStreams int     `json:"last_streams,omitempty"`
	LastCC      string  `json:"last_cc,omitempty"`
	LastRTTms   float64 `json:"last_rtt_ms,omitempty"`
	LastRate    float64 `json:"last_rate,omitempty"` // over UDT, bytes per second
	OnChange    string  `json:"on_change,omitempty"` // retry (also ""), fail, ignore
	// Shared: the sources of several destinations may send blocks together, see Cast.
	Shared bool `json:"shared,omitempty"`

	// Sink.
	Existing     string      `json:"existing,omitempty"` // update (also ""), skip, replace, fail
	Checksum     bool        `json:"checksum,omitempty"`
	Rehash       bool        `json:"rehash,omitempty"` // in a chain: read again what an earlier run has noted as safe
	SizeOnly     bool        `json:"size_only,omitempty"`
	Resume       string      `json:"resume,omitempty"` // auto (also ""), never, require
	Fsync        string      `json:"fsync,omitempty"`  // batch (also ""), none, file, dir
	Verify       string      `json:"verify,omitempty"` // wire (also ""), readback, none
	Attrs        store.Attrs `json:"attrs"`
	NoSpaceCheck bool        `json:"no_space_check,omitempty"`
	Discard      bool        `json:"discard,omitempty"` // remove unfinished files on failure
	Expect       string      `json:"expect,omitempty"`  // hex of the one file's hash
	// Compared: the source is in this process and was given sums that were found from
	// the bytes in memory (store.Vouched), so that they are not compared again.
	Compared bool `json:"-"`
}

// DefaultBlock is the size of a block in bytes. Small enough to stay in a
// core's second-level cache while it is read, hashed and sealed.
const DefaultBlock = 256 << 10

// maxBlocks bounds a file's blocks, and so what its journal takes in memory.
const maxBlocks = 1 << 20

// MaxBlock is the largest block size in bytes that can be asked for, autoBlock
// the largest that is chosen without being asked: every stream has a frame of
// that length at each end.
const (
	MaxBlock  = 16 << 20
	autoBlock = 4 << 20
)

// BlockSizeFor is the size of a block of a file of size bytes.
func (o *Options) BlockSizeFor(size int64) int64 {
	if o.BlockSize > 0 {
		return o.BlockSize
	}
	bs := int64(DefaultBlock)
	if o.Least > 0 {
		bs = o.Least
	}
	for size/bs > maxBlocks && bs < autoBlock {
		bs *= 2
	}
	return bs
}

// ValidBlocks tells whether the sizes of blocks are ones that can be.
func (o *Options) ValidBlocks() bool {
	return o.BlockSize >= 0 && o.BlockSize <= MaxBlock && (o.Least == 0 || integrity.ValidBlockSize(o.Least) && o.Least <= DefaultBlock)
}

func (o *Options) stall() time.Duration {
	if o.StallMs > 0 {
		return time.Duration(o.StallMs) * time.Millisecond
	}
	return 30 * time.Second
}

// Paths is how the two ends of a job can reach each other for data.
type Paths struct {
	Endpoint  transports.Endpoint // nil: only inside the link
	Far       transports.Offer
	DialFirst bool          // this end dials first, else the other one does
	DialOnly  bool          // only the direction of DialFirst is permitted
	RTT       time.Duration // between the ends, as far as known
	Local     bool          // both ends are in this process
	Obeys     bool          // at a source: the sink is the user's end, and may change the job while it runs
	Hasty     bool          // at a sink: do not wait for the source to leave
	Passing   bool          // at a source: the sink has another one to turn to, and soon does when no stream is left
	Name      string        // of the other end, for people
	Seal      transports.Seal
	Ready     func(body []byte) error // takes a KindReady that comes while a source runs; nil: none may
	Group     func(body []byte) error // takes a KindGroup; nil: none may come
	CCs       []string                // congestion controls permitted here
	Prefer    string                  // transport that is tried first, as in transports.Stats; "": tcp
	Spare     string                  // another one, to which Endpoint, a transports.Switcher, turns when asked; "": none
	Known     choice.Path             // what earlier jobs learned of the path
	Ports     string                  // protocols whose ports data may come to, for people; "": TCP
	Window    int                     // bytes of buffer that each stream was asked to have; 0: not asked
}

// Totals is a snapshot of how far an end is. Bytes are payload; Done counts
// what the sink has confirmed or had already.
type Totals struct {
	Listed                       bool // all of the source
	Files, Dirs, Others, Bytes   int64
	DoneFiles, DoneBytes         int64
	Had                          int64 // of DoneBytes, there at the start
	OK, Skipped, Failed, Ignored int64 // files ended
	Sent                         int64 // payload bytes put on the wire, repeats included
	Verified                     int64 // payload bytes confirmed in this run
	Streams                      int
	Limit                        int64 // bytes per second that the user allows now, filled in by who knows; 0: any
	Retrans                      int64
	Repaired                     int64 // blocks and small files that came damaged and were asked for again
	RTT                          time.Duration
	LimitedBy                    string
	LimitDetail                  string // of LimitedBy; "" mostly
	Path                         Path
	State                        string // what is being tried, while nothing moves
	Current                      string // a file under way
	CurrentShare                 float64
}

// Path is what the kernel tells of the path from the source. Counts are of this
// session and never fall; 0: not known.
type Path struct {
	RTT       time.Duration // smoothed, least of the streams
	MinRTT    time.Duration // least ever seen on any of them, mostly before queues filled
	Losses    int64         // episodes in which a stream lost something
	Segs      int64         // segments sent
	Again     int64         // segments sent again
	Saturated bool          // packets wait in a queue
}

// counters is what both ends keep for Totals; its mutex guards it.
type counters struct {
	mu sync.Mutex
	t  Totals
}

func (c *counters) update(fn func(t *Totals)) {
	c.mu.Lock()
	fn(&c.t)
	c.mu.Unlock()
}

func (c *counters) snapshot() Totals {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

// emitter records events if anyone listens.
type emitter struct{ rec events.Recorder }

func (e emitter) emit(ev events.Event) {
	if e.rec != nil {
		e.rec.Record(time.Now(), ev)
	}
}
