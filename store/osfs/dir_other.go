//go:build !unix

package osfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gomover/gomover/store"
)

// dir is an open directory, here by os.Root alone: correct, and slower than the
// form for Unix. Methods take one component.
//
// Concurrency: any, but names, until close.
type dir struct {
	root *os.Root
	list *os.File // opened by names
	dev  uint64
}

// openDirIn opens the directory called name below root; "" is the root.
func openDirIn(root *os.Root, name string) (*dir, error) {
	if name == "" {
		name = "."
	}
	r, err := root.OpenRoot(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	return &dir{root: r}, nil
}

// openDirPath opens a directory anywhere, links followed.
func openDirPath(path string) (*dir, error) {
	r, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &dir{root: r}, nil
}

// child opens a directory in d; a link is followed only if follow is set.
func (d *dir) child(base string, follow bool) (*dir, error) {
	if follow {
		return openDirPath(filepath.Join(d.root.Name(), base))
	}
	if e, err := d.lstat(base); err == nil && e.Kind != store.Dir {
		return nil, errNotDir
	}
	return openDirIn(d.root, base)
}

func (d *dir) close() {
	if d.list != nil {
		d.list.Close()
	}
	d.root.Close()
}

// names reads up to n names; io.EOF at the end.
func (d *dir) names(n int) ([]string, error) {
	if d.list == nil {
		f, err := d.root.Open(".")
		if err != nil {
			return nil, err
		}
		d.list = f
	}
	return d.list.Readdirnames(n)
}

// lstat describes base without its Name and Target.
func (d *dir) lstat(base string) (store.Entry, error) {
	fi, err := d.root.Lstat(base)
	if err != nil {
		return store.Entry{}, err
	}
	return entryOf(fi), nil
}

// follow describes what base leads to.
func (d *dir) follow(base string) (store.Entry, error) {
	return statPath(filepath.Join(d.root.Name(), base))
}

// statFile describes an open file.
func statFile(f *os.File) (store.Entry, error) {
	fi, err := f.Stat()
	if err != nil {
		return store.Entry{}, err
	}
	return entryOf(fi), nil
}

// statPath describes what path leads to.
func statPath(path string) (store.Entry, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return store.Entry{}, err
	}
	return entryOf(fi), nil
}

func entryOf(fi fs.FileInfo) store.Entry {
	t := fi.ModTime()
	e := store.Entry{Mode: uint32(fi.Mode().Perm()), ModTime: nanos(t.Unix(), int64(t.Nanosecond()))}
	switch mode := fi.Mode(); {
	case mode.IsRegular():
		e.Kind, e.Size = store.File, fi.Size()
	case mode.IsDir():
		e.Kind = store.Dir
	case mode&fs.ModeSymlink != 0:
		e.Kind = store.Symlink
	default:
		e.Kind = store.Special
	}
	return e
}

// readlink returns the target of the link base, with forward slashes.
func (d *dir) readlink(base string) (string, error) {
	target, err := d.root.Readlink(base)
	return filepath.ToSlash(target), err
}

// openRead opens the regular file base and describes it.
func (d *dir) openRead(base string, follow, noatime bool) (*os.File, store.Entry, error) {
	if follow {
		return openReadPath(filepath.Join(d.root.Name(), base), noatime)
	}
	if e, err := d.lstat(base); err == nil && e.Kind != store.File {
		return nil, store.Entry{}, errNotRegular
	}
	f, err := d.root.Open(base)
	return regular(f, err)
}

// openReadPath is openRead for a path, links followed.
func openReadPath(path string, _ bool) (*os.File, store.Entry, error) {
	if e, err := statPath(path); err == nil && e.Kind != store.File {
		return nil, store.Entry{}, errNotRegular
	}
	f, err := os.Open(path)
	return regular(f, err)
}

func regular(f *os.File, err error) (*os.File, store.Entry, error) {
	if err != nil {
		return nil, store.Entry{}, err
	}
	e, err := statFile(f)
	if err == nil && e.Kind != store.File {
		err = errNotRegular
	}
	if err != nil {
		f.Close()
		return nil, store.Entry{}, err
	}
	return f, e, nil
}

// openOwn opens or creates the regular file base; a link there is removed.
// beside, unless empty, is removed before base is made anew.
func (d *dir) openOwn(base, beside string) (f *os.File, found bool, err error) {
	e, err := d.lstat(base)
	switch {
	case err == nil && e.Kind == store.File:
		found = true
	case err == nil && e.Kind == store.Symlink:
		err = d.unlink(base)
	case err == nil:
		err = errNotRegular
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err != nil {
		return nil, false, err
	}
	if !found && beside != "" {
		if err := d.unlink(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, false, err
		}
	}
	f, err = d.root.OpenFile(base, os.O_RDWR|os.O_CREATE, 0o600)
	return f, found, err
}

// is tells whether base is still the open file f.
func (d *dir) is(base string, f *os.File) bool {
	a, err := d.root.Lstat(base)
	if err != nil {
		return false
	}
	b, err := f.Stat()
	return err == nil && os.SameFile(a, b)
}

// create writes data to the new file base and applies s. A leftover of the same
// name is replaced.
func (d *dir) create(base string, data []byte, s settings) (denied, err error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := d.root.OpenFile(base, flags, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if err = d.unlink(base); err == nil {
			f, err = d.root.OpenFile(base, flags, 0o600)
		}
	}
	if err != nil {
		return nil, err
	}
	n, err := f.Write(data)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		denied, err = d.apply(base, s, false, noMode)
	}
	if err != nil {
		_ = d.unlink(base)
	}
	return denied, err
}

// apply applies s to what stands at base; there are no owners to set, and links
// keep their own attributes.
func (d *dir) apply(base string, s settings, link bool, have uint32) (denied, err error) {
	if link {
		return nil, nil
	}
	if s.setTime {
		if err := d.root.Chtimes(base, time.Time{}, time.Unix(0, s.modTime)); err != nil {
			return nil, err
		}
	}
	if s.setMode && s.mode != have {
		return nil, d.chmod(base, s.mode)
	}
	return nil, nil
}

// applySelf applies s to the directory itself.
func (d *dir) applySelf(s settings, have uint32) (denied, err error) {
	s.setMode = false // the only bit there is would bar renaming it
	return d.apply(".", s, false, have)
}

// applyFile applies s to the open file f, called base in d.
func (d *dir) applyFile(_ *os.File, base string, s settings) (denied, err error) {
	return d.apply(base, s, false, noMode)
}

// chmod sets what the system knows of bits: whether the owner may write.
func (d *dir) chmod(base string, mode uint32) error {
	return d.root.Chmod(base, fs.FileMode(mode&0o777))
}

func (d *dir) mkdir(base string, perm uint32) error {
	return d.root.Mkdir(base, fs.FileMode(perm))
}

func (d *dir) symlink(target, base string) error {
	return d.root.Symlink(filepath.FromSlash(target), base)
}

func (d *dir) rename(old, base string) error { return d.root.Rename(old, base) }

func (d *dir) unlink(base string) error { return d.root.Remove(base) }

// sync has no counterpart: the systems here cannot sync a directory.
func (d *dir) sync() error { return nil }

// syncChild makes the content of the file base durable.
func (d *dir) syncChild(base string) error {
	f, err := d.root.OpenFile(base, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// syncFile makes the content of f durable.
func syncFile(f *os.File) error { return f.Sync() }

// syncWhole is not known here.
func (d *dir) syncWhole() error { return errors.ErrUnsupported }

func writeBack(*os.File, int64, int64) {}

func ahead(*os.File, int64, int64) {}

func sequential(*os.File) {}

func umask() uint32 { return 0 }

func mayOwn(uint32) bool { return false }

func searches() bool { return true }

// isDirError tells that a rename may have found a directory in its way.
func isDirError(err error) bool { return err != nil }

func isStale(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// localName tells whether the system can store a name that CheckName accepts:
// here other characters separate components or have a meaning of their own.
func localName(name string) bool {
	return !strings.ContainsAny(name, "\\:*?\"<>|") && filepath.IsLocal(filepath.FromSlash(name))
}
