// Package mover runs a job from its start to its end: it logs in, starts the
// far end, tells both ends about each other, and sees to it that a lost
// connection is only a delay.
//
//	Run (director) --- ssh ---> ServeAgent
//	  |  start: job, secret, own offer -->
//	  |  <-- ready: offer
//	  engine.Source or Sink <== link inside ssh, data beside it ==> the other
package mover

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/jobs"
	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/tuner/pace"
)

// Place is a file or directory somewhere.
type Place struct {
	Remote bool
	User   string
	Host   string
	Port   int
	Path   string // raw bytes; remote: relative to the home directory unless absolute
	Shown  string // as the user wrote it
	Inside bool   // source: its contents are meant; destination: written with a trailing slash
}

// Job is what one command asks for. Sources are all remote on one host, or all
// local; so is the destination; not both are remote.
type Job struct {
	Sources []Place
	Dest    Place
	Pull    *Pull // instead of Sources: replicas of files, which are fetched from here

	Recursive bool
	Exact     bool // -T
	MkPath    bool
	IntoDir   bool // several sources, or -t: the destination is a directory
	Glob      bool
	Links     string // copy, follow, safe, skip

	Engine engine.Options // JobID is set by Run

	TCP, SSH bool   // permitted transports
	UDT      bool   // permitted, too, and tried before the others
	Spare    bool   // UDT is permitted, and used where TCP was seen to be slow
	Dial     string // auto, source, target
	Seal     transports.Seal
	Ports    [2]uint16
	Bind     netip.Addr
	Window   int
	DSCP     int
	IPv4     bool
	IPv6     bool
	DataAddr []netip.Addr // of the far end, instead of what is found

	Probe string // ProbeFull, ProbeOff; else what is remembered is used, and what is not is measured beside, but for capacity

	Login   sshboot.Options
	Boot    sshboot.BootOptions
	Version string

	GiveUp    time.Duration // without progress; 0: never
	RetryWait time.Duration // first wait, doubling to a minute
	TimeLimit time.Duration // 0: none
	StateDir  string        // local

	Limit    pace.Timetable // of the rate; instead of that of Engine
	FinishBy time.Time      // no faster than needed to be complete by then; zero: as fast as it goes
	MinRate  units.Rate     // bytes per second; slower for a minute is ErrMinRate. 0: none
	Controls *Controls      // to change the job while it runs; nil: nobody will
}

// FarHost is the far host as written, "" for a local copy.
func (j *Job) FarHost() string {
	switch {
	case j.Dest.Remote:
		return j.Dest.Host
	case len(j.Sources) > 0 && j.Sources[0].Remote:
		return j.Sources[0].Host
	}
	return ""
}

// farPlace is a place on the far host.
func (j *Job) farPlace() *Place {
	if j.Dest.Remote {
		return &j.Dest
	}
	return &j.Sources[0]
}

// push tells that the sources are here.
func (j *Job) push() bool { return j.Dest.Remote }

// local tells that all is here.
func (j *Job) local() bool { return j.FarHost() == "" }

// canonical is a place's name for the job's ID.
func (p *Place) canonical() string {
	if p.Remote {
		return fmt.Sprintf("%s@%s:%d:%s:%t", p.User, p.Host, p.Port, p.Path, p.Inside)
	}
	abs, err := filepath.Abs(p.Path)
	if err != nil {
		abs = p.Path
	}
	host, _ := os.Hostname() // without one, two hosts' jobs share a name, which locks tell apart
	return fmt.Sprintf("%s:%s:%t", host, abs, p.Inside)
}

// ID is the job's name: the same command gives the same one.
func (j *Job) ID() string {
	if j.Pull != nil && j.Recursive && len(j.Pull.Replicas) > 0 {
		r := &j.Pull.Replicas[0]
		return jobs.ID("pull tree", j.Dest.canonical(), r.Base, fmt.Sprint(r.Inside, j.Exact))
	}
	if j.Pull != nil {
		// Another set of replicas goes on with what the first one left.
		return jobs.ID("pull", j.Dest.canonical(), j.Pull.below(j))
	}
	var parts []string
	for i := range j.Sources {
		parts = append(parts, j.Sources[i].canonical())
	}
	o := &j.Engine
	parts = append(parts, "to", j.Dest.canonical(),
		fmt.Sprint(j.Recursive, j.Exact, j.IntoDir, j.Links, o.BlockSize, o.Attrs))
	return jobs.ID(parts...)
}

// Report is what came of a job.
type Report struct {
	JobID   string
	Totals  engine.Totals
	Began   time.Time
	Took    time.Duration
	Started bool               // both ends have met: data may have moved, a repeat resumes
	Sources []events.SourceEnd // of a pull: what each replica gave
}

// expandHome expands ~ and ~user at the start of a path at the agent.
func expandHome(p string, home func(user string) (string, error)) (string, error) {
	if !strings.HasPrefix(p, "~") {
		return p, nil
	}
	name, rest, _ := strings.Cut(p[1:], "/")
	dir, err := home(name)
	if err != nil {
		return "", fmt.Errorf("no home directory of %q: %w", name, err)
	}
	if rest == "" && !strings.Contains(p, "/") {
		return dir, nil
	}
	return dir + "/" + rest, nil
}
