package trial

import (
	"math"
	"slices"
	"time"

	"github.com/gomover/gomover/tuner/anomaly"
	"github.com/gomover/gomover/tuner/forecast"
)

// jobSeconds is how long the jobs of the forecast trials take at the base rate.
const jobSeconds = 600

// Shares are the shares of a job at which forecasts are compared with what
// came.
var Shares = []float64{0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9}

// ForecastFigures are those of one class of paths, each at each of Shares.
type ForecastFigures struct {
	Class  Class
	Error  []float64 // median of |ln(actual / forecast)|, without any history
	Warm   []float64 // the same after ten jobs on the path
	Naive  []float64 // the same of the rate of the last 10 s
	Best   []float64 // the same of the best single window in hindsight
	Cold   []float64 // share of intervals that held, without any history
	Held   []float64 // the same after ten jobs on the path
	Widths []float64 // median of ln(hi / lo), after ten jobs
}

// jobsBefore is how many jobs a path's history holds when it counts.
const jobsBefore = 10

// visit is one look at a job: errors are ln(actual / forecast).
type visit struct {
	err   float64
	naive []float64
	held  bool
	width float64
}

// Visits are all looks at the jobs of one class, by share.
type Visits struct {
	class      Class
	cold, warm [][]visit
}

// Forecasts runs pairs of hosts, each with ten jobs to learn from and one that
// counts, in one class.
func Forecasts(c Class, pairs int) Visits {
	v := Visits{c, make([][]visit, len(Shares)), make([][]visit, len(Shares))}
	for pair := range pairs {
		var past [][]forecast.Outcome
		var rates []float64
		for job := range jobsBefore + 1 {
			fc := forecast.Forecast{Past: forecast.Calibrate(past)}
			if len(rates) > 0 {
				fc.Expected = quantile(rates[max(0, len(rates)-5):], 0.5)
			}
			visits, outcomes, seconds := run(c, pair*100+job, &fc)
			past, rates = append(past, outcomes), append(rates, jobSeconds*base/seconds)
			for i, look := range visits {
				switch job {
				case 0:
					v.cold[i] = append(v.cold[i], look)
				case jobsBefore:
					v.warm[i] = append(v.warm[i], look)
				}
			}
		}
	}
	return v
}

// Figures reduces looks.
func (v Visits) Figures() ForecastFigures {
	f := ForecastFigures{Class: v.class}
	for i := range Shares {
		cold, warm := v.cold[i], v.warm[i]
		f.Error = append(f.Error, medianOf(cold, func(v visit) float64 { return math.Abs(v.err) }))
		f.Warm = append(f.Warm, medianOf(warm, func(v visit) float64 { return math.Abs(v.err) }))
		best := math.Inf(1)
		for k := range windows {
			m := medianOf(cold, func(v visit) float64 { return math.Abs(v.naive[k]) })
			best = math.Min(best, m)
			if k == naive10 {
				f.Naive = append(f.Naive, m)
			}
		}
		f.Best = append(f.Best, best)
		f.Cold, f.Held = append(f.Cold, share(cold)), append(f.Held, share(warm))
		f.Widths = append(f.Widths, medianOf(warm, func(v visit) float64 { return v.width }))
	}
	return f
}

// Pool is the looks of several classes taken together.
func Pool(all []Visits) Visits {
	p := Visits{Class{Name: "all", What: "together"}, make([][]visit, len(Shares)), make([][]visit, len(Shares))}
	for _, v := range all {
		for i := range Shares {
			p.cold[i] = append(p.cold[i], v.cold[i]...)
			p.warm[i] = append(p.warm[i], v.warm[i]...)
		}
	}
	return p
}

// windows are the sliding means that the forecast is compared with; 0 is the
// mean of all.
var windows = []int{0, 1, 5, 10, 30, 60, 120}

const naive10 = 3 // of windows

// run feeds one job to fc, and looks at it at each of Shares.
func run(c Class, seed int, fc *forecast.Forecast) (visits []visit, outcomes []forecast.Outcome, seconds float64) {
	trace := c.Make(source(seed, c.Name))
	const total = int64(jobSeconds * base)
	type look struct {
		at          float64
		mid, lo, hi float64
		naive       []float64
	}
	var looks []look
	done := []float64{0}
	fc.Add(0, 0)
	var watch anomaly.Watch
	watch.Add(anomaly.Sample{})
	for {
		now := len(done)
		before := done[now-1]
		done = append(done, before+trace())
		if done[now] >= float64(total) {
			end := float64(now-1) + (float64(total)-before)/(done[now]-before)
			visits = make([]visit, len(looks))
			for i, l := range looks {
				took := end - l.at
				visits[i] = visit{err: math.Log(took / l.mid), held: l.lo <= took && took <= l.hi, width: math.Log(l.hi / l.lo)}
				for _, left := range l.naive {
					visits[i].naive = append(visits[i].naive, math.Log(took/left))
				}
			}
			return visits, fc.Outcomes(time.Duration(end * float64(time.Second))), end
		}
		at := time.Duration(now) * time.Second
		fc.Add(at, int64(done[now]))
		for _, f := range watch.Add(anomaly.Sample{At: at, Bytes: int64(done[now])}) {
			if f.Stage == anomaly.Suspected {
				fc.Shifted()
			}
		}
		rest := float64(total) - done[now]
		due := len(looks) < len(Shares) && done[now] >= Shares[len(looks)]*float64(total)
		if !due && now%5 != 0 {
			continue
		}
		mid, lo, hi, ok := fc.Left(int64(rest))
		if due && ok {
			l := look{at: float64(now), mid: mid.Seconds(), lo: lo.Seconds(), hi: hi.Seconds()}
			for _, w := range windows {
				from := now - w
				if w == 0 || from < 0 {
					from = 0
				}
				l.naive = append(l.naive, math.Min(1e6, rest/((done[now]-done[from])/float64(now-from))))
			}
			looks = append(looks, l)
		}
	}
}

func share(l []visit) float64 {
	n := 0
	for _, v := range l {
		if v.held {
			n++
		}
	}
	return float64(n) / float64(len(l))
}

func medianOf(l []visit, of func(visit) float64) float64 {
	values := make([]float64, len(l))
	for i, v := range l {
		values[i] = of(v)
	}
	return quantile(values, 0.5)
}

// quantile is the least value that is not below a share q of all.
func quantile(values []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
