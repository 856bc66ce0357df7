// Package storetest is the contract of package store as a test: every
// implementation of store.Source and store.Dest runs [Source] and [Dest]. It
// sees files through the interfaces alone; what only real files can do is tested
// where they are.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/gomover/gomover/store"
)

// Maker makes what is under test.
type Maker struct {
	// Dest makes an empty destination for the job jobID. Called again in the
	// same test it opens the same root again.
	Dest func(t *testing.T, jobID string) store.Dest
	// Source opens for reading what the destinations of this test wrote to.
	Source func(t *testing.T) store.Source
}

// attrs is what is applied unless a test says otherwise.
var attrs = store.Attrs{Perms: true, Times: true}

// entry is a file of n bytes.
func entry(name string, n int) store.Entry {
	return store.Entry{Name: name, Kind: store.File, Size: int64(n), Mode: 0o640, ModTime: 1234567890_123456789}
}

// HostileNames are names that no store may accept from the other end.
var HostileNames = []string{
	"/etc/passwd", "../x", "..", ".", "a/..", "a/../../x", "./a", "a//b", "a/", "/", "a/./b",
	"a\x00b", "\x00", strings.Repeat("a/", store.MaxName/2) + "a",
}

// Dest runs the contract of destinations; open gives each test its own root.
func Dest(t *testing.T, open func(t *testing.T) Maker) {
	tests := []struct {
		name string
		run  func(t *testing.T, m Maker)
	}{
		{"hostile names", hostileNames},
		{"small files", smallFiles},
		{"long and odd names", oddNames},
		{"temporary names", tempNames},
		{"stale temporary file", staleTemp},
		{"partial file", partialFile},
		{"lock", lockPartial},
		{"lock after commit", lockAfterCommit},
		{"lock race", lockRace},
		{"journal", journalFile},
		{"stale journal", staleJournal},
		{"discard", discard},
		{"links", links},
		{"directories", directories},
		{"kinds in the way", kindsInTheWay},
		{"own names", ownNames},
		{"sync", syncing},
		{"space", space},
		{"many at once", manyAtOnce},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes a whole small file.
func put(t *testing.T, d store.Dest, name, content string) {
	t.Helper()
	check(t, d.WriteSmall(entry(name, len(content)), []byte(content), attrs))
	check(t, d.Commit(name))
}

// content reads a file through a fresh source.
func content(t *testing.T, m Maker, name string) string {
	t.Helper()
	s := m.Source(t)
	defer s.Close()
	f, err := s.Open(name)
	check(t, err)
	defer f.Close()
	e, err := f.Stat()
	check(t, err)
	b, err := io.ReadAll(io.NewSectionReader(f, 0, e.Size))
	check(t, err)
	return string(b)
}

// names lists all names below the root.
func names(t *testing.T, m Maker) []string {
	t.Helper()
	s := m.Source(t)
	defer s.Close()
	var out []string
	check(t, s.Walk(context.Background(), func(e store.Entry, err error) error {
		if e.Name != "" {
			out = append(out, e.Name)
		}
		return err
	}))
	return out
}

func absent(t *testing.T, d store.Dest, name string) {
	t.Helper()
	if e, err := d.Lookup(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%q: %+v, %v; want that it does not exist", name, e, err)
	}
}

func hostileNames(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	put(t, d, "x", "good")
	check(t, d.Mkdir("a"))
	for _, name := range HostileNames {
		e := entry(name, 1)
		link := store.Entry{Name: name, Kind: store.Symlink, Target: "x"}
		dir := store.Entry{Name: name, Kind: store.Dir, Mode: 0o755}
		_, lookup := d.Lookup(name)
		_, open := d.Open(name)
		_, _, partial := d.OpenPartial(name)
		_, journal := d.OpenJournal(name)
		for call, err := range map[string]error{
			"WriteSmall": d.WriteSmall(e, []byte("x"), attrs), "Commit": d.Commit(name), "Mkdir": d.Mkdir(name),
			"Symlink": d.Symlink(link), "SetAttrs": d.SetAttrs(dir, attrs), "Lookup": lookup,
			"SetAttrs of a file": d.SetAttrs(e, attrs), "Discard": d.Discard(name), "OpenPartial": partial,
			"Open": open, "OpenJournal": journal, "RemoveJournal": d.RemoveJournal(name),
		} {
			if !errors.Is(err, store.ErrName) {
				t.Errorf("%s(%.40q): %v, want ErrName", call, name, err)
			}
		}
	}
	for call, err := range map[string]error{
		"WriteSmall": d.WriteSmall(entry("", 1), nil, attrs), "Commit": d.Commit(""),
		"Symlink": d.Symlink(store.Entry{Kind: store.Symlink, Target: "x"}),
	} {
		if !errors.Is(err, store.ErrName) {
			t.Errorf("%s of the root: %v, want ErrName", call, err)
		}
	}
	if got := names(t, m); len(got) != 2 {
		t.Errorf("%q were left behind, want a and x only", got)
	}
}

func smallFiles(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	check(t, d.Mkdir("dir"))
	for _, mode := range []uint32{0o600, 0o644, 0o400, 0o777, 0o000} {
		e := entry("dir/f", 3)
		e.Mode = mode | 0o4000
		check(t, d.WriteSmall(e, []byte("new"), attrs))
		if tmp, err := d.Lookup("dir/f"); err == nil && mode == 0o600 {
			t.Errorf("final name before Commit: %+v", tmp)
		}
		check(t, d.Commit("dir/f"))
		got, err := d.Lookup("dir/f")
		check(t, err)
		if got.Kind != store.File || got.Size != 3 || got.Mode != mode || got.ModTime != e.ModTime {
			t.Errorf("mode %o: got %+v", mode, got)
		}
		e.Mode = mode | 0o4000
		check(t, d.SetAttrs(e, store.Attrs{Perms: true, Special: true}))
		if got, _ := d.Lookup("dir/f"); got.Mode != mode|0o4000 {
			t.Errorf("with special bits: mode %o, want %o", got.Mode, mode|0o4000)
		}
	}
	put(t, d, "empty", "")
	if got := content(t, m, "empty"); got != "" {
		t.Errorf("empty file holds %q", got)
	}
	// Replacing is atomic: the old content stays until Commit.
	put(t, d, "r", "old")
	check(t, d.WriteSmall(entry("r", 3), []byte("new"), attrs))
	if got := content(t, m, "r"); got != "old" {
		t.Errorf("before Commit: %q, want the old content", got)
	}
	check(t, d.Commit("r"))
	f, err := d.Open("r")
	check(t, err)
	if e, err := f.Stat(); err != nil || e.Size != 3 || e.Kind != store.File {
		t.Errorf("opened to compare: %+v, %v", e, err)
	}
	check(t, f.Close())
	if _, err := d.Open("missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening a missing file: %v", err)
	}
	if _, err := d.Open("dir"); err == nil {
		t.Error("a directory was opened as a file")
	}
	if got := content(t, m, "r"); got != "new" {
		t.Errorf("after Commit: %q, want the new content", got)
	}
	if err := d.Commit("r"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Commit without a temporary file: %v", err)
	}
	if err := d.WriteSmall(entry("no/such/dir", 1), []byte("x"), attrs); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("writing into a missing directory: %v", err)
	}
	absent(t, d, "no/such/dir")
}

func oddNames(t *testing.T, m Maker) {
	d := m.Dest(t, "7f3k")
	defer d.Close()
	long := strings.Repeat("n", 255)
	for _, name := range []string{
		long, long[:254] + "\xff", long[:240], "\xff\xfe", "new\nline", " ", "-rf", "a\\b", "..a", "...", ".journal", "x.journal", "x",
		"x.journal~0123456789abcdef0123456789abcdef", "\u00e4\u0308", "*",
	} {
		check(t, d.Mkdir("d"))
		name = "d/" + name
		put(t, d, name, name)
		w, found, err := d.OpenPartial(name)
		check(t, err)
		if found {
			t.Errorf("%q: a partial file is found where none was", name)
		}
		j, err := d.OpenJournal(name)
		check(t, err)
		check(t, j.Close())
		check(t, w.Close())
		check(t, d.Discard(name))
		if got := content(t, m, name); got != name {
			t.Errorf("%q holds %q", name, got)
		}
	}
	if got := len(names(t, m)); got != 17 {
		t.Errorf("%d names: %q, want 17", got, names(t, m))
	}
	if err := d.WriteSmall(entry(long+"n", 1), []byte("x"), attrs); err == nil {
		check(t, d.Discard(long+"n"))
		if err := d.Commit(long + "n"); err == nil {
			t.Error("a component of 256 bytes was accepted")
		}
	}
}

// tempNames: no two names, and no journal, share an unfinished name.
func tempNames(t *testing.T, m Maker) {
	d := m.Dest(t, "7f3k")
	defer d.Close()
	long := strings.Repeat("x", 254)
	list := []string{"x", "x.journal", "x.journal.journal", "d/x", long + "a", long + "b", long[:220], long[:221], long[:240], "y.journal"}
	for range 3 { // unfinished forms of what looks like unfinished forms
		for _, name := range list {
			temp := d.TempName(name)
			base := temp[strings.LastIndexByte(temp, '/')+1:]
			list = append(list, strings.TrimPrefix(base, ".gomover-7f3k-"))
		}
	}
	seen := map[string]string{}
	for _, name := range list {
		temp := d.TempName(name)
		for _, made := range []string{temp, temp + ".journal"} {
			if by, ok := seen[made]; ok && by != name {
				t.Errorf("%q and %q share %q", by, name, made)
			}
			seen[made] = name
			if base := made[strings.LastIndexByte(made, '/')+1:]; len(base) > 255 {
				t.Errorf("%q: %q has %d bytes", name, base, len(base))
			}
		}
		if strings.Contains(name, "/") != strings.Contains(temp, "/") || temp != d.TempName(name) {
			t.Errorf("%q: unfinished form %q", name, temp)
		}
	}
}

func staleTemp(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	w, _, err := d.OpenPartial("f")
	check(t, err)
	_, err = w.WriteAt(bytes.Repeat([]byte("old"), 1000), 0)
	check(t, err)
	check(t, w.Close())
	put(t, d, "f", "new")
	if got := content(t, m, "f"); got != "new" {
		t.Errorf("got %d bytes, want the new ones only", len(got))
	}
	check(t, d.Symlink(store.Entry{Name: "victim-link", Kind: store.Symlink, Target: "f"}))
}

func partialFile(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	w, found, err := d.OpenPartial("big")
	check(t, err)
	if found {
		t.Error("found a partial file in an empty root")
	}
	check(t, w.Truncate(10))
	_, err = w.WriteAt([]byte("789"), 7)
	check(t, err)
	w.WriteBack(0, 10)
	check(t, w.Sync())
	tmp, err := d.Lookup("big")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("final name before Commit: %+v, %v", tmp, err)
	}
	check(t, w.Close())
	check(t, d.Close())

	d = m.Dest(t, "j")
	defer d.Close()
	w, found, err = d.OpenPartial("big")
	check(t, err)
	if n, err := w.Size(); !found || n != 10 || err != nil {
		t.Errorf("opened again: found %v, size %d, %v; want true, 10", found, n, err)
	}
	buf := make([]byte, 3)
	_, err = w.ReadAt(buf, 7)
	check(t, err)
	if string(buf) != "789" {
		t.Errorf("read %q back, want 789", buf)
	}
	_, err = w.WriteAt([]byte("0123456"), 0)
	check(t, err)
	e := entry("big", 10)
	e.Mode = 0o444
	check(t, w.SetAttrs(e, attrs))
	check(t, w.Close())

	// Attributes set and then killed: the rest must still be writable.
	w, found, err = d.OpenPartial("big")
	check(t, err)
	if !found {
		t.Error("not found after its attributes were set")
	}
	_, err = w.WriteAt([]byte("0"), 0)
	check(t, err)
	check(t, w.SetAttrs(e, attrs))
	check(t, d.Sync([]string{"big"}))
	check(t, d.Commit("big"))
	check(t, d.SyncDirs([]string{"big"}))
	check(t, w.Close())
	got, err := d.Lookup("big")
	check(t, err)
	if got.Mode != 0o444 || got.ModTime != e.ModTime || got.Size != 10 {
		t.Errorf("finished: %+v", got)
	}
	if got := content(t, m, "big"); got != "0123456789" {
		t.Errorf("finished file holds %q", got)
	}
	if other := m.Dest(t, "other"); other.TempName("big") == d.TempName("big") {
		t.Error("two jobs share an unfinished name")
	} else {
		check(t, other.Close())
	}
}
