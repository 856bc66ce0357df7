package engine

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

func TestTargetLink(t *testing.T) {
	dir := t.TempDir()
	real := dir + "/real/there"
	for _, err := range []error{os.MkdirAll(dir+"/real/dir", 0o755), os.WriteFile(real, nil, 0o644),
		os.Symlink("real/there", dir+"/link"), os.Symlink("link", dir+"/twice"), os.Symlink("nowhere", dir+"/dangling"),
		os.Symlink("loop", dir+"/loop"), os.Symlink("real/dir", dir+"/dirlink")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	resolve := func(p string) (string, error) {
		if i, err := os.Lstat(p); err != nil || i.Mode()&fs.ModeSymlink == 0 {
			return p, nil
		}
		return filepath.EvalSymlinks(p)
	}
	for _, tt := range []struct {
		path  string
		exact bool
		want  place
		text  string // of the error
	}{
		{path: "real/there", want: place{root: dir + "/real", name: "there"}},
		{path: "link", want: place{root: dir + "/real", name: "there"}},
		{path: "twice", exact: true, want: place{root: dir + "/real", name: "there"}},
		{path: "new", want: place{root: dir, name: "new"}},
		{path: "dirlink", want: place{root: dir + "/dirlink", name: "f"}},
		{path: "dangling", text: "is a link to what does not exist"},
		{path: "loop", text: "too many levels of symbolic links"},
	} {
		g := Target{Path: dir + "/" + tt.path, Shown: tt.path, Exact: tt.exact, Stat: os.Stat, Resolve: resolve}
		got, err := g.resolve(store.File, "f", false)
		if tt.text != "" {
			if err == nil || !strings.Contains(err.Error(), tt.text) || classOf(err) != wire.ClassDest {
				t.Errorf("%s: %+v, %v; want an error that %q", tt.path, got, err, tt.text)
			}
		} else if err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v; want %+v", tt.path, got, err, tt.want)
		}
	}
}

func TestPortHint(t *testing.T) {
	for _, c := range []struct{ shown, missing, want string }{
		{"far:2222:/d", "2222:", "a port is given as -P 2222 or ssh://far:2222/d"},
		{"u@far:22:d/e", "22:d", "a port is given as -P 22 or ssh://u@far:22/~/d/e"},
		{"far:22:~/d", "22:~", "a port is given as -P 22 or ssh://far:22/~/d"},
		{"[::1]:2222:/d", "2222:", "a port is given as -P 2222 or ssh://[::1]:2222/d"},
		{"far:22", "22", ""},
		{"far:0:/d", "0:", ""},
		{"far:99999:/d", "99999:", ""},
		{"far:x:/d", "x:", ""},
		{"./2222:/d/e", "2222:/d", ""},
		{"ssh://far:22/2222:/d", "2222:", ""},
		{"far:/2222:/d", "/2222:", ""},
	} {
		if got := portHint(c.shown, c.missing); got != c.want {
			t.Errorf("portHint(%q, %q) = %q, want %q", c.shown, c.missing, got, c.want)
		}
	}
}
