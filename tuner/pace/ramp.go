package pace

import (
	"time"

	"github.com/gomover/gomover/internal/units"
)

// A limit that is raised goes up in steps, so that streams that had to wait do not all
// burst at once.
const (
	rampSteps = 4
	rampEvery = 500 * time.Millisecond
)

// Ramp goes from one limit to the next: down at once, up in four steps within 1.5 s.
// To no limit and from none it goes at once, too. The zero Ramp has no limit. It
// belongs to one goroutine.
type Ramp struct {
	from, to units.Rate
	began    time.Time
}

// To sets where it goes from now on.
func (r *Ramp) To(now time.Time, rate units.Rate) {
	from := r.At(now)
	if rate == r.to {
		return
	}
	r.from, r.to, r.began = from, rate, now
}

// Goal is where it goes.
func (r *Ramp) Goal() units.Rate { return r.to }

// At gives the limit at now, in bytes per second; 0 is none.
func (r *Ramp) At(now time.Time) units.Rate {
	if r.from == 0 || r.to <= r.from { // to none as well
		return r.to
	}
	step := 1 + int64(now.Sub(r.began)/rampEvery)
	if step >= rampSteps {
		return r.to
	}
	return r.from + units.Rate(float64(r.to-r.from)*float64(step)/rampSteps)
}
