package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/gomover/gomover/integrity"
	"github.com/gomover/gomover/replica"
)

// agree finds out what the object is and who has it.
func (p *Pull) agree(ctx context.Context) (replica.Agreement, error) {
	c := &p.job.Check
	if c.Known && c.pieces() {
		// Every block is verified, whoever sends it: nobody need be waited for.
		a := replica.Agreement{Size: c.Size}
		for i := range p.place {
			a.Use = append(a.Use, i)
		}
		if len(a.Use) == 0 {
			return a, replica.ErrNoReplica
		}
		return a, nil
	}
	facts, late := p.survey(ctx)
	p.elect(facts, late)
	// When the whole can be verified, a mixture is tried; if it is wrong, one place
	// after the other. Voters tell what is wrong as it comes.
	a, err := replica.Agree(facts, replica.Reference{Known: c.Known, Size: c.Size, Blocks: c.known() || len(p.voters) > 0, Prefer: p.job.Prefer})
	a.Out = slices.DeleteFunc(a.Out, func(l replica.Left) bool { return err == nil && slices.Contains(late, l.Source) })
	if err == nil {
		a.Use = append(a.Use, late...)
	}
	p.voters = slices.DeleteFunc(p.voters, func(i int) bool { return !slices.Contains(a.Use, i) })
	if len(a.Use) < 2 {
		p.voters = nil // nothing to be compared
	}
	if err == nil && p.job.Trust && len(a.Spare) > 0 && !c.known() {
		p.sample(ctx, facts, a.Size)
		a, err = replica.Agree(facts, replica.Reference{Known: c.Known, Size: c.Size, Prefer: p.job.Prefer})
	}
	for _, l := range a.Out {
		p.leave(l.Source, l.Why)
	}
	p.tell()
	if err == nil && len(a.Spare) > 0 && !p.job.Trust && !c.known() && len(p.voters) == 0 {
		p.job.Warn("replica.unverified", fmt.Sprintf("only %s is used: nothing can tell whether parts of several mirrors fit together", p.job.Places[a.Use[0]].Name))
	}
	return a, err
}

// elect finds out who can tell the sums of blocks, where they are needed.
func (p *Pull) elect(facts []replica.Facts, late []int) {
	if p.job.Trust || p.job.Check.pieces() || len(p.place) < 2 {
		return
	}
	for i := range p.job.Places {
		_, ok := p.job.Places[i].Source.(Summer)
		if ok && len(p.voters) < replica.MaxVoters && (facts[i].Err == nil || slices.Contains(late, i)) {
			p.voters = append(p.voters, i)
		}
	}
}

// survey asks all places at once. Those that are much later than the first one
// count as silent, unless those that have answered differ; late are those of them that
// may well come, since it takes long to log in. When only such are lacking, and cannot
// change any more what the object is, they are not waited for.
func (p *Pull) survey(ctx context.Context) (facts []replica.Facts, late []int) {
	limit, logins := openTimeout, false
	for i := range p.job.Places {
		if _, ok := p.job.Places[i].Source.(Attester); ok {
			limit, logins = loginTimeout, true
		}
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	facts = make([]replica.Facts, len(p.place))
	began, answered := time.Now(), make([]bool, len(p.place))
	var mu sync.Mutex // guards what is found
	over := false     // it is the caller's
	var wg sync.WaitGroup
	slots := make(chan struct{}, surveyMost)
	for i := range p.place {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			f, err := p.opened(ctx, i)
			mu.Lock()
			defer mu.Unlock()
			facts[i] = replica.Facts{Name: p.job.Places[i].Name, Err: err, Size: f.Size, Ranges: f.Ranges}
			answered[i] = true
			_, login := p.job.Places[i].Source.(Attester)
			switch {
			case err == nil:
				p.place[i].facts = &f
				if p.settled(facts, answered) {
					time.AfterFunc(max(leastGrace, time.Since(began)/4), cancel)
				}
				if login || !logins {
					time.AfterFunc(surveyPatience, func() {
						mu.Lock()
						defer mu.Unlock()
						if !over && p.agreed(facts, answered) {
							cancel()
						} // else whoever is lacking may decide it
					})
				}
			case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
				facts[i].Err = errNoAnswer
				if login {
					late = append(late, i)
				}
			}
		})
	}
	wg.Wait()
	mu.Lock()
	over = true
	mu.Unlock()
	slices.Sort(late)
	return facts, late
}

// errNoAnswer means that a place has not answered in time.
var errNoAnswer = errors.New("no answer")

// Ours.
const (
	// leastGrace is for how long others may still answer when it is settled what the
	// object is; or for a quarter of what that took. Who answers later takes part, too.
	leastGrace = 50 * time.Millisecond
	// worthStarting is from how many bytes on nobody is waited for: with less all might
	// be over before a place that differs was heard and named.
	worthStarting = 64 << 20
)

// agreed tells whether those who have answered are of one mind about what the object is,
// as far as that needs one.
func (p *Pull) agreed(facts []replica.Facts, answered []bool) bool {
	heard := make([]replica.Facts, len(facts))
	for i, f := range facts {
		if heard[i] = f; !answered[i] {
			heard[i].Err = errNoAnswer
		}
	}
	_, err := replica.Agree(heard, replica.Reference{Known: p.job.Check.Known, Size: p.job.Check.Size, Blocks: true, Prefer: p.job.Prefer})
	return !errors.Is(err, replica.ErrDisagree)
}

// settled tells whether what the object is follows from the answers so far, whatever the
// rest says, and all of these are logged in to.
func (p *Pull) settled(facts []replica.Facts, answered []bool) bool {
	open, sizes, size, best := 0, make(map[int64]int), int64(0), 0
	for i := range facts {
		_, login := p.job.Places[i].Source.(Attester)
		switch {
		case !answered[i] && !login:
			return false
		case !answered[i]:
			open++
		case facts[i].Err == nil:
			n := facts[i].Size
			if sizes[n]++; sizes[n] > best {
				size, best = n, sizes[n]
			}
		}
	}
	next := 0
	for s, n := range sizes {
		if s != size {
			next = max(next, n)
		}
	}
	settled := best > 1 && best > next+open
	switch i := p.job.Prefer - 1; {
	case p.job.Check.Known:
		size, settled = p.job.Check.Size, sizes[p.job.Check.Size] > 0
	case i >= 0:
		if settled = answered[i] && facts[i].Err == nil; settled {
			size = facts[i].Size
		}
	}
	return open > 0 && settled && size >= worthStarting
}

// sample reads the same few blocks of every place.
func (p *Pull) sample(ctx context.Context, facts []replica.Facts, size int64) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	picked := replica.SampleBlocks((size+sampleBytes-1)/sampleBytes, sampleBlocks, p.job.Seed)
	var wg sync.WaitGroup
	for i := range facts {
		if facts[i].Err != nil || facts[i].Size != size || !facts[i].Ranges {
			continue
		}
		wg.Go(func() {
			var all []byte
			for _, b := range picked {
				off := b * sampleBytes
				part, err := readAll(ctx, p.job.Places[i].Source, off, min(sampleBytes, size-off))
				if err != nil {
					facts[i].Err = err
					return
				}
				all = append(all, part...)
			}
			facts[i].Sample = integrity.Whole(all).String()
		})
	}
	wg.Wait()
}

func readAll(ctx context.Context, s Source, off, n int64) ([]byte, error) {
	r, err := s.Range(ctx, off, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	part := make([]byte, n)
	_, err = io.ReadFull(r, part)
	return part, err
}
