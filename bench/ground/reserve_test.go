package ground

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestReserveStaysAheadOfWhatIsWritten(t *testing.T) {
	const size, lead = 8 << 20, 1 << 20
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	src := filepath.Join(dir, "src")
	if err := os.WriteFile(src, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := newReserve(t.Context(), src, lead)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	free := func() int64 {
		var s unix.Statfs_t
		if err := unix.Statfs(dir, &s); err != nil {
			t.Fatal(err)
		}
		return int64(s.Bfree) * s.Bsize
	}
	if got := int64(64<<20) - free(); got != 2*size-lead {
		t.Errorf("before anything is written %d bytes are used, want %d", got, 2*size-lead)
	}
	const piece = 3 << 20
	if err := os.WriteFile(filepath.Join(dir, "dst"), make([]byte, piece), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Feed()
	r.Feed() // nothing was written since
	if got := int64(64<<20) - free(); got != 2*size-lead {
		t.Errorf("with %d bytes written %d bytes are used, want %d", piece, got, 2*size-lead)
	}
	if err := os.WriteFile(filepath.Join(dir, "rest"), make([]byte, 2*size), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Feed()
	if got := int64(64<<20) - free(); got != 3*size+piece {
		t.Errorf("with all written %d bytes are used, want %d", got, 3*size+piece)
	}
}
