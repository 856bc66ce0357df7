package engine

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/gomover/gomover/wire"
)

// TestDirsListedAgain has a source list the same directories without end: what
// the sink remembers grows with what is on the disk only.
func TestDirsListedAgain(t *testing.T) {
	la, _ := MemoryLink()
	s := NewSink(Options{JobID: "j"}, Paths{}, la, Target{}, nil)
	for i := range 100 {
		s.dirLater(dirEnd{name: "d", mtime: int64(i)})
		s.dirLater(dirEnd{name: "d/e"})
	}
	if len(s.dirs) != 2 || s.dirs[0].name != "d" || s.dirs[0].mtime != 99 {
		t.Errorf("remembered: %v, want two directories, the first with the latest time", s.dirs)
	}
}

// TestRequireLeavesForeignPart asks to resume what is no part of this source:
// that is refused, and stays as it was.
func TestRequireLeavesForeignPart(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	fill(t, filepath.Join(src, "f"), 3<<20)
	part := filepath.Join(dst, ".gomover-testjob-f")
	foreign := bytes.Repeat([]byte("foreign "), 1<<16)
	if err := os.WriteFile(part, foreign, 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWorld(src, dst)
	w.inside, w.opts.Resume = true, "require"
	if err := w.run(t, t.Context()); err != nil {
		t.Fatal(err)
	}
	if f := w.rec.files[filepath.Join(src, "f")]; f.Action != "fail" || f.Class != wire.ClassDest {
		t.Errorf("the file came to %+v, want a failure", w.rec.files)
	}
	if got, err := os.ReadFile(part); err != nil || !bytes.Equal(got, foreign) {
		t.Errorf("%d bytes are left of %d: %v", len(got), len(foreign), err)
	}
}
