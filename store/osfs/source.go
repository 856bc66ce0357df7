package osfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gomover/gomover/store"
)

// Links says what becomes of symbolic links inside a source tree. A link named
// as the root itself is always followed.
type Links uint8

const (
	// LinksCopy lists links as links.
	LinksCopy Links = iota
	// LinksFollow lists what links lead to, wherever that is; a link to a
	// directory above it is reported as an error of that entry.
	LinksFollow
	// LinksSafe is LinksCopy without links that lead out of the tree: absolute
	// ones, and those with more ".." than directories above them.
	LinksSafe
	// LinksSkip leaves all links out.
	LinksSkip
)

// SourceOptions says how a source is read. The zero value is usable.
type SourceOptions struct {
	Links Links
	// NoAtime asks that reading leaves the times of access as they are, where
	// the system allows it.
	NoAtime bool
	// Skipped, unless nil, is called by Walk for each link left out by
	// LinksSafe or LinksSkip, in Walk's goroutine.
	Skipped func(e store.Entry)
}

// Numbers of our choice.
const (
	// sourceDirs is how many directories a source keeps open for reading files
	// in them; files are read in about the order of the walk, so few suffice.
	sourceDirs = 64
	// bigFile is the size from which the system is told that a file will be
	// read from start to end. Unit: bytes. Below it the call costs more than
	// larger reads ahead can save.
	bigFile = 1 << 20
)

// source is a root to read from.
type source struct {
	path string // absolute path of the root
	top  store.Entry
	o    SourceOptions
	root *os.Root  // nil if the root is not a directory
	dirs *dirCache // nil likewise
}

var _ store.Source = (*source)(nil)

// NewSource opens root, a file, directory or link to either, for reading.
//
// Shape: the caller closes the source; open files outlive it. Errors: of the
// system, as errors.Is knows them (fs.ErrNotExist, fs.ErrPermission).
func NewSource(root string, o SourceOptions) (store.Source, error) {
	path, err := filepath.Abs(root)
	if err != nil {
		return nil, describe("opening", root, err)
	}
	top, err := statPath(path)
	if err != nil {
		return nil, describe("opening", root, err)
	}
	s := &source{path: path, top: top, o: o}
	if top.Kind != store.Dir {
		return s, nil
	}
	if s.root, err = os.OpenRoot(path); err != nil {
		return nil, describe("opening", root, err)
	}
	s.dirs = newDirCache(sourceDirs, s.openDir)
	return s, nil
}

// openDir opens a directory of the tree: below the root only, unless links are
// to be followed, which may lead anywhere.
func (s *source) openDir(name string) (*dir, error) {
	if s.o.Links == LinksFollow {
		return openDirPath(filepath.Join(s.path, filepath.FromSlash(name)))
	}
	return openDirIn(s.root, name)
}

// Open opens the file called name, "" for a root that is a file.
//
// Errors: store.ErrName for a name that leaves the root; an error for anything
// but a regular file, even one that took a file's place since the walk.
func (s *source) Open(name string) (store.ReadFile, error) {
	if err := store.CheckName(name); err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	f, e, err := s.open(name)
	if err != nil {
		return nil, describe("opening", s.label(name), err)
	}
	if e.Size >= bigFile {
		sequential(f)
	}
	return &readFile{f: f, name: name, label: s.label(name)}, nil
}

// label is what messages call name: the root has no name of its own.
func (s *source) label(name string) string {
	if name == "" {
		return s.path
	}
	return name
}

func (s *source) open(name string) (*os.File, store.Entry, error) {
	if name == "" || s.root == nil {
		if name != "" || s.root != nil {
			return nil, store.Entry{}, errNotRegular
		}
		return openReadPath(s.path, s.o.NoAtime)
	}
	parent, base := split(name)
	var f *os.File
	var e store.Entry
	err := s.dirs.with(parent, func(d *dir) (err error) {
		f, e, err = d.openRead(base, s.o.Links == LinksFollow, s.o.NoAtime)
		return err
	})
	return f, e, err
}

// Close lets go of the root.
func (s *source) Close() error {
	if s.root == nil {
		return nil
	}
	s.dirs.close()
	if err := s.root.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return describe("closing", s.path, err)
	}
	return nil
}

// readFile is an open source file.
type readFile struct {
	f     *os.File
	name  string
	label string // for messages
}

var _ store.ReadFile = (*readFile)(nil)

// ReadAt reads as io.ReaderAt says.
func (r *readFile) ReadAt(p []byte, off int64) (int, error) { return r.f.ReadAt(p, off) }

// Stat describes the file as it is now.
func (r *readFile) Stat() (store.Entry, error) {
	e, err := statFile(r.f)
	e.Name = r.name
	return e, describe("examining", r.label, err)
}

// Ahead starts reading into the system's cache.
func (r *readFile) Ahead(off, n int64) { ahead(r.f, off, n) }

// Close closes the file.
func (r *readFile) Close() error { return r.f.Close() }
