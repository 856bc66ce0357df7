package wire

import (
	"encoding/binary"
	"fmt"
)

// A frame of a data stream is a block of a large file or a pack of small files.
//
//	block: 1 | flags u8 | length u32 | file u64 | block u64 | sum 32 | data
//	pack:  2 | flags u8 | files u16  | then for each file
//	             file u64 | length u32 | sum 32 | data
//
// Numbers are big-endian. Flag 1 of a block: with this block all of the file
// has been read and the file had not changed since it was listed; the sink
// gives no file its final name without it. Files in packs are checked likewise
// before they are packed, and are whole.
const (
	FrameBlock = 1
	FramePack  = 2

	// BlockHeadLen and PackHeadLen and PackItemLen are lengths in bytes.
	BlockHeadLen = 54
	PackHeadLen  = 4
	PackItemLen  = 44

	flagUnchanged = 1
)

// BlockHead is the head of a block frame.
type BlockHead struct {
	File      uint64
	Block     int64
	Len       int
	Sum       [32]byte
	Unchanged bool
}

// Put writes the head into the first BlockHeadLen bytes of b.
func (h *BlockHead) Put(b []byte) {
	_ = b[BlockHeadLen-1]
	b[0], b[1] = FrameBlock, 0
	if h.Unchanged {
		b[1] = flagUnchanged
	}
	binary.BigEndian.PutUint32(b[2:], uint32(h.Len))
	binary.BigEndian.PutUint64(b[6:], h.File)
	binary.BigEndian.PutUint64(b[14:], uint64(h.Block))
	copy(b[22:], h.Sum[:])
}

// ParseBlock parses a block frame; data is a part of b.
func ParseBlock(b []byte) (h BlockHead, data []byte, err error) {
	if len(b) < BlockHeadLen || b[0] != FrameBlock || b[1]&^flagUnchanged != 0 {
		return h, nil, fmt.Errorf("block frame: %w", ErrMalformed)
	}
	h.Unchanged = b[1]&flagUnchanged != 0
	n := binary.BigEndian.Uint32(b[2:])
	h.File = binary.BigEndian.Uint64(b[6:])
	h.Block = int64(binary.BigEndian.Uint64(b[14:]))
	copy(h.Sum[:], b[22:])
	data = b[BlockHeadLen:]
	if uint64(n) != uint64(len(data)) || h.Block < 0 || h.Block > MaxSize {
		return h, nil, fmt.Errorf("block frame: %w", ErrMalformed)
	}
	h.Len = int(n)
	return h, data, nil
}

// PutPackHead writes the head of a pack of n files.
func PutPackHead(b []byte, n int) {
	b[0], b[1] = FramePack, 0
	binary.BigEndian.PutUint16(b[2:], uint16(n))
}

// PackItem is the head of one file in a pack.
type PackItem struct {
	File uint64
	Len  int
	Sum  [32]byte
}

// Put writes the item's head into the first PackItemLen bytes of b.
func (p *PackItem) Put(b []byte) {
	binary.BigEndian.PutUint64(b, p.File)
	binary.BigEndian.PutUint32(b[8:], uint32(p.Len))
	copy(b[12:], p.Sum[:])
}

// ParsePack calls fn for each file of a pack frame, after the whole frame was
// found well formed. data is a part of b.
func ParsePack(b []byte, fn func(p PackItem, data []byte) error) error {
	bad := func() error { return fmt.Errorf("pack frame: %w", ErrMalformed) }
	if len(b) < PackHeadLen || b[0] != FramePack || b[1] != 0 {
		return bad()
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n > MaxPackFiles {
		return bad()
	}
	rest := b[PackHeadLen:]
	for check := range 2 {
		c := rest
		for range n {
			if len(c) < PackItemLen {
				return bad()
			}
			l := binary.BigEndian.Uint32(c[8:])
			if uint64(l) > uint64(len(c)-PackItemLen) {
				return bad()
			}
			end := PackItemLen + int(l)
			if check == 1 {
				p := PackItem{File: binary.BigEndian.Uint64(c), Len: int(l)}
				copy(p.Sum[:], c[12:])
				if err := fn(p, c[PackItemLen:end]); err != nil {
					return err
				}
			}
			c = c[end:]
		}
		if len(c) != 0 {
			return bad()
		}
	}
	return nil
}
