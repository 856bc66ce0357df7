package osfs_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/internal/leak"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/store/osfs"
)

// TestMain lets this program be the other process of TestLockEndsWithProcess.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "hold-lock" {
		os.Exit(holdLock(os.Args[2]))
	}
	os.Exit(leak.Main(m))
}

// holdLock locks an unfinished file, says so, and waits to be killed.
func holdLock(root string) int {
	d, err := osfs.NewDest(root, osfs.DestOptions{JobID: "7f3k"})
	var w store.WriteFile
	if err == nil {
		w, _, err = d.OpenPartial("f")
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer w.Close() // a file that nobody needs any more is closed by the garbage collector
	fmt.Println("locked")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func TestLockEndsWithProcess(t *testing.T) {
	root := t.TempDir()
	d := newDest(t, root)
	cmd := exec.Command(os.Args[0], "hold-lock", root)
	in, err := cmd.StdinPipe()
	check(t, err)
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "locked\n" {
		t.Fatalf("other process: %q, %v", line, err)
	}
	if _, _, err := d.OpenPartial("f"); !errors.Is(err, store.ErrLocked) {
		t.Errorf("held by another process: %v, want ErrLocked", err)
	}
	check(t, cmd.Process.Kill())
	_ = cmd.Wait()
	in.Close()
	w, found, err := d.OpenPartial("f")
	check(t, err)
	if !found {
		t.Error("the killed process's file is gone")
	}
	check(t, w.Close())
}

// asNobody runs do without privileges: on a thread of its own, which ends with
// it.
func asNobody(t *testing.T, do func()) {
	t.Helper()
	done := make(chan struct{}) // closed by the goroutine below
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread is not to be used again
		const keep = ^uintptr(0)
		_, _, gerr := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0)
		_, _, e1 := unix.RawSyscall(unix.SYS_SETRESGID, keep, 65534, keep)
		_, _, e2 := unix.RawSyscall(unix.SYS_SETRESUID, keep, 65534, keep)
		if gerr != 0 || e1 != 0 || e2 != 0 {
			t.Errorf("dropping privileges: %v %v %v", gerr, e1, e2)
			return
		}
		do()
	}()
	<-done
}

// openTop is a directory that users without privileges can reach.
func openTop(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "osfs")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	check(t, os.Chmod(dir, 0o777))
	return dir
}

// TestUnlistedDirectories writes into directories that this user may write to but
// not list: the top, its own, and one below.
func TestUnlistedDirectories(t *testing.T) {
	for name, perm := range map[string]os.FileMode{"the top too": 0o333, "below": 0o755} {
		t.Run(name, func(t *testing.T) {
			top := openTop(t)
			root := filepath.Join(top, "root")
			for _, dir := range []string{root, filepath.Join(root, "drop"), filepath.Join(root, "drop/in"), filepath.Join(top, "out")} {
				check(t, os.Mkdir(dir, 0o777))
			}
			check(t, os.Symlink("drop/in", filepath.Join(root, "link")))
			check(t, os.Symlink("../out", filepath.Join(root, "away")))
			for dir, mode := range map[string]os.FileMode{"out": 0o777, "root/drop/in": 0o333, "root/drop": 0o333 | os.ModeSticky, "root": perm} {
				check(t, os.Chmod(filepath.Join(top, dir), mode))
			}
			if perm&0o022 == 0 {
				check(t, os.Chmod(root, 0o777))
			}
			asNobody(t, func() {
				d, err := osfs.NewDest(root, osfs.DestOptions{JobID: "j", Create: true})
				if err != nil {
					t.Error(err)
					return
				}
				defer d.Close()
				names := []string{"f", "drop/f", "drop/in/g", "link/h", "new/f"}
				for _, dir := range []string{"drop", "drop/in", "link", "new"} {
					if err := d.Mkdir(dir); err != nil {
						t.Errorf("directory %s: %v", dir, err)
					}
				}
				for _, n := range names {
					e := store.Entry{Name: n, Kind: store.File, Size: 4, Mode: 0o640, ModTime: 1e18}
					if err := d.WriteSmall(e, []byte("data"), store.Attrs{Perms: true, Times: true}); err != nil {
						t.Errorf("%s: %v", n, err)
					}
				}
				for _, n := range []string{"big", "drop/in/big"} {
					w, _, err := d.OpenPartial(n)
					if err != nil {
						t.Errorf("%s: %v", n, err)
						continue
					}
					j, err := d.OpenJournal(n)
					if err != nil {
						t.Errorf("journal of %s: %v", n, err)
					} else {
						j.Close()
					}
					if _, err := w.WriteAt([]byte("big"), 0); err != nil {
						t.Errorf("%s: %v", n, err)
					}
					w.Close()
					if err := d.RemoveJournal(n); err != nil {
						t.Errorf("journal of %s: %v", n, err)
					}
					names = append(names, n)
				}
				if err := d.Sync(names); err != nil {
					t.Error(err)
				}
				if err := d.SyncDirs(names); err != nil {
					t.Error(err)
				}
				for _, n := range names {
					if err := d.Commit(n); err != nil {
						t.Errorf("%s: %v", n, err)
					}
				}
				own := store.Entry{Name: "new", Kind: store.Dir, Mode: 0o311, ModTime: 1e18}
				if err := d.SetAttrs(own, store.Attrs{Perms: true, Times: true}); err != nil {
					t.Error(err)
				}
				if free, _, err := d.Free(); free <= 0 || err != nil {
					t.Errorf("free %d, %v", free, err)
				}
				if err := d.WriteSmall(store.Entry{Name: "away/f", Kind: store.File}, nil, store.Attrs{}); err == nil {
					t.Error("wrote outside the root")
				}
			})
			for _, n := range []string{"f", "drop/f", "drop/in/g", "drop/in/h", "new/f", "big", "drop/in/big"} {
				if _, err := os.Stat(filepath.Join(root, n)); err != nil {
					t.Error(err)
				}
			}
			if l, err := os.ReadDir(filepath.Join(top, "out")); err != nil || len(l) > 0 {
				t.Errorf("outside: %v, %v", l, err)
			}
			if i, err := os.Stat(filepath.Join(root, "new")); err != nil || i.Mode().Perm() != 0o311 {
				t.Errorf("%v, %v", i, err)
			}
		})
	}
}

func TestWithoutPrivileges(t *testing.T) {
	top := openTop(t)
	check(t, os.Mkdir(filepath.Join(top, "readonly"), 0o755))
	check(t, os.WriteFile(filepath.Join(top, "readonly/f"), []byte("x"), 0o644))
	check(t, os.Mkdir(filepath.Join(top, "closed"), 0o700))
	check(t, os.WriteFile(filepath.Join(top, "secret"), []byte("x"), 0o600))
	var denied []string
	asNobody(t, func() {
		d, err := osfs.NewDest(top, osfs.DestOptions{
			JobID: "j", Denied: func(name string, err error) { denied = append(denied, name+": "+err.Error()) },
		})
		if err != nil {
			t.Error(err)
			return
		}
		defer d.Close()
		_, _, partial := d.OpenPartial("readonly/f")
		for call, err := range map[string]error{
			"WriteSmall": d.WriteSmall(file("readonly/f", 1), []byte("y"), attrs), "Mkdir": d.Mkdir("readonly/d"),
			"OpenPartial": partial, "closed": d.WriteSmall(file("closed/f", 1), []byte("y"), attrs),
			"SetAttrs": d.SetAttrs(file("readonly/f", 1), attrs),
		} {
			if !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%s: %v, want ErrPermission", call, err)
			}
		}
		unprivilegedOwner(t, d)
		unprivilegedModes(t, d)
	})
	if len(denied) != 1 || !strings.HasPrefix(denied[0], "own: setting owner or group of own: operation not permitted") {
		t.Errorf("denied: %q", denied)
	}
	asNobody(t, func() {
		s, err := osfs.NewSource(top, osfs.SourceOptions{NoAtime: true})
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		bad := map[string]bool{}
		err = s.Walk(t.Context(), func(e store.Entry, err error) error {
			if errors.Is(err, fs.ErrPermission) {
				bad[e.Name] = true
				return nil
			}
			return err
		})
		if err != nil || len(bad) != 1 || !bad["closed"] {
			t.Errorf("walk: %v, refused %v; want closed", err, bad)
		}
		if _, err := s.Open("secret"); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("opening a closed file: %v", err)
		}
		f, err := s.Open("readonly/f") // not its owner: O_NOATIME is refused
		if err != nil {
			t.Error(err)
			return
		}
		f.Close()
	})
}

// unprivilegedOwner: a set-uid program whose owner cannot be set loses the bit.
func unprivilegedOwner(t *testing.T, d store.Dest) {
	e := file("own", 1)
	e.Mode, e.UID, e.GID = 0o6755, 0, 0
	err := d.WriteSmall(e, []byte("x"), store.Attrs{Perms: true, Special: true, Owner: true, Group: true})
	if err == nil {
		err = d.Commit("own")
	}
	if err != nil {
		t.Error(err)
	}
	if got, err := d.Lookup("own"); err != nil || got.Mode != 0o755 || got.UID != 65534 {
		t.Errorf("program whose owner could not be set: %+v, %v", got, err)
	}
}

// unprivilegedModes: what an earlier run closed is opened for this one.
func unprivilegedModes(t *testing.T, d store.Dest) {
	steps := []error{
		d.Mkdir("d"),
		d.WriteSmall(file("d/f", 1), []byte("x"), attrs), d.Commit("d/f"),
		d.SetAttrs(store.Entry{Name: "d", Kind: store.Dir, Mode: 0o500}, attrs),
		d.Mkdir("d"),
		d.WriteSmall(file("d/g", 1), []byte("x"), attrs), d.Commit("d/g"),
	}
	w, _, err := d.OpenPartial("d/h")
	if err != nil {
		t.Error(err)
		return
	}
	e := file("d/h", 0)
	e.Mode = 0o444
	steps = append(steps, w.SetAttrs(e, attrs), w.Close())
	e.Name, e.Mode = "d/unreadable", 0
	steps = append(steps, d.WriteSmall(e, nil, attrs), d.Sync([]string{e.Name}), d.Commit(e.Name))
	w, found, err := d.OpenPartial("d/h")
	if err != nil || !found {
		t.Errorf("unfinished file with its final bits: found %v, %v", found, err)
		return
	}
	_, err = w.WriteAt([]byte("x"), 0)
	for i, err := range append(steps, err, w.Close()) {
		if err != nil {
			t.Errorf("step %d: %v", i, err)
		}
	}
}

// mount puts a small memory file system at a new directory.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mnt")
	check(t, os.Mkdir(dir, 0o755))
	check(t, unix.Mount("osfs-test", dir, "tmpfs", 0, options))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting (a file was left open): %v", err)
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
	})
	return dir
}

func destAt(t *testing.T, root string) store.Dest {
	t.Helper()
	d, err := osfs.NewDest(root, osfs.DestOptions{JobID: "j"})
	check(t, err)
	return d
}

func TestFullDisk(t *testing.T) {
	root := mount(t, "size=256k,mode=755")
	d := destAt(t, root)
	defer d.Close()
	if !d.Volatile() {
		t.Error("a memory file system is not volatile")
	}
	if n, _, err := d.Free(); err != nil || n != 256<<10 {
		t.Errorf("free: %d, %v; want 256 KiB", n, err)
	}
	put(t, d, "keep", "kept")
	err := d.WriteSmall(file("big", 1<<20), make([]byte, 1<<20), attrs)
	if !errors.Is(err, store.ErrNoSpace) || !strings.Contains(err.Error(), "writing big: no space left on device") {
		t.Errorf("small file: %v, want ErrNoSpace", err)
	}
	if _, err := os.Lstat(filepath.Join(root, d.TempName("big"))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a half-written small file was left: %v", err)
	}
	w, _, err := d.OpenPartial("big")
	check(t, err)
	j, err := d.OpenJournal("big")
	check(t, err)
	check(t, w.Truncate(1<<20))
	var n int64
	for err = nil; err == nil && n < 1<<20; n += 4096 {
		_, err = w.WriteAt(make([]byte, 4096), n)
	}
	if !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("large file: %v after %d bytes, want ErrNoSpace", err, n)
	}
	if _, err := j.Write(make([]byte, 8192)); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("journal: %v, want ErrNoSpace", err)
	}
	check(t, j.Close())
	check(t, w.Close())
	if b, err := os.ReadFile(filepath.Join(root, "keep")); string(b) != "kept" {
		t.Errorf("what was there holds %q, %v", b, err)
	}
	check(t, d.Discard("big"))
	put(t, d, "small", "fits again")
}

func TestNoInodes(t *testing.T) {
	d := destAt(t, mount(t, "nr_inodes=5,mode=755"))
	defer d.Close()
	var err error
	for i := 0; err == nil && i < 10; i++ {
		name := fmt.Sprintf("f%d", i)
		if err = d.WriteSmall(file(name, 1), []byte("x"), attrs); err == nil {
			err = d.Commit(name)
		}
	}
	if !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("without inodes: %v, want ErrNoSpace", err)
	}
	if err := d.Mkdir("d"); !errors.Is(err, store.ErrNoSpace) {
		t.Errorf("directory without inodes: %v, want ErrNoSpace", err)
	}
	if _, n, err := d.Free(); err != nil || n != 0 {
		t.Errorf("free inodes: %d, %v; want 0", n, err)
	}
}

func TestReadOnlyFileSystem(t *testing.T) {
	root := mount(t, "size=64k,mode=755")
	check(t, os.WriteFile(filepath.Join(root, "f"), []byte("x"), 0o644))
	check(t, unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	d := destAt(t, root)
	defer d.Close()
	_, _, partial := d.OpenPartial("f")
	for call, err := range map[string]error{
		"WriteSmall": d.WriteSmall(file("f", 1), []byte("y"), attrs), "Mkdir": d.Mkdir("d"), "OpenPartial": partial,
		"Symlink": d.Symlink(store.Entry{Name: "l", Kind: store.Symlink, Target: "f"}),
	} {
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "read-only file system") {
			t.Errorf("%s: %v, want ErrPermission and its reason", call, err)
		}
	}
}

// TestMountBelow: syncing many files covers other file systems below the root.
func TestMountBelow(t *testing.T) {
	root := t.TempDir()
	d := newDest(t, root)
	check(t, os.Mkdir(filepath.Join(root, "m"), 0o755))
	check(t, unix.Mount("osfs-test", filepath.Join(root, "m"), "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { _ = unix.Unmount(filepath.Join(root, "m"), unix.MNT_DETACH) })
	var names []string
	for i := range 20 {
		name := fmt.Sprintf("f%d", i)
		if i%2 == 1 {
			name = "m/" + name
		}
		check(t, d.WriteSmall(file(name, 1), []byte("x"), attrs))
		names = append(names, name)
	}
	check(t, d.Sync(names))
	for _, name := range names {
		check(t, d.Commit(name))
	}
	check(t, d.SyncDirs(names))
	if d.Volatile() != (volatile(t, root)) {
		t.Errorf("volatile: %v", d.Volatile())
	}
}

func volatile(t *testing.T, path string) bool {
	t.Helper()
	var st unix.Statfs_t
	check(t, unix.Statfs(path, &st))
	return int64(st.Type) == unix.TMPFS_MAGIC
}

// TestHandles: nothing stays open behind a source, a destination or an error.
func TestHandles(t *testing.T) {
	root := t.TempDir()
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		check(t, err)
		return len(list)
	}
	before := count()
	for range 3 {
		d := destAt(t, root)
		for i := range 400 {
			dir := fmt.Sprintf("d%d", i)
			check(t, d.Mkdir(dir))
			put(t, d, dir+"/f", "x")
			_, _ = d.Lookup(dir + "/none")
			_ = d.Commit(dir + "/none")
			w, _, err := d.OpenPartial(dir + "/f")
			check(t, err)
			_, _, _ = d.OpenPartial(dir + "/f") // locked
			check(t, w.Close())
			check(t, d.Discard(dir+"/f"))
		}
		check(t, d.Close())
		s, err := osfs.NewSource(root, osfs.SourceOptions{})
		check(t, err)
		stop := errors.New("stop")
		if err := s.Walk(t.Context(), func(e store.Entry, _ error) error {
			if e.Name == "d7/f" {
				return stop
			}
			return nil
		}); !errors.Is(err, stop) {
			t.Errorf("walk: %v", err)
		}
		for i := range 400 {
			f, err := s.Open(fmt.Sprintf("d%d/f", i))
			check(t, err)
			check(t, f.Close())
			_, _ = s.Open(fmt.Sprintf("d%d/none", i))
		}
		check(t, s.Close())
	}
	if after := count(); after > before {
		t.Errorf("%d handles open, %d before", after, before)
	}
}
