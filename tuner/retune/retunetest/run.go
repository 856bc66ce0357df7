package retunetest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/tuner/retune"
)

// Policy is what a job asks for its settings: one of retune's policies, or one
// that never changes its mind.
type Policy interface {
	// Start gives the settings to begin with.
	Start() retune.Settings
	// Step takes a sample; ok tells that there is a decision.
	Step(s retune.Sample) (d retune.Decision, ok bool)
}

// Fixed is a policy that never changes anything.
type Fixed retune.Settings

// Start gives the settings.
func (f Fixed) Start() retune.Settings { return retune.Settings(f) }

// Step does nothing.
func (f Fixed) Step(retune.Sample) (retune.Decision, bool) { return retune.Decision{}, false }

// Entrant is a job that takes part in a run.
type Entrant struct {
	Policy Policy
	Start  time.Duration // when it begins
}

// Result is what came of a job.
type Result struct {
	// Bytes is the payload that arrived.
	Bytes int64
	// Rates is what arrived in each second of the run, in bytes, Streams how many
	// streams there were at its end.
	Rates   []int64
	Streams []int
	// Steps is what arrived in each step of Step, in bytes.
	Steps []int64
	// Classes is what the policy took for the limit at the end of each second; empty
	// where it does not say.
	Classes []retune.Class
	// RTTs are the mean round trips of all samples.
	RTTs []time.Duration
	// Decisions are the policy's.
	Decisions []retune.Decision
}

// Step is the length of the steps of [Result.Steps].
const Step = sampleEvery

// Reached tells how long after from the job's mean rate over span was at first as much
// as rate, in bytes per second; a job that never comes there has all the time until to.
func (r *Result) Reached(rate float64, from, to, span time.Duration) time.Duration {
	n := int(span / Step)
	sum := int64(0)
	for i := int(from / Step); i < min(int(to/Step), len(r.Steps)); i++ {
		sum += r.Steps[i]
		if first := i - n + 1; first >= int(from/Step) {
			if float64(sum) >= rate*span.Seconds() {
				return time.Duration(first)*Step - from
			}
			sum -= r.Steps[first]
		}
	}
	return to - from
}

// Between is the mean rate from one second of the run to another, in bytes per
// second.
func (r *Result) Between(from, to time.Duration) float64 {
	sum, n := int64(0), 0
	for i := int(from / time.Second); i < int(to/time.Second) && i < len(r.Rates); i++ {
		sum += r.Rates[i]
		n++
	}
	return float64(sum) / float64(max(1, n))
}

// Run runs a scenario with one job. What it does follows from the seed and the
// policy.
//
// Errors: a scenario with settings that no link or flow can have.
func Run(spec Scenario, seed uint64, p Policy) (Result, error) {
	l, err := Compete(spec, seed, Entrant{Policy: p})
	if err != nil {
		return Result{}, err
	}
	return l[0], nil
}

// Compete runs a scenario with several jobs that share the path, each between
// ends of its own. What it does follows from the seed and the policies.
//
// Errors: those of Run.
func Compete(spec Scenario, seed uint64, entrants ...Entrant) ([]Result, error) {
	r := run{spec: &spec, path: spec.Path}
	l, err := r.all(seed, entrants)
	if err != nil {
		return nil, fmt.Errorf("scenario %s: %w", spec.ID, err)
	}
	return l, nil
}

// run is one run of a scenario.
type run struct {
	spec     *Scenario
	path     Path
	queue    netsim.Limit
	from, to *netsim.Host
	jobs     []*job
}

func (r *run) all(seed uint64, entrants []Entrant) ([]Result, error) {
	w := netsim.NewWorld(seed)
	bdp := float64(r.path.Rate) * r.path.RTT.Seconds()
	r.queue = netsim.Limit{Bytes: max(leastQueue, int64(r.spec.Queue*bdp))}
	var err error
	if r.from, err = w.AddHost("source", r.up(), netsim.Params{}); err != nil {
		return nil, err
	}
	if r.to, err = w.AddHost("sink", r.back(), netsim.Params{}); err != nil {
		return nil, err
	}
	x := netsim.NewFluid(w)
	for i, e := range entrants {
		r.jobs = append(r.jobs, &job{x: x, from: r.from, to: r.to, path: &r.path, spec: r.spec, policy: e.Policy, start: e.Start,
			name: fmt.Sprintf("job %d stream ", i), rand: rand.New(rand.NewPCG(seed, uint64(i)))})
	}
	changes := r.spec.Changes
	second := time.Second
	for x.Now() < r.spec.length() {
		for len(changes) > 0 && x.Now() >= changes[0].At {
			if err := r.change(changes[0]); err != nil {
				return nil, err
			}
			changes = changes[1:]
		}
		for _, j := range r.jobs {
			if err := j.step(); err != nil {
				return nil, err
			}
		}
		x.Run(min(x.Now()+sampleEvery, second))
		for _, j := range r.jobs {
			j.tick()
		}
		if x.Now() >= second {
			second += time.Second
			for _, j := range r.jobs {
				j.note()
			}
		}
	}
	var l []Result
	for _, j := range r.jobs {
		j.result.Bytes = j.delivered()
		l = append(l, j.result)
	}
	return l, nil
}

// leastQueue is the least that fits into a queue: a router has some packets.
const leastQueue = 16 * 1500

func (r *run) up() netsim.Params {
	return netsim.Params{Rate: r.path.Rate, Delay: r.path.RTT / 2, Loss: r.path.Loss, Cross: r.path.Cross, Queue: r.queue}
}

func (r *run) back() netsim.Params { return netsim.Params{Delay: r.path.RTT / 2} }

// change makes a change of the path.
func (r *run) change(c Change) error {
	c.Set(&r.path)
	if err := r.from.Up().Link().Set(r.up()); err != nil {
		return err
	}
	if err := r.to.Up().Link().Set(r.back()); err != nil {
		return err
	}
	for _, j := range r.jobs {
		for _, s := range j.streams {
			s.flow.SetWindow(j.window())
		}
	}
	return nil
}
