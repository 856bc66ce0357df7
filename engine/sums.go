package engine

import (
	"context"
	"fmt"
	"io"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

// sumOrder is a file whose hash the sink wants.
type sumOrder struct {
	id uint64
	e  *wire.Entry
}

// orderSumLocked queues a file for hashing. As many files are hashed at once as
// there are processors, however many are asked for.
func (s *Source) orderSumLocked(id uint64, e *wire.Entry) error {
	if s.summing[id] {
		return wire.Failf(wire.ClassProtocol, "the other end asked twice for one hash")
	}
	s.summing[id] = true
	s.sumQueue = append(s.sumQueue, sumOrder{id, e})
	if s.summers < cores() && !s.finished && s.ended == nil {
		s.summers++
		s.wg.Go(s.sumUp)
	}
	return nil
}

// sumUp hashes files until none is asked for.
func (s *Source) sumUp() {
	for {
		s.mu.Lock()
		if len(s.sumQueue) == 0 || s.finished || s.ended != nil {
			s.summers--
			s.mu.Unlock()
			return
		}
		o := s.sumQueue[0]
		s.sumQueue = s.sumQueue[1:]
		s.mu.Unlock()
		s.sendSum(o.id, o.e)
	}
}

// sendSum hashes a whole file for the sink, which has one of the same size.
func (s *Source) sendSum(id uint64, e *wire.Entry) {
	sum, err := hashFile(s.roots[e.Root].Store, e, s.opts.BlockSizeFor(e.Size), s.over)
	if err != nil {
		// A sum that fits nothing: the sink will want the file, and the error
		// shows when it is read.
		sum = integrity.Sum{}
	}
	if err := s.link.Send(wire.FileSum{ID: id, Sum: sum}.Append(nil)); err != nil {
		s.fail(lost(err))
	}
}

func hashFile(src store.Source, e *wire.Entry, bs int64, stop func() bool) (sum integrity.Sum, err error) {
	f, err := src.Open(e.Name)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	return hashReader(f, e.Size, bs, stop)
}

func hashReader(f io.ReaderAt, size, bs int64, stop func() bool) (sum integrity.Sum, err error) {
	t := integrity.NewTree(size, bs)
	buf := make([]byte, min(bs, max(size, 1)))
	for off, i := int64(0), int64(0); off < size || i == 0; off, i = off+bs, i+1 {
		b := buf[:min(bs, size-off)]
		if n, err := f.ReadAt(b, off); n < len(b) {
			return sum, fmt.Errorf("reading: %w", err)
		}
		t.Add(i, integrity.Block(b, off, size))
		if stop() {
			return sum, context.Canceled
		}
	}
	sum, _ = t.Root()
	return sum, nil
}
