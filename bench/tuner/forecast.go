package main

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/gomover/gomover/tuner/trial"
)

// What forecasts must reach over the first five classes.
const (
	errorBar            = 0.10
	overBestBar         = 1.25
	earlyBar            = 0.15 // of F8
	leastHeld, mostHeld = 0.75, 0.92
	promised            = 5 // of trial.Classes
)

func forecastRows(quick bool) []row {
	pairs := 100
	if quick {
		pairs = 20
	}
	all := make([]trial.Visits, len(trial.Classes))
	var wg sync.WaitGroup
	for i, c := range trial.Classes {
		wg.Go(func() { all[i] = trial.Forecasts(c, pairs) })
	}
	wg.Wait()
	var rows []row
	for i, v := range all {
		f := v.Figures()
		rows = append(rows, classRows(f, i < promised)...)
		if f.Class.Name == "F8" {
			early := f.Error[0]
			rows = append(rows, row{id: "F8 early", what: "median error at 10 %, some 30 s into the job", got: percent(early), bar: "<= 15 %", short: early > earlyBar})
		}
	}
	return append(rows, togetherRows(trial.Pool(all[:promised]).Figures())...)
}

// quarter is the index of 25 % in trial.Shares.
func quarter() int { return slices.Index(trial.Shares, 0.25) }

func classRows(f trial.ForecastFigures, promise bool) []row {
	q := quarter()
	held := mean(f.Held)
	r := row{id: f.Class.Name + " held", what: "80 % intervals hold, after ten jobs, at 10 to 90 % of the job", got: percent(held)}
	if promise {
		r.bar, r.short = "75 to 92 %", held < leastHeld || held > mostHeld
	}
	return []row{
		{id: f.Class.Name + " error", what: fmt.Sprintf("%s: median error at 25 %%, no history (last 10 s; best window in hindsight)", f.Class.What),
			got: fmt.Sprintf("%s (%s; %s)", percent(f.Error[q]), percent(f.Naive[q]), percent(f.Best[q]))},
		{id: f.Class.Name + " known", what: "the same after ten jobs", got: percent(f.Warm[q])},
		r,
		{id: f.Class.Name + " cold", what: "intervals hold without any history", got: percent(mean(f.Cold))},
		{id: f.Class.Name + " width", what: "upper end over lower end, after ten jobs, at 25 %", got: fmt.Sprintf("%.2f", math.Exp(f.Widths[q]))},
	}
}

func togetherRows(f trial.ForecastFigures) []row {
	q := quarter()
	held, over := mean(f.Held), f.Error[q]/f.Best[q]
	return []row{
		{no: 16, id: "F1-F5 error", what: "median error at 25 %, no history", got: percent(f.Error[q]), bar: "<= 10 %", short: f.Error[q] > errorBar},
		{no: 16, id: "F1-F5 best", what: "that over the error of the best single window in hindsight", got: fmt.Sprintf("%.2f", over), bar: "<= 1.25", short: over > overBestBar},
		{no: 17, id: "F1-F5 held", what: "80 % intervals hold, after ten jobs", got: percent(held), bar: "75 to 92 %", short: held < leastHeld || held > mostHeld},
		{id: "F1-F5 cold", what: "80 % intervals hold, without any history", got: percent(mean(f.Cold))},
	}
}

func mean(l []float64) float64 {
	sum := 0.0
	for _, v := range l {
		sum += v
	}
	return sum / float64(len(l))
}

func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }
