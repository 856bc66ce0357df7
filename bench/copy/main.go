package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gomover/gomover/bench/ground"
)

// rows is the table, in the order in which it is run.
var rows = []ground.Row[*bench]{
	{Name: "wan", What: "one large file over 1 Gbit/s, RTT 100 ms", Run: rowWAN},
	{Name: "lossy", What: "the same with 0.1% loss in each direction", Run: rowLossy},
	{Name: "choice", What: "both, where bbr is not allowed or socket buffers are small", Run: rowChoice},
	{Name: "start", What: "what a whole command takes beyond its bytes and a login, over the first path", Run: rowStart},
	{Name: "change", What: "a path of 100 Mbit/s that changes while a copy runs", Run: rowChange},
	{Name: "cut", What: "a copy over UDT whose UDP is dropped midway", Run: rowCut},
	{Name: "small", What: "a file of 1 KiB at RTT 100 ms", Run: rowSmall},
	{Name: "loop", What: "CPU per GB and throughput over loopback", Run: rowLoop},
	{Name: "peers", What: "the default beside scp, rsync and rclone over loopback", Run: rowPeers},
	{Name: "tree", What: "100,000 files of 4 KiB at RTT 50 ms", Run: rowTree},
	{Name: "memory", What: "peak memory with a tree of a million empty files", Run: rowMemory},
	{Name: "kill", What: "ends killed at any moment, the command repeated", Run: rowKill},
}

// settings are the command line's.
type settings struct {
	ground.Bench
	peers bool
	kills int
	disk  string
	seed  uint64
	cases string
}

// bench is one run: its settings, the results so far, and the program that is
// measured. One goroutine.
type bench struct {
	settings
	ground.Report
	binary  string
	reserve *ground.Reserve     // nil: small sizes, where it is not worth its time
	peaks   map[string][2]int64 // row name: VmHWM in bytes of the near and the far end
}

func main() { os.Exit(ground.Exit("bench/copy", os.Args[1:], run)) }

// parse reads the command line.
func parse(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("bench/copy", flag.ContinueOnError)
	flags.BoolVar(&s.peers, "peers", false, "in the rows wan and lossy also run scp, rsync and iperf3, which takes minutes")
	flags.IntVar(&s.kills, "kills", 100, "runs of the row kill")
	flags.StringVar(&s.disk, "disk", "/var/tmp", "a directory on a disk, for the row tree")
	flags.Uint64Var(&s.seed, "seed", 1, "of the random moments of the row kill")
	flags.StringVar(&s.cases, "cases", "", "in the rows choice, start, change and cut measure only those whose name has this in it")
	if err := s.Parse(flags, args, ground.Names(rows)); err != nil {
		return s, err
	}
	if s.kills < 1 {
		return s, errors.New("-kills must be positive")
	}
	return s, nil
}

// needed names the programs that the chosen rows call.
func (s *settings) needed() []string {
	need := []string{"ip", "/usr/sbin/sshd", "ssh", "ssh-keygen"}
	if s.Chosen("cut") {
		need = append(need, "nft")
	}
	if s.Chosen("loop") || s.peers {
		need = append(need, "iperf3")
	}
	if s.Chosen("tree") || s.Chosen("peers") || s.peers {
		need = append(need, "rsync")
	}
	if s.Chosen("tree") {
		need = append(need, "tar")
	}
	if s.Chosen("peers") {
		need = append(need, "rclone")
	}
	return need
}

// run measures the chosen rows and leaves nothing behind, whatever happens.
func run(ctx context.Context, args []string) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
	}
	if err := s.Check(s.needed(), "loop", "peers", "memory", "kill"); err != nil {
		return err
	}
	b := &bench{settings: s, peaks: map[string][2]int64{}}
	defer b.Close()
	if err := b.Open("gomover-bench-"); err != nil {
		return err
	}
	b.binary = filepath.Join(b.Dir, "gomover")
	if err := b.Mover(ctx, b.binary); err != nil {
		return err
	}
	if b.Scale >= 1 {
		if b.reserve, err = ground.NewReserve(); err != nil {
			return err
		}
		defer b.reserve.Close()
	}
	b.printHead()
	if err := ground.Measure(ctx, b, rows, b.Rows, &b.Report); err != nil {
		return err
	}
	b.reportMemory()
	return b.Finish(b.JSON)
}

// printHead says on what this runs: figures of different machines do not compare.
func (b *bench) printHead() {
	ground.PrintMachine()
	fmt.Printf("sizes x %g, up to %d rounds, medians with the least and the greatest in brackets\n", b.Scale, b.Rounds)
}
