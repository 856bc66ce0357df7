package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/gomover/gomover/tuner/anomaly"
	"github.com/gomover/gomover/tuner/choice"
	"github.com/gomover/gomover/tuner/forecast"
	"github.com/gomover/gomover/tuner/retune"
)

// What watching a job may cost.
const (
	coreBar  = 0.005 // of one core
	allocBar = 50    // in a second
)

// costRows measures what a forecast, a watch and the policies cost a running job with 64
// streams that asks four times a second. Times depend on the machine, and on what else it does.
func costRows(quick bool) []row {
	seconds := 36_000
	if quick {
		seconds = 3600
	}
	var f forecast.Forecast
	var w anomaly.Watch
	policy := retune.New(retune.Config{Start: retune.Settings{Streams: 64, CC: "cubic"}, Most: 64, Least: 64})
	other := choice.Watch{Permitted: []string{choice.UDT}, Ends: choice.Ends{CCs: []string{"cubic"}, Window: 16 << 20}}
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
		rtt := time.Duration((100 + 5*r.Float64()) * float64(time.Millisecond))
		policy.Step(retune.Sample{At: at, Span: 250 * time.Millisecond, Acked: 25e6, Streams: 64, Known: retune.KnownAll, RTT: rtt, MinRTT: 100 * time.Millisecond, Cwnd: 1 << 20, Segs: 17000})
		other.Step(choice.Sample{At: at, Span: 250 * time.Millisecond, Acked: 25e6, Streams: 64, CC: "cubic", RTT: rtt, MinRTT: 100 * time.Millisecond, Segs: 17000})
		bytes += int64(25e6 * math.Exp(0.1*r.NormFloat64()))
	}
	core := time.Since(began).Seconds() / float64(seconds)
	runtime.ReadMemStats(&after)
	allocs := float64(after.Mallocs-before.Mallocs) / float64(seconds)
	return []row{
		{no: 26, id: "core", what: "forecast, watch and policies of one job, share of one core", got: fmt.Sprintf("%.4f %%", 100*core), bar: "<= 0.5 %", short: core > coreBar},
		{no: 26, id: "allocations", what: "the same, in a second", got: fmt.Sprintf("%.0f", allocs), bar: "<= 50", short: allocs > allocBar},
	}
}
