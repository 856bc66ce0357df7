package osfs

import (
	"math"
	"testing"
)

func TestNanos(t *testing.T) {
	const last = math.MaxInt64 / 1_000_000_000
	for _, tt := range []struct{ sec, nsec, want int64 }{
		{0, 0, 0},
		{1, 2, 1_000_000_002},
		{-2177452800, 123456789, -2177452799_876543211}, // 1901
		{last - 1, 999_999_999, last*1e9 - 1},
		{last, 0, last * 1e9},
		{last, 999_999_999, last * 1e9},
		{10413792000, 0, last * 1e9}, // 2300
		{math.MaxInt64, 0, last * 1e9},
		{-last, 0, -last * 1e9},
		{-last - 1, 5, -last * 1e9},
		{math.MinInt64, 0, -last * 1e9},
	} {
		if got := nanos(tt.sec, tt.nsec); got != tt.want {
			t.Errorf("nanos(%d, %d) = %d, want %d", tt.sec, tt.nsec, got, tt.want)
		}
	}
}
