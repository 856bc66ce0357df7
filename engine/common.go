package engine

import (
	"context"
)

// Common is what several sources of one process share, one for each destination
// of a job. The zero value is that of a source of its own.
type Common struct {
	// Limit holds all of them together to a rate, besides the limit that each
	// may have of its own. nil: there is none.
	Limit *Limit
	// Hold is called before each frame is chosen and returns when this source may
	// go on, or with ctx's end. While it waits nothing is taken that another
	// stream could send. It must be safe for concurrent use. nil: never held.
	Hold func(ctx context.Context) error
}

// Limit is a rate that several sources keep together. Any goroutine may use it.
type Limit struct{ l *limiter }

// NewLimit returns a limit of rate bytes per second of payload; 0 is none.
func NewLimit(rate int64) *Limit { return &Limit{newLimiter(rate)} }

// Join makes s one of the sources that have c in common. It must be called before
// Run.
func (s *Source) Join(c Common) { s.common = c }

// waitLimits blocks until n more bytes may go by every limit.
func (s *Source) waitLimits(ctx context.Context, n int) error {
	d := s.limit.reserve(n)
	if s.common.Limit != nil {
		d = max(d, s.common.Limit.l.reserve(n))
	}
	return s.limit.pause(ctx, d)
}
