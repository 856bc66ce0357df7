package engine

import (
	"context"
	"errors"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

// Batches of entries are sent when they are full or old.
const (
	batchEntries = 512
	batchAge     = 5 * time.Millisecond
)

// list walks the roots, then lists files again that changed while they were
// read, until none is left.
func (s *Source) list(ctx context.Context) {
	b := &batch{s: s}
	for i := range s.roots {
		if !s.walk(ctx, b, i) {
			return
		}
	}
	s.update(func(t *Totals) { t.Listed = true })
	t := s.snapshot()
	s.emit(events.Scan{Files: t.Files, Dirs: t.Dirs, Bytes: t.Bytes, Done: true})
	end := wire.Counts{t.Files + t.Dirs + t.Others, t.Files, t.Dirs, t.Bytes, t.Failed}
	if !b.flush() {
		return
	}
	s.mu.Lock()
	s.listed = true // before the sink hears it and may have finished
	s.mu.Unlock()
	if err := s.link.Send(end.Append(nil, wire.KindEnd)); err != nil {
		s.fail(lost(err))
		return
	}
	s.listAgain(b)
}

// walk lists one root; false ends the listing.
func (s *Source) walk(ctx context.Context, b *batch, i int) bool {
	root := &s.roots[i]
	last := time.Now()
	err := root.Store.Walk(ctx, func(se store.Entry, werr error) error {
		e := wire.Entry{Root: i, Name: se.Name, Kind: byte(se.Kind), Mode: se.Mode & 0o7777, Size: se.Size, ModTime: se.ModTime,
			UID: se.UID, GID: se.GID, Ino: se.Ino, Target: se.Target}
		if se.Name == "" {
			e.Base, e.Inside = root.Base, root.Inside
		}
		if werr != nil {
			if se.Name == "" {
				// The word itself: the job makes no sense without it.
				return wire.Failf(wire.ClassSource, "%s: %s", root.Shown, reason(werr))
			}
			s.failed(&e, wire.ClassSource, reason(werr), time.Time{})
			w, err := wire.AppendJSON(nil, wire.KindWarn, wire.Warn{Code: "source.read", Text: reason(werr), Path: []byte(s.shown(&e))})
			if err != nil {
				return err
			}
			if err := s.link.Send(w); err != nil {
				return lost(err)
			}
			return nil
		}
		if e.Kind != byte(store.File) {
			e.Size = 0
		}
		s.update(func(t *Totals) {
			switch se.Kind {
			case store.File:
				t.Files++
				t.Bytes += e.Size
			case store.Dir:
				t.Dirs++
			default:
				t.Others++
			}
		})
		if now := time.Now(); now.Sub(last) > time.Second {
			last = now
			t := s.snapshot()
			s.emit(events.Scan{Files: t.Files, Dirs: t.Dirs, Bytes: t.Bytes})
		}
		if !b.add(e) {
			return errEnded
		}
		return nil
	})
	if err == nil {
		return true
	}
	if !errors.Is(err, errEnded) {
		if f := new(wire.Fail); !errors.As(err, &f) && ctx.Err() == nil {
			err = wire.Failf(wire.ClassSource, "%s: %s", root.Shown, reason(err))
		}
		s.fail(err)
	}
	return false
}

var errEnded = errors.New("the run has ended")

// listAgain lists changed files anew as they come up.
func (s *Source) listAgain(b *batch) {
	for {
		s.mu.Lock()
		for len(s.retries) == 0 && !s.finished && s.ended == nil {
			s.cond.Wait()
		}
		if s.finished || s.ended != nil {
			s.mu.Unlock()
			return
		}
		e := s.retries[0]
		s.retries = s.retries[1:]
		s.mu.Unlock()
		old := e.Size
		if f, err := s.roots[e.Root].Store.Open(e.Name); err == nil {
			if now, err := f.Stat(); err == nil {
				e.Size, e.ModTime, e.Ino, e.Mode = now.Size, now.ModTime, now.Ino, now.Mode&0o7777
			}
			f.Close()
		}
		// A file that vanished is listed as it was: reading it says why it fails.
		s.update(func(t *Totals) { t.Bytes += e.Size - old })
		if !b.add(*e) || !b.flush() {
			return
		}
	}
}

// batch gathers entries for one message.
type batch struct {
	s     *Source
	m     wire.Manifest
	bytes int
	born  time.Time
	buf   []byte
}

// add appends an entry, waiting while too many are outstanding; false: the run
// has ended.
func (b *batch) add(e wire.Entry) bool {
	s := b.s
	s.mu.Lock()
	for len(s.pending)+len(s.files) >= maxOutstanding && !s.finished && s.ended == nil {
		if len(b.m.Entries) > 0 {
			s.mu.Unlock()
			if !b.flush() {
				return false
			}
			s.mu.Lock()
			continue
		}
		s.cond.Wait()
	}
	if s.finished || s.ended != nil {
		s.mu.Unlock()
		return false
	}
	id := s.nextID
	s.nextID++
	kept := e
	s.pending[id] = &kept
	s.mu.Unlock()
	if len(b.m.Entries) == 0 {
		b.m.First, b.born = id, time.Now()
	}
	b.m.Entries = append(b.m.Entries, e)
	b.bytes += len(e.Name) + len(e.Target) + 48
	if len(b.m.Entries) >= batchEntries || b.bytes >= 64<<10 || time.Since(b.born) > batchAge {
		return b.flush()
	}
	return true
}

func (b *batch) flush() bool {
	if len(b.m.Entries) == 0 {
		return true
	}
	b.buf = b.m.Append(b.buf[:0])
	err := b.s.link.Send(b.buf)
	b.m.Entries, b.bytes = b.m.Entries[:0], 0
	if err != nil {
		b.s.fail(lost(err))
		return false
	}
	return true
}
