package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOddTree copies a tree with everything that is easily lost, in each
// direction, and once more.
func TestOddTree(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, src, dst string }{
		{"push", "tree/", "far:copy"},
		{"pull", "far:tree/", "./copy"},
		{"local", "tree/", "./copy"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			from, to := w.near, w.near
			if tt.name == "pull" {
				from = w.far
			}
			if tt.name == "push" {
				to = w.far
			}
			src, dst := filepath.Join(from, "tree"), filepath.Join(to, "copy")
			oddTree(t, src)
			w.ok("-r", tt.src, tt.dst)
			same(t, src, dst)
			w.clean(dst)
			before := stamps(t, dst)

			t.Log("# repeated: nothing is written")
			r := w.ok("-r", tt.src, tt.dst)
			if !strings.Contains(r.err, " 0 files, 317 already there") {
				t.Errorf("the repeated run did not skip all 317 files:\n%v", r)
			}
			same(t, src, dst)
			for name, when := range stamps(t, dst) {
				if before[name] != when {
					t.Errorf("%q was written again", name)
				}
			}
			w.fails(17, nil, "-r", "--error-on-no-transfer", tt.src, tt.dst)

			t.Log("# one file changes: only it is sent")
			put(t, filepath.Join(src, "sub/x"), content(99, 1234))
			r = w.ok("-r", tt.src, tt.dst)
			if !strings.Contains(r.err, " 1 file, 316 already there") {
				t.Errorf("not exactly one file was sent:\n%v", r)
			}
			holds(t, filepath.Join(dst, "sub/x"), content(99, 1234))
			w.clean(dst)
		})
	}
}

// stamps are the change times of the files below dir, which no copying can keep.
func stamps(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		got[path] = changeTime(path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestDestinationRules goes through the table of what becomes of a source at a
// destination that exists or not.
func TestDestinationRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		args []string // the destination is the last word, below to/
		make []string // made before below to/: a name with / is a directory
		code int
		want []string // must exist afterwards below to/
		err  string
	}{
		{name: "file into directory", args: []string{"f", "d"}, make: []string{"d/"}, want: []string{"d/f"}},
		{name: "file into directory with slash", args: []string{"f", "d/"}, make: []string{"d/"}, want: []string{"d/f"}},
		{name: "file becomes", args: []string{"f", "x"}, want: []string{"x"}},
		{name: "file replaces", args: []string{"f", "x"}, make: []string{"x"}, want: []string{"x"}},
		{name: "file into new directory", args: []string{"f", "d/"}, want: []string{"d/f"}},
		{name: "file into directory two levels up missing", args: []string{"f", "p/d/"}, code: 5, err: "p"},
		{name: "mkpath", args: []string{"--mkpath", "f", "p/q/d/"}, want: []string{"p/q/d/f"}},
		{name: "mkpath file", args: []string{"--mkpath", "f", "p/q/x"}, want: []string{"p/q/x"}},
		{name: "parent missing", args: []string{"f", "p/x"}, code: 5, err: "p"},
		{name: "directory", args: []string{"-r", "a", "d"}, want: []string{"d/a/in/f"}},
		{name: "directory into existing", args: []string{"-r", "a", "d"}, make: []string{"d/"}, want: []string{"d/a/in/f"}},
		{name: "directory with slash at the end of the destination", args: []string{"-r", "a", "d/"}, want: []string{"d/a/in/f"}},
		{name: "contents", args: []string{"-r", "a/", "d"}, want: []string{"d/in/f"}},
		{name: "contents into existing", args: []string{"-r", "a/", "d/"}, make: []string{"d/"}, want: []string{"d/in/f"}},
		{name: "contents by dot", args: []string{"-r", "a/.", "d"}, want: []string{"d/in/f"}},
		{name: "contents two levels deep", args: []string{"-r", "a/", "p/d"}, code: 5, err: "p"},
		{name: "exact directory", args: []string{"-r", "-T", "a", "x"}, want: []string{"x/in/f"}},
		{name: "exact directory with slash", args: []string{"-r", "-T", "a/", "x"}, want: []string{"x/in/f"}},
		{name: "exact directory into existing", args: []string{"-r", "-T", "a", "x"}, make: []string{"x/"}, want: []string{"x/in/f"}},
		{name: "exact directory onto file", args: []string{"-r", "-T", "a", "x"}, make: []string{"x"}, code: 5, err: "x"},
		{name: "exact file onto directory", args: []string{"-T", "f", "x"}, make: []string{"x/"}, code: 5, err: "x"},
		{name: "directory onto file", args: []string{"-r", "a", "x"}, make: []string{"x"}, code: 5, err: "x"},
		{name: "directory without -r", args: []string{"a", "x"}, code: 1, err: "a: is a directory"},
		{name: "several", args: []string{"f", "g", "d/"}, want: []string{"d/f", "d/g"}},
		{name: "several into existing", args: []string{"f", "g", "d"}, make: []string{"d/"}, want: []string{"d/f", "d/g"}},
		{name: "several with a tree", args: []string{"-r", "f", "a", "d/"}, want: []string{"d/f", "d/a/in/f"}},
		{name: "name of file is directory there", args: []string{"f", "d/"}, make: []string{"d/", "d/f/"}, code: 5, err: "f"},
		{name: "name of directory is file there", args: []string{"-r", "a", "d/"}, make: []string{"d/", "d/a"}, code: 5, err: "a"},
	} {
		for _, way := range []string{"local", "push", "pull"} {
			t.Run(tt.name+"/"+way, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				from, to, pre, post := w.near, w.near, "", "to/"
				if way == "push" {
					to, post = w.far, "far:to/"
				}
				if way == "pull" {
					from, pre = w.far, "far:"
				}
				put(t, filepath.Join(from, "f"), content(1, 100))
				put(t, filepath.Join(from, "g"), content(2, 100))
				put(t, filepath.Join(from, "a/in/f"), content(1, 100))
				to = filepath.Join(to, "to")
				if err := os.MkdirAll(to, 0o755); err != nil {
					t.Fatal(err)
				}
				for _, m := range tt.make {
					if strings.HasSuffix(m, "/") {
						if err := os.Mkdir(filepath.Join(to, m), 0o755); err != nil {
							t.Fatal(err)
						}
					} else {
						put(t, filepath.Join(to, m), []byte("old"))
					}
				}
				var args []string
				for i, a := range tt.args {
					switch {
					case strings.HasPrefix(a, "-"):
					case i == len(tt.args)-1:
						a = post + a
					default:
						a = pre + a
					}
					args = append(args, a)
				}
				before := list(t, to)
				r := w.run(args...)
				r.want(t, tt.code, tt.err)
				for _, p := range tt.want {
					want := content(1, 100)
					if strings.HasSuffix(p, "/g") {
						want = content(2, 100)
					}
					holds(t, filepath.Join(to, p), want)
				}
				if tt.code != 0 {
					for name, is := range before {
						if got := list(t, to)[name]; got != is && !strings.HasPrefix(is, "d") {
							t.Errorf("%s was %s, is %s after a refused run", name, is, got)
						}
					}
				} else if r := w.ok(args...); !strings.Contains(r.err, "already there") {
					t.Errorf("the same command again did not find all there:\n%v", r)
				}
				if l := leftovers(t, to); len(l) > 0 {
					t.Errorf("left behind: %v", l)
				}
			})
		}
	}
}

// TestTargetDirectory writes several sources into one directory with -t.
func TestTargetDirectory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, filepath.Join(w.near, "f"), content(1, 10))
	put(t, filepath.Join(w.near, "g"), content(2, 10))
	w.ok("-t", "far:d", "f", "g")
	holds(t, filepath.Join(w.far, "d/f"), content(1, 10))
	holds(t, filepath.Join(w.far, "d/g"), content(2, 10))
	w.ok("far:d/f", "far:d/g", "here/")
	holds(t, filepath.Join(w.near, "here/f"), content(1, 10))
	holds(t, filepath.Join(w.near, "here/g"), content(2, 10))
}

// TestExisting says what each choice for a file that is there does.
func TestExisting(t *testing.T) {
	t.Parallel()
	old, fresh := []byte("old content"), content(3, 40000)
	for _, tt := range []struct {
		name  string
		args  []string
		equal bool // the old file has the new one's size and time, but not its bytes
		code  int
		kept  bool
		text  string
	}{
		{name: "default"},
		{name: "update", args: []string{"--existing=update"}},
		{name: "skip", args: []string{"--existing=skip"}, kept: true},
		{name: "ignore-existing", args: []string{"--ignore-existing"}, kept: true},
		{name: "replace", args: []string{"--existing=replace"}},
		{name: "fail", args: []string{"--existing=fail"}, code: 5, kept: true, text: "f"},
		{name: "looks the same", equal: true, kept: true},
		{name: "looks the same, checksum", args: []string{"-c"}, equal: true},
		{name: "looks the same, replace", args: []string{"--existing=replace"}, equal: true},
		{name: "size only", args: []string{"--size-only"}, equal: true, kept: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			put(t, filepath.Join(w.near, "f"), fresh)
			was := old
			if tt.equal {
				was = content(4, len(fresh))
			}
			dst := filepath.Join(w.far, "f")
			put(t, dst, was)
			if !tt.equal {
				if err := os.Chtimes(dst, time.Unix(1, 0), time.Unix(1, 0)); err != nil {
					t.Fatal(err)
				}
			}
			w.run(append(tt.args, "f", "far:f")...).want(t, tt.code, tt.text)
			want := fresh
			if tt.kept {
				want = was
			}
			holds(t, dst, want)
			if l := leftovers(t, w.far); len(l) > 0 {
				t.Errorf("left behind: %v", l)
			}
		})
	}
}

// TestChecksumSkipsEqual finds by content that a file with another time is the
// same, and sends nothing.
func TestChecksumSkipsEqual(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	data := content(5, 3<<20)
	put(t, filepath.Join(w.near, "f"), data)
	put(t, filepath.Join(w.far, "f"), data)
	if err := os.Chtimes(filepath.Join(w.far, "f"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	was := inode(t, filepath.Join(w.far, "f"))
	r := w.ok("-c", "f", "far:f")
	if !strings.Contains(r.err, "1 already there") {
		t.Errorf("an equal file was sent:\n%v", r)
	}
	if inode(t, filepath.Join(w.far, "f")) != was {
		t.Error("the equal file was replaced by another one")
	}
}

// TestOverwriteKeepsOldUntilComplete reads the destination all the time: there
// is the old file, then the new one, and nothing else ever.
func TestOverwriteKeepsOldUntilComplete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, fresh := content(6, 3<<20), content(7, 24<<20)
	put(t, filepath.Join(w.near, "f"), fresh)
	dst := filepath.Join(w.far, "f")
	put(t, dst, old)
	watch := watchFinal(t, dst, old, fresh)
	w.ok("--bwlimit=60MB", "f", "far:f")
	if n := watch.stop(); n < 10 {
		t.Errorf("the destination was read %d times only", n)
	}
	holds(t, dst, fresh)
	w.clean(w.far)
}

// TestLinkAsDestination writes to what a link on the command line leads to, as cp
// and scp do, and refuses to copy a file onto itself.
func TestLinkAsDestination(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, filepath.Join(w.near, "f"), content(9, 700))
	for _, dir := range []string{w.near, w.far} {
		put(t, filepath.Join(dir, "deep", "real"), []byte("old"))
		for link, to := range map[string]string{"link": "deep/real", "dangling": "deep/none"} {
			if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for dir, dst := range map[string]string{w.near: "./", w.far: "far:"} {
		w.ok("f", dst+"link")
		holds(t, filepath.Join(dir, "deep", "real"), content(9, 700))
		if to, err := os.Readlink(filepath.Join(dir, "link")); err != nil || to != "deep/real" {
			t.Errorf("%slink leads to %q, %v", dst, to, err)
		}
		r := w.run("f", dst+"dangling")
		if r.code != 5 || !strings.Contains(r.err, dst+"dangling: is a link to what does not exist\n") {
			t.Error(r)
		}
	}
	w.clean(w.near, w.far)
	if err := os.Symlink("f", filepath.Join(w.near, "self")); err != nil {
		t.Fatal(err)
	}
	for _, words := range [][]string{{"f", "./self"}, {"f", "f"}, {"self", "."}, {"--existing=replace", "f", "./"}} {
		if r := w.run(words...); r.code != 1 || !strings.Contains(r.err, "are the same file") {
			t.Error(r)
		}
	}
	holds(t, filepath.Join(w.near, "f"), content(9, 700))
}

// TestSymlinkNamedIsFollowed copies what a link on the command line leads to.
func TestSymlinkNamedIsFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, filepath.Join(w.near, "real"), content(8, 500))
	if err := os.Symlink("real", filepath.Join(w.near, "link")); err != nil {
		t.Fatal(err)
	}
	w.ok("link", "far:")
	holds(t, filepath.Join(w.far, "link"), content(8, 500))
	if info, err := os.Lstat(filepath.Join(w.far, "link")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("the copy of a link is not a file: %v, %v", info, err)
	}
}

// TestEncryptAndTransports copies in each way data may travel.
func TestEncryptAndTransports(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--encrypt=on"}, {"--encrypt=auth"}, {"--encrypt=off"}, {"--streams=1"}, {"--streams", "3"}, {"--streams=2-5"},
		{"--transport=tcp"}, {"--transport=ssh"}, {"--dial=source"}, {"--dial=target"}, {"--bwlimit=100MB"}, {"--block-size=64K"},
		{"--fsync=none"}, {"--fsync=file"}, {"--fsync=dir"}, {"--verify=readback"}, {"--verify=none"}, {"--ssh=/usr/bin/ssh -F .ssh/config"}, {"-4"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			data := content(9, 9<<20+5)
			put(t, filepath.Join(w.near, "f"), data)
			r := w.ok(append(args, "-v", "f", "far:g")...)
			holds(t, filepath.Join(w.far, "g"), data)
			if plain := strings.Contains(r.err, "data can be read and changed on its way"); plain != (args[0] == "--encrypt=off") {
				t.Errorf("the warning of an open connection: %t\n%v", plain, r)
			}
			w.ok(append(args, "far:g", "back")...)
			holds(t, filepath.Join(w.near, "back"), data)
			if l := leftovers(t, w.far, w.near); len(l) > 0 {
				t.Errorf("left behind: %v", l)
			}
		})
	}
}

// TestStreamsAsAsked counts the connections that a run opens.
func TestStreamsAsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, filepath.Join(w.near, "f"), content(10, 24<<20))
	p := w.start("--streams=3", "--bwlimit=12MB", "--json", "f", "far:")
	most := 0
	await(t, patience, "three data connections", func() bool {
		most = max(most, connections(t, p.cmd.Process.Pid, w.port))
		return most >= 3
	})
	if r := p.wait(); r.code != 0 {
		t.Fatal(r)
	}
	if most != 3 {
		t.Errorf("%d data connections, want 3", most)
	}
}

// TestBandwidthLimit takes the time that the limit makes it take.
func TestBandwidthLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put(t, filepath.Join(w.near, "f"), content(11, 20<<20))
	w.ok("f", "far:warm") // the agent is there afterwards
	best := runLimit
	for i := 0; i < tries && best > 6*time.Second; i++ {
		name := fmt.Sprint("f", i)
		r := w.ok("--bwlimit=10MB", "f", "far:"+name)
		holds(t, filepath.Join(w.far, name), content(11, 20<<20))
		best = min(best, r.took)
	}
	if best < 1700*time.Millisecond || best > 6*time.Second {
		t.Errorf("20 MiB at 10 MB/s took %v", best)
	}
}

// TestManySources gives a thousand words, there, back and within this machine.
func TestManySources(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const n = 1000
	near, far := make([]string, n), make([]string, n)
	for i := range n {
		near[i] = fmt.Sprintf("many/f%04d", i)
		far[i] = "far:" + near[i]
		put(t, filepath.Join(w.near, near[i]), content(byte(i), i))
	}
	w.ok(append(near, "far:many/")...)
	w.ok(append([]string{"-t", "back/"}, far...)...)
	w.ok(append(near, "./local/")...)
	for i := range n {
		for _, p := range []string{filepath.Join(w.far, near[i]), filepath.Join(w.near, "back", near[i][5:]), filepath.Join(w.near, "local", near[i][5:])} {
			holds(t, p, content(byte(i), i))
		}
	}
	w.clean(w.near, w.far)
}
