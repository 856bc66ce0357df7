package journal

import (
	"encoding/binary"
	"iter"
)

// State is what a journal tells about an unfinished file.
//
// Shape: about 37 bytes per recorded block, allocated in pages of 64 blocks
// where blocks were recorded. Concurrency: any, since it does not change.
type State struct {
	Header Header
	// Clean tells that the last writer ended in order: every recorded block is
	// on the disk.
	Clean bool
	// Marked is the sequence number up to which records were synced.
	Marked uint64
	// Cut is how many bytes at the end were not understood and were cut off.
	Cut int64

	pages map[int64]*page
	count int64
	last  uint64 // sequence number of the last blocks record; 0: none
	high  int64  // one above the highest page in use
}

// pageBlocks is how many blocks a page holds: few enough that a journal which
// names one block here and there does not cost much more than its own length.
const pageBlocks = 64

type page struct {
	sums [pageBlocks][hashLen]byte
	seqs [pageBlocks]uint32 // 1 + sequence number of the record; 0: not recorded
}

// add takes over a checked blocks payload.
func (s *State) add(seq uint64, p []byte) {
	for len(p) > 0 {
		b := int64(binary.BigEndian.Uint64(p))
		n := int64(binary.BigEndian.Uint32(p[8:]))
		p = p[runLen:]
		for end := b + n; b < end; b++ {
			s.put(b, [hashLen]byte(p), seq)
			p = p[hashLen:]
		}
	}
}

func (s *State) put(b int64, sum [hashLen]byte, seq uint64) {
	at := b / pageBlocks
	pg := s.pages[at]
	if pg == nil {
		if s.pages == nil {
			s.pages = map[int64]*page{}
		}
		pg = new(page)
		s.pages[at] = pg
		s.high = max(s.high, at+1)
	}
	i := b % pageBlocks
	if pg.seqs[i] == 0 {
		s.count++
	}
	// The last record of a block wins: it was written over the earlier one.
	pg.sums[i], pg.seqs[i] = sum, uint32(seq+1)
}

// Count is how many blocks are recorded.
func (s *State) Count() int64 { return s.count }

// Sum is the recorded hash of a block; ok is false if it is not recorded.
func (s *State) Sum(block int64) (sum [32]byte, ok bool) {
	if pg := s.page(block); pg != nil && pg.seqs[block%pageBlocks] != 0 {
		return pg.sums[block%pageBlocks], true
	}
	return sum, false
}

// Synced tells whether a block is recorded and covered by the last mark, so that
// its data outlives a crash. A block that was recorded again after the mark
// is not.
func (s *State) Synced(block int64) bool {
	pg := s.page(block)
	if pg == nil {
		return false
	}
	seq := uint64(pg.seqs[block%pageBlocks])
	return seq != 0 && seq-1 <= s.Marked
}

func (s *State) page(block int64) *page {
	if block < 0 {
		return nil
	}
	return s.pages[block/pageBlocks]
}

// Recorded yields the recorded blocks and their hashes in rising order.
func (s *State) Recorded() iter.Seq2[int64, [32]byte] {
	return func(yield func(int64, [32]byte) bool) {
		for at := range s.high {
			pg := s.pages[at]
			if pg == nil {
				continue
			}
			for i := range int64(pageBlocks) {
				if pg.seqs[i] != 0 && !yield(at*pageBlocks+i, pg.sums[i]) {
					return
				}
			}
		}
	}
}
