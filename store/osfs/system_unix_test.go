//go:build unix

package osfs_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/store/osfs"
	"github.com/gomover/gomover/store/storetest"
)

var attrs = store.Attrs{Perms: true, Times: true}

func file(name string, n int) store.Entry {
	return store.Entry{Name: name, Kind: store.File, Size: int64(n), Mode: 0o644, ModTime: 1234567890_123456789}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, d store.Dest, name, content string) {
	t.Helper()
	check(t, d.WriteSmall(file(name, len(content)), []byte(content), attrs))
	check(t, d.Commit(name))
}

// outside is a directory beside the root that nothing may reach, with a file
// whose content is checked at the end.
func outside(t *testing.T) (root, out string) {
	t.Helper()
	top := t.TempDir()
	root, out = filepath.Join(top, "root"), filepath.Join(top, "out")
	check(t, os.Mkdir(root, 0o755))
	check(t, os.Mkdir(out, 0o755))
	check(t, os.WriteFile(filepath.Join(out, "victim"), []byte("untouched"), 0o644))
	t.Cleanup(func() {
		list, err := os.ReadDir(out)
		if err != nil || len(list) != 1 {
			t.Errorf("outside the root: %v, %v; want the victim only", list, err)
		}
		if b, _ := os.ReadFile(filepath.Join(out, "victim")); string(b) != "untouched" {
			t.Errorf("the victim outside the root holds %q", b)
		}
		if fi, err := os.Stat(filepath.Join(out, "victim")); err != nil || fi.Mode() != 0o644 {
			t.Errorf("the victim outside the root: %v, %v", fi, err)
		}
	})
	return root, out
}

// TestLinksOut places links that lead out of the root in every way and tries to
// write through each.
func TestLinksOut(t *testing.T) {
	root, out := outside(t)
	d := newDest(t, root)
	check(t, os.Mkdir(filepath.Join(root, "sub"), 0o755))
	targets := map[string]string{
		"abs": out, "rel": "../out", "via": "sub/../../out", "loop": "loop", "chain": "rel", "up": "..",
	}
	for name, target := range targets {
		check(t, os.Symlink(target, filepath.Join(root, name)))
	}
	for name, target := range targets {
		t.Run(name, func(t *testing.T) {
			inner := name + "/victim"
			if name == "up" {
				inner = name + "/out/victim"
			}
			_, _, partial := d.OpenPartial(inner)
			_, journal := d.OpenJournal(inner)
			_, lookup := d.Lookup(inner)
			for call, err := range map[string]error{
				"Mkdir": d.Mkdir(name), "WriteSmall": d.WriteSmall(file(inner, 1), []byte("x"), attrs),
				"Commit": d.Commit(inner), "Symlink": d.Symlink(store.Entry{Name: inner, Target: "x", Kind: store.Symlink}),
				"SetAttrs":                d.SetAttrs(file(inner, 9), store.Attrs{Perms: true, Times: true, Owner: true, Group: true}),
				"SetAttrs of a directory": d.SetAttrs(store.Entry{Name: name, Kind: store.Dir, Mode: 0o777}, attrs),
				"Discard":                 d.Discard(inner), "OpenPartial": partial, "OpenJournal": journal, "Lookup": lookup,
				"Sync": d.Sync([]string{inner}), "SyncDirs": d.SyncDirs([]string{inner}),
			} {
				if err == nil {
					t.Errorf("%s through a link to %q was allowed", call, target)
				}
				if name != "loop" && !errors.Is(err, store.ErrName) {
					t.Errorf("%s: %v, want ErrName", call, err)
				}
			}
		})
	}
}

// TestTempIsALink: a link that waits under the unfinished name is not written
// through, nor is a file that has a second name elsewhere.
func TestTempIsALink(t *testing.T) {
	root, out := outside(t)
	d := newDest(t, root)
	plant := map[string]func(path string) error{
		"link":      func(p string) error { return os.Symlink("../out/victim", p) },
		"new":       func(p string) error { return os.Symlink("../out/new", p) },
		"hard link": func(p string) error { return os.Link(filepath.Join(out, "victim"), p) },
		"foreign": func(p string) error {
			if err := os.WriteFile(p, []byte("foreign"), 0o666); err != nil {
				return err
			}
			return os.Chown(p, 12345, 12345)
		},
	}
	check(t, os.Chmod(root, 0o777)) // where others could have placed things
	for name, do := range plant {
		for _, suffix := range []string{"", ".journal"} {
			temp := filepath.Join(root, d.TempName("f")+suffix)
			check(t, do(temp))
			if suffix == "" {
				put(t, d, "f", "small")
				check(t, do(temp))
				w, found, err := d.OpenPartial("f")
				check(t, err)
				if found {
					t.Errorf("%s: taken for an unfinished file of ours", name)
				}
				_, err = w.WriteAt([]byte("partial"), 0)
				check(t, err)
				if fi, err := os.Lstat(temp); err != nil || fi.Mode() != 0o600 {
					t.Errorf("%s: unfinished file %v, %v; want mode 0600", name, fi.Mode(), err)
				}
				check(t, w.Close())
			} else {
				j, err := d.OpenJournal("f")
				check(t, err)
				if n, err := j.Size(); n != 0 || err != nil {
					t.Errorf("%s: journal of %d bytes, %v; want a new one", name, n, err)
				}
				_, err = j.Write([]byte("journal"))
				check(t, err)
				check(t, j.Close())
			}
			check(t, d.Discard("f"))
		}
	}
	for name, do := range map[string]func(path string) error{
		"directory": func(p string) error { return os.Mkdir(p, 0o755) },
		"pipe":      func(p string) error { return unix.Mkfifo(p, 0o644) },
	} {
		temp := filepath.Join(root, d.TempName("g"))
		check(t, do(temp))
		if _, _, err := d.OpenPartial("g"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v, want that it is not a regular file", name, err)
		}
		check(t, os.Remove(temp))
	}
}

// TestOwnerSetThenKilled: a run that set the owner and died before the rename
// must find its work again.
func TestOwnerSetThenKilled(t *testing.T) {
	root := t.TempDir()
	check(t, os.Chmod(root, 0o755))
	d := newDest(t, root)
	w, _, err := d.OpenPartial("f")
	check(t, err)
	e := file("f", 0)
	e.UID, e.GID, e.Mode = 12345, 12346, 0o6755
	all := store.Attrs{Perms: true, Special: true, Times: true, Owner: true, Group: true}
	check(t, w.SetAttrs(e, all))
	check(t, w.Close())
	w, found, err := d.OpenPartial("f")
	check(t, err)
	if !found {
		t.Error("the unfinished file was not found again")
	}
	check(t, w.SetAttrs(e, all))
	check(t, w.Close())
	check(t, d.Commit("f"))
	got, err := d.Lookup("f")
	check(t, err)
	if got.UID != 12345 || got.GID != 12346 || got.Mode != 0o6755 || got.ModTime != e.ModTime {
		t.Errorf("finished: %+v", got)
	}
	// Right bits under a wrong owner: setting the owner clears some of them.
	path := filepath.Join(root, "f")
	check(t, os.Chown(path, 1, 1))
	check(t, unix.Chmod(path, 0o6755))
	check(t, d.SetAttrs(e, all))
	if got, err := d.Lookup("f"); err != nil || got.UID != 12345 || got.Mode != 0o6755 {
		t.Errorf("owner corrected: %+v, %v", got, err)
	}
}

// TestDirectoryExchanged replaces a directory by a link out of the root, over
// and over, while files are written into it.
func TestDirectoryExchanged(t *testing.T) {
	root, _ := outside(t)
	d := newDest(t, root)
	check(t, d.Mkdir("d"))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		dir, aside := filepath.Join(root, "d"), filepath.Join(root, "aside")
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Rename(dir, aside)
			_ = os.Symlink("../out", dir)
			_ = os.Remove(dir)
			_ = os.Rename(aside, dir)
		}
	})
	// Both outcomes must come up often, however the two are scheduled.
	written, refused := 0, 0
	for i := 0; i < 3000 || (min(written, refused) < 100 && i < 1_000_000); i++ {
		name := fmt.Sprintf("d/f%d", i)
		if i%10 == 0 { // resolve anew: another handle each time
			d.Close()
			var err error
			d, err = osfs.NewDest(root, osfs.DestOptions{JobID: "j"})
			check(t, err)
		}
		if d.WriteSmall(file(name, 1), []byte("x"), attrs) == nil && d.Commit(name) == nil {
			written++
		} else {
			refused++
		}
		_ = d.Mkdir(fmt.Sprintf("d/sub%d", i%100))
		_ = d.SetAttrs(file("d/victim", 9), store.Attrs{Perms: true})
	}
	close(stop)
	wg.Wait()
	check(t, d.Close())
	if written < 100 || refused < 100 {
		t.Errorf("written %d times, refused %d times: the test did not test", written, refused)
	}
}

// TestDirectoryReplaced: a directory removed and made again during a job is
// found again although its old handle was kept.
func TestDirectoryReplaced(t *testing.T) {
	root := t.TempDir()
	d := newDest(t, root)
	check(t, d.Mkdir("d"))
	put(t, d, "d/f", "one")
	check(t, os.RemoveAll(filepath.Join(root, "d")))
	check(t, d.Mkdir("d"))
	put(t, d, "d/f", "two")
	if b, err := os.ReadFile(filepath.Join(root, "d/f")); string(b) != "two" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestPipeInPlace: a pipe that takes a file's place does not hang the reader.
func TestPipeInPlace(t *testing.T) {
	root := t.TempDir()
	check(t, unix.Mkfifo(filepath.Join(root, "p"), 0o644))
	for _, links := range []osfs.Links{osfs.LinksCopy, osfs.LinksFollow} {
		s, err := osfs.NewSource(root, osfs.SourceOptions{Links: links})
		check(t, err)
		if _, err := s.Open("p"); err == nil {
			t.Error("a pipe was opened as a file")
		}
		kinds := map[string]store.Kind{}
		check(t, s.Walk(t.Context(), func(e store.Entry, err error) error {
			kinds[e.Name] = e.Kind
			return err
		}))
		if kinds["p"] != store.Special {
			t.Errorf("a pipe is listed as kind %d", kinds["p"])
		}
		check(t, s.Close())
	}
	s, err := osfs.NewSource(filepath.Join(root, "p"), osfs.SourceOptions{})
	check(t, err)
	if _, err := s.Open(""); err == nil {
		t.Error("a pipe named as the root was opened")
	}
	check(t, s.Close())
}

// list walks root and tells what came, with errors as text.
func list(t *testing.T, root string, o osfs.SourceOptions) map[string]string {
	t.Helper()
	s, err := osfs.NewSource(root, o)
	check(t, err)
	defer s.Close()
	out := map[string]string{}
	check(t, s.Walk(context.Background(), func(e store.Entry, err error) error {
		text := [...]string{"", "file", "dir", "link", "special"}[e.Kind]
		if e.Kind == store.Symlink {
			text += " " + e.Target
		}
		if err != nil {
			text = "error " + err.Error()
		}
		out[e.Name] = text
		return nil
	}))
	return out
}

func TestLinkModes(t *testing.T) {
	top := t.TempDir()
	root := filepath.Join(top, "root")
	check(t, os.MkdirAll(filepath.Join(root, "d/e"), 0o755))
	check(t, os.MkdirAll(filepath.Join(top, "out"), 0o755))
	check(t, os.WriteFile(filepath.Join(top, "out/f"), []byte("out"), 0o644))
	for name, target := range map[string]string{
		"in": "d/e", "d/up": "..", "d/e/far": "../../../out", "abs": filepath.Join(top, "out"), "dangling": "none", "d/in": "../d/e",
	} {
		check(t, os.Symlink(target, filepath.Join(root, name)))
	}
	abs := filepath.Join(top, "out")
	check(t, os.Symlink("root", filepath.Join(top, "named")))

	got := list(t, filepath.Join(top, "named"), osfs.SourceOptions{})
	want := map[string]string{
		"": "dir", "d": "dir", "d/e": "dir", "in": "link d/e", "d/up": "link ..", "d/e/far": "link ../../../out",
		"abs": "link " + abs, "dangling": "link none", "d/in": "link ../d/e",
	}
	same(t, "copy", got, want)

	var skipped []string
	note := func(e store.Entry) { skipped = append(skipped, e.Name) }
	got = list(t, root, osfs.SourceOptions{Links: osfs.LinksSafe, Skipped: note})
	safe := map[string]string{
		"": "dir", "d": "dir", "d/e": "dir", "in": "link d/e", "d/up": "link ..", "dangling": "link none", "d/in": "link ../d/e",
	}
	same(t, "safe", got, safe)
	slices.Sort(skipped)
	if !slices.Equal(skipped, []string{"abs", "d/e/far"}) {
		t.Errorf("safe skipped %q", skipped)
	}
	skipped = nil
	got = list(t, root, osfs.SourceOptions{Links: osfs.LinksSkip, Skipped: note})
	same(t, "skip", got, map[string]string{"": "dir", "d": "dir", "d/e": "dir"})
	if len(skipped) != 6 {
		t.Errorf("skip skipped %q", skipped)
	}

	got = list(t, root, osfs.SourceOptions{Links: osfs.LinksFollow})
	follow := map[string]string{
		"": "dir", "d": "dir", "d/e": "dir", "d/e/far": "dir", "d/e/far/f": "file", "in": "dir", "in/far": "dir", "in/far/f": "file",
		"d/up":     "error listing d/up: the link leads back to a directory above it",
		"d/in":     "dir",
		"d/in/far": "dir", "d/in/far/f": "file", "abs": "dir", "abs/f": "file",
		"dangling": "error examining dangling: no such file or directory",
	}
	same(t, "follow", got, follow)
	s, err := osfs.NewSource(root, osfs.SourceOptions{Links: osfs.LinksFollow})
	check(t, err)
	defer s.Close()
	f, err := s.Open("in/far/f")
	check(t, err)
	check(t, f.Close())
	// Not followed, a link on the way that leaves the tree bars its files.
	c, err := osfs.NewSource(root, osfs.SourceOptions{})
	check(t, err)
	defer c.Close()
	if _, err := c.Open("d/e/far/f"); !errors.Is(err, store.ErrName) {
		t.Errorf("opened through a link that leaves the tree: %v", err)
	}
}

func same(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s: %q is %q, want %q", what, name, got[name], text)
		}
	}
	for name, text := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: %q is %q, want nothing", what, name, text)
		}
	}
}

func TestRootIsAFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	check(t, os.WriteFile(path, []byte("abc"), 0o640))
	check(t, os.Symlink("f", filepath.Join(dir, "l")))
	for _, root := range []string{path, filepath.Join(dir, "l")} {
		s, err := osfs.NewSource(root, osfs.SourceOptions{})
		check(t, err)
		n := 0
		check(t, s.Walk(t.Context(), func(e store.Entry, err error) error {
			if n++; e.Name != "" || e.Kind != store.File || e.Size != 3 {
				t.Errorf("%s: %+v", root, e)
			}
			return err
		}))
		f, err := s.Open("")
		check(t, err)
		check(t, f.Close())
		if _, err := s.Open("x"); err == nil {
			t.Error("a name below a file was opened")
		}
		if n != 1 {
			t.Errorf("%d entries, want 1", n)
		}
		check(t, s.Close())
	}
	if _, err := osfs.NewSource(filepath.Join(dir, "none"), osfs.SourceOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing root: %v", err)
	}
}

func TestNewDest(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o644))
	for _, tt := range []struct {
		root string
		o    osfs.DestOptions
		want error // nil with ok false: any
		ok   bool
	}{
		{"new", osfs.DestOptions{JobID: "j", Create: true}, nil, true},
		{"new", osfs.DestOptions{JobID: "j", Create: true}, nil, true},
		{"new2", osfs.DestOptions{JobID: "j"}, fs.ErrNotExist, false},
		{"a/b", osfs.DestOptions{JobID: "j", Create: true}, fs.ErrNotExist, false},
		{"f", osfs.DestOptions{JobID: "j", Create: true}, nil, false},
		{"f", osfs.DestOptions{JobID: "j"}, nil, false},
		{"new", osfs.DestOptions{}, nil, false},
		{"new", osfs.DestOptions{JobID: "a/b"}, nil, false},
		{"new", osfs.DestOptions{JobID: "a-b"}, nil, false},
		{"new", osfs.DestOptions{JobID: strings.Repeat("j", 65)}, nil, false},
	} {
		d, err := osfs.NewDest(filepath.Join(dir, tt.root), tt.o)
		if (err == nil) != tt.ok || (tt.want != nil && !errors.Is(err, tt.want)) {
			t.Errorf("%s %+v: %v", tt.root, tt.o, err)
		}
		if err == nil {
			check(t, d.Close())
		}
	}
}

func TestModesOfNewThings(t *testing.T) {
	old := unix.Umask(0o027)
	defer unix.Umask(old)
	root := t.TempDir()
	d := newDest(t, filepath.Join(root, "d"))
	check(t, d.Mkdir("open"))
	check(t, d.WriteSmall(file("f", 1), []byte("x"), store.Attrs{}))
	check(t, d.Commit("f"))
	p, err := osfs.NewDest(root, osfs.DestOptions{JobID: "j", PrivateDirs: true})
	check(t, err)
	defer p.Close()
	check(t, p.Mkdir("private"))
	check(t, os.Mkdir(filepath.Join(root, "sgid"), 0o755))
	check(t, os.Chmod(filepath.Join(root, "sgid"), 0o755|fs.ModeSetgid))
	check(t, p.SetAttrs(store.Entry{Name: "sgid", Kind: store.Dir, Mode: 0o700}, attrs))
	for name, want := range map[string]fs.FileMode{
		"d/open": 0o750 | fs.ModeDir, "d/f": 0o640, "private": 0o700 | fs.ModeDir, "sgid": 0o700 | fs.ModeDir | fs.ModeSetgid,
	} {
		if fi, err := os.Lstat(filepath.Join(root, name)); err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, fi.Mode(), err, want)
		}
	}
	if got := time.Unix(0, file("", 0).ModTime); got.Nanosecond() != 123456789 {
		t.Errorf("the test's own time lost its nanoseconds: %v", got)
	}
}

// FuzzName: whatever a name is, it is refused or leads into the root.
func FuzzName(f *testing.F) {
	for _, name := range storetest.HostileNames {
		f.Add(name)
	}
	f.Add("link/x")
	f.Add("in/x")
	f.Add(".gomover-7f3k-x")
	f.Add(strings.Repeat("n", 255))
	f.Fuzz(func(t *testing.T, name string) {
		root, out := outside(t)
		check(t, os.Symlink(out, filepath.Join(root, "link")))
		check(t, os.Symlink(".", filepath.Join(root, "in")))
		d := newDest(t, root)
		if d.WriteSmall(file(name, 1), []byte("x"), attrs) == nil {
			temp := d.TempName(name)
			if fi, err := os.Lstat(filepath.Join(root, temp)); err != nil || !fi.Mode().IsRegular() {
				t.Fatalf("%q was written, but its unfinished form %q is not there: %v", name, temp, err)
			}
			if err := d.Commit(name); err == nil {
				if fi, err := os.Lstat(filepath.Join(root, name)); err != nil || !fi.Mode().IsRegular() {
					t.Fatalf("%q was renamed into place, but is not there: %v", name, err)
				}
			}
		}
		_ = d.Mkdir(name)
		_ = d.Symlink(store.Entry{Name: name, Kind: store.Symlink, Target: "x"})
		_ = d.Discard(name)
		list, err := os.ReadDir(filepath.Dir(root))
		if err != nil || len(list) != 2 {
			t.Fatalf("%q: beside the root stand %v, %v", name, list, err)
		}
	})
}
