package retune

import (
	"testing"
	"time"
)

// device says what a stage does in a second with some requests at a time, and whether
// it is what holds the transfer back then.
type device func(n int, second int) (done float64, bound bool)

// latent answers each request after the same time, up to so many at once; a network
// behind it takes so much.
func latent(hands int, network float64) device {
	return func(n, _ int) (float64, bool) {
		done := 100 * float64(min(n, hands))
		return min(done, network), done < network
	}
}

// oneArm does less the more is asked of it at a time.
func oneArm(n, _ int) (float64, bool) { return 100 / (1 + 0.1*float64(n-1)), true }

// deepen lets a depth see a device for so many seconds, and gives what was done in all,
// and the depth of each second.
func deepen(d *Depth, of device, seconds int) (sum float64, depths []int) {
	for i := range seconds {
		done, bound := of(d.At(), i)
		sum += done
		depths = append(depths, d.At())
		d.Step(Work{At: time.Duration(i+1) * time.Second, Span: time.Second, Done: done, Bound: bound})
	}
	return sum, depths
}

func TestDepth(t *testing.T) {
	for _, tt := range []struct {
		name    string
		of      device
		n       int     // that it ends with
		atLeast float64 // of what is done with the best depth from the start
		within  int     // seconds
	}{
		{"a file system on a network", latent(1000, 1e9), 32, 0.85, 120},
		{"eight disks", latent(8, 1e9), 8, 0.92, 120},
		{"eight disks and a slower network", latent(8, 350), 4, 0.95, 120},
		{"a network that is the limit from the start", latent(8, 90), 1, 1, 60},
		{"a disk with one arm", oneArm, 1, 0.98, 300},
		{"a steady device that nothing helps", latent(1, 1e9), 1, 1, 300},
	} {
		d := NewDepth(32)
		sum, depths := deepen(d, tt.of, tt.within)
		best := 0.0
		for n := 1; n <= 32; n *= 2 {
			done, _ := deepen(&Depth{n: n, most: n, due: backoff{at: time.Hour}}, tt.of, tt.within)
			best = max(best, done)
		}
		if sum < tt.atLeast*best {
			t.Errorf("%s: %.0f of %.0f", tt.name, sum, best)
		}
		if got := depths[len(depths)-1]; got != tt.n {
			t.Errorf("%s: ends with %d at a time, want %d: %v", tt.name, got, tt.n, depths)
		}
	}
}

// TestDepthComesDown: what helped once is taken back when the device fares worse with
// it.
func TestDepthComesDown(t *testing.T) {
	d := NewDepth(32)
	_, depths := deepen(d, func(n, second int) (float64, bool) {
		if second < 60 {
			return latent(1000, 1e9)(n, second)
		}
		return oneArm(n, second)
	}, 600)
	if depths[59] != 32 || depths[599] > 4 {
		t.Errorf("%d at a time at first, %d in the end", depths[59], depths[599])
	}
}

// TestDepthPassesOver: looks that cannot be change nothing.
func TestDepthPassesOver(t *testing.T) {
	d := NewDepth(4)
	for _, w := range []Work{{}, {At: time.Second, Span: -1, Bound: true}, {At: 0, Span: time.Second, Bound: true}, {At: time.Second, Span: time.Second, Done: -1, Bound: true}} {
		for range 5 {
			if c, ok := d.Step(w); ok {
				t.Errorf("%+v: %+v", w, c)
			}
		}
	}
}
