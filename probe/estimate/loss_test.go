package estimate

import (
	"math"
	"testing"
	"time"
)

func TestLossBounds(t *testing.T) {
	tests := []struct {
		lost, sent int
		low, high  float64
	}{
		{0, 0, 0, 1},
		{0, 20, 0, 0.15},
		{0, 3000, 0, 0.001},
		{10, 1000, 0.0054, 0.0170}, // of tables of Poisson bounds: 5.43 and 16.96
		{20, 20, 0.66, 1},
		{30, 20, 0.66, 1},
		{-1, 20, 0, 0.15},
	}
	for _, tt := range tests {
		low, high := LossBounds(tt.lost, tt.sent)
		if math.Abs(low-tt.low) > 0.01*tt.low+1e-4 || math.Abs(high-tt.high) > 0.01*tt.high+1e-4 {
			t.Errorf("%d of %d: got %.4f to %.4f, want %.4f to %.4f", tt.lost, tt.sent, low, high, tt.low, tt.high)
		}
	}
}

func TestReordering(t *testing.T) {
	tests := []struct {
		name string
		seqs []uint32
		want Order
	}{
		{"none", nil, Order{}},
		{"in order", []uint32{0, 1, 2, 3}, Order{Received: 4}},
		{"lost", []uint32{0, 3, 9}, Order{Received: 3}},
		{"repeated", []uint32{0, 1, 1, 2, 0}, Order{Received: 3, Repeated: 2}},
		{"one late by three", []uint32{0, 2, 3, 4, 1, 5}, Order{Received: 6, Reordered: 1, Extent: 3}},
		// RFC 4737, appendix, the way of counting: 7 and 8 came behind 9 and 10.
		{"two late", []uint32{6, 9, 7, 10, 8}, Order{Received: 5, Reordered: 2, Extent: 3}},
		{"backwards", []uint32{3, 2, 1, 0}, Order{Received: 4, Reordered: 3, Extent: 3}},
	}
	for _, tt := range tests {
		if got := Reordering(tt.seqs); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
	if got := (Order{Received: 4, Reordered: 1}).Share(); got != 0.25 {
		t.Errorf("share: got %v, want 0.25", got)
	}
}

func TestSpread(t *testing.T) {
	ms := time.Millisecond
	var s []time.Duration
	for i := range 20 {
		s = append(s, 100*ms+time.Duration(i)*ms)
	}
	got := Spread(append(s, 0, -ms))
	want := Delays{N: 20, Min: 100 * ms, P50: 110 * ms, P95: 118 * ms, Deviation: time.Duration(1.4826 * float64(5*ms))}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if s[0] != 100*ms {
		t.Error("the caller's round trips were changed")
	}
	if got := Spread(nil); got != (Delays{}) {
		t.Errorf("of nothing: got %+v", got)
	}
}

func TestBase(t *testing.T) {
	ms, sec := time.Millisecond, time.Second
	var b Base
	now := time.Duration(0)
	// feed observes one round trip each 100 ms for a while.
	feed := func(what string, long, rtt time.Duration, s State) (moved bool) {
		for end := now + long; now < end; now += 100 * ms {
			moved = b.Observe(now, rtt, s) || moved
		}
		t.Logf("# %s: base %v", what, b.At(now))
		return moved
	}
	want := func(rtt time.Duration) {
		t.Helper()
		if got := b.At(now); got != rtt {
			t.Errorf("after %v: got %v, want %v", now, got, rtt)
		}
	}
	want(0)
	feed("an empty path", 5*sec, 50*ms, State{})
	want(50 * ms)
	feed("a queue", 30*sec, 80*ms, State{Saturated: true})
	want(50 * ms)
	feed("a standing queue, for longer than the window", 90*sec, 80*ms, State{Saturated: true})
	want(50 * ms)
	feed("the queue is gone", 5*sec, 50*ms, State{})
	want(50 * ms)
	if feed("another path, as long as that can be a queue", 5*sec, 120*ms, State{Saturated: true}) {
		t.Error("a queue was taken for another path")
	}
	want(50 * ms)
	if !feed("another path, and a window limits", 5*sec, 120*ms, State{Windowed: true}) {
		t.Error("another path was not noticed")
	}
	want(120 * ms)
	feed("a shorter path", sec, 20*ms, State{})
	want(20 * ms)
	b.Observe(now, -1, State{})
	b.Observe(now-30*sec, ms, State{})
	want(20 * ms)
}
