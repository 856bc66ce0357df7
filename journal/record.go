package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Constants of the format.
const (
	magic       = "gomoverj"
	version     = 1
	preambleLen = 16 // bytes
	frontLen    = 16 // bytes of a record before its payload
	sumLen      = 4  // bytes of a record after its payload
	hashLen     = 32 // bytes of a block's hash
	runLen      = 12 // bytes before a run's hashes

	// maxPayload bounds any payload, so that a reader's memory is bounded.
	//
	// Unit: bytes.
	maxPayload = 1 << 20
	// maxSeq keeps sequence numbers within the four bytes per block that a
	// State spends on them.
	maxSeq = 1<<32 - 2

	headerFixed = 16 + 8 + 8 + 8 + 8
	maxHashName = 64
	maxName     = 32 << 10
)

// MaxBlocks is the highest count of blocks a file may have for its journal.
//
// Ours: at 64 MiB per block it is 1 PiB.
const MaxBlocks = 1 << 24

const (
	kindHeader = iota + 1
	kindBlocks
	kindMark
	kindClean
)

// castagnoli is the polynomial of CRC-32C, for which processors have an
// instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header says which file of which job a journal belongs to.
type Header struct {
	JobID     [16]byte
	Size      int64  // bytes of the source file
	ModTime   int64  // of the source file, nanoseconds since 1970
	Ino       uint64 // of the source file, its identity there; 0: not known
	BlockSize int64  // bytes
	Hash      string // name of the block hash, up to 64 bytes
	Name      string // of the destination file, up to 32 KiB
}

// Blocks is how many blocks the file has.
func (h Header) Blocks() int64 {
	if h.BlockSize <= 0 {
		return 0
	}
	n := h.Size / h.BlockSize
	if h.Size%h.BlockSize != 0 {
		n++
	}
	return n
}

// check refuses headers that no journal may have.
func (h Header) check() error {
	switch {
	case h.Size < 0:
		return fmt.Errorf("size %d is negative", h.Size)
	case h.BlockSize <= 0:
		return fmt.Errorf("block size %d is not positive", h.BlockSize)
	case h.Blocks() > MaxBlocks:
		return fmt.Errorf("%d blocks are more than %d", h.Blocks(), MaxBlocks)
	case len(h.Hash) > maxHashName:
		return fmt.Errorf("name of the hash has %d bytes, more than %d", len(h.Hash), maxHashName)
	case len(h.Name) > maxName:
		return fmt.Errorf("file name has %d bytes, more than %d", len(h.Name), maxName)
	}
	return nil
}

func appendPreamble(b []byte) []byte {
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint16(b, version)
	return append(b, 0, 0, 0, 0, 0, 0)
}

func appendHeader(b []byte, h Header) []byte {
	b = append(b, h.JobID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.Size))
	b = binary.BigEndian.AppendUint64(b, uint64(h.ModTime))
	b = binary.BigEndian.AppendUint64(b, h.Ino)
	b = binary.BigEndian.AppendUint64(b, uint64(h.BlockSize))
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.Hash)))
	b = append(b, h.Hash...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.Name)))
	return append(b, h.Name...)
}

var errShort = errors.New("record is cut short")

func parseHeader(p []byte) (Header, error) {
	var h Header
	if len(p) < headerFixed {
		return h, errShort
	}
	copy(h.JobID[:], p)
	h.Size = int64(binary.BigEndian.Uint64(p[16:]))
	h.ModTime = int64(binary.BigEndian.Uint64(p[24:]))
	h.Ino = binary.BigEndian.Uint64(p[32:])
	h.BlockSize = int64(binary.BigEndian.Uint64(p[40:]))
	p = p[headerFixed:]
	var ok bool
	if h.Hash, p, ok = takeString(p); !ok {
		return h, errShort
	}
	if h.Name, p, ok = takeString(p); !ok {
		return h, errShort
	}
	if len(p) != 0 {
		return h, errTrailing
	}
	return h, h.check()
}

var errTrailing = errors.New("record has bytes too many")

func takeString(p []byte) (s string, rest []byte, ok bool) {
	if len(p) < 2 {
		return "", nil, false
	}
	n := int(binary.BigEndian.Uint16(p))
	if p = p[2:]; len(p) < n {
		return "", nil, false
	}
	return string(p[:n]), p[n:], true
}

// appendRecord frames payload; chain is the checksum of what stands before, and
// the new one is returned.
func appendRecord(b []byte, kind byte, seq uint64, payload []byte, chain uint32) ([]byte, uint32) {
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, kind, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, seq)
	b = append(b, payload...)
	chain = crc32.Update(chain, castagnoli, b[start:])
	return binary.BigEndian.AppendUint32(b, chain), chain
}

// record is one record as read; payload belongs to the reader's buffer.
type record struct {
	kind    byte
	seq     uint64
	payload []byte
}

// parseFront reads a record's first 16 bytes.
func parseFront(p []byte) (kind byte, seq uint64, length int, err error) {
	n := binary.BigEndian.Uint32(p)
	if n > maxPayload {
		return 0, 0, 0, fmt.Errorf("record of %d bytes is longer than %d", n, maxPayload)
	}
	if p[5] != 0 || p[6] != 0 || p[7] != 0 {
		return 0, 0, 0, errors.New("record has unknown flags")
	}
	return p[4], binary.BigEndian.Uint64(p[8:]), int(n), nil
}

// checkRuns tests a blocks payload: whole runs, each within limit blocks.
func checkRuns(p []byte, limit int64) error {
	for len(p) > 0 {
		if len(p) < runLen {
			return errShort
		}
		first, count := binary.BigEndian.Uint64(p), int64(binary.BigEndian.Uint32(p[8:]))
		p = p[runLen:]
		if count == 0 || count > int64(len(p))/hashLen {
			return errShort
		}
		if first >= uint64(limit) || count > limit-int64(first) {
			return fmt.Errorf("block %d and %d more: the file has only %d", first, count-1, limit)
		}
		p = p[count*hashLen:]
	}
	return nil
}

// parseThrough reads the payload of a mark.
func parseThrough(p []byte) (uint64, error) {
	if len(p) != 8 {
		return 0, errTrailing
	}
	return binary.BigEndian.Uint64(p), nil
}
