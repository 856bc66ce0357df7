package netsim

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// pair makes a world of two hosts, a and b. The up link of a has all settings
// but the delay, of which each direction has half a round trip.
func pair(tb testing.TB, seed uint64, rtt time.Duration, p Params) (w *World, a, b *Host) {
	tb.Helper()
	w = NewWorld(seed)
	p.Delay = rtt / 2
	return w, mustHost(tb, w, "a", p, Params{}), mustHost(tb, w, "b", Params{Delay: rtt / 2}, Params{})
}

func mustHost(tb testing.TB, w *World, name string, up, down Params) *Host {
	tb.Helper()
	h, err := w.AddHost(name, up, down)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func mustFlow(tb testing.TB, from, to *Host, c FlowConfig) *Flow {
	tb.Helper()
	f, err := from.w.AddFlow(from, to, c)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// goodput gives what arrived from one time on, in bytes per second.
func goodput(w *World, f *Flow, from, to time.Duration) float64 {
	w.Run(from)
	before := f.Stats().Delivered
	w.Run(to)
	return float64(f.Stats().Delivered-before) / (to - from).Seconds()
}

// TestMathis: M. Mathis, J. Semke, J. Mahdavi, T. Ott, The Macroscopic Behavior
// of the TCP Congestion Avoidance Algorithm, 1997, equation 3.
func TestMathis(t *testing.T) {
	losses, shares := 200.0, []float64{1e-2, 1e-3, 1e-4}
	if raceFactor > 1 {
		losses, shares = 60, shares[:2] // the last share takes nine tenths of the time
	}
	for i, rtt := range []time.Duration{10, 50, 100, 200} {
		for _, p := range shares {
			// Another seed for each time: else all are the same run, slower.
			rtt, seed := rtt*time.Millisecond, uint64(i)
			t.Run(fmt.Sprintf("%v %g", rtt, p), func(t *testing.T) {
				w, a, b := pair(t, seed, rtt, Params{Loss: p})
				f := mustFlow(t, a, b, FlowConfig{Name: "f", Control: Reno})
				want := defaultMSS / rtt.Seconds() * math.Sqrt(1.5/p)
				warm := time.Duration(30 / p * defaultMSS / want * 1e9)
				span := time.Duration(losses / p * defaultMSS / want * 1e9)
				got := goodput(w, f, warm, warm+span)
				t.Logf("%.0f B/s, formula %.0f, %.2f of it; %+v", got, want, got/want, f.Stats())
				near(t, "goodput", got, want, 0.25)
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			})
		}
	}
}

func TestControlsFillALink(t *testing.T) {
	const seed = 3
	for _, c := range []Control{Reno, CUBIC, BBR} {
		for _, loss := range []float64{0, 0.01} {
			t.Run(fmt.Sprintf("%v loss %g", c, loss), func(t *testing.T) {
				w, a, b := pair(t, seed, 50*time.Millisecond, Params{Rate: mbit(20), Loss: loss})
				f := mustFlow(t, a, b, FlowConfig{Name: "f", Control: c, Sample: time.Second})
				got := goodput(w, f, 10*time.Second, 40*time.Second) / (20e6 / 8 * defaultMSS / 1500)
				t.Logf("%.3f of the link; %+v", got, f.Stats())
				least := 0.97
				if loss > 0 {
					least = map[Control]float64{BBR: 0.8}[c]
				}
				if got < least || got > 1.001 {
					t.Errorf("%.3f of the link, want %.2f or more", got, least)
				}
				if len(f.Samples()) < 39 {
					t.Errorf("%d samples", len(f.Samples()))
				}
				if t.Failed() {
					t.Logf("seed %d", seed)
				}
			})
		}
	}
}

func TestLimits(t *testing.T) {
	w, a, b := pair(t, 1, 100*time.Millisecond, Params{Rate: mbit(100)})
	f := mustFlow(t, a, b, FlowConfig{Name: "window", Control: CUBIC, Window: 100 * defaultMSS})
	near(t, "goodput with a window", goodput(w, f, 5*time.Second, 15*time.Second), 100*defaultMSS/0.1, 0.01)
	f.SetWindow(0)
	f.SetRate(1e6)
	near(t, "goodput at a rate", goodput(w, f, 20*time.Second, 30*time.Second), 1e6, 0.01)
	f.Stop()

	done := time.Duration(0)
	f = mustFlow(t, a, b, FlowConfig{Name: "bytes", Control: Reno, Bytes: 1e6 + 1, Done: func() { done = w.Now() }, Start: 40 * time.Second})
	w.Run(60 * time.Second)
	if got := f.Stats().Delivered; got != 1e6+1 || !f.Done() || done < 40*time.Second || done > 42*time.Second {
		t.Errorf("delivered %d by %v, want 1000001", got, done)
	}
}

// TestDefaultWindow: without a rate on the way the buffers are what bounds a flow.
func TestDefaultWindow(t *testing.T) {
	const rtt = 100 * time.Millisecond
	for _, c := range []Control{Reno, CUBIC, BBR} {
		w, a, b := pair(t, 1, rtt, Params{})
		f := mustFlow(t, a, b, FlowConfig{Name: "f", Control: c})
		near(t, fmt.Sprint("goodput of ", c), goodput(w, f, 2*time.Second, 3*time.Second), DefaultWindow/rtt.Seconds(), 0.05)
		x := NewFluid(w)
		l := mustFluid(t, x, a, b, FlowConfig{Name: "f", Control: c})
		x.Run(3 * time.Second)
		if got := l.Stats().Inflight; got > DefaultWindow {
			t.Errorf("a fluid of %v has %d bytes on the way, want %d at most", c, got, DefaultWindow)
		}
	}
	w := NewWorld(1)
	a, b := mustHost(t, w, "a", Params{}, Params{}), mustHost(t, w, "b", Params{}, Params{})
	if _, err := w.AddFlow(a, b, FlowConfig{Name: "f"}); err == nil {
		t.Error("a flow without end was added to links that take no time")
	}
	f := mustFlow(t, a, b, FlowConfig{Name: "f", Bytes: 1e6})
	if w.Run(0); f.Stats().Delivered != 1e6 {
		t.Errorf("delivered %d at once, want all", f.Stats().Delivered)
	}
}

func TestFairness(t *testing.T) {
	const seed, from, to = 5, 60 * time.Second, 60*time.Second + 240*time.Second/raceFactor
	for _, c := range []Control{Reno, CUBIC, BBR} {
		w, a, b := pair(t, seed, 40*time.Millisecond, Params{Rate: mbit(20), Queue: Limit{Time: 40 * time.Millisecond}})
		first := mustFlow(t, a, b, FlowConfig{Name: "first", Control: c})
		second := mustFlow(t, a, b, FlowConfig{Name: "second", Control: c, Start: 3300 * time.Millisecond})
		w.Run(from)
		x, y := float64(first.Stats().Delivered), float64(second.Stats().Delivered)
		w.Run(to)
		x, y = float64(first.Stats().Delivered)-x, float64(second.Stats().Delivered)-y
		jain := Jain(x, y)
		t.Logf("%v: %.3g and %.3g bytes, Jain's index %.3f", c, x, y, jain)
		if jain < 0.95 {
			t.Errorf("%v: Jain's index %.3f, want 0.95; seed %d", c, jain, seed)
		}
		near(t, "sum of both", x+y, (to-from).Seconds()*20e6/8*defaultMSS/1500, 0.03)
	}
}

// TestRepair: whatever happens on the way, all bytes arrive.
func TestRepair(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		for _, c := range []Control{Reno, CUBIC, BBR} {
			p := rich
			p.Loss, p.Rate, p.Delay = 0.02, mbit(20), 0
			w, a, b := pair(t, seed, 20*time.Millisecond, p)
			if err := b.Up().Link().Set(p); err != nil {
				t.Fatal(err)
			}
			f := mustFlow(t, a, b, FlowConfig{Name: "f", Control: c, Bytes: 1e6, AckEvery: 1 + int(seed%3)})
			w.At(300*time.Millisecond, func() { w.Partition([]*Host{a}) })
			w.At(600*time.Millisecond, func() { w.Partition() })
			if !w.RunUntil(time.Minute, f.Done) || f.Stats().Delivered != 1e6 || f.Stats().Inflight != 0 {
				t.Errorf("seed %d, %v: at %v %+v", seed, c, w.Now(), f.Stats())
			}
		}
	}
}

// TestCubicAgainstReno: where the product of rate and delay is small CUBIC does
// what Reno does, where it is large it does better (RFC 9438, section 4.3 and
// figure 5 of section 5.2).
func TestCubicAgainstReno(t *testing.T) {
	const seed = 11
	rate := func(c Control, rtt time.Duration, p float64, span time.Duration) float64 {
		w, a, b := pair(t, seed, rtt, Params{Loss: p})
		return goodput(w, mustFlow(t, a, b, FlowConfig{Name: "f", Control: c}), span/10, span)
	}
	small := rate(CUBIC, 10*time.Millisecond, 1e-3, 200*time.Second/raceFactor) / rate(Reno, 10*time.Millisecond, 1e-3, 200*time.Second/raceFactor)
	large := rate(CUBIC, 200*time.Millisecond, 1e-4, 1500*time.Second/raceFactor) / rate(Reno, 200*time.Millisecond, 1e-4, 1500*time.Second/raceFactor)
	t.Logf("CUBIC has %.2f of Reno's rate at 10 ms and 1e-3, %.2f at 200 ms and 1e-4", small, large)
	if small < 0.8 || small > 1.5 {
		t.Errorf("CUBIC has %.2f of Reno's rate where it should be like Reno; seed %d", small, seed)
	}
	if large < 1.5 {
		t.Errorf("CUBIC has %.2f of Reno's rate where it should have much more; seed %d", large, seed)
	}
}

// BenchmarkFlow prints packets, of data and acknowledgements, and simulated
// seconds per second.
func BenchmarkFlow(b *testing.B) {
	for _, c := range []Control{Reno, CUBIC, BBR} {
		b.Run(c.String(), func(b *testing.B) {
			w, x, y := pair(b, 1, 50*time.Millisecond, Params{Rate: mbit(100)})
			mustFlow(b, x, y, FlowConfig{Name: "f", Control: c})
			b.ReportAllocs()
			for b.Loop() {
				w.Run(w.Now() + time.Second)
			}
			s := b.Elapsed().Seconds()
			n := x.Up().Link().Counters().Offered.Packets + y.Up().Link().Counters().Offered.Packets
			b.ReportMetric(float64(n)/s, "packets/s")
			b.ReportMetric(w.Now().Seconds()/s, "simulated-s/s")
			b.ReportMetric(float64(w.Events())/s, "events/s")
		})
	}
}
