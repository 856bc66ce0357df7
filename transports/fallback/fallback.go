// Package fallback makes one endpoint out of two that reach the same addresses by
// different ways, such as UDP and TCP: streams are made the first way, and the
// second one when nothing gets through there.
//
// Both ends need not agree: each accepts streams of either way.
package fallback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/internal/arrivals"
)

// Constants of our choice.
const (
	// patience is how long the first way may be silent. A firewall that drops
	// says nothing; a path that works gives a first sign within two round trips,
	// repeated requests included. From then on the first way's own limits hold:
	// how long the path is was not known before.
	patience = 3 * time.Second
	// fresh is how long a stream that was made the first way proves that it is
	// open. Streams do not come later by the second way then, they fail and are
	// tried again.
	fresh = 5 * time.Second
	// rest is how long streams are made the second way at once, before the first
	// one is tried again: what closed it may have been an outage of seconds, and a
	// job can last for days. Streams that there are stay.
	rest = time.Minute
)

// Endpoint implements transports.Endpoint.
type Endpoint struct {
	first, second transports.Endpoint
	name          string // of the first way, for errors
	arrived       *arrivals.Queue

	mu    sync.Mutex    // guards what follows
	came  time.Time     // when the first way last gave a stream
	until time.Time     // the second way it is, until then
	wary  time.Time     // so long even if the first way gives streams
	why   string        // why it is
	now   chan struct{} // closed when the first way is given up, then made anew
}

// hearer is a first way that can tell when it last heard of an address that it
// dialled, though perhaps only that somebody is there.
type hearer interface{ Heard() time.Time }

var (
	_ transports.Endpoint = (*Endpoint)(nil)
	_ transports.Switcher = (*Endpoint)(nil)
)

// New makes an endpoint of two, which it takes over. name is what errors call the
// first way, such as UDP.
func New(first, second transports.Endpoint, name string) *Endpoint {
	e := &Endpoint{first: first, second: second, name: name, arrived: arrivals.New(), now: make(chan struct{})}
	e.arrived.Go(func() { e.accept(first) })
	e.arrived.Go(func() { e.accept(second) })
	return e
}

// Offer implements transports.Endpoint: the first endpoint's, at whose ports the
// second one is reached, too.
func (e *Endpoint) Offer() transports.Offer { return e.first.Offer() }

// Distrust implements transports.Switcher: connections that are made and carry
// nothing, as on a path that swallows long packets, are no way.
func (e *Endpoint) Distrust() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.turn()
	e.why = "what is sent does not arrive"
}

// turn gives the first way up for a while, and ends what is being dialled there.
// The caller holds the lock.
func (e *Endpoint) turn() {
	e.wary = time.Now().Add(rest)
	e.until = e.wary
	close(e.now)
	e.now = make(chan struct{})
}

// Use implements transports.Switcher. The second way is used for a while; streams
// that come the first one do not change that.
func (e *Endpoint) Use(preferred bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if preferred {
		e.until, e.wary, e.why = time.Time{}, time.Time{}, ""
		return nil
	}
	e.turn()
	return nil
}

// Turned implements transports.Switcher.
func (e *Endpoint) Turned() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Now().Before(e.until)
}

// Reason implements transports.Switcher.
func (e *Endpoint) Reason() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.why
}

// isOpen tells whether the first way has given a stream just now.
func (e *Endpoint) isOpen() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.came.IsZero() && time.Since(e.came) < fresh
}

// accept collects the streams of one endpoint until it is closed.
func (e *Endpoint) accept(from transports.Endpoint) {
	for {
		s, err := from.Accept(e.arrived.Life())
		if err != nil {
			return
		}
		if from == e.first {
			e.open()
		}
		e.arrived.Put(s)
	}
}

// open notes that the first way is.
func (e *Endpoint) open() {
	e.mu.Lock()
	e.came, e.until = time.Now(), e.wary
	if !time.Now().Before(e.wary) {
		e.why = ""
	}
	e.mu.Unlock()
}

// Dial implements transports.Endpoint. Errors: of the second endpoint, with what
// happened the first way; or of the first one while others get through there.
func (e *Endpoint) Dial(ctx context.Context, far transports.Offer, label uint32) (transports.Stream, error) {
	var before error
	if !e.Turned() {
		s, err := e.dialFirst(ctx, far, label)
		if err == nil {
			e.open()
			return s, nil
		}
		if e.isOpen() || ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		before = err
	}
	s, err := e.second.Dial(ctx, far, label)
	if err != nil && before != nil {
		return nil, fmt.Errorf("%w; over %s: %s", err, e.name, reason(before))
	}
	if err != nil {
		return nil, err
	}
	if before != nil && !e.isOpen() { // else another stream was made the first way meanwhile
		e.mu.Lock()
		e.until, e.why = time.Now().Add(rest), reason(before)
		e.mu.Unlock()
	}
	return s, nil
}

// dialFirst dials the first way, and ends that when it is silent.
func (e *Endpoint) dialFirst(ctx context.Context, far transports.Offer, label uint32) (transports.Stream, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began := time.Now()
	silence := time.AfterFunc(patience, func() {
		if h, ok := e.first.(hearer); !ok || h.Heard().Before(began) {
			cancel(errSilent)
		}
	})
	defer silence.Stop()
	e.mu.Lock()
	now := e.now
	e.mu.Unlock()
	go func() {
		select {
		case <-now:
			cancel(errSilent)
		case <-ctx.Done():
		}
	}()
	s, err := e.first.Dial(ctx, far, label)
	if err != nil {
		return nil, fmt.Errorf("over %s: %w", e.name, err)
	}
	return s, nil
}

// errSilent ends a dial of the first way. It is said as the first way says it of
// itself, which may give up at the same time.
var errSilent = errors.New("timed out")

// reason says in a few words why the first way did not work.
func reason(err error) string {
	var known interface{ Reason() string }
	if errors.As(err, &known) {
		return known.Reason()
	}
	if errors.Is(err, errSilent) {
		return errSilent.Error()
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err.Error()
}

// Accept implements transports.Endpoint.
func (e *Endpoint) Accept(ctx context.Context) (transports.Stream, error) {
	return e.arrived.Accept(ctx)
}

// Close implements transports.Endpoint.
func (e *Endpoint) Close() error {
	return e.arrived.Close(func() error { return errors.Join(e.first.Close(), e.second.Close()) })
}
