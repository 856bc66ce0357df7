package mover

import (
	"testing"

	"github.com/gomover/gomover/store"
)

func TestAcceptRoots(t *testing.T) {
	for _, c := range []struct {
		path      string
		contents  bool // the word ends in a slash
		recursive bool
		kind      store.Kind
		base      string
		inside    bool
		ok        bool
	}{
		{"report.pdf", false, false, store.File, "report.pdf", false, true},
		{"a/b/report.pdf", false, false, store.File, "report.pdf", false, true},
		{"report.pdf", false, false, store.File, ".bashrc", false, false},
		{"report.pdf", false, false, store.Dir, "report.pdf", false, false},
		{"report.pdf", false, true, store.Dir, "report.pdf", true, false},
		{"d", false, true, store.Dir, "d", false, true},
		{"d/", true, true, store.Dir, "d", true, true},
		{"d/", true, true, store.Dir, "e", true, false},
		{"", false, true, store.Dir, "", true, true},
		{".", true, true, store.Dir, "", true, true},
		{"", false, true, store.File, ".bashrc", false, false},
		{"*.pdf", false, false, store.File, "x.pdf", false, true},
		{"*.pdf", false, false, store.File, "x.sh", false, false},
		{"*", false, false, store.File, ".bashrc", false, false},
		{".*", false, false, store.File, ".bashrc", false, true},
		{"d/*", false, true, store.Dir, "e", true, false},
	} {
		r := &readSpec{Sources: []sourceSpec{{Path: []byte(c.path), Inside: c.contents}}, Recursive: c.recursive, Glob: true}
		err := acceptRoots(r)(0, c.kind, c.base, c.inside)
		if (err == nil) != c.ok {
			t.Errorf("word %q (-r %t), answer kind %d base %q inside %t: %v, want accepted %t", c.path, c.recursive, c.kind, c.base, c.inside, err, c.ok)
		}
	}
	two := &readSpec{Sources: []sourceSpec{{Path: []byte("a")}, {Path: []byte("b")}}}
	if err := acceptRoots(two)(0, store.File, "b", false); err == nil {
		t.Error("the second word was accepted as the first")
	}
	if err := acceptRoots(two)(2, store.File, "b", false); err == nil {
		t.Error("a third root of two was accepted")
	}
}
