package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/wire"
)

// TestPassingEndsSoon: a source of which the sink need not wait, since it has another one
// to turn to, ends soon when no stream is left and none can be made.
func TestPassingEndsSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRun()
		r.src.put("big", random(1, 20<<20))
		r.opts.Rate, r.opts.NoInband, r.passing = 5<<20, true, true
		var lost time.Time
		r.during = func(r *run) {
			time.Sleep(time.Second)
			r.field.mu.Lock()
			r.field.ways = [2]way{swallowed, swallowed}
			r.field.mu.Unlock()
			for _, c := range r.field.live() {
				c.close()
			}
			lost = time.Now()
		}
		err := r.do(t.Context())
		if took := time.Since(lost); classOf(err) != wire.ClassLost || took > anotherSource+500*time.Millisecond {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// TestOtherBlocks goes on with what a run in blocks of another size has left.
func TestOtherBlocks(t *testing.T) {
	for _, sizes := range [][2]int64{{0, 64 << 10}, {64 << 10, 0}} {
		synctest.Test(t, func(t *testing.T) {
			r := newRun()
			r.src.put("big", random(1, 12<<20+12345))
			r.opts.Rate, r.opts.Least = 6<<20, sizes[0]
			r.during = func(r *run) {
				time.Sleep(time.Second)
				r.link.close()
			}
			if err := r.do(t.Context()); err == nil {
				t.Fatal("it was not cut")
			}
			had := r.sink.Totals().DoneBytes
			again := r.again()
			again.opts.Rate, again.opts.Least = 0, sizes[1]
			again.fine(t, again.do(t.Context()))
			// Of a block of one size only a part may have been there in blocks of the other.
			if c := again.source.Totals(); c.Had < had-2<<20 || c.Had < 2<<20 || c.Sent > c.Bytes-c.Had {
				t.Errorf("blocks of %d, then %d: %d bytes were there, %d of them are used; %d sent of %d", sizes[0], sizes[1], had, c.Had, c.Sent, c.Bytes)
			}
		})
	}
}
