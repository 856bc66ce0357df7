package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/gomover/gomover/tuner/retune"
	"github.com/gomover/gomover/tuner/retune/retunetest"
)

// What retuning must reach: bytes moved as a share of what the best fixed setting
// moves.
const (
	medianBar = 0.97
	worstBar  = 0.88
	blindBar  = 0.85 // the median, of streams whose kernel tells nothing
	useBar    = 0.95
)

// retuneRows measures policies in the scenarios of retunetest.
func retuneRows(quick bool) []row {
	seeds := []uint64{1, 2, 3, 4, 5}
	if quick {
		seeds = seeds[:1]
	}
	list := retunetest.Scenarios()
	all, err := retunetest.Measure(list, seeds, retunetest.Grid, retunetest.Guided, retunetest.Blind, retunetest.Fresh)
	if err != nil {
		return failed("retuning", err)
	}
	guided, blind, fresh := all[0], all[1], all[2]
	var rows []row
	for i := range guided {
		g := &guided[i]
		rows = append(rows, above(g.Scenario.ID, fmt.Sprintf("%s; best fixed: %v; without retuning %s; ends with %.0f streams, %.1f trials a minute", g.Scenario.Name, g.Best, percent(fresh[i].Median()), g.Streams, g.Decisions),
			g.Median(), worstBar))
		rows = append(rows, recoveryRows(g)...)
	}
	rows = append(rows, sumRows("guided", guided, medianBar, worstBar)...)
	rows = append(rows, sumRows("blind", blind, blindBar, 0)...)
	rows = append(rows, sumRows("never retuned", fresh, 0, 0)...)
	return append(rows, togetherOnPathRows(seeds)...)
}

func failed(what string, err error) []row {
	return []row{{id: what, what: err.Error(), short: true}}
}

// above is a row whose figure, a share, must reach the bar; 0 is none.
func above(id, what string, got, bar float64) row {
	r := row{id: id, what: what, got: percent(got)}
	if bar > 0 {
		r.bar, r.short = ">= "+percent(bar), got < bar
	}
	return r
}

// recoveryRows tells how long a job took to be back after a change.
func recoveryRows(r *retunetest.Row) []row {
	if len(r.Recoveries) == 0 {
		return nil
	}
	got, bound := r.Recovery()
	worst := r.Recoveries[len(r.Recoveries)-1]
	return []row{{id: r.Scenario.ID + " back", what: fmt.Sprintf("within 10 %% of the new best; longest of %d: %v", len(r.Recoveries), worst.Round(time.Second)),
		got: got.Round(time.Second).String(), bar: "<= " + bound.String(), short: got > bound}}
}

// sumRows sums up a policy: the median and the worst of the scenarios' medians,
// and the worst of all runs.
func sumRows(name string, rows []retunetest.Row, median, worst float64) []row {
	var l []float64
	least := 1.0
	for i := range rows {
		l = append(l, rows[i].Median())
		least = min(least, rows[i].Ratios[0])
	}
	slices.Sort(l)
	return []row{
		above(name+" median", fmt.Sprintf("of %d scenarios", len(l)), l[len(l)/2], median),
		above(name+" worst", fmt.Sprintf("scenario; worst single run %s", percent(least)), l[0], worst),
	}
}

// togetherOnPathRows tells how jobs share a path, with each other and with others.
func togetherOnPathRows(seeds []uint64) []row {
	var rows []row
	for _, c := range []struct {
		id       string
		scenario retunetest.Scenario
		jobs     int
		bar      float64
	}{
		{"S18", retunetest.Scenario{ID: "S18", Name: "2 jobs, 1 Gbit/s, 40 ms, clean", Path: retunetest.Path{Rate: 125e6, RTT: 40 * time.Millisecond}}, 2, 0.97},
		{"S19", retunetest.Scenario{ID: "S19", Name: "2 jobs, 1 Gbit/s, 100 ms, loss 1e-4", Path: retunetest.Path{Rate: 125e6, RTT: 100 * time.Millisecond, Loss: 1e-4}}, 2, 0.95},
		{"S20", retunetest.Scenario{ID: "S20", Name: "4 jobs, 10 Gbit/s, 60 ms, loss 1e-5", Path: retunetest.Path{Rate: 1250e6, RTT: 60 * time.Millisecond, Loss: 1e-5}}, 4, 0.90},
	} {
		s := c.scenario
		s.Queue, s.Noise, s.Length = 1, 0.05, 4*time.Minute
		var fair, use []float64
		for _, seed := range seeds {
			var l []retunetest.Entrant
			for i := range c.jobs {
				l = append(l, retunetest.Entrant{Policy: retune.New(s.Config()), Start: time.Duration(i) * 15 * time.Second})
			}
			got, err := retunetest.Compete(s, seed, l...)
			if err != nil {
				return append(rows, failed(c.id, err)...)
			}
			var rates []float64
			sum := 0.0
			for i := range got {
				rates = append(rates, got[i].Between(s.Length/2, s.Length))
				sum += rates[i]
			}
			fair, use = append(fair, retunetest.Jain(rates)), append(use, sum/float64(s.Rate)*1500/1448)
		}
		slices.Sort(fair)
		slices.Sort(use)
		mid := len(fair) / 2
		rows = append(rows, row{id: c.id, what: fmt.Sprintf("%s: Jain's index of the rates, worst %.3f; %s of the link in use", s.Name, fair[0], percent(use[mid])),
			got: fmt.Sprintf("%.3f", fair[mid]), bar: fmt.Sprintf(">= %.2f", c.bar), short: fair[mid] < c.bar || use[mid] < useBar})
	}
	return append(rows, backgroundRows(seeds[0])...)
}

// backgroundRows tells what a job in the background leaves to others, and what it
// takes when there are none.
func backgroundRows(seed uint64) []row {
	s := retunetest.Scenario{ID: "S21", Path: retunetest.Path{Rate: 125e5, RTT: 40 * time.Millisecond}, Queue: 1, Noise: 0.01}
	one := retunetest.Fixed{Streams: 1, CC: "cubic"}
	alone, err := retunetest.Run(s, seed, one)
	if err != nil {
		return failed("S21", err)
	}
	idle, err := retunetest.Run(s, seed, retune.NewYielder(s.Config()))
	if err != nil {
		return failed("S21", err)
	}
	const from, to = 30 * time.Second, 2 * time.Minute
	both, err := retunetest.Compete(s, seed, retunetest.Entrant{Policy: one}, retunetest.Entrant{Policy: retune.NewYielder(s.Config()), Start: from / 2})
	if err != nil {
		return failed("S21", err)
	}
	return []row{
		above("S21 idle", "a job in the background on an idle path, against one cubic stream", idle.Between(from, to)/alone.Between(from, to), 0.85),
		above("S21 shared", "what a cubic stream keeps beside a job in the background", both[0].Between(from, to)/alone.Between(from, to), 0.95),
	}
}
