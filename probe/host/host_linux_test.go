package host

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestShut: a file system that takes no writes is seen, and nothing is written.
func TestShut(t *testing.T) {
	open, dir := t.TempDir(), t.TempDir()
	if got := shut(open); got != Open {
		t.Errorf("a new directory is %q", got)
	}
	result := make(chan Shut)
	go func() {
		// Mounts of this thread alone; it ends with them, being locked.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			t.Error(err)
		} else if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
			t.Error(err)
		} else if err := unix.Mount("none", dir, "tmpfs", unix.MS_RDONLY, ""); err != nil {
			t.Error(err)
		}
		result <- shut(dir)
	}()
	if got := <-result; got != ReadOnly {
		t.Errorf("a read-only file system is %q", got)
	}
}
