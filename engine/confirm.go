package engine

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

// Confirmations go out when so many bytes wait for one, or so late at most.
const (
	confirmBytes = 4 << 20
	confirmDelay = 5 * time.Millisecond
	// markEvery is how often journals get a mark, behind a sync of the data.
	markEvery = 2 * time.Second
)

// wake tells the confirmer that there is something to say.
func (s *Sink) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// confirm notes what is stored in the journals, then tells the source, and
// ends the job when all is done.
func (s *Sink) confirm(ctx context.Context) {
	t := time.NewTimer(confirmDelay)
	defer t.Stop()
	for {
		select {
		case <-s.kick:
		case <-ctx.Done():
			return
		}
		if s.fresh.Load() < confirmBytes && !s.allDone() {
			t.Reset(confirmDelay)
			for s.fresh.Load() < confirmBytes {
				select {
				case <-t.C:
				case <-s.kick:
					if !s.allDone() {
						continue
					}
				case <-ctx.Done():
					return
				}
				break
			}
		}
		if err := s.confirmNow(); err != nil {
			s.fail(err)
			return
		}
		if s.allDone() {
			if err := s.finish(); err != nil {
				s.fail(err)
			}
			return
		}
	}
}

// confirmNow says what is stored by now.
func (s *Sink) confirmNow() error {
	s.fresh.Store(0)
	var m wire.Stored
	s.mu.Lock()
	m = append(m, s.last...)
	s.last = nil
	for _, r := range s.streams {
		if n := r.count.Load(); n != r.told {
			m = append(m, wire.StreamCount{Stream: r.id, Frames: n})
			r.told = n
		}
	}
	s.mu.Unlock()
	for _, f := range s.journaled() {
		if err := f.flush(); err != nil {
			if err := s.fileError(f, err); err != nil {
				return err
			}
		}
	}
	if len(m) > 0 {
		if err := s.link.Send(m.Append(nil)); err != nil {
			return lost(err)
		}
	}
	return s.sendDone()
}

// flush writes what the journal has not written yet.
func (f *sinkFile) flush() error {
	f.mu.Lock()
	j := f.journal
	dirty := f.dirty
	f.dirty = false
	f.mu.Unlock()
	if j == nil || !dirty {
		return nil
	}
	return j.Flush()
}

// sendDone tells which files have ended.
func (s *Sink) sendDone() error {
	s.mu.Lock()
	q := s.doneQ
	s.doneQ = nil
	s.mu.Unlock()
	for len(q) > 0 {
		n := min(len(q), wire.MaxManifest)
		if err := s.link.Send(q[:n].Append(nil)); err != nil {
			return lost(err)
		}
		q = q[n:]
	}
	return nil
}

// told lets files end on which the source has the verdict: those of which all was here
// already, and those that have come with what others get, too. A source that heard of
// the end before the verdict would wait for another end for ever. The caller wakes the
// confirmer.
func (s *Sink) told(l wire.Verdicts) {
	for i := range l {
		if l[i].Verdict != wire.Part && s.untold == nil {
			continue
		}
		s.mu.Lock()
		f := s.files[l[i].ID]
		if d := s.untold[l[i].ID]; d != nil {
			s.doneQ = append(s.doneQ, *d)
		}
		delete(s.untold, l[i].ID)
		s.mu.Unlock()
		if l[i].Verdict != wire.Part {
			continue
		}
		if f != nil && f.had == f.e.Size {
			s.commits.later(f)
		}
	}
}

// allDone tells whether the source has listed all and every file has ended.
func (s *Sink) allDone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.allDoneLocked()
}

func (s *Sink) allDoneLocked() bool {
	return s.endSeen && !s.checking && len(s.files) == 0 && len(s.sums) == 0 && s.retries <= 0
}

// finish sets the attributes of directories, innermost first, and ends the job.
func (s *Sink) finish() error {
	if err := s.sendDone(); err != nil {
		return err
	}
	s.mu.Lock()
	dirs := s.dirs
	s.dirs = nil
	s.mu.Unlock()
	for i := len(dirs) - 1; i >= 0; i-- {
		d := &dirs[i]
		e := store.Entry{Name: d.name, Kind: store.Dir, Mode: d.mode, ModTime: d.mtime, UID: d.uid, GID: d.gid}
		if err := s.dest.SetAttrs(e, s.opts.Attrs); err != nil {
			s.warn("dest.attrs", reason(err), d.name)
		}
	}
	if s.opts.Fsync == "dir" && s.dest != nil && len(dirs) > 0 {
		var names []string
		for i := range dirs {
			if dirs[i].name != "" { // its parent is not ours to sync
				names = append(names, dirs[i].name)
			}
		}
		if err := s.dest.SyncDirs(names); err != nil {
			return err
		}
	}
	t := s.snapshot()
	s.mu.Lock()
	s.finished = true
	s.mu.Unlock()
	if err := s.link.Send(wire.Counts{t.OK, t.Verified, t.Failed}.Append(nil, wire.KindFinished)); err != nil {
		return lost(err)
	}
	if s.paths.Hasty {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stop()
		return nil
	}
	// The source leaves first: streams that ended before it has read the last
	// message would look broken to it.
	time.AfterFunc(farewell, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stop()
	})
	return nil
}

// farewell is how long the sink waits for the source to leave.
const farewell = 5 * time.Second

// marks puts marks behind synced data, so that a crash of the machine leaves
// little to check again.
func (s *Sink) marks(ctx context.Context) {
	t := time.NewTicker(markEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if s.opts.Fsync == "none" {
			continue // nothing is synced, so nothing may be marked
		}
		for _, f := range s.journaled() {
			f.mu.Lock()
			j, w := f.journal, f.w
			f.mu.Unlock()
			if j == nil {
				continue
			}
			sync := w.Sync
			if s.dest.Volatile() {
				sync = nil
			}
			// A failing sync is met again when the file is complete; until then
			// no mark is what says so.
			start := s.work.sync.Begin()
			_ = j.Mark(sync)
			s.work.sync.End(start, 0)
		}
	}
}

// journaled lists the files that have a journal.
func (s *Sink) journaled() []*sinkFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.large))
}

// closeFiles ends what is unfinished: journals are closed, cleanly if the disk
// takes the data in time.
func (s *Sink) closeFiles(cause error) {
	s.mu.Lock()
	left := s.files
	s.files, s.large = make(map[uint64]*sinkFile), make(map[uint64]*sinkFile)
	d := s.dest
	s.mu.Unlock()
	// Two seconds after its connection an end must be gone; a slow disk gets
	// most of that, and what is not marked is checked by the next run.
	late := time.Now().Add(1200 * time.Millisecond)
	closed := make(chan struct{})
	go func() { // ends with the disk's answers, or with the process
		defer close(closed)
		for _, f := range left {
			_ = f.flush() // quick; what is not noted is sent again
		}
		for _, f := range left {
			s.closeFile(f, d, s.opts.Discard && cause != nil, late)
		}
		if d != nil {
			d.Close()
		}
	}()
	select {
	case <-closed:
	case <-time.After(time.Until(late)):
	}
}

// closeFile closes an unfinished file; its journal says how far it is synced
// unless that has no time left.
func (s *Sink) closeFile(f *sinkFile, d store.Dest, discard bool, late time.Time) {
	f.mu.Lock()
	f.over = true
	j, w := f.journal, f.w
	f.mu.Unlock()
	switch {
	case discard:
		f.release()
		_ = d.Discard(f.name)
		return
	case j == nil:
	case s.opts.Fsync != "none" && time.Now().Before(late):
		sync := w.Sync
		if d.Volatile() {
			sync = nil
		}
		_ = j.CloseClean(sync) // what is not noted is checked by the next run
	default:
		_ = j.Flush()
	}
	f.release()
}

// report is this end's counters for the other end.
func (s *Sink) report() wire.Report {
	r := wire.Report{Span: int64(time.Since(s.start)), Disk: int64(s.work.disk.Total(0)), Sync: int64(s.work.sync.Total(0))}
	s.work.fill(&r)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.streams {
		if x.id == inbandID && len(s.streams) > 1 {
			continue
		}
		r.Streams++
		st := x.st.Stats()
		s.waited += max(0, st.RecvBlocked-x.waited)
		x.waited = st.RecvBlocked
	}
	r.Network = int64(s.waited)
	return r
}
