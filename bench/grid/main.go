// Command bench-grid measures what gomover reaches without any flag beside every fixed
// number of streams, on emulated paths (docs/lab.md). It needs root and bin/lab. Several
// networks are up at the same time, each in a mount namespace of its own; every run that
// counts is one line of a file, so that what was interrupted goes on.
//
//	settings that are still to be run --> workers, each with a lab of its own
//	                                         run, guard --> the file of results
//	file of results --> better congestion control, medians, shares of the best
//
// Start reading at bench.run.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/gomover/gomover/bench/ground"
)

// What no flags must reach of the best fixed setting.
const (
	medianBar = 0.95
	worstBar  = 0.85
)

func main() {
	os.Exit(ground.Exit("bench-grid", os.Args[1:], run))
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == workerWord {
		return work(ctx, args[1:])
	}
	flags := flag.NewFlagSet("bench-grid", flag.ContinueOnError)
	b := &bench{}
	flags.StringVar(&b.lab, "lab", "bin/lab", "the emulator")
	flags.StringVar(&b.program, "program", "bin/gomover", "what is measured")
	flags.StringVar(&b.dir, "dir", "/dev/shm", "directory in memory, which must hold what all jobs move")
	flags.StringVar(&b.events, "events", "", "directory for the events of runs without fixed settings; \"\": they are not kept")
	flags.DurationVar(&b.span, "span", time.Minute, "how long each run moves data")
	flags.IntVar(&b.rounds, "rounds", 3, "runs of each setting, of which the median counts")
	flags.IntVar(&b.jobs, "jobs", 3, "paths that are emulated at the same time")
	only := flags.String("rows", "", "paths whose names match this regular expression")
	results := flags.String("results", "bench-results/grid.jsonl", "where each run is noted, and runs noted before are read from")
	also := flags.String("also", "", "flags to try besides none")
	within := flags.Duration("within", 0, "begin no run that ends later than this; 0: run all")
	if err := flags.Parse(args); err != nil {
		return err
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-rows: %w", err)
	}
	if b.rounds < 1 || b.span < 5*time.Second || b.jobs < 1 || b.jobs > 16 {
		return errors.New("needs a round at least, runs of 5s, and 1 to 16 jobs")
	}
	for i := range paths {
		if match.MatchString(paths[i].name) {
			b.paths = append(b.paths, &paths[i])
		}
	}
	b.also = strings.Fields(*also)
	if *within > 0 {
		b.until = time.Now().Add(*within)
	}
	if err := b.prepare(*results); err != nil {
		return err
	}
	defer b.ledger.file.Close()
	if err := b.run(ctx); err != nil {
		return err
	}
	return b.report(os.Stdout)
}

// bench is what is measured, and with what.
type bench struct {
	lab, program, dir, events string
	span                      time.Duration // of a run
	rounds, jobs              int
	paths                     []*path
	also                      []string
	until                     time.Time // zero: no end
	ledger                    *ledger
}

// prepare finds the programs and the results so far.
func (b *bench) prepare(results string) (err error) {
	for _, p := range []*string{&b.lab, &b.program, &b.dir, &b.events} {
		if *p == "" {
			continue
		}
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	if b.events != "" {
		if err := os.MkdirAll(b.events, 0o755); err != nil {
			return err
		}
	}
	f, err := os.Open(b.program)
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return fmt.Errorf("reading %s: %w", b.program, err)
	}
	if err := os.MkdirAll(filepath.Dir(results), 0o755); err != nil {
		return err
	}
	b.ledger, err = openLedger(results, fmt.Sprintf("%x", hash.Sum(nil)[:6]), b.span.Seconds())
	return err
}

// run has the workers do what is missing, until nothing is or the time is over. A
// setting that is being run is not begun again.
func (b *bench) run(ctx context.Context) error {
	type done struct {
		w   *worker
		o   outcome
		err error
	}
	var idle []*worker
	ended := make(chan done)
	busy := make(map[string]bool)
	running, made := 0, 0
	defer func() {
		for _, w := range idle {
			w.close()
		}
	}()
	var failed error
	for {
		for failed == nil && ctx.Err() == nil && (len(idle) > 0 || made < b.jobs) {
			p, s, ok := b.next(busy)
			if !ok {
				break
			}
			if len(idle) == 0 {
				w, err := startWorker(b, made)
				if err != nil {
					failed = err
					break
				}
				idle, made = append(idle, w), made+1
			}
			w := idle[len(idle)-1]
			idle = idle[:len(idle)-1]
			busy[p.name+s.name] = true
			running++
			go func() {
				o, err := w.do(p, s)
				ended <- done{w, o, err}
			}()
		}
		if running == 0 {
			return errors.Join(failed, ctx.Err())
		}
		d := <-ended
		running--
		idle = append(idle, d.w)
		delete(busy, d.o.Path+d.o.Setting)
		if d.err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s, %s: %w", d.o.Path, d.o.Setting, d.err))
			continue
		}
		d.o.Program, d.o.Span = b.ledger.program, b.span.Seconds()
		if err := b.ledger.add(d.o); err != nil {
			failed = errors.Join(failed, err)
		}
		fmt.Printf("%s  %s, %s: %.2f Mbit/s with %d streams, limited by %s (late %.1f ms, %.0f ms at most; processors %.0f %%) %s\n",
			time.Now().Format(time.TimeOnly), d.o.Path, d.o.Setting, d.o.Rate*8/1e6, d.o.Streams, d.o.By, 1e3*d.o.LateAvg, 1e3*d.o.LateMax, 100*d.o.CPU, d.o.Void)
	}
}

// next is what to run next: of what is missing and not being run, that which has been
// run least often.
func (b *bench) next(busy map[string]bool) (at *path, what setting, ok bool) {
	if !b.until.IsZero() && time.Now().Add(b.span+aroundRun).After(b.until) {
		return nil, setting{}, false
	}
	least := 0
	for _, p := range b.paths {
		for _, s := range b.ledger.missing(p, b.rounds, b.also) {
			n := len(b.ledger.rates(p.name, s.name))
			if !busy[p.name+s.name] && (!ok || n < least) {
				at, what, ok, least = p, s, true, n
			}
		}
	}
	return at, what, ok
}

// report prints all paths that have been measured.
func (b *bench) report(w io.Writer) error {
	shares := make([][]float64, 2)
	left := 0
	for _, p := range b.paths {
		left += len(b.ledger.missing(p, b.rounds, b.also))
		for i, share := range b.ledger.report(w, p, b.also) {
			shares[i] = append(shares[i], share)
		}
	}
	if left > 0 {
		fmt.Fprintf(w, "%d settings have not been run often enough\n", left)
	}
	err := verdict(w, "no flags", shares[0])
	if len(b.also) > 0 {
		err = errors.Join(err, verdict(w, strings.Join(b.also, " "), shares[1]))
	}
	if err != nil {
		fmt.Fprintln(w, err)
		return ground.ErrMissed
	}
	return nil
}
