package main

import (
	"math"
	"testing"
	"time"
)

func TestFlowAt(t *testing.T) {
	f := flow{samples: []sample{{}, {10, 0}, {11, 100}, {12, 300}}}
	for _, tt := range []struct{ at, want float64 }{{9, 0}, {10, 0}, {10.5, 50}, {11, 100}, {11.25, 150}, {12, 300}, {20, 300}} {
		if got := f.at(tt.at); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("at %v: %v bytes, want %v", tt.at, got, tt.want)
		}
	}
	if got := f.rate(10, 12); got != 150 {
		t.Errorf("rate %v, want 150", got)
	}
}

func TestJain(t *testing.T) {
	for _, tt := range []struct {
		l    []float64
		want float64
	}{{[]float64{1, 1, 1, 1}, 1}, {[]float64{1, 0, 0, 0}, 0.25}, {nil, 0}, {[]float64{3, 1}, 0.8}} {
		if got := jain(tt.l); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("jain %v is %v, want %v", tt.l, got, tt.want)
		}
	}
}

func TestParse(t *testing.T) {
	b, err := parse([]string{"-rows", "loop,wan", "-quick", "-rounds", "5"})
	if err != nil || b.Rounds != 1 || len(b.Rows) != 2 {
		t.Errorf("parse gives %+v, %v", b, err)
	}
	for _, bad := range [][]string{{"-rows", "nothing"}, {"-rounds", "0"}, {"word"}} {
		if _, err := parse(bad); err == nil {
			t.Errorf("parse %q: no error", bad)
		}
	}
}

func TestSites(t *testing.T) {
	l := path{rate: 1e8, queue: 500_000, loss: 0.01, rtts: rtts(10, 100)}.sites()
	if len(l) != 3 || l[0].Up.Rate != "100000000bit" || l[2].Down.Delay != "50ms" || l[1].Down.Loss != 0.01 {
		t.Errorf("sites %+v", l)
	}
}

func rtts(ms ...int) (l []time.Duration) {
	for _, n := range ms {
		l = append(l, time.Duration(n)*time.Millisecond)
	}
	return l
}
