package runplot

import (
	"math"
	"slices"
)

// maxBins bounds the memory of a track; a picture is fewer points wide.
const maxBins = 1024

// firstWidth is the width of a bin as long as a run is short.
//
// Unit: seconds. Source: ours; events of progress come 4 times a second.
const firstWidth = 0.25

// bin is what was measured in one stretch of time.
type bin struct {
	sum, weight float64 // the value is sum / weight
	cut         bool    // a line breaks before this bin
}

// track holds a quantity over time in bounded memory: when the time does not fit
// any more, neighbours are joined and every bin is twice as wide. The zero value is
// empty.
type track struct {
	width float64
	bins  []bin
	cut   bool // the next value begins a new line
}

// at gives the bin of a time in seconds, which is not negative.
func (k *track) at(t float64) *bin {
	if k.width == 0 {
		k.width = firstWidth
	}
	for t/k.width >= maxBins {
		k.double()
	}
	i := int(t / k.width)
	for len(k.bins) <= i {
		k.bins = append(k.bins, bin{})
	}
	b := &k.bins[i]
	b.cut = b.cut || k.cut
	k.cut = false
	return b
}

// double joins neighbours.
func (k *track) double() {
	for i := 0; i < len(k.bins); i += 2 {
		b := k.bins[i]
		if i+1 < len(k.bins) {
			c := k.bins[i+1]
			b = bin{b.sum + c.sum, b.weight + c.weight, b.cut || c.cut}
		}
		k.bins[i/2] = b
	}
	k.bins = k.bins[:(len(k.bins)+1)/2]
	k.width *= 2
}

// add notes a value that holds for a weight: a number of measurements, or seconds
// of which sum is the total.
func (k *track) add(t, sum, weight float64) {
	if math.IsNaN(sum) || math.IsInf(sum, 0) || weight <= 0 {
		return
	}
	b := k.at(t)
	b.sum += sum
	b.weight += weight
}

// points gives the values at their times, with a NaN where the line breaks. Bins
// are joined until they are at least as wide as given; nothing is after end.
func (k *track) points(width, end float64) (x, y []float64) {
	t := track{width: k.width, bins: slices.Clone(k.bins)}
	for t.width > 0 && t.width < width && len(t.bins) > 1 {
		t.double()
	}
	for i, b := range t.bins {
		if b.weight == 0 {
			continue
		}
		at := min((float64(i)+0.5)*t.width, end)
		if b.cut && len(x) > 0 {
			x, y = append(x, at), append(y, math.NaN())
		}
		x, y = append(x, at), append(y, b.sum/b.weight)
	}
	return x, y
}

// joined is a copy whose bins are at least as wide as given. Of all tracks of a run
// those that are as wide begin at the same times.
func (k *track) joined(width float64) *track {
	t := &track{width: k.width, bins: slices.Clone(k.bins)}
	if t.width == 0 {
		t.width = firstWidth
	}
	for t.width < width {
		t.double()
	}
	return t
}

// counter turns a number that only grows into a rate.
type counter struct {
	track
	seen   bool
	t, v   float64
	total  float64 // all growth
	breaks float64 // seconds without a value after which a line breaks
}

// count notes the number at a time. A smaller number than before begins anew.
func (c *counter) count(t, v float64) {
	if c.seen && v >= c.v && t > c.t && t-c.t < c.breaks {
		c.add(t, v-c.v, t-c.t)
		c.total += v - c.v
	} else if c.seen && t <= c.t && v >= c.v {
		return // two at once: the next one counts for both
	} else if c.seen {
		c.cut = true
	}
	c.seen, c.t, c.v = true, t, v
}

// begin says that the number is zero at a time, as at the start of a run.
func (c *counter) begin(t float64) {
	c.cut = c.cut || c.seen
	c.seen, c.t, c.v = true, t, 0
}

// period is a stretch of time with one label.
type period struct {
	from, to float64
	label    string
}

// maxPeriods bounds one lane. More could not be told apart.
const maxPeriods = 600

// lane is a sequence of periods in bounded memory: when there are too many, the
// shortest are given to their neighbours.
type lane struct {
	periods []period
	open    bool // the last one goes on until something else comes
}

// set says what holds from now on.
func (l *lane) set(t float64, label string) {
	if n := len(l.periods); l.open && n > 0 {
		l.periods[n-1].to = max(t, l.periods[n-1].from)
		if l.periods[n-1].label == label {
			return
		}
	}
	l.open = label != ""
	if label == "" {
		return
	}
	l.periods = append(l.periods, period{t, t, label})
	l.shrink()
}

// during says what held from one time to another, and joins it with what was
// before.
func (l *lane) during(from, to float64, label string) {
	if n := len(l.periods); n > 0 && l.periods[n-1].label == label && from <= l.periods[n-1].to+1e-9 {
		l.periods[n-1].to = max(to, l.periods[n-1].to)
		return
	}
	l.periods = append(l.periods, period{from, max(from, to), label})
	l.shrink()
}

// shrink halves the number of periods of a full lane: of two neighbours the longer
// one gets the time of both.
func (l *lane) shrink() {
	if len(l.periods) < maxPeriods {
		return
	}
	var out []period
	for i := 0; i+1 < len(l.periods)-1; i += 2 {
		a, b := l.periods[i], l.periods[i+1]
		p := period{a.from, b.to, a.label}
		if b.to-b.from > a.to-a.from {
			p.label = b.label
		}
		if n := len(out); n > 0 && out[n-1].label == p.label && p.from <= out[n-1].to+1e-9 {
			out[n-1].to = p.to
			continue
		}
		out = append(out, p)
	}
	rest := len(l.periods) - 1
	if len(l.periods)%2 == 0 {
		rest--
	}
	l.periods = append(out, l.periods[rest:]...)
}
