package mover

import (
	"time"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/tuner/pace"
)

// timedLimit is a limit of the rate that follows the time of day, and can be taken away
// for a while. Whoever has it guards it.
type timedLimit struct {
	table  pace.Timetable
	lifted bool
}

// due is the rate at now, 0 for none, how long it holds at most, 0 for ever, and why it
// is that.
func (l *timedLimit) due(now time.Time) (rate units.Rate, holds time.Duration, why string) {
	if l.lifted {
		return 0, 0, "the limit is taken away for a while"
	}
	rate, holds = l.table.At(now)
	return rate, holds, "--bwlimit " + l.table.String()
}

// String is the limit as --bwlimit takes it.
func (l *timedLimit) String() string {
	if l.lifted {
		return "off"
	}
	return l.table.String()
}

// lookAgain is how often a timetable is asked at least: clocks may be set.
const lookAgain = 5 * time.Second

// follow calls set at once, at every wake, and when what is set may not hold any longer,
// which set returns, 0 for ever. It ends when stop is closed.
func follow(stop, wake <-chan struct{}, set func() (holds time.Duration)) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-wake:
		case <-stop:
			return
		}
		wait := lookAgain
		if holds := set(); holds > 0 {
			wait = min(wait, holds)
		}
		t.Reset(wait)
	}
}

// poke wakes who follows, now or when it looks next. The channel holds one.
func poke(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
