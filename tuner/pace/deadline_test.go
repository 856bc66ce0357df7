package pace

import (
	"testing"
	"time"
)

// TestDeadlineLate: by how much a job is too late is told by what is left of it, before
// the deadline and after it.
func TestDeadlineLate(t *testing.T) {
	slow, err := Parse("1MB")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		at    time.Duration // of the look
		table Timetable
		p     Progress
		late  time.Duration
		need  bool
	}{
		{"the limit is too low", 10 * time.Second, slow, Progress{Left: 180e6}, 90 * time.Second, true},
		{"just over", 101 * time.Second, Timetable{}, Progress{Left: 20e6, Rate: 10e6, Known: true, Mid: 2 * time.Second}, 3 * time.Second, false},
		{"just over, with a limit", 101 * time.Second, slow, Progress{Left: 20e6, Rate: 10e6, Known: true, Mid: 2 * time.Second}, 3 * time.Second, false},
		{"nobody knows how long", 101 * time.Second, Timetable{}, Progress{Left: 20e6}, time.Second, false},
		{"more than can be counted", 100*time.Second - 1, slow, Progress{Left: 1 << 50}, 1 << 62, true},
	} {
		d := NewDeadline(start, start.Add(100*time.Second))
		plan, _ := d.Step(start.Add(tt.at), tt.p, tt.table)
		if plan.Verdict != TooLate || plan.Late != tt.late || (plan.Need > 0) != tt.need {
			t.Errorf("%s: %+v", tt.name, plan)
		}
	}
	d := NewDeadline(start, start.Add(100*time.Second))
	p := Progress{Left: 20e6, Rate: 10e6, Known: true, Mid: 2 * time.Second}
	d.Step(start.Add(99900*time.Millisecond), p, Timetable{})
	if plan, changed := d.Step(start.Add(101*time.Second), p, Timetable{}); !changed || plan.Verdict != TooLate || plan.Need != 0 {
		t.Errorf("when the time passes: %+v", plan)
	}
}
