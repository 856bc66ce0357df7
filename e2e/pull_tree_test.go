package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// copyTree makes a copy with all that list sees.
func copyTree(t testing.TB, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
}

func TestPullTree(t *testing.T) {
	t.Parallel()
	w, second := twoHosts(t)
	src := filepath.Join(w.far, "tree")
	oddTree(t, src)
	copyTree(t, src, filepath.Join(second.far, "tree"))
	dst := filepath.Join(w.near, "copy")

	t.Log("# two hosts with the same")
	r := w.ok("pull", "-r", "--json", "--explain", "far:tree/", "far2:tree/", "./copy")
	same(t, src, dst)
	w.clean(dst)
	l := checkEvents(t, r.out, 0)
	neverBack(t, l)
	verified := 0
	for _, e := range l {
		if e["ev"] == "file" && e["verified"] == "blocks" {
			verified++
		}
	}
	if verified < 300 {
		t.Errorf("%d files were compared between the hosts", verified)
	}
	before := stamps(t, dst)

	t.Log("# repeated: nothing is written")
	r = w.ok("pull", "-r", "far:tree/", "far2:tree/", "./copy")
	if !strings.Contains(r.err, " 0 files, 317 already there") {
		t.Errorf("the repeated run did not skip all 317 files:\n%v", r)
	}
	for name, when := range stamps(t, dst) {
		if before[name] != when {
			t.Errorf("%q was written again", name)
		}
	}

	t.Log("# compared by content: what was damaged here, with the same size and date, is replaced")
	p := filepath.Join(dst, "big")
	info, err := os.Stat(p)
	if err != nil {
		t.Fatal(err)
	}
	good := get(t, p)
	bad := bytes.Clone(good)
	bad[1<<20]++
	if err := os.WriteFile(p, bad, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(p, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	r = w.ok("pull", "-r", "-c", "far:tree/", "far2:tree/", "./copy")
	holds(t, p, good)
	if !strings.Contains(r.err, " 1 file, 316 already there") {
		t.Errorf("not exactly one file was fetched:\n%v", r)
	}

	t.Log("# a directory's name, into one that exists; a file is no tree and comes all the same")
	w.ok("pull", "-r", "far:tree", "far2:tree", w.far+"/tree", ".")
	same(t, src, filepath.Join(w.near, "tree"))
	w.ok("pull", "-r", "far:tree/big", "far2:tree/big", "./alone")
	holds(t, filepath.Join(w.near, "alone"), good)
	w.noAgent(agentEnds)
	second.noAgent(agentEnds)
}

func TestPullTreeThatDiffers(t *testing.T) {
	t.Parallel()
	w, second := twoHosts(t)
	src := filepath.Join(w.far, "tree")
	for name, n := range map[string]int{"a": 10, "b/c": 3 << 20, "b/d": 70000, "e": 5 << 20, "only": 100, "sized": 50} {
		put(t, filepath.Join(src, name), content(5, n))
	}
	copyTree(t, src, filepath.Join(second.far, "tree"))
	copyTree(t, src, filepath.Join(w.near, "mounted"))
	other := filepath.Join(second.far, "tree")
	if err := os.Remove(filepath.Join(other, "only")); err != nil {
		t.Fatal(err)
	}
	flip := func(name string) {
		t.Helper()
		data := get(t, filepath.Join(other, name))
		data[len(data)-1] ^= 1
		put(t, filepath.Join(other, name), data)
	}
	flip("a")
	flip("b/c")
	put(t, filepath.Join(other, "sized"), content(5, 51))

	t.Log("# three copies: the one that differs is named, and all is right")
	r := w.ok("pull", "-r", "far:tree/", "far2:tree/", "./mounted/", "./three")
	same(t, src, filepath.Join(w.near, "three"))
	r.want(t, 0, "far2:tree/ lacks 1 of 6 files", "far2:tree/: sized: differs", "far2:tree/: b/c left out: same size, but what it has at 2097152 differs", "far2:tree/: a left out")

	t.Log("# two copies: files about which they differ fail, and nothing else")
	w.fails(14, []string{"a: reading: the replicas differ", "sized: the replicas differ: 50 bytes, 51 bytes"}, "pull", "-r", "far:tree/", "far2:tree/", "./two")
	for _, name := range []string{"a", "b/c", "sized"} {
		missing(t, filepath.Join(w.near, "two", name))
	}
	for _, name := range []string{"b/d", "e", "only"} {
		holds(t, filepath.Join(w.near, "two", name), get(t, filepath.Join(src, name)))
	}

	t.Log("# the user knows")
	w.ok("pull", "-r", "--prefer", "first", "far:tree/", "far2:tree/", "./preferred")
	same(t, src, filepath.Join(w.near, "preferred"))

	t.Log("# what makes no sense")
	w.fails(1, []string{"a mirror does not tell what is in a tree"}, "pull", "-r", "far:tree/", "https://site.example/tree/", "./no")
	w.fails(14, []string{"no such file"}, "pull", "-r", "far:none", "far2:none", "./no")
	missing(t, filepath.Join(w.near, "no"))
}

func TestPullTreeHostDies(t *testing.T) {
	t.Parallel()
	w, second := twoHosts(t)
	src := filepath.Join(w.far, "tree")
	for i := range 8 {
		put(t, filepath.Join(src, "d", string(rune('a'+i))), content(byte(i), 6<<20+i))
	}
	for i := range 500 {
		put(t, filepath.Join(src, "small", "f"+strings.Repeat("x", i%7)+string(rune('a'+i%26))), content(byte(i), 100))
	}
	copyTree(t, src, filepath.Join(second.far, "tree"))
	p := w.start("pull", "-r", "--json=events", "--bwlimit=24MB", "far:tree/", "far2:tree/", "./copy")
	await(t, patience, "the second host has begun to give", func() bool {
		text, err := os.ReadFile(filepath.Join(w.near, "events"))
		return !p.running() || err == nil && strings.Contains(string(text), `"ev":"progress.source","source":"far2:tree/","done_bytes":1`)
	})
	second.stop()
	for _, pid := range second.agents() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
	p.wait().want(t, 0)
	same(t, src, filepath.Join(w.near, "copy"))
	w.clean(w.near)
}
