package chart

import (
	"math"
	"strconv"
)

// scale is a unit with its prefix: factor base units are one of it.
type scale struct {
	factor float64
	suffix string
}

// scales lists the forms of each unit, the smallest first. Bit rates count in
// thousands, as networks do, bytes in 1,024, as memory does.
var scales = [...][]scale{
	Number:        {{1, ""}},
	Count:         {{1, ""}},
	BitsPerSecond: {{1, "bit/s"}, {1e3, "kbit/s"}, {1e6, "Mbit/s"}, {1e9, "Gbit/s"}, {1e12, "Tbit/s"}},
	Bytes:         {{1, "B"}, {1 << 10, "KiB"}, {1 << 20, "MiB"}, {1 << 30, "GiB"}, {1 << 40, "TiB"}},
	Seconds:       {{1e-6, "µs"}, {1e-3, "ms"}, {1, "s"}, {60, "min"}, {3600, "h"}},
	Share:         {{0.01, "%"}},
}

// scaleFor gives the form in which an axis that reaches to most is labelled.
func scaleFor(u Unit, most float64) scale {
	if u < 0 || int(u) >= len(scales) {
		u = Number
	}
	list := scales[u]
	best := list[0]
	for _, s := range list {
		need := s.factor
		if u == Seconds && s.factor >= 60 {
			need *= 5 // 200 s is easier to read than 3.3 min
		}
		if most >= need*(1-1e-9) {
			best = s
		}
	}
	return best
}

// FormatValue writes one value, given in the base unit, with a fitting prefix and
// at most three digits that count: 12.5 Mbit/s, 40 ms, 3.1 %.
func FormatValue(v float64, u Unit) string {
	if math.IsNaN(v) {
		return "?"
	}
	s := scaleFor(u, math.Abs(v))
	if s.suffix == "" {
		return digits(v / s.factor)
	}
	return digits(v/s.factor) + " " + s.suffix
}

// digits writes a number with three digits that count, or as a whole number.
func digits(v float64) string {
	if math.Abs(v) >= 100 && math.Abs(v) < 1e9 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
