package osfs

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"

	"github.com/gomover/gomover/store"
)

// lock takes the file for this open handle alone; store.ErrLocked when another
// has it. The byte locked lies behind any content, since locks here bar reading
// and writing as well.
func lock(f *os.File) error {
	at := windows.Overlapped{OffsetHigh: 0x7fffffff}
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return store.ErrLocked
	}
	return err
}

func (d *dir) space() (bytes, inodes int64, volatile bool, err error) {
	path, err := windows.UTF16PtrFromString(d.root.Name())
	if err != nil {
		return 0, -1, false, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(path, &free, nil, nil); err != nil {
		return 0, -1, false, err
	}
	return int64(min(free, 1<<63-1)), -1, false, nil
}

func isNoSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

func isReadOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }
