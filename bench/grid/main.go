// Command bench-grid measures what gomover reaches without any flag beside every fixed
// number of streams, on emulated paths (docs/lab.md). It needs root and bin/lab, and
// takes rows times rounds times nine runs; each row prints as soon as it is measured.
//
//	row: path settings --> choose the better congestion control
//	                   --> rounds: no flags, n = 1, 2, 4 ... 64 --> medians --> share
//
// Start reading at row.measure.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What no flags must reach of the best fixed setting.
const (
	medianBar = 0.95
	worstBar  = 0.85
)

// row is one path.
type row struct {
	name string
	set  [][]string // words for lab set
}

// rows are the paths: clean and lossy, near and far, with little and much queue.
var rows = []row{
	{"1 Gbit/s, 100 ms", [][]string{{"all", "rate=1gbit", "delay=25ms", "queue=12.5MB"}}},
	{"1 Gbit/s, 100 ms, queue of a tenth", [][]string{{"all", "rate=1gbit", "delay=25ms", "queue=1.25MB"}}},
	{"1 Gbit/s, 20 ms", [][]string{{"all", "rate=1gbit", "delay=5ms", "queue=2.5MB"}}},
	{"200 Mbit/s, 100 ms, loss 0.1%", [][]string{{"all", "rate=200mbit", "delay=25ms", "queue=2.5MB"}, {"all.down", "loss=0.1%"}}},
	{"500 Mbit/s, 50 ms, loss 0.01%", [][]string{{"all", "rate=500mbit", "delay=12.5ms", "queue=3MB"}, {"all.down", "loss=0.01%"}}},
	{"100 Mbit/s, 200 ms, loss 1%", [][]string{{"all", "rate=100mbit", "delay=50ms", "queue=2.5MB"}, {"all.down", "loss=1%"}}},
	{"200 Mbit/s, 300 ms", [][]string{{"all", "rate=200mbit", "delay=75ms", "queue=7.5MB"}}},
	{"100 Mbit/s, 10 ms, deep queue", [][]string{{"all", "rate=100mbit", "delay=2.5ms", "queue=2MB"}}},
}

// reset takes what a row may have set away.
var reset = [][]string{{"all", "loss=0"}}

// topology is the network that rows change.
const topology = `{"hosts": [{"name": "h0"}, {"name": "h1"}]}`

// grid are the fixed numbers of streams.
var grid = []int{1, 2, 4, 8, 16, 32, 64}

// bench is what all rows share.
type bench struct {
	lab, program string
	dir          string
	span         time.Duration // of a run
	rounds       int
}

func main() {
	lab := flag.String("lab", "bin/lab", "the emulator")
	program := flag.String("program", "bin/gomover", "what is measured")
	only := flag.String("rows", "", "measure rows whose names match this regular expression")
	rounds := flag.Int("rounds", 3, "runs of each setting, of which the median counts")
	span := flag.Duration("span", 20*time.Second, "how long each run moves data")
	dir := flag.String("dir", "/dev/shm", "directory in memory, which must hold what one run moves")
	flag.Parse()
	if err := run(*lab, *program, *only, *dir, *rounds, *span); err != nil {
		fmt.Fprintln(os.Stderr, "bench-grid:", err)
		os.Exit(1)
	}
}

func run(lab, program, only, dir string, rounds int, span time.Duration) error {
	match, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-rows: %w", err)
	}
	if rounds < 1 || span < 5*time.Second {
		return errors.New("needs a round at least, and runs of 5s")
	}
	b := &bench{span: span, rounds: rounds}
	if b.lab, err = filepath.Abs(lab); err != nil {
		return err
	}
	if b.program, err = filepath.Abs(program); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(dir, "bench-grid-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if err := b.begin(); err != nil {
		return err
	}
	defer b.do("down")
	var shares []float64
	for _, r := range rows {
		if !match.MatchString(r.name) {
			continue
		}
		share, err := r.measure(b)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		shares = append(shares, share)
	}
	return verdict(shares)
}

// verdict prints the median and the worst, and errs when they fall short.
func verdict(shares []float64) error {
	if len(shares) == 0 {
		return errors.New("no row matches")
	}
	slices.Sort(shares)
	median, worst := shares[len(shares)/2], shares[0]
	fmt.Printf("median %.1f %% (bar %.0f %%), worst %.1f %% (bar %.0f %%) of %d rows\n", 100*median, 100*medianBar, 100*worst, 100*worstBar, len(shares))
	if median < medianBar || worst < worstBar {
		return errors.New("short of the bars")
	}
	return nil
}

// begin brings the network up, and makes the file that is moved: it has no blocks on
// disk, and reads as zeros.
func (b *bench) begin() error {
	file := filepath.Join(b.dir, "topology.json")
	if err := os.WriteFile(file, []byte(topology), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.dir, "source"), nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(filepath.Join(b.dir, "source"), 1<<40); err != nil {
		return err
	}
	if err := b.do("up", file); err != nil {
		return err
	}
	return b.do("sshd")
}

// do runs a command of the emulator.
func (b *bench) do(words ...string) error {
	out, err := exec.Command(b.lab, words...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("lab %s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// measure runs all settings on one path and gives the share of the best fixed one that
// no flags come to.
func (r *row) measure(b *bench) (float64, error) {
	for _, words := range append(slices.Clone(reset), r.set...) {
		if err := b.do(append([]string{"set"}, words...)...); err != nil {
			return 0, err
		}
	}
	cc, err := b.betterCC()
	if err != nil {
		return 0, err
	}
	settings := [][]string{nil}
	for _, n := range grid {
		settings = append(settings, []string{"--streams=" + strconv.Itoa(n), "--cc=" + cc, "--retune=off", "--transport=tcp"})
	}
	rates := make([][]float64, len(settings))
	for range b.rounds {
		for i, s := range settings { // in turn, so that what disturbs meets all alike
			rate, err := b.copy(s)
			if err != nil {
				return 0, err
			}
			rates[i] = append(rates[i], rate)
		}
	}
	best := 1
	text := ""
	for i := range rates {
		slices.Sort(rates[i])
		if i > 0 {
			text += fmt.Sprintf("  n=%d %.1f", grid[i-1], middle(rates[i])*8/1e6)
			if middle(rates[i]) > middle(rates[best]) {
				best = i
			}
		}
	}
	share := middle(rates[0]) / middle(rates[best])
	fmt.Printf("%s (%s):  no flags %.1f Mbit/s%s;  %.1f %% of the best, n=%d\n", r.name, cc, middle(rates[0])*8/1e6, text, 100*share, grid[best-1])
	return share, nil
}

func middle(sorted []float64) float64 { return sorted[len(sorted)/2] }

// betterCC tells which congestion control moves more with eight streams.
func (b *bench) betterCC() (string, error) {
	best, most := "", 0.0
	for _, cc := range []string{"cubic", "bbr"} {
		rate, err := b.copy([]string{"--streams=8", "--cc=" + cc, "--retune=off", "--transport=tcp"})
		if err != nil {
			return "", err
		}
		if rate > most {
			best, most = cc, rate
		}
	}
	return best, nil
}

// copy moves data for a while and gives the mean rate from the first plan on, in bytes
// per second: the login, which is the same for all, does not count.
func (b *bench) copy(options []string) (float64, error) {
	events := filepath.Join(b.dir, "events")
	dst := filepath.Join(b.dir, "to")
	for _, path := range []string{dst, events, filepath.Join(b.dir, "state")} {
		if err := os.RemoveAll(path); err != nil {
			return 0, err
		}
	}
	if err := os.Mkdir(dst, 0o700); err != nil {
		return 0, err
	}
	words := []string{"exec", "h0", "--", b.program, "-F", "/run/gomover-lab/ssh/config", "--state-dir=" + filepath.Join(b.dir, "state"), "--json=" + events,
		"--progress=none", "--summary=none", "--no-space-check", "--time-limit=" + (b.span + 3*time.Second).String()}
	words = append(append(words, options...), filepath.Join(b.dir, "source"), "h1:"+dst+"/")
	out, err := exec.Command(b.lab, words...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != timeLimit {
		return 0, fmt.Errorf("gomover %s ended with %v instead of at its time limit: %s", strings.Join(options, " "), err, strings.TrimSpace(string(out)))
	}
	return rateOf(events, b.span)
}

// timeLimit is gomover's exit code when --time-limit is reached.
const timeLimit = 12
