package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
	json    string
	quick   bool
	dir     string // in memory, removed at the end
	self    string // this program
	driver  string // of libudt
	groups  *ground.Groups
	notes   []string // for the next result that is judged
	results []result
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
	fmt.Printf("machine: %d processors, %s, Linux %s, %s\n", runtime.NumCPU(), ground.CPUModel(), ground.FirstLine("/proc/sys/kernel/osrelease"), runtime.Version())
	for _, r := range rows {
		if !slices.Contains(b.Rows, r.name) {
			continue
		}
		fmt.Printf("\n## %s: %s\n\n", r.name, r.what)
		if err := r.run(ctx, b); err != nil {
			if ctx.Err() != nil {
				return errors.New("interrupted")
			}
			b.add(result{Row: r.name, Figure: "could not be measured: " + oneLine(err), Bar: "-", Notes: b.taken()})
		}
	}
	return b.finish()
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

// result is one line of the table. Figure and Bar are for people; Value and Limit
// are the same as numbers. A Reference has no bar.
type result struct {
	Row       string         `json:"row"`
	Figure    string         `json:"figure"`
	Bar       string         `json:"bar"`
	Value     float64        `json:"value"`
	Limit     float64        `json:"limit"`
	Samples   ground.Samples `json:"samples,omitempty"`
	Notes     []string       `json:"notes,omitempty"`
	Pass      bool           `json:"pass"`
	Reference bool           `json:"reference,omitempty"`
}

func (r result) String() string {
	verdict := "FAIL"
	switch {
	case r.Reference:
		verdict = ""
	case r.Pass:
		verdict = "pass"
	}
	return fmt.Sprintf("| %s | %s | %s | %s |", r.Row, r.Figure, r.Bar, verdict)
}

// add keeps and prints a result.
func (b *bench) add(r result) {
	b.results = append(b.results, r)
	fmt.Println(r)
}

// oneLine is an error's text as a line of a table holds it.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// note prints something that belongs to the next result that is judged.
func (b *bench) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
	fmt.Println("    " + b.notes[len(b.notes)-1])
}

// taken hands the notes over.
func (b *bench) taken() (l []string) {
	l, b.notes = b.notes, nil
	return l
}

// judge adds a result whose value is the median of samples.
func (b *bench) judge(name, unit, bar string, limit float64, atMost bool, samples ground.Samples) {
	v := samples.Median()
	b.add(result{
		Row: name, Figure: samples.Text("%.3f", unit), Bar: bar, Value: v, Limit: limit, Samples: samples, Notes: b.taken(),
		Pass: len(samples) > 0 && (!atMost && v >= limit || atMost && v <= limit),
	})
}

// show adds a result without a bar.
func (b *bench) show(name, unit string, samples ground.Samples) {
	b.add(result{Row: name, Figure: samples.Text("%.3f", unit), Bar: "reference", Value: samples.Median(), Samples: samples, Reference: true})
}

// finish prints all results once more, as Markdown, and writes them to the file.
func (b *bench) finish() error {
	fmt.Print("\n| row | figure | bar | |\n| --- | --- | --- | --- |\n")
	missed := false
	for _, r := range b.results {
		fmt.Println(r)
		missed = missed || !r.Pass && !r.Reference
	}
	if b.json != "" {
		text, err := json.MarshalIndent(b.results, "", "  ")
		if err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
		if err := os.WriteFile(b.json, append(text, '\n'), 0o644); err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
	}
	if missed {
		return ground.ErrMissed
	}
	return nil
}
