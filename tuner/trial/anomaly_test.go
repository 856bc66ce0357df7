package trial

import "testing"

// TestAlarms asserts what docs/tuning.md promises.
func TestAlarms(t *testing.T) {
	for _, c := range []struct {
		name         string
		median, most float64 // seconds until an alert at a drop of 30 %
	}{
		{"A1", 10, 10},
		{"A2", 10, 30},
	} {
		for _, n := range Noises {
			if n.Name != c.name {
				continue
			}
			noise, d := FalseAlarms(n, 240), Drop(n, 0.7, 200)
			t.Logf("# %s %s: %+v, %+v", n.Name, n.What, noise, d)
			if noise.Suspicions > 1 || noise.Alerts >= 1 {
				t.Errorf("%s: %.2f false suspicions an hour, %.2f false alerts a day; want at most 1 and less than 1", n.Name, noise.Suspicions, noise.Alerts)
			}
			if d.ConfirmedMedian > c.median || d.ConfirmedP95 > c.most {
				t.Errorf("%s: a drop of 30 %% is told after %.1f s, 95 of 100 within %.1f; want %.0f and %.0f", n.Name, d.ConfirmedMedian, d.ConfirmedP95, c.median, c.most)
			}
			if half := Drop(n, 0.5, 100); half.ConfirmedP95 > 10 {
				t.Errorf("%s: a drop to half is told within %.1f s in 95 of 100, want 10", n.Name, half.ConfirmedP95)
			}
		}
	}
	if n := Drift(0.2, 5); n > 0 {
		t.Errorf("%d alerts while the rate falls by 20 %% within an hour", n)
	}
}
