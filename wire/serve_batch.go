package wire

import (
	"encoding/binary"
	"fmt"
)

// Several small files are asked for at once, and come together:
//
//	batch: 8 | flags | id u32 | root u32 | then for each file
//	             size u32 | mtime u64 | inode u64 | length of the name u16 | name
//	given: 9 | flags | id u32 | first u32 | then for each file
//	             0     | sum 32 | length u32 | data
//	         or  class | length u16 | text
//
// A batch asks for whole files by their names, as fetch does, with the flag 1 for
// their sums alone. Its answer is frames that have the files in the order of asking,
// first being the number of the next one; the last of them has the flag 2. The data of
// a file are all of it, or nothing when the sum alone was wanted.
const (
	FrameBatch = 8
	FrameGiven = 9
)

// Bounds and lengths. Ours: what comes of a batch is soon there, and what it takes in
// memory is little.
const (
	MaxBatch      = 1024     // files
	MaxBatchFile  = 64 << 10 // bytes of one file
	MaxBatchBytes = 1 << 20  // of all files
	// BatchFileLen is what a file takes in a batch beside its name, in bytes; all
	// together are in a frame of MaxServeRequest.
	BatchFileLen = 4 + 8 + 8 + 2
	// BatchHead is what is before the files, GivenHead what is before those that are
	// given, and GivenFileHead what is before the data of each.
	BatchHead     = 2 + 4 + 4
	GivenHead     = 2 + 4 + 4
	GivenFileHead = 1 + 32 + 4
)

// givenLast is a flag: nothing follows.
const givenLast = 2

// Batch asks for several small files of one root.
type Batch struct {
	ID      uint32
	Root    int
	SumOnly bool // the bytes are not wanted, only their sums
	Files   []BatchFile
}

// BatchFile is one of them, as it was listed.
type BatchFile struct {
	Name    string // below the root, "" for the root itself
	Size    int64  // bytes, 1..MaxBatchFile
	ModTime int64  // nanoseconds since 1970
	Ino     uint64 // 0: any
}

// Append appends the frame.
func (m *Batch) Append(b []byte) []byte {
	flags := byte(0)
	if m.SumOnly {
		flags = 1
	}
	be := binary.BigEndian
	b = be.AppendUint32(append(b, FrameBatch, flags), m.ID)
	b = be.AppendUint32(b, uint32(m.Root))
	for i := range m.Files {
		f := &m.Files[i]
		b = be.AppendUint32(b, uint32(f.Size))
		b = be.AppendUint64(b, uint64(f.ModTime))
		b = be.AppendUint64(b, f.Ino)
		b = be.AppendUint16(b, uint16(len(f.Name)))
		b = append(b, f.Name...)
	}
	return b
}

// ParseBatch parses such a frame.
func ParseBatch(b []byte) (Batch, error) {
	bad := func(what string) (Batch, error) { return Batch{}, fmt.Errorf("batch: %w: %s", ErrMalformed, what) }
	if len(b) < BatchHead || len(b) > MaxServeRequest || b[0] != FrameBatch || b[1] > 1 {
		return bad("head")
	}
	be := binary.BigEndian
	m := Batch{ID: be.Uint32(b[2:]), SumOnly: b[1] == 1}
	root := be.Uint32(b[6:])
	if root >= MaxRoots {
		return bad("root")
	}
	m.Root = int(root)
	sum := int64(0)
	for rest := b[BatchHead:]; len(rest) > 0; {
		if len(rest) < BatchFileLen || len(m.Files) == MaxBatch {
			return bad("count of files")
		}
		f := BatchFile{Size: int64(be.Uint32(rest)), ModTime: int64(be.Uint64(rest[4:])), Ino: be.Uint64(rest[12:])}
		n := int(be.Uint16(rest[20:]))
		rest = rest[BatchFileLen:]
		sum += f.Size
		if n > len(rest) || f.Size < 1 || f.Size > MaxBatchFile || sum > MaxBatchBytes {
			return bad("file")
		}
		f.Name, rest = string(rest[:n]), rest[n:]
		m.Files = append(m.Files, f)
	}
	if len(m.Files) == 0 {
		return bad("no files")
	}
	return m, nil
}

// Given is some of the files that were asked for.
type Given struct {
	ID    uint32
	First int // number of the first of Files in the batch
	Last  bool
	Files []GivenFile
}

// GivenFile is a file, or why it is not given.
type GivenFile struct {
	Class Class // ClassNone: it is given
	Text  string
	Sum   [32]byte
	Data  []byte // of the frame that was parsed
}

// PutGivenHead writes the first GivenHead bytes of a frame into b.
func PutGivenHead(b []byte, id uint32, first int, last bool) {
	b[0], b[1] = FrameGiven, 0
	if last {
		b[1] = givenLast
	}
	binary.BigEndian.PutUint32(b[2:], id)
	binary.BigEndian.PutUint32(b[6:], uint32(first))
}

// PutGivenFile writes what is before the n bytes of data of a file into b, GivenFileHead
// bytes.
func PutGivenFile(b []byte, sum [32]byte, n int) {
	b[0] = ClassNone
	copy(b[1:33], sum[:])
	binary.BigEndian.PutUint32(b[33:], uint32(n))
}

// maxGivenText bounds the reason for which a file is not given, MaxNotGiven what
// AppendNotGiven appends, in bytes.
const (
	maxGivenText = 1 << 10
	MaxNotGiven  = 3 + maxGivenText
)

// AppendNotGiven appends why a file is not given; class is not ClassNone. A text that
// is too long is cut.
func AppendNotGiven(b []byte, class Class, text string) []byte {
	text = text[:min(len(text), maxGivenText)]
	b = binary.BigEndian.AppendUint16(append(b, class), uint16(len(text)))
	return append(b, text...)
}

// ParseGiven parses such a frame.
func ParseGiven(b []byte) (Given, error) {
	bad := func(what string) (Given, error) { return Given{}, fmt.Errorf("given: %w: %s", ErrMalformed, what) }
	if len(b) < GivenHead || len(b) > MaxServeFrame || b[0] != FrameGiven || b[1]&^givenLast != 0 {
		return bad("head")
	}
	be := binary.BigEndian
	m := Given{ID: be.Uint32(b[2:]), Last: b[1] == givenLast}
	first := be.Uint32(b[6:])
	if first > MaxBatch {
		return bad("number")
	}
	m.First = int(first)
	for rest := b[GivenHead:]; len(rest) > 0; {
		if m.First+len(m.Files) >= MaxBatch {
			return bad("count of files")
		}
		f := GivenFile{Class: rest[0]}
		if f.Class != ClassNone {
			if len(rest) < 3 {
				return bad("text")
			}
			n := int(be.Uint16(rest[1:]))
			if rest = rest[3:]; n > maxGivenText || n > len(rest) {
				return bad("text")
			}
			f.Text, rest = string(rest[:n]), rest[n:]
			m.Files = append(m.Files, f)
			continue
		}
		if len(rest) < GivenFileHead {
			return bad("file")
		}
		f.Sum = [32]byte(rest[1:])
		n := be.Uint32(rest[33:])
		if rest = rest[GivenFileHead:]; n > MaxBatchFile || int64(n) > int64(len(rest)) {
			return bad("file")
		}
		f.Data, rest = rest[:n:n], rest[n:]
		m.Files = append(m.Files, f)
	}
	return m, nil
}
