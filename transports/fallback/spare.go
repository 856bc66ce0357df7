package fallback

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/internal/arrivals"
)

// Spare is an endpoint with another one that is opened when it is asked for, and
// then makes all streams until that is taken back. It costs nothing before.
type Spare struct {
	usual   transports.Endpoint
	open    func() (transports.Endpoint, error)
	arrived *arrivals.Queue

	mu     sync.Mutex          // guards what follows
	other  transports.Endpoint // nil: not open
	opened chan transports.Endpoint
	turned bool
	why    string // it was taken back
}

var (
	_ transports.Endpoint = (*Spare)(nil)
	_ transports.Switcher = (*Spare)(nil)
)

// NewSpare makes an endpoint of the usual one, which it takes over. open opens the
// other one, which is reached at the same addresses; it is not called again once it
// has succeeded.
func NewSpare(usual transports.Endpoint, open func() (transports.Endpoint, error)) *Spare {
	e := &Spare{usual: usual, open: open, arrived: arrivals.New(), opened: make(chan transports.Endpoint, 1)}
	e.arrived.Go(func() { e.accept(usual) })
	e.arrived.Go(func() {
		select {
		case other := <-e.opened:
			e.accept(other)
		case <-e.arrived.Life().Done():
		}
	})
	return e
}

func (e *Spare) accept(from transports.Endpoint) {
	for {
		s, err := from.Accept(e.arrived.Life())
		if err != nil {
			return
		}
		e.arrived.Put(s)
	}
}

// Use implements transports.Switcher. Errors: of opening the other endpoint.
func (e *Spare) Use(preferred bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if preferred {
		e.turned = false
		return nil
	}
	if e.arrived.Life().Err() != nil {
		return fmt.Errorf("opening another way: %w", net.ErrClosed)
	}
	if e.other == nil {
		other, err := e.open()
		if err != nil {
			return fmt.Errorf("opening another way: %w", err)
		}
		e.other = other
		e.opened <- other
	}
	e.turned, e.why = true, ""
	return nil
}

// Turned implements transports.Switcher.
func (e *Spare) Turned() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.turned
}

// Distrust implements transports.Switcher: streams are made the usual way again.
func (e *Spare) Distrust() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.turned {
		e.turned, e.why = false, "what is sent does not arrive"
	}
}

// Reason implements transports.Switcher.
func (e *Spare) Reason() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.why
}

// Offer implements transports.Endpoint: the usual endpoint's, at whose ports the
// other one is reached, too.
func (e *Spare) Offer() transports.Offer { return e.usual.Offer() }

// Dial implements transports.Endpoint. Errors: of the endpoint that makes streams at
// present.
func (e *Spare) Dial(ctx context.Context, far transports.Offer, label uint32) (transports.Stream, error) {
	e.mu.Lock()
	by := e.usual
	if e.turned {
		by = e.other
	}
	e.mu.Unlock()
	return by.Dial(ctx, far, label)
}

// Accept implements transports.Endpoint.
func (e *Spare) Accept(ctx context.Context) (transports.Stream, error) {
	return e.arrived.Accept(ctx)
}

// Close implements transports.Endpoint.
func (e *Spare) Close() error {
	return e.arrived.Close(func() error {
		e.mu.Lock()
		other := e.other
		e.mu.Unlock()
		err := e.usual.Close()
		if other != nil {
			err = errors.Join(err, other.Close())
		}
		return err
	})
}
