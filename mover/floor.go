package mover

import (
	"errors"
	"fmt"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// ErrMinRate means that a job was slower than Job.MinRate for a minute.
var ErrMinRate = errors.New("slower than the least rate")

// slowSpan is over what a rate must be below Job.MinRate.
const slowSpan = time.Minute

// floor watches that a job is not slower than it must be.
type floor struct {
	least units.Rate
	marks []floorMark // one a second, of the last slowSpan
}

type floorMark struct {
	at    time.Time
	bytes int64
}

// step takes how many bytes are confirmed. It errs when they were too few. idle tells
// that it is no fault of the path: the job is paused, or has nothing to send yet.
func (f *floor) step(now time.Time, bytes int64, idle bool) error {
	if f.least == 0 {
		return nil
	}
	if idle {
		f.marks = f.marks[:0]
		return nil
	}
	if n := len(f.marks); n > 0 && now.Sub(f.marks[n-1].at) < time.Second {
		return nil
	}
	f.marks = append(f.marks, floorMark{now, bytes})
	first := f.marks[0]
	span := now.Sub(first.at)
	if span < slowSpan {
		return nil
	}
	rate := units.Rate(float64(bytes-first.bytes) / span.Seconds())
	f.marks = f.marks[1:]
	if rate >= f.least {
		return nil
	}
	return &slowError{rate, f.least}
}

// slowError is ErrMinRate with the rates.
type slowError struct{ was, least units.Rate }

// Error implements error.
func (e *slowError) Error() string {
	return fmt.Sprintf("%s over the last minute, less than --min-rate %s", units.FormatRate(e.was, false), units.FormatRate(e.least, false))
}

// Is makes it ErrMinRate.
func (e *slowError) Is(err error) bool { return err == ErrMinRate }
