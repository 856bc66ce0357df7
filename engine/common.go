package engine

import (
	"context"
	"time"
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
	// Sources is how many sources there are; 0 is one. They share the files that the
	// process may have open ahead of their turn.
	Sources int
}

// Limit is a rate that several sources keep together. Any goroutine may use it.
type Limit struct{ l *limiter }

// NewLimit returns a limit of rate bytes per second, as an interface counts them; 0 is
// none.
func NewLimit(rate int64) *Limit { return &Limit{newLimiter(rate)} }

// Set changes the rate; a higher one comes in steps.
func (l *Limit) Set(rate int64) { l.l.set(rate) }

// Rate is what all of them together may have, in bytes per second; 0 is no limit.
func (l *Limit) Rate() int64 {
	_, goal := l.l.rates()
	return goal
}

// Join makes s one of the sources that have c in common. It must be called before
// Run.
func (s *Source) Join(c Common) {
	s.common = c
	s.depth.sharers = c.Sources
}

// limited tells whether a frame has to wait for its turn by any limit.
func (s *Source) limited() bool {
	return s.limit.on.Load() || s.common.Limit != nil && s.common.Limit.l.on.Load()
}

// awaitTurn waits until a frame may be sent by every limit. A stream that waits has
// not stalled.
func (s *Source) awaitTurn(ctx context.Context, ss *sendStream, n int) error {
	ss.waiting.Store(true)
	start := s.work.limited.Begin()
	defer func() {
		s.work.limited.End(start, 0)
		ss.moved.Store(time.Now().UnixNano())
		ss.waiting.Store(false)
	}()
	bytes := int64(n)
	if !s.paths.Local {
		bytes = onWire(bytes)
	}
	if s.common.Limit != nil {
		if err := s.common.Limit.l.wait(ctx, bytes, s.limit.over); err != nil {
			return err
		}
	}
	return s.limit.wait(ctx, bytes, s.limit.over)
}
