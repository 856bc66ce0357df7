package mover

import (
	"context"
	"io"
	"sync"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/store"
	"github.com/gomover/gomover/wire"
)

// maxTapped bounds the entries that are kept to be passed on. Ours: some 60 MB.
const maxTapped = 256 << 10

// tap looks on while a sink works, at its messages and at what it writes, so that
// what it has can be passed on while it comes. What the sink writes has been
// compared with its hash before; a file counts as whole when the source has
// vouched for it. Any goroutine may use it.
type tap struct {
	opts   engine.Options
	target engine.Target

	mu      sync.Mutex // guards what follows, and tapped files
	cond    *sync.Cond
	entries []*tapped          // in the order of the list
	byID    map[uint64]*tapped // files without an end
	byName  map[string]*tapped // by the name below the destination, those not given up
	prefix  map[int]string     // of each root: what its names begin with
	listed  bool
	dest    store.Dest
	err     error // nothing more comes
}

// tapped is one entry of the source.
type tapped struct {
	e      wire.Entry
	name   string   // below the destination
	block  int64    // bytes
	have   []uint64 // a bit for each block that is here
	all    bool     // every block is here
	whole  bool     // and the source has vouched for it
	named  bool     // and it has its final name
	failed bool
	w      *tapFile // the unfinished file; nil before and after
}

func newTap(o engine.Options, t engine.Target) *tap {
	p := &tap{opts: o, target: t, byID: make(map[uint64]*tapped), byName: make(map[string]*tapped), prefix: make(map[int]string)}
	p.cond = sync.NewCond(&p.mu)
	return p
}

// end wakes all who wait for what will not come.
func (p *tap) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	p.cond.Broadcast()
}

// tapLink is the sink's link with the tap at it.
type tapLink struct {
	engine.Link
	p *tap
}

// Recv implements engine.Link.
func (l tapLink) Recv() ([]byte, error) {
	b, err := l.Link.Recv()
	if err != nil {
		return b, err
	}
	if k, body, err := wire.Split(b); err == nil {
		l.p.received(k, body) // what is wrong with it the sink will say
	}
	return b, nil
}

// Send implements engine.Link.
func (l tapLink) Send(parts ...[]byte) error {
	if len(parts) > 0 && len(parts[0]) > 0 {
		switch k := wire.Kind(parts[0][0]); k {
		case wire.KindVerdicts, wire.KindDone:
			var b []byte
			for _, p := range parts {
				b = append(b, p...)
			}
			l.p.sent(k, b[1:])
		}
	}
	return l.Link.Send(parts...)
}

// received notes what the source says.
func (p *tap) received(k wire.Kind, body []byte) {
	switch k {
	case wire.KindManifest:
		m, err := wire.ParseManifest(body)
		if err != nil {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for i := range m.Entries {
			p.addLocked(m.First+uint64(i), &m.Entries[i])
		}
	case wire.KindEnd:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.listed = true
	case wire.KindGone:
		m, err := wire.ParseGone(body)
		if err != nil {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.endLocked(m.ID, false)
	default:
		return
	}
	p.cond.Broadcast()
}

// addLocked notes an entry of the list.
func (p *tap) addLocked(id uint64, e *wire.Entry) {
	if e.Attempt > 0 {
		return // it was passed on as it was before, and given up
	}
	if len(p.entries) == maxTapped {
		if p.err == nil {
			p.err = wire.Failf(wire.ClassNoPath, "more than %d entries are not passed on", maxTapped)
		}
		return
	}
	f := &tapped{e: *e, block: p.opts.BlockSizeFor(e.Size)}
	if e.Name == "" {
		name, err := p.target.NameOf(store.Kind(e.Kind), e.Base, e.Inside)
		f.failed = err != nil // the sink fails, too
		p.prefix[e.Root], f.name = name, name
	} else if f.name = e.Name; p.prefix[e.Root] != "" {
		f.name = p.prefix[e.Root] + "/" + e.Name
	}
	p.entries = append(p.entries, f)
	if store.Kind(e.Kind) == store.File {
		p.byID[id], p.byName[f.name] = f, f
	}
}

// sent notes what the sink says.
func (p *tap) sent(k wire.Kind, body []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.cond.Broadcast()
	if k == wire.KindDone {
		m, err := wire.ParseDone(body)
		for i := range m {
			p.endLocked(m[i].ID, err == nil && m[i].Class == wire.ClassNone)
		}
		return
	}
	m, err := wire.ParseVerdicts(body)
	if err != nil {
		return
	}
	for i := range m {
		v := &m[i]
		f := p.byID[v.ID]
		switch {
		case f == nil:
		case v.Verdict == wire.Same:
			// Without a comparison of contents nobody knows what it holds.
			p.endLocked(v.ID, p.opts.Checksum)
		case v.Verdict == wire.Made:
			p.endLocked(v.ID, true)
		case v.Verdict == wire.Failed || v.Verdict == wire.Ignored:
			p.endLocked(v.ID, false)
		case v.Verdict == wire.Part:
			f.haveAllBut(v.Extents)
		}
	}
}

// endLocked notes that a file is complete, or will not be.
func (p *tap) endLocked(id uint64, ok bool) {
	f := p.byID[id]
	if f == nil {
		return
	}
	delete(p.byID, id)
	if ok {
		f.all, f.whole, f.named = true, true, true
	} else {
		f.failed = true
	}
}

// blocks is the number of blocks of the file.
func (f *tapped) blocks() int64 { return (f.e.Size + f.block - 1) / f.block }

func (f *tapped) set(b int64) {
	if f.have == nil {
		f.have = make([]uint64, (f.blocks()+63)/64)
	}
	f.have[b/64] |= 1 << (b % 64)
}

// haveAllBut notes that all blocks are here but those in the extents.
func (f *tapped) haveAllBut(lacking [][2]int64) {
	next := int64(0)
	for _, x := range append(lacking[:len(lacking):len(lacking)], [2]int64{f.blocks(), f.blocks()}) {
		for b := next; b < min(x[0], f.blocks()); b++ {
			f.set(b)
		}
		next = x[1]
	}
}

// has tells whether bytes [off, off+n) are here.
func (f *tapped) has(off, n int64) bool {
	if f.all {
		return true
	}
	if f.have == nil {
		return false
	}
	for b := off / f.block; b*f.block < off+n; b++ {
		if f.have[b/64]>>(b%64)&1 == 0 {
			return false
		}
	}
	return true
}

// aim is the sink's target with the tap at what it opens.
func (p *tap) aim() engine.Target {
	t := p.target
	open := t.Open
	t.Open = func(root string, create bool) (store.Dest, error) {
		d, err := open(root, create)
		if err != nil {
			return nil, err
		}
		p.mu.Lock()
		if p.dest != nil {
			p.dest.Close() // it was looked at, and is opened for good
		}
		p.dest = d
		p.mu.Unlock()
		return &tapDest{d, p}, nil
	}
	return t
}

// tapDest is a destination with the tap at it.
type tapDest struct {
	store.Dest
	p *tap
}

// Close implements store.Dest: what is below stays open for those who read it, until
// tap.close.
func (d *tapDest) Close() error { return nil }

// close closes what the sink has opened, when nobody reads it any more.
func (p *tap) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dest != nil {
		p.dest.Close()
		p.dest = nil
	}
}

// OpenPartial implements store.Dest.
func (d *tapDest) OpenPartial(name string) (store.WriteFile, bool, error) {
	w, found, err := d.Dest.OpenPartial(name)
	if err != nil {
		return nil, false, err
	}
	d.p.mu.Lock()
	defer d.p.mu.Unlock()
	f := d.p.byName[name]
	if f == nil {
		return w, found, nil
	}
	f.w = &tapFile{WriteFile: w, p: d.p, f: f}
	d.p.cond.Broadcast()
	return f.w, found, nil
}

// tapFile is an unfinished file. It stays open until those who read it are done.
type tapFile struct {
	store.WriteFile
	p *tap
	f *tapped

	readers int  // guarded by tap.mu
	closed  bool // by the sink; guarded by tap.mu
}

// WriteAt implements store.WriteFile: what was written is here.
func (w *tapFile) WriteAt(b []byte, off int64) (int, error) {
	n, err := w.WriteFile.WriteAt(b, off)
	if err != nil {
		return n, err
	}
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	f := w.f
	for at := off / f.block; at < f.blocks() && at*f.block+min(f.block, f.e.Size-at*f.block) <= off+int64(len(b)); at++ {
		f.set(at)
	}
	w.p.cond.Broadcast()
	return n, nil
}

// Truncate implements store.WriteFile: emptied, it has nothing.
func (w *tapFile) Truncate(size int64) error {
	w.p.mu.Lock()
	if size == 0 {
		w.f.have = nil
	}
	w.p.mu.Unlock()
	return w.WriteFile.Truncate(size)
}

// SetAttrs implements store.WriteFile. The sink does so when every block is here
// and the source has vouched for the whole.
func (w *tapFile) SetAttrs(e store.Entry, a store.Attrs) error {
	if err := w.WriteFile.SetAttrs(e, a); err != nil {
		return err
	}
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	w.f.all, w.f.whole = true, true
	w.p.cond.Broadcast()
	return nil
}

// Close implements store.WriteFile.
func (w *tapFile) Close() error {
	w.p.mu.Lock()
	w.closed = true
	if w.f.w == w {
		w.f.w = nil
	}
	last := w.readers == 0
	w.p.mu.Unlock()
	if last {
		return w.WriteFile.Close()
	}
	return nil
}

// leave ends one reader.
func (w *tapFile) leave() error {
	w.p.mu.Lock()
	w.readers--
	last := w.closed && w.readers == 0
	w.p.mu.Unlock()
	if last {
		return w.WriteFile.Close()
	}
	return nil
}

// passing is one reader of a tap: the files of all roots for one sink behind.
type passing struct {
	p    *tap
	over bool // guarded by tap.mu
}

// end makes those who wait in p's files return.
func (r *passing) end() {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	r.over = true
	r.p.cond.Broadcast()
}

// await waits until ready is true, which is called with the lock held.
func (r *passing) await(f *tapped, ready func() bool) error {
	r.p.mu.Lock()
	defer r.p.mu.Unlock()
	for !ready() {
		switch {
		case r.over:
			return io.ErrClosedPipe
		case f != nil && f.failed:
			return errNotPassed
		case r.p.err != nil:
			return r.p.err
		}
		r.p.cond.Wait()
	}
	return nil
}

// errNotPassed is the end of a file that is not complete at the host before.
var errNotPassed = wire.Failf(wire.ClassSource, "could not be passed on")

// root is one root of a passing. It is a store.Source.
type passingRoot struct {
	r *passing
	i int
}

var _ store.Source = (*passingRoot)(nil)

// Walk implements store.Source: entries come as they are listed at the source.
func (s *passingRoot) Walk(ctx context.Context, fn store.WalkFunc) error {
	unhook := context.AfterFunc(ctx, s.r.end)
	defer unhook()
	p := s.r.p
	for at := 0; ; {
		err := s.r.await(nil, func() bool { return at < len(p.entries) || p.listed })
		if err != nil {
			return err
		}
		p.mu.Lock()
		part := p.entries[at:]
		done := p.listed
		p.mu.Unlock()
		at += len(part)
		for _, f := range part {
			if f.e.Root != s.i {
				continue
			}
			if err := fn(f.entry(), nil); err != nil {
				return err
			}
		}
		if done && len(part) == 0 {
			return nil
		}
	}
}

// entry is the entry as it was listed at the source.
func (f *tapped) entry() store.Entry {
	e := &f.e
	return store.Entry{Name: e.Name, Kind: store.Kind(e.Kind), Size: e.Size, Mode: e.Mode, ModTime: e.ModTime, UID: e.UID, GID: e.GID, Ino: e.Ino, Target: e.Target}
}

// Open implements store.Source. It waits until there is something of the file.
func (s *passingRoot) Open(name string) (store.ReadFile, error) {
	p := s.r.p
	p.mu.Lock()
	full := name
	if pre := p.prefix[s.i]; name == "" {
		full = pre
	} else if pre != "" {
		full = pre + "/" + name
	}
	f := p.byName[full]
	p.mu.Unlock()
	if f == nil {
		return nil, errNotPassed
	}
	var w *tapFile
	if err := s.r.await(f, func() bool {
		if f.w != nil && !f.failed {
			w = f.w
			w.readers++
			return true
		}
		return f.named
	}); err != nil {
		return nil, err
	}
	if w != nil {
		return &passingFile{r: s.r, f: f, at: w, close: w.leave}, nil
	}
	p.mu.Lock()
	d := p.dest
	p.mu.Unlock()
	if d == nil {
		return nil, errNotPassed
	}
	r, err := d.Open(full)
	if err != nil {
		return nil, err
	}
	return &passingFile{r: s.r, f: f, at: r, close: r.Close}, nil
}

// Close implements store.Source.
func (s *passingRoot) Close() error { return nil }

// passingFile is a file that is read while it comes.
type passingFile struct {
	r     *passing
	f     *tapped
	at    io.ReaderAt
	close func() error
}

// ReadAt waits until the bytes are here.
func (f *passingFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.r.await(f.f, func() bool { return !f.f.failed && f.f.has(off, int64(len(b))) }); err != nil {
		return 0, err
	}
	return f.at.ReadAt(b, off)
}

// Stat waits until the source has vouched for the file, which then is as it was
// listed.
func (f *passingFile) Stat() (store.Entry, error) {
	if err := f.r.await(f.f, func() bool { return f.f.whole }); err != nil {
		return store.Entry{}, err
	}
	return f.f.entry(), nil
}

// Ahead implements store.ReadFile: what has just come is in memory.
func (f *passingFile) Ahead(off, n int64) {}

// Close implements store.ReadFile.
func (f *passingFile) Close() error { return f.close() }
