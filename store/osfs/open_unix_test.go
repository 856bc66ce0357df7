//go:build unix

package osfs

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/store"
)

// TestReplacedBetweenOpenAndLock opens an unfinished file that its holder then
// finishes and another run's finished file replaces: the third run's new file
// under the same name is not to be touched.
func TestReplacedBetweenOpenAndLock(t *testing.T) {
	root := t.TempDir()
	made, err := NewDest(root, DestOptions{JobID: "j"})
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	d := made.(*dest)
	temp := tempBase(d.prefix, "f")
	first, _, err := d.OpenPartial("f")
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.OpenFile(filepath.Join(root, temp), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Commit("f"); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(root, "f")); err != nil { // as a rename over it does
		t.Fatal(err)
	}
	w, _, err := d.OpenPartial("f")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if f, err := d.top.takeFound(temp, old, true); f != nil || err != nil {
		t.Errorf("took %v, %v; want neither", f, err)
	}
	if err := d.Commit("f"); err != nil {
		t.Errorf("the locked file lost its name: %v", err)
	}
}

// TestHeldFileIsLeftAlone has a second run come by after the holder has given
// the file its final attributes and before it renames it.
func TestHeldFileIsLeftAlone(t *testing.T) {
	root := t.TempDir()
	// In a directory of another user, the owner alone says whose a file is.
	if err := os.Chown(root, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	var dests [2]store.Dest
	for i := range dests {
		d, err := NewDest(root, DestOptions{JobID: "j"})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		dests[i] = d
	}
	w, _, err := dests[0].OpenPartial("f")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	e := store.Entry{Name: "f", Kind: store.File, Mode: 0o644, UID: 12345, GID: 12345}
	if err := w.SetAttrs(e, store.Attrs{Perms: true, Owner: true, Group: true}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := dests[1].OpenPartial("f"); !errors.Is(err, store.ErrLocked) {
		t.Errorf("opened twice: %v, want ErrLocked", err)
	}
	if err := dests[0].Commit("f"); err != nil {
		t.Fatalf("the locked file lost its name: %v", err)
	}
	got, err := dests[0].Lookup("f")
	if err != nil || got.Mode != 0o644 || got.UID != 12345 {
		t.Errorf("mode %o, owner %d, %v; want 644, 12345", got.Mode, got.UID, err)
	}
}

// TestJournalOfAnotherRun has two runs begin the same file at once, again and
// again: the one that gets it keeps its journal.
func TestJournalOfAnotherRun(t *testing.T) {
	root := t.TempDir()
	var dests [2]*dest
	for i := range dests {
		d, err := NewDest(root, DestOptions{JobID: "j"})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		dests[i] = d.(*dest)
	}
	journal := tempBase(dests[0].prefix, "f") + journalSuffix
	for round := range 2000 {
		type end struct {
			w   store.WriteFile
			j   store.AppendFile
			err error
		}
		var ends [2]end
		var wg sync.WaitGroup
		for i, d := range dests {
			e := &ends[i]
			wg.Go(func() {
				if e.w, _, e.err = d.OpenPartial("f"); e.err == nil {
					e.j, e.err = d.OpenJournal("f")
				}
			})
		}
		wg.Wait()
		won := 0
		for i := range ends {
			e := &ends[i]
			switch {
			case e.err == nil:
				won++
				if !dests[i].top.is(journal, e.j.(*appendFile).f) {
					t.Fatalf("round %d: the journal was removed while it was held", round)
				}
			case !errors.Is(e.err, store.ErrLocked):
				t.Fatalf("round %d: %v", round, e.err)
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d runs have the file", round, won)
		}
		for i := range ends {
			if ends[i].w != nil {
				ends[i].w.Close()
			}
			if ends[i].j != nil {
				ends[i].j.Close()
			}
		}
		// As a run that dies leaves it, every second time with its file.
		if err := os.Remove(filepath.Join(root, tempBase(dests[0].prefix, "f"))); err != nil {
			t.Fatal(err)
		}
		if round%2 == 0 {
			if err := os.Remove(filepath.Join(root, journal)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestFarTimes copies the time of a file from beyond what nanoseconds reach:
// both files must have the same one then, or a file would be sent again in every
// run.
func TestFarTimes(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	path := filepath.Join(from, "f")
	if err := os.WriteFile(path, []byte("f"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Beyond the reach, yet not beyond what ext4 stores.
	stamp := unix.Timespec{Sec: time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC).Unix()}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{stamp, stamp}, 0); err != nil {
		t.Fatal(err)
	}
	e, err := statPath(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDest(to, DestOptions{JobID: "j"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	e.Name = "f"
	if err := d.WriteSmall(e, []byte("f"), store.Attrs{Times: true}); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit("f"); err != nil {
		t.Fatal(err)
	}
	got, err := d.Lookup("f")
	if err != nil || got.ModTime != e.ModTime || got.ModTime < time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano() {
		t.Errorf("time %v, %v; want %v", got.ModTime, err, e.ModTime)
	}
}
