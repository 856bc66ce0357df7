package pace

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/units"
)

const ms = time.Millisecond

var start = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func TestClock(t *testing.T) {
	var c Clock
	now := start
	if turn := c.Take(now, 100); c.Wait(now, turn) != 0 {
		t.Error("the first turn does not come at once")
	}
	if turn := c.Take(now, 100); c.Wait(now, turn) != Forever {
		t.Error("a turn comes without a rate")
	}
	if !c.Set(now, 1000) || c.Set(now, 1000) {
		t.Error("whether a rate is another one is told wrongly")
	}
	turn := c.Take(now, 500) // after 200 bytes
	if got := c.Wait(now, turn); got != 200*ms {
		t.Errorf("it waits %v, want 200ms", got)
	}
	// Half of the wait at half the rate is twice as long.
	c.Set(now.Add(100*ms), 500)
	if got := c.Wait(now.Add(100*ms), turn); got != 200*ms {
		t.Errorf("at half the rate it waits %v, want 200ms", got)
	}
	c.Set(now.Add(200*ms), 0)
	if got := c.Wait(now.Add(time.Hour), turn); got != Forever {
		t.Errorf("in a pause it waits %v", got)
	}
	c.Open(now.Add(time.Hour))
	if got := c.Wait(now.Add(time.Hour), turn); got != 0 {
		t.Errorf("opened, it waits %v", got)
	}
	// What has gone without a turn is counted, what was not used is not, but for Catch.
	c.Set(now.Add(time.Hour), 1000)
	c.Charge(300)
	if got := c.Wait(now.Add(time.Hour), c.Take(now.Add(time.Hour), 1)); got != 300*ms {
		t.Errorf("after 300 bytes it waits %v, want 300ms", got)
	}
	now = now.Add(2 * time.Hour)
	n := 0
	for c.Wait(now, c.Take(now, 1)) == 0 {
		n++
	}
	if n != 1+int(Catch/ms) {
		t.Errorf("after an hour %d bytes go at once", n)
	}
	// A clock that is put back changes nothing.
	if got := c.Wait(now.Add(-3*time.Hour), c.Take(now.Add(-3*time.Hour), 1)); got < time.Hour {
		t.Errorf("three hours earlier it waits %v", got)
	}
}

// TestClockMean: many senders that come late at random still come to the rate, to the
// byte, in each second.
func TestClockMean(t *testing.T) {
	for _, rate := range []units.Rate{MinRate, 1250e3, 625e6, 125e9} {
		var c Clock
		c.Set(start, rate)
		const frame = 262144
		now, sent := start, 0.0
		for i := range 20000 {
			now = now.Add(c.Wait(now, c.Take(now, frame)))
			now = now.Add(time.Duration(i%7) * ms) // late, but less than Catch
			if late := time.Duration(float64(frame) / float64(rate) * 1e9); late < ms && i%7 > 0 {
				now = now.Add(-time.Duration(i%7) * ms)
			}
			if i == 19999 {
				break
			}
			sent += frame
		}
		want := float64(rate) * now.Sub(start).Seconds()
		if off := math.Abs(sent/want - 1); off > 0.001 {
			t.Errorf("%v: %.0f bytes in %v, want %.0f", rate, sent, now.Sub(start), want)
		}
	}
}

func TestRamp(t *testing.T) {
	var r Ramp
	now := start
	look := func(after time.Duration, want units.Rate) {
		t.Helper()
		if got := r.At(now.Add(after)); got != want {
			t.Errorf("after %v it is %v, want %v", after, got, want)
		}
	}
	look(0, 0)
	r.To(now, 400)
	look(0, 400)
	r.To(now, 800)
	look(0, 500)
	look(499*ms, 500)
	look(500*ms, 600)
	look(1499*ms, 700)
	look(1500*ms, 800)
	look(time.Hour, 800)
	r.To(now.Add(time.Second), 800) // again: it goes on
	look(1500*ms, 800)
	r.To(now.Add(1*time.Second), 100) // down, from the middle
	look(1*time.Second, 100)
	r.To(now.Add(2*time.Second), 0)
	look(2*time.Second, 0)
	if r.Goal() != 0 {
		t.Errorf("it goes to %v", r.Goal())
	}
}

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		name      string
		total     float64
		used, had []float64
		want      []float64
	}{
		{"none", 100, nil, nil, nil},
		{"new ones", 100, []float64{0, 0}, []float64{0, 0}, []float64{50, 50}},
		{"all use all", 100, []float64{48, 50}, []float64{50, 50}, []float64{50, 50}},
		{"one is slow", 100, []float64{10, 50}, []float64{50, 50}, []float64{12.5, 87.5}},
		{"one is idle", 100, []float64{0, 50}, []float64{50, 50}, []float64{5, 100}},
		{"all are slow", 100, []float64{10, 10}, []float64{50, 50}, []float64{50, 50}},
		{"all were idle", 100, []float64{0, 0}, []float64{50, 50}, []float64{50, 50}},
		{"the rate rises", 200, []float64{50, 50}, []float64{50, 50}, []float64{100, 100}},
		{"the rate falls", 50, []float64{50, 50}, []float64{50, 50}, []float64{25, 25}},
		{"slow ones and a new one", 90, []float64{10, 20, 0}, []float64{30, 30, 0}, []float64{12.5, 25, 52.5}},
	} {
		got := Split(tt.total, tt.used, tt.had, nil)
		for i := range got {
			got[i] = math.Round(got[i]*1e6) / 1e6
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
