package history

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/gomover/gomover/tuner/forecast"
)

// Bounds of what is kept of a pair.
const (
	maxJobs  = 24
	maxFacts = 32
	// maxFact is the greatest length of one fact in bytes.
	maxFact = 16 << 10
)

// Pair is two hosts and the direction in which data goes between them, under
// names that stay the same from job to job.
type Pair struct {
	From, To string
}

// Job is how one transfer went.
type Job struct {
	Start     time.Time          `json:"start"` // UTC
	Seconds   float64            `json:"seconds"`
	Bytes     int64              `json:"bytes"`
	Files     int64              `json:"files"`
	Transport string             `json:"transport"`
	Streams   int                `json:"streams"` // at the end
	Rate      Rates              `json:"rate"`
	RTT       float64            `json:"rtt,omitempty"`      // least seen, in seconds; 0: not known
	StartUp   float64            `json:"start_up,omitempty"` // seconds from the begin of a login until bytes could be asked for; 0: not known
	Loss      float64            `json:"loss,omitempty"`     // share of segments that were sent again
	Limits    map[string]float64 `json:"limits,omitempty"`   // share of time each factor held it back
	Alerts    int                `json:"alerts"`             // changes of the path that were told
	Outcomes  []forecast.Outcome `json:"outcomes,omitempty"`
}

// Rates are quantiles of the rates of a job's seconds, in bytes per second.
type Rates struct {
	Median float64 `json:"median"`
	P10    float64 `json:"p10"`
	P90    float64 `json:"p90"`
}

// Record is what is known of a pair.
type Record struct {
	Pair  Pair      `json:"pair"`
	Used  time.Time `json:"used"` // when it was last changed; the oldest is dropped first
	Jobs  []Job     `json:"jobs"` // the oldest first, at most 24
	Hours Hours     `json:"hours,omitempty"`
	// Facts are what other rooms remember of the pair, in forms of their own; at
	// most 32 of at most 16 KiB.
	Facts map[string]Fact `json:"facts,omitempty"`
}

// Fact is something that was measured.
type Fact struct {
	At    time.Time       `json:"at"`
	Value json.RawMessage `json:"value"`
}

// Weight is how much a fact counts still: 1 when new, 0.5 after halfLife, and so
// on. A clock that was wrong dates facts into the future; they count as little as those
// that are as old, or they would be new for years.
func (f Fact) Weight(now time.Time, halfLife time.Duration) float64 {
	age := now.Sub(f.At).Abs()
	return math.Pow(0.5, float64(age)/float64(halfLife))
}

// heldShare is the share of its time from which a job that somebody held back on
// purpose says nothing of the path.
const heldShare = 0.3

// Held tells that a job's rate was that of a limit which its user had set, or of the
// slowest of its destinations, and not that of the path.
func (j *Job) Held() bool { return j.Limits["bwlimit"]+j.Limits["slowest host"] >= heldShare }

// tells says that a job's rate is known, and that of the path.
func (j *Job) tells() bool { return sensible(j.Rate.Median) && !j.Held() }

// leastRate and mostRate bound what is taken for a rate, in bytes per second: what is
// remembered may have been written by anybody who is this user.
const leastRate, mostRate = 1e-3, 1e15

// sensible tells whether a rate can be one.
func sensible(rate float64) bool { return rate >= leastRate && rate <= mostRate }

// Hours are rates by hour of the week, in UTC: 0 is Monday's first hour. Hours
// without jobs are missing.
type Hours map[int]Hour

// Hour is what jobs that began in one hour of the week reached.
type Hour struct {
	Rate float64 `json:"rate"` // bytes per second, the later jobs count more
	Jobs int     `json:"jobs"`
}

// hourGain is how much a job counts in the mean of its hour.
const hourGain = 0.3

func hourOf(t time.Time) int {
	t = t.UTC()
	return (int(t.Weekday())+6)%7*24 + t.Hour()
}

// Add puts in a job that is over, and drops what is too old.
func (r *Record) Add(j Job) {
	r.Jobs = append(r.Jobs, j)
	slices.SortStableFunc(r.Jobs, func(a, b Job) int { return cmp.Compare(a.Start.UnixNano(), b.Start.UnixNano()) })
	r.Jobs = r.Jobs[max(0, len(r.Jobs)-maxJobs):]
	if !j.tells() {
		return
	}
	if r.Hours == nil {
		r.Hours = make(Hours)
	}
	h := r.Hours[hourOf(j.Start)]
	if h.Jobs <= 0 || !sensible(h.Rate) {
		h.Jobs, h.Rate = 0, j.Rate.Median
	} else {
		h.Rate += hourGain * (j.Rate.Median - h.Rate)
	}
	h.Jobs++
	r.Hours[hourOf(j.Start)] = h
}

// Outcomes are those of all jobs, the latest last: see forecast.Calibrate.
func (r *Record) Outcomes() [][]forecast.Outcome {
	var l [][]forecast.Outcome
	for _, j := range r.Jobs {
		if len(j.Outcomes) > 0 {
			l = append(l, j.Outcomes)
		}
	}
	return l
}

// classes are the sizes that part jobs: a short one never leaves slow start.
var classes = []int64{1 << 20, 32 << 20, 1 << 30, 32 << 30, 1 << 40}

func classOf(bytes int64) int {
	i, _ := slices.BinarySearch(classes, bytes)
	return i
}

// Constants of Expect.
const (
	// hourJobs is how many jobs make an hour of the week known.
	hourJobs = 3
	// likeJobs is how many jobs of about the same size are looked at.
	likeJobs = 5
)

// Expect is the rate in bytes per second that a job of a size may reach now, from
// what earlier ones did that were not held back on purpose; 0: not known.
func (r *Record) Expect(now time.Time, bytes int64) float64 {
	if h := r.Hours[hourOf(now)]; h.Jobs >= hourJobs && sensible(h.Rate) {
		return h.Rate
	}
	var rates []float64
	for _, j := range slices.Backward(r.Jobs) {
		if d := classOf(j.Bytes) - classOf(bytes); d >= -1 && d <= 1 && j.tells() {
			rates = append(rates, j.Rate.Median)
		}
		if len(rates) == likeJobs {
			break
		}
	}
	if len(rates) == 0 {
		return 0
	}
	slices.Sort(rates)
	return rates[len(rates)/2]
}

// SetFact remembers a fact; one that is too long is not kept, and of too many the
// oldest goes.
func (r *Record) SetFact(name string, f Fact) {
	if len(f.Value) > maxFact || !json.Valid(f.Value) {
		return
	}
	if r.Facts == nil {
		r.Facts = make(map[string]Fact)
	}
	r.Facts[name] = f
	for len(r.Facts) > maxFacts {
		oldest := ""
		for n, f := range r.Facts {
			if o := r.Facts[oldest]; oldest == "" || f.At.Before(o.At) || f.At.Equal(o.At) && n < oldest {
				oldest = n
			}
		}
		delete(r.Facts, oldest)
	}
}

// Next is what the next job may reach in bytes per second, by the medians of those
// before, and between which rates it will be with the probability holds: as near to
// 80 % as the number of jobs allows. By order statistics the next of n alike lies
// between the k-th of both ends in (n+1-2k)/(n+1) of all cases. holds is 0, and low
// and high say nothing, for fewer than two jobs; rate is 0 where nothing is known. Jobs
// that were held back on purpose do not count.
func (r *Record) Next(now time.Time) (rate, low, high, holds float64) {
	const want = 0.8
	var rates []float64
	bytes := int64(0)
	for _, j := range r.Jobs {
		if j.tells() {
			rates, bytes = append(rates, j.Rate.Median), j.Bytes
		}
	}
	n := len(rates)
	if n == 0 {
		return 0, 0, 0, 0
	}
	rate = r.Expect(now, bytes)
	if n < 2 {
		return rate, 0, 0, 0
	}
	slices.Sort(rates)
	k := max(1, int(float64(n+1)*(1-want)/2))
	low, high = rates[k-1], rates[n-k]
	return min(max(rate, low), high), low, high, float64(n+1-2*k) / float64(n+1)
}
