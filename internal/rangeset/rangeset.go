// Package rangeset keeps sets of int64 numbers as ordered half-open extents: the
// bytes of a file that are there, the blocks that are wanted. It is pure
// computation and knows nothing of what the numbers mean.
//
//	numbers   0 1 2 3 4 5 6 7 8 9
//	in set      x x x     x x
//	extents    [1,    4) [6, 8)
//
// Invariant, held by every method: extents are non-empty, in rising order, and
// do not touch each other.
package rangeset

import (
	"iter"
	"slices"
	"sort"
)

// Extent is the half-open range [Lo, Hi).
type Extent struct{ Lo, Hi int64 }

// Len is how many numbers the extent holds; 0 if it is empty or reversed.
func (e Extent) Len() int64 { return max(0, e.Hi-e.Lo) }

// Set is a set of numbers. The zero value is empty and ready for use.
//
// Shape: memory is 16 bytes per extent; Add and Remove take time logarithmic in
// the count of extents, plus moving what lies behind in memory. Concurrency: the
// caller sees to it that a change runs alone.
type Set struct {
	ext   []Extent
	total int64
}

// Add puts [lo, hi) into the set. Empty and reversed ranges add nothing.
//
// Shape: added is how many of the numbers were not in the set before.
func (s *Set) Add(lo, hi int64) (added int64) {
	if lo >= hi {
		return 0
	}
	// i: first extent that touches or follows lo; j: first that lies beyond hi.
	i := sort.Search(len(s.ext), func(k int) bool { return s.ext[k].Hi >= lo })
	j := i
	var had int64
	for j < len(s.ext) && s.ext[j].Lo <= hi {
		had += s.ext[j].Len()
		lo, hi = min(lo, s.ext[j].Lo), max(hi, s.ext[j].Hi)
		j++
	}
	s.ext = slices.Replace(s.ext, i, j, Extent{lo, hi})
	added = hi - lo - had
	s.total += added
	return added
}

// Remove takes [lo, hi) out of the set.
//
// Shape: removed is how many of the numbers were in the set.
func (s *Set) Remove(lo, hi int64) (removed int64) {
	if lo >= hi {
		return 0
	}
	i := s.after(lo)
	j := i
	var had, kept int64
	var rest [2]Extent
	left := rest[:0]
	for j < len(s.ext) && s.ext[j].Lo < hi {
		e := s.ext[j]
		had += e.Len()
		if e.Lo < lo {
			left = append(left, Extent{e.Lo, lo})
			kept += lo - e.Lo
		}
		if e.Hi > hi {
			left = append(left, Extent{hi, e.Hi})
			kept += e.Hi - hi
		}
		j++
	}
	s.ext = slices.Replace(s.ext, i, j, left...)
	s.total -= had - kept
	return had - kept
}

// after is the index of the first extent that ends behind lo.
func (s *Set) after(lo int64) int {
	return sort.Search(len(s.ext), func(k int) bool { return s.ext[k].Hi > lo })
}

// Contains tells whether all of [lo, hi) is in the set; an empty range is.
func (s *Set) Contains(lo, hi int64) bool {
	if lo >= hi {
		return true
	}
	i := s.after(lo)
	return i < len(s.ext) && s.ext[i].Lo <= lo && hi <= s.ext[i].Hi
}

// Total is how many numbers the set holds.
func (s *Set) Total() int64 { return s.total }

// First is the extent with the lowest numbers; false if the set is empty.
func (s *Set) First() (first Extent, ok bool) {
	if len(s.ext) == 0 {
		return Extent{}, false
	}
	return s.ext[0], true
}

// Last is the extent with the highest numbers; false if the set is empty.
func (s *Set) Last() (last Extent, ok bool) {
	if len(s.ext) == 0 {
		return last, false
	}
	return s.ext[len(s.ext)-1], true
}

// Len is how many extents the set has.
func (s *Set) Len() int { return len(s.ext) }

// All yields the extents in rising order. The set must not change meanwhile.
func (s *Set) All() iter.Seq[Extent] { return slices.Values(s.ext) }

// Backward yields the extents in falling order. The set must not change meanwhile.
func (s *Set) Backward() iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		for _, e := range slices.Backward(s.ext) {
			if !yield(e) {
				return
			}
		}
	}
}

// Missing yields, in rising order, the extents of [lo, hi) that are not in the
// set. The set must not change meanwhile.
func (s *Set) Missing(lo, hi int64) iter.Seq[Extent] {
	return func(yield func(Extent) bool) {
		at := lo
		for i := s.after(lo); i < len(s.ext) && s.ext[i].Lo < hi; i++ {
			if at < s.ext[i].Lo && !yield(Extent{at, s.ext[i].Lo}) {
				return
			}
			at = s.ext[i].Hi
		}
		if at < hi {
			yield(Extent{at, hi})
		}
	}
}

// Clear empties the set and keeps its memory.
func (s *Set) Clear() { s.ext, s.total = s.ext[:0], 0 }
