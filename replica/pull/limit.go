package pull

import (
	"context"
	"sync"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// limiter holds all connections together to a rate, by not reading on. It can be
// changed at any time.
type limiter struct {
	mu   sync.Mutex // guards what follows
	rate units.Rate // bytes per second; 0: none
	next time.Time  // when the next byte may be read
}

// set changes the rate.
func (l *limiter) set(rate units.Rate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate = rate
	l.next = time.Time{}
}

// now is the rate in force.
func (l *limiter) now() units.Rate {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rate
}

// catchUp is how long ago an unused share of the rate may be. Ours: longer than
// sleeping takes too long.
const catchUp = 50 * time.Millisecond

// wait waits until n bytes that were read may have been, or for the end of ctx.
func (l *limiter) wait(ctx context.Context, n int) {
	l.mu.Lock()
	if l.rate == 0 || n == 0 {
		l.mu.Unlock()
		return
	}
	now := time.Now()
	if floor := now.Add(-catchUp); l.next.Before(floor) {
		l.next = floor
	}
	l.next = l.next.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	d := l.next.Sub(now)
	l.mu.Unlock()
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
