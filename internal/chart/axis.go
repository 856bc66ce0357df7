package chart

import (
	"math"
	"strconv"
)

// farthest is the largest magnitude that is drawn; what is beyond counts as
// infinite, so that no difference of two values overflows.
const farthest = 1e100

// usable reports whether a value can be drawn.
func usable(v float64) bool { return v >= -farthest && v <= farthest }

// span is a range of values that grows with what it is shown.
type span struct {
	lo, hi float64
	any    bool
}

// add widens the range so that it holds v.
func (s *span) add(v float64) {
	switch {
	case !usable(v):
	case !s.any:
		*s = span{v, v, true}
	default:
		s.lo, s.hi = min(s.lo, v), max(s.hi, v)
	}
}

// axis maps values to places on the picture.
type axis struct {
	name   string
	unit   Unit
	log    bool
	lo, hi float64 // values at the ends
	a, b   float64 // places of the ends
	scale  scale
	ticks  []tick
}

// tick is a labelled place on an axis; minor ones have no label.
type tick struct {
	v     float64
	label string
}

// at gives the place of a value. On a logarithmic axis v is positive.
func (x *axis) at(v float64) float64 {
	lo, hi := x.lo, x.hi
	if x.log {
		lo, hi, v = math.Log(lo), math.Log(hi), math.Log(v)
	}
	return x.a + (x.b-x.a)*min(1, max(0, (v-lo)/(hi-lo)))
}

// drawable reports whether a value has a place on the axis.
func (x *axis) drawable(v float64) bool { return usable(v) && (!x.log || v > 0) }

// title is the name with the unit of the tick labels.
func (x *axis) title() string {
	if x.log || x.scale.suffix == "" {
		return x.name
	}
	if x.name == "" {
		return x.scale.suffix
	}
	return x.name + " (" + x.scale.suffix + ")"
}

// newAxis makes an axis for a range of values between two places. gap is the
// least distance of two labels in points. round moves the ends to ticks.
func newAxis(name string, unit Unit, log bool, s span, a, b, gap float64, round bool) axis {
	x := axis{name: name, unit: unit, log: log, a: a, b: b}
	most := max(2, math.Abs(b-a)/gap)
	if log {
		x.logTicks(s, most, round)
	} else {
		x.linearTicks(s, most, round)
	}
	return x
}

// linearTicks puts ticks at multiples of 1, 2 or 5 times a power of ten of the
// shown unit.
func (x *axis) linearTicks(s span, most float64, round bool) {
	if !s.any {
		s = span{lo: 0, hi: 1}
	}
	if s.hi-s.lo <= 1e-9*max(math.Abs(s.lo), math.Abs(s.hi)) {
		if s.lo == 0 {
			s.hi = 1
		} else if round {
			s.lo, s.hi = min(0, 2*s.lo), max(0, 2*s.hi)
		} else {
			s.lo, s.hi = s.lo-math.Abs(s.lo)/2, s.hi+math.Abs(s.hi)/2
		}
	}
	x.lo, x.hi = s.lo, s.hi
	x.scale = scaleFor(x.unit, max(math.Abs(x.lo), math.Abs(x.hi)))
	step := niceStep((x.hi-x.lo)/x.scale.factor/most) * x.scale.factor
	if x.unit == Count {
		step = max(1, step)
	}
	if round {
		x.lo, x.hi = step*math.Floor(x.lo/step+1e-9), step*math.Ceil(x.hi/step-1e-9)
	}
	first := math.Ceil(x.lo/step - 1e-9)
	for i := range 100 {
		v := (first + float64(i)) * step
		if v > x.hi+1e-9*step {
			break
		}
		x.ticks = append(x.ticks, tick{v, formatStep(v/x.scale.factor, step/x.scale.factor)})
	}
}

// niceStep gives the least of 1, 2 and 5 times a power of ten that is not below
// v.
func niceStep(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*p >= v*(1-1e-9) {
			return m * p
		}
	}
	return 10 * p
}

// formatStep writes a multiple of a step with as many decimals as the step has.
func formatStep(v, step float64) string {
	decimals := int(max(0, math.Ceil(-math.Log10(step)-1e-9)))
	if decimals > 6 || math.Abs(v) >= 1e7 {
		return strconv.FormatFloat(v, 'g', 6, 64)
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if v == 0 || s == "-0" {
		return "0"
	}
	return s
}

// logTicks puts ticks at powers of ten, at 2 and 5 times them where few powers are
// in the range, and at the other multiples without label.
func (x *axis) logTicks(s span, most float64, round bool) {
	if !s.any || s.hi <= 0 {
		s = span{lo: 1, hi: 10}
	}
	s.lo, s.hi = max(s.lo, 1/farthest), max(s.hi, 1/farthest)
	x.scale = scale{factor: 1}
	x.lo, x.hi = s.lo, s.hi
	if round {
		x.lo, x.hi = logBelow(s.lo), -1.0
		x.hi = 1 / logBelow(1/s.hi)
	} else {
		pad := max(math.Pow(s.hi/s.lo, 0.04), 1.02)
		x.lo, x.hi = s.lo/pad, s.hi*pad
	}
	if x.hi/x.lo < 1.01 {
		x.lo, x.hi = x.lo/2, x.hi*2
	}
	decades := math.Log10(x.hi / x.lo)
	every := max(1, math.Ceil(decades/most))
	for e := math.Floor(math.Log10(x.lo)); e <= math.Ceil(math.Log10(x.hi)); e++ {
		for m := 1.0; m < 10; m++ {
			v := m * math.Pow(10, e)
			if v < x.lo*(1-1e-9) || v > x.hi*(1+1e-9) {
				continue
			}
			labelled := m == 1 && math.Mod(e, every) == 0 || every == 1 && 3*decades <= most && (m == 2 || m == 5)
			label := ""
			if labelled {
				label = FormatValue(v, x.unit)
			}
			if labelled || every == 1 {
				x.ticks = append(x.ticks, tick{v, label})
			}
		}
	}
}

// logBelow gives the greatest of 1, 2 and 5 times a power of ten that is not above
// v.
func logBelow(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)+1e-12))
	for _, m := range []float64{5, 2} {
		if m*p <= v*(1+1e-9) {
			return m * p
		}
	}
	return p
}
