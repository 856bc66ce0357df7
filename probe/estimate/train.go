package estimate

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Arrival is one packet of a train at its receiver.
type Arrival struct {
	Seq uint32        // its number in the train, from 0
	At  time.Duration // by any clock; only differences count
}

// Train is what both ends know of one train of equal packets.
type Train struct {
	Sent  int           // packets
	Size  int           // bytes of each, IP header included
	Took  time.Duration // from the first to the last one leaving; 0: at once
	Paced bool          // sent at a chosen rate, rather than as fast as possible
	Limit units.Rate    // of the slower network interface of both ends; 0: not known
	// Arrivals in the order in which they were read. Packets that were not sent,
	// and repeated ones, are ignored.
	Arrivals []Arrival
}

// Verdict says what a rate is worth.
type Verdict uint8

// The verdicts.
const (
	Unusable Verdict = iota // there is no rate, and Why says the reason
	Measured                // it is the rate
	AtLeast                 // the path may be faster: an end was the limit
)

// String gives the verdict in words.
func (v Verdict) String() string {
	switch v {
	case Measured:
		return "measured"
	case AtLeast:
		return "at least"
	}
	return "unusable"
}

// Dispersion is what one train tells.
type Dispersion struct {
	Verdict Verdict
	Why     string // of what is not Measured
	// Rate is the average dispersion rate: that of the path's narrowest link when
	// the train has it for itself, and a share of it when there is other traffic.
	Rate     units.Rate
	SendRate units.Rate    // 0: the train left at once
	Time     time.Duration // between the first and the last arrival
	Batches  int           // in which the receiver took the train, one packet each if it was not held up
	// Coalescing is the period in which the receiver takes packets, 0 if they come
	// one by one.
	Coalescing time.Duration
	Lost       int  // packets sent and not received
	Slowed     bool // the path let the beginning pass faster; Rate is that of the end
	Paced      bool // as in Train
}

// Constants of our choice.
const (
	// minArrivals and minBatches are how many points a slope needs. Source: four
	// gaps are the fewest whose median one outlier does not decide.
	minArrivals, minBatches = 6, 5
	// minTime is the shortest train whose spacing is trusted. Ours: adapters hold
	// packets back for up to 250 us, and batches of a shorter train can be too few
	// to be seen as such.
	minTime = 500 * time.Microsecond
	// maxPoints bounds the points of a slope, whose pairs are sorted.
	maxPoints = 200
	// smallGap and smallShare tell batches: within one, packets come in less than
	// this share of the mean gap, and so does this share of all packets.
	smallGap, smallShare = 0.5, 1.0 / 3
	// waitShare is how much of the time lies between batches, rather than within.
	waitShare = 0.5
	// limited is the share of a sender's rate from which on the sender may be the
	// limit; beyond faster, packets seem to arrive faster than they were sent, which
	// only a receiver's ring can do.
	limited, faster = 0.9, 1.1
	// maxTime bounds what is believed of a clock, so that no difference overflows.
	maxTime = 24 * time.Hour
	// knee is how much faster the beginning of a train is than its end when a
	// shaper's tokens have run out in between.
	knee = 1.5
)

// Dispersion tells at what rate a train arrived, and what that is worth.
//
// A rate is only given when there are enough batches, never from a guess.
// Source: C. Dovrolis, P. Ramanathan, D. Moore, Packet-Dispersion Techniques and a
// Capacity-Estimation Methodology, 2004, for what dispersion means; R. Prasad, M.
// Jain, C. Dovrolis, Effects of Interrupt Coalescence on Network Measurements,
// 2004, for taking one packet of each batch; P. K. Sen, 1968, for the slope.
func (t *Train) Dispersion() Dispersion {
	d := Dispersion{Paced: t.Paced}
	if t.Sent <= 0 || t.Size <= 0 {
		return d.unusable("nothing was sent")
	}
	if t.Took > 0 {
		d.SendRate = rate(float64(t.Sent-1)*float64(t.Size), t.Took)
	}
	at := t.times()
	d.Lost = t.Sent - len(at)
	if len(at) < minArrivals {
		return d.unusable("too few packets arrived")
	}
	d.Time = at[len(at)-1] - at[0]
	points, batched := starts(at)
	d.Batches = len(points)
	if batched {
		d.Coalescing = period(at, points)
		if d.Batches < minBatches {
			return d.unusable("the receiver took it in too few batches")
		}
	}
	if d.Time < minTime {
		return d.unusable("it was too short")
	}
	// The first batch may have begun before anything was held back.
	d.Rate = slope(at, points[1:], t.Size)
	d.bend(at, points[1:], t.Size)
	return d.judge(t.Limit)
}

// judge compares the rate with what the ends can do.
func (d Dispersion) judge(limit units.Rate) Dispersion {
	switch {
	case d.Rate <= 0:
		return d.unusable("it arrived all at once")
	case limit > 0 && float64(d.Rate) > faster*float64(limit):
		return d.unusable("it arrived faster than the interface is")
	case d.SendRate > 0 && float64(d.Rate) > faster*float64(d.SendRate):
		return d.unusable("it arrived faster than it was sent")
	case d.SendRate > 0 && float64(d.Rate) > limited*float64(d.SendRate):
		d.Verdict, d.Why = AtLeast, "it was not sent faster"
	default:
		d.Verdict = Measured
	}
	return d
}

func (d Dispersion) unusable(why string) Dispersion {
	d.Verdict, d.Why, d.Rate = Unusable, why, 0
	return d
}

// bend looks for a beginning that passed faster than the rest.
func (d *Dispersion) bend(at []time.Duration, points []int, size int) {
	third := len(points) / 3
	if third < minBatches {
		return
	}
	begin, end := slope(at, points[:third], size), slope(at, points[len(points)-third:], size)
	if end > 0 && float64(begin) > knee*float64(end) {
		d.Slowed, d.Rate = true, end
	}
}

// times gives when the packets came, each once, in order of time.
func (t *Train) times() []time.Duration {
	seen := make([]bool, min(t.Sent, len(t.Arrivals)+1<<16))
	at := make([]time.Duration, 0, min(t.Sent, len(t.Arrivals)))
	for _, a := range t.Arrivals {
		if int64(a.Seq) < int64(len(seen)) && !seen[a.Seq] && a.At.Abs() < maxTime {
			seen[a.Seq] = true
			at = append(at, a.At)
		}
	}
	slices.Sort(at)
	return at
}

// starts gives the indexes of the packets that began a batch; of all packets, if
// they came one by one.
func starts(at []time.Duration) (points []int, batched bool) {
	mean := float64(at[len(at)-1]-at[0]) / float64(len(at)-1)
	small, waited := 0, 0.0
	points = append(points, 0)
	for i := 1; i < len(at); i++ {
		gap := float64(at[i] - at[i-1])
		if gap < smallGap*mean {
			small++
		}
		if gap > mean {
			waited += gap
			points = append(points, i)
		}
	}
	if float64(small) >= smallShare*float64(len(at)-1) && waited >= waitShare*mean*float64(len(at)-1) && together(points, len(at)) {
		return points, true
	}
	points = points[:0]
	for i := range at {
		points = append(points, i)
	}
	return points, false
}

// together tells that most batches are of several packets; else the large gaps
// are those of a slower part of the train.
func together(points []int, n int) bool {
	sizes := make([]int, len(points))
	for i := range points {
		end := n
		if i+1 < len(points) {
			end = points[i+1]
		}
		sizes[i] = end - points[i]
	}
	return median(sizes) >= 2
}

// period is the median time from batch to batch, 0 if most are single packets.
func period(at []time.Duration, points []int) time.Duration {
	if len(points) < 2 || len(at) < 2*len(points) {
		return 0
	}
	gaps := make([]time.Duration, len(points)-1)
	for i := range gaps {
		gaps[i] = at[points[i+1]] - at[points[i]]
	}
	return median(gaps)
}

// slope is the rate on a line through points of (time, bytes that came before):
// the median over pairs that are at least a quarter of the points apart, which
// neither held up packets nor bursts of other traffic move much.
func slope(at []time.Duration, points []int, size int) units.Rate {
	points = thin(points)
	apart := max(1, len(points)/4)
	var each []float64 // seconds per packet
	for i := range points {
		for j := i + apart; j < len(points); j++ {
			a, b := points[i], points[j]
			each = append(each, float64(at[b]-at[a])/float64(b-a))
		}
	}
	if len(each) == 0 {
		return 0
	}
	m := median(each)
	if m <= 0 {
		return 0
	}
	return clampRate(float64(size) * 1e9 / m)
}

// thin leaves maxPoints of the points, evenly.
func thin(points []int) []int {
	if len(points) <= maxPoints {
		return points
	}
	out := make([]int, maxPoints)
	for i := range out {
		out[i] = points[i*(len(points)-1)/(maxPoints-1)]
	}
	return out
}

// rate is bytes over a time above 0.
func rate(bytes float64, in time.Duration) units.Rate {
	return clampRate(bytes / in.Seconds())
}

// maxRate bounds all rates, in bytes per second: no link is faster, and sums of
// them do not overflow.
const maxRate = 1 << 50

func clampRate(r float64) units.Rate {
	if math.IsNaN(r) || r < 0 {
		return 0
	}
	return units.Rate(min(r, maxRate))
}

// median sorts s and gives its middle, the mean of the two middle ones if there
// is none; 0 of nothing.
func median[T cmp.Ordered](s []T) (m T) {
	if len(s) == 0 {
		return m
	}
	slices.Sort(s)
	return s[len(s)/2]
}
