package engine

import (
	"math/bits"
	"slices"
	"sort"
)

// blockList is the blocks of one file that are still to be handed out. It takes
// at most a bit for each block of the file, into however many pieces the sink
// has cut what it wants: a piece takes two bytes in its message, and would take
// eight times that as numbers.
type blockList struct {
	extents [][2]int64 // half-open, ascending, none empty
	set     []uint64   // instead of extents: a bit for each block
	at      int64      // no word of set before this one has a bit
	left    int64      // how many blocks
}

// newBlockList returns the blocks in extents, which are half-open, ascending,
// not empty, and of a file of n blocks. It keeps the slice while that is
// the shorter form.
func newBlockList(extents [][2]int64, n int64) (l blockList) {
	for _, e := range extents {
		l.left += e[1] - e[0]
	}
	words := (n + 63) / 64
	if len(extents) <= 1 || 2*int64(len(extents)) <= words {
		l.extents = extents
		return l
	}
	l.set = make([]uint64, words)
	for _, e := range extents {
		for b := e[0]; b < e[1]; b++ {
			l.set[b/64] |= 1 << (b % 64)
		}
	}
	return l
}

// take removes the first block of a list that has one.
func (l *blockList) take() (block int64) {
	l.left--
	if l.set == nil {
		e := &l.extents[0]
		block = e[0]
		if e[0]++; e[0] == e[1] {
			l.extents = l.extents[1:]
		}
		return block
	}
	for l.set[l.at] == 0 {
		l.at++
	}
	block = l.at*64 + int64(bits.TrailingZeros64(l.set[l.at]))
	l.set[l.at] &= l.set[l.at] - 1
	return block
}

// extent gives the place of the first extent that ends behind a block, and tells
// whether the block is in it.
func (l *blockList) extent(block int64) (i int, in bool) {
	i = sort.Search(len(l.extents), func(i int) bool { return l.extents[i][1] > block })
	return i, i < len(l.extents) && l.extents[i][0] <= block
}

// first gives the first block of a list that has one.
func (l *blockList) first() int64 {
	if l.set == nil {
		return l.extents[0][0]
	}
	for l.set[l.at] == 0 {
		l.at++
	}
	return l.at*64 + int64(bits.TrailingZeros64(l.set[l.at]))
}

// has tells whether a block is in the list.
func (l *blockList) has(block int64) bool {
	if l.left == 0 {
		return false
	}
	if l.set == nil {
		_, in := l.extent(block)
		return in
	}
	return block/64 < int64(len(l.set)) && l.set[block/64]>>(block%64)&1 == 1
}

// remove takes a block out, and tells whether it was there.
func (l *blockList) remove(block int64) bool {
	if !l.has(block) {
		return false
	}
	l.left--
	if l.set != nil {
		l.set[block/64] &^= 1 << (block % 64)
		return true
	}
	i, _ := l.extent(block)
	e := &l.extents[i]
	switch {
	case e[1] == e[0]+1:
		l.extents = slices.Delete(l.extents, i, i+1)
	case e[0] == block:
		e[0]++
	case e[1] == block+1:
		e[1]--
	default:
		rest := [2]int64{block + 1, e[1]}
		e[1] = block
		l.extents = slices.Insert(l.extents, i+1, rest)
	}
	return true
}
