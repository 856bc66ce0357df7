package ground

import (
	"fmt"
	"slices"
)

// Samples are the figures of one command over the rounds, in one unit.
type Samples []float64

// Median is the middle one, or the mean of the middle two; 0 without any.
func (s Samples) Median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Min is the least; 0 without any.
func (s Samples) Min() float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Min(s)
}

// Max is the greatest; 0 without any.
func (s Samples) Max() float64 {
	if len(s) == 0 {
		return 0
	}
	return slices.Max(s)
}

// Text prints the median with the least and the greatest, in the given unit.
// Format is that of one number.
func (s Samples) Text(format, unit string) string {
	if len(s) == 0 {
		return "none"
	}
	if len(s) == 1 {
		return fmt.Sprintf(format+"%s", s[0], unit)
	}
	return fmt.Sprintf(format+"%s ["+format+" to "+format+"]", s.Median(), unit, s.Min(), s.Max())
}
