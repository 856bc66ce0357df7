//go:build unix

package osfs

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/store"
)

// openRead opens the regular file base without ever waiting for the other end
// of a pipe that took its place, and describes it.
func (d *dir) openRead(base string, follow, noatime bool) (*os.File, store.Entry, error) {
	flags := unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	return openRegular(d.fd, base, flags, noatime)
}

// openReadPath is openRead for a path, links followed.
func openReadPath(path string, noatime bool) (*os.File, store.Entry, error) {
	return openRegular(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, noatime)
}

func openRegular(dirfd int, name string, flags int, noatime bool) (*os.File, store.Entry, error) {
	h, err := -1, error(unix.EPERM)
	if noatime && noAtime != 0 {
		// Only the owner may ask for it: others are refused with EPERM.
		h, err = openat(dirfd, name, flags|noAtime, 0)
	}
	if err == unix.EPERM {
		h, err = openat(dirfd, name, flags, 0)
	}
	if err == unix.EWOULDBLOCK {
		// A lease on a regular file, which its holder gives up when asked in
		// earnest; opening a pipe for reading never answers so.
		h, err = openat(dirfd, name, flags&^unix.O_NONBLOCK, 0)
	}
	if err == unix.ELOOP || err == unix.EMLINK {
		err = errNotRegular
	}
	if err != nil {
		return nil, store.Entry{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(h, &st); err != nil {
		unix.Close(h)
		return nil, store.Entry{}, err
	}
	e := entryOf(&st)
	if e.Kind != store.File {
		unix.Close(h)
		return nil, store.Entry{}, errNotRegular
	}
	if flags&unix.O_NONBLOCK != 0 {
		// Without the flag os.NewFile spares itself a try at polling.
		_ = unix.SetNonblock(h, false)
	}
	return os.NewFile(uintptr(h), name), e, nil
}

// openOwn opens or creates the regular file base for this program alone. What
// stands there but is not surely ours (a link, another owner's file, a file with
// a second name) is removed first, since writing to it would write elsewhere;
// a directory or a special file is refused. beside, unless empty, is a name that
// is removed before base is made anew.
func (d *dir) openOwn(base, beside string) (f *os.File, found bool, err error) {
	for range openTries {
		f, err := d.openFound(base)
		if f != nil || err != nil {
			return f, f != nil, err
		}
		if beside != "" {
			if err := d.unlink(beside); err != nil && err != unix.ENOENT {
				return nil, false, err
			}
		}
		f, err = d.openNew(base)
		if f != nil || err != nil {
			return f, false, err
		}
	}
	return nil, false, errUnsteady
}

const ownFlags = unix.O_RDWR | unix.O_CLOEXEC | unix.O_NOFOLLOW

// openNew makes base; nil, nil when something stands there by now.
func (d *dir) openNew(base string) (*os.File, error) {
	h, err := openat(d.fd, base, ownFlags|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err == unix.EEXIST {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(h), base), nil
}

// openFound opens what an earlier run left at base; nil, nil when there is
// nothing, or no more.
func (d *dir) openFound(base string) (*os.File, error) {
	h, err := openat(d.fd, base, ownFlags|unix.O_NONBLOCK, 0)
	switch err {
	case nil:
		return d.takeFound(base, h)
	case unix.ENOENT:
		return nil, nil
	case unix.EACCES:
		// The run before died between setting read-only bits and the rename.
		if e, nlink, lerr := d.lstatLinks(base); lerr == nil && e.Kind == store.File && d.isOurs(e, nlink) {
			return nil, d.chmod(base, 0o600)
		}
		return nil, d.removeForeign(base)
	case unix.ELOOP, unix.EMLINK:
		return nil, d.removeForeign(base)
	case unix.EISDIR, unix.ENXIO:
		return nil, errNotRegular
	}
	return nil, err
}

func (d *dir) takeFound(base string, h int) (*os.File, error) {
	var st unix.Stat_t
	err := unix.Fstat(h, &st)
	e := entryOf(&st)
	switch {
	case err != nil:
	case e.Kind != store.File:
		err = errNotRegular
	case !d.isOurs(e, uint64(st.Nlink)): //nolint:unconvert // its type differs between systems
		err = d.removeForeign(base)
	default:
		if e.Mode != 0o600 {
			err = unix.Fchmod(h, 0o600)
		}
		if err == nil {
			_ = unix.SetNonblock(h, false)
			return os.NewFile(uintptr(h), base), nil
		}
	}
	unix.Close(h)
	return nil, err
}

// isOurs tells whether a file found may be written to: it has one name only, and
// it is this user's, or (with an owner set already by a run that died) stands
// where nobody but the privileged user could have put it.
func (d *dir) isOurs(e store.Entry, nlink uint64) bool {
	if nlink != 1 {
		return false
	}
	if int(e.UID) == os.Geteuid() {
		return true
	}
	var st unix.Stat_t
	return os.Geteuid() == 0 && unix.Fstat(d.fd, &st) == nil && st.Uid == 0 && uint32(st.Mode)&0o022 == 0
}

func (d *dir) lstatLinks(base string) (store.Entry, uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return store.Entry{}, 0, err
	}
	return entryOf(&st), uint64(st.Nlink), nil //nolint:unconvert // its type differs between systems
}

// removeForeign removes a file or link that is not ours; anything else stays
// and is refused.
func (d *dir) removeForeign(base string) error {
	e, err := d.lstat(base)
	if err == nil {
		if e.Kind != store.File && e.Kind != store.Symlink {
			return errNotRegular
		}
		err = d.unlink(base)
	}
	if err == unix.ENOENT {
		return nil
	}
	return err
}

// openTries bounds how often a name is tried that others keep changing.
const openTries = 16

// is tells whether base is still the open file f.
func (d *dir) is(base string, f *os.File) bool {
	a, err := d.lstat(base)
	if err != nil {
		return false
	}
	b, err := statFile(f)
	return err == nil && a.Dev == b.Dev && a.Ino == b.Ino
}

// lock takes the file for this open handle alone; store.ErrLocked when another
// has it. It ends when the handle is closed or the process ends. File systems
// that know no locks are let pass.
func lock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch err {
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return store.ErrLocked
		case unix.ENOTSUP, unix.ENOSYS, unix.ENOLCK, unix.EINVAL:
			return nil
		default:
			return err
		}
	}
}
