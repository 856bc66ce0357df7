// Package integrity computes the hashes that gomover trusts: BLAKE3, cut along
// the lines of its own tree.
//
// A file is hashed block by block, in any order and on any core. A block's sum
// is the chaining value of its subtree in the BLAKE3 tree of the whole file, so
// that [Tree] can join the sums into the file's ordinary BLAKE3 hash, the one
// which b3sum prints, without reading a byte again:
//
//	            root = BLAKE3(file)
//	           /                 \
//	       parent                sum 4
//	      /      \
//	  parent    parent
//	  /    \    /    \
//	sum 0 sum 1 sum 2 sum 3     one for each block
//
// It is pure computation: no files, no goroutines.
package integrity

import (
	"encoding/binary"
	"encoding/hex"
	"math/bits"

	"lukechampine.com/blake3/guts"
)

// Name is how the hash is called in options, journals and events.
const Name = "blake3"

// MinBlock is the smallest block size in bytes. A block size is MinBlock times
// a power of two, so that every block is a whole subtree.
const MinBlock = 16 << 10

// Sum is the hash of a block, or of a whole file.
type Sum [32]byte

// String returns the sum in hexadecimal.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// ValidBlockSize tells whether n bytes can be a block size.
func ValidBlockSize(n int64) bool {
	return n >= MinBlock && n&(n-1) == 0
}

const group = guts.MaxSIMD * guts.ChunkSize // bytes hashed by one call

// subtree returns the node over data, which starts at chunk number counter of
// its file. Source: BLAKE3 paper, section 2.1: the left subtree is the largest
// power of two of chunks that leaves at least one byte for the right.
func subtree(data []byte, counter uint64) guts.Node {
	if len(data) <= group {
		if len(data) == group {
			return guts.CompressBuffer((*[group]byte)(data), group, &guts.IV, counter, 0)
		}
		// The library reads whole groups, whatever the length.
		var tail [group]byte
		copy(tail[:], data)
		return guts.CompressBuffer(&tail, len(data), &guts.IV, counter, 0)
	}
	left := 1 << (bits.Len(uint(len(data)-1)) - 1)
	l := guts.ChainingValue(subtree(data[:left], counter))
	r := guts.ChainingValue(subtree(data[left:], counter+uint64(left/guts.ChunkSize)))
	return guts.ParentNode(l, r, &guts.IV, 0)
}

func toSum(cv [8]uint32) (s Sum) {
	for i, w := range cv {
		binary.LittleEndian.PutUint32(s[4*i:], w)
	}
	return s
}

func toCV(s Sum) (cv [8]uint32) {
	for i := range cv {
		cv[i] = binary.LittleEndian.Uint32(s[4*i:])
	}
	return cv
}

func root(n guts.Node) Sum {
	n.Flags |= guts.FlagRoot
	out := guts.CompressNode(n)
	return toSum([8]uint32(out[:8]))
}

// Whole returns the BLAKE3 hash of data, which is all of a file.
func Whole(data []byte) Sum { return root(subtree(data, 0)) }

// Block returns the sum of the block that starts at byte offset of a file of
// size bytes. data is the block, short only at the file's end. If it is all of
// the file the sum is the file's hash.
func Block(data []byte, offset, size int64) Sum {
	if offset == 0 && int64(len(data)) == size {
		return Whole(data)
	}
	return toSum(guts.ChainingValue(subtree(data, uint64(offset)/guts.ChunkSize)))
}

// A Tree joins block sums, added in any order, into the hash of the file.
// Neighbours are merged as soon as both are there, so memory stays small when
// blocks come roughly in order. It belongs to one goroutine at a time.
type Tree struct {
	blocks int64
	nodes  map[node]Sum
}

// node is a complete subtree of 2^level blocks, the index-th of its level.
type node struct {
	level uint8
	index int64
}

// NewTree returns a tree for a file of size bytes cut into blocks of
// blockSize.
func NewTree(size, blockSize int64) *Tree {
	return &Tree{blocks: max(1, (size+blockSize-1)/blockSize), nodes: make(map[node]Sum)}
}

// Add takes the sum of block number i, in 0..blocks-1. Each block is added
// once.
func (t *Tree) Add(i int64, s Sum) {
	n := node{0, i}
	for {
		sib := node{n.level, n.index ^ 1}
		parent := node{n.level + 1, n.index >> 1}
		// The whole tree is joined by Root, which marks its top node.
		if (parent.index+1)<<parent.level >= t.blocks && parent.index == 0 {
			break
		}
		o, ok := t.nodes[sib]
		if !ok {
			break
		}
		delete(t.nodes, sib)
		if n.index&1 == 0 {
			s = join(s, o)
		} else {
			s = join(o, s)
		}
		n = parent
	}
	t.nodes[n] = s
}

func join(l, r Sum) Sum {
	return toSum(guts.ChainingValue(guts.ParentNode(toCV(l), toCV(r), &guts.IV, 0)))
}

// Root returns the hash of the file; ok is false while blocks are missing.
func (t *Tree) Root() (s Sum, ok bool) {
	if t.blocks == 1 {
		s, ok = t.nodes[node{0, 0}]
		return s, ok
	}
	left := int64(1) << (bits.Len64(uint64(t.blocks-1)) - 1)
	l, ok := t.cover(0, left)
	if !ok {
		return s, false
	}
	r, ok := t.cover(left, t.blocks)
	if !ok {
		return s, false
	}
	return root(guts.ParentNode(toCV(l), toCV(r), &guts.IV, 0)), true
}

// cover returns the sum over blocks [lo, hi), which is a subtree of the file.
func (t *Tree) cover(lo, hi int64) (Sum, bool) {
	n := hi - lo
	if n&(n-1) == 0 {
		level := uint8(bits.Len64(uint64(n)) - 1)
		if s, ok := t.nodes[node{level, lo >> level}]; ok {
			return s, true
		}
	}
	if n <= 1 {
		return Sum{}, false
	}
	left := int64(1) << (bits.Len64(uint64(n-1)) - 1)
	l, ok := t.cover(lo, lo+left)
	if !ok {
		return Sum{}, false
	}
	r, ok := t.cover(lo+left, hi)
	if !ok {
		return Sum{}, false
	}
	return join(l, r), true
}
