package mover

import (
	"errors"
	"fmt"
	"time"

	"github.com/gomover/gomover/sshboot"
	"github.com/gomover/gomover/wire"
)

// spaceWait is how often a full disk is tried again.
const spaceWait = 30 * time.Second

// again tells whether the same once more may work, and after which pause. moved
// tells that there was progress in a session of this run, began that a byte or a
// file of it was stored.
func again(err error, started, moved, began bool, wait time.Duration) (time.Duration, bool) {
	if !started && !errors.Is(err, errBefore) {
		return 0, false // a first login that fails is told at once
	}
	var f *wire.Fail
	var s *sshboot.Error
	switch {
	case errors.Is(err, errBefore), errors.Is(err, errAgain):
		return beforeWait, true // nothing is wrong with this one
	case errors.As(err, &f) && f.Class == wire.ClassLost:
		return wait, true
	case full(err):
		// A disk that has filled up meanwhile may be emptied again. One that is
		// too small from the start is told of at once.
		return max(wait, spaceWait), began
	case errors.As(err, &f) && f.Class == wire.ClassBusy:
		// The agent of the session before has not noticed its end yet. Without
		// such a session it is another run's.
		return wait, moved
	case errors.As(err, &s) && (s.Kind == sshboot.Unreachable || s.Kind == sshboot.Lost || s.Kind == sshboot.NoName):
		return wait, true
	}
	return 0, false
}

// full tells that the destination has no room.
func full(err error) bool {
	var f *wire.Fail
	return errors.As(err, &f) && f.Class == wire.ClassSpace
}

// waiting is what the user reads until the next try.
func waiting(err error, host string, pause time.Duration) string {
	what := "lost " + host
	if full(err) {
		what = "waiting for space"
	}
	return fmt.Sprintf("%s, retry in %v", what, pause.Round(time.Second))
}
