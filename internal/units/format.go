package units

import "strconv"

// FormatBytes gives a number of bytes for people, in powers of 1000 with three
// digits: 0 B, 512 B, 1.24 TB, 80.1 GB, 912 MB. Negative numbers keep their sign.
func FormatBytes(n int64) string {
	return threeDigits(float64(n), "B")
}

// FormatRate gives a rate for people, in powers of 1000 with three digits: as
// bytes (912 MB/s) or, when bits is set, as bits (7.30 Gbit/s).
func FormatRate(r Rate, bits bool) string {
	if bits {
		return threeDigits(float64(r)*8, "bit") + "/s"
	}
	return threeDigits(float64(r), "B") + "/s"
}

// threeDigits prints v scaled by powers of 1000. Values below 1000 have no
// decimals, since half a byte means nothing.
func threeDigits(v float64, unit string) string {
	sign := ""
	if v < 0 {
		sign, v = "-", -v
	}
	if v < 999.5 {
		return sign + strconv.FormatFloat(v, 'f', 0, 64) + " " + unit
	}
	prefixes := []string{"K", "M", "G", "T", "P", "E"}
	if unit == "bit" {
		prefixes[0] = "k"
	}
	i := 0
	// 999.5 rounds to four digits, so it already belongs to the next prefix.
	for v /= 1000; v >= 999.5 && i+1 < len(prefixes); i++ {
		v /= 1000
	}
	decimals := 2
	switch {
	case v >= 99.95:
		decimals = 0
	case v >= 9.995:
		decimals = 1
	}
	return sign + strconv.FormatFloat(v, 'f', decimals, 64) + " " + prefixes[i] + unit
}
