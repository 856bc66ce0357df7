package netsim

import (
	"math"
	"testing"
)

func TestJain(t *testing.T) {
	for _, tt := range []struct {
		rates []float64
		want  float64
	}{
		{nil, 0}, {[]float64{0, 0}, 0}, {[]float64{5e7, 5e7}, 1}, {[]float64{1, 1, 1, 1}, 1}, {[]float64{1, 0, 0, 0}, 0.25}, {[]float64{0, 3}, 0.5}, {[]float64{3, 1}, 0.8},
	} {
		if got := Jain(tt.rates...); math.Abs(got-tt.want) > 1e-12 {
			t.Errorf("index of %v is %v, want %v", tt.rates, got, tt.want)
		}
	}
}
