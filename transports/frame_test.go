package transports

import "testing"

// TestFrame changes the length of a frame, which keeps its bytes and takes no more
// memory than it needs.
func TestFrame(t *testing.T) {
	const most = 3*frameStep/2 + 1
	f := NewFrame(most)
	if got := len(f.Body()); got != 0 || f.Max() != most || len(f.mem) != Headroom+Tailroom {
		t.Fatalf("a new frame has %d bytes of %d, in %d of memory", got, f.Max(), len(f.mem))
	}
	for i, tt := range []struct{ n, room int }{{1, frameStep}, {frameStep, frameStep}, {frameStep + 1, most}, {most, most}, {5, most}, {0, most}} {
		before := append([]byte(nil), f.Body()...)
		b := f.Resize(tt.n)
		if len(b) != tt.n || len(f.mem) != Headroom+tt.room+Tailroom {
			t.Errorf("step %d: %d bytes in %d of memory, want %d in %d", i, len(b), len(f.mem), tt.n, Headroom+tt.room+Tailroom)
		}
		if w := f.Wire(Headroom, Tailroom); len(w) != Headroom+tt.n+Tailroom {
			t.Errorf("step %d: %d bytes around a body of %d", i, len(w), tt.n)
		}
		for k := range min(len(before), len(b)) {
			if b[k] != before[k] {
				t.Fatalf("step %d: byte %d is %d, was %d", i, k, b[k], before[k])
			}
		}
		for k := range b {
			b[k] = byte(k + i)
		}
	}
	if n := testing.AllocsPerRun(100, func() { f.Resize(most) }); n > 0 {
		t.Errorf("%v allocations for a length that fits", n)
	}
}
