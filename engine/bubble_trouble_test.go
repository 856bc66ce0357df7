package engine

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRun()
		r.fill()
		var writes atomic.Int64
		r.dst.fault = func(op, name string) error {
			if op == "write" {
				if writes.Add(1) > 8 {
					return fmt.Errorf("writing %s: %w", name, store.ErrNoSpace)
				}
			}
			return nil
		}
		err := r.do(t.Context())
		if classOf(err) != wire.ClassSpace || classOf(r.sinkErr) != wire.ClassSpace {
			t.Errorf("source: %v; sink: %v", err, r.sinkErr)
		}
		if r.took > 10*time.Second || len(r.dst.locked) > 0 || r.src.opened > 0 {
			t.Errorf("took %v, open %v, %d", r.took, r.dst.locked, r.src.opened)
		}
		r.dst.mu.Lock()
		r.dst.fault = nil
		r.dst.mu.Unlock()
		again := r.again()
		again.fine(t, again.do(t.Context()))
	})
}

func TestFilesTheDestinationRefuses(t *testing.T) {
	for _, op := range []string{"write", "partial", "commit"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRun()
				r.fill()
				r.dst.fault = func(o, name string) error {
					if o == op && (name == "big" || name == "d1/s4") {
						return fs2("denied")
					}
					return nil
				}
				if err := r.do(t.Context()); err != nil || r.sinkErr != nil {
					t.Fatal(err, r.sinkErr)
				}
				want, bytes := int64(2), int64(5<<20+17+4*977)
				if op == "partial" {
					want, bytes = 1, 5<<20+17 // a small file has none
				}
				// What arrived of a file that failed does not count as done.
				c := r.source.Totals()
				if c.Failed != want || c.OK != c.Files-want || c.DoneBytes != c.Bytes-bytes {
					t.Errorf("totals %+v, want %d bytes less", c, bytes)
				}
				if k := r.sink.Totals(); k.Failed != want || k.DoneBytes != c.DoneBytes {
					t.Errorf("sink's totals %+v", k)
				}
				if len(r.dst.locked) > 0 || r.src.opened > 0 {
					t.Errorf("open %v, %d", r.dst.locked, r.src.opened)
				}
			})
		})
	}
}

// fs2 is an error of the file system.
type fs2 string

func (e fs2) Error() string { return string(e) }

// TestStuckOtherEnd: an end that was told to stop ends, even if the other one
// listens to nothing any more.
func TestStuckOtherEnd(t *testing.T) {
	for _, rate := range []int64{0, 1000} {
		synctest.Test(t, func(t *testing.T) {
			r := newRun()
			r.fill()
			r.opts.Rate = rate
			r.ways = [2]way{refused, refused}
			ctx, cancel := context.WithCancel(t.Context())
			at := time.Now()
			r.during = func(r *run) {
				time.Sleep(30 * time.Millisecond)
				r.link.silent.Store(true)
				time.Sleep(10 * time.Second)
				at = time.Now()
				cancel()
			}
			if err := r.do(ctx); err == nil {
				t.Error("ended well")
			}
			if d := time.Since(at); d > 3*time.Second {
				t.Errorf("ended %v after it was told to", d)
			}
		})
	}
}
