//go:build unix

package osfs

import (
	"errors"
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
// a directory or a special file is refused.
//
// beside, unless empty, is a name that is removed before base is made anew, and
// says that other runs want base too: what stands there is then locked before
// anything about it is changed, and stays as it is when another run holds it
// (store.ErrLocked).
func (d *dir) openOwn(base, beside string) (f *os.File, found bool, err error) {
	for range openTries {
		f, err := d.openFound(base, beside != "")
		if f != nil || err != nil {
			return f, f != nil, err
		}
		if beside != "" {
			if err := d.removeFree(beside); err != nil {
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
// nothing, or no more. With locked it changes nothing that another run holds.
func (d *dir) openFound(base string, locked bool) (*os.File, error) {
	h, err := openat(d.fd, base, ownFlags|unix.O_NONBLOCK, 0)
	switch err {
	case nil:
		// Without the flag os.NewFile spares itself a try at polling.
		_ = unix.SetNonblock(h, false)
		return d.takeFound(base, os.NewFile(uintptr(h), base), locked)
	case unix.ENOENT:
		return nil, nil
	case unix.EACCES:
		if locked {
			// A run that is about to commit the file has set its final bits.
			if err := d.lockReadOnly(base); err != nil {
				return nil, err
			}
		}
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

// takeFound makes f, which was found at base, this program's own. It closes f
// unless it returns it.
func (d *dir) takeFound(base string, f *os.File, locked bool) (*os.File, error) {
	err := d.claim(base, f, locked)
	if err == nil {
		return f, nil
	}
	f.Close()
	if err == errGone {
		return nil, nil
	}
	return nil, err
}

// errGone says that the file that was found does not stand there any more.
var errGone = errors.New("it was replaced meanwhile")

// claim checks f, which was found at base, and makes it readable and writable;
// errGone when base has to be tried again.
func (d *dir) claim(base string, f *os.File, locked bool) error {
	e, err := statFile(f)
	if err != nil {
		return err
	}
	if e.Kind != store.File {
		return errNotRegular
	}
	if locked {
		// Until now its holder may have renamed f, and another run may have made
		// and locked a new base, which is not ours to remove or to open up.
		if err := lock(f); err != nil {
			return err
		}
		if !d.is(base, f) {
			return errGone
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	e = entryOf(&st)
	if !d.isOurs(e, uint64(st.Nlink)) { //nolint:unconvert // its type differs between systems
		if err := d.removeForeign(base); err != nil {
			return err
		}
		return errGone
	}
	if e.Mode != 0o600 {
		return unix.Fchmod(int(f.Fd()), 0o600)
	}
	return nil
}

// lockReadOnly tells whether another run holds base, which cannot be opened for
// both reading and writing: store.ErrLocked. A file that cannot be opened at all
// is taken for one that nobody holds.
func (d *dir) lockReadOnly(base string) error {
	for _, how := range []int{unix.O_RDONLY, unix.O_WRONLY} {
		h, err := openat(d.fd, base, how|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		f := os.NewFile(uintptr(h), base)
		err = lock(f)
		f.Close()
		return err
	}
	return nil
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

// removeFree removes the file or link base, which nobody holds; store.ErrLocked
// when somebody does. Another run may have come first, made what belongs to this
// one, and hold it by now.
func (d *dir) removeFree(base string) error {
	h, err := openat(d.fd, base, ownFlags|unix.O_NONBLOCK, 0)
	if err == nil {
		f := os.NewFile(uintptr(h), base)
		defer f.Close()
		if err := lock(f); err != nil {
			return err
		}
		if !d.is(base, f) {
			return nil // who did that goes on from here
		}
	}
	if err != unix.ENOENT {
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
