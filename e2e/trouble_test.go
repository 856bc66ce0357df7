package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSourceTrouble is what is wrong with a source from the start.
func TestSourceTrouble(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"push", "pull", "local"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			from, pre, dst, post := w.near, "./", w.far, "far:"
			if way == "pull" {
				from, pre, dst, post = w.far, "far:", w.near, "./"
			}
			if way == "local" {
				dst, post = w.near, "./"
			}
			put(t, filepath.Join(from, "f"), content(30, 10))
			if err := syscall.Mkfifo(filepath.Join(from, "pipe"), 0o600); err != nil {
				t.Fatal(err)
			}
			w.fails(4, []string{"gomover: " + pre + "gone: no such file or directory\n"}, pre+"gone", post+"x")
			w.fails(4, []string{"gomover: " + pre + "f/gone: "}, pre+"f/gone", post+"x")
			w.fails(4, []string{"gomover: " + pre + "pipe: is neither a file nor a directory\n"}, pre+"pipe", post+"x")
			missing(t, filepath.Join(dst, "x"))
			// What is no file at the destination is not replaced by one.
			if err := syscall.Mkfifo(filepath.Join(dst, "device"), 0o600); err != nil {
				t.Fatal(err)
			}
			w.fails(5, []string{"is a device, a pipe or a socket here, and is not replaced"}, pre+"f", post+"device")
			if info, err := os.Lstat(filepath.Join(dst, "device")); err != nil || info.Mode().IsRegular() {
				t.Errorf("the pipe was replaced: %v", err)
			}
		})
	}
}

// asUser makes runs of the program those of a user without privileges. The far
// end remains root's.
func asUser(w *world) {
	w.t.Helper()
	if err := filepath.WalkDir(filepath.Dir(w.near), func(p string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p == filepath.Dir(w.near) || strings.HasPrefix(p, w.near) {
			return os.Lchown(p, 65534, 65534)
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	// The directories above are the test's own, private to root.
	for d := filepath.Dir(w.near); strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(program), 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.inside = []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
}

// TestUnreadable copies a tree in which one file and one directory cannot be
// read: all others arrive, and the failed are named.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	src, dst := filepath.Join(w.near, "tree"), filepath.Join(w.far, "copy")
	for i := range 20 {
		put(t, filepath.Join(src, fmt.Sprintf("f%d", i)), content(byte(i), 5000))
	}
	put(t, filepath.Join(src, "shut", "inner"), content(40, 10))
	asUser(w)
	if err := os.Chmod(filepath.Join(src, "f7"), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(src, "shut"), 0); err != nil {
		t.Fatal(err)
	}
	r := w.fails(2, []string{"f7: permission denied", "shut: permission denied"}, "-r", "--json", "tree/", "far:copy")
	l := checkEvents(t, r.out, 2)
	if end := l[len(l)-1]; number(end, "files_failed") != 2 || number(end, "files_ok") != 19 {
		t.Errorf("job.end counts %v failed and %v good files, want 2 and 19", end["files_failed"], end["files_ok"])
	}
	for i := range 20 {
		if i != 7 {
			holds(t, filepath.Join(dst, fmt.Sprintf("f%d", i)), content(byte(i), 5000))
		}
	}
	missing(t, filepath.Join(dst, "f7"))
	w.clean(dst)

	t.Log("# made readable: the same command brings the rest")
	if err := os.Chmod(filepath.Join(src, "f7"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(src, "shut"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.ok("-r", "tree/", "far:copy")
	holds(t, filepath.Join(dst, "f7"), content(7, 5000))
	holds(t, filepath.Join(dst, "shut", "inner"), content(40, 10))

	t.Log("# a single file that cannot be read")
	if err := os.Chmod(filepath.Join(src, "f7"), 0); err != nil {
		t.Fatal(err)
	}
	w.fails(4, []string{"tree/f7: permission denied"}, "tree/f7", "far:x")
	missing(t, filepath.Join(w.far, "x"))
}

// TestReadOnly writes where that is not allowed.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, filepath.Join(w.far, "f"), content(41, 1000))
	if err := os.MkdirAll(filepath.Join(w.near, "shut"), 0o755); err != nil {
		t.Fatal(err)
	}
	asUser(w)
	if err := os.Chmod(filepath.Join(w.near, "shut"), 0o555); err != nil {
		t.Fatal(err)
	}
	w.fails(5, []string{"permission denied"}, "far:f", "shut/")
	missing(t, filepath.Join(w.near, "shut", "f"))

	t.Log("# a read-only file system at the far end")
	put(t, filepath.Join(w.near, "g"), content(42, 1000))
	if err := os.Chmod(filepath.Join(w.near, "g"), 0o644); err != nil {
		t.Fatal(err)
	}
	ro := filepath.Join(w.far, "ro")
	mount(t, ro, "size=1m,ro")
	w.fails(5, []string{"read-only file system"}, "g", "far:ro/")
	missing(t, filepath.Join(ro, "g"))
}

// mount puts a file system in memory at dir until the test ends.
func mount(t *testing.T, dir, options string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("mounting: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("unmounting %s: %v: %s", dir, err, out)
		}
	})
}

// TestNoSpace does not begin what cannot fit.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, filepath.Join(w.near, "f"), content(43, 24<<20))
	mount(t, filepath.Join(w.far, "small"), "size=16m")
	r := w.fails(6, []string{"gomover: far:small/: needs ", " free\n", "hint: --no-space-check if this file system reports wrong numbers"}, "f", "far:small/")
	if r.took > 30*time.Second {
		t.Errorf("it took %v to refuse", r.took)
	}
	missing(t, filepath.Join(w.far, "small", "f"))
	if l := leftovers(t, filepath.Join(w.far, "small")); len(l) > 0 {
		t.Errorf("left behind: %v", l)
	}
	w.noAgent(agentEnds)
}

// TestDiskFull fills the disk in the middle of a file, makes room, and goes on.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	data := content(44, 24<<20)
	put(t, filepath.Join(w.near, "f"), data)
	small := filepath.Join(w.far, "small")
	mount(t, small, "size=32m")
	put(t, filepath.Join(small, "ballast"), content(45, 16<<20))
	r := w.fails(6, []string{"no space left on device", "to continue: gomover --no-space-check --give-up=1s --json f far:small/"},
		"--no-space-check", "--give-up=1s", "--json", "f", "far:small/")
	checkEvents(t, r.out, 6)
	missing(t, filepath.Join(small, "f"))
	w.noAgent(agentEnds)
	if err := os.Remove(filepath.Join(small, "ballast")); err != nil {
		t.Fatal(err)
	}
	r = w.ok("--no-space-check", "--json", "f", "far:small/")
	holds(t, filepath.Join(small, "f"), data)
	if e, _ := lastEvent(r.out, "job.end"); number(e, "sent_bytes") > 20<<20 {
		t.Errorf("%v bytes were sent again: what had arrived was not kept", e["sent_bytes"])
	}
	w.clean(small)
}

// TestDiskFullWaits has a run wait for room, as long as it may.
func TestDiskFullWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	data := content(46, 24<<20)
	put(t, filepath.Join(w.near, "f"), data)
	small := filepath.Join(w.far, "small")
	mount(t, small, "size=32m")
	put(t, filepath.Join(small, "ballast"), content(45, 16<<20))
	p := w.start("--no-space-check", "--json", "f", "far:small/")
	await(t, patience, "the run says that it waits", func() bool {
		return strings.Contains(p.out.String()+p.err.String(), "no space left")
	})
	if !p.running() {
		t.Fatalf("the run ended instead of waiting:\n%v", p.wait())
	}
	if err := os.Remove(filepath.Join(small, "ballast")); err != nil {
		t.Fatal(err)
	}
	if r := p.wait(); r.code != 0 {
		t.Fatalf("with room, the run did not go on:\n%v", r)
	}
	holds(t, filepath.Join(small, "f"), data)
}

// slowly starts a run that is in the middle of the file f when it returns.
func slowly(t *testing.T, w *world, args ...string) *process {
	t.Helper()
	p := w.start(append([]string{"--bwlimit=8MB", "--json", "--streams=2"}, args...)...)
	await(t, patience, "a part has arrived", func() bool {
		if !p.running() {
			t.Fatalf("ended too early:\n%v", p.wait())
		}
		e, ok := lastEvent(p.out.String(), "progress")
		return ok && number(e, "done_bytes") > 2<<20
	})
	return p
}

// TestChangingSource changes a file while it is read.
func TestChangingSource(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		args   []string
		change func(t *testing.T, path string) []byte // gives the content wanted in the end, nil for none
		again  bool                                   // the change is repeated all the time
		code   int
		text   string
	}{
		{name: "once", change: func(t *testing.T, path string) []byte {
			fresh := content(51, 16<<20)
			replaceInPlace(t, path, fresh)
			return fresh
		}},
		{name: "once, fail", args: []string{"--on-change=fail"}, code: 15, text: "changed while it was read", change: func(t *testing.T, path string) []byte {
			replaceInPlace(t, path, content(51, 16<<20))
			return nil
		}},
		{name: "shrinks", change: func(t *testing.T, path string) []byte {
			if err := os.Truncate(path, 1<<20); err != nil {
				t.Fatal(err)
			}
			return content(50, 16<<20)[:1<<20]
		}},
		{name: "grows", change: func(t *testing.T, path string) []byte {
			fresh := append(content(50, 16<<20), content(52, 1<<20)...)
			replaceInPlace(t, path, fresh)
			return fresh
		}},
		{name: "all the time", again: true, code: 15, text: "changed while it was read", change: func(t *testing.T, path string) []byte {
			now := time.Now()
			if err := os.Chtimes(path, now, now); err != nil {
				t.Fatal(err)
			}
			return nil
		}},
		{name: "vanishes", code: 4, text: "f: vanished before it was read", args: []string{"--streams=1"}, change: func(t *testing.T, path string) []byte {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			return nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			path, dst := filepath.Join(w.near, "f"), filepath.Join(w.far, "f")
			put(t, path, content(50, 16<<20))
			watched := [][]byte{nil}
			p := slowly(t, w, append(tt.args, "f", "far:f")...)
			want := tt.change(t, path)
			watched = append(watched, want)
			watch := watchFinal(t, dst, watched...)
			for tt.again && p.running() {
				tt.change(t, path)
			}
			r := p.wait()
			r.want(t, tt.code, tt.text)
			checkEvents(t, r.out, tt.code)
			watch.stop()
			if want != nil {
				holds(t, dst, want)
				w.clean(w.far)
			} else {
				missing(t, dst)
			}
		})
	}
}

// replaceInPlace writes other bytes into a file that stays the same file.
func replaceInPlace(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
}

// TestVanishingInTree takes files away while a tree is read: the others arrive.
func TestVanishingInTree(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	src, dst := filepath.Join(w.near, "tree"), filepath.Join(w.far, "copy")
	for i := range 40 {
		put(t, filepath.Join(src, fmt.Sprintf("f%02d", i)), content(byte(i), 1<<20))
	}
	p := slowly(t, w, "-r", "tree/", "far:copy")
	var gone []string
	for i := range 40 {
		name := fmt.Sprintf("f%02d", i)
		if _, err := os.Stat(filepath.Join(dst, name)); err != nil && i > 20 {
			if err := os.Remove(filepath.Join(src, name)); err != nil {
				t.Fatal(err)
			}
			gone = append(gone, name)
		}
	}
	if len(gone) == 0 {
		t.Fatal("all had arrived before any could be taken away")
	}
	r := p.wait()
	r.want(t, 2, "vanished before it was read")
	for i := range 40 {
		name := fmt.Sprintf("f%02d", i)
		got, err := os.ReadFile(filepath.Join(dst, name))
		if err == nil && string(got) != string(content(byte(i), 1<<20)) {
			t.Errorf("%s has wrong content", name)
		}
		if i <= 20 && err != nil {
			t.Errorf("%s did not arrive: %v", name, err)
		}
	}
	w.clean(dst)
}

// TestExpect compares with a hash that the user gave.
func TestExpect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, filepath.Join(w.near, "f"), []byte("abc"))
	const right = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
	w.ok("--expect=blake3:"+right, "f", "far:g")
	holds(t, filepath.Join(w.far, "g"), []byte("abc"))
	wrong := strings.Replace(right, "6", "7", 1)
	w.fails(11, []string{"f: blake3 is " + right[:4]}, "--expect=blake3:"+wrong, "f", "far:h")
	missing(t, filepath.Join(w.far, "h"))
}

// TestTimeLimit ends a run in time, and the next one goes on.
func TestTimeLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	data := content(55, 24<<20)
	put(t, filepath.Join(w.near, "f"), data)
	// A busy machine logs in within that time, and no machine sends all of it.
	r := w.fails(12, []string{"the time limit of 7s was reached", "to continue: "}, "--bwlimit=2MB", "--time-limit=7s", "f", "far:g")
	if r.took > 40*time.Second {
		t.Errorf("a limit of 7 s took %v", r.took)
	}
	w.noAgent(agentEnds)
	w.ok("f", "far:g")
	holds(t, filepath.Join(w.far, "g"), data)
	w.clean(w.far)
}

// TestDropBox writes, without privileges, into a directory that nobody may list.
func TestDropBox(t *testing.T) {
	t.Parallel()
	w := newLocal(t)
	put(t, filepath.Join(w.near, "tree", "sub", "f"), content(1, 3<<20))
	box := filepath.Join(w.near, "box")
	if err := os.Mkdir(box, 0o700); err != nil {
		t.Fatal(err)
	}
	asUser(w)
	if err := errors.Join(os.Chown(box, 0, 0), os.Chmod(box, 0o733|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	w.ok("-r", "tree", "./box/")
	holds(t, filepath.Join(box, "tree", "sub", "f"), content(1, 3<<20))
	w.clean(box)
}
