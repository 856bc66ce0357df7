package udt

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestSeq(t *testing.T) {
	for _, tt := range []struct {
		a, b seq
		to   int64
	}{
		{5, 5, 0}, {6, 5, -1}, {5, 6, 1}, {0, seqMask, -1}, {seqMask, 0, 1},
		{0x7ffffffe, 1, 3}, {1, 0x7ffffffe, -3}, {0, 0x3ffffffe, 0x3ffffffe},
	} {
		if got := tt.a.to(tt.b); got != tt.to {
			t.Errorf("from %d to %d: %d, want %d", tt.a, tt.b, got, tt.to)
		}
		if got := tt.a.less(tt.b); got != (tt.to > 0) {
			t.Errorf("%d before %d: %v", tt.a, tt.b, got)
		}
		if got := tt.a.add(tt.to); got != tt.b {
			t.Errorf("%d and %d is %d, want %d", tt.a, tt.to, got, tt.b)
		}
	}
	if got := seq(0x7ffffffe).count(1); got != 4 {
		t.Errorf("%d numbers, want 4", got)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		a, d := seq(r.Uint32())&seqMask, r.Int64N(1<<30-1)-r.Int64N(1<<30-1)
		b := a.add(d)
		if a.to(b) != d || b.to(a) != -d || a.near(7, b) != 7+d || b > seqMask {
			t.Fatalf("%d and %d is %d, %d away", a, d, b, a.to(b))
		}
	}
}

func TestMsgNo(t *testing.T) {
	if n := maxMsgNo.next(); n != 1 {
		t.Errorf("after the last message comes %d", n)
	}
	if n := msgNo(1).next(); n != 2 {
		t.Errorf("after the first message comes %d", n)
	}
	if d := maxMsgNo.to(1); d != 1 {
		t.Errorf("over the end: %d", d)
	}
	if d := msgNo(2).to(maxMsgNo); d != -2 {
		t.Errorf("back over the end: %d", d)
	}
}

// TestGaps compares the receiver's list with a plain set.
func TestGaps(t *testing.T) {
	const span = 400
	r := rand.New(rand.NewPCG(3, 4))
	var g gapList
	missing := make(map[int64]bool)
	base, high := int64(0), int64(-1)
	for op := range 100000 {
		switch p := base + r.Int64N(span); {
		case r.IntN(4) == 0 && high < base+span: // a packet behind a gap
			first := high + 1
			last := first + r.Int64N(9)
			g.push(gap{first: first, last: last, due: time.Duration(op)})
			for i := first; i <= last; i++ {
				missing[i] = true
			}
			high = last + 1
		case r.IntN(10) == 0:
			last := p + r.Int64N(20)
			g.removeRange(p, last)
			for i := p; i <= last; i++ {
				delete(missing, i)
			}
		default:
			was, ok := g.remove(p)
			if ok != missing[p] || ok && (p < was.first || p > was.last) {
				t.Fatalf("operation %d: removing %d: %v of %+v", op, p, ok, was)
			}
			delete(missing, p)
		}
		if len(g.l) == 0 {
			base = high + 1
		} else {
			base = g.l[0].first
		}
		if g.packets != int64(len(missing)) {
			t.Fatalf("operation %d: %d packets, want %d", op, g.packets, len(missing))
		}
		if op%100 == 0 {
			checkGaps(t, &g, missing)
		}
	}
}

func checkGaps(t *testing.T, g *gapList, missing map[int64]bool) {
	t.Helper()
	n, last := int64(0), int64(-1)
	for _, x := range g.l {
		if x.first <= last || x.last < x.first {
			t.Fatalf("out of order: %v", g.l)
		}
		for p := x.first; p <= x.last; p++ {
			if !missing[p] {
				t.Fatalf("%d is not missing: %v", p, g.l)
			}
		}
		n, last = n+x.last-x.first+1, x.last
	}
	if n != int64(len(missing)) {
		t.Fatalf("%d missing, want %d", n, len(missing))
	}
}
