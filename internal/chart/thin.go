package chart

import "math"

// pointBudget is about how many points all lines of a picture have together.
//
// Unit: points. Source: ours; an SVG needs some 12 bytes for each, so pictures
// stay below half a megabyte.
const pointBudget = 24_000

// thinning reduces lines to what can be seen.
type thinning struct {
	column float64 // width of a column in points
}

// newThinning chooses the columns so that all series of all panels stay within
// the budget.
func newThinning(boxes []*box) thinning {
	series, width := 0, 1.0
	for _, b := range boxes {
		for i := range b.Series {
			if s := &b.Series[i]; min(len(s.X), len(s.Y)) > 0 {
				series++
			}
		}
		width = b.right - b.left
	}
	return thinning{column: max(0.5, 4*width*float64(series)/pointBudget)}
}

// thin keeps, of the points within one column, the first, the lowest, the highest
// and the last, in their order. What remains looks the same.
//
// Points that go back in x start a new column, so nothing is lost of lines that
// turn.
func (t thinning) thin(points []point) []point {
	if len(points) <= 256 {
		return points
	}
	out := make([]point, 0, 1024)
	for from := 0; from < len(points); {
		column := math.Floor(points[from].x / t.column)
		to, low, high := from+1, from, from
		for to < len(points) && math.Floor(points[to].x/t.column) == column {
			if points[to].y < points[low].y {
				low = to
			}
			if points[to].y > points[high].y {
				high = to
			}
			to++
		}
		last := -1
		for _, i := range []int{from, min(low, high), max(low, high), to - 1} {
			if i != last {
				out = append(out, points[i])
				last = i
			}
		}
		from = to
	}
	return out
}
