package engine

import (
	"testing"
	"time"
)

// TestLineStreams: in a chain one stream does under a limit, on a short path.
func TestLineStreams(t *testing.T) {
	for _, tt := range []struct {
		chain bool
		rate  int64
		rtt   time.Duration
		want  int
	}{{true, 8e6, time.Millisecond, 1}, {false, 8e6, time.Millisecond, 15}, {true, 8e6, 20 * time.Millisecond, 15}, {true, 100e6, time.Millisecond, 190}} {
		s, l, _ := gauges(t, Options{Rehash: tt.chain, Rate: tt.rate}, 2)
		for _, g := range l {
			g.st.RTT, g.st.MinRTT = tt.rtt, tt.rtt
		}
		s.pace(time.Now())
		if got := s.streams.most; got != tt.want {
			t.Errorf("%+v: at most %d streams", tt, got)
		}
	}
}

// TestPaceReturns: a stream that had nothing to send for a moment has its part again
// when there is something, however long its segments are.
func TestPaceReturns(t *testing.T) {
	const total, span = 2e6, 250 * time.Millisecond
	for _, tt := range []struct {
		name   string
		mss    int
		queued int64 // that the stream's socket has not sent
		sent   int64 // by the stream in a span, of a tenth of its part
		want   int64 // bytes per second after that
	}{
		{"idle", 65483, 0, 0, total / 20},
		{"its segment is not due yet", 65483, 1 << 20, 0, total / 2},
		{"it sends what it may", 1448, 1 << 20, total / 20 / 4, total / 2},
		{"the network holds it", 1448, 1 << 20, 2000, total / 20},
	} {
		s, l, _ := gauges(t, Options{}, 2)
		list := s.streams.list()
		now := time.Now()
		s.dividePace(now, total, list)
		turn := func(first, second int64) {
			l[0].st.SentBytes += first
			l[1].st.SentBytes += second
			now = now.Add(span)
			s.dividePace(now, total, list)
		}
		turn(total/8, total/8)
		turn(0, total/8)
		if got := s.pacer.seen[0].rate; got != total/20 {
			t.Fatalf("%s: idle it has %d bytes per second", tt.name, got)
		}
		l[0].st.MSS, l[0].st.NotSent = tt.mss, tt.queued
		turn(tt.queued+tt.sent, total/4)
		if got := s.pacer.seen[0].rate; got != tt.want {
			t.Errorf("%s: it has %d bytes per second, want %d", tt.name, got, tt.want)
		}
	}
}
