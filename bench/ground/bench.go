package ground

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Bench is what a run of a program of measurements begins with: its settings, a
// directory in memory, and groups for its processes. The zero value is ready for
// Parse; then come Check, Open, Measure, and Close at the end. One goroutine.
type Bench struct {
	Options
	JSON   string  // the file for the results; "" is none
	Dir    string  // from Open to Close
	Groups *Groups // from Open to Close
}

// Parse is that of Options with one more option: the file for the results.
func (b *Bench) Parse(flags *flag.FlagSet, args, rows []string) error {
	flags.StringVar(&b.JSON, "json", "", "write the results to this file")
	return b.Options.Parse(flags, args, rows)
}

// Chosen says whether a row is to be measured.
func (b *Bench) Chosen(row string) bool { return slices.Contains(b.Rows, row) }

// Check says what is missing before anything is started: root, one of the programs, or
// the emulator, which all rows need but those in alone.
func (b *Bench) Check(programs []string, alone ...string) error {
	if os.Geteuid() != 0 {
		return errors.New("root is needed: for network namespaces, cgroups and servers of its own")
	}
	var missing []string
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing = append(missing, p)
		}
	}
	if missing != nil {
		return fmt.Errorf("programs are missing: %s; make bench-deps installs them", strings.Join(missing, ", "))
	}
	for _, r := range b.Rows {
		if slices.Contains(alone, r) {
			continue
		}
		if b.Lab == "" {
			return fmt.Errorf("the row %s needs -lab PROGRAM, a WAN emulator (docs/bench.md)%s", r, others(alone))
		}
		if _, err := exec.LookPath(b.Lab); err != nil {
			return fmt.Errorf("-lab: %w", err)
		}
	}
	return nil
}

// others are words about the rows that need no emulator.
func others(alone []string) string {
	if len(alone) == 0 {
		return ""
	}
	return "; without one: -rows " + strings.Join(alone, ",")
}

// Open makes the directory, whose name begins with name, and the groups. After an
// error, too, Close takes away what there is.
func (b *Bench) Open(name string) (err error) {
	if b.Dir, err = os.MkdirTemp(b.Memory, name); err != nil {
		return fmt.Errorf("making a directory in memory: %w", err)
	}
	b.Groups, err = NewGroups(b.Dir)
	return err
}

// Close ends what runs in the groups and removes them and the directory.
func (b *Bench) Close() {
	if b.Groups != nil {
		b.Groups.Close()
	}
	if b.Dir != "" {
		_ = os.RemoveAll(b.Dir) // what stays is lost memory until the machine restarts
	}
}

// Row is one row of a table: what it is called on the command line, what it says, and
// what measures it. B is what the program knows of its run.
type Row[B any] struct {
	Name string
	What string
	Run  func(context.Context, B) error
}

// Names are those of the rows.
func Names[B any](rows []Row[B]) (names []string) {
	for _, r := range rows {
		names = append(names, r.Name)
	}
	return names
}

// ErrInterrupted says that the user has stopped a run.
var ErrInterrupted = errors.New("interrupted")

// Measure runs the chosen rows in the order of the table. One that cannot be measured
// is missed in the report, and the others go on. The error is ErrInterrupted, when ctx
// has ended.
func Measure[B any](ctx context.Context, b B, rows []Row[B], chosen []string, report *Report) error {
	for _, r := range rows {
		if !slices.Contains(chosen, r.Name) {
			continue
		}
		fmt.Printf("\n## %s: %s\n\n", r.Name, r.What)
		err := r.Run(ctx, b)
		switch {
		case ctx.Err() != nil:
			return ErrInterrupted
		case err != nil:
			report.Failed(r.Name, err)
		}
	}
	return nil
}
