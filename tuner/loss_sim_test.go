package tuner

import (
	"cmp"
	"testing"
	"time"

	"github.com/gomover/gomover/tuner/retune"
	"github.com/gomover/gomover/tuner/retune/retunetest"
)

// simulated is a job whose streams a CCPolicy looks after.
type simulated struct {
	p     CCPolicy
	start retune.Settings
	set   retune.Settings
	lost  int64
}

func (x *simulated) Start() retune.Settings { x.set = x.start; return x.set }

func (x *simulated) Step(s retune.Sample) (d retune.Decision, ok bool) {
	x.lost += s.Lost
	c, ok := x.p.Step(CCSample{At: s.At, RTT: s.RTT, MinRTT: s.MinRTT, Retrans: x.lost, Rate: int64(float64(s.Acked) / s.Span.Seconds()),
		CC: x.set.CC, Streams: s.Streams, Full: s.Wnd})
	if ok {
		x.set.CC, x.set.Streams = cmp.Or(c.CC, x.start.CC), cmp.Or(c.Streams, x.set.Streams)
		d.Settings = x.set
	}
	return d, ok
}

// TestSimulatedFewStreams: a few streams of bbr fill a path as many did, whether losses
// brought them or the system has bbr anyway, and where buffers are too small for them
// there are soon more.
func TestSimulatedFewStreams(t *testing.T) {
	const gbit, wire = 1e9 / 8, 1448.0 / 1500
	for _, tt := range []struct {
		name   string
		path   retunetest.Path
		start  retune.Settings
		length time.Duration
		share  float64 // of what the link carries, the start included
		least  int     // streams at the end
		most   int
		cc     string
	}{
		{"losses", retunetest.Path{Rate: gbit, RTT: 100 * time.Millisecond, Loss: 2e-3}, retune.Settings{Streams: 12, CC: "cubic"}, 20 * time.Second, 0.88, bbrStreams, 12, "bbr"},
		{"losses of a slower one", retunetest.Path{Rate: gbit / 5, RTT: 100 * time.Millisecond, Loss: 4e-2}, retune.Settings{Streams: 12, CC: "cubic"}, time.Minute, 0.88, bbrStreams, bbrStreams, "bbr"},
		{"losses, small buffers", retunetest.Path{Rate: gbit, RTT: 100 * time.Millisecond, Loss: 2e-3, Window: 1 << 20}, retune.Settings{Streams: 12, CC: "cubic"}, 20 * time.Second, 0.88, 24, 24, "bbr"},
		{"losses, a long way", retunetest.Path{Rate: gbit, RTT: 200 * time.Millisecond, Loss: 1e-2, Window: 4 << 20}, retune.Settings{Streams: 12, CC: "cubic"}, 30 * time.Second, 0.88, 8, 24, "bbr"},
		{"clean, bbr from the start", retunetest.Path{Rate: gbit, RTT: 100 * time.Millisecond, Window: 4 << 20}, retune.Settings{Streams: bbrStreams, CC: "bbr"}, 20 * time.Second, 0.9, bbrStreams, bbrStreams, "bbr"},
		{"clean, bbr, ten times as fast", retunetest.Path{Rate: 10 * gbit, RTT: 100 * time.Millisecond, Window: 4 << 20}, retune.Settings{Streams: bbrStreams, CC: "bbr"}, time.Minute, 0.85, 30, 64, "bbr"},
		{"clean, cubic", retunetest.Path{Rate: gbit, RTT: 100 * time.Millisecond}, retune.Settings{Streams: 12, CC: "cubic"}, 20 * time.Second, 0.9, 12, 12, "cubic"},
	} {
		x := &simulated{start: tt.start}
		s := retunetest.Scenario{ID: tt.name, Path: tt.path, Queue: 1, Noise: 0.05, BBR: true, Length: tt.length}
		r, err := retunetest.Run(s, 1, x)
		if err != nil {
			t.Fatal(err)
		}
		share := float64(r.Bytes) / (float64(tt.path.Rate) * wire * tt.length.Seconds())
		if share < tt.share || x.set.Streams < tt.least || x.set.Streams > tt.most || x.set.CC != tt.cc {
			t.Errorf("%s: %.1f%% of the link with %v at the end, want %.0f%% with %d to %d of %s; %v", tt.name, 100*share, x.set, 100*tt.share, tt.least, tt.most, tt.cc, r.Streams)
		}
	}
}
