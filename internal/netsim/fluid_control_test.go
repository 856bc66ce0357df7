package netsim

import (
	"testing"
	"time"
)

// TestFluidSetControl: a flow with another control goes on from where it was, and
// then does what the new one does.
func TestFluidSetControl(t *testing.T) {
	w, a, b := pair(t, 1, 50*time.Millisecond, Params{Rate: mbit(100), Loss: 1e-3})
	x := NewFluid(w)
	f := mustFluid(t, x, a, b, FlowConfig{Name: "f", Control: CUBIC})
	speed := func(until time.Duration) float64 {
		before, from := f.Stats().Delivered, x.Now()
		x.Run(until)
		return float64(f.Stats().Delivered-before) * 8 / 1e6 / (until - from).Seconds()
	}
	x.Run(10 * time.Second)
	if got := speed(40 * time.Second); got > 25 {
		t.Fatalf("cubic goes at %.1f Mbit/s although it loses", got)
	}
	cwnd := f.Stats().Cwnd
	f.SetControl(BBR)
	if got := f.Stats().Cwnd; got != cwnd {
		t.Errorf("the window changes from %d to %d", cwnd, got)
	}
	x.Run(45 * time.Second)
	if got := speed(60 * time.Second); got < 85 {
		t.Errorf("bbr goes at %.1f Mbit/s", got)
	}
	for _, c := range []Control{CUBIC, Reno, Reno} {
		f.SetControl(c)
		x.Run(x.Now() + 15*time.Second)
		if got := speed(x.Now() + 30*time.Second); got > 25 {
			t.Errorf("%v goes at %.1f Mbit/s although it loses", c, got)
		}
	}
}
