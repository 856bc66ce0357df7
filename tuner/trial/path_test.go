package trial

import "testing"

// TestPathAlarms: round trips that step and losses that rise are found, noise is not.
func TestPathAlarms(t *testing.T) {
	for _, p := range Paths {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			if n := p.FalseAlerts(24); n > 1 {
				t.Errorf("%s: %v false alerts in 24 hours", p.What, n)
			}
			if median, most := p.Change(20); !(median <= 45) || !(most <= 60) {
				t.Errorf("%s: alerts come after %v s, 95 of 100 after %v s", p.What, median, most)
			}
		})
	}
}
