package mover

import (
	"context"
	"sync"
	"time"
)

// Pace of destinations that wait for each other. Ours.
const (
	paceSlack = 64 << 20 // bytes by which one may be ahead of the slowest
	paceEvery = 20 * time.Millisecond
)

// together keeps several destinations together: none gets data while it is paceSlack
// ahead of the one that has least.
type together struct {
	mu   sync.Mutex // guards what follows
	may  []bool     // nil before the first look
	next chan struct{}
}

// keep looks at the positions until stop is closed. A position is how many bytes
// a destination has, -1 when nobody waits for it.
func (p *together) keep(stop <-chan struct{}, positions func() []int64) {
	t := time.NewTicker(paceEvery)
	defer t.Stop()
	for {
		p.look(positions())
		select {
		case <-t.C:
		case <-stop:
			return
		}
	}
}

// look decides who may go on.
func (p *together) look(at []int64) {
	least := int64(-1)
	for _, n := range at {
		if n >= 0 && (least < 0 || n < least) {
			least = n
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.may = make([]bool, len(at))
	for i, n := range at {
		p.may[i] = n < 0 || n < least+paceSlack
	}
	close(p.next)
	p.next = make(chan struct{})
}

// hold waits until destination i may go on.
func (p *together) hold(ctx context.Context, i int) error {
	for {
		p.mu.Lock()
		ok, next := p.may == nil || p.may[i], p.next
		p.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// holds tells whether destination i has to wait.
func (p *together) holds(i int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.may != nil && !p.may[i]
}

// positions are what the destinations have; those that have ended hold nobody.
func (r *fanRun) positions() []int64 {
	at := make([]int64, len(r.legs))
	for i, l := range r.legs {
		c, _, _ := l.dir.now()
		at[i] = c.DoneBytes
		l.mu.Lock()
		if l.ended {
			at[i] = -1
		}
		l.mu.Unlock()
	}
	return at
}
