package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/replica"
	"github.com/gomover/gomover/store"
)

// ErrLost means that nothing came from anywhere for as long as Config.GiveUp says.
var ErrLost = errors.New("no replica delivers")

// ErrNone means that no place has the tree.
var ErrNone = errors.New("no replica can be used")

// ErrFile means that the places have a file and no directory.
var ErrFile = errors.New("is a file")

// ErrDiffer means that the places differ and nothing tells which is right.
var ErrDiffer = errors.New("the replicas differ and nothing tells which is right")

// Place is a source and its name for people.
type Place struct {
	Name   string
	Source Source
}

// Config is what a tree is made of.
type Config struct {
	Places     []Place       // at most MaxPlaces
	Prefer     int           // the place to believe, plus one; 0: none
	MaxSources int           // places that are asked for bytes at once; 0: 8
	MinRate    units.Rate    // bytes per second: who is below for a minute is left out; 0: none
	GiveUp     time.Duration // without a byte; 0: never
	Patience   time.Duration // for those who alone have a file; 0: 60 s
	// Fail turns the reason for which a file cannot be had into the error that reading
	// it gives. nil: the reason itself.
	Fail func(err error) error
	// Warn tells people what they should know; any goroutine may call it. nil: nobody
	// is told.
	Warn func(code, text string)
}

// Tree is one tree of several copies. It is a store.Source and a store.Batcher.
type Tree struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	slots  chan struct{} // has one element for each file that is read before it is asked for

	most   budget // of all lists
	places []*place
	list   *merged          // after Gather
	files  map[string]*node // likewise

	mu      sync.Mutex      // guards what follows, places and nodes
	waiters []chan struct{} // who wait for a place, in their order; closed when it is their turn
	fetched int64           // bytes given out
	twice   int64           // bytes that were asked for a second time
	gone    map[*node]error // of files that a place does not give any more: why
	named   []int           // of each place: files that were told to differ
}

var (
	_ store.Source  = (*Tree)(nil)
	_ store.Batcher = (*Tree)(nil)
)

// mostAtOnce is how many files are read at once before they are asked for. Ours.
const mostAtOnce = 512

// New makes a tree of nothing yet. The caller calls Gather and, in any case, Close.
func New(c Config) *Tree {
	if c.MaxSources <= 0 {
		c.MaxSources = 8
	}
	if c.Patience <= 0 {
		c.Patience = time.Minute
	}
	if c.Warn == nil {
		c.Warn = func(string, string) {}
	}
	if c.Fail == nil {
		c.Fail = func(err error) error { return err }
	}
	t := &Tree{cfg: c, named: make([]int, len(c.Places)), slots: make(chan struct{}, mostAtOnce), most: budget{maxEntries, maxNames}, gone: make(map[*node]error)}
	t.ctx, t.cancel = context.WithCancelCause(context.Background())
	for _, p := range c.Places {
		t.places = append(t.places, &place{name: p.Name, src: p.Source})
	}
	return t
}

// Times of our choice.
const (
	listTimeout  = 60 * time.Second // to log in, and perhaps bring the program
	listPatience = 10 * time.Second // for those that have not begun to list when one has listed all
	listPause    = 60 * time.Second // for those that do not go on with their list then
)

// Gather asks all places for what they have and makes one tree of it.
//
// Errors: ErrNone, ErrFile, ErrDiffer when there is no majority about the root, the
// cause of ctx's end.
func (t *Tree) Gather(ctx context.Context) error {
	lists := t.lists(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	have, over := 0, false
	for i, l := range lists {
		switch {
		case l == nil:
		case l.over:
			over, lists[i] = true, nil
		default:
			have++
		}
	}
	switch {
	case over && have < 2: // the one that is left would be believed alone
		return errTooMany
	case have == 0:
		return ErrNone
	}
	m := merge(lists, t.cfg.Prefer)
	if len(m.nodes) == 0 || m.nodes[0].e.Name != "" {
		return ErrDiffer
	}
	if m.nodes[0].e.Kind != store.Dir {
		return ErrFile
	}
	t.report(lists, m)
	t.files = make(map[string]*node, m.files)
	for _, n := range m.nodes {
		if n.e.Kind == store.File {
			t.files[n.e.Name] = n
		}
	}
	m.arrange()
	t.list = m
	t.wg.Go(t.watch)
	return nil
}

// lists are what the places have; nil of those that do not say in time.
func (t *Tree) lists(ctx context.Context) []*list {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	out := make([]*list, len(t.places))
	var mu sync.Mutex // guards what follows, and out
	all := make([]*list, len(t.places))
	for i := range all {
		all[i] = &list{}
	}
	begun := make([]context.CancelFunc, len(t.places)) // of those that have not listed anything
	first := false
	var wg sync.WaitGroup
	opening := make([]context.Context, len(t.places))
	for i := range t.places {
		opening[i], begun[i] = context.WithTimeout(ctx, listTimeout)
		defer begun[i]()
	}
	for i, p := range t.places {
		one := opening[i]
		wg.Go(func() {
			latency, err := p.src.Open(one)
			l := all[i]
			if err != nil && one.Err() != nil {
				err = errNoAnswer
			}
			if err == nil {
				mu.Lock()
				late := one.Err() != nil
				begun[i] = nil
				mu.Unlock()
				if late {
					err = errNoAnswer
				} else {
					// Who has begun may take as long as it needs, if it goes on.
					err = p.list(ctx, &mu, &first, func(e store.Entry) error { return l.add(e, t.most, all) })
				}
			}
			if errors.Is(err, errTooMany) {
				t.leave(i, err.Error())
				mu.Lock()
				defer mu.Unlock()
				out[i] = l
				return
			}
			if err != nil {
				if ctx.Err() == nil {
					t.leave(i, err.Error())
				}
				return
			}
			t.mu.Lock()
			t.raise(p, latency)
			t.mu.Unlock()
			mu.Lock()
			defer mu.Unlock()
			l.sort()
			out[i] = l
			if !first {
				first = true
				wait := time.AfterFunc(listPatience, func() {
					mu.Lock()
					defer mu.Unlock()
					for _, stop := range begun {
						if stop != nil {
							stop()
						}
					}
				})
				context.AfterFunc(ctx, func() { wait.Stop() })
			}
		})
	}
	wg.Wait()
	for i, l := range out {
		if l != nil && l.over {
			t.leave(i, errTooMany.Error())
		}
	}
	return out
}

// list has a place list what it has. One that does not go on is given up when another
// one has listed all, which first tells. add is called, and first is read, with mu held.
func (p *place) list(ctx context.Context, mu *sync.Mutex, first *bool, add func(store.Entry) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	last, over := time.Now(), false
	var pause *time.Timer
	mu.Lock()
	pause = time.AfterFunc(listPause, func() {
		mu.Lock()
		defer mu.Unlock()
		if *first && time.Since(last) >= listPause {
			stop(errStops)
		} else if !over {
			pause.Reset(listPause)
		}
	})
	mu.Unlock()
	err := p.src.List(ctx, func(e store.Entry) error {
		mu.Lock()
		defer mu.Unlock()
		last = time.Now()
		return add(e)
	})
	mu.Lock()
	defer mu.Unlock()
	over = true
	pause.Stop()
	return err
}

// errNoAnswer means that a place could not be opened in time.
var errNoAnswer = errors.New("no answer")

// errStops means that a place has begun to list and does not go on.
var errStops = errors.New("it does not go on with its list")

// shownNames is how many names are told of where there may be many.
const shownNames = 3

// report tells how the lists differ.
func (t *Tree) report(lists []*list, m *merged) {
	for i, p := range t.places {
		if lists[i] == nil {
			continue
		}
		if n := m.lacking[i]; n > 0 {
			t.cfg.Warn("replica.lacks", fmt.Sprintf("%s lacks %d of %d files; they come from the others", p.name, n, m.files))
		}
		if l := m.differ[i]; len(l) > 0 {
			t.cfg.Warn("replica.differs", fmt.Sprintf("%s: %s: differs from what the others have, and is not taken from there", p.name, some(l)))
		}
		if n := len(lists[i].partly); n > 0 {
			t.cfg.Warn("replica.unread", fmt.Sprintf("%s: %d directories cannot be read", p.name, n))
		}
	}
}

// some names the first of many.
func some(names []string) string {
	text := strings.Join(names[:min(len(names), shownNames)], ", ")
	if n := len(names) - shownNames; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// Failed are entries about which the places differ or which none of them can read, by
// name, with the reason.
func (t *Tree) Failed(fn func(name string, err error)) {
	for _, f := range t.list.failed {
		fn(f.name, errors.New(f.why))
	}
}

// Walk lists the tree: all directories, then large files, then the rest.
func (t *Tree) Walk(ctx context.Context, fn store.WalkFunc) error {
	for i, n := range t.list.nodes {
		if i%64 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if err := fn(n.e, nil); err != nil {
			return err
		}
	}
	return nil
}

// Close ends all that is read. The places themselves stay as they are.
func (t *Tree) Close() error {
	t.cancel(fs.ErrClosed)
	t.wg.Wait()
	return nil
}

// fail ends the whole.
func (t *Tree) fail(err error) { t.cancel(err) }

// Done is closed when nothing can be read any more; Err is why.
func (t *Tree) Done() <-chan struct{} { return t.ctx.Done() }

// Err is why the tree is over: ErrLost, or that it was closed.
func (t *Tree) Err() error { return context.Cause(t.ctx) }

// PlaceState is how a place is.
type PlaceState struct {
	State replica.State
	Bytes int64      // that came from it and were given out
	Rate  units.Rate // bytes per second of late
}

// States tells how the places are, as in Config.Places.
func (t *Tree) States() []PlaceState {
	t.mu.Lock()
	defer t.mu.Unlock()
	active := t.active()
	out := make([]PlaceState, len(t.places))
	for i, p := range t.places {
		out[i] = PlaceState{State: replica.Resting, Bytes: p.bytes}
		switch {
		case p.out != "":
			out[i].State = replica.Out
		case p.up && active&(1<<i) == 0:
			out[i].State = replica.Standby
		case p.up:
			out[i].State = replica.Active
			if p.queued > 0 {
				out[i].Rate = units.Rate(p.rate)
			}
		}
	}
	return out
}

// Files is how many files the tree has.
func (t *Tree) Files() int { return len(t.files) }

// Largest is how many bytes the largest file has.
func (t *Tree) Largest() (most int64) {
	for _, n := range t.files {
		most = max(most, n.e.Size)
	}
	return most
}

// Places is how many places have a file of the tree.
func (t *Tree) Places(name string) int {
	if n := t.files[name]; n != nil {
		return len(n.at)
	}
	return 0
}

// future is a small file that is read before it is asked for.
type future struct {
	done chan struct{} // closed when what follows is set
	data []byte
	sum  integrity.Sum
	err  error
}

// Open opens a file of the tree, which asks nobody yet.
func (t *Tree) Open(name string) (store.ReadFile, error) {
	n := t.files[name]
	if n == nil {
		return nil, fs.ErrNotExist
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := &file{t: t, n: n, soon: n.soon}
	n.soon = nil
	return f, nil
}

// file is an open file of a tree.
type file struct {
	t    *Tree
	n    *node
	soon *future // nil: none
}

var (
	_ store.ReadFile = (*file)(nil)
	_ store.SumFile  = (*file)(nil)
	_ store.Vouched  = (*file)(nil)
)

// ReadAt gives bytes about which the places agree.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, _, _, err := f.ReadSum(p, off)
	return n, err
}

// ReadSum gives bytes about which the places agree, and their sum.
func (f *file) ReadSum(p []byte, off int64) (n int, sum [32]byte, known bool, err error) {
	size := f.n.e.Size
	if off < 0 || off >= size {
		return 0, sum, false, io.EOF
	}
	part := p[:min(int64(len(p)), size-off)]
	switch {
	case f.soon != nil && off == 0 && int64(len(part)) == size:
		<-f.soon.done
		if err = f.soon.err; err == nil {
			copy(part, f.soon.data)
			sum, known = f.soon.sum, true
		}
	case off%integrity.MinBlock == 0 && len(part) <= longestBlock:
		known = true
		sum, err = f.t.block(f.n, off, int64(len(part)), part)
	default:
		err = f.read(part, off)
	}
	if err != nil {
		return 0, sum, false, err
	}
	if len(part) < len(p) {
		err = io.EOF
	}
	return len(part), sum, known, err
}

// read reads whole blocks that lie anywhere.
func (f *file) read(part []byte, off int64) error {
	for len(part) > 0 {
		lo := off - off%integrity.MinBlock
		if n := min(int64(len(part)), longestBlock); lo == off {
			if _, err := f.t.block(f.n, off, n, part[:n]); err != nil {
				return err
			}
			part, off = part[n:], off+n
			continue
		}
		// A part that does not begin where a block may.
		buf := make([]byte, min(integrity.MinBlock, f.n.e.Size-lo))
		if _, err := f.t.block(f.n, lo, int64(len(buf)), buf); err != nil {
			return err
		}
		n := copy(part, buf[off-lo:])
		part, off = part[n:], off+int64(n)
	}
	return nil
}

// longestBlock is how much is asked of a place at once, in bytes. Ours.
const longestBlock = 4 << 20

// Sum gives the sum of a block, without its bytes.
func (f *file) Sum(off, n int64) (sum [32]byte, err error) {
	s, err := f.t.block(f.n, off, n, nil)
	return s, err
}

// Stat describes the file as it was listed.
func (f *file) Stat() (store.Entry, error) { return f.n.e, nil }

// Ahead does nothing: several blocks are read at once.
func (*file) Ahead(int64, int64) {}

// Close closes the file.
func (*file) Close() error { return nil }

// name tells that a place has something else of a file, of which it is not asked any
// more. A few are told one by one.
func (t *Tree) name(i int, n *node, why string) {
	t.mu.Lock()
	if n.left&(1<<i) != 0 {
		t.mu.Unlock()
		return
	}
	n.left |= 1 << i
	t.named[i]++
	told := t.named[i] <= shownNames
	t.mu.Unlock()
	if told {
		t.cfg.Warn("replica.left", fmt.Sprintf("%s: %s left out: %s", t.places[i].name, n.e.Name, why))
	}
}

// Differing tells which places were seen to have something else of files, and of how
// many.
func (t *Tree) Differing(fn func(place string, files int)) {
	t.mu.Lock()
	named := slices.Clone(t.named)
	t.mu.Unlock()
	for i, n := range named {
		if n > 0 {
			fn(t.places[i].name, n)
		}
	}
}
