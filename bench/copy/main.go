package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

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
	{"choice", "both, where bbr is not allowed or socket buffers are small", rowChoice},
	{"small", "a file of 1 KiB at RTT 100 ms", rowSmall},
	{"loop", "CPU per GB and throughput over loopback", rowLoop},
	{"peers", "the default beside scp, rsync and rclone over loopback", rowPeers},
	{"tree", "100,000 files of 4 KiB at RTT 50 ms", rowTree},
	{"memory", "peak memory with a tree of a million empty files", rowMemory},
	{"kill", "ends killed at any moment, the command repeated", rowKill},
}

// settings are the command line's.
type settings struct {
	ground.Options
	json  string
	peers bool
	kills int
	disk  string
	seed  uint64
}

// bench is one run: its settings, its directory in memory, the program that is
// measured, and the results so far. One goroutine.
type bench struct {
	settings
	dir     string // in memory, removed at the end
	binary  string
	groups  *ground.Groups
	reserve *ground.Reserve // nil: small sizes, where it is not worth its time
	results []ground.Result
	peaks   map[string][2]int64 // row name: VmHWM in bytes of the near and the far end
}

func main() { os.Exit(ground.Exit("bench/copy", os.Args[1:], run)) }

// parse reads the command line.
func parse(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("bench/copy", flag.ContinueOnError)
	flags.StringVar(&s.json, "json", "", "write the results to this file")
	flags.BoolVar(&s.peers, "peers", false, "in the rows wan and lossy also run scp, rsync and iperf3, which takes minutes")
	flags.IntVar(&s.kills, "kills", 100, "runs of the row kill")
	flags.StringVar(&s.disk, "disk", "/var/tmp", "a directory on a disk, for the row tree")
	flags.Uint64Var(&s.seed, "seed", 1, "of the random moments of the row kill")
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	if err := s.Parse(flags, args, names); err != nil {
		return s, err
	}
	if s.kills < 1 {
		return s, errors.New("-kills must be positive")
	}
	return s, nil
}

// chosen says whether a row is to be measured.
func (s settings) chosen(row string) bool { return slices.Contains(s.Rows, row) }

// needed names the programs that the chosen rows call and the package of each.
func (s settings) needed() map[string]string {
	need := map[string]string{"ip": "iproute2", "/usr/sbin/sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client"}
	if s.chosen("loop") || s.peers {
		need["iperf3"] = "iperf3"
	}
	if s.chosen("tree") || s.chosen("peers") || s.peers {
		need["rsync"] = "rsync"
	}
	if s.chosen("tree") {
		need["tar"] = "tar"
	}
	if s.chosen("peers") {
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
		if _, err := exec.LookPath(program); err != nil && !slices.Contains(missing, pkg) {
			missing = append(missing, pkg)
		}
	}
	if missing != nil {
		return fmt.Errorf("programs are missing; on Debian: apt-get install %s", strings.Join(missing, " "))
	}
	if s.Lab != "" {
		if _, err := exec.LookPath(s.Lab); err != nil {
			return fmt.Errorf("-lab: %w", err)
		}
		return nil
	}
	for _, name := range []string{"wan", "lossy", "choice", "small", "tree"} {
		if s.chosen(name) {
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
	if b.dir, err = os.MkdirTemp(s.Memory, "gomover-bench-"); err != nil {
		return fmt.Errorf("making a directory in memory: %w", err)
	}
	defer os.RemoveAll(b.dir)
	b.binary = filepath.Join(b.dir, "gomover")
	if err := b.Mover(ctx, b.binary); err != nil {
		return err
	}
	if b.groups, err = ground.NewGroups(b.dir); err != nil {
		return err
	}
	defer b.groups.Close()
	if b.Scale >= 1 {
		if b.reserve, err = ground.NewReserve(); err != nil {
			return err
		}
		defer b.reserve.Close()
	}
	b.printHead()
	for _, r := range rows {
		if !s.chosen(r.name) {
			continue
		}
		fmt.Printf("\n## %s: %s\n\n", r.name, r.what)
		if err := r.run(ctx, b); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			b.add(ground.Result{Row: r.name, Figure: "the row could not be measured: " + err.Error(), Bar: "-"})
		}
	}
	b.reportMemory()
	b.printTable()
	if err := ground.WriteJSON(s.json, b.results); err != nil {
		return err
	}
	for _, r := range b.results {
		if !r.Pass && !r.Reference {
			return ground.ErrMissed
		}
	}
	return nil
}

// printHead says on what this runs: figures of different machines do not compare.
func (b *bench) printHead() {
	ground.PrintMachine()
	fmt.Printf("sizes x %g, up to %d rounds, medians with the least and the greatest in brackets\n", b.Scale, b.Rounds)
}
