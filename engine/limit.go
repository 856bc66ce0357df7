package engine

import (
	"context"
	"errors"
	"sync"
	"time"
)

// limiter holds all streams of an end together to a rate.
type limiter struct {
	mu   sync.Mutex
	rate int64     // bytes per second; 0: none
	next time.Time // when the next byte may go

	over chan struct{} // closed by end
	once sync.Once
}

func newLimiter(rate int64) *limiter { return &limiter{rate: rate, over: make(chan struct{})} }

// errNoMore is what those get who wait when a limiter ends.
var errNoMore = errors.New("nothing is sent any more")

// end makes those who wait, and will wait, go with an error.
func (l *limiter) end() { l.once.Do(func() { close(l.over) }) }

// reserve takes the time of n more bytes and returns how long they have to wait
// for it.
func (l *limiter) reserve(n int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate <= 0 {
		return 0
	}
	now := time.Now()
	// What was not used up to 50 ms ago may be caught up.
	if floor := now.Add(-50 * time.Millisecond); l.next.Before(floor) {
		l.next = floor
	}
	at := l.next
	l.next = l.next.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	return at.Sub(now)
}

// pause blocks for d, unless ctx or the limiter ends before.
func (l *limiter) pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-l.over:
		return errNoMore
	case <-ctx.Done():
		return ctx.Err()
	}
}
