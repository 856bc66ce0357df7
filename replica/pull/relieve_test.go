package pull

import (
	"testing"
	"time"

	"github.com/gomover/gomover/internal/rangeset"
)

// TestRelieve: who has nothing to do takes the block that a much slower connection
// reads, and leaves it to one that is not.
func TestRelieve(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		rate float64 // of the one that reads, in blocks per second
		want bool
	}{{0.5, true}, {1.2, true}, {2, false}, {8, false}, {80, false}} {
		c := &conductor{o: &object{block: 100_000}}
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
