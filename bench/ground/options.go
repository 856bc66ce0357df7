package ground

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrMissed says that a bar was not reached or something could not be measured, and
// that the report of the rest is written.
var ErrMissed = errors.New("something could not be measured, or a bar was not reached")

// MissedCode is the exit code that says ErrMissed.
const MissedCode = 2

// Exit runs a program of measurements, ends it in order when it is interrupted, and
// gives its exit code: 0, MissedCode, and 1 for other errors, which it prints after
// the name.
func Exit(name string, args []string, run func(ctx context.Context, args []string) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	err := run(ctx, args)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, ErrMissed):
		return MissedCode
	}
	fmt.Fprintln(os.Stderr, name+":", err)
	return 1
}

// Options are those that all programs of measurements have.
type Options struct {
	Lab     string        // the emulator; "" is none
	Rows    []string      // the chosen ones
	Rounds  int           // how often each command runs, at least 1
	Scale   float64       // multiplies sizes, more than 0
	Memory  string        // a directory on a memory file system
	Program string        // what is measured; "" is what the source gives
	Quiet   time.Duration // how long to wait for an idle machine before each command
}

// Parse reads a command line: the options, with rows as the known rows, and what
// else flags has. Errors: unknown or senseless words, and flag.ErrHelp.
func (o *Options) Parse(flags *flag.FlagSet, args, rows []string) error {
	list := flags.String("rows", strings.Join(rows, ","), "the rows to measure")
	flags.StringVar(&o.Lab, "lab", "", "the WAN emulator (docs/bench.md)")
	flags.IntVar(&o.Rounds, "rounds", 3, "rounds per row, or as many as settle the median, which counts")
	flags.Float64Var(&o.Scale, "scale", 1, "multiplies sizes and counts; only 1 is full size")
	flags.StringVar(&o.Memory, "memory", "/dev/shm", "a directory on a memory file system")
	flags.StringVar(&o.Program, "program", "", "measure this program instead of building one")
	flags.DurationVar(&o.Quiet, "quiet", 0, "wait up to this long before each command until other programs are idle")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected word %q", flags.Arg(0))
	}
	if o.Rounds < 1 || !(o.Scale > 0) {
		return errors.New("-rounds and -scale must be positive")
	}
	var err error
	o.Rows, err = Chosen("-rows", *list, rows)
	return err
}

// Chosen splits a list of words and checks that all are known. The option is for
// the error.
func Chosen(option, list string, known []string) ([]string, error) {
	words := strings.Split(list, ",")
	for _, w := range words {
		if !slices.Contains(known, w) {
			return nil, fmt.Errorf("%s: no %q; there are %s", option, w, strings.Join(known, ", "))
		}
	}
	return words, nil
}

// Size scales a size in bytes: multiples of 4 KiB, at least one.
func (o *Options) Size(full int64) int64 { return max(4096, int64(float64(full)*o.Scale)&^4095) }

// Mover puts the program that is measured at a path: the given one, or what is
// built as it is released.
func (o *Options) Mover(ctx context.Context, path string) error {
	if o.Program == "" {
		return Build(ctx, "github.com/gomover/gomover/cmd/gomover", path)
	}
	data, err := os.ReadFile(o.Program)
	if err == nil {
		err = os.WriteFile(path, data, 0o755)
	}
	return err
}
