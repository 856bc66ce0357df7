package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/bench/peer"
)

// settings are the command line's.
type settings struct {
	ground.Bench
	out     string
	only    []string // programs; gomover is always among them
	quick   bool
	control string
	from    string // a report to be shown again
}

// bench is one run. One goroutine.
type bench struct {
	settings
	mover string // the program that is measured
	udt   string // the driver of libudt
	// reserve is nil with small sizes, where it is not worth its time.
	reserve *ground.Reserve
	kept    *scene // the network of the rows with two ends, while it is up
	report  Report
}

func main() { os.Exit(ground.Exit("bench/suite", os.Args[1:], run)) }

// parse reads the command line.
func parse(args []string) (s settings, err error) {
	flags := flag.NewFlagSet("bench/suite", flag.ContinueOnError)
	var names, programs []string
	for _, r := range rows {
		names = append(names, r.name)
	}
	for _, p := range peer.All() {
		programs = append(programs, p.Name)
	}
	some := flags.String("programs", strings.Join(programs, ","), "the programs to compare with")
	flags.StringVar(&s.out, "out", "bench-results", "the directory for the results; what is there of an earlier run is replaced")
	flags.BoolVar(&s.quick, "quick", false, "small files, few points, one round: everything in some minutes, nothing exact")
	flags.StringVar(&s.control, "cc", "cubic", "the TCP congestion control of all hosts")
	flags.StringVar(&s.from, "from", "", "measure nothing: write table and pictures of this results.json again")
	if err := s.Options.Parse(flags, args, names); err != nil {
		return s, err
	}
	if s.quick { // unless it is said otherwise
		given := false
		flags.Visit(func(f *flag.Flag) { given = given || f.Name == "rounds" })
		if !given {
			s.Rounds = 1
		}
	}
	if s.only, err = ground.Chosen("-programs", *some, programs); err != nil {
		return s, err
	}
	if !slices.Contains(s.only, "gomover") {
		s.only = append(s.only, "gomover")
	}
	return s, nil
}

// programs are those to compare, gomover first.
func (s *settings) programs() (list []peer.Program) {
	for _, p := range peer.All() {
		if slices.Contains(s.only, p.Name) {
			list = append(list, p)
		}
	}
	return list
}

// needed names what the programs consist of.
func (s *settings) needed() (need []string) {
	for _, p := range s.programs() {
		need = append(need, p.Needs...)
	}
	return need
}

// run measures the chosen rows, writes what was found, and leaves nothing else
// behind, whatever happens.
func run(ctx context.Context, args []string) (err error) {
	s, err := parse(args)
	if err != nil {
		return err
	}
	b := &bench{settings: s}
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return fmt.Errorf("making the directory for the results: %w", err)
	}
	if s.from != "" {
		if b.report, err = readReport(s.from); err != nil {
			return err
		}
		return b.write()
	}
	if err := b.Check(b.needed()); err != nil {
		return err
	}
	defer b.Close()
	if err := b.Open("gomover-suite-"); err != nil {
		return err
	}
	// Servers that work as another user must get through.
	if err := os.Chmod(b.Dir, 0o711); err != nil {
		return err
	}
	if err := b.build(ctx); err != nil {
		return err
	}
	if b.Scale >= 1 && !b.quick {
		if b.reserve, err = ground.NewReserve(); err != nil {
			return err
		}
		defer b.reserve.Close()
	}
	defer b.release()
	b.begin()
	b.rowsInTurn(ctx)
	var measured error
	if ctx.Err() != nil {
		if r := b.report; len(r.Measurements)+len(r.Searches)+len(r.Bars) == 0 {
			return errors.New("interrupted before anything was measured") // an earlier run's results stay
		}
		measured = errors.New("interrupted; what was measured so far is written")
	}
	b.report.finish()
	if err := b.write(); err != nil {
		return errors.Join(err, measured)
	}
	if measured != nil {
		return measured
	}
	return b.verdict()
}

// rowsInTurn measures the chosen rows. A row that cannot be measured is a failure
// in the report; the others go on.
func (b *bench) rowsInTurn(ctx context.Context) {
	var taken, planned float64 // minutes, of the rows so far
	for i, r := range rows {
		if !slices.Contains(b.Rows, r.name) || ctx.Err() != nil {
			continue
		}
		fmt.Printf("\n## %s: %s\n", r.name, r.what)
		if !b.quick {
			pace := b.Scale // of this machine, as far as it is known
			if planned > 0 {
				pace = taken / planned
			}
			fmt.Printf("some %.0f of %.0f minutes left\n", math.Ceil(pace*r.minutes), math.Ceil(pace*b.planned(i)))
		}
		fmt.Println()
		start := time.Now()
		if err := r.run(ctx, b, r.name); err != nil {
			b.release() // whatever is wrong with it
			if ctx.Err() == nil {
				b.fail(r.name, err)
			}
		}
		took := time.Since(start)
		taken, planned = taken+took.Minutes(), planned+r.minutes
		fmt.Printf("(%.0f s)\n", took.Seconds())
	}
}

// planned is how many minutes the chosen rows take from row i on, all programs and
// sizes given.
func (b *bench) planned(i int) (sum float64) {
	for _, r := range rows[i:] {
		if slices.Contains(b.Rows, r.name) {
			sum += r.minutes
		}
	}
	return sum
}

// fail notes what could not be measured.
func (b *bench) fail(what string, err error) {
	text := what + ": " + err.Error()
	b.report.Failures = append(b.report.Failures, text)
	fmt.Println("FAIL", text)
}

// verdict is ground.ErrMissed if anything failed. Bars count at full size only: a small
// file never reaches a share of a link's rate.
func (b *bench) verdict() error {
	if len(b.report.Failures) > 0 {
		return ground.ErrMissed
	}
	for _, bar := range b.report.Bars {
		if !bar.Pass && !bar.Reference && !b.quick && b.Scale == 1 {
			return ground.ErrMissed
		}
	}
	return nil
}

// begin says on what this runs.
func (b *bench) begin() {
	b.report = Report{
		Schema: schema, Start: time.Now().UTC().Truncate(time.Second),
		Machine: Machine{
			Processors: runtime.NumCPU(), Model: ground.CPUModel(), Kernel: ground.FirstLine("/proc/sys/kernel/osrelease"), Go: runtime.Version(),
			ReceiveMax: ground.FirstLine("/proc/sys/net/core/rmem_max"), SendMax: ground.FirstLine("/proc/sys/net/core/wmem_max"),
		},
		Options:  Options{Quick: b.quick, Rounds: b.Rounds, Scale: b.Scale, Control: b.control},
		Searches: []Search{}, Measurements: []Measurement{}, Bars: []Bar{}, Failures: []string{},
	}
	m := b.report.Machine
	fmt.Printf("machine: %d processors, %s, Linux %s, %s\n", m.Processors, m.Model, m.Kernel, m.Go)
	fmt.Printf("up to %d rounds, sizes x %g, quick %v, congestion control %s\n", b.Rounds, b.Scale, b.quick, b.control)
}

// build makes the program that is measured, as it is released, and the driver of
// libudt.
func (b *bench) build(ctx context.Context) error {
	b.mover, b.udt = filepath.Join(b.Dir, "gomover"), filepath.Join(b.Dir, "udtbench")
	if slices.Contains(b.only, "libudt") {
		root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/gomover/gomover").Output()
		if err != nil {
			return fmt.Errorf("looking for the source of the driver of libudt: %w", err)
		}
		source := filepath.Join(strings.TrimSpace(string(root)), "testdata/udt/udtbench.cc")
		if err := ground.Quiet(ctx, nil, "g++", "-O2", "-o", b.udt, source, "-ludt", "-lpthread"); err != nil {
			return fmt.Errorf("building the driver of libudt (make bench-deps installs libudt-dev): %w", err)
		}
	}
	return b.Mover(ctx, b.mover)
}

// size scales a size of a full or of a quick run.
func (b *bench) size(full, quick int64) int64 {
	if b.quick {
		return b.Size(quick)
	}
	return b.Size(full)
}
