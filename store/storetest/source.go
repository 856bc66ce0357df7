package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/gomover/gomover/store"
)

// Source runs the contract of sources; open gives each test its own root.
func Source(t *testing.T, open func(t *testing.T) Maker) {
	tests := []struct {
		name string
		run  func(t *testing.T, m Maker)
	}{
		{"walk", walk},
		{"walk ends early", walkEnds},
		{"open", opening},
		{"changes are seen", changes},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
}

func walk(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	want := map[string]string{"": "", "a": "", "a/empty": "", "a/deep": "", "a/deep/er": "", "a.b": "dot", "a/\xff": "raw"}
	for _, dir := range []string{"a", "a/empty", "a/deep", "a/deep/er"} {
		check(t, d.Mkdir(dir))
	}
	put(t, d, "a.b", "dot")
	put(t, d, "a/\xff", "raw")
	for i := range 3000 { // more than one chunk
		name := fmt.Sprintf("a/deep/er/%04d", i)
		put(t, d, name, name)
		want[name] = name
	}
	check(t, d.Symlink(store.Entry{Name: "l", Kind: store.Symlink, Target: "a/deep"}))
	want["l"] = ""

	s := m.Source(t)
	defer s.Close()
	seen := map[string]bool{}
	check(t, s.Walk(context.Background(), func(e store.Entry, err error) error {
		check(t, err)
		if seen[e.Name] {
			t.Errorf("%q came twice", e.Name)
		}
		seen[e.Name] = true
		if parent := path.Dir(e.Name); e.Name != "" && parent != "." && !seen[parent] {
			t.Errorf("%q came before its directory", e.Name)
		}
		content, ok := want[e.Name]
		if !ok {
			t.Errorf("%q is not in the tree", e.Name)
		}
		kind := store.Dir
		switch {
		case e.Name == "l":
			kind = store.Symlink
		case content != "":
			kind = store.File
		}
		if e.Kind != kind || (kind == store.File && (e.Size != int64(len(content)) || e.Mode != 0o640)) {
			t.Errorf("%q: %+v", e.Name, e)
		}
		if kind == store.Symlink && e.Target != "a/deep" {
			t.Errorf("link leads to %q", e.Target)
		}
		return nil
	}))
	if len(seen) != len(want) {
		t.Errorf("%d entries, want %d", len(seen), len(want))
	}
}

func walkEnds(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	check(t, d.Mkdir("a"))
	for i := range 500 {
		put(t, d, fmt.Sprintf("a/%d", i), "x")
	}
	s := m.Source(t)
	defer s.Close()
	stop := errors.New("enough")
	for at := range 4 {
		n := 0
		err := s.Walk(context.Background(), func(store.Entry, error) error {
			if n++; n > at {
				return stop
			}
			return nil
		})
		if !errors.Is(err, stop) || n != at+1 {
			t.Errorf("stopping at entry %d: %d calls, %v", at, n, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := 0
	err := s.Walk(ctx, func(store.Entry, error) error { n++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || n > 400 {
		t.Errorf("cancelled: %d calls, %v", n, err)
	}
}

func opening(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	check(t, d.Mkdir("a"))
	text := strings.Repeat("0123456789", 300_000)
	put(t, d, "a/f", text)
	check(t, d.Symlink(store.Entry{Name: "l", Kind: store.Symlink, Target: "a/f"}))
	s := m.Source(t)
	defer s.Close()
	f, err := s.Open("a/f")
	check(t, err)
	f.Ahead(0, 1<<20)
	f.Ahead(1<<40, 1<<20)
	e, err := f.Stat()
	check(t, err)
	if e.Name != "a/f" || e.Kind != store.File || e.Size != int64(len(text)) || e.ModTime != entry("", 0).ModTime {
		t.Errorf("open file: %+v", e)
	}
	b := make([]byte, 10)
	if n, err := f.ReadAt(b, int64(len(text))-5); n != 5 || err != io.EOF || string(b[:5]) != "56789" {
		t.Errorf("at the end: %d bytes %q, %v", n, b[:n], err)
	}
	check(t, f.Close())
	if _, err := s.Open("no"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	for _, name := range []string{"a", "", "l"} {
		if _, err := s.Open(name); err == nil {
			t.Errorf("%q, which is not a file, was opened", name)
		}
	}
	for _, name := range HostileNames {
		if _, err := s.Open(name); !errors.Is(err, store.ErrName) {
			t.Errorf("%.40q: %v, want ErrName", name, err)
		}
	}
}

// changes: Stat speaks of the open file as it is now, and tells a replaced file
// from the one that was listed.
func changes(t *testing.T, m Maker) {
	d := m.Dest(t, "j")
	defer d.Close()
	put(t, d, "f", "first")
	s := m.Source(t)
	defer s.Close()
	f, err := s.Open("f")
	check(t, err)
	defer f.Close()
	before, err := f.Stat()
	check(t, err)
	put(t, d, "f", "second")
	if now, err := f.Stat(); err != nil || now.Size != before.Size || now.Ino != before.Ino {
		t.Errorf("the open file became %+v, %v", now, err)
	}
	g, err := s.Open("f")
	check(t, err)
	defer g.Close()
	if now, err := g.Stat(); err != nil || now.Size != 6 || (before.Ino != 0 && now.Ino == before.Ino) {
		t.Errorf("the new file is %+v, %v; before %+v", now, err, before)
	}
}
