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
	{"loop", "one flow over loopback, MSS 1500", rowLoop},
	{"wan", "one flow, native control, 1 Gbit/s, RTT 100 ms", rowWAN},
	{"lossy", "one flow, 1 Gbit/s, RTT 200 ms, 1% random loss each way", rowLossy},
	{"same", "4 native flows, 100 Mbit/s, RTT 40 ms, queue of 40 ms", rowSame},
	{"apart", "native flows, 2 of RTT 10 ms and 2 of 100 ms, 100 Mbit/s, queue of 100 ms", rowApart},
	{"beside", "one flow beside one of cubic TCP, 100 Mbit/s, RTT 40 ms, queue of 40 ms", rowBeside},
}

// bench is one run. One goroutine.
type bench struct {
	ground.Options
	ground.Report
	json   string
	quick  bool
	dir    string // in memory, removed at the end
	self   string // this program
	driver string // of libudt
	groups *ground.Groups
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
	flags.StringVar(&b.json, "json", "", "write the results to this file")
	flags.BoolVar(&b.quick, "quick", false, "one round of a third of the time, which judges roughly")
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	if err := b.Parse(flags, args, names); err != nil {
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

// check says what is missing before anything is started.
func (b *bench) check() error {
	if os.Geteuid() != 0 {
		return errors.New("root is needed: for network namespaces and cgroups")
	}
	for _, program := range []string{"ip", "g++", "/usr/sbin/sshd"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("a program is missing (make bench-deps installs it): %w", err)
		}
	}
	if b.Lab == "" && !slices.Equal(b.Rows, []string{"loop"}) {
		return errors.New("all rows but loop need -lab PROGRAM, a WAN emulator (docs/lab.md)")
	}
	return nil
}

// run measures the chosen rows and leaves nothing behind, whatever happens.
func run(ctx context.Context, args []string) error {
	b, err := parse(args)
	if err != nil {
		return err
	}
	if err := b.check(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(b.Memory, "gomover-udt-"); err != nil {
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
	ground.PrintMachine()
	for _, r := range rows {
		if !slices.Contains(b.Rows, r.name) {
			continue
		}
		fmt.Printf("\n## %s: %s\n\n", r.name, r.what)
		if err := r.run(ctx, b); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			b.Failed(r.name, err)
		}
	}
	return b.Finish(b.json)
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
	b.driver = filepath.Join(b.dir, "udtflow")
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
