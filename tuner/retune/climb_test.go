package retune

import (
	"testing"
	"time"
)

func TestClimber(t *testing.T) {
	blind := func(m model) model {
		return func(set Settings, at time.Duration) Sample {
			s := m(set, at)
			s.Known, s.RTT, s.MinRTT, s.Segs, s.Lost, s.Events = 0, 0, 0, 0, 0, 0
			return s
		}
	}
	pinned, limited := start(6), start(6)
	pinned.Least, pinned.Most = 6, 6
	limited.Limit = 60e6
	tests := []struct {
		name        string
		c           Config
		m           model
		least, most int
		decisions   int
	}{
		{"few are enough", start(16), each(50e6, 100e6), 8, 8, 40},
		{"fewer are faster", start(16), func(set Settings, _ time.Duration) Sample { return path(100e6 / (1 + 0.03*float64(set.Streams))) }, 4, 4, 40},
		{"too few by and by", start(12), changing(each(50e6, 100e6), each(2e6, 100e6), 2*time.Minute), 40, 64, 40},
		{"slower, and no number of streams helps", start(12), changing(each(50e6, 100e6), each(50e6, 50e6), 2*time.Minute), 8, 20, 40},
		{"each brings its share", start(4), each(2e6, 80e6), 36, 48, 40},
		{"each brings its share, without end", start(4), each(2e6, 1e9), 60, 64, 40},
		{"pinned", pinned, each(2e6, 80e6), 6, 6, 0},
		{"as fast as allowed", limited, each(50e6, 59e6), 6, 6, 0},
		{"more room", start(4), changing(each(50e6, 60e6), each(4e6, 200e6), time.Minute), 36, 64, 60},
	}
	for _, tt := range tests {
		l, set := drive(NewClimber(tt.c), 4*time.Minute, blind(tt.m))
		if set.Streams < tt.least || set.Streams > tt.most || len(l) > tt.decisions {
			t.Errorf("%s: %v after %d decisions, want %d to %d streams after at most %d", tt.name, set, len(l), tt.least, tt.most, tt.decisions)
			for _, d := range l {
				t.Log(d)
			}
		}
	}
}
