package retune

import (
	"testing"
	"time"
)

// TestYielder: it takes what is free, goes back when others make the queue
// longer, and looks for the base now and then.
func TestYielder(t *testing.T) {
	const capacity = 100e6
	y := NewYielder(start(8))
	if got := y.Start(); got.Streams != 2 || got.Rate <= 0 {
		t.Fatalf("begins with %v", got)
	}
	set, queue, others := y.Start(), 0.0, 0.0
	slow, moved := 0, 0.0
	run := func(from, to time.Duration) (mean float64) {
		moved = 0
		for at := from; at < to; at += rtt {
			sent := min(float64(set.Rate), capacity)
			queue = max(0, queue+(sent+others-capacity)*rtt.Seconds())
			queue = min(queue, capacity*0.1)
			got := sent * min(1, capacity/max(1, sent+others))
			if float64(set.Rate) < 100*1448 {
				slow++
			}
			moved += got * rtt.Seconds()
			s := Sample{At: at + rtt, Span: rtt, Acked: int64(got * rtt.Seconds()), Streams: 2, Known: KnownRTT | KnownLoss, Segs: 1000,
				RTT: rtt + time.Duration(queue/capacity*1e9)}
			if d, ok := y.Step(s); ok {
				set = d.Settings
			}
		}
		return moved / (to - from).Seconds()
	}
	if got := run(0, 30*time.Second); got < 0.85*capacity {
		t.Errorf("alone it moves %.0f of %.0f bytes per second", got, capacity)
	}
	others = 0.98 * capacity
	run(30*time.Second, 40*time.Second)
	if got := run(40*time.Second, 60*time.Second); got > 0.06*capacity {
		t.Errorf("beside others who take 98%%, it moves %.0f of %.0f bytes per second", got, capacity)
	}
	if slow == 0 || slow > 150 {
		t.Errorf("%d round trips in which it all but stopped", slow)
	}
	others = 0
	run(60*time.Second, 70*time.Second)
	if got := run(70*time.Second, 100*time.Second); got < 0.85*capacity {
		t.Errorf("when the others have gone it moves %.0f of %.0f bytes per second", got, capacity)
	}
}
