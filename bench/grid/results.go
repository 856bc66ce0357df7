package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// outcome is one run: a line of the file of results.
type outcome struct {
	Path    string  `json:"path"`
	Setting string  `json:"setting"`
	Program string  `json:"program"` // a hash of what was run
	Span    float64 `json:"span"`    // seconds
	Rate    float64 `json:"rate"`    // confirmed bytes per second
	Streams int     `json:"streams"` // at the end
	By      string  `json:"limited_by"`
	// What the guard saw.
	LateAvg float64 `json:"late_avg"` // seconds that the emulator was late with packets
	LateMax float64 `json:"late_max"`
	CPU     float64 `json:"cpu"` // share of all processors in use by what is not nice
	Void    string  `json:"void,omitempty"`
}

// ledger is all runs so far, and the file that holds them. One goroutine.
type ledger struct {
	file    *os.File
	list    []outcome
	program string
	span    float64
}

// openLedger reads what earlier runs have left, and goes on behind it.
func openLedger(file, program string, span float64) (*ledger, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the results: %w", err)
	}
	l := &ledger{file: f, program: program, span: span}
	if l.list, err = readOutcomes(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return l, nil
}

func readOutcomes(r io.Reader) (list []outcome, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var o outcome
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return nil, fmt.Errorf("line %d: %w", len(list)+1, err)
		}
		list = append(list, o)
	}
	return list, lines.Err()
}

// add keeps a run.
func (l *ledger) add(o outcome) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	l.list = append(l.list, o)
	if _, err := l.file.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("writing the results: %w", err)
	}
	return nil
}

// fixedSetting tells whether nothing that a program decides counts in a setting, so
// that runs of other builds of it count, too.
func fixedSetting(name string) bool { return name != "" && name[0] >= '0' && name[0] <= '9' }

// rates are those of all runs of a setting that count, in ascending order.
func (l *ledger) rates(path, setting string) (rates []float64) {
	for _, o := range l.list {
		if o.Path == path && o.Setting == setting && o.Void == "" && o.Span == l.span && (o.Program == l.program || fixedSetting(setting)) {
			rates = append(rates, o.Rate)
		}
	}
	slices.Sort(rates)
	return rates
}

// voids is how many runs of a setting did not count.
func (l *ledger) voids(path, setting string) (n int) {
	for _, o := range l.list {
		if o.Path == path && o.Setting == setting && o.Void != "" && o.Program == l.program {
			n++
		}
	}
	return n
}

// betterCC is the congestion control that moves more with some streams; "" while that
// is not known.
func (l *ledger) betterCC(p *path) (best string) {
	most := 0.0
	for _, cc := range p.ccs {
		rates := l.rates(p.name, fixed(decisive, cc).name)
		if len(rates) == 0 {
			return ""
		}
		if m := middle(rates); m > most {
			best, most = cc, m
		}
	}
	return best
}

// missing is what is still to be run on a path until every setting has been run so
// often: no flags, and fixed numbers of streams with the better congestion control, which
// is looked for first. also are flags that are tried besides none.
func (l *ledger) missing(p *path, rounds int, also []string) (list []setting) {
	want := []setting{p.free(nil)}
	if len(also) > 0 {
		want = append(want, p.free(also))
	}
	cc := l.betterCC(p)
	for _, c := range p.ccs {
		if cc == "" {
			want = append(want, fixed(decisive, c))
		}
	}
	for _, n := range streams {
		if cc != "" {
			want = append(want, fixed(n, cc))
		}
	}
	for _, s := range want {
		if len(l.rates(p.name, s.name)) < rounds && l.voids(p.name, s.name) < mostVoids {
			list = append(list, s)
		}
	}
	return list
}

// mostVoids is how many runs of a setting may be in vain before it is given up.
const mostVoids = 6

func middle(sorted []float64) float64 { return sorted[len(sorted)/2] }

// report prints a path's rates, and gives the share of the best fixed setting that
// each free one comes to; nil while something is missing.
func (l *ledger) report(w io.Writer, p *path, also []string) []float64 {
	cc := l.betterCC(p)
	if cc == "" {
		return nil
	}
	fmt.Fprintf(w, "%s (%s)\n   ", p.name, cc)
	best, at := 0.0, 0
	for _, n := range streams {
		rates := l.rates(p.name, fixed(n, cc).name)
		if len(rates) == 0 {
			fmt.Fprintf(w, " n=%d -", n)
			continue
		}
		fmt.Fprintf(w, " n=%d %.2f", n, middle(rates)*8/1e6)
		if m := middle(rates); m > best {
			best, at = m, n
		}
	}
	fmt.Fprintln(w, " Mbit/s")
	frees := []setting{p.free(nil)}
	if len(also) > 0 {
		frees = append(frees, p.free(also))
	}
	var shares []float64
	for _, s := range frees {
		rates := l.rates(p.name, s.name)
		if len(rates) == 0 {
			return nil
		}
		shares = append(shares, middle(rates)/best)
		fmt.Fprintf(w, "    %s %.2f Mbit/s in %d runs: %.1f %% of n=%d\n", s.name, middle(rates)*8/1e6, len(rates), 100*shares[len(shares)-1], at)
	}
	return shares
}

// verdict prints the median and the worst, and errs when they fall short.
func verdict(w io.Writer, name string, shares []float64) error {
	if len(shares) == 0 {
		return errors.New("no path has been measured")
	}
	slices.Sort(shares)
	median, worst := middle(shares), shares[0]
	if n := len(shares); n%2 == 0 {
		median = (shares[n/2-1] + shares[n/2]) / 2
	}
	fmt.Fprintf(w, "%s: median %.1f %% (bar %.0f %%), worst %.1f %% (bar %.0f %%) of %d paths\n", name, 100*median, 100*medianBar, 100*worst, 100*worstBar, len(shares))
	if median < medianBar || worst < worstBar {
		return errors.New("short of the bars")
	}
	return nil
}
