package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/gomover/gomover/tuner/anomaly"
	"github.com/gomover/gomover/tuner/forecast"
)

// What watching a job may cost.
const (
	coreBar  = 0.005 // of one core
	allocBar = 50    // in a second
)

// costRows measures what a forecast and a watch cost a running job that asks four
// times a second. Times depend on the machine, and on what else it does.
func costRows(quick bool) []row {
	seconds := 36_000
	if quick {
		seconds = 3600
	}
	var f forecast.Forecast
	var w anomaly.Watch
	var before, after runtime.MemStats
	r := rand.New(rand.NewPCG(1, 1))
	bytes := int64(0)
	runtime.ReadMemStats(&before)
	began := time.Now()
	for i := range 4 * seconds {
		at := time.Duration(i) * 250 * time.Millisecond
		f.Add(at, bytes)
		f.Left(1 << 40)
		w.Add(anomaly.Sample{At: at, Bytes: bytes})
		bytes += int64(25e6 * math.Exp(0.1*r.NormFloat64()))
	}
	core := time.Since(began).Seconds() / float64(seconds)
	runtime.ReadMemStats(&after)
	allocs := float64(after.Mallocs-before.Mallocs) / float64(seconds)
	return []row{
		{id: "core", what: "forecast and watch of one job, share of one core", got: fmt.Sprintf("%.4f %%", 100*core), bar: "<= 0.5 %", short: core > coreBar},
		{id: "allocations", what: "the same, in a second", got: fmt.Sprintf("%.0f", allocs), bar: "<= 50", short: allocs > allocBar},
	}
}
