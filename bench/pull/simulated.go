package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/gomover/gomover/bench/ground"
)

// figure is one that the tests of the schedule print, with its bar.
type figure struct {
	test, what, which string // such as TestSimulatedEight, "makespan over the fluid optimum", "median"
	name              string
	limit             float64
}

// simulated are the figures that are judged. Ratios are of the fluid optimum: all
// sources at their real rates from their first byte on.
var simulated = []figure{
	{"TestSimulatedEight", "makespan over the fluid optimum", "median", "8 sources, 100 runs: median", 1.01},
	{"TestSimulatedEight", "makespan over the fluid optimum", "95%", "8 sources: 95% of the runs", 1.03},
	{"TestSimulatedEight", "makespan over the fluid optimum", "worst", "8 sources: worst", 1.10},
	{"TestSimulatedEight", "bytes that came twice", "worst", "8 sources: bytes that came twice, worst", 0.002},
	{"TestSimulatedLong", "makespan over the fluid optimum", "median", "8 sources, a minute or more, 30 runs: median", 1.01},
	{"TestSimulatedLong", "makespan over the fluid optimum", "95%", "8 sources, a minute or more: 95% of the runs", 1.03},
	{"TestSimulatedLong", "bytes that came twice", "worst", "8 sources, a minute or more: bytes that came twice, worst", 0.002},
	{"TestSimulatedChanges/tenth", "makespan over the fluid optimum", "worst", "fastest to a tenth: worst of 20", 1.02},
	{"TestSimulatedChanges/reset", "seconds beyond the optimum and two latencies", "worst", "fastest breaks: seconds beyond the optimum and 2 latencies", 1},
	{"TestSimulatedChanges/silent", "seconds beyond the optimum and two latencies", "worst", "fastest falls silent: the same", 1},
	{"TestSimulatedFaults", "wrong pieces that were stored", "worst", "bytes changed at random: wrong pieces that were stored, 20 runs", 0},
	{"TestSimulatedFaults", "wrong pieces until a place was out", "worst", "bytes changed at random: pieces until a source was out", 2},
	{"TestSharedBottleneck", "seconds until one of two was left out", "worst", "two behind one link: seconds until one is left out, worst of 6", 15},
	{"TestSharedBottleneck", "makespan over the fluid optimum", "worst", "two behind one link: worst of 6", 1.01},
}

// rowSimulated runs the tests and judges what they print.
func rowSimulated(ctx context.Context, b *bench) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-run", "^TestSimulated|^TestShared", "github.com/gomover/gomover/replica", "github.com/gomover/gomover/replica/pull")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("testing the schedule: %w: %s", err, ground.Tail(out.String()))
	}
	values := printed(out.String())
	for _, f := range simulated {
		v, ok := values[f.test+": "+f.what+": "+f.which]
		if !ok {
			return fmt.Errorf("%s does not print the %s of %q", f.test, f.which, f.what)
		}
		b.AtMost("simulated, "+f.name, "%.4f", "", fmt.Sprintf("<= %g", f.limit), f.limit, ground.Samples{v})
	}
	return nil
}

var (
	ranLine  = regexp.MustCompile(`^=== (?:RUN|CONT|NAME) +(\S+)$`)
	saysLine = regexp.MustCompile(`^ +\S+\.go:\d+: (.*): median (\S+), 95% (\S+), worst (\S+)$`)
)

// printed reads the figures in what go test -v prints, by test, what is measured,
// and which of median, 95% and worst.
func printed(text string) map[string]float64 {
	values, test := map[string]float64{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if m := ranLine.FindStringSubmatch(line); m != nil {
			test = m[1]
		}
		m := saysLine.FindStringSubmatch(line)
		for i, which := range []string{"median", "95%", "worst"} {
			if m == nil {
				break
			}
			if v, err := strconv.ParseFloat(m[2+i], 64); err == nil {
				values[test+": "+m[1]+": "+which] = v
			}
		}
	}
	return values
}
