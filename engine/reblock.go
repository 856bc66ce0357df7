package engine

import (
	"context"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/journal"
)

// otherBlocks tells that a journal is of the same file as wanted, but in blocks of another
// size: an earlier run had another one, as a chain has.
func otherBlocks(had, want journal.Header) bool {
	size := had.BlockSize
	had.BlockSize = want.BlockSize
	return had == want && size <= MaxBlock && integrity.ValidBlockSize(size) && integrity.ValidBlockSize(want.BlockSize)
}

// reblock takes over what an earlier run has noted in blocks of another size: what still
// fits its sums is noted again in blocks of this run's size, as far as whole ones are here.
// f's lock is held. It is an error if the file cannot be read or the run has ended.
func (s *Sink) reblock(f *sinkFile, old *journal.State) error {
	size, err := f.w.Size()
	if err != nil {
		return err
	}
	if err := f.newJournalLocked(s); err != nil {
		return err
	}
	from := old.Header.BlockSize
	region := max(from, f.blockSize) // one block of one size, and some of the other
	buf := make([]byte, region)
	for off := int64(0); off < f.e.Size; off += region {
		if s.over() {
			return context.Canceled
		}
		whole := min(region, f.e.Size-off)
		good := int64(0) // so much of the region, from its beginning, is right
		for at := off; at < off+whole; at += from {
			n := min(from, f.e.Size-at)
			sum, noted := old.Sum(at / from)
			part := buf[at-off:][:n]
			if !noted || at+n > size {
				break
			}
			if k, _ := f.w.ReadAt(part, at); int64(k) < n || integrity.Block(part, at, f.e.Size) != integrity.Sum(sum) {
				break
			}
			good += n
		}
		for at := off; at < off+good; at += f.blockSize {
			n := min(f.blockSize, f.e.Size-at)
			if at+n > off+good {
				break
			}
			sum := integrity.Block(buf[at-off:][:n], at, f.e.Size)
			b := at / f.blockSize
			f.set(b)
			f.tree.Add(b, sum)
			f.journal.Add(b, sum)
			f.dirty = true
			f.had += n
		}
	}
	return nil
}
