package pace

// Demand below this share of what a stream may send is no demand for more.
const satisfied = 0.9

// Split divides a rate among streams: equal parts, and what one does not use goes to
// the others. used is what each has sent lately and had what it was allowed then, both
// in bytes per second; had 0 is no bound. A stream that uses less than nine tenths of
// its part keeps a quarter more than it uses, so that it can come back. The parts come to
// the total, or more where some keep what they do not use.
//
// The result is valid until the next call with the same into.
func Split(total float64, used, had []float64, into []float64) []float64 {
	into = into[:0]
	n := len(used)
	if n == 0 {
		return into
	}
	equal := total / float64(n)
	part := equal
	// Those who use less than the part leave more for the others, whose part is then
	// larger: some rounds settle that, since it only grows.
	for range 4 {
		left, open := total, 0
		for i := range used {
			if sated(used[i], had[i], part) {
				left -= keep(used[i])
			} else {
				open++
			}
		}
		if open == 0 {
			for range used {
				into = append(into, equal)
			}
			return into
		}
		part = max(left/float64(open), equal)
	}
	for i := range used {
		p := part
		if sated(used[i], had[i], part) {
			p = max(keep(used[i]), equal/10)
		}
		into = append(into, p)
	}
	return into
}

func keep(used float64) float64 { return 1.25 * used }

func sated(used, had, part float64) bool {
	return had > 0 && used < satisfied*had && keep(used) < part
}
