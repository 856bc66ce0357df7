package engine

import (
	"context"
	"fmt"
	"io"
	"sync"

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
	if far, ok := f.(store.SumFile); ok && e.Size > 0 {
		return joinSums(far, e.Size, bs, stop)
	}
	return hashReader(f, e.Size, bs, stop)
}

// sumsAtOnce is how many sums of a file that is elsewhere are asked for at once. Ours:
// each takes a round trip.
const sumsAtOnce = 16

// joinSums makes the hash of a file of the sums of its blocks.
func joinSums(f store.SumFile, size, bs int64, stop func() bool) (sum integrity.Sum, err error) {
	t := integrity.NewTree(size, bs)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards what follows, err and t
	next := int64(0)
	for range sumsAtOnce {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				failed := err != nil
				mu.Unlock()
				off := i * bs
				if failed || off >= size || stop() {
					return
				}
				s, serr := f.Sum(off, min(bs, size-off))
				mu.Lock()
				if serr != nil {
					err = serr
				} else {
					t.Add(i, s)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if err != nil {
		return sum, err
	}
	if stop() {
		return sum, context.Canceled
	}
	sum, _ = t.Root()
	return sum, nil
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

// sumWait is a file at the sink that waits for the source's hash.
type sumWait struct {
	e    wire.Entry
	name string
	have store.Entry
	come bool // the hash is there
	sum  integrity.Sum
}

// compareSum queues a file for being compared with the source's hash. As many
// are hashed at once as there are processors.
func (s *Sink) compareSum(m *wire.FileSum) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.sums[m.ID]
	if w == nil || w.come {
		return wire.Failf(wire.ClassProtocol, "the other end sent a hash that was not asked for")
	}
	w.come, w.sum = true, m.Sum
	s.sumQueue = append(s.sumQueue, m.ID)
	if s.summers < cores() && s.ended == nil {
		s.summers++
		s.wg.Go(s.compareQueued)
	}
	return nil
}

// compareQueued compares files until none waits.
func (s *Sink) compareQueued() {
	for {
		s.mu.Lock()
		if len(s.sumQueue) == 0 || s.ended != nil {
			s.summers--
			s.mu.Unlock()
			return
		}
		id := s.sumQueue[0]
		s.sumQueue = s.sumQueue[1:]
		w := s.sums[id]
		s.mu.Unlock()
		if err := s.compare(id, w); err != nil {
			s.fail(err)
		}
	}
}

// compare gives the verdict on a file of equal size by its content.
func (s *Sink) compare(id uint64, w *sumWait) error {
	v := wire.EntryVerdict{ID: id}
	r, err := s.dest.Open(w.name)
	var sum integrity.Sum
	if err == nil {
		sum, err = hashReader(r, w.e.Size, s.opts.BlockSizeFor(w.e.Size), s.over)
		r.Close()
	}
	if err == nil && sum == w.sum {
		v = s.same(v, &w.e, w.name, w.have)
	} else {
		v.Replace = true
		if v, err = s.want(v, &w.e, w.name); err != nil {
			return err
		}
	}
	l := wire.Verdicts{v}
	if err := s.link.Send(l.Append(nil)); err != nil {
		return lost(err)
	}
	s.told(l)
	// Not before: nobody may think that all is done while a verdict is due.
	s.mu.Lock()
	delete(s.sums, id)
	s.mu.Unlock()
	s.wake()
	return nil
}
