// Package stopwatch adds up the time that goroutines spend on something, such as
// waiting for a disk. Start reading at [Sum].
package stopwatch

import (
	"sync"
	"time"
)

// Sum is time spent on one thing by any number of goroutines at once, that of those
// who are still at it included: one who waits for a minute is seen to wait before
// the minute is over. The zero value is ready; any goroutine may call any method. The
// total never falls.
//
// Where only one goroutine at a time is at it, stretches may have to be longer than
// a least time to count; it must then be the same in all calls.
type Sum struct {
	mu    sync.Mutex
	base  time.Time     // what began is counted from
	done  time.Duration // of those who have ended
	at    int           // how many are at it
	began time.Duration // sum of when they began, since base
}

// Begin starts a stretch of time and returns what End wants to know.
func (s *Sum) Begin() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.base.IsZero() {
		s.base = now
	}
	s.at++
	s.began += now.Sub(s.base)
	return now
}

// End ends a stretch; began is what Begin has returned.
func (s *Sum) End(began time.Time, least time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	took := time.Since(began)
	s.at--
	s.began -= began.Sub(s.base)
	if took > least {
		s.done += took
	}
}

// Total is the sum until now.
func (s *Sum) Total(least time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == 0 {
		return s.done
	}
	if now := time.Duration(s.at)*time.Since(s.base) - s.began; now > least {
		return s.done + now
	}
	return s.done
}
