package tuner

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"
)

// path feeds a policy samples 200 ms apart, and does what it wants.
type path struct {
	p       CCPolicy
	at      time.Duration
	retrans int64
	cc      string
	streams int
	changes []string
}

func (x *path) run(n int, rtt time.Duration, lost, rate int64) { x.full(n, rtt, lost, rate, 0) }

func (x *path) full(n int, rtt time.Duration, lost, rate int64, full float64) {
	for range n {
		x.at += 200 * time.Millisecond
		x.retrans += lost
		c, change := x.p.Step(CCSample{At: x.at, RTT: rtt, MinRTT: 100 * time.Millisecond, Retrans: x.retrans, Rate: rate, CC: x.cc, Streams: x.streams, Full: full})
		if change {
			x.changes = append(x.changes, fmt.Sprintf("%d %s", c.Streams, c.CC))
			x.cc, x.streams = cmp.Or(c.CC, "cubic"), cmp.Or(c.Streams, x.streams)
			if c.Reason == "" {
				x.changes = append(x.changes, "without a reason")
			}
		}
	}
}

func TestCCPolicy(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name string
		run  func(x *path)
		want []string
	}{
		{"no loss", func(x *path) { x.run(100, 100*ms, 0, 1e8) }, nil},
		{"a full queue loses", func(x *path) { x.run(100, 160*ms, 50, 1e8) }, nil},
		{"random loss", func(x *path) { x.run(4, 101*ms, 3, 1e7); x.run(60, 103*ms, 9, 1e8) }, []string{"0 bbr"}},
		{"one interval is not enough", func(x *path) { x.run(10, 101*ms, 0, 1e7); x.run(1, 101*ms, 9, 1e7); x.run(50, 101*ms, 0, 1e7) }, nil},
		{"bbr is worse", func(x *path) { x.run(10, 101*ms, 3, 1e8); x.run(60, 190*ms, 9, 5e7) }, []string{"0 bbr", "0 "}},
		{"worse only while it finds its rate", func(x *path) { x.run(3, 101*ms, 3, 1e8); x.run(9, 101*ms, 3, 1e7); x.run(60, 101*ms, 3, 1e8) }, []string{"0 bbr"}},
		{"many are lost", func(x *path) { x.run(4, 101*ms, 3, 1e7); x.run(100, 180*ms, 300, 2e7) }, []string{"0 bbr", "9 bbr", "7 bbr", "6 bbr", "5 bbr", "4 bbr"}},
		{"many are lost of much", func(x *path) { x.run(4, 101*ms, 3, 1e7); x.run(100, 180*ms, 900, 7e7) }, []string{"0 bbr", "9 bbr"}},
		{"many are lost of very much", func(x *path) { x.run(4, 101*ms, 3, 1e7); x.run(100, 180*ms, 2000, 12e7) }, []string{"0 bbr"}},
		{"some are lost", func(x *path) { x.run(4, 101*ms, 3, 1e7); x.run(100, 180*ms, 40, 2e7) }, []string{"0 bbr"}},
		{"few streams", func(x *path) { x.streams = 4; x.run(4, 101*ms, 3, 1e7); x.run(100, 180*ms, 300, 2e7) }, []string{"0 bbr"}},
		{"small buffers", func(x *path) { x.run(4, 101*ms, 3, 1e7); x.full(7, 101*ms, 3, 5e7, 1); x.run(60, 103*ms, 600, 2e7) }, []string{"0 bbr", "24 bbr"}},
		{"smaller ones", func(x *path) { x.run(4, 101*ms, 3, 1e7); x.full(20, 101*ms, 3, 5e7, 1) }, []string{"0 bbr", "24 bbr", "48 bbr", "64 bbr"}},
		{"full buffers and a full path", func(x *path) { x.run(4, 101*ms, 3, 1e7); x.full(20, 140*ms, 3, 5e7, 1) }, []string{"0 bbr"}},
		{"bbr from the start", func(x *path) { x.cc = "bbr"; x.run(60, 101*ms, 9, 1e8) }, nil},
		{"bbr from the start, many are lost", func(x *path) { x.cc = "bbr"; x.run(45, 180*ms, 300, 2e7) }, []string{"9 bbr", "7 bbr"}},
		{"bbr from the start, nothing moves", func(x *path) { x.cc = "bbr"; x.run(45, 180*ms, 0, 0) }, nil},
		{"bbr from the start, small buffers", func(x *path) { x.cc, x.streams = "bbr", 4; x.full(8, 101*ms, 9, 1e8, 0.9); x.run(60, 101*ms, 9, 1e8) }, []string{"8 bbr"}},
		{"small buffers of the system's own", func(x *path) { x.full(60, 101*ms, 0, 1e8, 1) }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := path{cc: "cubic", streams: 12}
			c.run(&x)
			if !slices.Equal(x.changes, c.want) {
				t.Errorf("changes %q, want %q", x.changes, c.want)
			}
		})
	}
}

func TestCCPolicyNearPath(t *testing.T) {
	var p CCPolicy
	for i := range 50 {
		if _, change := p.Step(CCSample{At: time.Duration(i) * 200 * time.Millisecond, RTT: time.Millisecond, MinRTT: time.Millisecond, Retrans: int64(i) * 5, Rate: 1e8}); change {
			t.Fatal("changed on a near path")
		}
	}
}
