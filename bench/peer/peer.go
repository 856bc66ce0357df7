// Package peer knows how the programs that gomover is measured beside are
// started: which servers, which command, which settings a person could try, and
// what they print. It starts nothing itself; values in, values out.
//
// A Program makes a Plan of a Transfer and Settings. The zero Settings are the
// program's default: the shortest command line that does the job, as its manual
// has it. Candidates are the settings among which the best one is searched.
//
// Start reading at Program and All; the other files each hold the programs of one
// family.
package peer

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Host is one end of a transfer.
type Host struct {
	Name    string // for ssh
	Address string // IPv4
}

// Transfer is one file, or one tree, that is to go from a sender to all
// receivers. With several senders each has it all.
type Transfer struct {
	From []Host
	To   []Host
	// Source is a path at every sender. Dirs are directories, one for each
	// receiver; what arrives there has the name that it has in Source.
	Source string
	Dirs   []string
	// Work is a directory for configurations and logs that everybody may write to.
	Work string
	// Config is an ssh_config that knows all hosts, Key and KnownHosts are what is
	// in it, for programs with an ssh of their own.
	Config, Key, KnownHosts string
	// Interface is the network interface on every host.
	Interface string
	// RateBits is the rate of the narrowest link, in bits per second; 0 is unlimited.
	RateBits int64
	// Pull says that the command is typed at the receiver, where a program can choose.
	Pull bool
	// Size is that of the file in bytes.
	Size int64
	// Mover is the command line of gomover without operands, UDT that of the driver
	// of libudt.
	Mover []string
	UDT   string
}

// target is the path of receiver i's file.
func (t Transfer) target(i int) string { return filepath.Join(t.Dirs[i], filepath.Base(t.Source)) }

// Settings are what a person can set; the zero value is the program's default.
type Settings struct {
	Streams int    `json:"streams,omitempty"`      // connections at once
	Window  int64  `json:"window_bytes,omitempty"` // in flight on each connection
	Variant string `json:"variant,omitempty"`      // another way to run it, by name
	AtOnce  bool   `json:"at_once,omitempty"`      // to all receivers at the same time
}

// Default says whether these are the program's own settings.
func (s Settings) Default() bool { return s == Settings{} }

// String is for people, such as "8 streams, window 25 MB".
func (s Settings) String() string {
	var parts []string
	if s.Streams > 0 {
		parts = append(parts, fmt.Sprintf("%d streams", s.Streams))
	}
	if s.Window > 0 {
		parts = append(parts, fmt.Sprintf("window %.3g MB", float64(s.Window)/1e6))
	}
	if s.Variant != "" {
		parts = append(parts, s.Variant)
	}
	if s.AtOnce {
		parts = append(parts, "all at once")
	}
	if parts == nil {
		return "default"
	}
	return strings.Join(parts, ", ")
}

// Command is what is started on one host.
type Command struct {
	Host string
	Args []string
	Env  []string
}

// Server is a command that must run before the program is started.
type Server struct {
	Command
	// Protocol and Port say when it is ready: "tcp" when it listens on the port,
	// "udp" when it is bound to it.
	Protocol string
	Port     int
	// Ends is set if it ends by itself when it has all; that is then part of the
	// time that the program takes. Others are ended.
	Ends bool
}

// Plan is everything that is started for one transfer.
type Plan struct {
	Files   map[string]string // written before, by path
	Dirs    []string          // made before
	Servers []Server
	Client  Command // whose time counts
}

// Program is one of the programs that are compared.
type Program struct {
	Name     string
	Packages []string // of Debian
	Needs    []string // programs that must be there
	Note     string   // what a reader must know

	MaxStreams int      // 0: the number cannot be set
	Windows    bool     // the window can be set
	Variants   []string // further ways to run it, which are tried, too
	// DefaultBytes bounds the file at the default setting; 0 is no bound. It is for
	// programs whose default would take hours.
	DefaultBytes int64

	// Plan makes the plan of a transfer of one file.
	Plan func(Transfer, Settings) Plan
	// Tree is the same for the contents of the directory Source, into a directory of
	// the same name; nil if the program cannot.
	Tree func(Transfer, Settings) Plan
	// Received says how many bytes arrived, by the program's own words, if there is
	// no file to look at; else it is nil.
	Received func(output string) (int64, error)
}

// Grid is what is searched.
type Grid struct {
	Streams []int
	Windows []int64 // bytes; 0 is the program's default
}

// Candidates are the settings to be tried, most promising first: in the order of
// the grid. Streams beyond what the program can are cut to that, and nothing comes
// twice. Without anything to set there are none.
func (p Program) Candidates(g Grid) (list []Settings) {
	streams, windows := []int{0}, []int64{0}
	if p.MaxStreams > 0 {
		streams = g.Streams
	}
	if p.Windows {
		windows = g.Windows
	}
	seen := map[Settings]bool{{}: true}
	for _, variant := range append([]string{""}, p.Variants...) {
		for _, n := range streams {
			for _, w := range windows {
				s := Settings{Streams: min(n, p.MaxStreams), Window: w, Variant: variant}
				if !seen[s] {
					seen[s] = true
					list = append(list, s)
				}
			}
		}
	}
	return list
}

// All are the programs, gomover first and the limit second.
func All() []Program {
	return []Program{gomover(), iperf(), scp(), rsync(), rclone(), gridFTP(), aria2(), lftp(), xrdcp(), udt(), uftp(), udpcast(), tar()}
}

// Named finds a program of All.
func Named(name string) (Program, bool) {
	for _, p := range All() {
		if p.Name == name {
			return p, true
		}
	}
	return Program{}, false
}

// toEach makes the client of a program that knows one receiver only: a command
// for each, one after another or all at once.
func toEach(t Transfer, s Settings, command func(to Host, target string) []string) Command {
	c := Command{Host: t.From[0].Name}
	if len(t.To) == 1 {
		c.Args = command(t.To[0], t.target(0))
		return c
	}
	var lines []string
	for i, to := range t.To {
		line := quote(command(to, t.target(i)))
		if s.AtOnce {
			line += fmt.Sprintf(" & p%d=$!", i)
		}
		lines = append(lines, line)
	}
	if s.AtOnce {
		for i := range t.To {
			lines = append(lines, fmt.Sprintf("wait $p%d", i))
		}
	}
	c.Args = []string{"sh", "-ec", strings.Join(lines, "\n")}
	return c
}

// quote makes words into a line for the shell.
func quote(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}
