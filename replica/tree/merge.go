package tree

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/gomover/gomover/store"
)

// Bounds of what places may list, together. Ours: some hundred bytes of memory each.
const (
	maxEntries = 4 << 20
	maxNames   = 1 << 30 // bytes of names and targets
)

// MaxPlaces is how many places a tree can have.
const MaxPlaces = 64

// Errors of lists.
var (
	errTooMany = errors.New("lists too much")
	errName    = errors.New("lists a name that leaves the tree")
	errEntry   = errors.New("lists what cannot be")
)

// list is what one place has.
type list struct {
	entries []store.Entry
	names   int             // bytes
	over    bool            // it was given up since it is too long
	partly  map[string]bool // directories of which it could read a part only, at most
}

// budget bounds all lists together.
type budget struct{ entries, names int }

// fit gives up the longest list if all together are too long: one place alone must not
// take the room of others, and be believed alone.
func (b budget) fit(lists []*list) {
	entries, names := 0, 0
	for _, l := range lists {
		entries, names = entries+len(l.entries), names+l.names
	}
	if entries <= b.entries && names <= b.names {
		return
	}
	longest := lists[0]
	for _, l := range lists {
		if entries > b.entries && len(l.entries) > len(longest.entries) || entries <= b.entries && l.names > longest.names {
			longest = l
		}
	}
	*longest = list{over: true}
}

// add takes one entry, unless all lists together are too long. Errors: those of lists,
// after which the place is of no use.
func (l *list) add(e store.Entry, b budget, all []*list) error {
	switch {
	case l.over:
		return errTooMany
	case store.CheckName(e.Name) != nil:
		return fmt.Errorf("%w: %.80q", errName, e.Name)
	case e.Kind > store.Special || e.Size < 0 || e.Kind != store.File && e.Size != 0 || e.Kind != store.Symlink && e.Target != "" || strings.IndexByte(e.Target, 0) >= 0:
		return fmt.Errorf("%w: %.80q", errEntry, e.Name)
	}
	l.entries = append(l.entries, e)
	l.names += len(e.Name) + len(e.Target)
	if b.fit(all); l.over {
		return errTooMany
	}
	return nil
}

// sort puts the entries in the order of their names, each once.
func (l *list) sort() {
	// What has no kind, as it could not be read, comes behind what has the same name.
	slices.SortStableFunc(l.entries, func(a, b store.Entry) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return cmp.Compare(unknown(a), unknown(b))
	})
	once := l.entries[:0]
	for _, e := range l.entries {
		if n := len(once); n > 0 && once[n-1].Name == e.Name {
			if e.Kind == 0 && once[n-1].Kind == store.Dir {
				if l.partly == nil {
					l.partly = make(map[string]bool)
				}
				l.partly[e.Name] = true
			}
			continue
		}
		once = append(once, e)
	}
	l.entries = once
}

func unknown(e store.Entry) int {
	if e.Kind == 0 {
		return 1
	}
	return 0
}

// holding is what one place has of a file.
type holding struct {
	place   int32
	modTime int64
	ino     uint64
}

// node is one entry of the tree.
type node struct {
	e    store.Entry // the first place's, without its inode
	at   []holding   // of a file: who has it
	left uint64      // places that are not asked for it any more; guarded by Tree.mu
	soon *future     // guarded by Tree.mu; nil: it is not read yet
}

// failure is an entry that cannot be had.
type failure struct{ name, why string }

// merged is one tree of several lists.
type merged struct {
	nodes   []*node // a directory before what is in it
	files   int
	failed  []failure
	lacking []int      // of each place: files that it does not have
	differ  [][]string // of each place: names of what it has otherwise than the others
}

// kindKey is what places must agree on.
type kindKey struct {
	kind   store.Kind
	size   int64
	target string
}

// merge makes one tree of sorted lists. nil lists are of places that have none.
// prefer is the place to believe, plus one; 0: none.
func merge(lists []*list, prefer int) *merged {
	m := &merged{lacking: make([]int, len(lists)), differ: make([][]string, len(lists))}
	at := make([]int, len(lists))
	dirs := make(map[string]bool) // directories of the tree
	have := make([]int, 0, len(lists))
	for {
		name, found := "", false
		for i, l := range lists {
			if l != nil && at[i] < len(l.entries) {
				if n := l.entries[at[i]].Name; !found || n < name {
					name, found = n, true
				}
			}
		}
		if !found {
			return m
		}
		have = have[:0]
		for i, l := range lists {
			if l != nil && at[i] < len(l.entries) && l.entries[at[i]].Name == name {
				have = append(have, i)
			}
		}
		parent, _ := cutName(name)
		if name == "" || dirs[parent] {
			m.entry(name, lists, at, have, prefer)
			if n := len(m.nodes); n > 0 && m.nodes[n-1].e.Name == name && m.nodes[n-1].e.Kind == store.Dir {
				dirs[name] = true
			}
		} // else its directory has failed, or is none, and was told of
		for _, i := range have {
			at[i]++
		}
	}
}

// entry adds one entry, which the places in have list.
func (m *merged) entry(name string, lists []*list, at, have []int, prefer int) {
	of := func(i int) *store.Entry { return &lists[i].entries[at[i]] }
	key := func(i int) kindKey { e := of(i); return kindKey{e.Kind, e.Size, e.Target} }
	votes := make(map[kindKey]int, 1)
	readable := 0
	for _, i := range have {
		if k := key(i); k.kind != 0 {
			votes[k]++
			readable++
		}
	}
	if readable == 0 {
		m.failed = append(m.failed, failure{name, "it cannot be read there"})
		return
	}
	want, ok := kindKey{}, false
	if p := prefer - 1; p >= 0 && slices.Contains(have, p) && key(p).kind != 0 {
		want, ok = key(p), true
	} else {
		want, ok = most(votes)
	}
	if !ok {
		m.failed = append(m.failed, failure{name, "the replicas differ: " + differing(have, key)})
		return
	}
	var n *node
	whole := false
	for _, i := range have {
		k := key(i)
		if k.kind == 0 {
			continue
		}
		if k != want {
			m.differ[i] = append(m.differ[i], name)
			continue
		}
		whole = whole || !lists[i].partly[name]
		e := of(i)
		if n == nil {
			n = &node{e: *e}
			n.e.Dev, n.e.Ino = 0, 0
		}
		if want.kind == store.File {
			n.at = append(n.at, holding{int32(i), e.ModTime, e.Ino})
		}
	}
	m.nodes = append(m.nodes, n)
	if !whole {
		m.failed = append(m.failed, failure{name, "it cannot be read to its end there"})
	}
	if want.kind != store.File {
		return
	}
	m.files++
	for i, l := range lists {
		if l != nil && !slices.Contains(have, i) {
			m.lacking[i]++
		}
	}
}

// most is what more places say than say anything else; one of several is none.
func most(votes map[kindKey]int) (best kindKey, ok bool) {
	first, next, all := 0, 0, 0
	for k, n := range votes {
		all += n
		switch {
		case n > first:
			best, first, next = k, n, first
		case n > next:
			next = n
		}
	}
	return best, first > next && (first > 1 || all == 1)
}

// differing says what places have, in words.
func differing(have []int, key func(int) kindKey) string {
	var words []string
	for _, i := range have {
		k := key(i)
		text := "what cannot be read"
		switch k.kind {
		case store.File:
			text = fmt.Sprintf("%d bytes", k.size)
		case store.Dir:
			text = "a directory"
		case store.Symlink:
			text = fmt.Sprintf("a link to %.80q", k.target)
		case store.Special:
			text = "a device, pipe or socket"
		}
		if !slices.Contains(words, text) {
			words = append(words, text)
		}
	}
	return strings.Join(words, ", ")
}

// cutName takes a name apart.
func cutName(name string) (parent, base string) {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}

// largeFile is the size in bytes from which files are listed before smaller ones, so
// that none of them is the only one left at the end. Ours.
const largeFile = 8 << 20

// arrange puts the entries in the order in which they are given out: what holds
// others, then large files, those that take longest first, then the rest.
func (m *merged) arrange() {
	rank := func(n *node) int {
		switch {
		case n.e.Kind == store.Dir:
			return 0
		case n.e.Kind == store.File && n.e.Size >= largeFile:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(m.nodes, func(a, b *node) int {
		ra, rb := rank(a), rank(b)
		if ra != 1 || rb != 1 {
			return cmp.Compare(ra, rb)
		}
		return cmp.Compare(b.e.Size/int64(len(b.at)), a.e.Size/int64(len(a.at)))
	})
}

// places is which places have a file.
func (n *node) places() (set uint64) {
	for _, h := range n.at {
		set |= 1 << h.place
	}
	return set
}

// entry is a file as one place has it.
func (n *node) entry(place int) store.Entry {
	e := n.e
	for _, h := range n.at {
		if int(h.place) == place {
			e.ModTime, e.Ino = h.modTime, h.ino
		}
	}
	return e
}

// each calls fn with the members of a set.
func each(set uint64, fn func(i int)) {
	for ; set != 0; set &= set - 1 {
		fn(bits.TrailingZeros64(set))
	}
}
