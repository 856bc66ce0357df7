package engine

import (
	"errors"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

// Target is where a job shall be written, as the user said it. The rules do not
// depend on whether a destination directory exists, so that the same command
// means the same again.
type Target struct {
	Path    string // slash-separated; "." for the working directory
	Shown   string // as the user wrote it, for messages
	Slash   bool   // written with a trailing slash: a directory
	Exact   bool   // -T: the exact name, never a directory to put things into
	MkPath  bool   // make missing parents
	Several bool   // more than one source: must be a directory
	Local   bool   // of this machine, for messages

	// Accept, unless nil, refuses a root that the user has not asked for.
	Accept func(root int, kind store.Kind, base string, inside bool) error
	// Open opens a directory for writing, making its last level if create.
	Open func(root string, create bool) (store.Dest, error)
	// Stat says what stands at a path, links followed.
	Stat func(p string) (fs.FileInfo, error)
	// Resolve gives the path of what links at a path lead to, in the end. nil:
	// no links are expected.
	Resolve func(p string) (string, error)
	// MkdirAll makes a directory with all its parents.
	MkdirAll func(p string) error
}

// place is a root entry's place: below dest under name ("" for dest itself).
type place struct {
	root   string
	create bool
	name   string
}

// resolve finds the place of a root entry.
func (t *Target) resolve(kind store.Kind, base string, inside bool) (place, error) {
	info, err := t.Stat(t.Path)
	isDir := err == nil && info.IsDir()
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return place{}, wire.Failf(wire.ClassDest, "%s: %s", t.Shown, reason(err))
	case kind == store.Dir && err == nil && !isDir:
		return place{}, wire.Failf(wire.ClassDest, "%s: is not a directory", t.Shown)
	case t.Slash && err == nil && !isDir:
		return place{}, wire.Failf(wire.ClassDest, "%s: is not a directory", t.Shown)
	case t.Exact && kind != store.Dir && isDir:
		return place{}, wire.Failf(wire.ClassDest, "%s: is a directory", t.Shown)
	case t.Several && !isDir && !t.Slash:
		return place{}, &wire.Fail{Class: wire.ClassDest, Text: t.Shown + ": several sources need a directory, and this is none",
			Hints: []string{"to have it made, end it with a slash: " + t.Shown + "/"}}
	}
	var p place
	switch {
	case kind == store.Dir && (inside || t.Exact):
		p = place{t.Path, !isDir, ""}
	case kind == store.Dir, isDir && !t.Exact, t.Slash:
		if base == "" || strings.ContainsRune(base, '/') || store.CheckName(base) != nil {
			return place{}, wire.Failf(wire.ClassProtocol, "the other end sent the name %q, which leaves the destination", base)
		}
		p = place{t.Path, !isDir, base}
	default:
		// A link that the user names is followed, as those are that are named as
		// sources: the file behind it is replaced, the link stays.
		to, err := t.follow()
		if err != nil {
			return place{}, err
		}
		dir, file := path.Split(to)
		p = place{path.Clean(dir), false, file}
		if dir == "" {
			p.root = "."
		}
	}
	return p, t.parent(p)
}

// follow is the path of the file that is meant by the destination.
func (t *Target) follow() (string, error) {
	if t.Resolve == nil {
		return t.Path, nil
	}
	to, err := t.Resolve(t.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", &wire.Fail{Class: wire.ClassDest, Text: t.Shown + ": is a link to what does not exist",
			Hints: []string{"write what it leads to instead, or remove the link"}}
	}
	if err != nil {
		return "", wire.Failf(wire.ClassDest, "%s: %s", t.Shown, reason(err))
	}
	return to, nil
}

// parent sees to it that what a place stands in is there.
func (t *Target) parent(p place) error {
	up := p.root
	if p.create {
		up = path.Dir(path.Clean(p.root))
	}
	info, err := t.Stat(up)
	switch {
	case err == nil && !info.IsDir():
		return wire.Failf(wire.ClassDest, "%s: %s is not a directory", t.Shown, up)
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return wire.Failf(wire.ClassDest, "%s: %s", t.Shown, reason(err))
	}
	if t.MkPath {
		if err := t.MkdirAll(up); err != nil {
			return wire.Failf(wire.ClassDest, "%s: making %s: %s", t.Shown, up, reason(err))
		}
		return nil
	}
	missing := up
	for {
		next := path.Dir(missing)
		if next == missing {
			break
		}
		if _, err := t.Stat(next); err == nil {
			break
		}
		missing = next
	}
	f := &wire.Fail{Class: wire.ClassDest, Text: t.Shown + ": no such directory: " + missing, Hints: []string{"to make missing directories: --mkpath"}}
	if hint := portHint(t.Shown, missing); hint != "" {
		f.Hints = []string{hint}
	}
	return f
}

// portHint answers the port habit of other programs, host:2222:/path, when the
// directory missing begins with what looks like a port. shown is what the user
// wrote. "" when it is not that.
func portHint(shown, missing string) string {
	digits, _, ok := strings.Cut(missing, ":")
	port, err := strconv.ParseUint(digits, 10, 16)
	if !ok || err != nil || port == 0 {
		return ""
	}
	host, rest, ok := strings.Cut(shown, ":"+digits+":")
	if !ok || host == "" || strings.ContainsRune(host, '/') {
		return ""
	}
	switch {
	case strings.HasPrefix(rest, "~"):
		rest = "/" + rest
	case !strings.HasPrefix(rest, "/"):
		rest = "/~/" + rest
	}
	return "a port is given as -P " + digits + " or ssh://" + host + ":" + digits + rest
}

// NameOf is the name that a root gets below the directory that is opened for it;
// "" is that directory itself. Errors are those that a sink would end with.
func (t *Target) NameOf(kind store.Kind, base string, inside bool) (string, error) {
	p, err := t.resolve(kind, base, inside)
	return p.name, err
}
