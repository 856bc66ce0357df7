package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/gomover/gomover/bench/ground"
)

// memoryBar is the most that one end may hold resident. Unit: bytes.
const memoryBar = 256 << 20

// reportMemory judges the peaks that all rows have left.
func (b *bench) reportMemory() {
	for _, r := range rows {
		peak, ok := b.peaks[r.Name]
		if !ok {
			continue
		}
		b.Add(ground.Result{
			Row:    r.Name + ", peak memory",
			Figure: fmt.Sprintf("%d MiB at the commanding end, %d MiB at the far end", peak[0]>>20, peak[1]>>20),
			Bar:    "<= 256 MiB at each",
			Value:  float64(max(peak[0], peak[1])) / (1 << 20), Limit: memoryBar >> 20,
			Pass: peak[0] > 0 && peak[1] > 0 && max(peak[0], peak[1]) <= memoryBar,
		})
	}
}

// peak keeps the greater of what a row has held and what one of its runs held.
func (b *bench) peak(row string, u usage) {
	old := b.peaks[row]
	b.peaks[row] = [2]int64{max(old[0], u.nearPeak), max(old[1], u.farPeak)}
}

// noise says how many processors were busy with other things than the measured
// ones, when that was enough to matter.
func noise(label string, s ground.Samples) []string {
	if s.Median() < 0.1 {
		return nil
	}
	return []string{fmt.Sprintf("%s: other programs kept %s processors busy meanwhile", label, s.Text("%.2f", ""))}
}

// seconds prints durations of peers in one line, in the order given.
func seconds(order []string, times map[string]ground.Samples) string {
	var parts []string
	for _, name := range order {
		if len(times[name]) > 0 {
			parts = append(parts, name+" "+times[name].Text("%.2f", " s"))
		}
	}
	return strings.Join(parts, "; ")
}

// settledWithin is how far a median may still move when the remaining rounds are left
// out, as a share of it.
const settledWithin = 0.05

// settled says whether the medians of all commands of a row are known.
func settled(order []string, times map[string]ground.Samples, rounds int) bool {
	for _, name := range order {
		if !times[name].Settled(rounds, settledWithin) {
			return false
		}
	}
	return true
}

// rate is bytes over a time. Unit: bytes per second.
func rate(n int64, d time.Duration) float64 { return float64(n) / d.Seconds() }
