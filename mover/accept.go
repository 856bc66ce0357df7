package mover

import (
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

// acceptRoots returns a check of what a far source says its roots are. The user
// named them, so a far end that sends something else under another name, to
// have it written over a file that was never asked for, is refused.
func acceptRoots(r *readSpec) func(root int, kind store.Kind, base string, inside bool) error {
	words := r.Sources
	pattern := false
	if r.Glob {
		for _, w := range words {
			pattern = pattern || strings.ContainsAny(string(w.Path), "*?[")
		}
	}
	return func(root int, kind store.Kind, base string, inside bool) error {
		if kind == store.Dir && !r.Recursive {
			return wire.Failf(wire.ClassProtocol, "the other end sent a directory where a file was asked for")
		}
		for i := range words {
			// Patterns match any number of names, so the order says nothing.
			if (pattern || i == root) && fits(&words[i], r.Glob, base, inside) {
				return nil
			}
		}
		return wire.Failf(wire.ClassProtocol, "the other end sent %q, which was not asked for", base)
	}
}

// fits tells whether a root can be what a word means.
func fits(w *sourceSpec, glob bool, base string, inside bool) bool {
	p := string(w.Path)
	last := path.Base(path.Clean(p))
	whole := p == "" || p == "~" || last == "." || last == ".." || last == "/"
	switch {
	case inside && !w.Inside && !whole:
		return false
	case whole:
		// The home directory, or one that only the far end can name: what is
		// meant is its contents, or the directory under its own name.
		return inside && base == "" || p == "~"
	case strings.HasPrefix(p, "~") && !strings.Contains(p, "/"):
		return true // the home directory of somebody: its name is not known here
	case base == last:
		return true
	case glob && strings.ContainsAny(last, "*?["):
		ok, err := doublestar.Match(last, base)
		return err == nil && ok && (!strings.HasPrefix(base, ".") || strings.HasPrefix(last, "."))
	}
	return false
}
