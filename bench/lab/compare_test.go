package main

import (
	"math"
	"testing"

	"github.com/gomover/gomover/internal/netsim"
)

// TestModelIsLikeTheKernel: the model gets about what "lab compare" measured of the
// kernel (docs/lab.md), so that a change of the model shows without a kernel.
func TestModelIsLikeTheKernel(t *testing.T) {
	measured := map[netsim.Control][]float64{ // Mbit/s, by path
		netsim.CUBIC: {96.53, 96.53, 11.89, 46.33, 18.96},
		netsim.BBR:   {95.07, 94.24, 47.58, 188, 19.05},
	}
	for i, p := range comparePaths() {
		for _, c := range compareControls {
			got, err := p.model(c)
			if want := measured[c][i]; err != nil || math.Abs(got-want) > compareWithin*want {
				t.Errorf("%s, %v: %.4g Mbit/s, %v; the kernel got %.4g", p.name, c, got, err, want)
			}
		}
	}
}
