package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/journal"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

// journalMin is the size in bytes from which an unfinished file has a journal.
// Below it, starting over costs less than keeping one.
const journalMin = 2 << 20

// sinkFile is a file on its way at the sink.
type sinkFile struct {
	id        uint64
	e         wire.Entry
	key       wire.Key // where sources share what they send
	name      string   // below the destination's root
	small     bool     // comes whole in a pack
	blockSize int64
	blocks    int64
	had       int64 // bytes here at the start
	replace   bool
	began     time.Time
	expect    string // hex of the hash that a small file must have
	kept      int64  // bytes written in this run; guarded by Sink.mu
	relisted  bool   // ends here, and comes again all the same; guarded by Sink.mu

	mu        sync.Mutex // guards what follows
	w         store.WriteFile
	jf        store.AppendFile
	journal   *journal.Journal
	dirty     bool // journal has what is not flushed
	bits      []uint64
	left      int64 // blocks not here
	tree      *integrity.Tree
	sum       [32]byte
	writing   []int64       // blocks being written now
	misses    map[int64]int // how often a block came damaged
	dropped   bool          // over, and the last writer closes it
	unchanged bool          // the source said so, having read all
	finishing bool          // complete, on its way to its final name
	over      bool          // ended
}

func (s *Sink) newFile(id uint64, e *wire.Entry, name string) *sinkFile {
	f := &sinkFile{id: id, e: *e, name: name, small: e.Size <= smallFile, began: time.Now()}
	f.blockSize = s.opts.BlockSizeFor(e.Size)
	f.blocks = (e.Size + f.blockSize - 1) / f.blockSize
	if !f.small {
		f.bits = make([]uint64, (f.blocks+63)/64)
		f.left = f.blocks
		f.tree = integrity.NewTree(e.Size, f.blockSize)
	}
	return f
}

func (f *sinkFile) has(block int64) bool { return f.bits[block/64]>>(block%64)&1 == 1 }

func (f *sinkFile) set(block int64) {
	f.bits[block/64] |= 1 << (block % 64)
	f.left--
}

// readyLocked claims the completion for one caller: true once, when all blocks
// are here, nobody writes and the source has vouched for them.
func (f *sinkFile) readyLocked() bool {
	if f.left > 0 || !f.unchanged || len(f.writing) > 0 || f.finishing || f.over {
		return false
	}
	f.finishing = true
	return true
}

// openLocked opens the unfinished file anew, if it is not open.
func (f *sinkFile) openLocked(s *Sink) error {
	if f.w != nil {
		return nil
	}
	w, found, err := s.dest.OpenPartial(f.name)
	if err != nil {
		return err
	}
	f.w = w
	// The journal first: an old one beside an emptied file would claim blocks
	// that are gone.
	if f.e.Size >= journalMin {
		if err := f.newJournalLocked(s); err != nil {
			return err
		}
	}
	if found {
		return w.Truncate(0)
	}
	return nil
}

func (f *sinkFile) header(s *Sink) journal.Header {
	return journal.Header{JobID: jobBytes(s.opts.JobID), Size: f.e.Size, ModTime: f.e.ModTime, Ino: f.e.Ino,
		BlockSize: f.blockSize, Hash: integrity.Name, Name: f.name}
}

// jobBytes is a job's ID as journals hold it.
func jobBytes(id string) (b [16]byte) {
	copy(b[:], id)
	return b
}

func (f *sinkFile) newJournalLocked(s *Sink) (err error) {
	if f.jf == nil {
		if f.jf, err = s.dest.OpenJournal(f.name); err != nil {
			return err
		}
	}
	f.journal, err = journal.Create(f.jf, f.header(s))
	return err
}

// resume looks for what an earlier run left of f and checks it. It returns
// false when there is nothing to go on with.
func (s *Sink) resume(f *sinkFile) (found bool, err error) {
	if s.opts.Resume == "never" || f.e.Size < journalMin {
		return false, nil
	}
	if there, err := s.dest.HasPartial(f.name); !there || err != nil {
		return false, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.w, found, err = s.dest.OpenPartial(f.name); err != nil {
		return false, err
	}
	if f.jf, err = s.dest.OpenJournal(f.name); err != nil {
		return false, err
	}
	j, st, jerr := journal.Open(f.jf)
	want := f.header(s)
	if found && jerr == nil && otherBlocks(st.Header, want) {
		return true, s.reblock(f, st)
	}
	if !found || jerr != nil || st.Header != want {
		if s.opts.Resume == "require" {
			return false, nil // refused, and kept for who knows better
		}
		// Of another state of the source, or unreadable: start over.
		if err := f.newJournalLocked(s); err != nil {
			return false, err
		}
		return false, f.w.Truncate(0)
	}
	size, err := f.w.Size()
	if err != nil {
		return false, err
	}
	f.journal = j
	buf := make([]byte, f.blockSize)
	for b, sum := range st.Recorded() {
		if s.over() {
			return false, context.Canceled
		}
		off := b * f.blockSize
		n := min(f.blockSize, f.e.Size-off)
		if b >= f.blocks || off+n > size {
			continue
		}
		if !st.Synced(b) || s.opts.Checksum || s.opts.Rehash {
			// Noted after the last sync, the disk may not have it; or it is passed on.
			if k, _ := f.w.ReadAt(buf[:n], off); int64(k) < n || integrity.Block(buf[:n], off, f.e.Size) != integrity.Sum(sum) {
				continue
			}
		}
		f.set(b)
		f.tree.Add(b, sum)
		f.had += n
	}
	return true, nil
}

// lacking lists the blocks that are not here, and cuts the list when it would
// be longer than a message may be: the rest is sent although it is here.
func (f *sinkFile) lacking() (ext [][2]int64) {
	for b := int64(0); b < f.blocks; b++ {
		if f.has(b) {
			continue
		}
		lo := b
		for b < f.blocks && !f.has(b) {
			b++
		}
		if len(ext) == wire.MaxExtents {
			ext[len(ext)-1][1] = b
			continue
		}
		ext = append(ext, [2]int64{lo, b})
	}
	return ext
}

func storeEntry(name string, e *wire.Entry) store.Entry {
	return store.Entry{Name: name, Kind: store.Kind(e.Kind), Size: e.Size, Mode: e.Mode, ModTime: e.ModTime, UID: e.UID, GID: e.GID, Target: e.Target}
}

// begin notes that a block is being written; false: it is here or comes already.
func (f *sinkFile) beginLocked(block int64) bool {
	if f.has(block) || slices.Contains(f.writing, block) {
		return false
	}
	f.writing = append(f.writing, block)
	return true
}

// endLocked is the other end of beginLocked; last tells that nobody writes any
// more to a file that was dropped, and the caller has to release it.
func (f *sinkFile) endLocked(block int64) (last bool) {
	i := slices.Index(f.writing, block)
	f.writing = slices.Delete(f.writing, i, i+1)
	return f.dropped && len(f.writing) == 0
}

// complete brings a file with all its blocks to the committer.
func (s *Sink) complete(f *sinkFile) {
	if err := s.seal(f); err != nil {
		if err := s.fileError(f, err); err != nil {
			s.fail(err)
		}
		return
	}
	s.commits.add(f)
}

// seal gives a complete file its length and attributes and checks what is to be
// checked of the whole.
func (s *Sink) seal(f *sinkFile) error {
	f.mu.Lock()
	root, ok := f.tree.Root()
	w := f.w
	f.sum = root
	f.mu.Unlock()
	if !ok {
		return wire.Failf(wire.ClassInternal, "%s: hash tree incomplete", f.name)
	}
	if n, err := w.Size(); err != nil {
		return err
	} else if n != f.e.Size {
		if err := w.Truncate(f.e.Size); err != nil {
			return err
		}
	}
	if s.opts.Verify == "readback" {
		if err := s.readBack(w, f, root); err != nil {
			return err
		}
	}
	if s.opts.Expect != "" && root.String() != s.opts.Expect {
		return wire.Failf(wire.ClassIntegrity, "%s is %s but %s was expected; kept as %s", integrity.Name, root, s.opts.Expect, s.dest.TempName(f.name))
	}
	return w.SetAttrs(storeEntry(f.name, &f.e), s.opts.Attrs)
}

// readBack reads the file from storage and compares its hash.
func (s *Sink) readBack(w store.WriteFile, f *sinkFile, root integrity.Sum) error {
	if err := w.Sync(); err != nil {
		return err
	}
	got, err := hashReader(w, f.e.Size, f.blockSize, s.over)
	if err != nil {
		return err
	}
	if got != root {
		return wire.Failf(wire.ClassIntegrity, "reads back as %s, but %s was written: the storage is not sound", got, root)
	}
	return nil
}

// over tells whether the run has ended.
func (s *Sink) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended != nil
}

// release closes what f holds open. The caller has made f over.
func (f *sinkFile) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.journal != nil {
		f.journal.Close() // closes jf too
	} else if f.jf != nil {
		f.jf.Close()
	}
	if f.w != nil {
		f.w.Close()
	}
	f.w, f.jf, f.journal = nil, nil, nil
}

// endFile ends f: class 0 with its final name, else with an error.
func (s *Sink) endFile(f *sinkFile, class wire.Class, text string) {
	f.mu.Lock()
	if f.over {
		f.mu.Unlock()
		return
	}
	f.over = true
	f.mu.Unlock()
	for { // writers leave quickly; they see over before they come again
		f.mu.Lock()
		n := len(f.writing)
		f.mu.Unlock()
		if n == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if class != wire.ClassNone && (s.opts.Discard || class == wire.ClassChanged) {
		_ = s.dest.Discard(f.name) // what stays is found and replaced by the next run
	}
	f.release()
	s.mu.Lock()
	s.forgetLocked(f)
	d := wire.FileDone{ID: f.id, Class: class, Sum: f.sum, Text: text}
	if _, due := s.untold[f.id]; due {
		s.untold[f.id] = &d
	} else {
		s.doneQ = append(s.doneQ, d)
	}
	e := endedFile{id: f.id, size: f.e.Size, ok: class == wire.ClassNone}
	if e.ok {
		e.done = f.had + f.kept
	}
	again := f.relisted
	if !again {
		s.lately.add(e)
	}
	// Whoever finds something in the queue has been woken by who came first.
	news := len(s.doneQ) == 1 || s.allDoneLocked()
	s.mu.Unlock()
	s.report1(f, class, text)
	if again {
		s.uncount(e)
	}
	if news {
		s.wake()
	}
}

// forgetLocked takes a file that has ended off the books.
func (s *Sink) forgetLocked(f *sinkFile) {
	if s.files[f.id] != f {
		return
	}
	delete(s.files, f.id)
	delete(s.large, f.id)
	if s.keys != nil && s.keys[f.key] == f {
		delete(s.keys, f.key)
	}
	delete(s.names, f.name)
	s.need -= f.e.Size - f.had - f.kept
}

// gone takes the source's word that a wanted file will not come.
func (s *Sink) gone(m *wire.Gone) error {
	s.mu.Lock()
	f, known := s.files[m.ID], m.ID < s.nextID
	if known && m.Retry {
		s.retries++ // also of a file that has ended here meanwhile: it comes again
	}
	s.mu.Unlock()
	if !known {
		return wire.Failf(wire.ClassProtocol, "the other end gave up a file which it had not listed")
	}
	if f == nil { // ended here already, the source will hear
		if m.Retry {
			s.relist(m.ID)
		}
		return nil
	}
	f.mu.Lock()
	busy := f.finishing || f.over
	f.over = f.over || !busy
	f.dropped = f.dropped || !busy
	writers := len(f.writing)
	f.mu.Unlock()
	if busy {
		if m.Retry {
			s.relist(m.ID)
		}
		return nil
	}
	s.mu.Lock()
	s.forgetLocked(f)
	s.mu.Unlock()
	if m.Class == wire.ClassChanged || s.opts.Discard || f.e.Size < journalMin {
		_ = s.dest.Discard(f.name)
	}
	if writers == 0 {
		f.release()
	} // else the last of them does
	if m.Retry { // counted again when it comes
		done := s.done(f)
		s.update(func(t *Totals) { t.Files--; t.Bytes -= f.e.Size; t.DoneBytes -= done })
	} else {
		s.report1(f, m.Class, m.Text)
	}
	s.wake()
	return nil
}

// done is the payload of f that was counted as done.
func (s *Sink) done(f *sinkFile) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f.had + f.kept
}

// noSpace is the error for a full destination.
func (s *Sink) noSpace(err error) error {
	free := ""
	switch n, inodes, ferr := s.dest.Free(); {
	case ferr == nil && inodes == 0:
		free = " (no inodes are free there: too many files)"
	case ferr == nil:
		free = fmt.Sprintf(" (%d bytes are free there)", n)
	}
	return &wire.Fail{Class: wire.ClassSpace, Text: fmt.Sprintf("%s: %s%s", s.target.Shown, reason(err), free),
		Hints: []string{"make room there, then give the same command again: what has arrived is kept"}}
}
