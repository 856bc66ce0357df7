package engine

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// senders let n senders send frames through a limiter until ctx ends, and note when
// how much went.
type senders struct {
	mu    sync.Mutex
	start time.Time
	sent  []int64 // bytes in each 100 ms
}

func (x *senders) run(ctx context.Context, wg *sync.WaitGroup, l *limiter, n int, frame int64) {
	x.start = time.Now()
	for range n {
		wg.Go(func() {
			for ctx.Err() == nil && l.wait(ctx, frame, l.over) == nil {
				if !l.on.Load() {
					time.Sleep(time.Millisecond) // without a limit the path is one
				}
				x.mu.Lock()
				i := int(time.Since(x.start) / (100 * time.Millisecond))
				for len(x.sent) <= i {
					x.sent = append(x.sent, 0)
				}
				x.sent[i] += frame
				x.mu.Unlock()
			}
		})
	}
}

// between sums what went from tenth a to b.
func (x *senders) between(a, b int) (sum int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := a; i < b && i < len(x.sent); i++ {
		sum += x.sent[i]
	}
	return sum
}

// TestLimiter: the rate is kept to the frame in each second, and a change of it
// reaches those who wait.
func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const frame = 1000
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		l := newLimiter(100e3)
		var x senders
		x.run(ctx, &wg, l, 8, frame)
		look := func(what string, from int, want int64) {
			t.Helper()
			if got := x.between(from, from+10); got < want-frame || got > want+frame {
				t.Errorf("%s: %d bytes in the second, want %d", what, got, want)
			}
		}
		time.Sleep(1001 * time.Millisecond)
		look("at the start", 0, 100e3)
		l.set(1000) // a wait of a second for each of eight
		time.Sleep(10 * time.Second)
		look("slow", 100, 1000)
		l.set(400e3)
		for range 20 {
			time.Sleep(100 * time.Millisecond)
			l.step()
		}
		// The first step is a quarter of the way, after half a second half of it.
		if got, want := x.between(111, 114), int64(3*10.075e3); got < want-2*frame || got > want+2*frame {
			t.Errorf("the first step: %d bytes, want %d", got, want)
		}
		time.Sleep(time.Second)
		look("raised", 130, 400e3)
	})
}

// TestLimiterPause: nothing goes in a pause, and those who wait go on after it,
// whether there is a limit then or none.
func TestLimiterPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		l := newLimiter(0)
		if l.wait(ctx, 1<<40, l.over) != nil {
			t.Error("it waits without a limit")
		}
		var x senders
		x.run(ctx, &wg, l, 4, 1000)
		time.Sleep(500 * time.Millisecond)
		l.pause(true)
		time.Sleep(501 * time.Millisecond)
		before := x.between(0, 1000)
		time.Sleep(time.Hour)
		if now := x.between(0, 1e6); now != before || !l.isPaused() {
			t.Errorf("%d bytes in a pause", now-before)
		}
		l.set(100e3)
		l.pause(false)
		time.Sleep(time.Second)
		if got := x.between(0, 1e6) - before; got < 99e3 || got > 106e3 {
			t.Errorf("%d bytes in the second after it", got)
		}
		l.set(0)
		l.pause(true)
		time.Sleep(time.Minute)
		before = x.between(0, 1e6)
		l.pause(false)
		time.Sleep(time.Second)
		if got := x.between(0, 1e6) - before; got < 3e6 {
			t.Errorf("%d bytes without a limit", got)
		}
		if now, goal := l.rates(); now != 0 || goal != 0 || l.on.Load() {
			t.Errorf("the limit is %d, on the way to %d", now, goal)
		}
	})
}

func TestLimiterEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1000)
		if err := l.wait(t.Context(), 1e6, l.over); err != nil {
			t.Error(err)
		}
		l.charge(500)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.wait(ctx, 1, l.over); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it ends with %v", err)
		}
		time.AfterFunc(time.Second, l.end)
		if err := l.wait(t.Context(), 1, l.over); !errors.Is(err, errNoMore) {
			t.Errorf("it ends with %v", err)
		}
	})
}
