package tree

import (
	"context"
	"fmt"
	"math/bits"
	"sync"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/store"
)

// Bounds of what is asked of a place at once. Ours: a path is not idle for long after
// one request, and none of them is long under way.
const (
	batchFiles = 256
	batchFile  = 64 << 10  // bytes of one file; longer ones are asked for by themselves
	batchBytes = 256 << 10 // of all files
	batchNames = 16 << 10  // bytes of all names
)

// batch is several small files that the same places have. One of them gives the bytes,
// all others the sums. What they all say the same of is right; any other file is read
// by itself, with all care.
type batch struct {
	t      *Tree
	nodes  []*node
	soon   []*future // of each
	at     []int     // of each: where its bytes begin
	data   []byte
	voters uint64

	mu      sync.Mutex // guards what follows
	waiting uint64     // who was asked and has not answered
	rest    int        // how many more could have been asked
	answers [][]Answer // of each place; nil: none
	from    int        // the place of the bytes, when they have come; -1 before
	sound   []bool     // of each: its bytes have the sum that came with them
	states  []state    // of each
	open    int        // files that are pending
}

// state is how far a file of a batch is.
type state uint8

const (
	pending state = iota
	right         // its bytes were given out
	apart         // it is read by itself
)

// Soon begins to read files that will be opened next, each once.
func (t *Tree) Soon(names []string) {
	var b *batch
	size, length := 0, 0
	ask := func() {
		if b != nil {
			b.begin(size)
		}
		b = nil
	}
	for _, name := range names {
		n := t.files[name]
		if n == nil || n.e.Size == 0 {
			continue
		}
		f := &future{done: make(chan struct{})}
		t.mu.Lock()
		n.soon = f
		voters := n.places() &^ n.left
		t.mu.Unlock()
		if n.e.Size > batchFile || len(name) > batchNames {
			t.alone(n, f, 0)
			continue
		}
		if b != nil && (voters != b.voters || len(b.nodes) == batchFiles || size+int(n.e.Size) > batchBytes || length+len(name) > batchNames) {
			ask()
		}
		if b == nil {
			b, size, length = &batch{t: t, voters: voters, from: -1, answers: make([][]Answer, len(t.places))}, 0, 0
		}
		b.nodes, b.soon, b.at = append(b.nodes, n), append(b.soon, f), append(b.at, size)
		size, length = size+int(n.e.Size), length+len(name)
	}
	ask()
}

// alone reads a file by itself. late are places that are to be asked last.
func (t *Tree) alone(n *node, f *future, late uint64) {
	t.wg.Go(func() {
		defer close(f.done)
		select {
		case t.slots <- struct{}{}:
		case <-t.ctx.Done():
			f.err = t.Err()
			return
		}
		defer func() { <-t.slots }()
		f.data = make([]byte, n.e.Size)
		f.sum, f.err = t.blockBut(late, n, 0, n.e.Size, f.data)
	})
}

// begin asks for the files, which have size bytes together.
func (b *batch) begin(size int) {
	b.data, b.open = make([]byte, size), len(b.nodes)
	b.sound, b.states = make([]bool, len(b.nodes)), make([]state, len(b.nodes))
	b.t.wg.Go(b.run)
}

// entries are the files as a place has them.
func (b *batch) entries(place int) []store.Entry {
	l := make([]store.Entry, len(b.nodes))
	for i, n := range b.nodes {
		l[i] = n.entry(place)
	}
	return l
}

// run asks one place for the bytes, and all others for the sums.
func (b *batch) run() {
	t, n := b.t, int64(len(b.data))
	from, err := t.pick(t.ctx, b.voters, n)
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.giveUp(0) // who reads one of them hears why
		return
	}
	t.mu.Lock()
	session := t.places[from].ctx
	ask, rest := t.jury(b.voters, from)
	sessions := t.summon(ask)
	t.mu.Unlock()
	b.mu.Lock()
	b.waiting, b.rest = ask|1<<from, bits.OnesCount64(rest)
	b.mu.Unlock()
	each(ask, func(i int) { t.wg.Go(func() { b.vote(sessions[i], i) }) })
	done := make(chan struct{})
	t.wg.Go(func() {
		defer close(done)
		b.fetch(session, from)
	})
	patience := t.patience(from)
	for {
		late := time.NewTimer(patience)
		select {
		case <-done:
			late.Stop()
			return
		case <-late.C:
		}
		if b.late(from) {
			return
		}
		patience = 2 * hedgeAfter
	}
}

// vote asks a place for the sums.
func (b *batch) vote(session context.Context, i int) {
	t, p := b.t, b.t.places[i]
	l, err := p.src.Several(session, b.entries(i), nil, nil)
	t.mu.Lock()
	p.voting--
	if err == nil {
		p.spoken(time.Now())
	}
	t.mu.Unlock()
	b.hear(session, i, l, err, false)
}

// fetch asks a place for the bytes.
func (b *batch) fetch(session context.Context, i int) {
	t, p := b.t, b.t.places[i]
	left := int64(len(b.data))
	l, err := p.src.Several(session, b.entries(i), b.data, func(n int) {
		t.mu.Lock()
		defer t.mu.Unlock()
		left -= int64(n)
		p.came(int64(n), int64(n), time.Now())
	})
	t.mu.Lock()
	if err == nil {
		p.came(0, left+requestCost, time.Now())
	} else {
		p.drop(left+requestCost, time.Now())
	}
	t.next()
	t.mu.Unlock()
	if err == nil && len(l) == len(b.nodes) {
		for k := range b.nodes {
			b.sound[k] = l[k].Err == nil && integrity.Whole(b.part(k)) == l[k].Sum
		}
	}
	b.hear(session, i, l, err, true)
}

// part is the bytes of a file.
func (b *batch) part(k int) []byte {
	return b.data[b.at[k]:][:b.nodes[k].e.Size:b.nodes[k].e.Size]
}

// hear takes the answer of a place, which with bytes is the one that was asked for them.
func (b *batch) hear(session context.Context, i int, l []Answer, err error, bytes bool) {
	if err == nil && len(l) != len(b.nodes) {
		err = fmt.Errorf("%d answers to %d questions", len(l), len(b.nodes))
	}
	if err != nil {
		b.t.fell(i, session, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting &^= 1 << i
	switch {
	case err == nil && bytes:
		b.from, b.answers[i] = i, l
	case err == nil:
		b.answers[i] = l
	case bytes:
		b.giveUp(0)
	}
	if b.from < 0 {
		return // there is nothing to be compared yet
	}
	for k := range b.nodes {
		b.decide(k, i)
	}
}

// decide looks at what is known of a file when a place has answered, or does not. The
// caller holds mu.
func (b *batch) decide(k, last int) {
	t, n, ours := b.t, b.nodes[k], &b.answers[b.from][k]
	if b.states[k] == right {
		// All was decided without it; what it has is told all the same.
		if l := b.answers[last]; l != nil && l[k].Err == nil && l[k].Sum != ours.Sum {
			t.name(last, n, differsAt(0))
		}
		return
	}
	if !b.sound[k] {
		b.retry(k, 0)
		return
	}
	same := 0
	for _, l := range b.answers {
		switch {
		case l == nil:
		case l[k].Err != nil || l[k].Sum != ours.Sum:
			b.retry(k, 0)
			return
		default:
			same++
		}
	}
	preferred := t.cfg.Prefer > 0 && b.waiting&(1<<(t.cfg.Prefer-1)) != 0
	switch {
	case b.states[k] != pending || preferred:
		return
	case same > bits.OnesCount64(b.waiting)+b.rest:
	case b.waiting == 0: // those may decide it who were not asked
		b.retry(k, 0)
		return
	default:
		return
	}
	b.states[k] = right
	b.open--
	t.mu.Lock()
	t.places[b.from].bytes += n.e.Size
	t.fetched += n.e.Size
	t.mu.Unlock()
	f := b.soon[k]
	f.data, f.sum = b.part(k), ours.Sum
	close(f.done)
}

// retry has a file read by itself about which nothing is decided. The caller holds mu.
func (b *batch) retry(k int, late uint64) {
	if b.states[k] == pending {
		b.states[k] = apart
		b.open--
		b.t.alone(b.nodes[k], b.soon[k], late)
	}
}

// giveUp has all files read by themselves about which nothing is decided. The caller
// holds mu.
func (b *batch) giveUp(late uint64) {
	for k := range b.nodes {
		b.retry(k, late)
	}
}

// late gives up a place that takes too long, if others are sooner and this is worth it,
// and tells whether it did.
func (b *batch) late(from int) bool {
	t := b.t
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.from >= 0 || b.open == 0 {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sooner(1<<from, b.voters, int64(len(b.data))) < 0 {
		return false
	}
	t.twice += int64(len(b.data))
	b.giveUp(1 << from)
	return true
}
