package osfs

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	noAtime   = unix.O_NOATIME
	utimeOmit = 1<<30 - 2 // UTIME_OMIT of utimensat(2)

	tmpfsMagic = unix.TMPFS_MAGIC
	ramfsMagic = unix.RAMFS_MAGIC
)

// futimens sets the time of change of an open file.
//
// Source: utimensat(2): a null path means the descriptor itself. The wrapper of
// x/sys cannot express that, and its other forms go through /proc or round to
// microseconds.
func (d *dir) futimens(fd int, _ string, modTime int64) error {
	ts := timespecs(modTime)
	_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// syncData makes the content of the open file durable, and of its attributes
// what is needed to read it.
func syncData(fd int) error {
	for {
		if err := unix.Fdatasync(fd); err != unix.EINTR {
			return err
		}
	}
}

// syncWhole writes out the whole file system that d is on.
//
// Errors: those of writing back since 5.8; older systems report none.
func (d *dir) syncWhole() error {
	if d.unlisted {
		return errors.ErrUnsupported
	}
	return unix.Syncfs(d.fd)
}

// writeBack starts writing a part of f to the disk.
func writeBack(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}

// ahead tells the system that a part of f is read soon.
func ahead(f *os.File, off, n int64) {
	_ = unix.Fadvise(int(f.Fd()), off, n, unix.FADV_WILLNEED)
}

// sequential asks for larger reads ahead.
func sequential(f *os.File) {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_SEQUENTIAL)
}

// umask reads the mask without the moment of changing it that umask(2) needs,
// in which files of other goroutines would be created without.
func umask() uint32 {
	status, err := os.ReadFile("/proc/self/status")
	if err == nil {
		for line := range strings.Lines(string(status)) {
			if v, ok := strings.CutPrefix(line, "Umask:"); ok {
				if m, err := strconv.ParseUint(strings.TrimSpace(v), 8, 32); err == nil {
					return uint32(m) & 0o777
				}
			}
		}
	}
	return swapUmask()
}

func (d *dir) space() (bytes, inodes int64, volatile bool, err error) {
	var st unix.Statfs_t
	for {
		if err = unix.Fstatfs(d.fd, &st); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return 0, -1, false, err
	}
	inodes = -1
	if st.Files > 0 {
		inodes = int64(st.Ffree)
	}
	kind := int64(st.Type) //nolint:unconvert // its type differs between processors
	unit := int64(st.Frsize)
	if unit <= 0 {
		unit = int64(st.Bsize) //nolint:unconvert // likewise
	}
	return int64(st.Bavail) * unit, inodes, kind == tmpfsMagic || kind == ramfsMagic, nil
}
