package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/gomover/gomover/bench/ground"
)

// row is one entry of the table: what it is called on the command line, what it
// says, and what measures it.
type row struct {
	name string
	what string
	run  func(context.Context, *bench) error
}

// rows is the table, in the order in which it is run.
var rows = []row{
	{"wan", "one large file over 1 Gbit/s, RTT 100 ms", rowWAN},
	{"lossy", "the same with 0.1% loss in each direction", rowLossy},
	{"small", "a file of 1 KiB at RTT 100 ms", rowSmall},
	{"loop", "CPU per GB and throughput over loopback", rowLoop},
	{"peers", "the default beside scp, rsync and rclone over loopback", rowPeers},
	{"tree", "100,000 files of 4 KiB at RTT 50 ms", rowTree},
	{"memory", "peak memory with a tree of a million empty files", rowMemory},
	{"kill", "ends killed at any moment, the command repeated", rowKill},
}

// settings are the command line's.
type settings struct {
	lab      string
	rounds   int
	json     string
	peers    bool
	kills    int
	scale    float64
	disk     string
	memory   string
	program  string
	seed     uint64
	quiet    time.Duration
	selected map[string]bool
}

// bench is one run: its settings, its directory in memory, the program that is
// measured, and the results so far. One goroutine.
type bench struct {
	settings
	dir     string // in memory, removed at the end
	binary  string
	groups  *ground.Groups
	results []result
	peaks   map[string][2]int64 // row name: VmHWM in bytes of the near and the far end
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case errors.Is(err, errMissed):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench/copy:", err)
		os.Exit(1)
	}
}

// errMissed says that some bar was not reached, or some row not measured.
var errMissed = errors.New("a bar was not reached")

// parse reads the command line.
func parse(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("bench/copy", flag.ContinueOnError)
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	only := flags.String("rows", strings.Join(names, ","), "the rows to measure")
	flags.StringVar(&s.lab, "lab", "", "the WAN emulator (docs/bench.md), for the rows wan, lossy, small and tree")
	flags.IntVar(&s.rounds, "rounds", 3, "rounds per row; the median counts")
	flags.StringVar(&s.json, "json", "", "write the results to this file")
	flags.BoolVar(&s.peers, "peers", false, "in the rows wan and lossy also run scp, rsync and iperf3, which takes minutes")
	flags.IntVar(&s.kills, "kills", 100, "runs of the row kill")
	flags.Float64Var(&s.scale, "scale", 1, "multiplies sizes and counts; only 1 is the bar's own")
	flags.StringVar(&s.disk, "disk", "/var/tmp", "a directory on a disk, for the row tree")
	flags.StringVar(&s.memory, "memory", "/dev/shm", "a directory on a memory file system")
	flags.StringVar(&s.program, "program", "", "measure this program instead of building one")
	flags.DurationVar(&s.quiet, "quiet", 0, "wait up to this long before each command until other programs are idle")
	flags.Uint64Var(&s.seed, "seed", 1, "of the random moments of the row kill")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected word %q", flags.Arg(0))
	}
	if s.rounds < 1 || s.kills < 1 || !(s.scale > 0) {
		return s, errors.New("-rounds, -kills and -scale must be positive")
	}
	s.selected = map[string]bool{}
	for name := range strings.SplitSeq(*only, ",") {
		if !strings.Contains(","+strings.Join(names, ",")+",", ","+name+",") || name == "" {
			return s, fmt.Errorf("-rows: no row %q; there are %s", name, strings.Join(names, ", "))
		}
		s.selected[name] = true
	}
	return s, nil
}

// needed names the programs that the chosen rows call and the package of each.
func (s settings) needed() map[string]string {
	need := map[string]string{"ip": "iproute2", "/usr/sbin/sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}
	if s.selected["loop"] || s.peers {
		need["iperf3"] = "iperf3"
	}
	if s.selected["tree"] || s.selected["peers"] || s.peers {
		need["rsync"] = "rsync"
	}
	if s.selected["tree"] {
		need["tar"] = "tar"
	}
	if s.selected["peers"] {
		need["rclone"] = "rclone"
	}
	return need
}

// check says what is missing before anything is started.
func (s settings) check() error {
	if os.Geteuid() != 0 {
		return errors.New("root is needed: for network namespaces, cgroups and an ssh server of its own")
	}
	var missing []string
	for program, pkg := range s.needed() {
		if _, err := exec.LookPath(program); err != nil && !strings.Contains(strings.Join(missing, " ")+" ", pkg+" ") {
			missing = append(missing, pkg)
		}
	}
	if missing != nil {
		return fmt.Errorf("programs are missing; on Debian: apt-get install %s", strings.Join(missing, " "))
	}
	if s.lab != "" {
		if _, err := exec.LookPath(s.lab); err != nil {
			return fmt.Errorf("-lab: %w", err)
		}
		return nil
	}
	for _, name := range []string{"wan", "lossy", "small", "tree"} {
		if s.selected[name] {
			return fmt.Errorf("the row %s needs -lab PROGRAM, a WAN emulator (docs/bench.md); rows without one: -rows loop,peers,memory,kill", name)
		}
	}
	return nil
}

// run measures the chosen rows and leaves nothing behind, whatever happens.
func run(ctx context.Context, args []string) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	b := &bench{settings: s, peaks: map[string][2]int64{}}
	if b.dir, err = os.MkdirTemp(s.memory, "gomover-bench-"); err != nil {
		return fmt.Errorf("making a directory in memory: %w", err)
	}
	defer os.RemoveAll(b.dir)
	if err := b.build(ctx); err != nil {
		return err
	}
	if b.groups, err = ground.NewGroups(b.dir); err != nil {
		return err
	}
	defer b.groups.Close()
	b.printHead()
	for _, r := range rows {
		if !s.selected[r.name] {
			continue
		}
		fmt.Printf("\n## %s: %s\n\n", r.name, r.what)
		if err := r.run(ctx, b); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			b.add(result{Row: r.name, Figure: "the row could not be measured: " + err.Error(), Bar: "-"})
		}
	}
	b.reportMemory()
	b.printTable()
	if s.json != "" {
		text, err := json.MarshalIndent(b.results, "", "  ")
		if err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
		if err := os.WriteFile(s.json, append(text, '\n'), 0o644); err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
	}
	for _, r := range b.results {
		if !r.Pass && !r.Reference {
			return errMissed
		}
	}
	return nil
}

// build makes the program that is measured, as it is released.
func (b *bench) build(ctx context.Context) error {
	b.binary = filepath.Join(b.dir, "gomover")
	if b.program != "" {
		data, err := os.ReadFile(b.program)
		if err == nil {
			err = os.WriteFile(b.binary, data, 0o755)
		}
		return err
	}
	return ground.Build(ctx, "github.com/gomover/gomover/cmd/gomover", b.binary)
}

// size scales a size of the table; multiples of 4 KiB, at least one.
func (b *bench) size(n int64) int64 { return max(4096, int64(float64(n)*b.scale)&^4095) }

// printHead says on what this runs: figures of different machines do not compare.
func (b *bench) printHead() {
	fmt.Printf("machine: %d processors, %s, Linux %s, %s\n", runtime.NumCPU(), ground.CPUModel(), ground.FirstLine("/proc/sys/kernel/osrelease"), runtime.Version())
	fmt.Printf("sizes x %g, %d rounds, medians with the least and the greatest in brackets\n", b.scale, b.rounds)
}
