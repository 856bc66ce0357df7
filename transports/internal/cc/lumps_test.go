package cc

import (
	"testing"
	"time"
)

// TestRareAcks: the peer acknowledges no sooner than 12 ms after the first packet
// of a flight, a hundred times the path's RTT. A window that holds less than what
// an acknowledgement is about would keep the rate where it is for ever.
func TestRareAcks(t *testing.T) {
	const interval, path = 12 * time.Millisecond, 100 * time.Microsecond
	var p Sampler
	b := NewBBR()
	s := &Stats{MSS: 1500, MaxWindow: 8192, RTT: path}
	b.Init(s)
	for round := range 60 {
		n := int(b.Control().Window)
		var marks []Mark
		for i := range n {
			marks = append(marks, p.Sent(s.Now, i))
		}
		s.Sent += int64(n)
		s.InFlight = n
		b.OnSent(s, Packets{First: s.Acked, Count: n, Bytes: n * s.MSS})
		rtt := interval
		if round == 0 {
			rtt = path // the acknowledgement of a short packet comes at once
		}
		s.Now += interval
		for _, m := range marks {
			p.Deliver(s.Now, m, s.MSS)
		}
		s.Acked, s.InFlight, s.Delivered = s.Sent, 0, p.Delivered()
		b.OnAck(s, &Ack{Packets: n, RTT: rtt, Delivery: p.Sample(path)})
	}
	if w := b.Control().Window; w < 128 {
		t.Errorf("a window of %v packets after 60 acknowledgements", w)
	}
}
