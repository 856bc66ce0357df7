package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"

	"github.com/gomover/gomover/bench/ground"
)

// rows is the table, in the order in which it is run.
var rows = []ground.Row[*bench]{
	{Name: "rates", What: "2 GiB from 100, 200 and 400 Mbit/s", Run: rowRates},
	{Name: "hosts", What: "the same from the hosts over ssh, without a list", Run: rowHosts},
	{Name: "mixed", What: "the same, the fastest over ssh, without a list", Run: rowMixed},
	{Name: "dies", What: "the link of the fastest source is cut at half time", Run: rowDies},
	{Name: "killed", What: "the server of the fastest source is killed at half time", Run: rowKilled},
	{Name: "tenth", What: "the fastest source falls to a tenth at half time", Run: rowTenth},
	{Name: "doubles", What: "a source of 200 Mbit/s has 400 from half time on", Run: rowDoubles},
	{Name: "sink", What: "the receiving end takes 300 Mbit/s", Run: rowSink},
	{Name: "lossy", What: "over ssh, while the fastest host loses 1% of its packets at random", Run: rowLossy},
	{Name: "aria2", What: "beside aria2, with one list and as many connections", Run: rowPeer},
	{Name: "aria2-tenth", What: "the same while the fastest source falls to a tenth at half time", Run: rowPeerTenth},
	{Name: "aria2-dies", What: "the same while the link of the fastest source is cut at half time", Run: rowPeerCut},
	{Name: "wrong", What: "sources with a flipped byte, another version, an end that is missing", Run: rowWrong},
	{Name: "simulated", What: "the schedule in virtual time", Run: rowSimulated},
}

// bench is one run. One goroutine.
type bench struct {
	ground.Bench
	ground.Report
	mover string   // the program that is measured
	net   *network // nil until a row needs it
}

func main() { os.Exit(ground.Exit("bench/pull", os.Args[1:], run)) }

// parse reads the command line.
func parse(args []string) (b *bench, err error) {
	b = &bench{}
	flags := flag.NewFlagSet("bench/pull", flag.ContinueOnError)
	if err := b.Parse(flags, args, ground.Names(rows)); err != nil {
		return nil, err
	}
	return b, nil
}

// check says what is missing before anything is started.
func (b *bench) check() error {
	if slices.Equal(b.Rows, []string{"simulated"}) {
		return nil
	}
	return b.Check([]string{"ip", "nginx", "aria2c", "/usr/sbin/sshd"}, "simulated")
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
	defer b.Close()
	if err := b.Open("gomover-pull-"); err != nil {
		return err
	}
	b.mover = filepath.Join(b.Dir, "gomover")
	if err := b.Mover(ctx, b.mover); err != nil {
		return err
	}
	defer b.down()
	ground.PrintMachine()
	if err := ground.Measure(ctx, b, rows, b.Rows, &b.Report); err != nil {
		return err
	}
	return b.Finish(b.JSON)
}
