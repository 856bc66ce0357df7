// Package store is the seam between the engine and files: what a source reads
// and a sink writes. Package osfs below it does so with real files.
//
// Names are raw bytes in a string, slash-separated, relative to a root, never
// empty, without empty, "." or ".." components; "" itself names the root. A
// sink's names come from the other end and are hostile until [CheckName] has
// passed them.
package store

import (
	"context"
	"errors"
	"io"
	"strings"
)

// Errors which callers tell apart; others are the operating system's, which
// errors.Is compares with fs.ErrNotExist, fs.ErrPermission and so on.
var (
	ErrName    = errors.New("name leaves the destination")
	ErrNoSpace = errors.New("no space left")                   // also quota and inodes
	ErrLocked  = errors.New("another gomover is writing this") // the partial file is locked
)

// Kind is what an entry is.
type Kind uint8

// The kinds.
const (
	File Kind = iota + 1
	Dir
	Symlink
	Special // device, pipe or socket
)

// Entry describes one file-system object.
type Entry struct {
	Name    string
	Kind    Kind
	Size    int64  // bytes; 0 unless a File
	Mode    uint32 // Unix permission bits, with set-uid 04000, set-gid 02000, sticky 01000
	ModTime int64  // nanoseconds since 1970; the nearest one for times beyond 1677 to 2262
	UID     uint32
	GID     uint32
	Target  string // of a Symlink, raw
	Dev     uint64 // with Ino tells one file from another on one host; 0: not known
	Ino     uint64
}

// MaxName is the longest name in bytes that is accepted from the other end.
const MaxName = 32 << 10

// CheckName refuses names that could leave a root: absolute, "..", ".", empty
// components, NUL, longer than MaxName. It accepts "" (the root).
func CheckName(name string) error {
	if name == "" {
		return nil
	}
	if len(name) > MaxName || strings.IndexByte(name, 0) >= 0 {
		return ErrName
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return ErrName
		}
	}
	return nil
}

// A WalkFunc gets every entry, a directory before what is in it. err is set
// when the entry (or, for a directory, its list) could not be read; returning
// nil goes on with the rest. A non-nil result ends the walk.
type WalkFunc func(e Entry, err error) error

// Source is one root to read from. Methods may be called at the same time.
type Source interface {
	// Walk lists the root itself (Name "") and, if it is a directory, all
	// below it, using memory bounded by depth, not by the count of entries.
	Walk(ctx context.Context, fn WalkFunc) error
	// Open opens a file for reading.
	Open(name string) (ReadFile, error)
	Close() error
}

// ReadFile is an open source file. ReadAt may be called at the same time.
type ReadFile interface {
	io.ReaderAt
	// Stat describes the open file as it is now.
	Stat() (Entry, error)
	// Ahead hints that [off, off+n) is read soon; it never blocks for long.
	Ahead(off, n int64)
	Close() error
}

// Dest is one root to write to. Methods may be called at the same time for
// different names. Temporary objects stand beside their final names.
type Dest interface {
	// Free is what an unprivileged writer may still use; inodes -1: not known.
	Free() (bytes, inodes int64, err error)
	// Volatile tells that the root is on a memory file system, where syncing
	// is without use.
	Volatile() bool
	// TempName derives the name of the unfinished form of name.
	TempName(name string) string
	// Lookup describes what stands at name, links not followed; fs.ErrNotExist.
	Lookup(name string) (Entry, error)
	// Open opens a file that has its final name, to compare it.
	Open(name string) (ReadFile, error)
	// Mkdir makes one directory usable for writing below it; a directory
	// already there is fine, and so is a link to one inside the root.
	Mkdir(name string) error
	// Symlink puts a link at e.Name atomically.
	Symlink(e Entry) error
	// WriteSmall writes a whole file, attributes included, under its temporary
	// name, replacing what an earlier run left there.
	WriteSmall(e Entry, data []byte, a Attrs) error
	// HasPartial tells whether an unfinished form of name is there.
	HasPartial(name string) (bool, error)
	// OpenPartial opens or creates the unfinished form of name and locks it;
	// found tells that one was there. ErrLocked.
	OpenPartial(name string) (w WriteFile, found bool, err error)
	// Commit gives the finished temporary file of e its final name atomically.
	Commit(name string) error
	// Sync makes the temporary files of names durable; it may sync the whole
	// file system at once when that is cheaper. Call before Commit.
	Sync(names []string) error
	// SyncDirs makes the directories of names durable. Call after Commit.
	SyncDirs(names []string) error
	// SetAttrs applies attributes to what stands at e.Name.
	SetAttrs(e Entry, a Attrs) error
	// Discard removes the temporary file and journal of name.
	Discard(name string) error
	// OpenJournal opens or creates the journal beside the partial file of
	// name; RemoveJournal removes it.
	OpenJournal(name string) (AppendFile, error)
	RemoveJournal(name string) error
	Close() error
}

// WriteFile is the unfinished form of a file. WriteAt and ReadAt may be called
// at the same time for different ranges.
type WriteFile interface {
	io.WriterAt
	io.ReaderAt
	Size() (int64, error)
	Truncate(size int64) error
	// WriteBack starts writing [off, off+n) to the disk without waiting.
	WriteBack(off, n int64)
	Sync() error
	// SetAttrs applies e's attributes to the open file.
	SetAttrs(e Entry, a Attrs) error
	Close() error
}

// AppendFile is what a journal needs.
type AppendFile interface {
	io.Writer
	io.ReaderAt
	Size() (int64, error)
	Sync() error
	Truncate(size int64) error
	Close() error
}

// Attrs says which attributes are applied.
type Attrs struct {
	Perms   bool // permission bits
	Special bool // set-uid, set-gid and sticky bits as well
	Times   bool
	Owner   bool
	Group   bool
}

// Batcher is a Source that can read several files at once.
type Batcher interface {
	Source
	// Soon tells that these files will be opened next, in this order, and read whole,
	// each once.
	Soon(names []string)
}

// SumFile is a ReadFile that can tell the sum of a block without reading it here.
type SumFile interface {
	ReadFile
	// Sum is the BLAKE3 chaining value of n bytes from off on, as of a block; that of
	// all bytes is the hash of the file.
	Sum(off, n int64) ([32]byte, error)
}

// Vouched is a ReadFile that may have compared what it gives with its sum.
type Vouched interface {
	ReadFile
	// ReadSum is ReadAt. With known, sum is that of the n bytes, as [SumFile] gives it,
	// and was found from these very bytes in memory.
	ReadSum(p []byte, off int64) (n int, sum [32]byte, known bool, err error)
}
