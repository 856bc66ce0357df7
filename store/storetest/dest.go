package storetest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/gomover/gomover/store"
)

func lockPartial(t *testing.T, m Maker) {
	d, other := m.Dest(t, "j"), m.Dest(t, "j")
	defer d.Close()
	defer other.Close()
	w, _, err := d.OpenPartial("f")
	check(t, err)
	for _, again := range []store.Dest{d, other} {
		if _, _, err := again.OpenPartial("f"); !errors.Is(err, store.ErrLocked) {
			t.Errorf("opened twice: %v, want ErrLocked", err)
		}
	}
	w2, _, err := other.OpenPartial("g")
	check(t, err)
	check(t, w2.Close())
	check(t, w.Close())
	w, found, err := other.OpenPartial("f")
	check(t, err)
	if !found {
		t.Error("the partial file is gone after its lock")
	}
	check(t, w.Close())
}

// lockAfterCommit: a lock on a file that got its final name does not keep
// others from starting a new one.
func lockAfterCommit(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	w, _, err := d.OpenPartial("f")
	check(t, err)
	_, err = w.WriteAt([]byte("first"), 0)
	check(t, err)
	check(t, d.Commit("f"))
	w2, found, err := d.OpenPartial("f")
	check(t, err)
	if found {
		t.Error("the finished file was taken for an unfinished one")
	}
	_, err = w2.WriteAt([]byte("x"), 0)
	check(t, err)
	check(t, w2.Close())
	check(t, w.Close())
	if got := content(t, m, "f"); got != "first" {
		t.Errorf("the finished file holds %q", got)
	}
}

// lockRace: who opens a partial file just before its holder commits it must not
// be given what is by then the finished file.
func lockRace(t *testing.T, m Maker) {
	var wg sync.WaitGroup
	for range 4 {
		d := m.Dest(t, "j")
		defer d.Close()
		wg.Go(func() {
			for done := 0; done < 300 && !t.Failed(); {
				w, _, err := d.OpenPartial("f")
				if errors.Is(err, store.ErrLocked) {
					runtime.Gosched()
					continue
				}
				if err != nil {
					t.Errorf("opening: %v", err)
					return
				}
				if err := d.Commit("f"); err != nil {
					t.Errorf("the locked file lost its name: %v", err)
				}
				if err := w.Close(); err != nil {
					t.Error(err)
				}
				done++
			}
		})
	}
	wg.Wait()
}

func journalFile(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	check(t, d.Mkdir("d"))
	j, err := d.OpenJournal("d/f")
	check(t, err)
	write := func(s string) {
		t.Helper()
		if n, err := j.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatalf("writing %q: %d, %v", s, n, err)
		}
	}
	write("one,")
	write("two,")
	check(t, j.Sync())
	check(t, j.Truncate(4))
	write("three")
	check(t, j.Close())
	j, err = d.OpenJournal("d/f")
	check(t, err)
	write("!")
	n, err := j.Size()
	check(t, err)
	b, err := io.ReadAll(io.NewSectionReader(j, 0, n))
	check(t, err)
	if string(b) != "one,three!" {
		t.Errorf("journal holds %q", b)
	}
	check(t, j.Close())
	check(t, d.RemoveJournal("d/f"))
	check(t, d.RemoveJournal("d/f"))
	check(t, d.RemoveJournal("no/such"))
	j, err = d.OpenJournal("d/f")
	check(t, err)
	if n, err := j.Size(); n != 0 || err != nil {
		t.Errorf("a removed journal has %d bytes, %v", n, err)
	}
	check(t, j.Close())
}

func discard(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	put(t, d, "f", "final")
	w, _, err := d.OpenPartial("f")
	check(t, err)
	j, err := d.OpenJournal("f")
	check(t, err)
	check(t, j.Close())
	check(t, w.Close())
	if got := names(t, m); len(got) != 3 {
		t.Errorf("%q, want the file, its unfinished form and its journal", got)
	}
	check(t, d.Discard("f"))
	check(t, d.Discard("f"))
	check(t, d.Discard("no/such"))
	if got := names(t, m); !slices.Equal(got, []string{"f"}) {
		t.Errorf("after Discard: %q, want f", got)
	}
}

// staleJournal: a journal whose partial file is gone must not be believed for
// the next one.
func staleJournal(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	w, _, err := d.OpenPartial("f")
	check(t, err)
	j, err := d.OpenJournal("f")
	check(t, err)
	_, err = j.Write([]byte("claims"))
	check(t, err)
	check(t, j.Close())
	check(t, d.Commit("f"))
	check(t, w.Close())
	if there, err := d.HasPartial("f"); there || err != nil {
		t.Errorf("after Commit: partial file there %v, %v", there, err)
	}
	w, found, err := d.OpenPartial("f")
	check(t, err)
	if there, err := d.HasPartial("f"); found || !there || err != nil {
		t.Errorf("new partial file: found %v, there %v, %v", found, there, err)
	}
	check(t, w.Close())
	j, err = d.OpenJournal("f")
	check(t, err)
	if n, err := j.Size(); n != 0 || err != nil {
		t.Errorf("the journal of the finished file is still there: %d bytes, %v", n, err)
	}
	_, err = j.Write([]byte("more"))
	check(t, err)
	check(t, j.Close())
	w, _, err = d.OpenPartial("f")
	check(t, err)
	check(t, w.Close())
	j, err = d.OpenJournal("f")
	check(t, err)
	if n, err := j.Size(); n != 4 || err != nil {
		t.Errorf("the journal of the partial file has %d bytes, %v; want 4", n, err)
	}
	check(t, j.Close())
	if err := w.Sync(); !d.Volatile() && !errors.Is(err, fs.ErrClosed) {
		t.Errorf("sync after close: %v, want ErrClosed", err)
	}
}

func links(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	check(t, d.Mkdir("d"))
	put(t, d, "f", "content")
	for _, target := range []string{"../f", "/etc/passwd", "no\xffwhere", "a//b/../c"} {
		e := store.Entry{Name: "d/l", Kind: store.Symlink, Target: target, ModTime: 987654321_000000001}
		check(t, d.Symlink(e))
		check(t, d.SetAttrs(e, attrs))
		got, err := d.Lookup("d/l")
		check(t, err)
		if got.Kind != store.Symlink || got.Target != target || got.ModTime != e.ModTime {
			t.Errorf("link to %q: %+v", target, got)
		}
	}
	before, err := d.Lookup("f")
	check(t, err)
	check(t, d.Symlink(store.Entry{Name: "l", Kind: store.Symlink, Target: "f"}))
	if err := d.SetAttrs(entry("l", 1), attrs); err == nil {
		t.Error("attributes of a file were set on a link")
	}
	if after, _ := d.Lookup("f"); after != before {
		t.Errorf("setting a link's attributes changed its target: %+v, before %+v", after, before)
	}
	// A file replaces the link itself, not what it leads to.
	put(t, d, "l", "new")
	if got := content(t, m, "f"); got != "content" {
		t.Errorf("writing over a link changed its target to %q", got)
	}
	if got := content(t, m, "l"); got != "new" {
		t.Errorf("the file in place of a link holds %q", got)
	}
	// A link replaces a file.
	check(t, d.Symlink(store.Entry{Name: "l", Kind: store.Symlink, Target: "f"}))
	if got, _ := d.Lookup("l"); got.Kind != store.Symlink {
		t.Errorf("a link over a file: %+v", got)
	}
	for _, target := range []string{"", "a\x00b"} {
		if err := d.Symlink(store.Entry{Name: "bad", Kind: store.Symlink, Target: target}); err == nil {
			t.Errorf("link to %q was made", target)
		}
	}
	if got := names(t, m); len(got) != 4 {
		t.Errorf("%q, want d, d/l, f, l", got)
	}
}

func directories(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	check(t, d.Mkdir(""))
	check(t, d.Mkdir("a"))
	check(t, d.Mkdir("a"))
	check(t, d.Mkdir("a/b"))
	if err := d.Mkdir("x/y"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("directory in a missing one: %v", err)
	}
	put(t, d, "a/b/f", "f")
	e := store.Entry{Name: "a/b", Kind: store.Dir, Mode: 0o750, ModTime: 1111111111_222222222}
	check(t, d.SetAttrs(e, attrs))
	got, err := d.Lookup("a/b")
	check(t, err)
	if got.Kind != store.Dir || got.Mode != 0o750 || got.ModTime != e.ModTime {
		t.Errorf("directory: %+v", got)
	}
	e.Name = ""
	check(t, d.SetAttrs(e, attrs))
	if got, err := d.Lookup(""); err != nil || got.Kind != store.Dir || got.ModTime != e.ModTime || got.Mode != 0o750 {
		t.Errorf("root: %+v, %v", got, err)
	}
	// A link to a directory inside serves as one.
	check(t, d.Symlink(store.Entry{Name: "l", Kind: store.Symlink, Target: "a/b"}))
	check(t, d.Mkdir("l"))
	put(t, d, "l/g", "g")
	if got := content(t, m, "a/b/g"); got != "g" {
		t.Errorf("written through a link inside: %q", got)
	}
}

func kindsInTheWay(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	check(t, d.Mkdir("d"))
	put(t, d, "f", "f")
	if err := d.Mkdir("f"); err == nil {
		t.Error("a directory was made where a file stands")
	}
	if err := d.WriteSmall(entry("f/g", 1), []byte("x"), attrs); err == nil {
		t.Error("a file was written below a file")
	}
	check(t, d.WriteSmall(entry("d", 1), []byte("x"), attrs))
	if err := d.Commit("d"); err == nil {
		t.Error("a file replaced a directory")
	}
	// The temporary file of a Commit that did not succeed stays.
	w, found, err := d.OpenPartial("d")
	check(t, err)
	if !found {
		t.Error("a Commit that did not succeed removed the temporary file")
	}
	check(t, w.Close())
	check(t, d.Discard("d"))
	if err := d.Symlink(store.Entry{Name: "d", Kind: store.Symlink, Target: "f"}); err == nil {
		t.Error("a link replaced a directory")
	}
	if err := d.SetAttrs(entry("d", 1), attrs); err == nil {
		t.Error("attributes of a file were set on a directory")
	}
	if got := names(t, m); !slices.Equal(got, []string{"d", "f"}) {
		t.Errorf("%q were left, want d and f", got)
	}
}

// ownNames: a tree that holds what looks like our unfinished files must not
// be mixed up with them.
func ownNames(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	if err := d.WriteSmall(entry(d.TempName("f"), 1), []byte("x"), attrs); err == nil {
		t.Error("an unfinished name of this job was accepted as a final name")
	}
	put(t, d, ".gomover-other-f", "of another job")
	put(t, d, "f", "f")
	if got := content(t, m, ".gomover-other-f"); got != "of another job" {
		t.Errorf("another job's file holds %q", got)
	}
}

func syncing(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	var list []string
	for i := range 40 {
		dir := fmt.Sprintf("d%d", i%20)
		check(t, d.Mkdir(dir))
		name := fmt.Sprintf("%s/f%d", dir, i)
		check(t, d.WriteSmall(entry(name, 1), []byte("x"), attrs))
		list = append(list, name)
	}
	check(t, d.Sync(nil))
	check(t, d.Sync(list[:2]))
	check(t, d.Sync(list))
	for _, name := range list {
		check(t, d.Commit(name))
	}
	check(t, d.SyncDirs(nil))
	check(t, d.SyncDirs(list[:2]))
	check(t, d.SyncDirs(list))
}

func space(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	bytes, inodes, err := d.Free()
	check(t, err)
	if bytes <= 0 || inodes == 0 || inodes < -1 {
		t.Errorf("free: %d bytes, %d inodes", bytes, inodes)
	}
}

func manyAtOnce(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	const dirs, files = 300, 4 // more directories than are kept open
	for i := range dirs {
		check(t, d.Mkdir(fmt.Sprintf("d%03d", i)))
	}
	var wg sync.WaitGroup
	for w := range files {
		wg.Go(func() {
			for i := range dirs {
				name := fmt.Sprintf("d%03d/f%d", i, w)
				if err := d.WriteSmall(entry(name, len(name)), []byte(name), attrs); err != nil {
					t.Error(err)
				}
				if err := d.Commit(name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s := m.Source(t)
	defer s.Close()
	for i := range dirs {
		for w := range files {
			name := fmt.Sprintf("d%03d/f%d", i, w)
			f, err := s.Open(name)
			check(t, err)
			b := make([]byte, len(name))
			if _, err := f.ReadAt(b, 0); err != nil || string(b) != name {
				t.Fatalf("%s holds %q, %v", name, b, err)
			}
			check(t, f.Close())
		}
	}
}
