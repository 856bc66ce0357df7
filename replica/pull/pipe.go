package pull

import (
	"context"
	"errors"
	"io"
	"math"
	"time"
)

// ranges is a pipe of a source that has none: a range after the other.
type ranges struct {
	ctx   context.Context
	src   Source
	asked []struct{ offset, n int64 }
	body  io.ReadCloser // that Next gave last; nil before
}

var _ Pipe = (*ranges)(nil)

// Ask notes what is to be asked for.
func (r *ranges) Ask(offset, n int64) error {
	r.asked = append(r.asked, struct{ offset, n int64 }{offset, n})
	return nil
}

// Next asks for the next range.
func (r *ranges) Next() (io.Reader, error) {
	_ = r.Close() // it was read to its end
	if len(r.asked) == 0 {
		return nil, errors.New("nothing was asked for")
	}
	body, err := r.src.Range(r.ctx, r.asked[0].offset, r.asked[0].n)
	if err != nil {
		return nil, err
	}
	r.body, r.asked = body, r.asked[1:]
	return body, nil
}

// Close ends what is read.
func (r *ranges) Close() error {
	if r.body == nil {
		return nil
	}
	body := r.body
	r.body = nil
	return body.Close()
}

// meter measures the rate of one connection while it has something to do.
type meter struct {
	rate  float64 // bytes per second; 0 before one is known
	since time.Time
	bytes int64 // since then
}

// meterSpan is the time over which a rate is measured. Ours; the mean of the last
// and all before counts.
const meterSpan = 200 * time.Millisecond

// start begins to measure, at a time when the first answer is expected.
func (m *meter) start(at time.Time) { m.since, m.bytes = at, 0 }

// stop says that there is nothing to be measured for now.
func (m *meter) stop() { m.since = time.Time{} }

// add counts n bytes that came.
func (m *meter) add(n int, now time.Time) {
	if m.since.IsZero() || n == 0 {
		return
	}
	if now.Before(m.since) {
		m.since = now
	}
	m.bytes += int64(n)
	d := now.Sub(m.since)
	if d < meterSpan {
		return
	}
	rate := float64(m.bytes) / d.Seconds()
	if m.rate > 0 {
		rate = (rate + m.rate) / 2
	}
	m.rate, m.since, m.bytes = rate, now, 0
}

// quiet is for how long nothing has come, or nearly: the measure begins anew with what
// comes after meterSpan.
func (m *meter) quiet(now time.Time) time.Duration {
	if m.since.IsZero() {
		return 0
	}
	return max(0, now.Sub(m.since)-meterSpan)
}

// now is the rate as it seems to be: less than what was measured when little has
// come since, and that of the first bytes when nothing was. It is not 0.
func (m *meter) now(now time.Time) float64 {
	d := now.Sub(m.since)
	if m.since.IsZero() || d < 2*meterSpan {
		if m.rate == 0 {
			return math.Inf(1) // it has just begun
		}
		return m.rate
	}
	seen := max(1, float64(m.bytes)/d.Seconds())
	if m.rate == 0 {
		return seen
	}
	return min(m.rate, seen)
}
