package osfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gomover/gomover/store"
)

// DestOptions says how a destination is written.
type DestOptions struct {
	// JobID is part of the names of unfinished files: 1 to 64 letters, digits or
	// "_". Two jobs with different IDs never touch each other's; "-" would let
	// job "a" with file "b-c" meet job "a-b" with file "c".
	JobID string
	// Create makes the root directory if it is missing, one level only.
	Create bool
	// PrivateDirs makes new directories with mode 0700. It is for jobs that
	// call SetAttrs with Perms for each directory at the end: until then nobody
	// else shall look into a directory that will be closed to them. Otherwise
	// new directories get what the umask leaves, at least 0700.
	PrivateDirs bool
	// Denied, unless nil, is called when owner or group of name could not be
	// set for want of privilege; the file counts as done without. Set-uid and
	// set-gid bits are then dropped. Called from any goroutine.
	Denied func(name string, err error)
}

// Numbers of our choice.
const (
	// destDirs is how many directories below the root are kept open. Small
	// files come in about the order of the walk, over some tens of streams.
	destDirs = 256
)

// dest is a root to write to.
type dest struct {
	path     string // as given, for messages
	prefix   string // ".gomover-<job>-"
	o        DestOptions
	umask    uint32
	volatile bool
	root     *os.Root // nil when the top may not be listed
	top      *dir
	dirs     *dirCache
}

var _ store.Dest = (*dest)(nil)

// NewDest opens the directory root, or a link to one, for writing below it.
//
// Shape: the caller closes it; files opened by it must be closed first.
// Errors: fs.ErrNotExist without Create or when more than one level is missing;
// fs.ErrPermission; an error naming root when it is not a directory.
func NewDest(root string, o DestOptions) (store.Dest, error) {
	if err := checkJobID(o.JobID); err != nil {
		return nil, err
	}
	path, err := filepath.Abs(root)
	if err != nil {
		return nil, describe("opening", root, err)
	}
	d := &dest{path: root, prefix: tempPrefix + o.JobID + "-", o: o, umask: umask()}
	if o.Create {
		if err := os.Mkdir(path, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, describe("making directory", root, err)
		}
	}
	if err := d.open(path); err != nil {
		return nil, describe("opening directory", root, err)
	}
	if _, _, d.volatile, err = d.top.space(); err != nil {
		d.volatile = false // not known: sync as usual
	}
	d.dirs = newDirCache(destDirs, d.openDir)
	return d, nil
}

// open opens the root.
func (d *dest) open(path string) (err error) {
	if d.root, err = os.OpenRoot(path); err == nil {
		if d.top, err = openDirIn(d.root, ""); err != nil {
			d.root.Close()
		}
		return err
	}
	d.root = nil
	if errors.Is(err, fs.ErrPermission) {
		if top, uerr := openUnlisted(path); uerr == nil {
			d.top, err = top, nil
		}
	}
	return err
}

// openDir opens a directory below the root, "" the root. It need not be one that
// this user may list, nor those on the way, where the system can open such.
func (d *dest) openDir(name string) (*dir, error) {
	err := fs.ErrPermission
	if d.root != nil {
		var in *dir
		if in, err = openDirIn(d.root, name); !errors.Is(err, fs.ErrPermission) {
			return in, err
		}
	}
	in, uerr := d.top.beneath(name)
	if errors.Is(uerr, errors.ErrUnsupported) {
		return nil, err
	}
	return in, uerr
}

func checkJobID(id string) error {
	if id == "" || len(id) > maxJobID {
		return fmt.Errorf("job ID %q: must have 1 to %d characters", id, maxJobID)
	}
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return fmt.Errorf("job ID %q: only letters, digits and _ are allowed", id)
		}
	}
	return nil
}

// check refuses names that leave the root, the root itself, and names that are
// kept for unfinished files of this job.
func (d *dest) check(doing, name string) (parent, base string, err error) {
	if err := store.CheckName(name); err != nil {
		return "", "", fmt.Errorf("%s %q: %w", doing, name, err)
	}
	if name == "" {
		return "", "", fmt.Errorf("%s the top directory: %w", doing, store.ErrName)
	}
	if !localName(name) {
		return "", "", fmt.Errorf("%s %q: the name cannot exist here", doing, name)
	}
	parent, base = split(name)
	if strings.HasPrefix(base, d.prefix) {
		return "", "", fmt.Errorf("%s %s: the name is kept for unfinished files of this job", doing, name)
	}
	return parent, base, nil
}

// in calls do with the directory name stands in, name's last component and that
// of its unfinished form.
func (d *dest) in(doing, name string, do func(in *dir, base, temp string) error) error {
	parent, base, err := d.check(doing, name)
	if err != nil {
		return err
	}
	temp := tempBase(d.prefix, base)
	err = d.dirs.with(parent, func(in *dir) error { return do(in, base, temp) })
	return describe(doing, name, err) // check has refused the name ""
}

// Free asks the file system.
func (d *dest) Free() (bytes, inodes int64, err error) {
	bytes, inodes, _, err = d.top.space()
	return bytes, inodes, describe("asking for free space of", d.path, err)
}

// Volatile tells whether the root was on a memory file system when opened.
func (d *dest) Volatile() bool { return d.volatile }

// TempName derives the unfinished form of name: `.gomover-<job>-<base>` beside
// it. Bases that would not leave room for ".journal" in 255 bytes, that end in
// ".journal" or that look shortened get a cut form ending in a tilde and 32
// hexadecimal digits, so that no two names share one.
func (d *dest) TempName(name string) string {
	parent, base := split(name)
	return join(parent, tempBase(d.prefix, base))
}

// Lookup describes what stands at name.
//
// Errors: fs.ErrNotExist also when a directory on the way is missing.
func (d *dest) Lookup(name string) (store.Entry, error) {
	if name == "" {
		e, err := d.top.lstat(".")
		return e, describe("examining", d.path, err)
	}
	parent, base, err := d.check("examining", name)
	if err != nil {
		return store.Entry{}, err
	}
	// A missing name is the usual answer here, so that it is no sign of a
	// replaced directory.
	r, _, err := d.dirs.get(parent)
	if err != nil {
		return store.Entry{}, describe("examining", name, err)
	}
	defer d.dirs.put(r)
	e, err := r.lstat(base)
	e.Name = name
	if err == nil && e.Kind == store.Symlink {
		e.Target, err = r.readlink(base)
	}
	return e, describe("examining", name, err)
}

// Open opens the regular file called name for reading, links not followed.
//
// Errors: fs.ErrNotExist also when a directory on the way is missing.
func (d *dest) Open(name string) (store.ReadFile, error) {
	parent, base, err := d.check("opening", name)
	if err != nil {
		return nil, err
	}
	r, _, err := d.dirs.get(parent)
	if err != nil {
		return nil, describe("opening", name, err)
	}
	defer d.dirs.put(r)
	f, _, err := r.openRead(base, false, false)
	if err != nil {
		return nil, describe("opening", name, err)
	}
	return &readFile{f: f, name: name, label: name}, nil
}

// Mkdir makes one directory. A directory already there that its owner cannot
// enter or change is opened up if it is ours; SetAttrs closes it again.
func (d *dest) Mkdir(name string) error {
	if name == "" {
		return nil
	}
	perm := uint32(0o777)
	if d.o.PrivateDirs {
		perm = 0o700
	}
	return d.in("making directory", name, func(in *dir, base, _ string) error {
		err := in.mkdir(base, perm)
		if err == nil && d.umask&0o700 != 0 {
			return in.chmod(base, (perm&^d.umask)|0o700)
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		return d.usable(in, base, name)
	})
}

// usable checks that what stands at base is a directory to write below.
func (d *dest) usable(in *dir, base, name string) error {
	e, err := in.lstat(base)
	if err != nil {
		return err
	}
	switch e.Kind {
	case store.Dir:
		if e.Mode&0o700 != 0o700 && !searches() && mayOwn(e.UID) {
			return in.chmod(base, e.Mode|0o700)
		}
		return nil
	case store.Symlink:
		to, err := d.openDir(name)
		if err == nil {
			to.close()
		} else if errors.Is(err, syscall.ENOTDIR) {
			err = errNotDir
		}
		return err
	}
	return errNotDir
}

var errNotDir = errors.New("something that is not a directory stands there")

// Symlink puts the link e.Name with e.Target in place by a rename; a link or
// file there before is replaced.
func (d *dest) Symlink(e store.Entry) error {
	if e.Target == "" || strings.IndexByte(e.Target, 0) >= 0 {
		return fmt.Errorf("making link %s: its target %q cannot exist", e.Name, e.Target)
	}
	return d.in("making link", e.Name, func(in *dir, base, temp string) error {
		err := in.symlink(e.Target, temp)
		if errors.Is(err, fs.ErrExist) {
			if err = in.unlink(temp); err == nil || errors.Is(err, fs.ErrNotExist) {
				err = in.symlink(e.Target, temp)
			}
		}
		if err != nil {
			return err
		}
		if err = replace(in, temp, base); err != nil {
			_ = in.unlink(temp)
		}
		return err
	})
}

// replace renames temp to base and says plainly when a directory is in the way.
func replace(in *dir, temp, base string) error {
	err := in.rename(temp, base)
	if err == nil || !isDirError(err) {
		return err
	}
	if e, lerr := in.lstat(base); lerr == nil && e.Kind == store.Dir {
		return errIsDir
	}
	return err
}

var errIsDir = errors.New("a directory stands there")

// SetAttrs applies attributes to what stands at e.Name, which must be of e's
// kind. Only what differs is touched.
func (d *dest) SetAttrs(e store.Entry, a store.Attrs) error {
	const doing = "setting attributes of"
	s := settingsOf(e, a, d.umask)
	if !a.Perms {
		s.setMode = false // what stands there keeps its bits
	}
	var denied error
	var err error
	if e.Kind == store.Dir {
		denied, err = d.setDir(e, a, s)
	} else {
		err = d.in(doing, e.Name, func(in *dir, base, _ string) error {
			cur, err := in.lstat(base)
			if err != nil {
				return err
			}
			if cur.Kind != e.Kind {
				return errOtherKind
			}
			s.only(cur)
			denied, err = in.apply(base, s, e.Kind == store.Symlink, cur.Mode)
			return err
		})
	}
	d.report(e.Name, denied)
	return err
}

var errOtherKind = errors.New("it was replaced by something of another kind")

// setDir applies attributes to a directory, or to one a link leads to.
func (d *dest) setDir(e store.Entry, a store.Attrs, s settings) (denied, err error) {
	const doing = "setting attributes of"
	if e.Name != "" {
		if _, _, err := d.check(doing, e.Name); err != nil {
			return nil, err
		}
	}
	err = d.dirs.with(e.Name, func(self *dir) error {
		cur, err := self.lstat(".")
		if err != nil {
			return err
		}
		if !a.Special {
			s.mode |= cur.Mode & 0o7000 // a set-gid directory stays one
		}
		s.only(cur)
		denied, err = self.applySelf(s, cur.Mode)
		return err
	})
	return denied, describe(doing, d.label(e.Name), err)
}

// only drops from s what cur has already.
func (s *settings) only(cur store.Entry) {
	if s.uid == int(cur.UID) {
		s.uid = -1
	}
	if s.gid == int(cur.GID) {
		s.gid = -1
	}
	if s.setTime && s.modTime == cur.ModTime {
		s.setTime = false
	}
}

func (d *dest) report(name string, denied error) {
	if denied != nil && d.o.Denied != nil {
		d.o.Denied(name, describe("setting owner or group of", d.label(name), denied))
	}
}

// label is what messages call name: the root has no name of its own.
func (d *dest) label(name string) string {
	if name == "" {
		return d.path
	}
	return name
}

// Close lets go of the root.
func (d *dest) Close() error {
	d.dirs.close()
	d.top.close()
	if d.root == nil {
		return nil
	}
	return d.root.Close()
}
