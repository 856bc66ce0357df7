package osfs

import (
	"container/list"
	"io/fs"
	"sync"
)

// dirCache keeps the directories used last open, so that a small file does not
// pay for resolving its parents.
//
// Shape: at most limit idle and busy handles are remembered; a handle pushed
// out while in use is closed by its last user. Concurrency: any.
type dirCache struct {
	open  func(name string) (*dir, error)
	limit int

	mu     sync.Mutex // guards what follows
	byName map[string]*list.Element
	recent list.List // of *dirRef, the one used last in front
	closed bool
}

// dirRef is a directory handle in use.
type dirRef struct {
	*dir
	name string
	uses int  // guarded by the cache's mutex
	kept bool // still in the cache; guarded likewise
}

func newDirCache(limit int, open func(name string) (*dir, error)) *dirCache {
	return &dirCache{open: open, limit: limit, byName: map[string]*list.Element{}}
}

// with calls do with the handle of the directory called name. When do finds
// that things are missing in a handle that was kept, the directory may have
// been replaced meanwhile: then it is looked up anew and do is called again.
func (c *dirCache) with(name string, do func(d *dir) error) error {
	r, kept, err := c.get(name)
	if err != nil {
		return err
	}
	err = do(r.dir)
	if err != nil && kept && isStale(err) {
		c.forget(r)
		c.put(r)
		if r, _, err = c.get(name); err != nil {
			return err
		}
		err = do(r.dir)
	}
	c.put(r)
	return err
}

// get lends the handle of the directory called name; put gives it back. kept
// tells that it was opened earlier.
func (c *dirCache) get(name string) (r *dirRef, kept bool, err error) {
	if r, err := c.known(name); r != nil || err != nil {
		return r, true, err
	}
	d, err := c.open(name)
	if err != nil {
		return nil, false, err
	}
	fresh := &dirRef{dir: d, name: name, uses: 1, kept: true}
	r, drop := c.add(fresh)
	for _, d := range drop {
		d.close()
	}
	if r == nil {
		return nil, false, fs.ErrClosed
	}
	return r, r != fresh, nil
}

func (c *dirCache) known(name string) (*dirRef, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, fs.ErrClosed
	}
	el, ok := c.byName[name]
	if !ok {
		return nil, nil
	}
	c.recent.MoveToFront(el)
	r := el.Value.(*dirRef)
	r.uses++
	return r, nil
}

// add puts fresh into the cache unless another goroutine was faster, and
// returns the one to use together with the handles to close.
func (c *dirCache) add(fresh *dirRef) (r *dirRef, drop []*dir) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, []*dir{fresh.dir}
	}
	if el, ok := c.byName[fresh.name]; ok {
		c.recent.MoveToFront(el)
		r = el.Value.(*dirRef)
		r.uses++
		return r, []*dir{fresh.dir}
	}
	c.byName[fresh.name] = c.recent.PushFront(fresh)
	for c.recent.Len() > c.limit {
		if d := c.removeLocked(c.recent.Back()); d != nil {
			drop = append(drop, d)
		}
	}
	return fresh, drop
}

// removeLocked forgets an element and returns its handle if nobody uses it.
func (c *dirCache) removeLocked(el *list.Element) *dir {
	r := c.recent.Remove(el).(*dirRef)
	delete(c.byName, r.name)
	r.kept = false
	if r.uses > 0 {
		return nil
	}
	return r.dir
}

// put ends one use of r.
func (c *dirCache) put(r *dirRef) {
	c.mu.Lock()
	r.uses--
	last := r.uses == 0 && !r.kept
	c.mu.Unlock()
	if last {
		r.dir.close()
	}
}

// forget makes the next get of r's name look it up anew.
func (c *dirCache) forget(r *dirRef) {
	c.mu.Lock()
	if r.kept {
		c.removeLocked(c.byName[r.name]) // r is in use, so nothing to close here
	}
	c.mu.Unlock()
}

// close closes all idle handles; busy ones are closed by their last user.
func (c *dirCache) close() {
	var drop []*dir
	c.mu.Lock()
	c.closed = true
	for c.recent.Len() > 0 {
		if d := c.removeLocked(c.recent.Back()); d != nil {
			drop = append(drop, d)
		}
	}
	c.mu.Unlock()
	for _, d := range drop {
		d.close()
	}
}
