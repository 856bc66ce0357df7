package tcpxm

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

func TestPages(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const size = 300_000
	p := newPages(size)
	model := make([]byte, 3_000_000)
	for i := range model {
		model[i] = byte(r.Uint32())
	}
	end := int64(0)
	for end < int64(len(model)) {
		n := min(r.Int64N(70_000), p.low+size-end, int64(len(model))-end)
		p.write(end, model[end:end+n])
		end += n
		lo := p.low + r.Int64N(end-p.low+1)
		got := make([]byte, end-lo)
		if p.read(lo, got); !bytes.Equal(got, model[lo:end]) {
			t.Fatalf("reads other bytes from %d to %d", lo, end)
		}
		p.release(lo)
	}
	held := 0
	for _, g := range p.ring {
		if g != nil {
			held++
		}
	}
	if p.release(end); held > len(p.ring) || p.low != end {
		t.Errorf("%d pages held, low %d", held, p.low)
	}
}

func TestFeedback(t *testing.T) {
	for _, tt := range []struct {
		name string
		note func(f *feedbackRing)
		want int // -1: nothing
	}{
		{"too few", func(f *feedbackRing) {
			for i := range int64(15) {
				f.note(i, true, true)
			}
		}, -1},
		{"unicast", func(f *feedbackRing) {
			for i := range int64(16) {
				f.note(i, true, false)
			}
		}, 0},
		{"group", func(f *feedbackRing) {
			for i := range int64(200) {
				f.note(i, true, true)
			}
		}, 100},
		{"unicast, then copies", func(f *feedbackRing) {
			for i := range int64(300) {
				f.note(i, true, false)
				f.note(i, false, true)
			}
		}, 100},
		{"copies, then unicast", func(f *feedbackRing) {
			for i := range int64(300) {
				f.note(i, true, true)
				f.note(i, false, false)
			}
		}, 100},
		{"wraps", func(f *feedbackRing) {
			for i := range int64(128) {
				f.note(i, true, true)
			}
			for i := range int64(32) {
				f.note(1000+i, true, false)
			}
		}, 75},
		{"copies of what is long past", func(f *feedbackRing) {
			for i := range int64(300) {
				f.note(i, true, false)
			}
			f.note(3, false, true)
		}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f feedbackRing
			tt.note(&f)
			got, ok := f.percent()
			if ok != (tt.want >= 0) || ok && int(got) != tt.want {
				t.Errorf("%d, %v, want %d", got, ok, tt.want)
			}
		})
	}
}

func TestStaggeredAcknowledgements(t *testing.T) {
	const n, every = 10, 8
	for index := range n {
		a := ackState{due: never, schedule: segment.Schedule{N: n, Index: uint8(index), Every: every, Delay: 25}}
		var at []int
		for i := 1; i <= 3*every; i++ {
			a.onSegment(time.Second, int64(i), int64(i+1), true)
			if a.now {
				at, a.now = append(at, i), false
			}
		}
		want := (index * every / n) % every
		if len(at) != 3 || at[0]%every != want {
			t.Errorf("receiver %d acknowledges segments %v, want every %dth at %d", index, at, every, want)
		}
		if a.due != time.Second+25*ms {
			t.Errorf("receiver %d: due at %v", index, a.due)
		}
	}
}

func TestControlsInOrderOfAnything(t *testing.T) {
	var c controlsIn
	for _, tt := range []struct {
		n     uint32
		fresh bool
		next  uint32
	}{{0, true, 1}, {0, false, 1}, {2, true, 1}, {3, true, 1}, {2, false, 1}, {1, true, 4}, {3, false, 4}, {4 + maxControlsAhead + 1, false, 4}} {
		if got := c.note(tt.n); got != tt.fresh || c.next != tt.next {
			t.Errorf("%d: new %v, next %d; want %v, %d", tt.n, got, c.next, tt.fresh, tt.next)
		}
	}
	if len(c.ahead) != 0 {
		t.Errorf("%d numbers are kept", len(c.ahead))
	}
}
