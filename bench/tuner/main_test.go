package main

import (
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
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

// TestPaced: counters of an interface that let a limit through evenly are right, and
// those that do not are found out.
func TestPaced(t *testing.T) {
	for _, tt := range []struct {
		name  string
		jump  int64 // bytes more in the tenth second
		short bool
	}{{"even", 0, false}, {"uneven", 1e6, true}} {
		var bytes []int64
		var at []float64
		for i := range 400 {
			n := int64(i) * 500_000
			if i >= 200 {
				n += tt.jump
			}
			bytes, at = append(bytes, n), append(at, float64(i)*0.05)
		}
		rows, err := pacedRows("tcp", bytes, at, 10e6, 0.01)
		if err != nil || len(rows) != 2 || rows[0].short != tt.short || rows[1].short != tt.short {
			t.Errorf("%s: %+v, %v", tt.name, rows, err)
		}
	}
	if _, err := pacedRows("udt", []int64{0, 1}, []float64{0, 0.05}, 10e6, 0.02); err == nil {
		t.Error("two looks are enough")
	}
}

func TestJudged(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 1, 1, 0, 0, s, 0, time.UTC) }
	l := []moved{{Time: at(1), Name: "plan"}, {Time: at(5), Name: "progress", Verified: 4 * 14480, Retrans: 4}, {Time: at(20), Name: "progress", Verified: 1e9}}
	if rate, again := judged(l, 10*time.Second); rate != 14480 || again != 0.1 {
		t.Errorf("%v bytes per second, %v again", rate, again)
	}
	if rate, _ := judged(l[:1], time.Second); rate != 0 {
		t.Errorf("nothing moved at %v", rate)
	}
}
