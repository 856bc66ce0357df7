package udt

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomover/gomover/internal/rangeset"
)

// extents gives the list as a set would, after looking at its order.
func (g *gapList) extents(t *testing.T) (l []rangeset.Extent) {
	t.Helper()
	var total int64
	for _, e := range g.l {
		if k := len(l) - 1; e.first > e.last || k >= 0 && e.first < l[k].Hi {
			t.Fatalf("gap %+v after %v", e, l)
		} else if k >= 0 && e.first == l[k].Hi {
			l[k].Hi = e.last + 1 // found apart
		} else {
			l = append(l, rangeset.Extent{Lo: e.first, Hi: e.last + 1})
		}
		total += e.last - e.first + 1
	}
	if total != g.packets {
		t.Fatalf("%d packets are counted, there are %d", g.packets, total)
	}
	return l
}

// TestGapList compares the list with a set over random operations.
func TestGapList(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		var g gapList
		var s rangeset.Set
		end := int64(0) // behind the last gap
		for range 6000 {
			at := max(0, end-200+r.Int64N(210))
			switch r.IntN(5) {
			case 0, 1:
				first := end + 1 + r.Int64N(3)
				end = first + r.Int64N(20)
				g.push(gap{first: first, last: end})
				s.Add(first, end+1)
			case 2, 3:
				was, ok := g.remove(at)
				if got := s.Remove(at, at+1); ok != (got == 1) || ok && (at < was.first || at > was.last) {
					t.Fatalf("seed %d: removing %d: %+v, %v", seed, at, was, ok)
				}
			case 4:
				last := at + r.Int64N(40)
				g.removeRange(at, last)
				s.Remove(at, last+1)
				end = max(end, last)
			}
			if len(g.l) > 60 { // as what is oldest comes, or is given up
				g.removeRange(0, end-400)
				s.Remove(0, end-399)
			}
			if got, want := g.extents(t), slices.Collect(s.All()); !slices.Equal(got, want) {
				t.Fatalf("seed %d: %v, want %v", seed, got, want)
			}
		}
	}
}
