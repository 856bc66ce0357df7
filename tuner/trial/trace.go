// Package trial runs forecasts and alarms over made rates of known kinds, and
// counts how often they are right: the figures that tests assert and that
// bench/tuner prints.
package trial

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strconv"
)

// Trace gives the rate of one second after another in bytes per second.
type Trace func() float64

// Maker makes a trace whose every value depends on the generator only.
type Maker func(*rand.Rand) Trace

// base is the level of all traces.
const base = 100e6

// source is a generator of its own for each trace, which depends on the seed and
// the trace's name only.
func source(seed int, name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name + " " + strconv.Itoa(seed))) // never errs
	return rand.New(rand.NewPCG(h.Sum64(), 1))
}

// Class is a kind of path.
type Class struct {
	Name string
	What string
	Make Maker
}

// Classes are the five kinds of paths of the forecast's figures, and more of
// which no figure is promised.
var Classes = []Class{
	{"F1", "a competitor that comes and goes every 30 s", onOff(func(*rand.Rand) float64 { return 30 })},
	{"F2", "slowly reverting: AR 0.95, deviation 25 %", autoregressive(0.95, 0.25)},
	{"F3", "another level about every 300 s", levels},
	{"F4", "a random walk of 1 % a second", walk},
	{"F5", "white noise of 10 %", autoregressive(0, 0.10)},
	{"F6", "a competitor of irregular stays, 10 to 50 s", onOff(func(r *rand.Rand) float64 { return 10 + 40*r.Float64() })},
	{"F7", "stalls of 4 s about every minute", stalls},
	{"F8", "caches: four times the rate in the first 10 s", caches},
}

// onOff halves the rate for stays of the given lengths.
func onOff(stay func(*rand.Rand) float64) Maker {
	return func(r *rand.Rand) Trace {
		on := r.IntN(2) == 0
		left := stay(r) * r.Float64()
		return func() float64 {
			if left <= 0 {
				on, left = !on, left+stay(r)
			}
			left--
			level := base
			if on {
				level = base / 2
			}
			return level * math.Exp(0.05*r.NormFloat64())
		}
	}
}

// autoregressive is noise in ln(rate) of first order: phi from second to second,
// sigma in all.
func autoregressive(phi, sigma float64) Maker {
	return func(r *rand.Rand) Trace {
		x := sigma * r.NormFloat64()
		return func() float64 {
			x = phi*x + sigma*math.Sqrt(1-phi*phi)*r.NormFloat64()
			return base * math.Exp(x)
		}
	}
}

func levels(r *rand.Rand) Trace {
	level, left := 0.25*r.NormFloat64(), 450*r.Float64()
	return func() float64 {
		if left <= 0 {
			level, left = 0.25*r.NormFloat64(), 150+300*r.Float64()
		}
		left--
		return base * math.Exp(level+0.05*r.NormFloat64())
	}
}

func walk(r *rand.Rand) Trace {
	level := 0.0
	return func() float64 {
		level += 0.01 * r.NormFloat64()
		return base * math.Exp(level+0.05*r.NormFloat64())
	}
}

func stalls(r *rand.Rand) Trace {
	next, dead := 60*r.ExpFloat64(), 0
	return func() float64 {
		next--
		if next <= 0 {
			next, dead = 60*r.ExpFloat64(), 4
		}
		if dead > 0 {
			dead--
			return 0
		}
		return base * math.Exp(0.1*r.NormFloat64())
	}
}

func caches(r *rand.Rand) Trace {
	noise := autoregressive(0.6, 0.10)(r)
	n := 0
	return func() float64 {
		rate := noise()
		if n++; n <= 10 {
			rate *= 4
		}
		return rate
	}
}
