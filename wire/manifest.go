package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Limits of messages; beyond them a peer is broken or hostile.
const (
	MaxName      = 32 << 10 // bytes of a name
	MaxTarget    = 32 << 10 // bytes of a link's target
	MaxRoots     = 64 << 10 // sources of one command
	MaxText      = 16 << 10 // bytes of a text for people
	MaxSize      = math.MaxInt64 / 2
	MaxManifest  = 4096    // entries in one message
	MaxNames     = 4 << 20 // bytes of all names of one manifest, which share much of themselves
	MaxExtents   = 1 << 16 // extents in one verdict; in one message twice as many
	MaxStored    = 1024    // streams in one Stored
	MaxMessage   = 2 << 20 // bytes of a message that is not KindData
	MaxPackFiles = 1024    // files in one pack frame
)

// Entry is one object of the source. Entries have the numbers 0, 1, 2, ... in
// the order in which they are sent.
//
// Kind and Mode as in package store. Root counts the words of the command line;
// Name is relative to it and "" for the root itself.
type Entry struct {
	Root    int
	Name    string
	Kind    byte
	Mode    uint32
	Size    int64
	ModTime int64
	UID     uint32
	GID     uint32
	Ino     uint64
	Target  string // of a link
	Base    string // of a root (Name ""): the base name it would have in a directory
	Inside  bool   // of a root: its contents are meant, as with a trailing slash
	Attempt byte   // 0; 1 and 2 when the file changed while it was read
}

// Flags of an entry.
const (
	entryHasOwner = 1 << iota
	entryIsRoot
	entryInside
	entryRetry
	entryFlags = 1<<iota - 1 // all of them
)

// Manifest is a batch of entries. Names share what they have in common with the
// name before them in the message.
//
//	first uint | count uint | entries
//	entry: flags u8 | kind u8 | [root uint | base bytes, if root]
//	       shared uint | rest bytes | mode uint | size uint | mtime sint | ino uint
//	       [uid uint gid uint] [attempt u8 | root uint] [target bytes, if a link]
type Manifest struct {
	First   uint64 // number of the first entry
	Entries []Entry
}

const kindSymlink = 3 // store.Symlink; wire imports no store

// Append appends the message.
func (m *Manifest) Append(b []byte) []byte {
	b = append(b, byte(KindManifest))
	b = binary.AppendUvarint(b, m.First)
	b = binary.AppendUvarint(b, uint64(len(m.Entries)))
	prev, root := "", 0
	for i := range m.Entries {
		e := &m.Entries[i]
		var flags byte
		if e.UID|e.GID != 0 {
			flags |= entryHasOwner
		}
		if e.Name == "" {
			flags |= entryIsRoot
		}
		if e.Inside {
			flags |= entryInside
		}
		// A retried file may belong to another root than its neighbours; so may
		// the first entry of a message.
		if e.Attempt > 0 || (e.Root != root && e.Name != "") {
			flags |= entryRetry
		}
		b = append(b, flags, e.Kind)
		if flags&entryIsRoot != 0 {
			b = binary.AppendUvarint(b, uint64(e.Root))
			b = appendBytes(b, e.Base)
		}
		n := 0
		for n < len(prev) && n < len(e.Name) && prev[n] == e.Name[n] {
			n++
		}
		b = binary.AppendUvarint(b, uint64(n))
		b = appendBytes(b, e.Name[n:])
		b = binary.AppendUvarint(b, uint64(e.Mode))
		b = binary.AppendUvarint(b, uint64(e.Size))
		b = appendSint(b, e.ModTime)
		b = binary.AppendUvarint(b, e.Ino)
		if flags&entryHasOwner != 0 {
			b = binary.AppendUvarint(b, uint64(e.UID))
			b = binary.AppendUvarint(b, uint64(e.GID))
		}
		if flags&entryRetry != 0 {
			b = append(b, e.Attempt)
			b = binary.AppendUvarint(b, uint64(e.Root))
		}
		if e.Kind == kindSymlink {
			b = appendBytes(b, e.Target)
		}
		prev, root = e.Name, e.Root
	}
	return b
}

// ParseManifest parses the body of a KindManifest message.
func ParseManifest(body []byte) (Manifest, error) {
	r := reader{b: body}
	m := Manifest{First: r.uint("first number")}
	n := r.int("count of entries", MaxManifest)
	// An entry takes at least 9 bytes, which bounds what a count can allocate.
	if n*9 > int64(len(r.b)) {
		r.fail("count of entries")
		n = 0
	}
	m.Entries = make([]Entry, 0, n)
	prev, root, names := "", 0, 0
	for range n {
		var e Entry
		flags := r.byte("flags")
		if flags > entryFlags {
			r.fail("flags")
		}
		e.Kind = r.byte("kind")
		e.Root = root
		if flags&entryIsRoot != 0 {
			e.Root = int(r.int("root", MaxRoots))
			e.Base = r.string("base name", MaxName)
		}
		e.Inside = flags&entryInside != 0
		shared := int(r.int("shared length", MaxName))
		if shared > len(prev) {
			r.fail("shared length")
			shared = 0
		}
		rest := r.bytes("name", MaxName-shared)
		// What is shared costs the sender nothing and us memory.
		if names += shared + len(rest); names > MaxNames {
			r.fail("names")
			break
		}
		if len(rest) > 0 && shared < len(prev) && prev[shared] == rest[0] {
			r.fail("shared length, which is not all")
		}
		e.Name = prev[:shared] + string(rest)
		e.Mode = uint32(r.int("mode", 0o7777))
		e.Size = r.int("size", MaxSize)
		e.ModTime = r.sint("mtime")
		e.Ino = r.uint("inode")
		if flags&entryHasOwner != 0 {
			e.UID = uint32(r.int("uid", math.MaxUint32))
			e.GID = uint32(r.int("gid", math.MaxUint32))
			if e.UID|e.GID == 0 {
				r.fail("owner flag")
			}
		}
		if flags&entryRetry != 0 {
			was := e.Root
			e.Attempt = r.byte("attempt")
			e.Root = int(r.int("root", MaxRoots))
			// The flag has a reason: an attempt, or another root than before, which
			// a root entry has said already.
			if isRoot := flags&entryIsRoot != 0; (isRoot && (e.Attempt == 0 || e.Root != was)) || (e.Attempt == 0 && e.Root == was) {
				r.fail("retry flag")
			}
		}
		if e.Kind == kindSymlink {
			e.Target = r.string("link target", MaxTarget)
		}
		if (flags&entryIsRoot != 0) != (e.Name == "") {
			r.fail("root flag")
		}
		if r.err != nil {
			break
		}
		m.Entries = append(m.Entries, e)
		prev, root = e.Name, e.Root
	}
	if err := r.end(); err != nil {
		return Manifest{}, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}
