package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Frames that several sinks get at once name files by a key, which is the same for
// all of them, instead of the number that each sink's list gives them. A sink drops
// what it does not lack.
//
//	shared block: 3 | flags u8, 0 | length u32 | key 16 | block u64 | sum 32 | data
//	shared pack:  4 | flags u8, 0 | files u16  | then for each file
//	                  key 16 | length u32 | sum 32 | data
const (
	FrameSharedBlock = 3
	FrameSharedPack  = 4

	// SharedBlockHeadLen and SharedItemLen are lengths in bytes.
	SharedBlockHeadLen = 62
	SharedItemLen      = 52
)

// Key names a file of the source in one state.
type Key [16]byte

// KeyOf gives the key of an entry: what identifies its content, and nothing that two
// lists of one source may differ in.
func KeyOf(e *Entry) Key {
	var room [256]byte
	b := binary.AppendUvarint(room[:0], uint64(e.Root))
	b = binary.AppendUvarint(b, uint64(e.Size))
	b = binary.AppendVarint(b, e.ModTime)
	b = binary.AppendUvarint(b, e.Ino)
	b = append(append(b, e.Kind), e.Name...)
	sum := sha256.Sum256(b)
	return Key(sum[:])
}

// SharedBlock is the head of a shared block frame.
type SharedBlock struct {
	Key   Key
	Block int64
	Len   int
	Sum   [32]byte
}

// Put writes the head into the first SharedBlockHeadLen bytes of b.
func (h *SharedBlock) Put(b []byte) {
	_ = b[SharedBlockHeadLen-1]
	b[0], b[1] = FrameSharedBlock, 0
	binary.BigEndian.PutUint32(b[2:], uint32(h.Len))
	copy(b[6:], h.Key[:])
	binary.BigEndian.PutUint64(b[22:], uint64(h.Block))
	copy(b[30:], h.Sum[:])
}

// ParseSharedBlock parses a shared block frame; data is a part of b.
func ParseSharedBlock(b []byte) (h SharedBlock, data []byte, err error) {
	if len(b) < SharedBlockHeadLen || b[0] != FrameSharedBlock || b[1] != 0 {
		return h, nil, fmt.Errorf("shared block frame: %w", ErrMalformed)
	}
	n := binary.BigEndian.Uint32(b[2:])
	h.Key = Key(b[6:22])
	h.Block = int64(binary.BigEndian.Uint64(b[22:]))
	copy(h.Sum[:], b[30:])
	data = b[SharedBlockHeadLen:]
	if uint64(n) != uint64(len(data)) || h.Block < 0 || h.Block > MaxSize {
		return h, nil, fmt.Errorf("shared block frame: %w", ErrMalformed)
	}
	h.Len = int(n)
	return h, data, nil
}

// PutSharedPackHead writes the head of a shared pack of n files, PackHeadLen bytes.
func PutSharedPackHead(b []byte, n int) {
	PutPackHead(b, n)
	b[0] = FrameSharedPack
}

// SharedItem is the head of one file in a shared pack.
type SharedItem struct {
	Key Key
	Len int
	Sum [32]byte
}

// Put writes the item's head into the first SharedItemLen bytes of b.
func (p *SharedItem) Put(b []byte) {
	copy(b, p.Key[:])
	binary.BigEndian.PutUint32(b[16:], uint32(p.Len))
	copy(b[20:], p.Sum[:])
}

// ParseSharedPack calls fn for each file of a shared pack frame, after the whole frame
// was found well formed. data is a part of b.
func ParseSharedPack(b []byte, fn func(p SharedItem, data []byte) error) error {
	bad := func() error { return fmt.Errorf("shared pack frame: %w", ErrMalformed) }
	if len(b) < PackHeadLen || b[0] != FrameSharedPack || b[1] != 0 {
		return bad()
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n > MaxPackFiles {
		return bad()
	}
	for check := range 2 {
		rest := b[PackHeadLen:]
		for range n {
			if len(rest) < SharedItemLen {
				return bad()
			}
			l := binary.BigEndian.Uint32(rest[16:])
			if uint64(l) > uint64(len(rest)-SharedItemLen) {
				return bad()
			}
			end := SharedItemLen + int(l)
			if check == 1 {
				p := SharedItem{Key: Key(rest[:16]), Len: int(l)}
				copy(p.Sum[:], rest[20:])
				if err := fn(p, rest[SharedItemLen:end]); err != nil {
					return err
				}
			}
			rest = rest[end:]
		}
		if len(rest) != 0 {
			return bad()
		}
	}
	return nil
}

// Vouched says of files that all of each was read and it was then as listed. Blocks
// of them may still be under way. A sink gives no file its final name without that or
// the flag of a block that says the same.
//
//	{ id uint } to the end
type Vouched []uint64

// MaxVouched bounds the files of one Vouched.
const MaxVouched = 4096

// Append appends the message.
func (m Vouched) Append(b []byte) []byte {
	b = append(b, byte(KindVouched))
	for _, id := range m {
		b = binary.AppendUvarint(b, id)
	}
	return b
}

// ParseVouched parses the body of a KindVouched message.
func ParseVouched(body []byte) (Vouched, error) {
	r := reader{b: body}
	m := make(Vouched, 0, min(len(body), 64))
	for len(r.b) > 0 {
		if len(m) == MaxVouched {
			r.fail("count of files")
			break
		}
		m = append(m, r.uint("number"))
	}
	if err := r.end(); err != nil {
		return nil, fmt.Errorf("vouched: %w", err)
	}
	return m, nil
}
