package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/payload"
)

// Bars: of the scenes, and of the seconds of all of them.
const (
	bar        = 0.95
	secondsBar = 0.95
)

// bench is one run. One goroutine.
type bench struct {
	ground.Bench
	span    time.Duration // of each scene, from the first data on
	binary  string
	g       *ground.Ground
	disk    *ground.Disk
	results []result
}

// result is what came of one scene.
type result struct {
	Name  string             `json:"name"`
	What  string             `json:"what"`
	Want  string             `json:"want"`
	Told  string             `json:"told"`  // for most of the time
	Right float64            `json:"right"` // share of the time
	All   map[string]float64 `json:"all"`   // share of each word
	Rate  float64            `json:"rate_bytes_per_second"`
	Pass  bool               `json:"pass"`
	Error string             `json:"error,omitempty"`
}

func main() { os.Exit(ground.Exit("bench/bottleneck", os.Args[1:], run)) }

// parse reads the command line.
func parse(args []string) (*bench, error) {
	b := &bench{}
	flags := flag.NewFlagSet("bench/bottleneck", flag.ContinueOnError)
	flags.DurationVar(&b.span, "for", 7*time.Second, "how long each runs, from the first data on")
	var names []string
	for _, s := range scenes {
		names = append(names, s.name)
	}
	if err := b.Parse(flags, args, names); err != nil {
		return nil, err
	}
	if b.span < settle+time.Second {
		return nil, fmt.Errorf("-for: at least %v", settle+time.Second)
	}
	return b, nil
}

// Sizes of what is moved: more than any scene gets through.
const (
	fileSize  = 1 << 30
	diskSize  = 512 << 20
	treeDirs  = 400
	treeFiles = 100_000
	treeSize  = 4096
)

// run arranges the chosen scenes and leaves nothing behind, whatever happens.
func run(ctx context.Context, args []string) (err error) {
	b, err := parse(args)
	if err != nil {
		return err
	}
	if err := b.Check([]string{"ip", "ssh", "/usr/sbin/sshd", "losetup", "mkfs.ext4", "mount", "sysctl"}); err != nil {
		return err
	}
	defer b.Close()
	if err := b.Open("gomover-bench-"); err != nil {
		return err
	}
	b.binary = filepath.Join(b.Dir, "gomover")
	if err := b.Mover(ctx, b.binary); err != nil {
		return err
	}
	// Before the hosts, which have mounts of their own and see only what is there then.
	if b.disk, err = ground.NewDisk(ctx, b.Dir, fileSize+diskSize); err != nil {
		return err
	}
	defer b.disk.Close()
	if err := b.begin(ctx); err != nil {
		return err
	}
	defer b.g.Close()
	ground.PrintMachine()
	fmt.Println()
	for _, s := range scenes {
		if !b.Chosen(s.name) {
			continue
		}
		r, err := b.scene(ctx, &s)
		if ctx.Err() != nil {
			return ground.ErrInterrupted
		}
		if err != nil {
			r = result{Name: s.name, What: s.what, Want: s.want, Error: err.Error()}
		}
		b.results = append(b.results, r)
		fmt.Printf("%-10s %-5v %s\n", r.Name, r.Pass, r.line())
	}
	return b.report()
}

// begin makes the hosts and what is moved between them.
func (b *bench) begin(ctx context.Context) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("looking for the agents kept in the user's cache: %w", err)
	}
	t := ground.Topology{Control: "cubic", Sites: []ground.Site{{Name: "near"}, {Name: "far"}, {Name: "second"}, {Name: "third"}}}
	b.g, err = ground.Emulated(ctx, ground.Setup{Groups: b.Groups, Program: b.Lab, Dir: b.Dir, Cache: cache}, t)
	if err != nil {
		return err
	}
	if err := payload.MakeFile(ctx, b.file(), fileSize, 1); err != nil {
		return err
	}
	// The first login brings the program there.
	small := filepath.Join(b.Dir, "first")
	if err := payload.MakeFile(ctx, small, 5, 2); err != nil {
		return err
	}
	if out, err := b.g.Command(ctx, b.near(), b.binary, "--progress=none", small, "far:"+small+".copy").CombinedOutput(); err != nil {
		return fmt.Errorf("copying the first file: %w: %s", err, ground.Tail(string(out)))
	}
	return nil
}

func (b *bench) near() *ground.Host { return b.g.Host("near") }
func (b *bench) far() *ground.Host  { return b.g.Host("far") }
func (b *bench) file() string       { return filepath.Join(b.Dir, "file") }

// line is a result for people.
func (r *result) line() string {
	if r.Error != "" {
		return r.Error
	}
	words := make([]string, 0, len(r.All))
	for w := range r.All {
		words = append(words, w)
	}
	slices.SortFunc(words, func(a, b string) int {
		return cmpOr(r.All[b]-r.All[a], strings.Compare(a, b))
	})
	for i, w := range words {
		words[i] = fmt.Sprintf("%s %.0f%%", w, 100*r.All[w])
	}
	return fmt.Sprintf("%s: %s (%.1f MB/s)", r.What, strings.Join(words, ", "), r.Rate/1e6)
}

func cmpOr(d float64, or int) int {
	switch {
	case d < 0:
		return -1
	case d > 0:
		return 1
	}
	return or
}

// report prints the table and says whether the bars are reached.
func (b *bench) report() error {
	fmt.Printf("\n| arranged | right | told most | of the time right | rate, MB/s | |\n| --- | --- | --- | --- | --- | --- |\n")
	right, share := 0, 0.0
	for i := range b.results {
		r := &b.results[i]
		word := map[bool]string{true: "pass", false: "**fail**"}[r.Pass]
		told := r.Told
		if r.Error != "" {
			told = r.Error
		}
		fmt.Printf("| %s | %s | %s | %.0f%% | %.1f | %s |\n", r.What, r.Want, told, 100*r.Right, r.Rate/1e6, word)
		if r.Pass {
			right++
		}
		share += r.Right
	}
	n := float64(len(b.results))
	fmt.Printf("\n%d of %d are named right, %.0f%% (bar: %.0f%%); %.1f%% of the time, from %v after the start on (bar: %.0f%%)\n",
		right, len(b.results), 100*float64(right)/n, 100*bar, 100*share/n, settle, 100*secondsBar)
	if err := ground.WriteJSON(b.JSON, b.results); err != nil {
		return err
	}
	if float64(right) < bar*n || share < secondsBar*n {
		return ground.ErrMissed
	}
	return nil
}
