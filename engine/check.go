package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gomover/gomover/events"
	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/journal"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

// checkers is how many goroutines look up the files of one batch. Ours: on a
// local disk two keep up with any walk; on a network file system each look-up
// is a round trip.
const checkers = 4

// check gives the verdicts, in the order of the entries.
func (s *Sink) check(ctx context.Context) {
	known := newFreshDirs()
	for {
		var it checkItem
		select {
		case it = <-s.manifests:
		case <-ctx.Done():
			return
		}
		var err error
		switch {
		case it.sum != nil:
			err = s.compareSum(it.sum)
		case it.end:
			s.mu.Lock()
			if s.endSeen {
				err = wire.Failf(wire.ClassProtocol, "the other end ended its list twice")
			}
			s.endSeen = true
			s.mu.Unlock()
			s.update(func(t *Totals) { t.Listed = true })
			t := s.snapshot()
			s.emit(events.Scan{Files: t.Files, Dirs: t.Dirs, Bytes: t.Bytes, Done: true})
			s.wake()
		default:
			// Entries that were promised are off that book before they are on
			// another one: meanwhile nobody may think that all is done.
			s.setChecking(true)
			err = s.checkBatch(&it.m, known)
			s.setChecking(false)
			s.wake()
		}
		if err != nil {
			s.fail(err)
			return
		}
	}
}

func (s *Sink) setChecking(on bool) {
	s.mu.Lock()
	s.checking = on
	s.mu.Unlock()
}

// freshDirs remembers directories that this run has made: nothing stands in
// them, so their files need no look-up. It forgets at will.
type freshDirs struct{ m map[string]bool }

func newFreshDirs() *freshDirs { return &freshDirs{make(map[string]bool)} }

func (d *freshDirs) add(name string) {
	if len(d.m) >= 8192 {
		clear(d.m)
	}
	d.m[name] = true
}

func (d *freshDirs) holds(name string) bool {
	i := strings.LastIndexByte(name, '/')
	return i >= 0 && d.m[name[:i]]
}

// checkBatch gives the verdicts on a batch: directories one by one, the rest
// together, as files in one directory do not depend on each other.
func (s *Sink) checkBatch(m *wire.Manifest, known *freshDirs) error {
	s.mu.Lock()
	if m.First != s.nextID || len(s.files)+len(s.sums)+len(m.Entries) > maxListed {
		s.mu.Unlock()
		return wire.Failf(wire.ClassProtocol, "the other end listed more or other files than it may")
	}
	s.nextID += uint64(len(m.Entries))
	s.mu.Unlock()
	out := make(wire.Verdicts, len(m.Entries))
	for i := 0; i < len(m.Entries); {
		e := &m.Entries[i]
		id := m.First + uint64(i)
		if err := s.count(e); err != nil {
			return err
		}
		if e.Name == "" {
			if err := s.openRoot(e); err != nil {
				return err
			}
		}
		if store.Kind(e.Kind) == store.Dir || e.Name == "" {
			v, err := s.checkEntry(id, e, known, false)
			if err != nil {
				return err
			}
			out[i] = v
			i++
			continue
		}
		j := i + 1
		for j < len(m.Entries) && store.Kind(m.Entries[j].Kind) != store.Dir && m.Entries[j].Name != "" {
			if err := s.count(&m.Entries[j]); err != nil {
				return err
			}
			j++
		}
		if err := s.checkRun(m, i, j, known, out); err != nil {
			return err
		}
		i = j
	}
	send := out[:0]
	for _, v := range out {
		if v.Verdict != 0 {
			send = append(send, v)
		}
	}
	if len(send) == 0 {
		return nil
	}
	for len(send) > 0 {
		n := verdictsThatFit(send)
		if err := s.link.Send(send[:n].Append(nil)); err != nil {
			return lost(err)
		}
		s.told(send[:n])
		send = send[n:]
	}
	s.wake()
	return nil
}

// verdictsThatFit is how many of the verdicts one message can hold: resumed
// files in many pieces take room.
func verdictsThatFit(l wire.Verdicts) int {
	extents, text := 0, 0
	for i := range l {
		extents, text = extents+len(l[i].Extents), text+len(l[i].Text)
		if i > 0 && (extents > wire.MaxExtents || text > wire.MaxMessage/4) {
			return i
		}
	}
	return len(l)
}

// checkRun gives the verdicts on entries i to j, none of them a directory.
func (s *Sink) checkRun(m *wire.Manifest, i, j int, known *freshDirs, out wire.Verdicts) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first error
	step := max(16, (j-i+checkers-1)/checkers)
	for lo := i; lo < j; lo += step {
		hi := min(lo+step, j)
		run := func() {
			for k := lo; k < hi; k++ {
				v, err := s.checkEntry(m.First+uint64(k), &m.Entries[k], known, known.holds(s.nameOf(&m.Entries[k])))
				if err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
					return
				}
				out[k] = v
			}
		}
		if hi == j {
			run()
		} else {
			wg.Go(run)
		}
	}
	wg.Wait()
	return first
}

// count checks an entry's bounds and counts it.
func (s *Sink) count(e *wire.Entry) error {
	if err := store.CheckName(e.Name); err != nil {
		return wire.Failf(wire.ClassProtocol, "the other end sent the name %q, which leaves the destination", e.Name)
	}
	s.mu.Lock()
	bad := e.Name != "" && (e.Root >= len(s.prefixes) || s.rootKind[e.Root] != store.Dir)
	if e.Attempt > 0 {
		s.retries--
		bad = bad || s.retries < 0
	}
	late := s.endSeen && e.Attempt == 0
	s.mu.Unlock()
	if late {
		return wire.Failf(wire.ClassProtocol, "the other end listed %q behind the end of its list", e.Name)
	}
	if e.Name == "" && e.Attempt > 0 {
		bad = bad || e.Root >= len(s.prefixes)
	}
	if bad {
		return wire.Failf(wire.ClassProtocol, "the other end listed %q without what it is in", e.Name)
	}
	s.update(func(t *Totals) {
		switch store.Kind(e.Kind) {
		case store.File:
			t.Files++
			t.Bytes += e.Size
		case store.Dir:
			t.Dirs++
		default:
			t.Others++
		}
	})
	return nil
}

// openRoot finds where a root entry goes and opens the destination for it.
func (s *Sink) openRoot(e *wire.Entry) error {
	if e.Attempt > 0 {
		return nil // known already
	}
	s.mu.Lock()
	n := len(s.prefixes)
	s.mu.Unlock()
	if e.Root != n {
		return wire.Failf(wire.ClassProtocol, "the other end listed its sources out of order")
	}
	if s.target.Accept != nil {
		if err := s.target.Accept(n, store.Kind(e.Kind), e.Base, e.Inside); err != nil {
			return err
		}
	}
	p, err := s.target.resolve(store.Kind(e.Kind), e.Base, e.Inside)
	if err != nil {
		return err
	}
	s.mu.Lock()
	twice := p.name != "" && slices.Contains(s.prefixes, p.name)
	s.mu.Unlock()
	if twice {
		return wire.Failf(wire.ClassUsage, "two sources would both be written to %s/%s", strings.TrimSuffix(s.target.Shown, "/"), p.name)
	}
	s.mu.Lock()
	d := s.dest
	root := s.destRoot
	s.mu.Unlock()
	if d == nil {
		if d, err = s.target.Open(p.root, p.create); err != nil {
			return wire.Failf(classify(err, true), "%s: %s", s.target.Shown, reason(err))
		}
	} else if root != p.root {
		return wire.Failf(wire.ClassInternal, "two roots: %s and %s", root, p.root)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dest, s.destRoot = d, p.root
	s.prefixes = append(s.prefixes, p.name)
	s.rootKind = append(s.rootKind, store.Kind(e.Kind))
	return nil
}

// nameOf is an entry's name below the destination's root.
func (s *Sink) nameOf(e *wire.Entry) string {
	s.mu.Lock()
	p := s.prefixes[e.Root]
	s.mu.Unlock()
	switch {
	case e.Name == "":
		return p
	case p == "":
		return e.Name
	}
	return p + "/" + e.Name
}

// checkEntry gives the verdict on one entry. fresh: nothing stands there. A
// verdict of zero is given later. An error ends the job.
func (s *Sink) checkEntry(id uint64, e *wire.Entry, known *freshDirs, fresh bool) (wire.EntryVerdict, error) {
	v := wire.EntryVerdict{ID: id}
	name := s.nameOf(e)
	var have store.Entry
	err := error(fs.ErrNotExist)
	if !fresh && name != "" {
		have, err = s.dest.Lookup(name)
	}
	exists := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s.refuse(v, name, err)
	}
	switch store.Kind(e.Kind) {
	case store.Dir:
		if exists && have.Kind == store.File {
			return s.refuseText(v, name, wire.ClassDest, "is a file here and a directory at the source")
		}
		if name != "" {
			if err := s.dest.Mkdir(name); err != nil {
				return s.refuse(v, name, err)
			}
			if !exists {
				known.add(name)
			}
		}
		s.dirLater(dirEnd{name, e.Mode, e.ModTime, e.UID, e.GID})
		v.Verdict = wire.Made
	case store.Symlink:
		if exists && have.Kind == store.Dir {
			return s.refuseText(v, name, wire.ClassDest, "is a directory here and a link at the source")
		}
		if exists && have.Kind == store.Symlink && have.Target == e.Target {
			s.freshen(e, name, have)
			v.Verdict = wire.Same
			break
		}
		if exists && s.opts.Existing == "skip" {
			v.Verdict, v.Text = wire.Ignored, "exists"
			break
		}
		if exists && s.opts.Existing == "fail" {
			return s.refuseText(v, name, wire.ClassDest, "exists")
		}
		if err := s.dest.Symlink(storeEntry(name, e)); err != nil {
			return s.refuse(v, name, err)
		}
		s.setAttrs(e, name)
		v.Verdict = wire.Made
	case store.File:
		return s.checkFile(v, e, name, have, exists)
	default:
		v.Verdict, v.Text = wire.Ignored, "device, pipe or socket"
		s.update(func(t *Totals) { t.Ignored++ })
	}
	if v.Verdict == wire.Made {
		s.emit(events.File{Path: name, Dest: s.target.Shown, Action: map[store.Kind]string{store.Dir: "dir", store.Symlink: "link"}[store.Kind(e.Kind)], Verified: "wire"})
	}
	return v, nil
}

// refuse turns a file error into a verdict; a full disk ends the job.
func (s *Sink) refuse(v wire.EntryVerdict, name string, err error) (wire.EntryVerdict, error) {
	if errors.Is(err, store.ErrNoSpace) {
		return v, s.noSpace(err)
	}
	return s.refuseText(v, name, classify(err, true), reason(err))
}

func (s *Sink) refuseText(v wire.EntryVerdict, name string, class wire.Class, text string) (wire.EntryVerdict, error) {
	v.Verdict, v.Class, v.Text = wire.Failed, class, text
	s.update(func(t *Totals) { t.Failed++ })
	s.emit(events.File{Path: name, Dest: s.target.Shown, Action: "fail", Error: text, Verified: "none", Class: class})
	return v, nil
}

// sameTime compares modification times at the coarser of both sides' steps,
// which shows in trailing zeros.
func sameTime(a, b int64) bool {
	if a == b {
		return true
	}
	for _, step := range []int64{1000, 1e6, 1e9, 2e9} {
		if b%step == 0 && a-a%step == b || a%step == 0 && b-b%step == a {
			return true
		}
	}
	return false
}

func (s *Sink) checkFile(v wire.EntryVerdict, e *wire.Entry, name string, have store.Entry, exists bool) (wire.EntryVerdict, error) {
	if exists && have.Kind == store.Dir {
		return s.refuseText(v, name, wire.ClassDest, "is a directory here and a file at the source")
	}
	if exists && have.Kind == store.Special && s.opts.Existing != "skip" {
		return s.refuseText(v, name, wire.ClassDest, "is a device, a pipe or a socket here, and is not replaced")
	}
	if exists {
		same := have.Kind == store.File && have.Size == e.Size && (s.opts.SizeOnly || sameTime(e.ModTime, have.ModTime))
		switch {
		case s.opts.Existing == "skip":
			return s.ignored(v, e, name, "exists"), nil
		case s.opts.Existing == "fail":
			return s.refuseText(v, name, wire.ClassDest, "exists")
		case s.opts.Existing == "replace":
		case s.opts.Checksum && have.Kind == store.File && have.Size == e.Size:
			s.mu.Lock()
			s.sums[v.ID] = &sumWait{e: *e, name: name, have: have}
			s.mu.Unlock()
			v.Verdict = wire.SendSum
			return v, nil
		case same && !s.opts.Checksum:
			return s.same(v, e, name, have), nil
		}
		v.Replace = true
	}
	return s.want(v, e, name)
}

// want makes the file at once if it is empty, else asks for what is missing.
func (s *Sink) want(v wire.EntryVerdict, e *wire.Entry, name string) (wire.EntryVerdict, error) {
	if n := (e.Size-1)/s.opts.BlockSizeFor(e.Size) + 1; n > journal.MaxBlocks {
		return s.refuseText(v, name, wire.ClassDest, fmt.Sprintf("%s in %d blocks, more than %d: a larger --block-size is needed", short(e.Size), n, journal.MaxBlocks))
	}
	f := s.newFile(v.ID, e, name)
	f.replace = v.Replace
	if s.opts.Expect != "" && f.small {
		f.expect = s.opts.Expect
	}
	if e.Size == 0 && f.expect == "" {
		err := s.dest.WriteSmall(storeEntry(name, e), nil, s.opts.Attrs)
		if err == nil {
			err = s.dest.Commit(name)
		}
		if err != nil {
			return s.refuse(v, name, err)
		}
		v.Verdict = wire.Made
		s.update(func(t *Totals) { t.OK++; t.DoneFiles++ })
		s.emit(events.File{Path: name, Dest: s.target.Shown, Action: "new", Verified: "wire", Hash: integrity.Name + ":" + integrity.Whole(nil).String()})
		return v, nil
	}
	s.mu.Lock()
	twice := s.names[name]
	s.names[name] = true
	s.mu.Unlock()
	if twice {
		return s.refuseText(v, name, wire.ClassDest, "another source has the same name here")
	}
	wanted := false
	defer func() {
		if !wanted {
			s.mu.Lock()
			delete(s.names, name)
			s.mu.Unlock()
		}
	}()
	found, err := s.resume(f)
	if err != nil {
		f.release()
		if s.over() {
			return v, err
		}
		return s.refuse(v, name, err)
	}
	if !found && s.opts.Resume == "require" {
		f.release()
		return s.refuseText(v, name, wire.ClassDest, "nothing to resume, and --resume=require")
	}
	if err := s.room(e.Size - f.had); err != nil {
		f.release()
		return v, err
	}
	v.Verdict = wire.Want
	if found {
		v.Verdict, v.Have, v.Extents = wire.Part, f.had, f.lacking()
		s.update(func(t *Totals) { t.DoneBytes += f.had; t.Had += f.had })
	}
	wanted = true
	if found && f.left == 0 {
		// All is here, of the very file that was listed now.
		f.unchanged, f.finishing = true, true
	}
	s.mu.Lock()
	s.files[v.ID] = f
	if s.keys != nil { // what others want, too, may come before the source has the verdict
		f.key = wire.KeyOf(e)
		s.keys[f.key], s.untold[v.ID] = f, nil
	}
	if !f.small && e.Size >= journalMin {
		s.large[v.ID] = f
	}
	s.need += e.Size - f.had
	s.mu.Unlock()
	return v, nil
}

// room refuses what does not fit any more.
func (s *Sink) room(n int64) error {
	if s.opts.NoSpaceCheck {
		return nil
	}
	s.mu.Lock()
	need := s.need + n
	fresh := time.Since(s.freeAt) < time.Second && need <= s.free/2
	s.mu.Unlock()
	if fresh {
		return nil
	}
	free, _, err := s.dest.Free()
	if err != nil {
		return nil // not known; a write will tell
	}
	s.mu.Lock()
	s.free, s.freeAt = free, time.Now()
	need = s.need + n
	s.mu.Unlock()
	if need <= free {
		return nil
	}
	return &wire.Fail{Class: wire.ClassSpace, Text: fmt.Sprintf("%s: needs %s, has %s free", s.target.Shown, short(need), short(free)),
		Hints: []string{"--no-space-check if this file system reports wrong numbers"}}
}

// short prints a number of bytes for an error text.
func short(n int64) string {
	f, unit := float64(n), 0
	for f >= 1000 && unit < 5 {
		f /= 1000
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.2f %cB", f, " kMGTP"[unit])
}

// same notes a file that is here already, and brings its attributes up to date.
func (s *Sink) same(v wire.EntryVerdict, e *wire.Entry, name string, have store.Entry) wire.EntryVerdict {
	s.freshen(e, name, have)
	if e.Size >= journalMin {
		// An earlier run may have been killed between the rename and this.
		_ = s.dest.RemoveJournal(name) // none there is the rule
	}
	v.Verdict = wire.Same
	s.update(func(t *Totals) { t.DoneFiles++; t.DoneBytes += e.Size; t.Had += e.Size; t.Skipped++ })
	s.emit(events.File{Path: name, Dest: s.target.Shown, Action: "skip", SizeBytes: e.Size, Verified: "none"})
	return v
}

// freshen brings the attributes of a file or link up to date.
func (s *Sink) freshen(e *wire.Entry, name string, have store.Entry) {
	a := s.opts.Attrs
	mask := uint32(0o777)
	if a.Special {
		mask = 0o7777
	}
	perms := a.Perms && store.Kind(e.Kind) != store.Symlink // a link's bits mean nothing
	if (perms && have.Mode&mask != e.Mode&mask) || (a.Times && have.ModTime != e.ModTime && !sameTime(e.ModTime, have.ModTime)) ||
		(a.Owner && have.UID != e.UID) || (a.Group && have.GID != e.GID) {
		s.setAttrs(e, name)
	}
}

// setAttrs sets the attributes of what stands at name; the content counts
// without them.
func (s *Sink) setAttrs(e *wire.Entry, name string) {
	if err := s.dest.SetAttrs(storeEntry(name, e), s.opts.Attrs); err != nil {
		s.warn("dest.attrs", reason(err), name)
	}
}

// dirLater notes a directory whose attributes are set at the end. One that is
// listed again, as when two sources go into one, has the latest; so this list
// grows only with what is on the disk.
func (s *Sink) dirLater(d dirEnd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := maphash.String(s.dirSeed, d.name)
	if i, ok := s.dirAt[h]; ok && s.dirs[i].name == d.name {
		s.dirs[i] = d
		return
	}
	s.dirAt[h] = int32(len(s.dirs))
	s.dirs = append(s.dirs, d)
}

func (s *Sink) ignored(v wire.EntryVerdict, e *wire.Entry, name, text string) wire.EntryVerdict {
	v.Verdict, v.Text = wire.Ignored, text
	s.update(func(t *Totals) { t.DoneFiles++; t.DoneBytes += e.Size; t.Had += e.Size; t.Skipped++; t.Ignored++ })
	s.emit(events.File{Path: name, Dest: s.target.Shown, Action: "skip", SizeBytes: e.Size, Verified: "none", Error: text})
	return v
}

// warn tells both ends' users what does not fail the job.
func (s *Sink) warn(code, text, name string) {
	s.emit(events.Warn{Code: code, Message: text, Path: name})
	if b, err := wire.AppendJSON(nil, wire.KindWarn, wire.Warn{Code: code, Text: text, Path: []byte(name)}); err == nil {
		_ = s.link.Send(b) // a dead link ends the run by itself
	}
}
