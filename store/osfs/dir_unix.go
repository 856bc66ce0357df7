//go:build unix

package osfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/store"
)

// dir is an open directory. All methods take one component and reach only what
// stands in this very directory, links not followed unless said.
//
// Concurrency: any, until close.
type dir struct {
	f        *os.File
	fd       int
	dev      uint64
	unlisted bool // opened without the right to list it; nor can it be synced
}

const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC

// openDirIn opens the directory called name below root, following links that
// stay inside; "" is the root.
func openDirIn(root *os.Root, name string) (*dir, error) {
	if name == "" {
		name = "."
	}
	f, err := root.OpenFile(name, dirFlags, 0)
	if err != nil {
		return nil, err
	}
	return newDir(f)
}

// openDirPath opens a directory anywhere, links followed.
func openDirPath(path string) (*dir, error) {
	f, err := os.OpenFile(path, dirFlags, 0)
	if err != nil {
		return nil, err
	}
	return newDir(f)
}

// child opens a directory in d; a link is followed only if follow is set.
func (d *dir) child(base string, follow bool) (*dir, error) {
	flags := dirFlags
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := openat(d.fd, base, flags, 0)
	if err != nil {
		return nil, err
	}
	return &dir{f: os.NewFile(uintptr(fd), base), fd: fd}, nil
}

func newDir(f *os.File) (*dir, error) {
	d := &dir{f: f, fd: int(f.Fd())}
	var st unix.Stat_t
	if err := unix.Fstat(d.fd, &st); err != nil {
		f.Close()
		return nil, err
	}
	d.dev = uint64(st.Dev) //nolint:unconvert // its type differs between systems
	return d, nil
}

func (d *dir) close() { d.f.Close() }

// names reads up to n names; io.EOF at the end.
func (d *dir) names(n int) ([]string, error) { return d.f.Readdirnames(n) }

// lstat describes base without its Name and Target.
func (d *dir) lstat(base string) (store.Entry, error) {
	return d.stat(base, unix.AT_SYMLINK_NOFOLLOW)
}

// follow describes what base leads to.
func (d *dir) follow(base string) (store.Entry, error) { return d.stat(base, 0) }

func (d *dir) stat(base string, flags int) (store.Entry, error) {
	var st unix.Stat_t
	for {
		err := unix.Fstatat(d.fd, base, &st, flags)
		if err == nil {
			return entryOf(&st), nil
		}
		if err != unix.EINTR {
			return store.Entry{}, err
		}
	}
}

// statFile describes an open file.
func statFile(f *os.File) (store.Entry, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return store.Entry{}, err
	}
	return entryOf(&st), nil
}

// statPath describes what path leads to.
func statPath(path string) (store.Entry, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return store.Entry{}, err
	}
	return entryOf(&st), nil
}

func entryOf(st *unix.Stat_t) store.Entry {
	e := store.Entry{
		Mode: uint32(st.Mode) & 0o7777,
		UID:  st.Uid,
		GID:  st.Gid,
		Dev:  uint64(st.Dev), //nolint:unconvert // its type differs between systems
		Ino:  uint64(st.Ino), //nolint:unconvert // likewise
	}
	sec, nsec := st.Mtim.Unix()
	e.ModTime = nanos(sec, nsec)
	switch uint32(st.Mode) & unix.S_IFMT {
	case unix.S_IFREG:
		e.Kind, e.Size = store.File, st.Size
	case unix.S_IFDIR:
		e.Kind = store.Dir
	case unix.S_IFLNK:
		e.Kind = store.Symlink
	default:
		e.Kind = store.Special
	}
	return e
}

// readlink returns the target of the link base.
func (d *dir) readlink(base string) (string, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(d.fd, base, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

// create writes data to the new file base and applies s; denied is why owner
// or group could not be set. A leftover of the same name is replaced.
func (d *dir) create(base string, data []byte, s settings) (denied, err error) {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	h, err := openat(d.fd, base, flags, 0o600)
	for range openTries {
		if err != unix.EEXIST {
			break
		}
		if err = d.unlink(base); err != nil && err != unix.ENOENT {
			return nil, err
		}
		h, err = openat(d.fd, base, flags, 0o600)
	}
	if err != nil {
		return nil, err
	}
	err = writeAll(h, data)
	if err == nil {
		denied, err = d.applyTo(h, base, s, 0o600)
	}
	// Network file systems report what went wrong while writing only here.
	if cerr := unix.Close(h); err == nil && cerr != unix.EINTR {
		err = cerr
	}
	if err != nil {
		_ = d.unlink(base)
	}
	return denied, err
}

func writeAll(fd int, data []byte) error {
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n <= 0 {
			return io.ErrShortWrite
		}
		data = data[n:]
	}
	return nil
}

// applyTo applies s to the open file fd, which is called base in d and has the
// permission bits have.
func (d *dir) applyTo(fd int, base string, s settings, have uint32) (denied, err error) {
	if s.uid >= 0 || s.gid >= 0 {
		denied, err = chown(s, func(uid, gid int) error { return unix.Fchown(fd, uid, gid) })
		if err != nil {
			return denied, err
		}
		have = noMode // changing the owner may clear bits
	}
	if mode := s.modeAfter(denied); s.setMode && mode != have {
		if err := unix.Fchmod(fd, mode); err != nil {
			return denied, err
		}
	}
	if s.setTime {
		return denied, d.futimens(fd, base, s.modTime)
	}
	return denied, nil
}

// apply applies s to what stands at base, links not followed.
func (d *dir) apply(base string, s settings, link bool, have uint32) (denied, err error) {
	if s.uid >= 0 || s.gid >= 0 {
		denied, err = chown(s, func(uid, gid int) error {
			return unix.Fchownat(d.fd, base, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
		})
		if err != nil {
			return denied, err
		}
		have = noMode
	}
	if mode := s.modeAfter(denied); s.setMode && !link && mode != have {
		if err := d.chmod(base, mode); err != nil {
			return denied, err
		}
	}
	if s.setTime {
		return denied, d.utimes(base, s.modTime)
	}
	return denied, nil
}

// applySelf applies s to the directory itself.
func (d *dir) applySelf(s settings, have uint32) (denied, err error) {
	if d.unlisted {
		return d.apply(".", s, false, have)
	}
	return d.applyTo(d.fd, ".", s, have)
}

// chmod sets the bits of base, which must not be a link: where the system
// cannot change bits without following, the file is opened instead.
func (d *dir) chmod(base string, mode uint32) error {
	if base == "." { // which is no link
		return unix.Fchmodat(d.fd, base, mode, 0)
	}
	err := unix.Fchmodat(d.fd, base, mode, unix.AT_SYMLINK_NOFOLLOW)
	if err != unix.EOPNOTSUPP && err != unix.ENOSYS && err != unix.EINVAL {
		return err
	}
	fd, err := openat(d.fd, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fchmod(fd, mode)
}

// utimes sets the time of change of base and leaves the time of access.
func (d *dir) utimes(base string, modTime int64) error {
	ts := timespecs(modTime)
	return unix.UtimesNanoAt(d.fd, base, ts[:], unix.AT_SYMLINK_NOFOLLOW)
}

// timespecs is the pair the utimensat family wants: access, change.
func timespecs(modTime int64) [2]unix.Timespec {
	omit := unix.Timespec{}
	omit.Nsec = utimeOmit
	return [2]unix.Timespec{omit, unix.NsecToTimespec(modTime)}
}

// chown tries owner and group together, then the group alone, which more users
// may set. Being refused is not an error of the file: it is returned as denied.
func chown(s settings, do func(uid, gid int) error) (denied, err error) {
	err = do(s.uid, s.gid)
	if err != nil && isDenied(err) {
		denied = err
		err = nil
		if s.uid >= 0 && s.gid >= 0 {
			if gerr := do(-1, s.gid); gerr != nil && !isDenied(gerr) {
				err = gerr
			}
		}
	}
	return denied, err
}

func isDenied(err error) bool {
	return err == unix.EPERM || err == unix.EINVAL || err == unix.EOPNOTSUPP
}

// mkdir makes the directory base with the given bits, before the umask.
func (d *dir) mkdir(base string, perm uint32) error { return unix.Mkdirat(d.fd, base, perm) }

// symlink makes the link base.
func (d *dir) symlink(target, base string) error { return unix.Symlinkat(target, d.fd, base) }

// rename gives old the name base, replacing what stands there.
func (d *dir) rename(old, base string) error { return unix.Renameat(d.fd, old, d.fd, base) }

// unlink removes the file or link base.
func (d *dir) unlink(base string) error { return unix.Unlinkat(d.fd, base, 0) }

// sync makes the directory's list durable. Some file systems cannot sync a
// directory and say so with EINVAL; nothing more can be done there, nor where it
// may not be read.
func (d *dir) sync() error {
	if d.unlisted {
		return nil
	}
	err := d.f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}

func openat(dirfd int, name string, flags int, perm uint32) (int, error) {
	for {
		fd, err := unix.Openat(dirfd, name, flags, perm)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

// isDirError tells that a rename found a directory in its way.
func isDirError(err error) bool {
	return err == unix.EISDIR || err == unix.ENOTEMPTY || err == unix.EEXIST
}

// isStale tells that the handle's directory may have been replaced by another
// of the same name.
func isStale(err error) bool { return err == unix.ENOENT || err == unix.ESTALE }

// mayOwn tells whether this process may change bits of what belongs to uid.
func mayOwn(uid uint32) bool { return os.Geteuid() == int(uid) }

// searches tells whether this process passes directories whatever their bits.
func searches() bool { return os.Geteuid() == 0 }

// applyFile applies s to the open file f, called base in d.
func (d *dir) applyFile(f *os.File, base string, s settings) (denied, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	// Held so, the descriptor cannot be closed, and become another file's, midway.
	cerr := raw.Control(func(fd uintptr) { denied, err = d.applyTo(int(fd), base, s, noMode) })
	if cerr != nil {
		return denied, fs.ErrClosed
	}
	return denied, err
}

// syncChild makes the content of the file base durable. A file that not even its
// owner may read was given its final bits already: then the whole file system is
// synced, or where that is not known, the bits are lent for a moment.
func (d *dir) syncChild(base string) error {
	fd, err := d.openSync(base)
	if err == unix.EACCES {
		if err = d.syncWhole(); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		fd, err = d.openUnreadable(base)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return syncData(fd)
}

func (d *dir) openSync(base string) (int, error) {
	return openat(d.fd, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
}

// openUnreadable opens base with bits that are put back at once.
func (d *dir) openUnreadable(base string) (int, error) {
	e, err := d.lstat(base)
	if err == nil {
		err = d.chmod(base, 0o600)
	}
	if err != nil {
		return -1, err
	}
	fd, err := d.openSync(base)
	if cerr := d.chmod(base, e.Mode); err == nil && cerr != nil {
		unix.Close(fd)
		err = cerr
	}
	return fd, err
}

// syncFile makes the content of f durable.
func syncFile(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { err = syncData(int(fd)) }); cerr != nil {
		return fs.ErrClosed // the only way Control itself goes wrong
	}
	return err
}

// localName tells whether the system can store a name that CheckName accepts.
func localName(string) bool { return true }
