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

// Settled says whether the median of all rounds is known within a tolerance, such
// as 0.05, though some have not been run: if what is missing cannot move it by more,
// however fast or slow it was. Of three rounds the median lies between any two.
func (s Samples) Settled(rounds int, tolerance float64) bool {
	if len(s) >= rounds {
		return true
	}
	sorted := slices.Sorted(slices.Values(s))
	// What is missing may all come before these, or all after them.
	least, most := (rounds-1)/2-(rounds-len(s)), rounds/2
	if least < 0 || most >= len(s) {
		return false
	}
	return sorted[most]-sorted[least] <= tolerance*sorted[least]
}
