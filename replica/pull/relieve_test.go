package pull

import (
	"testing"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
)

// TestRelieveBelowALimit: below a limit of the whole each connection is slow, and what it
// has begun is left to it as long as it brings anything.
func TestRelieveBelowALimit(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		quiet time.Duration // since when the one that reads has brought nothing
		want  bool
	}{{0, false}, {3 * time.Second, false}, {4500 * time.Millisecond, true}} {
		// A block a second for all.
		c := &conductor{p: &Pull{limit: limiter{rate: 100_000}}, o: &object{block: 100_000}}
		s := &session{latency: 100 * time.Millisecond}
		slow, idle := &worker{c: c, s: s}, &worker{c: c, s: s}
		s.workers = []*worker{slow, idle}
		slow.asked = []rangeset.Extent{{Lo: 7, Hi: 8}}
		slow.meter = meter{rate: 100, since: now.Add(-test.quiet)}
		idle.meter.rate = 8 * 100_000
		if _, ok := c.relieve(idle, now); ok != test.want {
			t.Errorf("quiet for %v: %v", test.quiet, ok)
		}
	}
}

// TestRelieve: who has nothing to do takes the block that a much slower connection
// reads, and leaves it to one that is not.
func TestRelieve(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		rate float64 // of the one that reads, in blocks per second
		want bool
	}{{0.5, true}, {1.2, true}, {2, false}, {8, false}, {80, false}} {
		c := &conductor{p: &Pull{}, o: &object{block: 100_000}}
		s := &session{latency: 100 * time.Millisecond}
		slow, idle := &worker{c: c, s: s}, &worker{c: c, s: s}
		s.workers = []*worker{slow, idle}
		slow.asked = []rangeset.Extent{{Lo: 7, Hi: 8}}
		slow.meter = meter{rate: test.rate * 100_000, since: now}
		idle.meter.rate = 8 * 100_000
		e, ok := c.relieve(idle, now)
		if ok != test.want || ok && (e != slow.asked[0] || slow.wants(7)) {
			t.Errorf("at %v blocks a second: %v %v", test.rate, e, ok)
		}
	}
}

// TestRelieveOnce: what a slow connection has begun is taken over once; whoever took it
// keeps it as long as it brings anything, as does one that has most of it.
func TestRelieveOnce(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name  string
		taken bool
		got   int64
		quiet time.Duration // since when the one that reads has brought nothing
		want  bool
	}{
		{"a slow one", false, 0, 0, true},
		{"taken before", true, 0, 0, false},
		{"taken before, silent for a moment", true, 0, 2 * time.Second, false},
		{"taken before, silent", true, 0, 2500 * time.Millisecond, true},
		{"half of it is here", false, 50_000, 0, true},
		{"most of it is here", false, 80_000, 0, false},
	} {
		c := &conductor{p: &Pull{}, o: &object{block: 100_000}}
		s := &session{latency: 100 * time.Millisecond}
		slow, idle, third := &worker{c: c, s: s}, &worker{c: c, s: s}, &worker{c: c, s: s}
		s.workers = []*worker{slow, idle}
		slow.asked = []rangeset.Extent{{Lo: 7, Hi: 8}}
		slow.meter = meter{rate: 50_000, since: now}
		slow.got = test.got
		idle.meter.rate = 800_000
		third.meter.rate = 800_000
		if test.taken {
			e, ok := c.relieve(idle, now)
			if !ok {
				t.Fatalf("%s: it was not taken over the first time", test.name)
			}
			idle.asked = []rangeset.Extent{e}
			idle.meter = slow.meter // all are slow when all are at work
			s.workers = []*worker{slow, idle, third}
			idle.meter.since = now.Add(-test.quiet)
		}
		if _, ok := c.relieve(third, now); ok != test.want {
			t.Errorf("%s: %v", test.name, ok)
		}
	}
}
