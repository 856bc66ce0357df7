package tcpxm

import (
	"testing"
	"time"
)

// until lets everything happen until something is true.
func (x *world) until(limit time.Duration, what string, done func() bool) {
	x.t.Helper()
	x.pump()
	if !x.w.RunUntil(x.w.Now()+limit, done) {
		x.t.Fatalf("at %v: %s has not happened", x.w.Now(), what)
	}
}

// TestSimulatedTooFewForAGroup: a group waits for somebody who may hear it, and
// meanwhile one that does is given up.
func TestSimulatedTooFewForAGroup(t *testing.T) {
	sites := same(3, line(5*ms, 0))
	sites[2].deaf = true
	x := build(t, 21, home(50), Config{Size: 3e6, Group: groupAt}, sites)
	x.until(10*time.Second, "waiting", func() bool { return x.s.groups[0].waits != never })
	x.s.pcbs[0].abort(x.w.Now(), ErrIncomplete)
	x.run(60 * time.Second)
	x.check(1)
	x.check(2)
}
