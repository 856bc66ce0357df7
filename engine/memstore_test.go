package engine

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomover/gomover/store"
)

// memFS is a file system in memory, for tests in virtual time: real files would
// stop its clock. It keeps one root on each side.
type memFS struct {
	mu     sync.Mutex // guards all below, and every memFile
	files  map[string]*memFile
	locked map[string]bool
	opened int // handles of source files not closed yet
	// fault is asked before every change; an error refuses it.
	fault func(op, name string) error
	// slow is how long a write takes.
	slow time.Duration
	// committed is called with every final name and what is under it then.
	committed func(name string, data []byte)
}

type memFile struct {
	kind   store.Kind
	data   []byte
	mode   uint32
	mtime  int64
	ino    uint64
	target string
}

func newMemFS() *memFS {
	return &memFS{files: map[string]*memFile{"": {kind: store.Dir, mode: 0o755}}, locked: make(map[string]bool)}
}

func (m *memFS) put(name string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if m.files[dir] == nil {
			m.files[dir] = &memFile{kind: store.Dir, mode: 0o755, mtime: 5}
		}
	}
	m.files[name] = &memFile{kind: store.File, data: data, mode: 0o644, mtime: int64(len(data)) + 1000, ino: uint64(len(m.files))}
}

// change replaces a file's content under its inode.
func (m *memFS) change(name string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	f.data, f.mtime = data, f.mtime+1
}

func (m *memFS) get(name string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.files[name]
	if f == nil {
		return "", false
	}
	return string(f.data), true
}

// names lists everything but the root.
func (m *memFS) names() (l []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := range m.files {
		if n != "" {
			l = append(l, n)
		}
	}
	slices.Sort(l)
	return l
}

func (m *memFS) entry(name string, f *memFile) store.Entry {
	return store.Entry{Name: name, Kind: f.kind, Size: int64(len(f.data)), Mode: f.mode, ModTime: f.mtime, Ino: f.ino, Target: f.target}
}

func (m *memFS) check(op, name string) error {
	m.mu.Lock()
	fault := m.fault
	m.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(op, name)
}

// memSource reads a memFS.
type memSource struct{ *memFS }

func (s memSource) Walk(ctx context.Context, fn store.WalkFunc) error {
	for _, n := range append([]string{""}, s.names()...) {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.mu.Lock()
		f := s.files[n]
		var e store.Entry
		if f != nil {
			e = s.entry(n, f)
		}
		s.mu.Unlock()
		if f == nil {
			continue
		}
		if err := fn(e, nil); err != nil {
			return err
		}
	}
	return nil
}

func (s memSource) Open(name string) (store.ReadFile, error) {
	if err := s.check("open", name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[name]
	if f == nil || f.kind != store.File {
		return nil, fs.ErrNotExist
	}
	s.opened++
	return &memHandle{m: s.memFS, name: name, f: f}, nil
}

func (s memSource) Close() error { return nil }

// memHandle is an open file of any sort.
type memHandle struct {
	m      *memFS
	name   string
	f      *memFile
	lock   string
	closed bool
	write  bool
}

func (h *memHandle) ReadAt(b []byte, off int64) (int, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.closed {
		return 0, fs.ErrClosed
	}
	if off >= int64(len(h.f.data)) {
		return 0, io.EOF
	}
	n := copy(b, h.f.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *memHandle) WriteAt(b []byte, off int64) (int, error) {
	// Journals are written under a lock, and waiting for one stops virtual time.
	if h.m.slow > 0 && h.lock != "" {
		time.Sleep(h.m.slow)
	}
	if err := h.m.check("write", h.name); err != nil {
		return 0, err
	}
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.closed {
		return 0, fs.ErrClosed
	}
	if n := off + int64(len(b)); n > int64(len(h.f.data)) {
		h.f.data = append(h.f.data, make([]byte, n-int64(len(h.f.data)))...)
	}
	return copy(h.f.data[off:], b), nil
}

func (h *memHandle) Write(b []byte) (int, error) {
	n, err := h.Size()
	if err != nil {
		return 0, err
	}
	return h.WriteAt(b, n)
}

func (h *memHandle) Size() (int64, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.closed {
		return 0, fs.ErrClosed
	}
	return int64(len(h.f.data)), nil
}

func (h *memHandle) Truncate(n int64) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.closed {
		return fs.ErrClosed
	}
	if n < int64(len(h.f.data)) {
		h.f.data = h.f.data[:n]
	} else {
		h.f.data = append(h.f.data, make([]byte, n-int64(len(h.f.data)))...)
	}
	return nil
}

func (h *memHandle) Stat() (store.Entry, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	return h.m.entry(h.name, h.f), nil
}

func (h *memHandle) Sync() error            { return h.m.check("sync", h.name) }
func (h *memHandle) Ahead(int64, int64)     {}
func (h *memHandle) WriteBack(int64, int64) {}

func (h *memHandle) SetAttrs(e store.Entry, _ store.Attrs) error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	h.f.mode, h.f.mtime = e.Mode, e.ModTime
	return nil
}

func (h *memHandle) Close() error {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if h.closed {
		return fs.ErrClosed
	}
	h.closed = true
	if h.lock != "" {
		delete(h.m.locked, h.lock)
	}
	if !h.write {
		h.m.opened--
	}
	return nil
}

// memDest writes a memFS.
type memDest struct{ *memFS }

var _ store.Dest = memDest{}

const memTemp, memJournal = ".part", ".journal"

func (d memDest) Free() (bytes, inodes int64, err error) { return 1 << 40, -1, nil }
func (d memDest) Volatile() bool                         { return false }
func (d memDest) TempName(name string) string            { return name + memTemp }
func (d memDest) Close() error                           { return nil }
func (d memDest) Sync([]string) error                    { return d.check("sync", "") }
func (d memDest) SyncDirs([]string) error                { return nil }

func (d memDest) Lookup(name string) (store.Entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[name]
	if f == nil {
		return store.Entry{}, fs.ErrNotExist
	}
	return d.entry(name, f), nil
}

func (d memDest) Open(name string) (store.ReadFile, error) { return memSource(d).Open(name) }

func (d memDest) Mkdir(name string) error {
	if err := d.check("mkdir", name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if f := d.files[name]; f != nil && f.kind == store.Dir {
		return nil
	}
	d.files[name] = &memFile{kind: store.Dir}
	return nil
}

func (d memDest) Symlink(e store.Entry) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[e.Name] = &memFile{kind: store.Symlink, target: e.Target}
	return nil
}

func (d memDest) WriteSmall(e store.Entry, data []byte, _ store.Attrs) error {
	if d.slow > 0 {
		time.Sleep(d.slow)
	}
	if err := d.check("write", e.Name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[e.Name+memTemp] = &memFile{kind: store.File, data: slices.Clone(data), mode: e.Mode, mtime: e.ModTime}
	return nil
}

func (d memDest) HasPartial(name string) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files[name+memTemp] != nil, nil
}

func (d memDest) OpenPartial(name string) (store.WriteFile, bool, error) {
	if err := d.check("partial", name); err != nil {
		return nil, false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locked[name] {
		return nil, false, store.ErrLocked
	}
	d.locked[name] = true
	f := d.files[name+memTemp]
	found := f != nil
	if !found {
		f = &memFile{kind: store.File}
		d.files[name+memTemp] = f
	}
	return &memHandle{m: d.memFS, name: name, f: f, lock: name, write: true}, found, nil
}

func (d memDest) Commit(name string) error {
	if err := d.check("commit", name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[name+memTemp]
	if f == nil {
		return fs.ErrNotExist
	}
	delete(d.files, name+memTemp)
	d.files[name] = f
	if d.committed != nil {
		d.committed(name, f.data)
	}
	return nil
}

func (d memDest) SetAttrs(e store.Entry, _ store.Attrs) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[e.Name]
	if f == nil {
		return fs.ErrNotExist
	}
	f.mode, f.mtime = e.Mode, e.ModTime
	return nil
}

func (d memDest) Discard(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.files, name+memTemp)
	delete(d.files, name+memJournal)
	return nil
}

func (d memDest) OpenJournal(name string) (store.AppendFile, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.files[name+memJournal]
	if f == nil {
		f = &memFile{kind: store.File}
		d.files[name+memJournal] = f
	}
	return &memHandle{m: d.memFS, name: name + memJournal, f: f, write: true}, nil
}

func (d memDest) RemoveJournal(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.files, name+memJournal)
	return nil
}

// memInfo is what a memTarget's Stat says of its directory.
type memInfo struct{ fs.FileInfo }

func (memInfo) IsDir() bool       { return true }
func (memInfo) Mode() fs.FileMode { return fs.ModeDir | 0o755 }

// memTarget is the directory /dst, which is a memFS.
func memTarget(d *memFS) Target {
	return Target{Path: "/dst", Shown: "/dst",
		Open: func(string, bool) (store.Dest, error) { return memDest{d}, nil },
		Stat: func(p string) (fs.FileInfo, error) {
			if p == "/dst" || p == "/" {
				return memInfo{}, nil
			}
			return nil, fs.ErrNotExist
		},
		MkdirAll: func(p string) error { return fmt.Errorf("making %s", p) }}
}

// sameFiles compares the two sides; nothing else may be at the destination.
func sameFiles(t *testing.T, a, b *memFS) {
	t.Helper()
	for _, n := range a.names() {
		x, y := a.files[n], b.files[n]
		switch {
		case y == nil:
			t.Errorf("%s: missing at the destination", n)
		case x.kind != y.kind || string(x.data) != string(y.data):
			t.Errorf("%s: differs: %d bytes, %d at the destination", n, len(x.data), len(y.data))
		case x.mode != y.mode || x.mtime != y.mtime:
			t.Errorf("%s: mode %o time %d, at the destination %o and %d", n, x.mode, x.mtime, y.mode, y.mtime)
		}
	}
	for _, n := range b.names() {
		if a.files[n] == nil {
			t.Errorf("%s: only at the destination", n)
		}
	}
	if a.opened != 0 {
		t.Errorf("%d source files are still open", a.opened)
	}
	if len(b.locked) != 0 {
		t.Errorf("still open at the destination: %v", b.locked)
	}
}

// unfinished lists temporary files and journals.
func (m *memFS) unfinished() (l []string) {
	for _, n := range m.names() {
		if strings.HasSuffix(n, memTemp) || strings.HasSuffix(n, memJournal) {
			l = append(l, n)
		}
	}
	return l
}
