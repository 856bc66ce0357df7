package tuner

import (
	"testing"
	"time"
)

// path feeds a policy samples 200 ms apart.
type path struct {
	p       CCPolicy
	at      time.Duration
	retrans int64
	changes []string
}

func (x *path) run(n int, rtt time.Duration, lost, rate int64) {
	for range n {
		x.at += 200 * time.Millisecond
		x.retrans += lost
		cc, _, change := x.p.Step(CCSample{At: x.at, RTT: rtt, MinRTT: 100 * time.Millisecond, Retrans: x.retrans, Rate: rate})
		if change {
			x.changes = append(x.changes, "to "+cc)
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
		{"random loss", func(x *path) { x.run(4, 101*ms, 3, 1e7); x.run(60, 103*ms, 9, 1e8) }, []string{"to bbr"}},
		{"one interval is not enough", func(x *path) { x.run(10, 101*ms, 0, 1e7); x.run(1, 101*ms, 9, 1e7); x.run(50, 101*ms, 0, 1e7) }, nil},
		{"bbr is worse", func(x *path) { x.run(10, 101*ms, 3, 1e8); x.run(60, 190*ms, 900, 5e7) }, []string{"to bbr", "to "}},
		{"worse only while it finds its rate", func(x *path) { x.run(3, 101*ms, 3, 1e8); x.run(9, 101*ms, 3, 1e7); x.run(60, 101*ms, 3, 1e8) }, []string{"to bbr"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var x path
			c.run(&x)
			if len(x.changes) != len(c.want) {
				t.Fatalf("changes %q, want %q", x.changes, c.want)
			}
			for i := range c.want {
				if x.changes[i] != c.want[i] {
					t.Errorf("changes %q, want %q", x.changes, c.want)
				}
			}
		})
	}
}

func TestCCPolicyNearPath(t *testing.T) {
	var p CCPolicy
	for i := range 50 {
		if _, _, change := p.Step(CCSample{At: time.Duration(i) * 200 * time.Millisecond, RTT: time.Millisecond, MinRTT: time.Millisecond, Retrans: int64(i) * 5, Rate: 1e8}); change {
			t.Fatal("changed on a near path")
		}
	}
}
