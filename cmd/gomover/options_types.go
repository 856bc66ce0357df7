package main

import (
	"time"

	"github.com/gomover/gomover/tuner/pace"
)

// Options are the resolved settings of one run: defaults, then configuration
// files, then the environment, then the command line.
//
// Set tells for every option that was given somewhere, by its long name (or
// letter when it has none), where its value comes from. Values are read-only
// after they were resolved and may then be read from any goroutine.
type Options struct {
	Copy    CopyOptions
	Attr    AttrOptions
	Net     NetOptions
	SSH     SSHOptions
	Safety  SafetyOptions
	Storage StorageOptions
	Pull    PullOptions
	Fan     FanOptions
	Output  OutputOptions
	Set     map[string]Source

	from    *layers // what the values were resolved from, for ForHost
	applied int     // settings stored so far
}

// Source says where the value of an option comes from.
type Source struct {
	From  SourceKind
	Where string // file and line, variable, or the option as typed
	order int    // later values have higher numbers
}

// SourceKind is the place of a setting.
type SourceKind uint8

// The places of settings, from weak to strong.
const (
	FromFile SourceKind = iota + 1
	FromEnvironment
	FromCommandLine
)

// CopyOptions say what is copied where.
type CopyOptions struct {
	Recursive bool
	Archive   bool   // already resolved into the options it stands for
	TargetDir string // a location word; empty when not given
	Exact     bool   // -T: the destination is the exact name
	MakePath  bool
	Glob      bool
}

// AttrOptions say which attributes are kept.
type AttrOptions struct {
	Perms      bool
	Times      bool
	Owner      bool
	Group      bool
	NumericIDs bool
	Specials   bool
	Links      LinkMode
	Sync       SyncMode
}

// LinkMode says what becomes of symbolic links inside a tree.
type LinkMode string

// The ways to treat symbolic links.
const (
	LinksCopy   LinkMode = "copy"   // as links
	LinksFollow LinkMode = "follow" // as what they point to
	LinksSafe   LinkMode = "safe"   // as links, leaving out those that leave the tree
	LinksSkip   LinkMode = "skip"   // not at all
)

// SyncMode says what is made durable before a file counts as done.
type SyncMode string

// The ways to sync.
const (
	SyncNone  SyncMode = "none"  // leave it to the system
	SyncBatch SyncMode = "batch" // one sync for a group of files, then their renames
	SyncFile  SyncMode = "file"  // each file
	SyncDir   SyncMode = "dir"   // each file and its directory
)

// NetOptions say how data travels.
type NetOptions struct {
	Transports []string // permitted, out of tcp, udt and ssh; nil means automatic
	Multicast  bool     // TCP-XM was named among them; alone if Transports is nil
	Streams    Streams
	Window     int64          // socket buffer in bytes; 0 is automatic
	Limit      pace.Timetable // of the rate of the whole job
	Priority   string         // fair, background or bold
	FinishBy   time.Time      // zero is any
	Interval   time.Duration  // least time between looks of the tuner; 0 is automatic
	Probe      string         // auto, full or off
	Retune     string         // auto, on, off or observe
	Congestion string         // algorithm of the kernel or of UDT; empty is the default
	DSCP       int            // traffic class, 0..63
	Dial       string         // auto, source or target
	Ports      PortRange
	DataAddrs  []DataAddr
	Bind       string // address or interface; empty is any
	Family     int    // 4, 6, or 0 for both
	Encrypt    string // on, auth or off
}

// Streams is how many data connections are used per destination. Auto leaves
// the number to the program within 1..256; otherwise Min..Max, equal when pinned.
type Streams struct {
	Auto     bool
	Min, Max int
}

// PortRange is the range in which the listening side takes the first free port.
// Auto stands for the default range followed by any port.
type PortRange struct {
	Auto        bool
	First, Last int
}

// DataAddr is an address to dial for data instead of what was found. Host is
// empty when it holds for every host.
type DataAddr struct {
	Host string
	Addr string // name or address, without port
}

// SSHOptions say how hosts are reached and agents placed.
type SSHOptions struct {
	Port           int      // 0 is that of ssh_config
	Identities     []string // -i
	ConfigFile     string   // -F; empty is the user's
	Jump           string   // -J
	Raw            []string // -o
	Program        string   // "builtin" or a command
	Agent          string   // "auto" or a command
	AgentDir       string   // empty is automatic
	AgentKeep      bool
	ConnectTimeout time.Duration
}

// SafetyOptions say what is checked, skipped, resumed and given up.
type SafetyOptions struct {
	Resume            string // auto, never or require
	StateDir          string // empty is the default place
	DiscardPartial    bool
	StallTimeout      time.Duration
	GiveUp            time.Duration // 0 is never
	RetryWait         time.Duration // first wait; doubles up to a minute
	TimeLimit         time.Duration // 0 is none
	Existing          string        // update, skip, replace or fail
	Checksum          bool
	SizeOnly          bool
	Verify            string // wire, readback or none
	Hash              string // auto or blake3
	Expect            []byte // BLAKE3 of the single file, 32 bytes; nil when not given
	NoSpaceCheck      bool
	OnChange          string // retry, fail or ignore
	ErrorOnNoTransfer bool
}

// StorageOptions bound the work on files.
type StorageOptions struct {
	Jobs      int   // files in flight; 0 is automatic
	BlockSize int64 // 0 is automatic
	Memory    int64 // bytes for buffers on each side
}

// OutputOptions say what is shown.
type OutputOptions struct {
	Verbose          int // 0..2
	Quiet            bool
	Progress         string        // auto, tty, plain or none
	ProgressInterval time.Duration // 0 is automatic
	Show             []string      // of streams, dests, files, sources; nil is by width
	Bits             bool          // show rates in bits
	JSON             string        // "" off, "-" standard output, "fd:N", or a file
	Summary          string        // short, full or none
	Explain          bool
	History          bool   // of probe: what is remembered, instead of measuring
	Plot             string // with History: a picture
	Color            string // auto, always or never
	ConfigFile       string // --config; its values are already applied
	NoConfig         bool
	Help             string // "", "short" or "all"
	Version          bool
}
