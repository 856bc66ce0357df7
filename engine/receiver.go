package engine

import (
	"errors"
	"io"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// receive serves one stream until its end.
func (s *Sink) receive(r *recvStream) {
	f := transports.NewFrame(s.opts.FrameMax())
	for {
		if err := r.st.Recv(f); err != nil {
			if errors.Is(err, wire.ErrMalformed) {
				s.fail(lost(err)) // inside the link, which is no stream that can be replaced
			}
			s.streamEnded(r, err)
			return
		}
		n := len(f.Body())
		if err := s.frame(r, f.Body()); err != nil {
			s.fail(err)
			return
		}
		r.count.Add(1)
		s.fresh.Add(int64(n))
		s.wake()
	}
}

// streamEnded forgets a stream that was closed or broke, which err tells; the source
// sends again what was on it. One that fell silent is doubted, and one that brought
// nothing for long, unless it was closed in good order: to hear of that, something
// must have got through.
func (s *Sink) streamEnded(r *recvStream, err error) {
	vain := r.id != inbandID && r.count.Load() == 0 && !errors.Is(err, io.EOF)
	if r.id != inbandID && silenced(err) || vain && time.Since(r.began) >= min(barren, s.opts.stall()) {
		way := r.st.Stats().Transport
		distrust(s.paths.Endpoint, way, s.prefer())
		if silenced(err) {
			s.tellSilent(way)
		}
	}
	r.st.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.id != inbandID {
		delete(s.streams, r.id)
	}
	if n := r.count.Load(); r.beside && n != r.told {
		// Its source closes no stream of its own before all is confirmed; who sends
		// this one does not wait for that.
		s.last = append(s.last, wire.StreamCount{Stream: r.id, Frames: n})
	}
}

// frame deals with one frame. An error ends the job.
func (s *Sink) frame(r *recvStream, b []byte) error {
	if len(b) == 0 {
		return wire.Failf(wire.ClassProtocol, "the other end sent an empty frame")
	}
	switch b[0] {
	case wire.FrameBlock:
		h, data, err := wire.ParseBlock(b)
		if err != nil {
			return lost(err)
		}
		return s.block(r, &h, data)
	case wire.FramePack:
		return lost2(s.storePack(r, b))
	case wire.FrameSharedBlock, wire.FrameSharedPack:
		if s.keys != nil {
			return s.sharedFrame(r, b)
		}
	}
	return wire.Failf(wire.ClassProtocol, "the other end sent a frame of unknown kind %d", b[0])
}

func lost2(err error) error {
	if err == nil {
		return nil
	}
	return lost(err)
}

// wanted returns the file with a number, nil when it has ended. A number that no
// file has is an error.
func (s *Sink) wanted(id uint64) (*sinkFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id >= s.nextID {
		return nil, wire.Failf(wire.ClassProtocol, "the other end sent a file which it had not listed")
	}
	return s.files[id], nil
}

// maxMisses is how often one block may come damaged. A source of ours gives up
// before; the same from any other is no accident.
const maxMisses = 3 * maxTries

// missed asks for a part again that came damaged.
func (s *Sink) missed(r *recvStream, f *sinkFile, block int64) error {
	f.mu.Lock()
	if f.misses == nil {
		f.misses = make(map[int64]int)
	}
	f.misses[block]++
	n := f.misses[block]
	f.mu.Unlock()
	if n > maxMisses {
		s.endFile(f, wire.ClassIntegrity, "damaged on the way again and again")
		return nil
	}
	if err := s.link.Send(wire.Missed{Stream: r.id, File: f.id, Block: block}.Append(nil)); err != nil {
		return lost(err)
	}
	return nil
}

// block stores one block.
func (s *Sink) block(r *recvStream, h *wire.BlockHead, data []byte) error {
	f, err := s.wanted(h.File)
	if f == nil {
		return err // nil: ended while this was under way
	}
	off := h.Block * f.blockSize
	if f.small || h.Block >= f.blocks || int64(len(data)) != min(f.blockSize, f.e.Size-off) {
		return wire.Failf(wire.ClassProtocol, "the other end sent a block that does not fit its file")
	}
	if !s.opts.Compared && integrity.Block(data, off, f.e.Size) != integrity.Sum(h.Sum) {
		return s.missed(r, f, h.Block)
	}
	f.mu.Lock()
	if f.over {
		f.mu.Unlock()
		return nil
	}
	if !f.beginLocked(h.Block) {
		// Sent again after a stream died; what came first stays, should they
		// differ. The repeat may be what says that the file did not change.
		f.unchanged = f.unchanged || h.Unchanged
		ready := f.readyLocked()
		f.mu.Unlock()
		if ready {
			s.complete(f)
		}
		return nil
	}
	err = f.openLocked(s)
	f.mu.Unlock()
	start := s.work.disk.Begin()
	if err == nil {
		_, err = f.w.WriteAt(data, off)
		if err == nil && !s.dest.Volatile() && (off/f.blockSize)%32 == 31 {
			f.w.WriteBack(max(0, off-31*f.blockSize), 32*f.blockSize)
		}
	}
	s.work.disk.End(start, 0)
	f.mu.Lock()
	last := f.endLocked(h.Block)
	if f.over {
		f.mu.Unlock()
		if last {
			f.release()
		}
		return nil
	}
	if err != nil {
		f.mu.Unlock()
		return s.fileError(f, err)
	}
	f.set(h.Block)
	f.tree.Add(h.Block, h.Sum)
	if f.journal != nil {
		f.journal.Add(h.Block, h.Sum)
		f.dirty = true
	}
	s.stored(f, int64(len(data)))
	f.unchanged = f.unchanged || h.Unchanged
	ready := f.readyLocked()
	f.mu.Unlock()
	if ready {
		s.complete(f)
	}
	return nil
}

// stored counts payload of f that is safe. It may be called with f's lock held.
func (s *Sink) stored(f *sinkFile, n int64) {
	s.update(func(t *Totals) { t.DoneBytes += n; t.Verified += n })
	s.mu.Lock()
	s.need -= n
	f.kept += n
	s.mu.Unlock()
}

// fileError ends one file, or the job when every other file would fare alike.
func (s *Sink) fileError(f *sinkFile, err error) error {
	if errors.Is(err, store.ErrNoSpace) {
		return s.noSpace(err)
	}
	s.endFile(f, classify(err, true), reason(err))
	return nil
}

// item stores one small file.
func (s *Sink) item(r *recvStream, p *wire.PackItem, data []byte) error {
	f, err := s.wanted(p.File)
	if f == nil {
		return err
	}
	if !f.small || int64(len(data)) != f.e.Size {
		return wire.Failf(wire.ClassProtocol, "the other end sent a small file of another length than it listed")
	}
	if !s.opts.Compared && integrity.Whole(data) != integrity.Sum(p.Sum) {
		return s.missed(r, f, 0)
	}
	f.mu.Lock()
	if f.over || f.finishing {
		f.mu.Unlock()
		return nil
	}
	f.finishing = true
	f.sum = p.Sum
	f.mu.Unlock()
	start := s.work.disk.Begin()
	err = s.dest.WriteSmall(storeEntry(f.name, &f.e), data, s.opts.Attrs)
	s.work.disk.End(start, 0)
	if err != nil {
		return s.fileError(f, err)
	}
	s.depth.files.Add(1)
	s.stored(f, int64(len(data)))
	s.commits.add(f)
	return nil
}
