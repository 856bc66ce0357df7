package retunetest

import (
	"cmp"
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/gomover/gomover/tuner/retune"
)

// Grid is all fixed settings that a scenario is compared with: streams from 1 to
// 64, with each congestion control that it allows.
func Grid(s Scenario) (l []retune.Settings) {
	for _, cc := range s.ccs() {
		for n := 1; n <= 64; n *= 2 {
			l = append(l, retune.Settings{Streams: n, CC: cc})
		}
	}
	return l
}

func (s *Scenario) ccs() []string {
	if s.BBR {
		return []string{"cubic", "bbr"}
	}
	return []string{"cubic"}
}

// Config is what a job on the scenario's path knows when it begins, which is
// nothing of the path but whether it is far: with as many streams as gomover
// begins with.
func (s *Scenario) Config() retune.Config {
	n := 12
	if s.RTT < 2*time.Millisecond {
		n = 2
	}
	return retune.Config{Start: retune.Settings{Streams: n, CC: "cubic"}, CCs: s.ccs()}
}

// Maker makes the policy of a run with a seed; nil where the scenario is left out.
type Maker func(s Scenario, seed uint64) (Policy, error)

// Guided makes the policy guided by the limiter.
func Guided(s Scenario, _ uint64) (Policy, error) { return retune.New(s.Config()), nil }

// Blind makes the policy that sees nothing but bytes.
func Blind(s Scenario, _ uint64) (Policy, error) { return retune.NewClimber(s.Config()), nil }

// Fresh makes a policy that never changes what the job begins with.
func Fresh(s Scenario, _ uint64) (Policy, error) { return Fixed(s.Config().Start), nil }

// Row is how a policy did in a scenario, over some seeds.
type Row struct {
	Scenario Scenario
	// Best is the fixed setting that was best with most seeds.
	Best retune.Settings
	// Ratios are, of each seed, the bytes moved over those of the best fixed
	// setting with that seed, in ascending order.
	Ratios []float64
	// Figures are more of each seed, in the order of the seeds.
	Figures []Figures
	// Recoveries are, of each change and seed, how long after it the rate was
	// within 10% of what the fixed setting that is best from then on comes to,
	// in ascending order. A job that never gets there has the time that it had.
	Recoveries []time.Duration
	// Streams is how many there were at the end, Decisions how many trials began
	// in a minute; medians over the seeds.
	Streams   float64
	Decisions float64
}

// Median is the middle ratio.
func (r *Row) Median() float64 { return middle(r.Ratios) }

// Recovery is the middle recovery, and Bound what it may be: ten seconds or fifty
// round trips.
func (r *Row) Recovery() (got, bound time.Duration) {
	longest := r.Scenario.RTT
	for _, c := range r.Scenario.Changes {
		p := r.Scenario.Path
		c.Set(&p)
		longest = max(longest, p.RTT)
	}
	return middle(r.Recoveries), max(10*time.Second, 50*longest)
}

func middle[T cmp.Ordered](l []T) T {
	var none T
	if len(l) == 0 {
		return none
	}
	return l[len(l)/2]
}

// Measure runs scenarios with all fixed settings of a grid and with each of some
// policies, and gives a policy's rows in the order of the scenarios. It uses all
// processors.
//
// Errors: those of Run.
func Measure(list []Scenario, seeds []uint64, grid func(Scenario) []retune.Settings, policies ...Maker) ([][]Row, error) {
	rows, errs := make([][]Row, len(policies)), make([]error, len(list))
	for i := range rows {
		rows[i] = make([]Row, len(list))
	}
	var wg sync.WaitGroup
	turn := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, s := range list {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			m := measurement{scenario: s, grid: grid(s), policies: policies, wins: make(map[retune.Settings]int), tallies: make([]tally, len(policies))}
			for _, seed := range seeds {
				if errs[i] = m.run(seed); errs[i] != nil {
					return
				}
			}
			for k := range policies {
				rows[k][i] = m.row(k)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return rows, nil
}

// measurement is all runs of a scenario.
type measurement struct {
	scenario Scenario
	grid     []retune.Settings
	policies []Maker
	wins     map[retune.Settings]int
	best     retune.Settings
	tallies  []tally
}

// tally is what a policy came to, seed by seed.
type tally struct {
	ratios, streams, decisions []float64
	figures                    []Figures
	recoveries                 []time.Duration
}

// run runs the scenario with everything, with one seed.
func (m *measurement) run(seed uint64) error {
	fixed := make([]Result, len(m.grid))
	top := 0
	for i, set := range m.grid {
		var err error
		if fixed[i], err = Run(m.scenario, seed, Fixed(set)); err != nil {
			return err
		}
		if fixed[i].Bytes > fixed[top].Bytes {
			top = i
		}
	}
	won := m.grid[top]
	if m.wins[won]++; m.wins[won] > m.wins[m.best] {
		m.best = won
	}
	for k, maker := range m.policies {
		policy, err := maker(m.scenario, seed)
		if err != nil {
			return err
		}
		if policy == nil {
			continue
		}
		r, err := Run(m.scenario, seed, policy)
		if err != nil {
			return err
		}
		tries := 0
		for _, d := range r.Decisions {
			if d.Step == retune.Try {
				tries++
			}
		}
		t := &m.tallies[k]
		t.ratios = append(t.ratios, float64(r.Bytes)/float64(fixed[top].Bytes))
		t.figures = append(t.figures, figures(&m.scenario, &r, m.grid, fixed, top))
		t.recoveries = append(t.recoveries, recoveries(&m.scenario, &r, fixed)...)
		t.streams = append(t.streams, float64(r.Streams[len(r.Streams)-1]))
		t.decisions = append(t.decisions, float64(tries)/m.scenario.length().Minutes())
	}
	return nil
}

// row sums up what policy k came to.
func (m *measurement) row(k int) Row {
	t := &m.tallies[k]
	slices.Sort(t.ratios)
	slices.Sort(t.recoveries)
	slices.Sort(t.streams)
	slices.Sort(t.decisions)
	return Row{Scenario: m.scenario, Best: m.best, Ratios: t.ratios, Figures: t.figures, Recoveries: t.recoveries, Streams: middle(t.streams), Decisions: middle(t.decisions)}
}

// recoverySpan is over what a rate must be back to count.
const recoverySpan = 3 * time.Second

// recoveries tells how long a job took after each change.
func recoveries(s *Scenario, r *Result, fixed []Result) (l []time.Duration) {
	for i, c := range s.Changes {
		end := s.length()
		if i+1 < len(s.Changes) {
			end = s.Changes[i+1].At
		}
		// What a fixed setting comes to, it has come to half way.
		best := 0.0
		for j := range fixed {
			best = math.Max(best, fixed[j].Between(c.At+(end-c.At)/2, end))
		}
		t := c.At
		for t < end-recoverySpan && r.Between(t, t+recoverySpan) < 0.9*best {
			t += time.Second
		}
		l = append(l, t-c.At)
	}
	return l
}
