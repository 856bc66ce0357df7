package main

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"time"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/probe/estimate"
	"github.com/gomover/gomover/probe/estimate/estimatetest"
)

// By how much trains of packets may be off, as a share of the capacity.
const (
	trainMedianBar = 0.03
	trainWorstBar  = 0.08 // of 95 of 100 runs
)

// trainPath is a path of trains, and what was found on it.
type trainPath struct {
	estimatetest.Path
	found []estimate.Capacity // one for each seed
	err   error
}

// trainGrid are links of 1 to 100 Gbit/s, receivers whose adapters hold interrupts back
// for up to 100 us and whose stamps are exact or not, other traffic of none to half of
// the link. Of the fastest links other traffic is left out: each packet of it is simulated.
func trainGrid() (l []*trainPath) {
	const gbit = units.Rate(1e9 / 8)
	for _, rate := range []units.Rate{gbit, 10 * gbit, 40 * gbit, 100 * gbit} {
		for _, period := range []time.Duration{0, 20 * time.Microsecond, 100 * time.Microsecond} {
			for i, cross := range []float64{0, 0.25, 0.5} {
				if cross > 0 && rate > 10*gbit {
					continue
				}
				p := estimatetest.Path{Rate: rate, Cross: units.Rate(cross * float64(rate)), Delay: 5 * time.Millisecond, Period: period, Send: max(20*gbit, rate*5/4)}
				if i == 2 {
					p.Jitter = 2 * time.Microsecond
				}
				l = append(l, &trainPath{Path: p})
			}
		}
	}
	return l
}

// blindGrid are paths on which no train that is allowed has five batches.
func blindGrid() (l []*trainPath) {
	for _, rate := range []units.Rate{125e5, 125e6, 125e7, 5e9} {
		p := estimatetest.Path{Rate: rate, Delay: 5 * time.Millisecond, Period: 30 * time.Millisecond, Send: max(25e8, rate*5/4), Bytes: int64(float64(rate) * 0.030), Limit: 10 * rate}
		l = append(l, &trainPath{Path: p})
	}
	return l
}

// measureTrains runs trains on all paths, seeds times on each.
func measureTrains(l []*trainPath, seeds int) error {
	var wg sync.WaitGroup
	next := make(chan *trainPath)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for p := range next {
				for seed := range seeds {
					c, _, err := p.Find(uint64(seed))
					p.found, p.err = append(p.found, c), errors.Join(p.err, err)
				}
			}
		})
	}
	for _, p := range l {
		next <- p
	}
	close(next)
	wg.Wait()
	var errs []error
	for _, p := range l {
		errs = append(errs, p.err)
	}
	return errors.Join(errs...)
}

// trainRows tell how far trains are off, and whether they say so when they cannot know.
func trainRows(quick bool) []row {
	seeds := 20
	if quick {
		seeds = 3
	}
	grid, blind := trainGrid(), blindGrid()
	if err := errors.Join(measureTrains(grid, seeds), measureTrains(blind, seeds)); err != nil {
		return failed("trains", err)
	}
	var rows []row
	var all []float64
	for i := 0; i < len(grid); {
		rate := grid[i].Rate
		var off []float64
		without := 0
		for ; i < len(grid) && grid[i].Rate == rate; i++ {
			for _, c := range grid[i].found {
				if c.Verdict == estimate.Measured {
					off = append(off, math.Abs(float64(c.Rate)/float64(rate)-1))
				} else {
					without++
				}
			}
		}
		gbits := 8 * float64(rate) / 1e9
		rows = append(rows, row{id: "trains", what: fmt.Sprintf("%.0f Gbit/s: off by, median; 95 of 100 runs %s; %d without a number, or with a bound alone", gbits, percent(at(off, 0.95)), without), got: percent(at(off, 0.5))})
		if gbits <= 40 {
			all = append(all, off...)
			for range without { // a figure is due there
				all = append(all, 1)
			}
		}
	}
	guessed, of := 0, 0
	for _, p := range blind {
		for _, c := range p.found {
			of++
			if c.Verdict != estimate.Unusable || c.Rate != 0 {
				guessed++
			}
		}
	}
	return append(rows,
		most(11, "trains median", "1 to 40 Gbit/s, interrupts held back by up to 100 us, other traffic up to a half: off by", at(all, 0.5), trainMedianBar, percent),
		most(11, "trains p95", "the same, 95 of 100 runs", at(all, 0.95), trainWorstBar, percent),
		row{no: 11, id: "trains blind", what: "runs in which no train has five batches, and a number is told", got: fmt.Sprintf("%d of %d", guessed, of), bar: "0", short: guessed > 0})
}
