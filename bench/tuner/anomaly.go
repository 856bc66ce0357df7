package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/gomover/gomover/tuner/trial"
)

// noiseBars are what alarms must reach in one kind of noise; NaN: no promise.
type noiseBars struct {
	suspicions   float64 // in an hour
	alerts       float64 // in 24 hours
	median, most float64 // seconds until an alert at a drop of 30 %; most: at p95
}

// bars are by name of trial.Noises.
var bars = map[string]noiseBars{
	"A1": {1, 1, math.NaN(), 10},
	"A2": {1, 1, 10, 30},
}

func anomalyRows(quick bool) []row {
	hours, jobs := 480, 200
	if quick {
		hours, jobs = 60, 50
	}
	all := make([][]row, len(trial.Noises))
	var wg sync.WaitGroup
	for i, n := range trial.Noises {
		wg.Go(func() { all[i] = noiseRows(n, hours, jobs) })
	}
	wg.Wait()
	rows := slices.Concat(all...)
	for i := range rows {
		switch id := rows[i].id; {
		case rows[i].bar == "":
		case strings.HasSuffix(id, "alerts"):
			rows[i].no = 19
		default:
			rows[i].no = 18
		}
	}
	rows = append(rows, pathRows(hours/2, jobs)...)
	drift := trial.Drift(0.2, 20)
	return append(rows, row{id: "A5", what: "alerts while the rate falls by 20 % within an hour, 20 times", got: fmt.Sprint(drift), bar: "0", short: drift > 0})
}

// pathBar is how many seconds there may be until an alert, 95 of 100: three blocks of
// ten seconds for a round trip, and the one in which the step is.
const pathBar = 40

func pathRows(hours, jobs int) []row {
	all := make([][]row, len(trial.Paths))
	var wg sync.WaitGroup
	for i, p := range trial.Paths {
		wg.Go(func() {
			median, most := p.Change(jobs)
			all[i] = []row{
				below(p.Name+" alerts", p.What+": false alerts in 24 hours", p.FalseAlerts(hours), 1, "%.2f"),
				{id: p.Name + " median", what: "seconds from the change to the alert, median", got: fmt.Sprintf("%.1f", median)},
				below(p.Name+" p95", "the same, 95 of 100", most, pathBar, "%.1f"),
			}
		})
	}
	wg.Wait()
	return slices.Concat(all...)
}

func noiseRows(n trial.Noise, hours, jobs int) []row {
	b, ok := bars[n.Name]
	if !ok {
		b = noiseBars{math.NaN(), math.NaN(), math.NaN(), math.NaN()}
	}
	f := trial.FalseAlarms(n, hours)
	d, half := trial.Drop(n, 0.7, jobs), trial.Drop(n, 0.5, jobs)
	return []row{
		below(n.Name+" suspicions", n.What+": false suspicions in an hour", f.Suspicions, b.suspicions, "%.2f"),
		below(n.Name+" alerts", "false alerts in 24 hours", f.Alerts, b.alerts, "%.2f"),
		below(n.Name+" 30 % median", "seconds from a drop of 30 % to the alert, median", d.ConfirmedMedian, b.median, "%.1f"),
		below(n.Name+" 30 % p95", "the same, 95 of 100", d.ConfirmedP95, b.most, "%.1f"),
		{id: n.Name + " first", what: "seconds to the suspicion, median and 95 of 100", got: fmt.Sprintf("%.1f, %.1f", d.SuspectedMedian, d.SuspectedP95)},
		{id: n.Name + " 50 %", what: "seconds from a drop of 50 % to the alert, median and 95 of 100", got: fmt.Sprintf("%.1f, %.1f", half.ConfirmedMedian, half.ConfirmedP95)},
	}
}

// below is a row whose figure must not exceed a bar; NaN: it has none.
func below(id, what string, got, bar float64, form string) row {
	r := row{id: id, what: what, got: fmt.Sprintf(form, got)}
	if !math.IsNaN(bar) {
		r.bar, r.short = "<= "+fmt.Sprintf("%.0f", bar), !(got <= bar)
	}
	return r
}
