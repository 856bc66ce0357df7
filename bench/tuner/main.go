// Command bench-tuner measures the decisions of the tuner's rooms on made paths
// and prints them beside what they must reach. It takes some minutes, uses no
// network, and gives the same figures on every machine.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"
)

// row is one figure.
type row struct {
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
	{"choice", choiceRows},
}

func main() {
	only := flag.String("only", "", "measure groups whose names match this regular expression")
	quick := flag.Bool("quick", false, "fewer runs: less exact")
	flag.Parse()
	match, err := regexp.Compile(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-tuner: -only:", err)
		os.Exit(2)
	}
	if err := measure(os.Stdout, match, *quick); err != nil {
		fmt.Fprintln(os.Stderr, "bench-tuner:", err)
		os.Exit(1)
	}
}

// measure prints the groups that match.
func measure(w io.Writer, match *regexp.Regexp, quick bool) error {
	rows, short := 0, 0
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
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", r.id, r.what, r.got, r.bar, verdict)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "(%.0f s)\n\n", time.Since(began).Seconds()); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d figures, %d short of their bar\n", rows, short)
	return err
}
