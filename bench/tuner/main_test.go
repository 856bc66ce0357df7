package main

import (
	"math"
	"regexp"
	"strings"
	"testing"
)

func TestMeasure(t *testing.T) {
	var b strings.Builder
	if err := measure(&b, groups, regexp.MustCompile("^none$"), true); err != nil || b.String() != "0 figures, 0 short of their bar\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

func TestBelow(t *testing.T) {
	for _, c := range []struct {
		got, bar float64
		short    bool
		text     string
	}{
		{1, 2, false, "<= 2"},
		{2, 2, false, "<= 2"},
		{3, 2, true, "<= 2"},
		{math.Inf(1), 2, true, "<= 2"},
		{3, math.NaN(), false, ""},
	} {
		if r := below("", "", c.got, c.bar, "%.1f"); r.short != c.short || r.bar != c.text {
			t.Errorf("%v below %v: %+v", c.got, c.bar, r)
		}
	}
}
