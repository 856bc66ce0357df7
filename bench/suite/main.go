package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/bench/peer"
)

// settings are the command line's.
type settings struct {
	lab     string
	out     string
	rows    []string
	only    []string // programs; gomover is always among them
	rounds  int
	scale   float64
	quick   bool
	control string
	memory  string
	program string
	quiet   time.Duration
	from    string // a report to be shown again
}

// bench is one run. One goroutine.
type bench struct {
	settings
	dir    string // in memory, removed at the end
	mover  string // the program that is measured
	udt    string // the driver of libudt
	groups *ground.Groups
	kept   *scene // the network of the rows with two ends, while it is up
	report Report
}

// errMissed says that something could not be measured, or a bar was not reached.
var errMissed = errors.New("something could not be measured, or a bar was not reached")

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
		fmt.Fprintln(os.Stderr, "bench/suite:", err)
		os.Exit(1)
	}
}

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
	only := flags.String("rows", strings.Join(names, ","), "the rows to measure")
	some := flags.String("programs", strings.Join(programs, ","), "the programs to compare with")
	flags.StringVar(&s.lab, "lab", "", "the WAN emulator (docs/bench.md)")
	flags.StringVar(&s.out, "out", "bench-results", "the directory for the results; what is there of an earlier run is replaced")
	flags.BoolVar(&s.quick, "quick", false, "small files, few points, one round: everything in some minutes, nothing exact")
	flags.IntVar(&s.rounds, "rounds", 0, "rounds per row, 3 if not set; the median counts")
	flags.Float64Var(&s.scale, "scale", 1, "multiplies sizes")
	flags.StringVar(&s.control, "cc", "cubic", "the TCP congestion control of all hosts")
	flags.StringVar(&s.memory, "memory", "/dev/shm", "a directory on a memory file system")
	flags.StringVar(&s.program, "program", "", "measure this program instead of building one")
	flags.DurationVar(&s.quiet, "quiet", 0, "wait up to this long before each command until other programs are idle")
	flags.StringVar(&s.from, "from", "", "measure nothing: write table and pictures of this results.json again")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if flags.NArg() > 0 {
		return s, fmt.Errorf("unexpected word %q", flags.Arg(0))
	}
	if s.rounds == 0 {
		s.rounds = 3
		if s.quick {
			s.rounds = 1
		}
	}
	if s.rounds < 1 || !(s.scale > 0) {
		return s, errors.New("-rounds and -scale must be positive")
	}
	if s.rows, err = chosen("-rows", *only, names); err != nil {
		return s, err
	}
	if s.only, err = chosen("-programs", *some, programs); err != nil {
		return s, err
	}
	if !slices.Contains(s.only, "gomover") {
		s.only = append(s.only, "gomover")
	}
	return s, nil
}

// chosen splits a list and checks its words.
func chosen(option, list string, known []string) ([]string, error) {
	words := strings.Split(list, ",")
	for _, w := range words {
		if !slices.Contains(known, w) {
			return nil, fmt.Errorf("%s: no %q; there are %s", option, w, strings.Join(known, ", "))
		}
	}
	return words, nil
}

// programs are those to compare, gomover first.
func (s settings) programs() (list []peer.Program) {
	for _, p := range peer.All() {
		if slices.Contains(s.only, p.Name) {
			list = append(list, p)
		}
	}
	return list
}

// check says what is missing before anything is started.
func (s settings) check() error {
	if os.Geteuid() != 0 {
		return errors.New("root is needed: for network namespaces and cgroups")
	}
	var missing []string
	for _, p := range s.programs() {
		for _, need := range p.Needs {
			if _, err := exec.LookPath(need); err != nil {
				missing = append(missing, need)
			}
		}
	}
	if missing != nil {
		return fmt.Errorf("programs are missing: %s; make bench-deps installs them", strings.Join(missing, ", "))
	}
	if _, err := exec.LookPath(s.lab); err != nil {
		return fmt.Errorf("-lab: a WAN emulator is needed (docs/bench.md): %w", err)
	}
	return nil
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
	if err := s.check(); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(s.memory, "gomover-suite-"); err != nil {
		return fmt.Errorf("making a directory in memory: %w", err)
	}
	defer os.RemoveAll(b.dir)
	// Servers that work as another user must get through.
	if err := os.Chmod(b.dir, 0o711); err != nil {
		return err
	}
	if err := b.build(ctx); err != nil {
		return err
	}
	if b.groups, err = ground.NewGroups(b.dir); err != nil {
		return err
	}
	defer b.groups.Close()
	defer b.release()
	b.begin()
	b.rowsInTurn(ctx)
	var measured error
	if ctx.Err() != nil {
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
	for _, r := range rows {
		if !slices.Contains(b.settings.rows, r.name) || ctx.Err() != nil {
			continue
		}
		fmt.Printf("\n## %s: %s\n\n", r.name, r.what)
		start := time.Now()
		if err := r.run(ctx, b, r.name); err != nil {
			b.release() // whatever is wrong with it
			if ctx.Err() == nil {
				b.fail(r.name, err)
			}
		}
		fmt.Printf("(%.0f s)\n", time.Since(start).Seconds())
	}
}

// fail notes what could not be measured.
func (b *bench) fail(what string, err error) {
	text := what + ": " + err.Error()
	b.report.Failures = append(b.report.Failures, text)
	fmt.Println("FAIL", text)
}

// verdict is errMissed if anything failed. Bars count at full size only: a small
// file never reaches a share of a link's rate.
func (b *bench) verdict() error {
	if len(b.report.Failures) > 0 {
		return errMissed
	}
	for _, bar := range b.report.Bars {
		if !bar.Pass && !bar.Reference && !b.quick && b.scale == 1 {
			return errMissed
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
		Options:  Options{Quick: b.quick, Rounds: b.rounds, Scale: b.scale, Control: b.control},
		Searches: []Search{}, Measurements: []Measurement{}, Bars: []Bar{}, Failures: []string{},
	}
	m := b.report.Machine
	fmt.Printf("machine: %d processors, %s, Linux %s, %s\n", m.Processors, m.Model, m.Kernel, m.Go)
	fmt.Printf("%d rounds, sizes x %g, quick %v, congestion control %s\n", b.rounds, b.scale, b.quick, b.control)
}

// build makes the program that is measured, as it is released, and the driver of
// libudt.
func (b *bench) build(ctx context.Context) error {
	b.mover, b.udt = filepath.Join(b.dir, "gomover"), filepath.Join(b.dir, "udtbench")
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
	if b.program == "" {
		return ground.Build(ctx, "github.com/gomover/gomover/cmd/gomover", b.mover)
	}
	data, err := os.ReadFile(b.program)
	if err == nil {
		err = os.WriteFile(b.mover, data, 0o755)
	}
	return err
}

// size scales a size of a full or of a quick run: multiples of 4 KiB, at least one.
func (b *bench) size(full, quick int64) int64 {
	n := full
	if b.quick {
		n = quick
	}
	return max(4096, int64(float64(n)*b.scale)&^4095)
}
