package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// frameMax is the longest frame body in bytes for blocks of up to bs.
func frameMax(bs int64) int {
	return int(max(bs, DefaultBlock, smallFile)) + wire.BlockHeadLen + wire.PackHeadLen + wire.PackItemLen
}

// FrameMax is the longest frame body in bytes that a job with these options
// sends.
func (o *Options) FrameMax() int {
	bs := o.BlockSize
	if bs == 0 {
		bs = autoBlock
	}
	return frameMax(bs)
}

// ahead is how far in bytes files are read ahead of the blocks being sent, and
// how often that is asked for.
const ahead = 4 << 20

// send serves one stream until it is stopped or dead.
func (s *Source) send(ctx context.Context, ss *sendStream) {
	f := transports.NewFrame(s.opts.FrameMax())
	for {
		if s.common.Hold != nil {
			start := s.work.held.Begin()
			err := s.common.Hold(ctx)
			s.work.held.End(start, 0)
			if err != nil {
				break // the run ends
			}
		}
		start := s.work.idle.Begin()
		sl, ok := s.sched.next(ss.id)
		s.work.idle.End(start, 0)
		if !ok {
			break
		}
		if sl.file != nil {
			ok = s.fillBlock(f, ss.id, &sl)
		} else {
			ok = s.fillPack(f, ss.id, &sl)
		}
		if !ok {
			s.sched.unsent(ss.id)
			continue
		}
		if s.limited() && s.awaitTurn(ctx, ss, len(f.Body())) != nil {
			s.sched.unsent(ss.id) // the run ends, and does not wait for it
			break
		}
		if err := ss.st.Send(f); err != nil {
			s.streamDead(ss, err)
			return
		}
		s.work.sent.Add(sl.bytes)
		if sl.file == nil {
			s.work.packed.Add(sl.bytes)
		}
	}
	// Stopped in good order: what is under way is still confirmed, or taken
	// back when the stream dies.
	ss.stopped.Store(true)
}

// fillBlock reads a block into f; false: it can't be sent.
func (s *Source) fillBlock(f *transports.Frame, id uint32, sl *slice) bool {
	file := sl.file
	off := sl.block * file.blockSize
	body := f.Resize(wire.BlockHeadLen + int(sl.bytes))
	data := body[wire.BlockHeadLen:]
	var sum [32]byte
	known := false
	start := s.work.disk.Begin()
	r, err := s.opened(file)
	if err == nil {
		if off%ahead == 0 {
			n := s.depth.at()
			r.Ahead(off+ahead, int64(n)*ahead)
			if n > 1 {
				s.readAhead(n)
			}
		}
		var n int
		if n, sum, known, err = readSum(r, data, off); n == len(data) {
			err = nil
		}
	}
	s.work.disk.End(start, 0)
	h := wire.BlockHead{File: file.id, Block: sl.block, Len: len(data), Sum: sum}
	last := false
	if err == nil && !known {
		h.Sum = integrity.Block(data, off, file.entry.Size)
	}
	// Only after the bytes are read may another reader count as the last.
	last = s.sched.release(id, file)
	if err == nil && last {
		var now store.Entry
		if now, err = r.Stat(); err == nil {
			if what := difference(&file.entry, &now); what != "" && s.opts.OnChange != "ignore" {
				s.changed(file, what)
				return false
			}
			h.Unchanged = true
		}
	}
	if err != nil {
		var other notListed
		if errors.As(err, &other) {
			s.changed(file, string(other))
		} else if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			s.changed(file, "became shorter")
		} else {
			s.unreadable(file, err)
		}
		return false
	}
	h.Put(body)
	return true
}

// readSum reads bytes of a file, and gives their sum if that is known.
func readSum(r store.ReadFile, p []byte, off int64) (n int, sum [32]byte, known bool, err error) {
	if v, ok := r.(store.Vouched); ok {
		return v.ReadSum(p, off)
	}
	n, err = r.ReadAt(p, off)
	return n, sum, false, err
}

// unreadable gives up a file that can't be read.
func (s *Source) unreadable(f *srcFile, err error) {
	text := reason(err)
	if errors.Is(err, fs.ErrNotExist) {
		text = "vanished before it was read"
	}
	s.gone(f, classify(err, false), text, false)
}

// difference says how a file is not what was listed, or "".
func difference(e *wire.Entry, now *store.Entry) string {
	switch {
	case now.Size < e.Size:
		return "became shorter"
	case now.Size > e.Size:
		return "grew"
	case now.ModTime != e.ModTime:
		return "changed"
	case e.Ino != 0 && now.Ino != e.Ino:
		return "was replaced"
	}
	return ""
}

// opened returns the open file, opening it once for all its readers.
func (s *Source) opened(f *srcFile) (store.ReadFile, error) {
	r := s.sched.beginOpen(f)
	if r != nil {
		return r, nil
	}
	r, err := f.src.Open(f.entry.Name)
	if err == nil && s.opts.Shared && s.opts.OnChange != "ignore" {
		if err = listed(r, &f.entry); err != nil {
			r.Close()
		}
	}
	s.sched.endOpen(f, r, err)
	return r, err
}

// notListed is an error: how a file is not the one that was listed.
type notListed string

// Error implements error.
func (e notListed) Error() string { return string(e) }

// listed checks that an open file is the one that was listed. Where a source and a
// cast read parts of a file, each has it open, and what one of them finds at the end
// speaks for both only when it is the same file.
func listed(r store.ReadFile, e *wire.Entry) error {
	now, err := r.Stat()
	if err != nil {
		return err
	}
	if what := difference(e, &now); what != "" {
		return notListed(what)
	}
	return nil
}

// fillPack reads small files into f; false: none of them can be sent.
func (s *Source) fillPack(f *transports.Frame, id uint32, sl *slice) bool {
	defer s.work.disk.End(s.work.disk.Begin(), 0)
	size := wire.PackHeadLen
	for _, p := range sl.pack {
		size += wire.PackItemLen + int(p.entry.Size)
	}
	body := f.Resize(size)
	s.foretell(sl.pack)
	at, n := wire.PackHeadLen, 0
	for _, p := range s.readPack(body, sl.pack[:len(sl.pack):len(sl.pack)]) {
		if p.err != nil || p.what != "" {
			s.sched.leave(id, p.file)
			if p.err != nil {
				s.unreadable(p.file, p.err)
			} else {
				s.changed(p.file, p.what)
			}
			continue
		}
		length := wire.PackItemLen + int(p.file.entry.Size)
		if at != p.at { // one before it was left out
			copy(body[at:], body[p.at:p.at+length])
		}
		at += length
		n++
	}
	if n == 0 {
		return false
	}
	wire.PutPackHead(body, n)
	f.Resize(at)
	return true
}

// foretell tells those roots of a pack's files which of them come next that can make
// use of it.
func (s *Source) foretell(pack []*srcFile) {
	if !s.batched {
		return
	}
	for i := 0; i < len(pack); {
		root := pack[i].src
		var names []string
		for ; i < len(pack) && pack[i].src == root; i++ {
			names = append(names, pack[i].entry.Name)
		}
		if b, ok := root.(store.Batcher); ok {
			b.Soon(names)
		}
	}
}

// readSmall reads all of a small file behind its head; what says how it is not what was
// listed.
func (s *Source) readSmall(p *srcFile, item []byte) (what string, err error) {
	data := item[wire.PackItemLen:]
	r, err := p.src.Open(p.entry.Name)
	if err != nil {
		return "", err
	}
	defer r.Close()
	n, sum, known, err := readSum(r, data, 0)
	if n < len(data) {
		if errors.Is(err, io.EOF) {
			return "became shorter", nil
		}
		return "", fmt.Errorf("reading: %w", err)
	}
	if !known {
		sum = integrity.Whole(data)
	}
	h := wire.PackItem{File: p.id, Len: len(data), Sum: sum}
	h.Put(item)
	if s.opts.OnChange == "ignore" {
		return "", nil
	}
	now, err := r.Stat()
	if err != nil {
		return "", err
	}
	return difference(&p.entry, &now), nil
}
