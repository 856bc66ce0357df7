// Command bench-tuner measures the decisions of the tuner's rooms on made paths
// and prints them beside what they must reach. It takes some minutes, and gives the same
// figures on every machine, but for costs and for what -lab adds: that is measured on
// real kernels, on an emulated network of its own.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gomover/gomover/bench/ground"
)

// row is one figure.
type row struct {
	no    int    // of the list of what must be reached; 0: it is in none
	id    string // short, as in "F2 held"
	what  string
	got   string
	bar   string // "": only for the record
	short bool   // got does not reach the bar
}

// group is rows that are measured together.
type group struct {
	name string
	rows func(quick bool) []row
}

// groups are all, in the order of the table.
var groups = []group{
	{"forecast", forecastRows},
	{"anomaly", anomalyRows},
	{"cost", costRows},
	{"pacing", pacingRows},
	{"retune", retuneRows},
	{"limiter", limiterRows},
	{"sharing", sharingRows},
	{"same", sameRows},
	{"choice", choiceRows},
	{"switch", switchRows},
	{"trains", trainRows},
}

func main() {
	only := flag.String("only", "", "measure groups whose names match this regular expression")
	quick := flag.Bool("quick", false, "fewer runs: less exact")
	lab := flag.String("lab", "", "the emulator, for what is measured on real kernels; needs root")
	program := flag.String("program", "bin/gomover", "what is measured there")
	if len(os.Args) > 1 && os.Args[1] == labWord {
		os.Exit(ground.Exit("bench-tuner", os.Args[2:], measureLab))
	}
	flag.Parse()
	groups := groups
	if *lab != "" {
		l, err := filepath.Abs(*lab)
		p, perr := filepath.Abs(*program)
		if err = errors.Join(err, perr); err != nil {
			fmt.Fprintln(os.Stderr, "bench-tuner:", err)
			os.Exit(1)
		}
		groups = append(slices.Clip(groups), group{"lab", func(quick bool) []row { return labRows(l, p, quick) }})
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-tuner: -only:", err)
		os.Exit(2)
	}
	if err := measure(os.Stdout, groups, match, *quick); err != nil {
		fmt.Fprintln(os.Stderr, "bench-tuner:", err)
		os.Exit(1)
	}
}

// measure prints the groups that match.
func measure(w io.Writer, groups []group, match *regexp.Regexp, quick bool) error {
	rows, short := 0, 0
	var listed []row
	for _, g := range groups {
		if !match.MatchString(g.name) {
			continue
		}
		began := time.Now()
		l := g.rows(quick)
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintf(tw, "%s\t\tfigure\tbar\t\n", strings.ToUpper(g.name))
		for _, r := range l {
			verdict := ""
			switch {
			case r.short:
				verdict = "SHORT"
				short++
			case r.bar != "":
				verdict = "ok"
			}
			rows++
			if r.no > 0 {
				listed = append(listed, r)
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", r.id, r.what, r.got, r.bar, verdict)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "(%.0f s)\n\n", time.Since(began).Seconds()); err != nil {
			return err
		}
	}
	if err := list(w, listed); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d figures, %d short of their bar\n", rows, short)
	return err
}

// list prints the numbered figures in the order of their numbers.
func list(w io.Writer, rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	slices.SortStableFunc(rows, func(a, b row) int { return a.no - b.no })
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "BY NUMBER\t\tfigure\tbar\t")
	for _, r := range rows {
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\n", r.no, r.id, r.got, r.bar, map[bool]string{false: "ok", true: "SHORT"}[r.short])
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}
