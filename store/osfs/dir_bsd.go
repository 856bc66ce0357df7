//go:build unix && !linux

package osfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

const (
	noAtime   = 0
	utimeOmit = -2 // UTIME_OMIT of utimensat(2)
)

// futimens sets the time of change of an open file by its name, since the
// systems' own futimens has no wrapper; base is not followed.
func (d *dir) futimens(_ int, base string, modTime int64) error { return d.utimes(base, modTime) }

// syncData makes the content of the open file durable.
func syncData(fd int) error {
	for {
		if err := unix.Fsync(fd); err != unix.EINTR {
			return err
		}
	}
}

// syncWhole is not known here.
func (d *dir) syncWhole() error { return errors.ErrUnsupported }

// writeBack has no counterpart here: the system writes when it likes.
func writeBack(*os.File, int64, int64) {}

// ahead has no counterpart here that all these systems share.
func ahead(*os.File, int64, int64) {}

// sequential likewise: the systems find out by themselves.
func sequential(*os.File) {}

func umask() uint32 { return swapUmask() }

func (d *dir) space() (bytes, inodes int64, volatile bool, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd, &st); err != nil {
		return 0, -1, false, err
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Ffree), fsName(&st) == "tmpfs", nil
}

// fsName is the name of the kind of file system.
func fsName(st *unix.Statfs_t) string { return unix.ByteSliceToString(st.Fstypename[:]) }
