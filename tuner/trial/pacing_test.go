package trial

import (
	"testing"
	"time"
)

// TestKeep: a limit is kept to within a percent, by streams of which some are slow or
// late, and a lower one as soon as it is set.
func TestKeep(t *testing.T) {
	for _, x := range []Sockets{
		{Streams: 1, Frame: 256 << 10, Room: 1.008},
		{Streams: 12, Frame: 256 << 10, Room: 1.008, Slow: 2},
		{Streams: 12, Frame: 256 << 10, Room: 1.008, Late: 15 * time.Millisecond},
	} {
		p := x.Keep(125e6, 625e5, 6, 1)
		if p.Least < 0.985 || p.Most > 1.01 || p.Tenth > 1.05 || p.After > 1.02 {
			t.Errorf("%+v: %+v", x, p)
		}
	}
}

// TestFinishByInTime: on a quiet path jobs are in time, and slower than without a
// deadline.
func TestFinishByInTime(t *testing.T) {
	d := FinishBy(Classes[4], 0.25, 10)
	if d.Met != 10 || d.Feasible != 10 || d.Lower < 0.1 || d.Early > 0.1 || d.Early < 0 {
		t.Errorf("with a quarter more time: %+v", d)
	}
	if d := FinishBy(Classes[4], -0.25, 10); d.Told < 9 || d.Hopeless != 10 {
		t.Errorf("with a quarter too little: %+v", d)
	}
}
