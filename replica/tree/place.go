package tree

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/store"
)

// Source is a place that has a copy of the tree. Any goroutine may call its methods.
//
// Errors: [FileError] is about one file only. Of others, those with a method Final()
// bool that gives true take the place out; after the rest it is opened again.
type Source interface {
	// Open connects, if need be anew, and tells how long an answer takes.
	Open(ctx context.Context) (latency time.Duration, err error)
	// List calls fn with the root and all below it, a directory before what is in it.
	// What cannot be read has the Kind 0.
	List(ctx context.Context, fn func(e store.Entry) error) error
	// Read fills data with bytes of a file, and gives what the place says is their
	// sum, as integrity.Block does. came is told of bytes as they come. The file must
	// be as it was listed.
	Read(ctx context.Context, e store.Entry, off int64, data []byte, came func(n int)) (integrity.Sum, error)
	// Sum gives the sum of n bytes.
	Sum(ctx context.Context, e store.Entry, off, n int64) (integrity.Sum, error)
	// Several fills data with small files, one behind the other, and gives what the
	// place says of each; without data it gives the sums alone. A file that it does not
	// give leaves its part of data as it was. came is told of bytes as they come. There
	// are at most 256 files of at most 64 KiB, together of 256 KiB, with names of
	// together 16 KiB.
	Several(ctx context.Context, files []store.Entry, data []byte, came func(n int)) ([]Answer, error)
}

// Answer is what a place says of one of several files.
type Answer struct {
	Sum integrity.Sum // as integrity.Whole
	Err error         // why it does not give it; nil: it does
}

// FileError is why a place does not give a file that it has listed.
type FileError struct {
	Text    string
	Changed bool // it is not what it was when it was listed
}

// Error is the reason.
func (e *FileError) Error() string { return e.Text }

// Times and sizes of our choice.
const (
	rateSpan     = 250 * time.Millisecond // over which a rate is measured; the last one and all before count alike
	firstRate    = 20e6                   // bytes per second, of a place of which nothing is known
	firstQueue   = 2 << 20                // bytes that are asked of it at once
	queueTime    = 250 * time.Millisecond // of its rate is asked of a place at once, beside two latencies
	lookAgain    = 50 * time.Millisecond  // who waits for a place looks again at least so often
	requestCost  = 16 << 10               // bytes that take as long as a request costs beside its own
	forgetRate   = 10 * time.Second       // an unused place is expected to do twice as much after each
	silentAfter  = 10 * time.Second       // a place that gives nothing of what it was asked for is opened again
	slowSpan     = time.Minute            // for so long less than Config.MinRate takes a place out
	firstPause   = time.Second            // before a place is opened again; twice as long each time
	longestPause = time.Minute
)

// place is a source and what is known of it. Tree.mu guards all but name and src.
type place struct {
	name string
	src  Source

	up      bool
	out     string // why it is not used any more; "": it is
	latency time.Duration
	ctx     context.Context // of what it is asked for; ends when it goes down
	cancel  context.CancelCauseFunc

	queued int64 // bytes that were asked for and have not come, and the cost of the requests
	bytes  int64 // that were taken from it
	voting int   // sums that it was asked for
	rate   float64
	busy   time.Duration // that counted bytes came in
	count  int64
	since  time.Time     // up to where busy goes; when it fell idle if it is
	heard  time.Time     // when bytes came last, or were asked for after a pause
	spoke  time.Time     // when a sum came last, or was asked for after a pause
	gave   time.Time     // when bytes or a sum came last
	pause  time.Duration // before it is opened the next time; 0: it has given something since
	fell   time.Time     // when it went down last
	slow   time.Time     // since when it is slower than it must be; zero: it is not
}

// ask notes that n bytes are asked for.
func (p *place) ask(n int64, now time.Time) {
	if p.queued == 0 {
		p.since, p.heard = now, now
	}
	p.queued += n + requestCost
}

// came notes that n bytes have come; done is what is asked for no more.
func (p *place) came(n, done int64, now time.Time) {
	if p.queued > 0 {
		p.busy += now.Sub(p.since)
	}
	p.since = now
	p.queued = max(0, p.queued-done)
	p.count += done
	if n > 0 {
		p.heard, p.gave = now, now
		if p.voting == 0 { // else a sum is what has to come
			p.pause = 0
		}
	}
	if p.busy < rateSpan {
		return
	}
	rate := float64(p.count) / p.busy.Seconds()
	if p.rate > 0 {
		rate = (rate + p.rate) / 2
	}
	p.rate, p.count, p.busy = rate, 0, 0
}

// spoken notes that a sum has come.
func (p *place) spoken(now time.Time) { p.spoke, p.gave, p.pause = now, now, 0 }

// drop notes that n bytes will not come.
func (p *place) drop(n int64, now time.Time) {
	if p.queued > 0 {
		p.busy += now.Sub(p.since)
	}
	p.since = now
	p.queued = max(0, p.queued-n)
}

// expect is the rate at which a place is expected to give, in bytes per second.
func (p *place) expect(now time.Time, best float64) float64 {
	switch {
	case p.rate == 0:
		return max(best, firstRate)
	case p.queued > 0:
		return p.rate
	}
	idle := now.Sub(p.since)
	if idle > 10*forgetRate {
		return max(p.rate, best)
	}
	return min(max(p.rate, best), p.rate*(1+float64(idle)/float64(forgetRate)))
}

// finish is in how many seconds n more bytes would be there.
func (p *place) finish(n int64, now time.Time, best float64) float64 {
	return float64(p.queued+n+requestCost) / p.expect(now, best)
}

// bestRate is the greatest rate of all places. The caller holds mu.
func (t *Tree) bestRate() (best float64) {
	for _, p := range t.places {
		if p.up {
			best = max(best, p.rate)
		}
	}
	return best
}

// active are the places that are asked for bytes: those that are up, or the best of
// them. The caller holds mu.
func (t *Tree) active() (set uint64) {
	n := 0
	for i, p := range t.places {
		if p.up {
			set |= 1 << i
			n++
		}
	}
	for now, best := time.Now(), t.bestRate(); n > t.cfg.MaxSources; n-- {
		worst := -1
		each(set, func(i int) {
			if worst < 0 || t.places[i].expect(now, best) < t.places[worst].expect(now, best) {
				worst = i
			}
		})
		set &^= 1 << worst
	}
	return set
}

var (
	// errNobody means that none of those who have a file can give it.
	errNobody = errors.New("no replica can give it")
	// errAway means that those who have a file are away for long.
	errAway = errors.New("no replica that has it answers")
)

// pick chooses a place of a set to be asked for n bytes, which are noted: the one that
// would be done first. It waits while all of them are down.
func (t *Tree) pick(ctx context.Context, among uint64, n int64) (int, error) {
	var patience <-chan time.Time
	var turn chan struct{} // in the queue, unless nil
	defer func() { t.unqueue(turn) }()
	look := time.NewTimer(lookAgain)
	defer look.Stop()
	for {
		t.mu.Lock()
		chosen, full, alive := t.choose(among, n)
		if chosen < 0 && turn == nil {
			turn = make(chan struct{})
			t.waiters = append(t.waiters, turn)
		}
		t.mu.Unlock()
		switch {
		case chosen >= 0:
			return chosen, nil
		case !alive:
			return 0, errNobody
		case full:
			patience = nil
		case patience == nil:
			timer := time.NewTimer(t.cfg.Patience)
			defer timer.Stop()
			patience = timer.C
		}
		look.Reset(lookAgain)
		select {
		case <-turn:
			turn = nil
		case <-look.C:
		case <-patience:
			return 0, errAway
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// unqueue takes one out of the queue of those who wait, or lets another one go on
// instead.
func (t *Tree) unqueue(turn chan struct{}) {
	if turn == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiters, turn); i >= 0 {
		t.waiters = slices.Delete(t.waiters, i, i+1)
		return
	}
	t.next()
}

// await waits until one of a set answers.
func (t *Tree) await(ctx context.Context, among uint64) error {
	i, err := t.pick(ctx, among, 0)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.places[i].drop(requestCost, time.Now())
	t.next()
	return nil
}

// choose is pick for now: -1 when none can be asked. full tells that one could be but
// has enough to do, alive that one may come. The caller holds mu.
func (t *Tree) choose(among uint64, n int64) (chosen int, full, alive bool) {
	now, best := time.Now(), t.bestRate()
	set := among & t.active()
	if set == 0 {
		set = among
	}
	chosen, first := -1, 0.0
	for i, p := range t.places {
		if among&(1<<i) == 0 || p.out != "" {
			continue
		}
		alive = true
		if !p.up || set&(1<<i) == 0 {
			continue
		}
		if p.loaded() {
			full = true
		} else if f := p.finish(n, now, best); chosen < 0 || f < first {
			chosen, first = i, f
		}
	}
	if chosen >= 0 {
		t.places[chosen].ask(n, now)
	}
	return chosen, full, alive
}

// loaded tells whether a place has enough to do. What is asked of one too early another
// one may have been able to give sooner.
func (p *place) loaded() bool {
	enough := p.rate * (queueTime + 2*p.latency).Seconds()
	if p.rate == 0 {
		enough = firstQueue
	}
	return p.queued > 0 && float64(p.queued) >= enough
}

// next lets one of those go on who wait for a place. The caller holds mu.
func (t *Tree) next() {
	if len(t.waiters) > 0 {
		close(t.waiters[0])
		t.waiters = t.waiters[1:]
	}
}

// change tells all who wait that a place has changed. The caller holds mu.
func (t *Tree) change() {
	for len(t.waiters) > 0 {
		t.next()
	}
}

// raise notes that a place answers. The caller holds mu.
func (t *Tree) raise(p *place, latency time.Duration) {
	p.up, p.latency = true, latency
	p.ctx, p.cancel = context.WithCancelCause(t.ctx)
	p.heard, p.slow = time.Now(), time.Time{}
	t.change()
}

// errDown ends what was asked of a place.
var errDown = errors.New("the replica does not answer")

// fell takes a place that failed out of use, for good or until it answers again.
func (t *Tree) fell(i int, session context.Context, err error) {
	var f interface{ Final() bool }
	if errors.As(err, &f) && f.Final() {
		t.leave(i, err.Error())
		return
	}
	p := t.places[i]
	t.mu.Lock()
	defer t.mu.Unlock()
	if !p.up || p.ctx != session || p.out != "" || t.ctx.Err() != nil {
		return // that was told before
	}
	p.up, p.fell = false, time.Now()
	p.cancel(errDown)
	t.change()
	t.wg.Go(func() { t.reopen(p, err) })
}

// reopen opens a place until it answers.
func (t *Tree) reopen(p *place, why error) {
	for told := false; ; {
		t.mu.Lock()
		wait := max(p.pause, firstPause)
		p.pause = min(2*wait, longestPause)
		t.mu.Unlock()
		if wait > firstPause && !told {
			t.cfg.Warn("replica.trouble", fmt.Sprintf("%s does not answer: %v; it is tried again now and then", p.name, why))
			told = true
		}
		select {
		case <-time.After(wait):
		case <-t.ctx.Done():
			return
		}
		latency, err := p.src.Open(t.ctx)
		if t.ctx.Err() != nil {
			return
		}
		var f interface{ Final() bool }
		switch {
		case err == nil:
			t.mu.Lock()
			if p.out == "" {
				t.raise(p, latency)
			}
			t.mu.Unlock()
			return
		case errors.As(err, &f) && f.Final():
			t.leave(t.index(p), err.Error())
			return
		}
	}
}

func (t *Tree) index(p *place) int {
	for i := range t.places {
		if t.places[i] == p {
			return i
		}
	}
	return -1
}

// leave takes a place out for good, and tells why.
func (t *Tree) leave(i int, why string) {
	p := t.places[i]
	t.mu.Lock()
	told := p.out != ""
	if !told {
		p.out, p.up = why, false
		if p.cancel != nil {
			p.cancel(errDown)
		}
		t.change()
	}
	t.mu.Unlock()
	if !told {
		t.cfg.Warn("replica.left", p.name+" left out: "+why)
	}
}

// silent is for how long nothing has come of what a place was asked for. The caller
// holds Tree.mu.
func (p *place) silent(now time.Time) (d time.Duration) {
	if p.queued > 0 {
		d = now.Sub(p.heard)
	}
	if p.voting > 0 {
		d = max(d, min(now.Sub(p.heard), now.Sub(p.spoke)))
	}
	return d
}

// watch looks after the places until the tree is closed.
func (t *Tree) watch() {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	moved := time.Now()
	for {
		select {
		case <-tick.C:
		case <-t.ctx.Done():
			return
		}
		now := time.Now()
		type silent struct {
			i   int
			ctx context.Context
		}
		var quiet []silent
		var slow []*place
		up, wanted := 0, false
		t.mu.Lock()
		for i, p := range t.places {
			if p.up {
				up++
			}
			if p.gave.After(moved) {
				moved = p.gave
			}
			wanted = wanted || p.queued > 0 || p.voting > 0
			if p.up && p.silent(now) > max(silentAfter, 4*p.latency) {
				quiet = append(quiet, silent{i, p.ctx})
			}
			switch {
			case p.queued == 0:
				p.slow = time.Time{}
			case t.cfg.MinRate == 0 || p.rate >= float64(t.cfg.MinRate):
				p.slow = time.Time{}
			case p.slow.IsZero():
				p.slow = now
			case now.Sub(p.slow) > slowSpan:
				slow = append(slow, p)
			}
		}
		// The slowest first; one always stays.
		slices.SortFunc(slow, func(a, b *place) int { return cmp.Compare(a.rate, b.rate) })
		slow = slow[:max(0, min(len(slow), up-1))]
		idle := !wanted && up > 0
		t.mu.Unlock()
		for _, s := range quiet {
			t.fell(s.i, s.ctx, fmt.Errorf("nothing came for %v", silentAfter))
		}
		for _, p := range slow {
			t.leave(t.index(p), fmt.Sprintf("slower than %s for a minute", units.FormatRate(t.cfg.MinRate, false)))
		}
		switch {
		case idle:
			moved = now
		case t.cfg.GiveUp > 0 && now.Sub(moved) > t.cfg.GiveUp:
			t.fail(fmt.Errorf("nothing came for %v: %w", t.cfg.GiveUp, ErrLost))
			return
		}
	}
}
