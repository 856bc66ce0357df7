package engine

import (
	"context"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

// Bounds of one batch of commits. Ours: what is in a batch and not committed is
// sent again after a kill, unless it has a journal; and its files are open.
const (
	commitFiles = 4096
	commitBytes = 32 << 20
	// commitPause is how long the committer gathers when more is coming. A sync
	// costs a few milliseconds on a good disk, and much more on a bad one.
	commitPause = 200 * time.Millisecond
)

// committer gives complete files their final names: at once where nothing needs
// a sync, else in batches with one sync for all.
type committer struct {
	s    *Sink
	more chan struct{} // wakes run; capacity 1

	mu    sync.Mutex // guards what follows
	queue []*sinkFile
	bytes int64 // of files in queue without journal
	room  *sync.Cond
	ended bool
}

func (c *committer) init(s *Sink) {
	c.s, c.more = s, make(chan struct{}, 1)
	c.room = sync.NewCond(&c.mu)
}

// direct tells that nothing is gained by batches.
func (c *committer) direct() bool {
	return c.s.opts.Fsync == "none" || c.s.opts.Fsync == "file" || c.s.opts.Fsync == "dir" || c.s.dest.Volatile()
}

// add takes a complete file. It blocks while too many wait, and with it the
// stream that brought the file.
func (c *committer) add(f *sinkFile) {
	if c.direct() {
		c.commit([]*sinkFile{f})
		return
	}
	c.mu.Lock()
	for (len(c.queue) >= 2*commitFiles || c.bytes >= 2*commitBytes) && !c.ended {
		c.room.Wait()
	}
	c.pushLocked(f)
	c.mu.Unlock()
}

// later takes a complete file for run, never blocking.
func (c *committer) later(f *sinkFile) {
	c.mu.Lock()
	c.pushLocked(f)
	c.mu.Unlock()
}

func (c *committer) pushLocked(f *sinkFile) {
	c.queue = append(c.queue, f)
	if f.e.Size < journalMin {
		c.bytes += f.e.Size
	}
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// run commits batches until ctx ends.
func (c *committer) run(ctx context.Context) {
	defer func() {
		c.mu.Lock()
		c.ended = true
		c.room.Broadcast()
		c.mu.Unlock()
	}()
	for {
		select {
		case <-c.more:
		case <-ctx.Done():
			return
		}
		c.gather(ctx)
		c.mu.Lock()
		batch := c.queue
		c.queue, c.bytes = nil, 0
		c.room.Broadcast()
		c.mu.Unlock()
		if len(batch) > 0 {
			c.commit(batch)
		}
	}
}

// gather waits a little while more files are on their way.
func (c *committer) gather(ctx context.Context) {
	deadline := time.NewTimer(commitPause)
	defer deadline.Stop()
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for {
		c.mu.Lock()
		n, bytes := len(c.queue), c.bytes
		c.mu.Unlock()
		c.s.mu.Lock()
		all := n >= len(c.s.files) && c.s.endSeen
		c.s.mu.Unlock()
		if all || n >= commitFiles || bytes >= commitBytes {
			return
		}
		select {
		case <-t.C:
		case <-deadline.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// commit syncs and renames files.
func (c *committer) commit(batch []*sinkFile) {
	s := c.s
	ready := batch[:0:len(batch)]
	for _, f := range batch {
		if f.had == f.e.Size && f.had > 0 { // came by later: not sealed yet
			if err := s.seal(f); err != nil {
				c.failed(f, err)
				continue
			}
		}
		if f.expect != "" && hex.EncodeToString(f.sum[:]) != f.expect {
			c.failed(f, wire.Failf(wire.ClassIntegrity, "%s is %x but %s was expected; kept as %s", integrity.Name, f.sum, f.expect, s.dest.TempName(f.name)))
			continue
		}
		ready = append(ready, f)
	}
	names := make([]string, len(ready))
	for i, f := range ready {
		names[i] = f.name
	}
	if s.opts.Fsync != "none" && !s.dest.Volatile() {
		start := s.work.sync.Begin()
		err := s.dest.Sync(names)
		s.work.sync.End(start, 0)
		if err != nil {
			for _, f := range ready {
				c.failed(f, err)
			}
			return
		}
	}
	var named []string
	for _, f := range ready {
		if err := s.dest.Commit(f.name); err != nil {
			c.failed(f, err)
			continue
		}
		if f.e.Size >= journalMin {
			if err := s.dest.RemoveJournal(f.name); err != nil {
				s.warn("dest.journal", reason(err), f.name)
			}
		}
		named = append(named, f.name)
		if s.opts.Fsync != "dir" {
			s.endFile(f, wire.ClassNone, "")
		}
	}
	if s.opts.Fsync == "dir" {
		err := s.dest.SyncDirs(named)
		for _, f := range ready {
			if err != nil {
				c.failed(f, err)
			} else {
				s.endFile(f, wire.ClassNone, "")
			}
		}
	}
}

func (c *committer) failed(f *sinkFile, err error) {
	if errors.Is(err, store.ErrNoSpace) {
		c.s.fail(c.s.noSpace(err))
		return
	}
	c.s.endFile(f, classify(err, true), reason(err))
}

// report1 tells the sink's user what came of a file.
func (s *Sink) report1(f *sinkFile, class wire.Class, text string) {
	ev := events.File{Path: f.name, Dest: s.target.Shown, SizeBytes: f.e.Size, SentBytes: f.e.Size - f.had, Ms: time.Since(f.began).Milliseconds()}
	if class != wire.ClassNone {
		done := s.done(f) // its bytes are no use to anybody now
		s.update(func(t *Totals) { t.Failed++; t.DoneBytes -= done })
		ev.Action, ev.Error, ev.Class, ev.Verified = "fail", text, class, "none"
		s.emit(ev)
		return
	}
	s.update(func(t *Totals) { t.OK++; t.DoneFiles++ })
	ev.Action, ev.Verified = "new", "wire"
	if s.opts.Verify == "readback" && !f.small {
		ev.Verified = "readback"
	}
	switch {
	case f.had > 0:
		ev.Action = "resume"
	case f.replace:
		ev.Action = "replace"
	}
	ev.Hash = integrity.Name + ":" + hex.EncodeToString(f.sum[:])
	s.emit(ev)
}
