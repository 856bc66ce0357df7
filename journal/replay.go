package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// ErrForeign says that a file is not a journal of this version, or not even a
// whole header of one: the caller starts over with Create.
var ErrForeign = errors.New("not a journal of this version")

// errEnd ends a replay: what follows is not a record.
var errEnd = errors.New("end of the journal")

// Open replays a journal and makes it ready for more.
//
// Shape: what follows the last good record is cut off the file. Memory is that
// of the State and of one record. Errors: ErrForeign; else the file's own.
func Open(f File) (*Journal, *State, error) {
	size, err := f.Size()
	if err != nil {
		return nil, nil, err
	}
	r := reader{in: bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 64<<10)}
	s, err := r.replay()
	if err != nil {
		return nil, nil, err
	}
	if r.end < size {
		if err := f.Truncate(r.end); err != nil {
			return nil, nil, fmt.Errorf("cutting %d bytes off a journal: %w", size-r.end, err)
		}
		s.Cut = size - r.end
	}
	d := disk{f: f, end: r.end, seq: r.seq, chain: r.chain, last: s.last, marked: s.Marked}
	return newJournal(s.Header, d), s, nil
}

// reader reads records in order. end, seq and chain speak of the records that
// were good so far.
type reader struct {
	in    *bufio.Reader
	buf   []byte
	end   int64
	seq   uint64 // of the next record
	chain uint32
}

func (r *reader) replay() (*State, error) {
	s := &State{}
	if err := r.head(s); err != nil {
		if errors.Is(err, errEnd) {
			return nil, fmt.Errorf("%w: its header is incomplete", ErrForeign)
		}
		return nil, err
	}
	for {
		rec, err := r.next()
		if err == nil {
			err = s.take(rec)
		}
		if errors.Is(err, errEnd) {
			return s, nil
		}
		if err != nil {
			return nil, err
		}
		r.accept(rec)
	}
}

// head reads preamble and header.
func (r *reader) head(s *State) error {
	var pre [preambleLen]byte
	if err := r.fill(pre[:]); err != nil {
		return err
	}
	if string(pre[:]) != string(appendPreamble(nil)) {
		return ErrForeign
	}
	r.end, r.chain = preambleLen, crc32.Checksum(pre[:], castagnoli)
	rec, err := r.next()
	if err != nil {
		return err
	}
	if rec.kind != kindHeader {
		return ErrForeign
	}
	if s.Header, err = parseHeader(rec.payload); err != nil {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	r.accept(rec)
	return nil
}

// take adds what a record says; errEnd if it says anything impossible.
func (s *State) take(rec record) error {
	switch rec.kind {
	case kindBlocks:
		if checkRuns(rec.payload, s.Header.Blocks()) != nil {
			return errEnd
		}
		s.add(rec.seq, rec.payload)
		s.last, s.Clean = rec.seq, false
	case kindMark, kindClean:
		through, err := parseThrough(rec.payload)
		if err != nil || through >= rec.seq || through < s.Marked {
			return errEnd
		}
		s.Marked = through
		s.Clean = rec.kind == kindClean && through >= s.last
	default:
		return errEnd
	}
	return nil
}

// next reads one record and checks its frame; errEnd when there is none.
func (r *reader) next() (record, error) {
	var front [frontLen]byte
	if err := r.fill(front[:]); err != nil {
		return record{}, err
	}
	kind, seq, n, err := parseFront(front[:])
	if err != nil || seq != r.seq || seq > maxSeq {
		return record{}, errEnd
	}
	if cap(r.buf) < n+sumLen {
		r.buf = make([]byte, n+sumLen)
	}
	body := r.buf[:n+sumLen]
	if err := r.fill(body); err != nil {
		return record{}, err
	}
	sum := crc32.Update(crc32.Update(r.chain, castagnoli, front[:]), castagnoli, body[:n])
	if sum != binary.BigEndian.Uint32(body[n:]) {
		return record{}, errEnd
	}
	return record{kind: kind, seq: seq, payload: body[:n]}, nil
}

// accept counts rec as part of the journal.
func (r *reader) accept(rec record) {
	n := len(rec.payload)
	r.chain = binary.BigEndian.Uint32(r.buf[n : n+sumLen])
	r.seq = rec.seq + 1
	r.end += int64(frontLen + n + sumLen)
}

// fill reads all of p; errEnd when the file ends before.
func (r *reader) fill(p []byte) error {
	_, err := io.ReadFull(r.in, p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errEnd
	}
	if err != nil {
		return fmt.Errorf("reading a journal: %w", err)
	}
	return nil
}
