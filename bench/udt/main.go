package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/gomover/gomover/bench/ground"
)

// rows is the table, in the order in which it is run.
var rows = []ground.Row[*bench]{
	{Name: "loop", What: "one flow over loopback, MSS 1500", Run: rowLoop},
	{Name: "wan", What: "one flow, native control, 1 Gbit/s, RTT 100 ms", Run: rowWAN},
	{Name: "lossy", What: "one flow, 1 Gbit/s, RTT 200 ms, 1% random loss each way", Run: rowLossy},
	{Name: "same", What: "4 native flows, 100 Mbit/s, RTT 40 ms, queue of 40 ms", Run: rowSame},
	{Name: "apart", What: "native flows, 2 of RTT 10 ms and 2 of 100 ms, 100 Mbit/s, queue of 100 ms", Run: rowApart},
	{Name: "beside", What: "one flow beside one of cubic TCP, 100 Mbit/s, RTT 40 ms, queue of 40 ms", Run: rowBeside},
}

// bench is one run. One goroutine.
type bench struct {
	ground.Bench
	ground.Report
	quick  bool
	self   string // this program
	driver string // of libudt
}

func main() {
	args := os.Args[1:]
	if len(args) > 0 && args[0] == endWord {
		if err := runEnd(context.Background(), args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench/udt:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(ground.Exit("bench/udt", args, run))
}

// parse reads the command line.
func parse(args []string) (b *bench, err error) {
	b = &bench{}
	flags := flag.NewFlagSet("bench/udt", flag.ContinueOnError)
	flags.BoolVar(&b.quick, "quick", false, "one round of a third of the time, which judges roughly")
	if err := b.Parse(flags, args, ground.Names(rows)); err != nil {
		return nil, err
	}
	if b.quick {
		b.Rounds = 1
	}
	if b.Program != "" {
		return nil, errors.New("-program: this program is itself the one that is measured")
	}
	return b, nil
}

// run measures the chosen rows and leaves nothing behind, whatever happens.
func run(ctx context.Context, args []string) error {
	b, err := parse(args)
	if err != nil {
		return err
	}
	if err := b.Check([]string{"ip", "g++", "/usr/sbin/sshd"}, "loop"); err != nil {
		return err
	}
	defer b.Close()
	if err := b.Open("gomover-udt-"); err != nil {
		return err
	}
	if err := b.build(ctx); err != nil {
		return err
	}
	ground.PrintMachine()
	if err := ground.Measure(ctx, b, rows, b.Rows, &b.Report); err != nil {
		return err
	}
	return b.Finish(b.JSON)
}

// build makes the driver of libudt. The other ends are this very program.
func (b *bench) build(ctx context.Context) (err error) {
	if b.self, err = os.Executable(); err != nil {
		return fmt.Errorf("looking for this program's file: %w", err)
	}
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return fmt.Errorf("looking for the source of the driver of libudt: %w", err)
	}
	b.driver = filepath.Join(b.Dir, "udtflow")
	source := filepath.Join(strings.TrimSpace(string(root)), "testdata/udt/udtflow.cc")
	if err := ground.Quiet(ctx, nil, "g++", "-O2", "-o", b.driver, source, "-ludt", "-lpthread"); err != nil {
		return fmt.Errorf("building the driver of libudt (make bench-deps installs it): %w", err)
	}
	return nil
}

// span scales a time.
func (b *bench) span(full time.Duration) time.Duration {
	if b.quick {
		full /= 3
	}
	return time.Duration(float64(full) * b.Scale)
}
