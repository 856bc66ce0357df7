package rangeset_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomover/gomover/internal/rangeset"
)

// space is how many numbers the model knows.
const space = 96

// model is the plain form of a set.
type model [space]bool

func (m *model) set(lo, hi int64, to bool) (changed int64) {
	for i := lo; i < hi; i++ {
		if m[i] != to {
			m[i] = to
			changed++
		}
	}
	return changed
}

// extents lists the runs of numbers of [lo, hi) whose membership is in.
func (m *model) extents(lo, hi int64, in bool) []rangeset.Extent {
	var out []rangeset.Extent
	for i := lo; i < hi; i++ {
		if m[i] != in {
			continue
		}
		if n := len(out); n > 0 && out[n-1].Hi == i {
			out[n-1].Hi++
		} else {
			out = append(out, rangeset.Extent{Lo: i, Hi: i + 1})
		}
	}
	return out
}

func (m *model) total() (n int64) {
	for _, in := range m {
		if in {
			n++
		}
	}
	return n
}

// step applies one operation to both and compares everything that can be asked.
func step(t *testing.T, s *rangeset.Set, m *model, add bool, lo, hi, qlo, qhi int64) {
	t.Helper()
	var got, want int64
	if add {
		got, want = s.Add(lo, hi), m.set(lo, hi, true)
	} else {
		got, want = s.Remove(lo, hi), m.set(lo, hi, false)
	}
	if got != want {
		t.Fatalf("add=%v [%d,%d): changed %d numbers, want %d", add, lo, hi, got, want)
	}
	if got, want := slices.Collect(s.All()), m.extents(0, space, true); !slices.Equal(got, want) {
		t.Fatalf("add=%v [%d,%d): extents %v, want %v", add, lo, hi, got, want)
	}
	all := m.extents(0, space, true)
	if last, ok := s.Last(); ok != (len(all) > 0) || ok && last != all[len(all)-1] {
		t.Fatalf("last %v, %v of %v", last, ok, all)
	}
	if first, ok := s.First(); ok != (len(all) > 0) || ok && first != all[0] {
		t.Fatalf("first %v, %v of %v", first, ok, all)
	}
	falling := slices.Collect(s.Backward())
	if slices.Reverse(falling); !slices.Equal(falling, all) {
		t.Fatalf("backward %v of %v", falling, all)
	}
	if got, want := s.Total(), m.total(); got != want {
		t.Fatalf("total %d, want %d", got, want)
	}
	if got, want := slices.Collect(s.Missing(qlo, qhi)), m.extents(qlo, qhi, false); !slices.Equal(got, want) {
		t.Fatalf("missing in [%d,%d): %v, want %v", qlo, qhi, got, want)
	}
	if got, want := s.Contains(qlo, qhi), len(m.extents(qlo, qhi, false)) == 0; got != want {
		t.Fatalf("contains [%d,%d): %v, want %v", qlo, qhi, got, want)
	}
}

func TestAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var s rangeset.Set
		var m model
		for range 200 {
			lo, qlo := r.Int64N(space+1), r.Int64N(space+1)
			hi := min(space, lo+r.Int64N(20)-2)
			step(t, &s, &m, r.IntN(5) < 3, lo, hi, qlo, min(space, qlo+r.Int64N(40)))
		}
	}
}

func FuzzSet(f *testing.F) {
	f.Add([]byte{1, 2, 9, 1, 4, 6, 0, 5, 7})
	f.Add([]byte{1, 0, 95, 0, 40, 41, 1, 40, 41})
	f.Fuzz(func(t *testing.T, ops []byte) {
		var s rangeset.Set
		var m model
		for ; len(ops) >= 3; ops = ops[3:] {
			lo, hi := int64(ops[1])%space, int64(ops[2])%space
			step(t, &s, &m, ops[0]&1 == 1, lo, hi, min(lo, hi), max(lo, hi))
		}
	})
}

func TestMissingStops(t *testing.T) {
	var s rangeset.Set
	s.Add(2, 3)
	s.Add(5, 6)
	for e := range s.Missing(0, 10) {
		if want := (rangeset.Extent{Lo: 0, Hi: 2}); e != want {
			t.Errorf("first missing extent %v, want %v", e, want)
		}
		break
	}
	s.Clear()
	if s.Total() != 0 || s.Len() != 0 {
		t.Errorf("after Clear: %d numbers in %d extents, want none", s.Total(), s.Len())
	}
}

func TestEdges(t *testing.T) {
	const top = 1<<63 - 1
	var s rangeset.Set
	if got := s.Add(5, 5); got != 0 {
		t.Errorf("adding an empty range added %d", got)
	}
	if got := s.Add(7, 3); got != 0 {
		t.Errorf("adding a reversed range added %d", got)
	}
	if got := s.Add(0, top); got != top {
		t.Errorf("adding everything added %d, want %d", got, int64(top))
	}
	if got := s.Remove(top-1, top); got != 1 {
		t.Errorf("removing the last number removed %d, want 1", got)
	}
	if !s.Contains(3, 3) || s.Contains(0, top) || !s.Contains(0, top-1) {
		t.Error("contains is wrong at the edges")
	}
	s.Remove(3, 4)
	for e := range s.Backward() {
		if e.Lo != 4 {
			t.Errorf("backward begins with %v", e)
		}
		break // may be left early
	}
}
