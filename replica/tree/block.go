package tree

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gomover/gomover/integrity"
)

// Times and sizes of our choice.
const (
	mostVotes   = 128                    // sums that a place is asked for: who is behind is asked only where the others are no majority
	quietAfter  = 2 * time.Second        // a place that gives nothing is not counted on
	hedgeAfter  = 500 * time.Millisecond // beyond twice what was expected another place is asked, too
	hedgeLeast  = 16 << 20               // bytes that may always be asked for twice
	hedgeShare  = 100                    // or one of so many
	disputeTime = 30 * time.Second       // for so long after it fell a place is waited for when others differ
	recallEvery = 100 * time.Millisecond // it is looked whether it is back
	mostDamaged = 3                      // times that bytes of a block come with another sum than theirs
)

// said is what came of a request.
type said struct {
	place   int
	sum     integrity.Sum
	data    []byte // nil: only the sum was asked for
	size    int64  // of what was asked for
	damaged bool   // the bytes do not have that sum
	err     error
	session context.Context // of the place when it was asked
}

// ballot is a block on its way.
type ballot struct {
	t       *Tree
	n       *node
	off     int64
	size    int64
	late    uint64          // places that are asked for the bytes last
	ctx     context.Context // of the bytes
	cancel  context.CancelFunc
	news    chan said // what came; nobody sends when over is closed
	over    chan struct{}
	final   integrity.Sum // set before over is closed, if found
	found   bool
	getting sync.WaitGroup // requests for bytes

	// The reader's.
	voters   uint64 // who has the file
	waiting  uint64 // of these, who will speak
	rest     uint64 // and who could, but was not asked
	votes    map[integrity.Sum]uint64
	from     uint64 // places that bytes come from now
	damaged  int
	recalled time.Time // when it was first looked who is away, since the others differ
	last     error     // why a place does not give the file
}

// block gives the sum of a block about which the places agree, and its bytes unless
// data is nil.
func (t *Tree) block(n *node, off, size int64, data []byte) (integrity.Sum, error) {
	return t.blockBut(0, n, off, size, data)
}

// blockBut is block; the bytes are asked of some places last.
func (t *Tree) blockBut(late uint64, n *node, off, size int64, data []byte) (integrity.Sum, error) {
	b := &ballot{t: t, n: n, off: off, size: size, late: late, news: make(chan said), over: make(chan struct{}), votes: make(map[integrity.Sum]uint64, 1)}
	b.ctx, b.cancel = context.WithCancel(t.ctx)
	err := b.run(data)
	b.cancel()
	close(b.over)
	b.getting.Wait() // they may write to data
	switch {
	case err == nil:
		return b.final, nil
	case t.ctx.Err() != nil:
		return b.final, t.Err()
	}
	return b.final, t.cfg.Fail(err)
}

// run finds the block.
func (b *ballot) run(data []byte) error {
	b.t.mu.Lock()
	b.voters = b.n.places() &^ b.n.left
	b.last = b.t.gone[b.n]
	for i, p := range b.t.places {
		if p.out != "" {
			b.voters &^= 1 << i
		}
	}
	b.t.mu.Unlock()
	first := -1
	if data != nil {
		i, err := b.get(data, b.voters)
		if err != nil {
			return b.why(err)
		}
		first = i
	}
	b.poll(first)
	var have []said // bytes that came
	hedge := time.NewTimer(b.patience(first))
	defer hedge.Stop()
	for {
		if sum, ok := b.decide(); ok {
			b.judge(sum)
			for _, x := range have {
				if x.sum == sum {
					return b.take(&x, data)
				}
			}
			if data == nil {
				b.final, b.found = sum, true
				return nil
			}
		} else if b.waiting == 0 && b.rest != 0 {
			b.askRest()
			continue
		} else if b.stuck() && b.from == 0 {
			if !b.recall() {
				return b.differ()
			}
			continue
		}
		switch {
		case data == nil && b.waiting == 0:
			if err := b.t.await(b.ctx, b.voters); err != nil {
				return b.why(err)
			}
			b.poll(-1)
			continue
		case data != nil && b.from == 0 && (len(have) == 0 || b.needs(have)):
			// Nobody's bytes are right, or on their way.
			have = nil
			i, err := b.get(data, b.voters)
			if err != nil {
				return b.why(err)
			}
			hedge.Reset(b.patience(i))
		}
		select {
		case x := <-b.news:
			if b.hear(&x) && x.data != nil {
				have = append(have, x)
			}
		case <-hedge.C:
			b.again()
			hedge.Reset(2 * hedgeAfter)
		case <-b.ctx.Done():
			return context.Cause(b.ctx)
		}
	}
}

// needs tells whether none of the bytes that came can be right.
func (b *ballot) needs(have []said) bool {
	sum, ok := b.decide()
	if !ok {
		return false
	}
	for _, x := range have {
		if x.sum == sum {
			return false
		}
	}
	return true
}

// take gives out bytes that are right.
func (b *ballot) take(x *said, data []byte) error {
	if &x.data[0] != &data[0] {
		// The place that was asked first must not write any more: it is late.
		b.final, b.found = x.sum, true
		b.cancel()
		b.stop()
		copy(data, x.data)
	}
	b.final, b.found = x.sum, true
	b.t.mu.Lock()
	defer b.t.mu.Unlock()
	b.t.places[x.place].bytes += b.size
	b.t.fetched += b.size
	return nil
}

// stop waits until nobody writes into the bytes any more.
func (b *ballot) stop() {
	done := make(chan struct{})
	go func() {
		b.getting.Wait()
		close(done)
	}()
	for {
		select {
		case <-b.news: // it counts no more
		case <-done:
			return
		}
	}
}

// get asks a place of a set for the bytes. It waits for one that answers.
func (b *ballot) get(data []byte, among uint64) (int, error) {
	first := among &^ b.late
	if first == 0 {
		first = among
	}
	i, err := b.t.pick(b.ctx, first, b.size)
	if b.late != 0 && (errors.Is(err, errNobody) || errors.Is(err, errAway)) {
		i, err = b.t.pick(b.ctx, among, b.size)
	}
	if err != nil {
		return i, err
	}
	b.fetch(i, data)
	return i, nil
}

// fetch has a place send the bytes, for which it was chosen.
func (b *ballot) fetch(i int, data []byte) {
	t, p := b.t, b.t.places[i]
	b.from |= 1 << i
	b.waiting |= 1 << i
	b.rest &^= 1 << i
	t.mu.Lock()
	session := p.ctx
	t.mu.Unlock()
	b.getting.Add(1)
	go func() {
		defer b.getting.Done()
		ctx, cancel := context.WithCancelCause(b.ctx)
		unhook := context.AfterFunc(session, func() { cancel(context.Cause(session)) })
		left := b.size
		sum, err := p.src.Read(ctx, b.n.entry(i), b.off, data, func(n int) {
			t.mu.Lock()
			defer t.mu.Unlock()
			left -= int64(n)
			p.came(int64(n), int64(n), time.Now())
		})
		unhook()
		cancel(nil)
		t.mu.Lock()
		if err == nil {
			p.came(0, left+requestCost, time.Now())
		} else {
			p.drop(left+requestCost, time.Now())
		}
		t.next()
		t.mu.Unlock()
		x := said{place: i, sum: sum, data: data, size: b.size, err: err, session: session}
		if err == nil {
			x.damaged = integrity.Block(data, b.off, b.n.e.Size) != sum
		}
		select {
		case b.news <- x:
		case <-b.over:
		}
	}()
}

// poll asks those that have the file for the sum, all but one.
func (b *ballot) poll(but int) {
	t := b.t
	t.mu.Lock()
	ask, rest := t.jury(b.voters, but)
	t.mu.Unlock()
	b.ask(ask)
	b.rest = rest
}

// askRest asks those who were not asked so far.
func (b *ballot) askRest() {
	t, ask := b.t, uint64(0)
	t.mu.Lock()
	each(b.rest&b.voters, func(i int) {
		if t.places[i].up {
			ask |= 1 << i
		}
	})
	t.mu.Unlock()
	b.rest = 0
	b.ask(ask)
}

// jury is whom of a set to ask for a sum, all but one, which gives the bytes; -1: nobody
// does. Who is down is not asked. Neither is the rest, who are behind: the others could
// outvote them if they say the same. The caller holds mu.
func (t *Tree) jury(voters uint64, but int) (ask, rest uint64) {
	if bits.OnesCount64(voters) < 2 && but >= 0 {
		return 0, 0
	}
	votes := 0
	if but >= 0 {
		votes++
	}
	each(voters, func(i int) {
		switch p := t.places[i]; {
		case i == but || !p.up:
		case p.voting >= mostVotes && i != t.cfg.Prefer-1:
			rest |= 1 << i
		default:
			ask |= 1 << i
			votes++
		}
	})
	for ; rest != 0 && votes <= bits.OnesCount64(rest); votes++ {
		least := -1
		each(rest, func(i int) {
			if least < 0 || t.places[i].voting < t.places[least].voting {
				least = i
			}
		})
		ask, rest = ask|1<<least, rest&^(1<<least)
	}
	return ask, rest
}

// summon notes that places are asked for a sum, and gives what they are asked within.
// The caller holds mu.
func (t *Tree) summon(ask uint64) []context.Context {
	sessions := make([]context.Context, len(t.places))
	each(ask, func(i int) {
		p := t.places[i]
		if p.voting++; p.voting == 1 {
			p.spoke = time.Now()
		}
		sessions[i] = p.ctx
	})
	return sessions
}

// ask asks places for the sum.
func (b *ballot) ask(ask uint64) {
	t := b.t
	t.mu.Lock()
	sessions := t.summon(ask)
	t.mu.Unlock()
	b.waiting |= ask
	b.rest &^= ask
	each(ask, func(i int) {
		p, session := t.places[i], sessions[i]
		t.wg.Go(func() {
			sum, err := p.src.Sum(session, b.n.entry(i), b.off, b.size)
			t.mu.Lock()
			p.voting--
			if err == nil {
				p.spoken(time.Now())
			}
			t.mu.Unlock()
			select {
			case b.news <- said{place: i, sum: sum, err: err, session: session}:
			case <-b.over:
				// All was decided without it; what it has is told all the same.
				if err == nil && b.found && sum != b.final {
					t.name(i, b.n, differsAt(b.off))
				}
			}
		})
	})
}

func differsAt(off int64) string {
	return fmt.Sprintf("same size, but what it has at %d differs from what the others have", off)
}

// hear takes what came of a request, and tells whether it counts.
func (b *ballot) hear(x *said) bool {
	bit := uint64(1) << x.place
	if x.data != nil {
		b.from &^= bit
	}
	b.waiting &^= bit
	var file *FileError
	switch {
	case x.err != nil && errors.As(x.err, &file):
		b.voters &^= bit
		b.last = file
		b.t.mu.Lock()
		b.t.gone[b.n] = file
		b.t.mu.Unlock()
		b.t.name(x.place, b.n, file.Text)
		return false
	case x.err != nil:
		b.t.fell(x.place, x.session, x.err)
		b.t.mu.Lock()
		if b.t.places[x.place].out != "" {
			b.voters &^= bit
		}
		b.t.mu.Unlock()
		return false
	case x.damaged:
		if b.damaged++; b.damaged >= mostDamaged {
			b.voters &^= bit
			b.t.name(x.place, b.n, "its bytes come damaged")
		}
		return false
	}
	for sum, who := range b.votes { // who speaks twice says the latter
		if b.votes[sum] = who &^ bit; b.votes[sum] == 0 {
			delete(b.votes, sum)
		}
	}
	if b.voters&bit == 0 {
		return false
	}
	b.votes[x.sum] |= bit
	return true
}

// decide gives the sum that is taken to be right.
func (b *ballot) decide() (sum integrity.Sum, ok bool) {
	best, next := 0, 0
	for s, who := range b.votes {
		if p := b.t.cfg.Prefer - 1; p >= 0 && who&(1<<p) != 0 {
			return s, true
		}
		switch n := bits.OnesCount64(who); {
		case n > best:
			sum, best, next = s, n, best
		case n > next:
			next = n
		}
	}
	waiting := bits.OnesCount64(b.waiting | b.rest)
	if p := b.t.cfg.Prefer - 1; p >= 0 && b.waiting&(1<<p) != 0 {
		return sum, false
	}
	if len(b.votes) == 1 {
		return sum, best > waiting
	}
	return sum, best > 1 && best > next+waiting
}

// stuck tells that all have spoken, and nothing can be found.
func (b *ballot) stuck() bool { return b.waiting == 0 && len(b.votes) > 1 }

// recall waits, when those who have spoken differ, for one that is away and asks it; false
// when there is none, it has been away for long, or nobody wants the block any more.
func (b *ballot) recall() bool {
	t := b.t
	if b.recalled.IsZero() {
		b.recalled = time.Now()
	}
	for time.Since(b.recalled) < disputeTime {
		t.mu.Lock()
		ask, wait := uint64(0), time.Duration(0)
		said := uint64(0)
		for _, who := range b.votes {
			said |= who
		}
		each(b.voters&^said, func(i int) {
			switch p := t.places[i]; {
			case p.up:
				ask |= 1 << i
			case p.out == "":
				wait = max(wait, disputeTime-time.Since(p.fell))
			}
		})
		t.mu.Unlock()
		if ask != 0 {
			b.ask(ask)
			return true
		}
		if wait <= 0 {
			return false
		}
		select {
		case <-time.After(min(wait, recallEvery)):
		case <-b.ctx.Done():
			return false
		}
	}
	return false
}

// judge names those who say something else than what was found.
func (b *ballot) judge(sum integrity.Sum) {
	for s, who := range b.votes {
		if s == sum {
			continue
		}
		each(who, func(i int) {
			b.voters &^= 1 << i
			b.t.name(i, b.n, differsAt(b.off))
		})
		delete(b.votes, s)
	}
}

// differ is the error when nothing tells who is right.
func (b *ballot) differ() error {
	var sides []string
	said := uint64(0)
	for _, who := range b.votes {
		var names []string
		each(who, func(i int) { names = append(names, b.t.places[i].name) })
		sides = append(sides, strings.Join(names, " and "))
		said |= who
	}
	slices.Sort(sides)
	text := strings.Join(sides, " against ")
	each(b.voters&^said, func(i int) { text += ", and " + b.t.places[i].name + " does not answer" })
	return fmt.Errorf("%w, at %d: %s", ErrDiffer, b.off, text)
}

// why is the error when nobody gives the block.
func (b *ballot) why(err error) error {
	if b.last != nil && errors.Is(err, errNobody) {
		return b.last
	}
	return err
}

// patience is how long a place may take for the bytes before another one is asked, too.
func (b *ballot) patience(i int) time.Duration {
	if i < 0 {
		return time.Hour // there is nothing to be asked for again
	}
	return b.t.patience(i)
}

// patience is how long a place may take for what it is asked for now before another one
// is asked, too.
func (t *Tree) patience(i int) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, now := t.places[i], time.Now()
	took := time.Duration(float64(p.queued) / p.expect(now, t.bestRate()) * float64(time.Second))
	return 2*(took+p.latency) + hedgeAfter
}

// sooner is who would have n bytes here before those who were asked for them, if that
// is worth it; -1: nobody. The caller holds mu.
func (t *Tree) sooner(from, among uint64, n int64) int {
	if t.twice+n > max(hedgeLeast, t.fetched/hedgeShare) {
		return -1
	}
	now, best, chosen, first := time.Now(), t.bestRate(), -1, 0.0
	late := 0.0
	each(from, func(i int) {
		p := t.places[i]
		if late = p.finish(0, now, best); now.Sub(p.heard) > max(quietAfter, 4*p.latency) {
			late = math.Inf(1)
		}
	})
	each(among&^from&t.active(), func(i int) {
		if f := t.places[i].finish(n, now, best) + t.places[i].latency.Seconds(); chosen < 0 || f < first {
			chosen, first = i, f
		}
	})
	if first >= late {
		return -1
	}
	return chosen
}

// again asks one more place for the bytes, if it would be done soon and this is worth
// it.
func (b *ballot) again() {
	t := b.t
	if bits.OnesCount64(b.from) != 1 {
		return
	}
	t.mu.Lock()
	chosen := t.sooner(b.from, b.voters, b.size)
	if chosen >= 0 {
		t.twice += b.size
		t.places[chosen].ask(b.size, time.Now())
	}
	t.mu.Unlock()
	if chosen >= 0 {
		if bits.OnesCount64(b.voters) > 1 {
			b.ask(b.from) // what comes late need not decide late
		}
		b.fetch(chosen, make([]byte, b.size))
	}
}
