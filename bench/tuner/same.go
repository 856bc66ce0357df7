package main

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/gomover/gomover/tuner/retune"
	"github.com/gomover/gomover/tuner/retune/retunetest"
)

// suiteBar is how much time of two processors all scenarios may take.
const suiteBar = 2 * time.Minute

// sameRows run one scenario again and again with one seed, and all once.
func sameRows(quick bool) []row {
	times := 100
	if quick {
		times = 10
	}
	var s retunetest.Scenario
	for _, s = range retunetest.Scenarios() {
		if s.ID == "S16" {
			break
		}
	}
	s.Length = 30 * time.Second
	procs := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(procs)
	logs := make(map[string]int)
	for i := range times {
		runtime.GOMAXPROCS(1 + i%max(procs, 4))
		r, err := retunetest.Run(s, 1, retune.New(s.Config()))
		if err != nil {
			return failed("same", err)
		}
		var b strings.Builder
		for _, d := range r.Decisions {
			fmt.Fprintln(&b, d)
		}
		logs[b.String()]++
	}
	runtime.GOMAXPROCS(procs)
	before := processorTime()
	if _, err := retunetest.Measure(retunetest.Scenarios(), []uint64{1}, func(retunetest.Scenario) []retune.Settings { return []retune.Settings{{Streams: 8, CC: "cubic"}} }, retunetest.Guided); err != nil {
		return failed("same", err)
	}
	took := processorTime() - before
	return []row{
		{no: 27, id: "same seed", what: fmt.Sprintf("different logs of decisions in %d runs on 1 to %d processors", times, max(procs, 4)), got: fmt.Sprint(len(logs)), bar: "1", short: len(logs) != 1},
		{no: 27, id: "suite", what: "processor time of all scenarios once, beside one fixed setting", got: seconds(took.Seconds()), bar: "<= " + seconds(suiteBar.Seconds()), short: took > suiteBar},
	}
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
