package mover

import (
	"math"
	"testing"
	"time"

	"github.com/gomover/gomover/replica/peer"
	"github.com/gomover/gomover/wire"
)

// TestHostSample: what a host and this end know of the streams between them, and what
// it says of what holds them back.
func TestHostSample(t *testing.T) {
	const step = 250 * time.Millisecond
	type second struct{ blocked, waited, rwnd float64 } // shares of the time, of each stream
	for _, test := range []struct {
		name string
		did  second
		idle int // streams with nothing to send
		by   string
		app  float64
	}{
		{"the path", second{0.9, 0.9, 0}, 0, heldByNetwork, 0},
		{"the host reads slowly", second{0.1, 0.9, 0}, 0, heldBySource, 1},
		{"this end writes slowly", second{0.9, 0.1, 0.9}, 0, heldByTarget, 0},
		{"nothing more is asked for", second{0.1, 0.9, 0}, 2, "", 0.5},
		{"one of four has just ended its work", second{0.8, 0.9, 0}, 1, heldByNetwork, 0},
	} {
		h := &hostTuner{trying: "udt"}
		var flows []peer.Flow
		var m wire.Gauges
		for id := range uint32(4) {
			m.Streams = append(m.Streams, wire.Gauge{Stream: id, Transport: "tcp", CC: "cubic", RTT: int64(50 * time.Millisecond), MinRTT: int64(40 * time.Millisecond), Idle: int(id) < test.idle})
			flows = append(flows, peer.Flow{ID: id, Transport: "tcp"})
		}
		// One that is tried, one that is being left, and one of which this end knows nothing.
		m.Streams = append(m.Streams, wire.Gauge{Stream: 7, Transport: "udt"}, wire.Gauge{Stream: 8, Transport: "tcp"}, wire.Gauge{Stream: 9, Transport: "tcp"})
		flows = append(flows, peer.Flow{ID: 7, Transport: "udt"}, peer.Flow{ID: 8, Transport: "tcp", Leaving: true})
		for look := range 3 {
			m.At += int64(step)
			v, r, ok := h.sample(m, flows)
			if look == 0 {
				if v.Streams != 0 || v.OtherStreams != 1 {
					t.Errorf("%s: at first %+v", test.name, v)
				}
			} else if !ok || v.Streams != 4 || v.Acked != 4000 || v.Other != 500 || v.OtherStreams != 1 || v.Lost != 4 || r.Events != 2 || v.Span != step || v.CC != "cubic" || v.MinRTT != 40*time.Millisecond ||
				r.by != test.by || math.Abs(r.App-test.app) > 0.01 || r.way != "tcp" || r.retrans != int64(4*look) {
				t.Errorf("%s: %+v; %+v", test.name, v, r)
			}
			for i := range m.Streams {
				g := &m.Streams[i]
				g.Sent += 1500 * 10
				g.Blocked += int64(test.did.blocked * float64(step))
				g.Rwnd += int64(test.did.rwnd * float64(step))
				if i < 2 {
					g.Retrans += 2
				}
			}
			for i := range flows {
				flows[i].Received += 1000
				flows[i].Waited += time.Duration(test.did.waited * float64(step))
			}
			flows[4].Received -= 500
		}
	}
}
