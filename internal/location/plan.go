package location

// Mode says what a command as a whole does.
type Mode uint8

// The modes. Sources and destinations are said from this machine's view.
const (
	Push        Mode = iota + 1 // local sources to one host
	Pull                        // remote sources to this machine
	LocalCopy                   // local sources to a local place
	ThirdParty                  // remote sources to a host
	Fetch                       // web addresses to one place
	FanOut                      // sources to several destinations
	FromStdin                   // standard input to one file
	ToStdout                    // one file to standard output
	Mixed                       // sources of several kinds to one directory
	ReplicaPull                 // copies of one object to its destinations
)

// String gives the mode's name in lower case.
func (m Mode) String() string {
	switch m {
	case Push:
		return "push"
	case Pull:
		return "pull"
	case LocalCopy:
		return "local copy"
	case ThirdParty:
		return "third-party copy"
	case Fetch:
		return "fetch"
	case FanOut:
		return "fan-out"
	case FromStdin:
		return "from stdin"
	case ToStdout:
		return "to stdout"
	case Mixed:
		return "mixed sources"
	case ReplicaPull:
		return "replica pull"
	}
	return "none"
}

// Exist is what the local file system answers for one path, links followed.
type Exist uint8

// The answers.
const (
	Missing   Exist = iota // nothing there, or it cannot be looked at
	File                   // anything that is not a directory
	Directory              // a directory
)

// WordOptions are the options that change what words mean.
//
// Empty and nil mean "not given". Hosts are the entries of --hosts, already read
// from its file if it names one.
type WordOptions struct {
	Windows   bool     // local paths are those of Windows
	Pull      bool     // the command is pull
	Recursive bool     // -r: directories may be sources
	Exact     bool     // -T: the destination is the exact name
	MakePath  bool     // --mkpath: missing parents are made
	TargetDir string   // -t
	To        []string // --to
	Hosts     []string // --hosts
	DestPath  string   // --dest
	From      []string // --from
}

// Plan is what the words of a command mean.
//
// Sources and Dests are never empty. IntoDir says that every destination is
// certainly a directory into which the sources go by name: several sources, -t,
// a trailing slash, or an existing local directory. When it is false and the
// destination is remote, only that host can tell. With -T it is false.
// ByName is set when hosts were given without a colon (a fan-out of which the
// first line printed is the list of hosts).
type Plan struct {
	Mode    Mode
	Sources []Location
	Dests   []Location
	IntoDir bool
	ByName  bool
}
