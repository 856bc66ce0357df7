package mover

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestLocalReplicaChanges: bytes of two versions of a file are never mixed.
func TestLocalReplicaChanges(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"written":  func(path string) error { return os.WriteFile(path, []byte("ABCDEFGH"), 0o600) },
		"longer":   func(path string) error { return os.WriteFile(path, []byte("abcdefghi"), 0o600) },
		"replaced": func(path string) error { return os.Rename(path+".new", path) },
	} {
		path := filepath.Join(t.TempDir(), "f")
		then := time.Now().Add(-time.Hour)
		for _, p := range []string{path, path + ".new"} {
			if err := os.WriteFile(p, []byte("abcdefgh"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(p, then, then); err != nil {
				t.Fatal(err)
			}
		}
		l := &localSource{path: path}
		facts, err := l.Open(t.Context())
		if err != nil || facts.Size != 8 {
			t.Fatalf("%+v, %v", facts, err)
		}
		open, err := l.Range(t.Context(), 0, 8)
		if err != nil {
			t.Fatal(err)
		}
		defer open.Close()
		buf := make([]byte, 4)
		if _, err := io.ReadFull(open, buf); err != nil || string(buf) != "abcd" {
			t.Fatalf("%q, %v", buf, err)
		}
		if err := change(path); err != nil {
			t.Fatal(err)
		}
		// Who has the old file open may go on with it, if it is still whole.
		if _, err := io.ReadFull(open, buf); err == nil && string(buf) != "efgh" {
			t.Errorf("%s: %q after what was there before", name, buf)
		}
		again, err := l.Range(t.Context(), 4, 4)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if _, err := io.ReadFull(again, buf); err != errFileChanged {
			t.Errorf("%s: read on: %v", name, err)
		}
		if _, err := l.Open(t.Context()); err != errFileChanged {
			t.Errorf("%s: opened again: %v", name, err)
		}
	}
}
