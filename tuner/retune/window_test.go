package retune

import (
	"math"
	"testing"
	"time"
)

const (
	ms  = time.Millisecond
	rtt = 50 * ms
)

// even makes n samples of 100 ms each at a rate.
func even(n int, rate int64) []Sample {
	l := make([]Sample, n)
	for i := range l {
		l[i] = Sample{At: time.Duration(i+1) * 100 * ms, Span: 100 * ms, Acked: rate / 10, Streams: 4, Known: KnownAll, RTT: rtt, MinRTT: rtt, Cwnd: 1e6, Segs: 1000}
	}
	return l
}

func TestReduce(t *testing.T) {
	if got := Reduce(nil, Trip{Base: rtt}); got.Rate != 0 || got.SE != 1 || got.Known != 0 {
		t.Errorf("nothing makes %+v", got)
	}
	l := even(20, 10e6)
	for i := range 5 {
		l[i].RTT = rtt + 10*ms
		l[i].Wnd, l[i].Sink.Disk = 1, 0.8
	}
	l[19].Known = KnownAll &^ KnownBusy
	r := Reduce(l, Trip{Base: rtt})
	if r.Span != 2*time.Second || r.Rate != 10e6 || r.Streams != 4 || r.Segs != 20000 || r.Cwnd != 1e6 {
		t.Errorf("sums are %+v", r)
	}
	if r.Queue != 0.25 || math.Abs(r.Wnd-0.25) > 1e-9 || math.Abs(r.Sink.Disk-0.2) > 1e-9 {
		t.Errorf("shares are %+v", r)
	}
	if r.Least != rtt || r.RTT < rtt+2*ms || r.RTT > rtt+3*ms {
		t.Errorf("round trips are %+v", r)
	}
	if r.Known != KnownAll&^KnownBusy {
		t.Errorf("known is %b although one sample lacked a group", r.Known)
	}
	if r.SE != 0.003 || r.Rising {
		t.Errorf("even rates: error %v, rising %v", r.SE, r.Rising)
	}
}

func TestReduceRising(t *testing.T) {
	l := even(20, 10e6)
	for i := range l {
		l[i].Acked += int64(i) * 1e5
	}
	if r := Reduce(l, Trip{Base: rtt}); !r.Rising {
		t.Errorf("a rate that trebles does not rise: %+v", r)
	}
	for i := range l {
		l[i].Acked = 1e6 + int64(i/2%2)*2e5
	}
	if r := Reduce(l, Trip{Base: rtt}); r.Rising || r.SE < 0.01 {
		t.Errorf("noise: error %v, rising %v", r.SE, r.Rising)
	}
}

// TestReduceStray: a loss counts as no one's queue only when none was seen
// around it.
func TestReduceStray(t *testing.T) {
	tests := []struct {
		name   string
		queues []int // samples with a queue
		events []int // samples with a loss
		stray  int64
	}{
		{"no queue", nil, []int{3, 7, 15}, 3},
		{"queue at the time", []int{7}, []int{7}, 0},
		{"queue shortly before", []int{7}, []int{9}, 0},
		{"queue long before", []int{7}, []int{11}, 1},
		{"queue afterwards", []int{12}, []int{7}, 1},
	}
	for _, tt := range tests {
		l := even(20, 10e6)
		for _, i := range tt.queues {
			l[i].RTT += 10 * ms
		}
		for _, i := range tt.events {
			l[i].Events = 1
		}
		r := Reduce(l, Trip{Base: rtt})
		if r.Stray != tt.stray || r.Events != int64(len(tt.events)) || int64(r.Bad) != tt.stray {
			t.Errorf("%s: %d of %d events are stray, in %d samples; want %d", tt.name, r.Stray, r.Events, r.Bad, tt.stray)
		}
	}
}

func TestWindowBounds(t *testing.T) {
	var w window
	if w.span() != 0 || w.last(time.Second) != nil {
		t.Errorf("an empty window spans %v", w.span())
	}
	for i := range 10000 {
		w.add(Sample{At: time.Duration(i+1) * 10 * ms, Span: 10 * ms, Acked: 1, Streams: 1})
	}
	if len(w.list) != windowLen || w.span() != windowLen*10*ms {
		t.Errorf("%d samples are kept, over %v", len(w.list), w.span())
	}
	if got := w.last(time.Second); len(got) != 100 {
		t.Errorf("the last second has %d samples", len(got))
	}
	w.clear()
	for i := range 100 {
		w.add(Sample{At: time.Duration(i+1) * time.Second, Span: time.Second, Acked: 1, Streams: 1})
	}
	if got := w.span(); got != windowSpan {
		t.Errorf("%v are kept, want %v", got, windowSpan)
	}
}

func TestMoments(t *testing.T) {
	mean, sd, corr := moments([]float64{1, 2, 3, 4})
	if mean != 2.5 || math.Abs(sd-math.Sqrt(5.0/3)) > 1e-12 || math.Abs(corr-0.25) > 1e-12 {
		t.Errorf("mean %v, deviation %v, autocorrelation %v", mean, sd, corr)
	}
	if _, sd, corr = moments([]float64{7, 7, 7}); sd != 0 || corr != 0 {
		t.Errorf("constant: deviation %v, autocorrelation %v", sd, corr)
	}
	if _, _, corr = moments([]float64{1, -1, 1, -1}); corr != 0 {
		t.Errorf("alternating: autocorrelation %v, want none below 0", corr)
	}
	if got := standardError(0.1, 0, 100); math.Abs(got-0.01) > 1e-12 {
		t.Errorf("error %v, want 0.01", got)
	}
	if got := standardError(0.1, 0.6, 100); math.Abs(got-0.02) > 1e-12 {
		t.Errorf("error with autocorrelation %v, want 0.02", got)
	}
}

func TestSampleValid(t *testing.T) {
	good := even(1, 1e6)[0]
	if !good.Valid(0) {
		t.Error("a good sample is refused")
	}
	for name, spoil := range map[string]func(*Sample){
		"no time":          func(s *Sample) { s.Span = 0 },
		"time stands":      func(s *Sample) { s.At = 0 },
		"bytes go back":    func(s *Sample) { s.Acked = -1 },
		"no streams":       func(s *Sample) { s.Streams = 0 },
		"segments go back": func(s *Sample) { s.Segs = -1 },
		"losses go back":   func(s *Sample) { s.Lost = -1 },
		"events go back":   func(s *Sample) { s.Events = -1 },
		"negative RTT":     func(s *Sample) { s.RTT = -1 },
	} {
		s := good
		spoil(&s)
		if s.Valid(0) {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestCubicRate compares with RFC 9438, table 2 (RTT 0.1 s, C = 0.4): average
// windows of segments.
func TestCubicRate(t *testing.T) {
	for p, window := range map[float64]float64{1e-2: 12, 1e-3: 38.5, 1e-4: 187, 1e-5: 1054, 1e-6: 5926, 1e-8: 187408} {
		got := cubicRate(p, 100*ms, 1000) / 1000 * 0.1
		if got < 0.95*window || got > 1.06*window {
			t.Errorf("loss %g: window %.1f, want %.1f", p, got, window)
		}
	}
	if got := cubicRate(0, 100*ms, 1000); !math.IsInf(got, 1) {
		t.Errorf("without losses: %v", got)
	}
	if got := cubicPeriod(10000*1448, 1448); got < 19*time.Second || got > 20*time.Second {
		t.Errorf("period at 10000 segments: %v, want 19.6s", got)
	}
}
