package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/gomover/gomover/wire"
)

// pulse notices that the other end has fallen silent: a cable that was cut sends
// no word of it. Both ends say something every second, see tick.
type pulse struct {
	waiting atomic.Int64 // since when the link's reader waits, Unix ns; 0: it is busy
}

// listen is around the link's Recv.
func (p *pulse) listen(recv func() ([]byte, error)) ([]byte, error) {
	p.waiting.Store(time.Now().UnixNano())
	b, err := recv()
	p.waiting.Store(0)
	return b, err
}

// watch calls dead when nothing was heard for limit, and returns then or when
// ctx ends.
func (p *pulse) watch(ctx context.Context, limit time.Duration, dead func(error)) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		since := p.waiting.Load()
		if since != 0 && time.Since(time.Unix(0, since)) > limit {
			dead(wire.Failf(wire.ClassLost, "nothing was heard for %v", limit))
			return
		}
	}
}
