package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gomover/gomover/tuner/retune"
	"github.com/gomover/gomover/tuner/retune/retunetest"
)

// scenarios16 is how many of the scenarios the numbered figures are of: the first.
const scenarios16 = 16

// regretBars are what the first scenarios may lose, as shares of what the best fixed
// setting moves.
var regretBars = map[string]float64{
	"S01": 0.005, "S02": 0.05, "S03": 0.01, "S04": 0.01, "S05": 0.06, "S06": 0.08, "S07": 0.08, "S08": 0.05,
	"S09": 0.005, "S10": 0.005, "S11": 0.04, "S12": 0.08, "S13": 0.02, "S14": 0.06, "S15": 0.04, "S16": 0.08,
}

// wrongSeeds are by how much the capacity that a policy is told may be wrong, memories
// how many times the right number of streams a second job may begin with.
var (
	wrongSeeds = []float64{0.1, 0.3, 3, 10}
	memories   = []float64{1, 0.2, 5}
)

// groupsOfFields are what a kernel may not tell.
var groupsOfFields = []struct {
	name  string
	known retune.Known
}{
	{"round trips", retune.KnownRTT}, {"losses", retune.KnownLoss}, {"waits for windows", retune.KnownBusy}, {"the ends' work", retune.KnownEnds},
}

// first16 leaves the other scenarios out.
func first16(m retunetest.Maker) retunetest.Maker {
	return func(s retunetest.Scenario, seed uint64) (retunetest.Policy, error) {
		if _, ok := regretBars[s.ID]; !ok {
			return nil, nil
		}
		return m(s, seed)
	}
}

// ignorant is a policy that is not told a group of fields.
type ignorant struct {
	*retune.Policy
	of retune.Known
}

// Step hides what is not known.
func (p ignorant) Step(s retune.Sample) (retune.Decision, bool) {
	s.Known &^= p.of
	return p.Policy.Step(s)
}

func without(group struct {
	name  string
	known retune.Known
}) retunetest.Maker {
	return func(s retunetest.Scenario, _ uint64) (retunetest.Policy, error) {
		return ignorant{retune.New(s.Config()), group.known}, nil
	}
}

// at is a quantile of values.
func at(l []float64, q float64) float64 {
	l = slices.Sorted(slices.Values(l))
	if len(l) == 0 {
		return math.NaN()
	}
	return l[min(len(l)-1, int(q*float64(len(l))))]
}

// all takes one value of each run.
func all(rows []retunetest.Row, value func(s *retunetest.Scenario, f *retunetest.Figures) float64) (l []float64) {
	for i := range rows {
		for k := range rows[i].Figures {
			l = append(l, value(&rows[i].Scenario, &rows[i].Figures[k]))
		}
	}
	return l
}

func regret(_ *retunetest.Scenario, f *retunetest.Figures) float64 { return 1 - f.Ratio }

// most is a numbered row whose figure must not exceed a bar.
func most(no int, id, what string, got, bar float64, form func(float64) string) row {
	return row{no: no, id: id, what: what, got: form(got), bar: "<= " + form(bar), short: !(got <= bar)}
}

func seconds(v float64) string { return fmt.Sprintf("%.1f s", v) }

func seconds2(v float64) string { return fmt.Sprintf("%.2f s", v) }

func plain(v float64) string { return fmt.Sprintf("%.2f", v) }

// acceptedRows are the figures of the first scenarios together.
func acceptedRows(guided, blind []retunetest.Row) (rows []row) {
	g, b := all(guided, regret), all(blind, regret)
	start := all(guided, func(_ *retunetest.Scenario, f *retunetest.Figures) float64 { return f.Start.Seconds() })
	beyond := all(guided, func(s *retunetest.Scenario, f *retunetest.Figures) float64 { return (f.Start - 10*s.RTT).Seconds() })
	late := all(guided, func(_ *retunetest.Scenario, f *retunetest.Figures) float64 { return 1 - f.Late })
	rows = append(rows,
		most(1, "regret median", "S01 to S16: less than the best fixed setting", at(g, 0.5), 0.02, percent),
		most(1, "regret mean", "the same", mean(g), 0.04, percent),
		most(1, "regret p95", "the same, of 95 of 100 runs", at(g, 0.95), 0.12, percent),
		most(2, "start median", "until 90 % of the best rate, beyond ten round trips", at(beyond, 0.5), 0.5, seconds),
		most(2, "start p75", "until 90 % of the best rate", at(start, 0.75), 3, seconds),
		most(2, "start p95", "the same", at(start, 0.95), 15, seconds))
	var back []float64
	for i := range guided {
		if id := guided[i].Scenario.ID; id >= "S11" && id <= "S14" {
			for _, d := range guided[i].Recoveries {
				back = append(back, d.Seconds())
			}
		}
	}
	rows = append(rows,
		most(3, "back median", "until 90 % of the best rate after a change, S11 to S14", at(back, 0.5), 5, seconds),
		most(3, "back p95", "the same", at(back, 0.95), 20, seconds),
		row{no: 4, id: "blind regret", what: "median regret of the blind policy over that of the guided one", got: plain(at(b, 0.5) / max(at(g, 0.5), 1e-9)), bar: ">= 5", short: at(b, 0.5) < 5*at(g, 0.5)},
		most(6, "late regret", "in the last third, median", at(late, 0.5), 0.01, percent))
	rows = append(rows, streamRows(guided)...)
	four, where := math.Inf(1), ""
	for i := range blind {
		if v := at(all(blind[i:i+1], func(_ *retunetest.Scenario, f *retunetest.Figures) float64 { return f.OverFour }), 0.5); v < four {
			four, where = v, blind[i].Scenario.ID
		}
	}
	return append(rows,
		most(31, "blind median", "regret without any counters of a kernel", at(b, 0.5), 0.15, percent),
		row{no: 31, id: "blind least", what: "bytes over those of four streams, worst scenario: " + where, got: plain(four), bar: ">= 1.00", short: four < 1})
}

// streamRows are those on the number of streams, on paths that do not change.
func streamRows(guided []retunetest.Row) []row {
	var over, beyond, changes, spread []float64
	for i := range guided {
		if len(guided[i].Scenario.Changes) > 0 {
			continue
		}
		for _, f := range guided[i].Figures {
			over = append(over, float64(f.Most)/float64(f.Needed))
			beyond = append(beyond, f.Beyond)
			changes, spread = append(changes, f.Changes), append(spread, f.Spread)
		}
	}
	return []row{
		most(7, "overshoot", "most streams at any time, over the least that move 95 % of the best; 95 of 100 runs", at(over, 0.95), 2.5, plain),
		most(7, "overshoot time", "stream-seconds beyond one and a half times that; median", at(beyond, 0.5), 0.1, percent),
		most(8, "changes", "of the number of streams in a minute, from 30 s on; 95 of 100 runs", at(changes, 0.95), 6, plain),
		most(8, "wandering", "deviation of the number of streams; median", at(spread, 0.5), 0.15, percent),
	}
}

// seedRows tell what it costs to be told a wrong capacity.
func seedRows(guided []retunetest.Row, wrong [][]retunetest.Row) (rows []row) {
	right := at(all(guided, regret), 0.5)
	for i, l := range wrong {
		rows = append(rows, most(5, fmt.Sprintf("told %.1f times", wrongSeeds[i]), "by how much the median regret rises when the capacity is told so wrongly", at(all(l, regret), 0.5)-right, 0.015, percent))
	}
	return rows
}

// memoryRows tell what a job gains from the one before, and loses if that is wrong.
func memoryRows(l [][]retunetest.Row) []row {
	soon, n := 0, 0
	for i := range l[0] {
		for _, f := range l[0][i].Figures {
			n++
			if f.Start <= 10*l[0][i].Scenario.RTT+300*time.Millisecond {
				soon++
			}
		}
	}
	first := above("second job", "share of second jobs on a path that reach 90 % within ten round trips and 0.3 s", float64(soon)/float64(n), 0.95)
	first.no = 15
	rows := []row{first}
	for i, times := range memories[1:] {
		rows = append(rows, most(15, fmt.Sprintf("memory times %.1f", times), "median regret with so many times the streams to begin with", at(all(l[i+1], regret), 0.5), 0.03, percent))
	}
	return rows
}

// missingRows tell what it costs when a kernel does not tell everything.
func missingRows(guided []retunetest.Row, l [][]retunetest.Row) (rows []row) {
	right := at(all(guided, regret), 0.5)
	for i, g := range groupsOfFields {
		rows = append(rows, most(0, "S28 "+g.name, "by how much the median regret rises when a kernel does not tell them", at(all(l[i], regret), 0.5)-right, 0.05, percent))
	}
	return rows
}

// limiterRows tell how often what holds a job back is named rightly.
func limiterRows(quick bool) []row {
	seeds := 5
	if quick {
		seeds = 1
	}
	var rows []row
	right, of := 0, 0
	var late []float64
	for _, l := range retunetest.Labels() {
		r, n := 0, 0
		found := time.Duration(0)
		for seed := range seeds {
			got, err := l.Name(uint64(seed + 1))
			if err != nil {
				return append(rows, failed("limiter", err)...)
			}
			r, n = r+got.Right, n+got.Of
			if len(l.Changes) > 0 {
				found = max(found, got.Found)
				// It is due after two seconds or three periods.
				late = append(late, (got.Found - max(2*time.Second, 3*max(time.Second, 10*l.RTT))).Seconds())
			}
		}
		right, of = right+r, of+n
		what := fmt.Sprintf("%.0f Mbit/s, %v, loss %.0e, window %d, disk %.0f, limit %.0f Mbit/s, %d streams: seconds in which %v is found", 8*float64(l.Rate)/1e6, l.RTT, l.Loss, l.Window, 8*float64(l.Disk)/1e6, 8*float64(l.Limit)/1e6, l.Streams, l.Want)
		if len(l.Changes) > 0 {
			what += fmt.Sprintf(", and %v after a change, within %v", l.After, found)
		}
		rows = append(rows, row{id: "limit", what: what, got: percent(float64(r) / float64(n))})
	}
	total := above("limit", "of all seconds, but for the first three periods after the start or a change", float64(right)/float64(of), 0.95)
	total.no = 13
	return append(rows, total, most(13, "limit after", "seconds beyond two, or three periods, until it is found after a change, 95 of 100 runs", at(late, 0.95), 0, seconds))
}
