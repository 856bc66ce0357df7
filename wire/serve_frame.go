package wire

import (
	"encoding/binary"
	"fmt"
)

// The frames between a reader and a server. What is asked for on a stream is
// answered on it, one request after the other: in parts from its first byte to its
// last one, or by one that says why not. A request that is cancelled may be ended
// by a part of no bytes.
//
//	read:    3 | 0     | id u32 | file u32 | offset u64 | length u64 | block u32
//	cancel:  4 | 0     | id u32
//	piece:   5 | flags | id u32 | offset u64 | [ sum 32 ] | data
//	refused: 6 | class | id u32 | text
//	fetch:   7 | flags | id u32 | root u32 | offset u64 | length u32 | size u64 | mtime u64 | inode u64 | name
//
// fetch asks for bytes of a file that is not open, by its name, if it is still what
// it was when it was listed. The answer has the sum of these bytes in its last part;
// with the flag 1 it is that part alone, without bytes.
const (
	FrameRead    = 3
	FrameCancel  = 4
	FramePiece   = 5
	FrameRefused = 6
	FrameFetch   = 7
)

// The flags of a part.
const (
	pieceSummed = 1 << iota
	pieceLast
	pieceFlags = 1<<iota - 1
)

// Lengths in bytes.
const (
	readLen  = 2 + 4 + 4 + 8 + 8 + 4
	fetchLen = 2 + 4 + 4 + 8 + 4 + 8 + 8 + 8
	// MaxServeRequest is the longest frame of a reader.
	MaxServeRequest = fetchLen + MaxName
	// PieceHead is what is before the data of a part with a sum, PieceHeadPlain of
	// one without.
	PieceHead      = PieceHeadPlain + 32
	PieceHeadPlain = 2 + 4 + 8
	// MaxPiece is how much data a part has at most: little enough that a slow path
	// is seen to move.
	MaxPiece = 128 << 10
	// MaxServeFrame is the longest of these frames.
	MaxServeFrame = PieceHead + MaxPiece
)

// Read asks for bytes of a file.
type Read struct {
	ID     uint32
	File   uint32
	Offset int64 // bytes
	Length int64 // bytes, at least 1
	Block  int64 // bytes: sums of blocks of this length are wanted; 0: none
}

// Append appends the frame.
func (m Read) Append(b []byte) []byte {
	b = append(b, FrameRead, 0)
	b = binary.BigEndian.AppendUint32(b, m.ID)
	b = binary.BigEndian.AppendUint32(b, m.File)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Offset))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Length))
	return binary.BigEndian.AppendUint32(b, uint32(m.Block))
}

// ParseRead parses such a frame.
func ParseRead(b []byte) (Read, error) {
	if len(b) != readLen || b[0] != FrameRead || b[1] != 0 {
		return Read{}, fmt.Errorf("read: %w", ErrMalformed)
	}
	m := Read{ID: binary.BigEndian.Uint32(b[2:]), File: binary.BigEndian.Uint32(b[6:]), Block: int64(binary.BigEndian.Uint32(b[26:]))}
	off, n := binary.BigEndian.Uint64(b[10:]), binary.BigEndian.Uint64(b[18:])
	if off > MaxSize || n == 0 || n > MaxSize-off || m.Block > MaxSumBlock {
		return Read{}, fmt.Errorf("read: %w: range", ErrMalformed)
	}
	m.Offset, m.Length = int64(off), int64(n)
	return m, nil
}

// Fetch asks for bytes of a file by its name.
type Fetch struct {
	ID      uint32
	Root    int
	Name    string // below the root, "" for the root itself
	Size    int64  // the file's, bytes
	ModTime int64  // as it was listed, nanoseconds since 1970
	Ino     uint64 // 0: any
	Offset  int64  // bytes
	Length  int64  // bytes, 1..MaxSumBlock
	SumOnly bool   // the bytes are not wanted, only their sum
}

// Append appends the frame.
func (m *Fetch) Append(b []byte) []byte {
	flags := byte(0)
	if m.SumOnly {
		flags = 1
	}
	b = binary.BigEndian.AppendUint32(append(b, FrameFetch, flags), m.ID)
	b = binary.BigEndian.AppendUint32(b, uint32(m.Root))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Offset))
	b = binary.BigEndian.AppendUint32(b, uint32(m.Length))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Size))
	b = binary.BigEndian.AppendUint64(b, uint64(m.ModTime))
	b = binary.BigEndian.AppendUint64(b, m.Ino)
	return append(b, m.Name...)
}

// ParseFetch parses such a frame.
func ParseFetch(b []byte) (Fetch, error) {
	if len(b) < fetchLen || len(b) > MaxServeRequest || b[0] != FrameFetch || b[1] > 1 {
		return Fetch{}, fmt.Errorf("fetch: %w", ErrMalformed)
	}
	be := binary.BigEndian
	m := Fetch{SumOnly: b[1] == 1, ID: be.Uint32(b[2:]), Length: int64(be.Uint32(b[18:])), ModTime: int64(be.Uint64(b[30:])), Ino: be.Uint64(b[38:]), Name: string(b[fetchLen:])}
	root, off, size := be.Uint32(b[6:]), be.Uint64(b[10:]), be.Uint64(b[22:])
	if root >= MaxRoots || size > MaxSize || m.Length == 0 || m.Length > MaxSumBlock || off > size || uint64(m.Length) > size-off {
		return Fetch{}, fmt.Errorf("fetch: %w: range", ErrMalformed)
	}
	m.Root, m.Offset, m.Size = int(root), int64(off), int64(size)
	return m, nil
}

// AppendCancel appends a frame that takes request id back.
func AppendCancel(b []byte, id uint32) []byte {
	return binary.BigEndian.AppendUint32(append(b, FrameCancel, 0), id)
}

// ParseCancel parses such a frame.
func ParseCancel(b []byte) (id uint32, err error) {
	if len(b) != 6 || b[0] != FrameCancel || b[1] != 0 {
		return 0, fmt.Errorf("cancel: %w", ErrMalformed)
	}
	return binary.BigEndian.Uint32(b[2:]), nil
}

// Piece is some of the bytes that were asked for.
type Piece struct {
	ID     uint32
	Last   bool
	Offset int64
	Summed bool     // Sum is that of the block which ends with this part
	Sum    [32]byte // as of blocks
	Data   []byte   // of the frame that was parsed, at most MaxPiece bytes
}

// HeadLen is how many bytes Put writes.
func (m *Piece) HeadLen() int {
	if m.Summed {
		return PieceHead
	}
	return PieceHeadPlain
}

// Put writes all but the data into b, which has room for HeadLen bytes.
func (m *Piece) Put(b []byte) {
	b[0], b[1] = FramePiece, 0
	if m.Last {
		b[1] |= pieceLast
	}
	binary.BigEndian.PutUint32(b[2:], m.ID)
	binary.BigEndian.PutUint64(b[6:], uint64(m.Offset))
	if m.Summed {
		b[1] |= pieceSummed
		copy(b[PieceHeadPlain:PieceHead], m.Sum[:])
	}
}

// ParsePiece parses such a frame; Data is a part of b.
func ParsePiece(b []byte) (Piece, error) {
	if len(b) < PieceHeadPlain || b[0] != FramePiece || b[1]&^pieceFlags != 0 {
		return Piece{}, fmt.Errorf("piece: %w", ErrMalformed)
	}
	m := Piece{ID: binary.BigEndian.Uint32(b[2:]), Last: b[1]&pieceLast != 0, Summed: b[1]&pieceSummed != 0}
	off := binary.BigEndian.Uint64(b[6:])
	if off > MaxSize || len(b) < m.HeadLen() || len(b)-m.HeadLen() > MaxPiece {
		return Piece{}, fmt.Errorf("piece: %w: length", ErrMalformed)
	}
	m.Offset, m.Data = int64(off), b[m.HeadLen():]
	if m.Summed {
		m.Sum = [32]byte(b[PieceHeadPlain:])
	}
	return m, nil
}

// AppendFrame appends a refusal as a frame. A text that is too long is cut.
func (m Refused) AppendFrame(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, FrameRefused, m.Class), m.ID)
	return append(b, cut(m.Text)...)
}

// ParseRefusedFrame parses such a frame.
func ParseRefusedFrame(b []byte) (Refused, error) {
	if len(b) < 6 || b[0] != FrameRefused || len(b)-6 > MaxText {
		return Refused{}, fmt.Errorf("refused: %w", ErrMalformed)
	}
	return Refused{ID: binary.BigEndian.Uint32(b[2:]), Class: b[1], Text: string(b[6:])}, nil
}
