package pull

import (
	"sync/atomic"
	"time"
)

// Spent is what the connections of a pull spent their time on while they had something
// to do, all of them together.
type Spent struct {
	Read  time.Duration // waiting for bytes
	Limit time.Duration // held back by Job.Rate
	Check time.Duration // hashing
	Write time.Duration // writing
}

// Since is what was spent since an earlier look.
func (s Spent) Since(before Spent) Spent {
	return Spent{s.Read - before.Read, s.Limit - before.Limit, s.Check - before.Check, s.Write - before.Write}
}

// spent counts it, in nanoseconds. Any goroutine may use it.
type spent struct{ read, limit, check, write atomic.Int64 }

// on adds the time since an instant to one of the counts, and gives the present one.
func (s *spent) on(what *atomic.Int64, since time.Time) time.Time {
	now := time.Now()
	what.Add(int64(now.Sub(since)))
	return now
}

func (s *spent) now() Spent {
	return Spent{time.Duration(s.read.Load()), time.Duration(s.limit.Load()), time.Duration(s.check.Load()), time.Duration(s.write.Load())}
}
