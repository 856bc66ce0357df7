package main

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/tuner/choice"
	"github.com/gomover/gomover/tuner/retune/retunetest"
)

// What the choice must reach: a rate within 5% of the best setting's on 95% of the
// paths.
const (
	closeTo  = 0.95
	closeBar = 0.95
)

// simLength is how long a setting is simulated.
const simLength = 30 * time.Second

// choicePath is a path of the grid, as it is simulated and as the models are told.
type choicePath struct {
	scenario retunetest.Scenario
	path     choice.Path
	ends     choice.Ends
	known    map[choice.Setting]float64 // rates of those that were simulated
}

// choiceGrid are 200 paths: rates from 100 Mbit/s to 5 Gbit/s, round trips from 2 to
// 300 ms, losses from none to 1%, with and without bbr, some with small windows.
func choiceGrid() (l []choicePath) {
	const gbit = units.Rate(1e9 / 8)
	add := func(rate units.Rate, rtt time.Duration, loss float64, bbr bool, window int64) {
		p := choicePath{
			scenario: retunetest.Scenario{Path: retunetest.Path{Rate: rate, RTT: rtt, Loss: loss, Window: window}, Queue: 1, BBR: bbr, Length: simLength},
			path:     choice.Path{RTT: rtt, Free: float64(rate) * 1448 / 1500, Loss: loss, Queue: 1}, known: make(map[choice.Setting]float64),
			ends: choice.Ends{CCs: []string{"cubic"}, Window: max(window, 16<<20)},
		}
		if window > 0 {
			p.ends.Window = window
		}
		if bbr {
			p.ends.CCs = append(p.ends.CCs, "bbr")
		}
		l = append(l, p)
	}
	for _, rate := range []units.Rate{gbit / 10, gbit / 2, gbit, 5 * gbit} {
		for _, rtt := range []time.Duration{2 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond} {
			for _, loss := range []float64{0, 1e-5, 1e-4, 1e-3, 1e-2} {
				add(rate, rtt, loss, false, 0)
				if rtt >= 20*time.Millisecond && loss < 1e-3 {
					add(rate, rtt, loss, false, 2<<20)
				}
				if rtt != 50*time.Millisecond && (loss == 0 || loss == 1e-3 || loss == 1e-2 && rtt > 2*time.Millisecond) {
					add(rate, rtt, loss, true, 0)
				}
			}
		}
		for _, loss := range []float64{1e-3, 1e-2} {
			add(rate, 300*time.Millisecond, loss, false, 0)
		}
	}
	return l
}

// simulated is the rate of a setting in a simulation, from the tenth second on. UDT
// stands as streams of bbr that no window bounds.
func (p *choicePath) simulated(s choice.Setting) (float64, error) {
	if r, ok := p.known[s]; ok {
		return r, nil
	}
	spec := p.scenario
	f := retunetest.Fixed{Streams: s.Streams, CC: s.CC}
	if s.Transport == choice.UDT {
		spec.BBR, spec.Window, f.CC = true, 1<<30, "bbr"
	}
	r, err := retunetest.Run(spec, 1, f)
	if err != nil {
		return 0, err
	}
	p.known[s] = r.Between(10*time.Second, simLength)
	return p.known[s], nil
}

// choiceRows compares what the models choose with the best of all settings.
func choiceRows(quick bool) []row {
	grid := choiceGrid()
	if quick {
		grid = slices.DeleteFunc(grid, func(p choicePath) bool { return p.scenario.Rate > 70e6 })
	}
	var rows []row
	for _, c := range []struct {
		id, what  string
		permitted []string
	}{
		{"C14", "all transports", []string{choice.TCP, choice.UDT}},
		{"C14 tcp", "TCP alone", []string{choice.TCP}},
	} {
		l, err := chosenOn(grid, c.permitted)
		if err != nil {
			return append(rows, failed(c.id, err)...)
		}
		near, udt := 0, 0
		for _, p := range l {
			if p.ratio >= closeTo {
				near++
			}
			if p.set.Transport == choice.UDT {
				udt++
			}
		}
		worst := slices.MinFunc(l, func(a, b chosenPath) int { return cmp.Compare(a.ratio, b.ratio) })
		s := &worst.scenario
		rows = append(rows, above(c.id, fmt.Sprintf("%s: of %d paths those on which the choice is within 5%% of the best setting; UDT on %d; worst %s (%.0f Mbit/s, %v, loss %.0e: %d streams of %s %s)",
			c.what, len(l), udt, percent(worst.ratio), 8*float64(s.Rate)/1e6, s.RTT, s.Loss, worst.set.Streams, worst.set.Transport, worst.set.CC),
			float64(near)/float64(len(l)), closeBar))
		rows[len(rows)-1].no = 14
	}
	return rows
}

// chosenPath is what was chosen on a path, and its rate as a share of the best one's.
type chosenPath struct {
	*choicePath
	set   choice.Setting
	ratio float64
}

// chosenOn compares the choice on all paths of a grid.
func chosenOn(grid []choicePath, permitted []string) ([]chosenPath, error) {
	l, errs := make([]chosenPath, len(grid)), make([]error, len(grid))
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				got, best, set, err := grid[i].compare(permitted)
				l[i], errs[i] = chosenPath{&grid[i], set, got / best}, err
			}
		})
	}
	for i := range grid {
		next <- i
	}
	close(next)
	wg.Wait()
	return l, errors.Join(errs...)
}

// compare gives the rate of what is chosen, and that of the best setting there is.
func (p *choicePath) compare(permitted []string) (got, best float64, set choice.Setting, err error) {
	chosen, _ := choice.Choose(choice.Rank(p.path, p.ends, 0, permitted...))
	if got, err = p.simulated(chosen.Setting); err != nil {
		return 0, 0, set, err
	}
	best = got
	var all []choice.Setting
	for _, n := range []int{1, 2, 4, 8, 16, 32, 64, 128} {
		for _, cc := range p.ends.CCs {
			all = append(all, choice.Setting{Transport: choice.TCP, CC: cc, Streams: n})
		}
	}
	if slices.Contains(permitted, choice.UDT) {
		all = append(all, choice.Setting{Transport: choice.UDT, CC: "bbr", Streams: 2})
	}
	for _, s := range all {
		r, err := p.simulated(s)
		if err != nil {
			return 0, 0, set, err
		}
		best = max(best, r)
	}
	return got, best, chosen.Setting, nil
}
