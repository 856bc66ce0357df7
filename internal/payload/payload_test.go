package payload

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestSameFile(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	const size = 3<<20 + 5
	if err := MakeFile(t.Context(), path("a"), size, 1); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path("a"))
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Clone(data)
	other[3<<20] ^= 1
	for name, content := range map[string][]byte{
		"same": data, "one bit": other, "empty": nil, "short": data[:3<<20], "in a piece": data[:2<<20+7], "longer": append(bytes.Clone(data), 0),
	} {
		if err := os.WriteFile(path(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, want := SameFile(path("a"), path(name)) == nil, name == "same"; got != want {
			t.Errorf("%s: same is %v", name, got)
		}
		if got, want := SameFile(path(name), path("a")) == nil, name == "same"; got != want {
			t.Errorf("%s, the other way round: same is %v", name, got)
		}
	}
	for _, pair := range [][2]string{{"a", "missing"}, {"missing", "a"}} {
		if err := SameFile(path(pair[0]), path(pair[1])); err == nil {
			t.Errorf("%v are the same", pair)
		}
	}
}

func TestContentIsThatOfTheSeed(t *testing.T) {
	dir := t.TempDir()
	content := func(size int64, seed byte) []byte {
		path := filepath.Join(dir, "f")
		if err := MakeFile(t.Context(), path, size, seed); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || int64(len(data)) != size {
			t.Fatalf("%d bytes instead of %d, %v", len(data), size, err)
		}
		return data
	}
	long, short := content(2<<20+1, 1), content(1<<20+9, 1)
	if !bytes.HasPrefix(long, short) {
		t.Error("a short file is not the beginning of a long one")
	}
	if bytes.Equal(short, content(1<<20+9, 2)) {
		t.Error("another seed gives the same content")
	}
	content(0, 1)
}

func TestSameTree(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	for _, root := range []string{a, b} {
		if err := MakeTree(t.Context(), root, 3, 10, 100); err != nil {
			t.Fatal(err)
		}
	}
	if err := SameTree(a, b); err != nil {
		t.Error(err)
	}
	from, to := filepath.Join(b, "d0001/f000001"), filepath.Join(b, "d0001/x")
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
	if err := SameTree(a, b); err == nil {
		t.Error("another name goes unseen")
	}
	if err := os.Rename(to, from); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(from, make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := SameTree(a, b); err == nil {
		t.Error("other content goes unseen")
	}
	if err := os.Remove(from); err != nil {
		t.Fatal(err)
	}
	if err := SameTree(a, b); err == nil {
		t.Error("a missing file goes unseen")
	}
}

func TestMakingEndsWithItsContext(t *testing.T) {
	over := errors.New("over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(over)
	if err := MakeFile(ctx, filepath.Join(t.TempDir(), "f"), 1, 1); !errors.Is(err, over) {
		t.Errorf("a file: %v", err)
	}
	if err := MakeTree(ctx, t.TempDir(), 1, 1, 1); !errors.Is(err, over) {
		t.Errorf("a tree: %v", err)
	}
}
