package trial

import (
	"slices"
	"testing"
)

// promised is how many of Classes the figures of forecasts are promised for.
const promised = 5

// TestForecasts asserts what docs/tuning.md promises. The traces follow from their
// seeds, so a figure changes only when the forecast does.
func TestForecasts(t *testing.T) {
	quarter := slices.Index(Shares, 0.25)
	var all []Visits
	for _, c := range Classes[:promised] {
		v := Forecasts(c, 40)
		all = append(all, v)
		f := v.Figures()
		t.Logf("# %s %s: error %.3f, with history %.3f, of the last 10 s %.3f, of the best window %.3f; intervals hold %.2f, with history %.2f",
			c.Name, c.What, f.Error, f.Warm, f.Naive, f.Best, f.Cold, f.Held)
		if held := average(f.Held); held < 0.75 || held > 0.92 {
			t.Errorf("%s: 80 %% intervals hold in %.1f %%, want 75 to 92", c.Name, 100*held)
		}
		if f.Error[quarter] > 0.20 {
			t.Errorf("%s: median error %.1f %% at 25 %%, want 20 at most", c.Name, 100*f.Error[quarter])
		}
	}
	f := Pool(all).Figures()
	if held := average(f.Held); held < 0.75 || held > 0.92 {
		t.Errorf("80 %% intervals hold in %.1f %%, want 75 to 92", 100*held)
	}
	if e := f.Error[quarter]; e > 0.10 || e > 1.25*f.Best[quarter] || e > f.Naive[quarter] {
		t.Errorf("median error %.1f %% at 25 %%; want 10 at most, and 1.25 times that of the best window, %.1f", 100*e, 100*f.Best[quarter])
	}
}

// TestCachesThatFill: a sink that writes to memory in the first ten seconds does
// not mislead for long.
func TestCachesThatFill(t *testing.T) {
	for _, c := range Classes {
		if c.Name != "F8" {
			continue
		}
		// At a tenth of the job some thirty seconds have passed.
		if e := Forecasts(c, 20).Figures().Error[0]; e > 0.15 {
			t.Errorf("median error %.1f %% at 10 %%, want 15 at most", 100*e)
		}
	}
}

func average(l []float64) float64 {
	sum := 0.0
	for _, v := range l {
		sum += v
	}
	return sum / float64(len(l))
}

// TestSameSeedSameFigures: a trial gives the same figures whenever it runs.
func TestSameSeedSameFigures(t *testing.T) {
	for _, c := range Classes {
		a, b := Forecasts(c, 1).Figures(), Forecasts(c, 1).Figures()
		if !slices.Equal(a.Error, b.Error) || !slices.Equal(a.Widths, b.Widths) {
			t.Errorf("%s: %v and %v", c.Name, a, b)
		}
	}
}
