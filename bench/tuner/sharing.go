package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/tuner/retune"
	"github.com/gomover/gomover/tuner/retune/retunetest"
)

// useBar is how much of a link several jobs must use together, and unfairBar what their
// index must be with 95 of 100 seeds.
const (
	useBar    = 0.95
	unfairBar = 0.85
)

// sharingRows tells how jobs share a path, with each other and with others.
func sharingRows(quick bool) []row {
	seeds := []uint64{1, 2, 3, 4, 5}
	if quick {
		seeds = seeds[:1]
	}
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
			fair, use = append(fair, netsim.Jain(rates...)), append(use, sum/float64(s.Rate)*1500/1448)
		}
		slices.Sort(fair)
		slices.Sort(use)
		mid := len(fair) / 2
		rows = append(rows, row{no: 9, id: c.id, what: fmt.Sprintf("%s: Jain's index of the rates, worst %.3f; %s of the link in use", s.Name, fair[0], percent(use[mid])),
			got: fmt.Sprintf("%.3f", fair[mid]), bar: fmt.Sprintf(">= %.2f", c.bar), short: fair[mid] < c.bar || use[mid] < useBar},
			row{no: 9, id: c.id + " worst", what: "the same, worst of the seeds", got: fmt.Sprintf("%.3f", fair[0]), bar: fmt.Sprintf(">= %.2f", unfairBar), short: fair[0] < unfairBar})
	}
	rows = append(rows, besideRows(seeds)...)
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
	var queue []float64
	for _, r := range idle.RTTs[len(idle.RTTs)/4:] {
		queue = append(queue, float64(r-s.RTT)/float64(background))
	}
	rows := []row{
		above("S21 idle", "a job in the background on an idle path, against one cubic stream", idle.Between(from, to)/alone.Between(from, to), 0.85),
		above("S21 shared", "what a cubic stream keeps beside a job in the background", both[0].Between(from, to)/alone.Between(from, to), 0.95),
		{id: "S21 queue", what: fmt.Sprintf("the queue that a job in the background makes on an idle path, of its target of %v, in 95 of 100 samples", background), got: fmt.Sprintf("%.2f", at(queue, 0.95)), bar: "<= 1.20", short: at(queue, 0.95) > 1.2},
	}
	for i := range rows {
		rows[i].no = 30
	}
	return rows
}

// background is the queue that a job in the background aims at on a path of 40 ms.
const background = 5 * time.Millisecond

// besideRows tells what a job takes beside eight streams of others.
func besideRows(seeds []uint64) []row {
	s := retunetest.Scenario{ID: "S17", Path: retunetest.Path{Rate: 125e6, RTT: 50 * time.Millisecond}, Queue: 1, Noise: 0.05}
	var off, streams []float64
	for _, seed := range seeds {
		got, err := retunetest.Compete(s, seed, retunetest.Entrant{Policy: retunetest.Fixed{Streams: 8, CC: "cubic"}}, retunetest.Entrant{Policy: retune.New(s.Config()), Start: 5 * time.Second})
		if err != nil {
			return failed("S17", err)
		}
		const from, to = time.Minute, 2 * time.Minute
		n := 0.0
		for _, k := range got[1].Streams[60:] {
			n += float64(k) / float64(len(got[1].Streams[60:]))
		}
		mine, others := got[1].Between(from, to), got[0].Between(from, to)
		off = append(off, mine/(mine+others)/(n/(n+8)))
		streams = append(streams, n)
	}
	share, n := at(off, 0.5), at(streams, 0.5)
	return []row{
		{id: "S17 share", what: "what a job takes beside eight streams of cubic, of the share of its streams", got: fmt.Sprintf("%.2f", share), bar: "0.75 to 1.25", short: share < 0.75 || share > 1.25},
		{id: "S17 streams", what: "how many it has then", got: fmt.Sprintf("%.0f", n), bar: "8 to 20", short: n < 8 || n > 20},
	}
}
