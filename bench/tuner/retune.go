package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gomover/gomover/tuner/retune/retunetest"
)

// What retuning must reach: bytes moved as a share of what the best fixed setting
// moves.
const (
	medianBar = 0.97
	worstBar  = 0.88
	blindBar  = 0.85 // the median, of streams whose kernel tells nothing
)

// retuneRows measures policies in the scenarios of retunetest.
func retuneRows(quick bool) []row {
	seeds := []uint64{1, 2, 3, 4, 5}
	if quick {
		seeds = seeds[:1]
	}
	list := retunetest.Scenarios()
	makers := []retunetest.Maker{retunetest.Guided, retunetest.Blind, retunetest.Fresh}
	for _, times := range wrongSeeds {
		makers = append(makers, first16(retunetest.Seeded(times)))
	}
	for _, times := range memories {
		makers = append(makers, first16(retunetest.Second(times)))
	}
	if !quick {
		for _, group := range groupsOfFields {
			makers = append(makers, first16(without(group)))
		}
	}
	all, err := retunetest.Measure(list, seeds, retunetest.Grid, makers...)
	if err != nil {
		return failed("retuning", err)
	}
	guided, blind, fresh := all[0], all[1], all[2]
	var rows []row
	for i := range guided {
		g := &guided[i]
		bar := worstBar
		if v, ok := regretBars[g.Scenario.ID]; ok {
			bar = 1 - v
		}
		rows = append(rows, above(g.Scenario.ID, fmt.Sprintf("%s; best fixed: %v; without retuning %s; ends with %.0f streams, %.1f trials a minute", g.Scenario.Name, g.Best, percent(fresh[i].Median()), g.Streams, g.Decisions),
			g.Median(), bar))
		rows = append(rows, recoveryRows(g)...)
	}
	rows = append(rows, sumRows("guided", guided, medianBar, worstBar)...)
	rows = append(rows, runRows(guided, seeds)...)
	rows = append(rows, sumRows("blind", blind, blindBar, 0)...)
	rows = append(rows, sumRows("never retuned", fresh, 0, 0)...)
	rows = append(rows, acceptedRows(guided[:scenarios16], blind[:scenarios16])...)
	rest := all[3:]
	rows = append(rows, seedRows(guided[:scenarios16], rest[:len(wrongSeeds)])...)
	rest = rest[len(wrongSeeds):]
	rows = append(rows, memoryRows(rest[:len(memories)])...)
	if rest = rest[len(memories):]; len(rest) > 0 {
		rows = append(rows, missingRows(guided[:scenarios16], rest)...)
	}
	return rows
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

// runRows sum up the runs of each seed: the median and the worst of the scenarios.
func runRows(rows []retunetest.Row, seeds []uint64) (l []row) {
	for k, seed := range seeds {
		var ratios []float64
		worst, where := math.Inf(1), ""
		for i := range rows {
			v := rows[i].Figures[k].Ratio
			ratios = append(ratios, v)
			if v < worst {
				worst, where = v, rows[i].Scenario.ID
			}
		}
		l = append(l,
			above(fmt.Sprintf("seed %d median", seed), fmt.Sprintf("of %d scenarios, each run once", len(rows)), at(ratios, 0.5), medianBar),
			above(fmt.Sprintf("seed %d worst", seed), "of them: "+where, worst, worstBar))
	}
	return l
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
