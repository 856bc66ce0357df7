package trial

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/tuner/forecast"
	"github.com/gomover/gomover/tuner/pace"
)

// Sockets is a made sender: streams take frames at their turns, and each has a socket
// that lets go what it was given at its own pace, as the kernel's pacing does.
type Sockets struct {
	Streams int
	Frame   int64         // bytes
	Late    time.Duration // by up to which a stream comes late to its turn, at random
	Room    float64       // pace of all sockets together over the limit
	Slow    int           // streams whose path carries a tenth of an equal share
}

// Paced is how even a limit was kept, as shares of it: the least and the greatest
// mean over a second, and the greatest over a tenth of one. The first second and that
// after a change do not count; After is the greatest mean over a second that begins
// within 200 ms of the change.
type Paced struct {
	Least, Most, Tenth, After float64
}

// Keep lets a sender go at rate, and after half of the seconds at then.
func (x Sockets) Keep(rate, then units.Rate, seconds int, seed uint64) Paced {
	const tick = time.Millisecond
	rnd := rand.New(rand.NewPCG(seed, 1))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	start, middle := now, now.Add(time.Duration(seconds)*time.Second/2)
	var clock pace.Clock
	clock.Set(now, rate)
	turns := make([]float64, x.Streams)
	late := make([]time.Duration, x.Streams)
	queue, carries := make([]float64, x.Streams), make([]float64, x.Streams)
	for i := range turns {
		turns[i] = clock.Take(now, x.Frame)
		carries[i] = math.Inf(1)
		if i < x.Slow {
			carries[i] = float64(rate) / float64(x.Streams) / 10
		}
	}
	had, sent, used := make([]float64, x.Streams), make([]float64, x.Streams), make([]float64, x.Streams)
	var parts []float64
	limit, divided := rate, start.Add(-time.Second)
	var out []float64 // bytes in each tick
	for end := start.Add(time.Duration(seconds) * time.Second); now.Before(end); now = now.Add(tick) {
		if now.Equal(middle) {
			limit = then
			clock.Set(now, limit)
		}
		if span := now.Sub(divided); span >= 250*time.Millisecond || now.Equal(middle) {
			for i := range used {
				used[i], sent[i] = sent[i]/span.Seconds(), 0
			}
			parts = pace.Split(x.Room*float64(limit), used, had, parts)
			copy(had, parts)
			divided = now
		}
		moved := 0.0
		for i := range turns {
			// A socket that has enough blocks its stream.
			for queue[i] < 4*float64(x.Frame) && clock.Wait(now.Add(-late[i]), turns[i]) == 0 {
				queue[i] += float64(x.Frame)
				turns[i] = clock.Take(now, x.Frame)
				late[i] = time.Duration(rnd.Float64() * float64(x.Late))
			}
			n := min(queue[i], parts[i]*tick.Seconds(), carries[i]*tick.Seconds())
			queue[i] -= n
			sent[i] += n
			moved += n
		}
		out = append(out, moved)
	}
	return judge(out, float64(rate), float64(then))
}

// judge finds the means of ticks of a millisecond.
func judge(out []float64, rate, then float64) Paced {
	p := Paced{Least: math.Inf(1)}
	half := len(out) / 2
	mean := func(from, n int) float64 {
		sum := 0.0
		for _, v := range out[from : from+n] {
			sum += v
		}
		return sum / float64(n) * 1000
	}
	for _, part := range []struct {
		from, to int
		rate     float64
	}{{1000, half, rate}, {half + 1000, len(out), then}} {
		for i := part.from; i+1000 <= part.to; i += 100 {
			m := mean(i, 1000) / part.rate
			p.Least, p.Most = min(p.Least, m), max(p.Most, m)
		}
		for i := part.from; i+100 <= part.to; i += 10 {
			p.Tenth = max(p.Tenth, mean(i, 100)/part.rate)
		}
	}
	if half+1200 <= len(out) {
		p.After = mean(half+200, 1000) / then
	}
	return p
}

// Deadlines is what came of jobs with a deadline: how many were in time, of how many
// that could be, and the medians of how much lower their peak was than that of a job
// without one, and of how long before the deadline they ended, as a share of their
// time.
type Deadlines struct {
	Met, Feasible int
	Lower, Early  float64
	Told          int // of the jobs that could not be in time, those that said so before half of their time
	Hopeless      int
}

// FinishBy lets jobs of about 600 s on paths of class c end by a deadline that leaves
// them slack, a share of the time that they take without one; with a negative one they
// cannot be in time.
func FinishBy(c Class, slack float64, jobs int) (d Deadlines) {
	var lower, early []float64
	for i := range jobs {
		seed := rand.NewPCG(uint64(i), 77)
		trace := c.Make(rand.New(seed))
		var free []float64
		size := 0.0
		for range 600 {
			free = append(free, trace())
			size += free[len(free)-1]
		}
		most := time.Duration(600 * (1 + slack) * float64(time.Second))
		for range int(600*max(slack, 0)) + 60 {
			free = append(free, trace())
		}
		r := runTo(free, size, most)
		switch {
		case slack < 0:
			d.Hopeless++
			if r.told > 0 && r.told < most/2 {
				d.Told++
			}
		default:
			d.Feasible++
			if r.took <= most {
				d.Met++
			}
			lower = append(lower, 1-peak(r.rates)/peak(free[:600]))
			early = append(early, 1-r.took.Seconds()/most.Seconds())
		}
	}
	if len(lower) > 0 {
		slices.Sort(lower)
		slices.Sort(early)
		d.Lower, d.Early = lower[len(lower)/2], early[len(early)/2]
	}
	return d
}

// peak is the greatest mean over ten seconds.
func peak(rates []float64) (most float64) {
	for i := 0; i+10 <= len(rates); i++ {
		sum := 0.0
		for _, v := range rates[i : i+10] {
			sum += v
		}
		most = max(most, sum/10)
	}
	return most
}

type finished struct {
	took  time.Duration
	told  time.Duration // when it said that it would be too late; 0: never
	rates []float64
}

// runTo moves size bytes over a path with free bytes per second, with a deadline.
func runTo(free []float64, size float64, most time.Duration) (r finished) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	dl := pace.NewDeadline(start, start.Add(most))
	var f forecast.Forecast
	done, limit := 0.0, 0.0
	const steps = 4
	for s, rate := range free {
		second := 0.0
		for k := range steps {
			at := time.Duration(s)*time.Second + time.Duration(k)*time.Second/steps
			f.Add(at, int64(done))
			p := pace.Progress{Left: int64(size - done), Rate: units.Rate(f.Rate())}
			p.Mid, p.Lo, p.Hi, p.Known = f.Left(p.Left)
			plan, _ := dl.Step(start.Add(at), p, pace.Timetable{})
			if limit = float64(plan.Rate); limit == 0 {
				limit = math.Inf(1)
			}
			if plan.Verdict == pace.TooLate && r.told == 0 {
				r.told = at
			}
			n := min(rate, limit) / steps
			if n >= size-done && size-done > 0 {
				r.took = at + time.Duration((size-done)/min(rate, limit)*float64(time.Second))
				r.rates = append(r.rates, second+size-done)
				return r
			}
			done += n
			second += n
		}
		r.rates = append(r.rates, second)
	}
	r.took = time.Duration(len(free)+1) * time.Second
	return r
}
