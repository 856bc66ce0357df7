package netsim

import (
	"fmt"
	"math"
	"testing"
	"time"
)

func mustFluid(tb testing.TB, x *Fluid, from, to *Host, c FlowConfig) *FluidFlow {
	tb.Helper()
	f, err := x.AddFlow(from, to, c)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// TestFluidAsSegments: over the same path, fluids go about as fast as flows of
// single segments.
func TestFluidAsSegments(t *testing.T) {
	const seed = 3
	paths := []Params{
		{Rate: mbit(10), Loss: 1e-2},
		{Rate: mbit(10)},
		{Rate: mbit(10), Queue: Limit{Time: 10 * time.Millisecond}},
		{Rate: mbit(10), Cross: mbit(2.5)},
		{Rate: mbit(20), Loss: 1e-3},
	}
	if raceFactor > 1 {
		paths = paths[:2]
	}
	for _, p := range paths {
		for _, c := range []Control{Reno, CUBIC, BBR} {
			t.Run(fmt.Sprintf("%v %v loss %g", c, p.Queue.Time, p.Loss), func(t *testing.T) {
				const from, to = 20 * time.Second, 120 * time.Second
				w, a, b := pair(t, seed, 50*time.Millisecond, p)
				want := goodput(w, mustFlow(t, a, b, FlowConfig{Name: "f", Control: c}), from, to)
				x := NewFluid(w)
				f := mustFluid(t, x, a, b, FlowConfig{Name: "f", Control: c, Sample: time.Second})
				x.Run(from)
				before := f.Stats().Delivered
				x.Run(to)
				got := float64(f.Stats().Delivered-before) / (to - from).Seconds()
				t.Logf("%.3g B/s, %.2f of that of segments; %+v", got, got/want, f.Stats())
				near(t, "goodput", got, want, 0.2)
				if len(f.Samples()) != 120 {
					t.Errorf("%d samples, want 120", len(f.Samples()))
				}
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			})
		}
	}
}

func TestFluidMathis(t *testing.T) {
	for _, rtt := range []time.Duration{10, 50, 100, 200} {
		for _, p := range []float64{1e-4, 1e-3, 1e-2} {
			rtt := rtt * time.Millisecond
			const seed = 1
			want := defaultMSS / rtt.Seconds() * math.Sqrt(1.5/p)
			warm := time.Duration(30 / p * defaultMSS / want * 1e9)
			w, a, b := pair(t, seed, rtt, Params{Loss: p})
			x := NewFluid(w)
			f := mustFluid(t, x, a, b, FlowConfig{Name: "f", Control: Reno})
			x.Run(warm)
			before := f.Stats().Delivered
			x.Run(8 * warm)
			near(t, fmt.Sprintf("seed %d, RTT %v, loss %g: goodput", seed, rtt, p), float64(f.Stats().Delivered-before)/(7*warm).Seconds(), want, 0.25)
		}
	}
}

func TestFluidLimits(t *testing.T) {
	w, a, b := pair(t, 1, 100*time.Millisecond, Params{Rate: mbit(100)})
	x := NewFluid(w)
	f := mustFluid(t, x, a, b, FlowConfig{Name: "f", Control: CUBIC, Window: 100 * defaultMSS})
	speed := func(until time.Duration) float64 {
		x.Run(until - 10*time.Second)
		before := f.Stats().Delivered
		x.Run(until)
		return float64(f.Stats().Delivered-before) / 10
	}
	near(t, "goodput with a window", speed(15*time.Second), 100*defaultMSS/0.1, 0.02)
	f.SetWindow(0)
	f.SetRate(1e6)
	near(t, "goodput at a rate", speed(30*time.Second), 1e6, 0.02)
	f.SetRate(0)
	near(t, "goodput without limit", speed(60*time.Second), 100e6/8*defaultMSS/1500, 0.03)
	set := func(cut bool) {
		p := a.Up().Link().Params()
		p.Cut = cut
		if err := a.Up().Link().Set(p); err != nil {
			t.Fatal(err)
		}
	}
	set(true)
	if got := speed(80 * time.Second); got != 0 {
		t.Errorf("%g B/s through a cut link", got)
	}
	set(false)
	near(t, "goodput after a cut", speed(130*time.Second), 100e6/8*defaultMSS/1500, 0.03)
	if f.Stats().Timeouts < 3 {
		t.Errorf("%d timeouts while the link was cut", f.Stats().Timeouts)
	}
	f.Stop()
	done := false
	f = mustFluid(t, x, a, b, FlowConfig{Name: "bytes", Bytes: 1e6 + 1, Done: func() { done = true }})
	x.Run(x.Now() + 10*time.Second)
	if got := f.Stats().Delivered; got != 1e6+1 || !done || !f.Done() {
		t.Errorf("delivered %d, want 1000001", got)
	}
}

// TestFluidShares: flows share a link, and a link that is tight for one of them
// leaves the rest to the others.
func TestFluidShares(t *testing.T) {
	w := NewWorld(1)
	wan := Params{Delay: 10 * time.Millisecond}
	shared, err := w.AddLink("shared", Params{Rate: mbit(90)})
	if err != nil {
		t.Fatal(err)
	}
	x := NewFluid(w)
	var flows []*FluidFlow
	for i, rate := range []float64{1000, 1000, 10} {
		up := wan
		up.Rate = mbit(rate)
		a, b := mustHost(t, w, fmt.Sprintf("a%d", i), up, wan), mustHost(t, w, fmt.Sprintf("b%d", i), wan, wan)
		w.Route(a, b, shared)
		flows = append(flows, mustFluid(t, x, a, b, FlowConfig{Name: fmt.Sprint(i), Control: Reno}))
	}
	x.Run(300 * time.Second)
	unit := 300 * 1e6 / 8 * defaultMSS / 1500
	for i, want := range []float64{40, 40, 10} {
		near(t, "bytes of flow "+flows[i].Name(), float64(flows[i].Stats().Delivered), want*unit, 0.12)
	}
}

// BenchmarkFluid prints simulated seconds per second at a gigabit with four
// flows; an hour in a minute is 60.
func BenchmarkFluid(b *testing.B) {
	for _, c := range []Control{Reno, CUBIC, BBR} {
		b.Run(c.String(), func(b *testing.B) {
			w, from, to := pair(b, 1, 50*time.Millisecond, Params{Rate: mbit(1000), Loss: 1e-5})
			x := NewFluid(w)
			for i := range 4 {
				mustFluid(b, x, from, to, FlowConfig{Name: fmt.Sprint(i), Control: c})
			}
			b.ReportAllocs()
			for b.Loop() {
				x.Run(x.Now() + time.Second)
			}
			b.ReportMetric(x.Now().Seconds()/b.Elapsed().Seconds(), "simulated-s/s")
		})
	}
}
