package osfs

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// pathOnly opens a directory for what stands in it, without the right to list
// it. Source: open(2), O_PATH.
const pathOnly = unix.O_PATH

// openUnlisted opens a directory anywhere that may be written to and searched
// but not listed, as those are that others drop files into.
//
// Errors: fs.ErrPermission when not even that is permitted.
func openUnlisted(path string) (*dir, error) {
	if err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f, err := os.OpenFile(path, dirFlags|pathOnly, 0)
	if err != nil {
		return nil, err
	}
	return newUnlisted(f)
}

// beneath opens the directory called name below d, following links that stay
// inside; "" is d itself. It is for a d that no os.Root can be made of.
//
// Errors: also those of systems that cannot (openat2(2), since 5.6).
func (d *dir) beneath(name string) (*dir, error) {
	if name == "" {
		name = "."
	}
	how := unix.OpenHow{Flags: dirFlags, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := openBeneath(d.fd, name, &how)
	unlisted := err == unix.EACCES
	if unlisted {
		how.Flags |= pathOnly
		fd, err = openBeneath(d.fd, name, &how)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "openat2", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	if unlisted {
		return newUnlisted(f)
	}
	return newDir(f)
}

func openBeneath(dirfd int, name string, how *unix.OpenHow) (int, error) {
	for range openTries {
		fd, err := unix.Openat2(dirfd, name, how)
		// EAGAIN: something was renamed while the way was looked for.
		if err != unix.EINTR && err != unix.EAGAIN {
			return fd, err
		}
	}
	return -1, unix.EAGAIN
}

func newUnlisted(f *os.File) (*dir, error) {
	d, err := newDir(f)
	if err == nil {
		d.unlisted = true
	}
	return d, err
}
