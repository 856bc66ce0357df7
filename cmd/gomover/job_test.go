package main

import (
	"errors"
	"slices"
	"testing"
)

// TestCheckCongestion: names that UDT does not know are refused, with a hint where
// only the letters' size is wrong.
func TestCheckCongestion(t *testing.T) {
	for _, tt := range []struct {
		name string
		udt  bool
		good bool
		hint []string
	}{
		{"bbr", true, true, nil},
		{"", true, true, nil},
		{"BBR", true, false, []string{"did you mean --cc bbr?"}},
		{"Vegas", true, false, nil},
		{"vegas", false, true, nil},
		{"blast=1GB", false, false, nil},
	} {
		err := checkCongestion(tt.name, tt.udt)
		var e *exitError
		if (err == nil) != tt.good || err != nil && (!errors.As(err, &e) || e.Code != exitUsage || !slices.Equal(e.Hints, tt.hint)) {
			t.Errorf("%q over UDT %t: %+v", tt.name, tt.udt, err)
		}
	}
}
