package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gomover/gomover/bench/ground"
)

// rows is the table, in the order in which it is run.
var rows = []ground.Row[*bench]{
	{Name: "even", What: "200 MB to 1 to 24 receivers: up 100 Mbit/s, down 1 Gbit/s, RTT 20 ms", Run: rowEven},
	{Name: "loss", What: "the same to 24 that lose 1% each for itself", Run: rowLoss},
	{Name: "single", What: "200 MB to one receiver, beside gomover's own copy", Run: rowSingle},
	{Name: "cpu", What: "processor time of the sender to 8 receivers, beside 8 copies at once", Run: rowCPU},
	{Name: "peers", What: "beside UFTP and udpcast, 4 receivers at 0, 0.1 and 1% loss", Run: rowPeers},
	{Name: "hostile", What: "a forger and replays in the group, and 2% of all packets damaged", Run: rowHostile},
	{Name: "cut", What: "1 GB to 8 hosts: one agent killed, one host cut off for 20 s, one full disk, one host that comes back late", Run: rowCut},
	{Name: "uk", What: "20 MB to the ten sites of the UK e-Science table, beside single copies", Run: rowUK},
}

// bench is one run. One goroutine.
type bench struct {
	ground.Bench
	ground.Report
	trace    bool
	counts   []int    // receivers of the row even
	self     string   // this program
	mover    string   // gomover
	net      *network // that is up; may be nil
	lossless float64  // seconds of the row even with the most receivers; 0 is not known
}

func main() {
	args := os.Args[1:]
	if len(args) > 0 && slices.Contains([]string{sendWord, receiveWord, forgeWord}, args[0]) {
		if err := runEnd(context.Background(), args); err != nil {
			fmt.Fprintln(os.Stderr, "bench/fanout:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(ground.Exit("bench/fanout", args, run))
}

// parse reads the command line.
func parse(args []string) (b *bench, err error) {
	b = &bench{}
	flags := flag.NewFlagSet("bench/fanout", flag.ContinueOnError)
	flags.BoolVar(&b.trace, "trace", false, "print how senders stand, twice a second")
	list := flags.String("receivers", joined(counts), "in the row even measure only to so many receivers")
	if err := b.Parse(flags, args, ground.Names(rows)); err != nil {
		return nil, err
	}
	chosen, err := ground.Chosen("-receivers", *list, strings.Split(joined(counts), ","))
	if err != nil {
		return nil, err
	}
	for _, word := range chosen {
		k, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("-receivers: %w", err)
		}
		b.counts = append(b.counts, k)
	}
	return b, nil
}

// joined writes numbers as a list.
func joined(numbers []int) string {
	var words []string
	for _, n := range numbers {
		words = append(words, strconv.Itoa(n))
	}
	return strings.Join(words, ",")
}

// run measures the chosen rows and leaves nothing behind, whatever happens.
func run(ctx context.Context, args []string) error {
	b, err := parse(args)
	if err != nil {
		return err
	}
	if err := b.Check([]string{"ip", "uftp", "uftpd", "udp-sender", "udp-receiver", "scp", "/usr/sbin/sshd"}); err != nil {
		return err
	}
	defer b.Close()
	if err := b.Open("gomover-fanout-"); err != nil {
		return err
	}
	if err := os.Chmod(b.Dir, 0o755); err != nil { // for programs that are not root's
		return err
	}
	if b.self, err = os.Executable(); err != nil {
		return fmt.Errorf("looking for this program's file: %w", err)
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
