package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/tuner/pace"
)

// limiter holds all streams of an end together to a rate, or makes them wait for
// the end of a pause. Both may change while streams wait.
type limiter struct {
	on atomic.Bool // there is a limit or a pause

	mu      sync.Mutex // guards what follows
	ramp    pace.Ramp
	clock   pace.Clock
	paused  bool
	changed chan struct{} // closed and made anew when those who wait shall look again

	over chan struct{} // closed by end
	once sync.Once
}

func newLimiter(rate int64) *limiter {
	l := &limiter{over: make(chan struct{}), changed: make(chan struct{})}
	l.set(rate)
	return l
}

// errNoMore is what those get who wait when a limiter ends.
var errNoMore = errors.New("nothing is sent any more")

// end makes those who wait, and will wait, go with an error.
func (l *limiter) end() { l.once.Do(func() { close(l.over) }) }

// set changes the rate to bytes per second; 0 is no limit. A higher one comes in
// steps, of which step takes those after the first.
func (l *limiter) set(rate int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ramp.To(time.Now(), units.Rate(rate))
	l.update()
}

// pause stops what has not been sent yet, or lets it go on.
func (l *limiter) pause(stop bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = stop
	l.update()
}

// step goes on with a change that comes in steps. The ticker calls it.
func (l *limiter) step() {
	if l.on.Load() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.update()
	}
}

// update makes the state true. The lock is held.
func (l *limiter) update() {
	now := time.Now()
	rate := l.ramp.At(now)
	if l.paused {
		rate = 0
	}
	wake := false
	if rate == 0 && !l.paused && l.on.Load() {
		l.clock.Open(now)
		wake = true
	}
	l.on.Store(rate > 0 || l.paused)
	if l.clock.Set(now, rate) || wake {
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

// rates gives the rate in force and the one on the way to which it is, in bytes per
// second; 0 is no limit. A pause does not count.
func (l *limiter) rates() (now, goal int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(l.ramp.At(time.Now())), int64(l.ramp.Goal())
}

// isPaused tells whether there is a pause.
func (l *limiter) isPaused() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.paused
}

// charge counts n bytes that were sent without asking: segments sent again.
func (l *limiter) charge(n int64) {
	if l.on.Load() && n > 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.clock.Charge(n)
	}
}

// wait blocks until n more bytes may go, or over is closed.
func (l *limiter) wait(ctx context.Context, n int64, over <-chan struct{}) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.on.Load() {
		return nil
	}
	turn := l.clock.Take(time.Now(), n)
	for {
		d := l.clock.Wait(time.Now(), turn)
		if d <= 0 {
			return nil
		}
		if err := l.sleep(ctx, d, over); err != nil {
			return err
		}
	}
}

// sleep waits for d, for a change, or for the end, without the lock.
func (l *limiter) sleep(ctx context.Context, d time.Duration, over <-chan struct{}) error {
	changed := l.changed
	l.mu.Unlock()
	defer l.mu.Lock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-over:
		return errNoMore
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
