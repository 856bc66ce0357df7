// Package arrivals keeps the streams that an endpoint has accepted and nobody has
// taken yet.
package arrivals

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/gomover/gomover/transports"
)

// most is how many streams may wait. Ours: more than a job has; an end beyond it
// misbehaves and is cut off.
const most = 512

// Queue is an endpoint's life and what has arrived in it. All methods may be called
// at the same time.
type Queue struct {
	ready chan transports.Stream // never closed; life ends its readers
	life  context.Context
	end   context.CancelCauseFunc
	tasks sync.WaitGroup
	once  sync.Once
}

// New returns an empty queue.
func New() *Queue {
	q := &Queue{ready: make(chan transports.Stream, most)}
	q.life, q.end = context.WithCancelCause(context.Background())
	return q
}

// Life ends when the queue is closed, for net.ErrClosed.
func (q *Queue) Life() context.Context { return q.life }

// Go runs what brings streams; Close waits for it. Only before Close, or within
// what runs.
func (q *Queue) Go(bring func()) { q.tasks.Go(bring) }

// Put adds a stream, or closes it when there is no room or the queue is closed. For
// what Go runs.
func (q *Queue) Put(s transports.Stream) {
	if q.life.Err() == nil {
		select {
		case q.ready <- s:
			return
		default:
		}
	}
	s.Close()
}

// Accept takes the stream that has waited longest, or the next; see
// transports.Endpoint.
func (q *Queue) Accept(ctx context.Context) (transports.Stream, error) {
	if q.life.Err() == nil {
		select {
		case s := <-q.ready:
			return s, nil
		case <-ctx.Done():
			return nil, fmt.Errorf("accepting a data connection: %w", context.Cause(ctx))
		case <-q.life.Done():
		}
	}
	return nil, fmt.Errorf("accepting a data connection: %w", net.ErrClosed)
}

// Close ends the life, has stop end what brings streams, waits for that, and closes
// the streams that nobody took. Further calls wait, too, and call nothing. Errors:
// stop's.
func (q *Queue) Close(stop func() error) error {
	var err error
	q.once.Do(func() {
		q.end(net.ErrClosed)
		err = stop()
	})
	q.tasks.Wait()
	for {
		select {
		case s := <-q.ready:
			s.Close()
		default:
			return err
		}
	}
}
