package osfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/gomover/gomover/store"
)

// walkChunk is how many names of one directory are held and sorted at a time.
// Memory of a walk is bounded by this times the depth of the tree.
const walkChunk = 1024

// errLoop reports a link that leads to a directory it is in.
var errLoop = errors.New("the link leads back to a directory above it")

// Walk lists the root and all below it, each directory before what is in it.
//
// Shape: names of one directory come in order within chunks of 1024, since no
// list of a whole directory is ever held. One directory is held open per level.
// Concurrency: any; fn is called by the calling goroutine. Errors: fn's own, or
// the context's; what cannot be read goes to fn and the walk goes on. Of an entry
// that cannot even be examined (fs.ErrNotExist: it went away since its directory
// was read) fn gets the name only, with Kind 0.
func (s *source) Walk(ctx context.Context, fn store.WalkFunc) error {
	top, err := statPath(s.path)
	if err != nil {
		top, err = s.top, describe("examining", s.path, err)
		return fn(top, err)
	}
	if s.root == nil {
		return fn(top, nil)
	}
	d, err := s.openDir("")
	if err != nil {
		return fn(top, describe("listing", s.path, err))
	}
	if err := fn(top, nil); err != nil {
		d.close()
		return err
	}
	w := walker{ctx: ctx, s: s, fn: fn}
	return w.list(d, top)
}

// walker is one walk under way.
type walker struct {
	ctx   context.Context
	s     *source
	fn    store.WalkFunc
	above []dirID // the directories the walk is in, from the root; for LinksFollow
}

type dirID struct{ dev, ino uint64 }

// list walks what is in the open directory e, and closes it.
func (w *walker) list(d *dir, e store.Entry) error {
	defer d.close()
	if w.s.o.Links == LinksFollow {
		w.above = append(w.above, dirID{e.Dev, e.Ino})
		defer func() { w.above = w.above[:len(w.above)-1] }()
	}
	for {
		names, err := d.names(walkChunk)
		slices.Sort(names)
		for i, base := range names {
			if i%64 == 0 && w.ctx.Err() != nil {
				return w.ctx.Err()
			}
			if err := w.entry(d, e.Name, base); err != nil {
				return err
			}
		}
		if err == io.EOF || (err == nil && len(names) == 0) {
			return nil
		}
		if err != nil {
			return w.fn(e, describe("listing", w.s.label(e.Name), err))
		}
	}
}

// entry reports base in d, whose name is parent, and what is below it.
func (w *walker) entry(d *dir, parent, base string) error {
	name := join(parent, base)
	e, err := d.lstat(base)
	e.Name = name
	if err == nil && e.Kind == store.Symlink {
		var keep bool
		if e, keep, err = w.link(d, e, base); !keep {
			return nil
		}
	}
	if err != nil {
		return w.fn(e, describe("examining", name, err))
	}
	if e.Kind != store.Dir {
		return w.fn(e, nil)
	}
	if slices.Contains(w.above, dirID{e.Dev, e.Ino}) && w.s.o.Links == LinksFollow {
		return w.fn(e, fmt.Errorf("listing %s: %w", name, errLoop))
	}
	sub, err := d.child(base, w.s.o.Links == LinksFollow)
	if err := w.fn(e, describe("listing", name, err)); err != nil || sub == nil {
		if sub != nil {
			sub.close()
		}
		return err
	}
	return w.list(sub, e)
}

// link turns the link e into what the options make of it.
func (w *walker) link(d *dir, e store.Entry, base string) (_ store.Entry, keep bool, err error) {
	if w.s.o.Links == LinksFollow {
		to, err := d.follow(base)
		if err != nil {
			return e, true, err
		}
		to.Name = e.Name
		return to, true, nil
	}
	e.Target, err = d.readlink(base)
	if w.s.o.Links == LinksSkip || (w.s.o.Links == LinksSafe && err == nil && leavesTree(e.Name, e.Target)) {
		if w.s.o.Skipped != nil {
			w.s.o.Skipped(e)
		}
		return e, false, nil
	}
	return e, true, err
}

// leavesTree tells whether the link name leads out of the tree by its text
// alone: other links on the way are not looked at, so that the answer does not
// depend on what else is in the tree.
func leavesTree(name, target string) bool {
	if target == "" || target[0] == '/' {
		return true
	}
	depth := strings.Count(name, "/")
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}
