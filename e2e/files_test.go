package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// content is n bytes that no other seed gives and no compressor shortens.
func content(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte{seed})).Read(b) // never an error
	return b
}

// put makes a file with a time of its own.
func put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	when := time.Date(2021, 3, 4, 5, 6, 7, 123456789, time.UTC)
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
}

// get reads a file.
func get(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// holds demands a file's content.
func holds(t testing.TB, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Errorf("%v", err)
	} else if !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, not the %d that were wanted", path, len(got), len(want))
	}
}

// missing demands that nothing is there.
func missing(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s exists (error %v)", path, err)
	}
}

// list describes each entry below dir by its name: kind, mode, time and content.
func list(t testing.TB, dir string) map[string]string {
	t.Helper()
	got := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		switch {
		case rel == ".":
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			got[rel] = "link to " + to
		case info.IsDir():
			got[rel] = fmt.Sprintf("%v %v", info.Mode(), info.ModTime().UTC())
		default:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			got[rel] = fmt.Sprintf("%v %v %d %x", info.Mode(), info.ModTime().UTC(), len(data), sha256.Sum256(data))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// same demands that two trees are equal in all that list sees.
func same(t testing.TB, a, b string) {
	t.Helper()
	la, lb := list(t, a), list(t, b)
	for _, name := range slices.Sorted(maps.Keys(la)) {
		if lb[name] != la[name] {
			t.Errorf("%q: %s, in the copy %q", name, la[name], lb[name])
		}
		delete(lb, name)
	}
	for name := range lb {
		t.Errorf("%q: only in the copy", name)
	}
}

// oddTree makes a tree with everything that is easily lost.
func oddTree(t testing.TB, dir string) {
	t.Helper()
	files := map[string]int{
		"plain": 1000, "empty": 0, "one": 1, "big": 5<<20 + 17, "sub/deep/er/file": 70000, "sub/x": 65536, "block": 1 << 20,
		"name with spaces": 3, "-dash": 4, "new\nline": 5, "caf\u00e9": 6, "latin1-\xe9\xff": 7, "*": 8, "quote'\"": 9, ".hidden": 10,
		"sub/colon:name": 11, `back\slash`: 12,
	}
	seed := byte(1)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		put(t, filepath.Join(dir, name), content(seed, files[name]))
		seed++
	}
	for i := range 300 {
		put(t, filepath.Join(dir, "many", fmt.Sprintf("f%03d", i)), content(byte(i), i*7))
	}
	modes := map[string]fs.FileMode{"plain": 0o600, "one": 0o755, "big": 0o444, "sub/x": 0o640, "sub/deep": 0o750}
	for name, mode := range modes {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"rel": "sub/x", "dangling": "no/where", "abs": "/etc/hostname", "dirlink": "sub", "odd\xffname": "latin1-\xe9\xff"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for i, d := range []string{"void", "void2/inner"} {
		p := filepath.Join(dir, d)
		if err := os.MkdirAll(p, 0o755); err != nil {
			t.Fatal(err)
		}
		when := time.Date(2019, 1, 2+i, 3, 4, 5, 6, time.UTC)
		if err := os.Chtimes(p, when, when); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"sub/deep/er", "sub/deep", "sub", "many", "void2"} {
		when := time.Date(2018, 1, 2, 3, 4, 5, 600, time.UTC)
		if err := os.Chtimes(filepath.Join(dir, d), when, when); err != nil {
			t.Fatal(err)
		}
	}
}
