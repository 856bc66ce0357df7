package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/tuner/trial"
)

// What pacing must reach.
const (
	meanBar  = 0.01 // off, of means over a second
	tenthBar = 1.05 // of means over a tenth of a second
	afterBar = 1.02 // of means over a second after a change
	lowerBar = 0.10 // less than the peak without a deadline
	inTime   = 0.95 // of jobs with a deadline that can be met
	toldBar  = 0.90 // of jobs with one that cannot
)

// pacingRows measures limits of the rate, changes of them, and deadlines.
func pacingRows(quick bool) []row {
	seconds, jobs := 40, 100
	if quick {
		seconds, jobs = 12, 25
	}
	var rows []row
	for _, c := range []struct {
		what       string
		rate, then units.Rate
		x          trial.Sockets
	}{
		{"10 Mbit/s, then 40, two streams", 125e4, 5e6, trial.Sockets{Streams: 2}},
		{"100 Mbit/s, then 25", 125e5, 3125e3, trial.Sockets{Streams: 12}},
		{"1 Gbit/s, then 100 Mbit/s", 125e6, 125e5, trial.Sockets{Streams: 12}},
		{"5 Gbit/s, then 2", 625e6, 25e7, trial.Sockets{Streams: 12}},
		{"1 Gbit/s, one stream", 125e6, 625e5, trial.Sockets{Streams: 1}},
		{"1 Gbit/s, two streams of 12 slow", 125e6, 625e5, trial.Sockets{Streams: 12, Slow: 2}},
		{"100 Mbit/s, streams late by up to 15 ms", 125e5, 625e4, trial.Sockets{Streams: 12, Late: 15 * time.Millisecond}},
	} {
		c.x.Frame, c.x.Room = 256<<10, 1.008
		p := c.x.Keep(c.rate, c.then, seconds, 1)
		off := max(1-p.Least, p.Most-1)
		rows = append(rows,
			row{no: 24, id: "limit", what: c.what + ": means over a second are off by at most", got: percent(off), bar: "<= 1 %", short: off > meanBar},
			row{no: 24, id: "even", what: "greatest mean over 100 ms, of the limit", got: percent(p.Tenth), bar: "<= 105 %", short: p.Tenth > tenthBar},
			row{no: 25, id: "change", what: "mean over the second that begins 200 ms after a change, of the new limit", got: percent(p.After), bar: "<= 102 %", short: p.After > afterBar})
	}
	return append(rows, deadlineRows(jobs)...)
}

func deadlineRows(jobs int) []row {
	results := make([][3]trial.Deadlines, len(trial.Classes))
	var wg sync.WaitGroup
	for i, c := range trial.Classes {
		wg.Go(func() {
			for k, slack := range []float64{0.25, 1, -0.25} {
				results[i][k] = trial.FinishBy(c, slack, jobs)
			}
		})
	}
	wg.Wait()
	var rows []row
	var all [3]trial.Deadlines
	var lower []float64
	for i, c := range trial.Classes {
		for k, d := range results[i] {
			all[k].Met, all[k].Feasible = all[k].Met+d.Met, all[k].Feasible+d.Feasible
			all[k].Told, all[k].Hopeless = all[k].Told+d.Told, all[k].Hopeless+d.Hopeless
			if k == 0 {
				lower = append(lower, d.Lower)
			}
			if k < 2 {
				rows = append(rows, row{id: "finish-by " + c.Name, what: fmt.Sprintf("%s; %s: peak lower by, median (met %d of %d)", c.What, []string{"a quarter more time than it takes", "twice the time"}[k], d.Met, d.Feasible), got: percent(d.Lower)})
			}
		}
	}
	quarter := all[0]
	met := float64(quarter.Met) / float64(quarter.Feasible)
	twice := float64(all[1].Met) / float64(all[1].Feasible)
	told := float64(all[2].Told) / float64(all[2].Hopeless)
	rows = append(rows,
		row{no: 32, id: "finish-by peak", what: "with a quarter more time than it takes: peak lower by, median of the classes", got: percent(at(lower, 0.5)), bar: ">= 10.0 %", short: at(lower, 0.5) < lowerBar},
		above("finish-by", "met with a quarter more time than it takes", met, inTime),
		above("finish-by", "met with twice the time that it takes", twice, inTime),
		above("finish-by", "told to be impossible before half of a time that is a quarter too short", told, toldBar))
	rows[len(rows)-3].no = 32
	return rows
}
