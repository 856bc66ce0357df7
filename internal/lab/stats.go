package lab

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gomover/gomover/internal/netsim"
)

// Count is a number of packets and of their bytes, IP headers included.
type Count struct {
	Packets int64 `json:"packets"`
	Bytes   int64 `json:"bytes"`
}

func (c *Count) add(n int) { c.Packets++; c.Bytes += int64(n) }

// Stats tells what the emulator did. Counters are those since the start or the
// latest reset; Seconds and CPU always since the start.
type Stats struct {
	Seconds float64     `json:"seconds"`  // since the start
	CPU     float64     `json:"cpu"`      // seconds of processor time of the emulator
	LateAvg float64     `json:"late_avg"` // seconds by which deliveries came after their time, on average
	LateMax float64     `json:"late_max"` // and at most
	PID     int         `json:"pid"`      // of the emulator
	Links   []LinkStats `json:"links"`    // each host's up and down, then the paths
}

// LinkStats tells what happened at one direction of a link.
type LinkStats struct {
	Name      string           `json:"name"`
	Unicast   Count            `json:"unicast"`   // offered to the link
	Multicast Count            `json:"multicast"` // offered to the link
	Out       Count            `json:"out"`       // passed the link; what comes twice counts twice
	Drops     map[string]int64 `json:"drops"`     // packets by cause; causes that did not occur are left out
	Queue     float64          `json:"queue"`     // bytes now
	QueueMax  float64          `json:"queue_max"` // bytes at most
	Params    Params           `json:"params"`    // settings in force
}

// Params are the settings of a link as the statistics show them: rates in bit/s,
// times in nanoseconds.
type Params struct {
	Rate  float64 // bit/s; 0 is unlimited
	Limit struct {
		Bytes float64 // 0: Time counts
		Time  time.Duration
	}
	Delay, Jitter      time.Duration
	Loss               float64
	Burst              struct{ Enter, Exit, Loss float64 }
	Corrupt, Mangle    float64
	Reorder, Duplicate float64
	Cross              float64 // bit/s
	Cut                bool
}

// Drop is the number of packets that links dropped for any cause, or for one of
// those named.
func (s *LinkStats) Drop(causes ...string) (n int64) {
	for cause, k := range s.Drops {
		if len(causes) == 0 || slices.Contains(causes, cause) {
			n += k
		}
	}
	return n
}

// Link gives the counters of the link of that name, as in "h1.down" or "h0:h2";
// nil if there is none.
func (s *Stats) Link(name string) *LinkStats {
	for i := range s.Links {
		if s.Links[i].Name == name {
			return &s.Links[i]
		}
	}
	return nil
}

// stats gives the counters of a link at a time.
func (l *link) stats(now time.Duration) LinkStats {
	c, p := l.model.Counters(), l.model.Params()
	s := LinkStats{
		Name:      l.name,
		Unicast:   Count{c.Offered.Packets - l.multicast.Packets, c.Offered.Bytes - l.multicast.Bytes},
		Multicast: l.multicast,
		Out:       Count{c.Out.Packets + l.twice.Packets, c.Out.Bytes + l.twice.Bytes},
		Drops:     maps.Clone(l.refused),
		Queue:     float64(l.model.QueueBytes(now)),
		QueueMax:  float64(c.QueueMax),
		Params: Params{
			Rate: 8 * float64(p.Rate), Delay: p.Delay, Jitter: p.Jitter, Loss: p.Loss, Burst: p.Burst,
			Corrupt: p.Corrupt, Mangle: p.Mangle, Reorder: p.Reorder, Duplicate: p.Duplicate,
			Cross: 8 * float64(p.Cross), Cut: p.Cut,
		},
	}
	s.Params.Limit.Bytes, s.Params.Limit.Time = float64(p.Queue.Bytes), p.Queue.Time
	for cause, n := range c.Drops {
		if n > 0 {
			s.Drops[netsim.Cause(cause).String()] = n
		}
	}
	return s
}

// reset sets the counters of a link to zero.
func (l *link) reset() {
	l.model.ResetCounters()
	l.multicast, l.twice, l.refused = Count{}, Count{}, map[string]int64{}
}

// Print writes the counters as a table for people.
func (s *Stats) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "up %.1f s, CPU %.2f s, deliveries late by %.0f us on average, %.0f us at most\n",
		s.Seconds, s.CPU, 1e6*s.LateAvg, 1e6*s.LateMax)
	width := len("link")
	for _, l := range s.Links {
		width = max(width, len(l.Name))
	}
	fmt.Fprintf(&b, "%-*s %9s %12s %9s %12s %9s %12s %10s %10s  %s\n", width, "link",
		"unicast", "bytes", "multicast", "bytes", "out", "bytes", "queue", "max", "drops")
	for _, l := range s.Links {
		var drops []string
		for _, cause := range slices.Sorted(maps.Keys(l.Drops)) {
			drops = append(drops, fmt.Sprintf("%s=%d", cause, l.Drops[cause]))
		}
		line := fmt.Sprintf("%-*s %9d %12d %9d %12d %9d %12d %10.0f %10.0f  %s", width, l.Name,
			l.Unicast.Packets, l.Unicast.Bytes, l.Multicast.Packets, l.Multicast.Bytes,
			l.Out.Packets, l.Out.Bytes, l.Queue, l.QueueMax, strings.Join(drops, " "))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
