package units

import "strconv"

// Rate is a speed in bytes per second. Zero means no limit where a limit is
// meant, and no movement where a speed was measured. It is never negative.
type Rate int64

// String gives the shortest text that [ParseRate] reads back as the same rate:
// "off" for 0, else a whole number with B, KB, MB, GB or TB.
func (r Rate) String() string {
	if r <= 0 {
		return "off"
	}
	unit := int64(1)
	suffix := "B"
	for _, next := range []string{"KB", "MB", "GB", "TB"} {
		if int64(r)%(unit*1000) != 0 {
			break
		}
		unit *= 1000
		suffix = next
	}
	return strconv.FormatInt(int64(r)/unit, 10) + suffix
}

// ExactSize gives the shortest text that [ParseSize] reads back as the same
// number of bytes: a whole number with K, M, G, T (powers of 1024) or without a
// suffix. n is 0 or more.
func ExactSize(n int64) string {
	suffix := ""
	for _, next := range []string{"K", "M", "G", "T"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n /= 1024
		suffix = next
	}
	return strconv.FormatInt(n, 10) + suffix
}
