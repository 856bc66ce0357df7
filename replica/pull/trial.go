package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/internal/rangeset"
	"github.com/gomover/gomover/replica"
)

// Summer is a source that can tell the sums of blocks that it is not asked for.
type Summer interface {
	Source
	// Sums gives the sums of count blocks from number first on, as integrity.Block
	// does; count is at most MaxSums. The source has been opened.
	Sums(ctx context.Context, block, first int64, count int) ([]integrity.Sum, error)
}

// MaxSums is how many sums a Summer is asked for at once.
const MaxSums = 256

// Attester is a source that says with what it gives which sum each block has.
type Attester interface {
	Source
	// Attest gives a pipe for whole blocks of block bytes, of which Next gives
	// Attested readers.
	Attest(ctx context.Context, block int64) Pipe
}

// Attested gives bytes and, behind each block, its sum.
type Attested interface {
	io.Reader
	// Sum is that of the block at an offset, when all of it was read.
	Sum(offset int64) (integrity.Sum, bool)
}

// Times and sizes of our choice.
const (
	sumsAtOnce  = 64 << 20         // bytes of the blocks whose sums are asked for at once
	sumsAhead   = 2                // requests for sums under way to each voter
	disputeTime = 30 * time.Second // for voters that are away, when the others differ
	lookAt      = 256              // looked at in a tick: voters may differ about every block
	mostAsking  = 4                // disputes for which those who can give bytes only are asked at once
	// Between two tries to hear a voter; twice as long each time.
	firstPause   = time.Second
	longestPause = 15 * time.Second
)

// errNoVoter means that nobody is left who tells sums of blocks.
var errNoVoter = fmt.Errorf("nobody is left who can tell which blocks are right: %w", replica.ErrNoReplica)

// trial is what is known of the blocks of an object when nothing but its sources
// can tell what they must be. Blocks are taken as they come and compared when what
// the sources say suffices; those that turn out wrong are fetched again.
type trial struct {
	jury     *replica.Jury
	place    []int       // of each voter
	voter    map[int]int // of each place that is one
	cursor   []int64     // up to where each voter was asked
	came     []arrival   // of each block that is here
	doubt    rangeset.Set
	disputes map[int64]*dispute
	asking   int          // disputes that are
	compared map[int]bool // voters whose whole was compared with the hash that is known
}

// arrival is a block that is here.
type arrival struct {
	sum   integrity.Sum
	place int // that it came from; before: an earlier run
}

// before is the place of blocks that an earlier run has left.
const before = -1

// dispute is a block about which voters differ.
type dispute struct {
	since     time.Time
	asked     bool       // those who can give bytes only were asked
	asking    bool       // and have not answered
	witnesses [][32]byte // what they have
}

func newTrial(blocks int64, voters []int) *trial {
	t := &trial{jury: replica.NewJury(blocks, len(voters)), place: voters, voter: make(map[int]int), cursor: make([]int64, len(voters)), came: make([]arrival, blocks), disputes: make(map[int64]*dispute), compared: make(map[int]bool)}
	for v, i := range voters {
		t.voter[i] = v
	}
	return t
}

// wrong tells whether a block cannot be right, or that nothing is known of it yet.
func (t *trial) wrong(b int64, sum integrity.Sum) (wrong, unknown bool) {
	right, ok := t.jury.Sum(b)
	return ok && right != sum, !ok
}

// root is the hash of an object of which all blocks are here.
func (t *trial) root(size, block int64) (integrity.Sum, bool) {
	tree := integrity.NewTree(size, block)
	for b := range t.came {
		tree.Add(int64(b), t.came[b].sum)
	}
	return tree.Root()
}

// pending tells whether blocks that are here are not known to be right.
func (c *conductor) pending() bool {
	t := c.o.trial
	return t != nil && (t.doubt.Total() > 0 || len(t.disputes) > 0)
}

// attend notes that a place is there, or is not any more. The caller holds mu, as
// for all that follows.
func (c *conductor) attend(place int, here bool) {
	t := c.o.trial
	if t == nil {
		return
	}
	if v, ok := t.voter[place]; ok {
		t.jury.Attend(v, here)
		if c.p.job.Prefer-1 == place {
			t.jury.Believe(v)
		}
		c.reconsider()
	}
}

// say takes down what a place says of a block.
func (c *conductor) say(place int, b int64, sum integrity.Sum) {
	t := c.o.trial
	v, ok := t.voter[place]
	if !ok {
		return
	}
	t.jury.Attend(v, true) // who speaks is there
	if t.jury.Say(v, b, sum) {
		if t.disputes[b] == nil {
			t.disputes[b] = &dispute{since: time.Now()}
		}
		if c.o.done.Contains(b, b+1) {
			t.doubt.Add(b, b+1)
		}
	}
	if d := t.disputes[b]; d != nil {
		c.decide(b, d)
	}
	if t.jury.Complete(v) && !t.compared[v] {
		t.compared[v] = true
		c.whole(v)
	}
	c.consider(b)
}

// whole compares all that a voter has said with the hash that is known.
func (c *conductor) whole(v int) {
	want := c.p.job.Check.Root
	if want == "" {
		return
	}
	t := c.o.trial
	tree := integrity.NewTree(c.o.e.Size, c.o.block)
	for b := range t.came {
		sum, _ := t.jury.Said(v, int64(b))
		tree.Add(int64(b), sum)
	}
	root, _ := tree.Root()
	if root.String() == want {
		t.jury.Believe(v)
		c.settle(len(t.disputes))
		c.reconsider()
		return
	}
	c.dismiss(v, fmt.Sprintf("same size, but its hash is %.12s..., it should be %.12s...", root, want))
}

// dismiss takes a place out whose content is not the object.
func (c *conductor) dismiss(v int, why string) {
	place := c.o.trial.place[v]
	for id, f := range c.feeds {
		if f.place == place {
			c.sched.Gone(c.clock(), replica.SourceID(id), why)
			c.shut(f)
		}
	}
	c.p.leave(place, why)
	c.unseat(place)
}

// unseat makes what a place says of blocks count no more, since it is out.
func (c *conductor) unseat(place int) {
	t := c.o.trial
	if t == nil {
		return
	}
	if v, ok := t.voter[place]; ok && !t.jury.Dismissed(v) {
		t.jury.Dismiss(v)
		c.settle(len(t.disputes))
		c.reconsider()
	}
}

// consider looks whether a block that is here is right.
func (c *conductor) consider(b int64) {
	t := c.o.trial
	if !t.doubt.Contains(b, b+1) {
		return
	}
	wrong, unknown := t.wrong(b, t.came[b].sum)
	switch {
	case unknown:
		return
	case wrong:
		c.revoke(b)
	}
	t.doubt.Remove(b, b+1)
	c.moved = time.Now()
}

// reconsider looks at all blocks of which nothing was known.
func (c *conductor) reconsider() {
	var all []rangeset.Extent
	for e := range c.o.trial.doubt.All() {
		all = append(all, e)
	}
	for _, e := range all {
		for b := e.Lo; b < e.Hi; b++ {
			c.consider(b)
		}
	}
}

// revoke gives back a block that is here and wrong.
func (c *conductor) revoke(b int64) {
	t, one := c.o.trial, rangeset.Extent{Lo: b, Hi: b + 1}
	from := t.came[b].place
	id := replica.SourceID(-1)
	for i, f := range c.feeds {
		if f.place == from && from != before {
			id = replica.SourceID(i)
		}
	}
	c.o.forget(b)
	out := id >= 0 && c.sched.Plan(c.clock()).Shares[id].State == replica.Out
	c.sched.Revoke(c.clock(), id, one)
	if id < 0 || out {
		return
	}
	c.p.note("replica.wrong", fmt.Sprintf("%s sent wrong bytes at %d; they are fetched again", c.p.job.Places[from].Name, b*c.o.block))
	if sh := c.sched.Plan(c.clock()).Shares[id]; sh.State == replica.Out {
		c.shut(c.feeds[id])
		c.p.leave(from, sh.Why)
		c.unseat(from)
	}
}

// settle looks at most disputes, whichever, and sends those away who are outvoted.
// Whoever is, is so by any dispute that can be settled.
func (c *conductor) settle(most int) {
	for b, d := range c.o.trial.disputes {
		if most--; most < 0 || c.decide(b, d) {
			return
		}
	}
}

// decide looks at one dispute. done tells that others were looked at because of it, or
// that all is over.
func (c *conductor) decide(b int64, d *dispute) (done bool) {
	t := c.o.trial
	if d.asking || c.over {
		return c.over
	}
	absent := 0
	if time.Since(d.since) < disputeTime {
		absent = t.jury.Left() - t.jury.Attending()
	}
	losers, open := t.jury.Settle(b, d.witnesses, absent)
	switch {
	case len(losers) > 0:
		delete(t.disputes, b)
		for _, v := range losers {
			// This may settle others, too.
			c.dismiss(v, fmt.Sprintf("same size, but what it has at %d differs from what the others have", b*c.o.block))
		}
		return true
	case !c.differ(b):
		delete(t.disputes, b)
	case !open || !d.asked && t.asking == mostAsking:
	case !d.asked:
		d.asked, d.asking = true, true
		t.asking++
		c.wg.Go(func() { c.witness(b, d) })
	case c.p.job.Check.Root == "":
		c.end(fmt.Errorf("%w: they are of the same size and differ at %d", replica.ErrDisagree, b*c.o.block))
		return true
	}
	return false
}

// differ tells whether voters that are not out differ about a block.
func (c *conductor) differ(b int64) bool {
	t := c.o.trial
	var first [32]byte
	seen := false
	for v := range t.place {
		sum, ok := t.jury.Said(v, b)
		if ok && seen && sum != first {
			return true
		}
		if ok {
			first, seen = sum, true
		}
	}
	return false
}

// witness asks those places that can give bytes only for a block about which
// voters differ. The caller does not hold mu.
func (c *conductor) witness(b int64, d *dispute) {
	ctx, cancel := context.WithTimeout(c.ctx, openTimeout)
	defer cancel()
	var ask []int
	c.mu.Lock()
	for id, f := range c.feeds {
		_, voter := c.o.trial.voter[f.place]
		if state := c.sched.Plan(c.clock()).Shares[id].State; !voter && state != replica.Out {
			ask = append(ask, f.place)
		}
	}
	c.mu.Unlock()
	var sums [][32]byte
	for _, i := range ask {
		data, err := readAll(ctx, c.p.job.Places[i].Source, b*c.o.block, c.o.length(b))
		if err == nil {
			sums = append(sums, c.o.sum(b, data))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d.witnesses, d.asking = sums, false
	c.o.trial.asking--
	if !c.over {
		c.decide(b, d)
		c.step()
	}
}

// poll has a voter tell the sums that it has not told yet, whether it is used for
// anything else or not, and tries again when that fails. opened tells that the place
// was opened already.
func (c *conductor) poll(ctx context.Context, v int, opened bool) {
	place := c.o.trial.place[v]
	src := c.p.job.Places[place].Source.(Summer)
	for wait := firstPause; ; wait = min(2*wait, longestPause) {
		err := error(nil)
		if !opened {
			err = c.reopen(ctx, src)
		}
		if err == nil {
			if err = c.hear(ctx, src, v); err == nil {
				return
			}
		}
		opened = false
		c.mu.Lock()
		var f interface{ Final() bool }
		switch final := errors.As(err, &f) && f.Final(); {
		case c.over || ctx.Err() != nil:
			c.mu.Unlock()
			return
		case final:
			c.dismiss(v, err.Error())
			c.step()
			c.mu.Unlock()
			return
		}
		c.attend(place, false)
		c.step()
		c.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// reopen opens a place once more, and sees whether it is still the same object.
func (c *conductor) reopen(ctx context.Context, src Source) error {
	f, err := src.Open(ctx)
	if err == nil && f.Size != c.o.e.Size {
		err = sizeError{f.Size, c.o.e.Size}
	}
	return err
}

// sizeError means that a place has something of another size.
type sizeError struct{ has, want int64 }

// Error says so.
func (e sizeError) Error() string { return fmt.Sprintf("size %d, it should be %d", e.has, e.want) }

// Final tells that asking again is of no use.
func (sizeError) Final() bool { return true }

// hear has a voter tell all that it has not told.
func (c *conductor) hear(ctx context.Context, src Summer, v int) error {
	c.mu.Lock()
	c.o.trial.cursor[v] = 0
	c.attend(c.o.trial.place[v], true)
	c.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range sumsAhead {
		wg.Go(func() {
			for {
				first, count := c.unsaid(v)
				if count == 0 {
					return
				}
				sums, err := src.Sums(ctx, c.o.block, first, count)
				if err == nil && len(sums) != count {
					err = errSums
				}
				if err != nil {
					cancel(err)
					return
				}
				c.heard(v, first, sums)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

var errSums = errors.New("it does not tell the sums of its blocks")

// heard takes down what a voter has told.
func (c *conductor) heard(v int, first int64, sums []integrity.Sum) {
	defer c.p.tell()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved = time.Now()
	for i, sum := range sums {
		if c.over {
			return
		}
		c.say(c.o.trial.place[v], first+int64(i), sum)
	}
	c.step()
}

// unsaid is the next run of blocks of which a voter must still speak; none when
// there is none, or when all is over.
func (c *conductor) unsaid(v int) (first int64, count int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.o.trial
	if c.over || t.jury.Dismissed(v) {
		return 0, 0
	}
	most := int(max(1, min(MaxSums, sumsAtOnce/c.o.block)))
	at := t.cursor[v]
	for ; at < int64(len(t.came)) && count < most; at++ {
		if _, ok := t.jury.Said(v, at); !ok {
			if count == 0 {
				first = at
			}
			count++
		} else if count > 0 {
			break
		}
	}
	t.cursor[v] = at
	return first, count
}
