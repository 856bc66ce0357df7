package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestDrainUnderALimit: an end that was told to stop waits for what is on its
// way, not for what a limit of the rate has not let go.
func TestDrainUnderALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRun()
		r.fill()
		r.opts.Rate = 64 << 10 // four seconds for a block
		ctx, cancel := context.WithCancel(t.Context())
		r.during = func(r *run) {
			time.Sleep(5 * time.Second)
			at := time.Now()
			r.source.Drain(20 * time.Second)
			if took := time.Since(at); took > time.Second {
				t.Errorf("drained after %v", took)
			}
			if _, underway := r.source.sched.load(); underway != 0 {
				t.Errorf("%d bytes are not confirmed", underway)
			}
			cancel()
		}
		if err := r.do(ctx); err == nil {
			t.Error("ended well")
		}
		if r.src.opened > 0 || len(r.dst.locked) > 0 {
			t.Errorf("open: %d, %v", r.src.opened, r.dst.locked)
		}
		again := r.again()
		again.opts.Rate = 0
		again.fine(t, again.do(t.Context()))
	})
}
