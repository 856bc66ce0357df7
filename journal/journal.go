package journal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"slices"
	"sync"
)

// File is what a journal is kept in. Write appends at the end that Truncate
// leaves.
type File interface {
	io.Writer
	io.ReaderAt
	Size() (int64, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

// Journal is a journal being written.
//
// Concurrency: all methods may be called at the same time. Errors: after one
// that left the file in doubt every later call returns the same.
type Journal struct {
	head   Header
	limit  int64     // blocks of the file
	writer chan disk // holds the file's state while nobody writes; capacity 1

	mu      sync.Mutex // guards what follows
	pending []claim
	closed  bool
}

type claim struct {
	block int64
	sum   [hashLen]byte
}

// disk is the file and where it stands; who has received it from the channel
// owns it.
type disk struct {
	f      File
	end    int64
	seq    uint64 // of the next record
	chain  uint32
	last   uint64 // sequence number of the last blocks record; 0: none
	marked uint64
	buf    []byte
	err    error // the file is in doubt
}

// Create empties f and writes the header.
//
// Errors: a header out of bounds; the file's own.
func Create(f File, h Header) (*Journal, error) {
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("starting a journal: %w", err)
	}
	if err := f.Truncate(0); err != nil {
		return nil, fmt.Errorf("emptying a journal: %w", err)
	}
	b := appendPreamble(nil)
	b, chain := appendRecord(b, kindHeader, 0, appendHeader(nil, h), crc32.Checksum(b, castagnoli))
	if err := writeAll(f, b); err != nil {
		return nil, fmt.Errorf("starting a journal: %w", err)
	}
	return newJournal(h, disk{f: f, end: int64(len(b)), seq: 1, chain: chain}), nil
}

func newJournal(h Header, d disk) *Journal {
	j := &Journal{head: h, limit: h.Blocks(), writer: make(chan disk, 1)}
	j.writer <- d
	return j
}

// Header is what the journal was created with.
func (j *Journal) Header() Header { return j.head }

// Add notes that a block was written and what its hash is. It reaches the file
// with the next Flush. A block outside the file is ignored.
func (j *Journal) Add(block int64, sum [32]byte) {
	if block < 0 || block >= j.limit {
		return
	}
	j.mu.Lock()
	j.pending = append(j.pending, claim{block, sum})
	j.mu.Unlock()
}

// Flush writes what was added, in one write unless it is more than a MiB. Once
// it returns nil a killed process loses nothing of it; a crashed machine may.
//
// Errors: the file's own. What was added stays and the next Flush tries again.
func (j *Journal) Flush() error {
	d := <-j.writer
	defer func() { j.writer <- d }()
	return j.flush(&d)
}

// Mark makes all that is recorded safe against a crash of the machine: it
// flushes, has the caller make the data durable, and writes a mark.
//
// Shape: sync is called once without any lock held; blocks added from then on
// are not covered, since sync may have missed their data. sync may be nil where
// data needs none. Errors: those of sync, after which nothing is marked, and of
// the file.
func (j *Journal) Mark(sync func() error) error { return j.mark(kindMark, sync) }

// CloseClean is Mark for the last time: it notes that the writer ends in order,
// and closes the file, also on an error. The caller adds nothing after it
// was called.
func (j *Journal) CloseClean(sync func() error) error {
	return errors.Join(j.mark(kindClean, sync), j.close())
}

// Close flushes and closes the file without a mark. Calling it again, or after
// CloseClean, does nothing.
func (j *Journal) Close() error {
	j.mu.Lock()
	closed := j.closed
	j.mu.Unlock()
	if closed {
		return nil
	}
	return errors.Join(j.Flush(), j.close())
}

func (j *Journal) close() error {
	j.mu.Lock()
	closed := j.closed
	j.closed = true
	j.mu.Unlock()
	if closed {
		return nil
	}
	d := <-j.writer
	defer func() { j.writer <- d }()
	d.err = errClosed
	return d.f.Close()
}

var errClosed = fmt.Errorf("writing a journal: %w", fs.ErrClosed)

func (j *Journal) mark(kind byte, sync func() error) error {
	through, err := j.flushed()
	if err != nil {
		return err
	}
	if sync != nil {
		if err := sync(); err != nil {
			return err
		}
	}
	d := <-j.writer
	defer func() { j.writer <- d }()
	if kind == kindClean && d.last != through {
		kind = kindMark // claims came in that sync may have missed
	}
	through = max(through, d.marked) // of two marks at once the later one stands
	if kind == kindMark && through == d.marked {
		return d.err
	}
	payload := binary.BigEndian.AppendUint64(nil, through)
	b, chain := appendRecord(nil, kind, d.seq, payload, d.chain)
	if err := d.append(b, chain); err != nil {
		return err
	}
	d.marked = through
	if err := d.f.Sync(); err != nil {
		d.err = err // what the system dropped cannot be known
		return err
	}
	return nil
}

// flushed flushes and returns the number of the last blocks record.
func (j *Journal) flushed() (through uint64, err error) {
	d := <-j.writer
	defer func() { j.writer <- d }()
	err = j.flush(&d)
	return d.last, err
}

// flush writes what is pending; the caller owns d.
func (j *Journal) flush(d *disk) error {
	if d.err != nil {
		return d.err
	}
	j.mu.Lock()
	claims := j.pending
	j.pending = nil
	j.mu.Unlock()
	if len(claims) == 0 {
		return nil
	}
	done, err := d.write(claims)
	if done < len(claims) {
		j.mu.Lock()
		j.pending = append(claims[done:], j.pending...)
		j.mu.Unlock()
	}
	return err
}

// batch is how many claims go into one record: each may be a run of its own.
const batch = maxPayload / (runLen + hashLen)

// write appends claims and tells how many of them are in the file.
func (d *disk) write(claims []claim) (done int, err error) {
	for len(claims) > done {
		part := claims[done:min(len(claims), done+batch)]
		b, chain := appendRecord(d.buf[:0], kindBlocks, d.seq, appendRuns(nil, part), d.chain)
		d.buf = b
		if err := d.append(b, chain); err != nil {
			return done, err
		}
		d.last = d.seq - 1
		done += len(part)
	}
	return done, nil
}

// appendRuns encodes claims. Equal blocks keep their order, so that the later
// claim wins.
func appendRuns(b []byte, claims []claim) []byte {
	claims = slices.Clone(claims)
	slices.SortStableFunc(claims, func(x, y claim) int { return cmp.Compare(x.block, y.block) })
	for i := 0; i < len(claims); {
		n := 1
		for i+n < len(claims) && claims[i+n].block == claims[i].block+int64(n) {
			n++
		}
		b = binary.BigEndian.AppendUint64(b, uint64(claims[i].block))
		b = binary.BigEndian.AppendUint32(b, uint32(n))
		for _, c := range claims[i : i+n] {
			b = append(b, c.sum[:]...)
		}
		i += n
	}
	return b
}

// append writes one whole record, or leaves the journal as it was.
func (d *disk) append(b []byte, chain uint32) error {
	if d.err != nil {
		return d.err
	}
	if d.seq > maxSeq {
		return errors.New("writing a journal: it has too many records")
	}
	if err := writeAll(d.f, b); err != nil {
		// Part of the record may stand there; behind it nothing would count.
		if terr := d.f.Truncate(d.end); terr != nil {
			d.err = errors.Join(err, terr)
		}
		return err
	}
	d.end += int64(len(b))
	d.seq, d.chain = d.seq+1, chain
	return nil
}

func writeAll(f File, b []byte) error {
	n, err := f.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}
