package forecast

import (
	"math"

	"github.com/montanaflynn/stats"
)

// stages are the shares of a job at which its forecasts are judged.
var stages = [...]float64{0.10, 0.25, 0.50, 0.75, 0.90}

// Outcome is how wrong one forecast was that was made at a stage of a job.
type Outcome struct {
	Stage    int     `json:"stage"`     // 0 to 4: at 10, 25, 50, 75, 90 % of the bytes
	LogError float64 `json:"log_error"` // ln(actual time left / forecast)
	Sigma    float64 `json:"sigma"`     // the deviation assumed, before calibration
}

// valid tells whether the outcome can be reckoned with; it may come from a
// file.
func (o Outcome) valid() bool {
	return o.Stage >= 0 && o.Stage < len(stages) && !math.IsNaN(o.LogError) && math.Abs(o.LogError) < 50 && o.Sigma > 1e-6 && o.Sigma < 50
}

// Constants of the calibration.
const (
	// nominal is the share of cases that an interval is meant to hold.
	nominal = 0.80
	// normal is how many standard deviations of a normal distribution that is.
	normal = 1.28
	// halfLife is after how many further jobs an outcome counts half.
	halfLife = 10
	// remembered is how many jobs at most.
	remembered = 24
	// enough is from how many jobs on their outcomes alone decide.
	enough = 5
	// leastFactor and mostFactor bound what can be learned.
	leastFactor, mostFactor = 0.02, 8
)

// Calibration says by how much intervals must be widened or narrowed so that
// they hold what they promise. It is conformal prediction (Vovk, Gammerman and
// Shafer, "Algorithmic learning in a random world", 2005): the errors of earlier
// jobs on the path, as multiples of the deviation assumed, are ranked, and the
// one that four fifths of them and of the job to come do not exceed is the
// factor. However the path behaves, intervals hold their share if jobs are
// alike. The zero value knows of no jobs.
type Calibration struct {
	factors [len(stages)]float64 // 0: normal
}

// Calibrate learns from the outcomes of earlier jobs on a path, the latest job
// last. Outcomes out of range are left out.
func Calibrate(jobs [][]Outcome) Calibration {
	jobs = jobs[max(0, len(jobs)-remembered):]
	var c Calibration
	for stage := range stages {
		var scores, weights []float64
		for i, job := range jobs {
			for _, o := range job {
				if o.Stage == stage && o.valid() {
					scores = append(scores, math.Abs(o.LogError)/o.Sigma)
					weights = append(weights, math.Pow(0.5, float64(len(jobs)-1-i)/halfLife))
					break
				}
			}
		}
		c.factors[stage] = rank(scores, weights)
	}
	return c
}

// rank is the score that the next one does not exceed in nominal of all cases.
func rank(scores, weights []float64) float64 {
	// Until there are enough, jobs as they are if errors are normal stand in.
	for n := len(scores); n < enough; n++ {
		for _, normalScore := range [...]float64{0.32, 0.67, 1.04, normal} {
			scores, weights = append(scores, normalScore), append(weights, 0.25)
		}
	}
	total, err := stats.Sum(weights)
	if err != nil {
		return normal
	}
	// The job to come may have any score. With weight 1 intervals would hold at
	// least their share whatever happens, and with few jobs more than that; with
	// somewhat less they hold about their share.
	percent := math.Min(100, 100*nominal*(total+0.75)/total)
	q, err := stats.PercentileWeighted(scores, weights, percent)
	if err != nil {
		return normal
	}
	return math.Max(leastFactor, math.Min(mostFactor, q))
}

// factor is how many deviations the interval reaches to each side at a share of
// the job.
func (c *Calibration) factor(progress float64) float64 {
	at := func(i int) float64 {
		if c.factors[i] == 0 {
			return normal
		}
		return c.factors[i]
	}
	if progress <= stages[0] {
		return at(0)
	}
	for i := 1; i < len(stages); i++ {
		if progress <= stages[i] {
			w := (progress - stages[i-1]) / (stages[i] - stages[i-1])
			return math.Exp((1-w)*math.Log(at(i-1)) + w*math.Log(at(i)))
		}
	}
	return at(len(stages) - 1)
}
