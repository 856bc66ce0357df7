package pace

import (
	"math"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Catch is what may be made good of time in which nothing was sent. A sender that came
// late by less loses nothing, and none sends more than this at once.
const Catch = 20 * time.Millisecond

// come is when a turn has come: less than half a byte is missing.
const come = 0.5

// Forever is what a turn waits that never comes while the rate is 0.
const Forever = time.Duration(math.MaxInt64)

// Clock hands out turns at a rate which may change. It counts the bytes that might
// have been sent so far; a turn is the count at which it comes. So a change of the
// rate reaches those who wait already, and no rounding adds up.
//
// The zero Clock has the rate 0, at which no turn ever comes. A Clock belongs to one
// goroutine.
type Clock struct {
	rate float64   // bytes per second, since
	at   time.Time // this instant
	sent float64   // bytes that might have been sent until then
	next float64   // the next turn
}

// Set changes the rate from now on, and tells whether it is another one.
func (c *Clock) Set(now time.Time, rate units.Rate) (changed bool) {
	r := max(0, float64(rate))
	if r == c.rate {
		return false
	}
	c.sent = c.upTo(now)
	c.rate, c.at = r, now
	return true
}

// upTo is how many bytes might have been sent until now. It is counted from the last
// change of the rate, so that looking often adds no errors up.
func (c *Clock) upTo(now time.Time) float64 {
	if d := now.Sub(c.at); c.rate > 0 && d > 0 {
		return c.sent + c.rate*d.Seconds()
	}
	return c.sent
}

// Take gives the next turn, for n bytes.
func (c *Clock) Take(now time.Time, n int64) (turn float64) {
	c.next = max(c.next, c.upTo(now)-c.rate*Catch.Seconds())
	turn = c.next
	c.next += float64(n)
	return turn
}

// Charge counts n bytes that have gone without a turn: the turns to come are later.
func (c *Clock) Charge(n int64) { c.next += float64(n) }

// Wait tells how long it is until a turn; 0 or less: it has come.
func (c *Clock) Wait(now time.Time, turn float64) time.Duration {
	left := turn - c.upTo(now)
	switch {
	case left < come:
		return 0
	case c.rate == 0:
		return Forever
	}
	s := left / c.rate * float64(time.Second)
	if s >= float64(Forever) {
		return Forever
	}
	return time.Duration(math.Ceil(s))
}

// Open lets all turns come that were given so far.
func (c *Clock) Open(now time.Time) {
	if c.next > c.upTo(now) {
		c.sent, c.at = c.next, now
	}
}
