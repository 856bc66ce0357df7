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
	{"rates", "2 GiB from 100, 200 and 400 Mbit/s", rowRates},
	{"hosts", "the same from the hosts over ssh, without a list", rowHosts},
	{"mixed", "the same, the fastest over ssh, without a list", rowMixed},
	{"dies", "the link of the fastest source is cut at half time", rowDies},
	{"killed", "the server of the fastest source is killed at half time", rowKilled},
	{"tenth", "the fastest source falls to a tenth at half time", rowTenth},
	{"doubles", "a source of 200 Mbit/s has 400 from half time on", rowDoubles},
	{"sink", "the receiving end takes 300 Mbit/s", rowSink},
	{"aria2", "beside aria2, with one list and as many connections", rowPeer},
	{"aria2-tenth", "the same while the fastest source falls to a tenth at half time", rowPeerTenth},
	{"aria2-dies", "the same while the link of the fastest source is cut at half time", rowPeerCut},
	{"wrong", "sources with a flipped byte, another version, an end that is missing", rowWrong},
	{"simulated", "the schedule in virtual time", rowSimulated},
}

// bench is one run. One goroutine.
type bench struct {
	ground.Options
	ground.Report
	json   string
	dir    string // in memory, removed at the end
	mover  string // the program that is measured
	groups *ground.Groups
	net    *network // nil until a row needs it
}

func main() { os.Exit(ground.Exit("bench/pull", os.Args[1:], run)) }

// parse reads the command line.
func parse(args []string) (b *bench, err error) {
	b = &bench{}
	flags := flag.NewFlagSet("bench/pull", flag.ContinueOnError)
	flags.StringVar(&b.json, "json", "", "write the results to this file")
	var names []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	if err := b.Parse(flags, args, names); err != nil {
		return nil, err
	}
	return b, nil
}

// check says what is missing before anything is started.
func (b *bench) check() error {
	if slices.Equal(b.Rows, []string{"simulated"}) {
		return nil
	}
	if os.Geteuid() != 0 {
		return errors.New("root is needed: for network namespaces and cgroups")
	}
	for _, program := range []string{"ip", "nginx", "aria2c", "/usr/sbin/sshd"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("a program is missing (make bench-deps installs it): %w", err)
		}
	}
	if b.Lab == "" {
		return errors.New("all rows but simulated need -lab PROGRAM, a WAN emulator (docs/lab.md)")
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
	if b.dir, err = os.MkdirTemp(b.Memory, "gomover-pull-"); err != nil {
		return fmt.Errorf("making a directory in memory: %w", err)
	}
	defer os.RemoveAll(b.dir)
	b.mover = filepath.Join(b.dir, "gomover")
	if err := b.Mover(ctx, b.mover); err != nil {
		return err
	}
	if b.groups, err = ground.NewGroups(b.dir); err != nil {
		return err
	}
	defer b.groups.Close()
	defer b.down()
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
