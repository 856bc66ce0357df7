package sealed

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/seal"
)

// Constants of our choice.
const (
	// stagger is the head start of each address before the next is tried too.
	// RFC 8305 section 5 has 250 ms to spare servers; here both ends are ours.
	stagger = 100 * time.Millisecond
	// headStart is that of an address which has worked before.
	headStart = time.Second
	// retries is how often an address is asked again that hung up without an
	// answer: a listener under a flood may have had no time.
	retries    = 6
	retryPause = 10 * time.Millisecond
)

// attempt is one address's outcome: a connection whose other end has proved
// itself and waits for the last step, or an error.
type attempt struct {
	addr netip.AddrPort
	conn net.Conn
	gr   *seal.Greeting
	err  error
}

// Dial implements transports.Endpoint. Errors: *DialError when no address led
// to the other end.
func (e *Endpoint) Dial(ctx context.Context, far transports.Offer, label uint32) (transports.Stream, error) {
	addrs, known := e.order(far)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.life, func() { cancel(net.ErrClosed) })()

	won, failed := e.race(ctx, addrs, known, label)
	if won == nil {
		switch {
		case e.life.Err() != nil: // ctx may not have been told yet
			return nil, fmt.Errorf("dialling stream %d: %w", label, net.ErrClosed)
		case ctx.Err() != nil && len(failed) > 0:
			return nil, fmt.Errorf("dialling stream %d: %w: %w", label, context.Cause(ctx), &DialError{Attempts: failed})
		case ctx.Err() != nil:
			return nil, fmt.Errorf("dialling stream %d: %w", label, context.Cause(ctx))
		}
		return nil, &DialError{Attempts: failed}
	}
	prot, err := won.gr.Confirm(won.conn)
	if err == nil {
		err = won.conn.SetDeadline(time.Time{})
	}
	if err != nil {
		won.conn.Close()
		return nil, &DialError{Attempts: append(failed, Attempt{won.addr, err})}
	}
	e.mu.Lock()
	e.winners[won.addr] = true
	e.mu.Unlock()
	return e.newStream(won.conn, prot), nil
}

// order lists the addresses of far to try, those that worked before first, and
// how many those are.
func (e *Endpoint) order(far transports.Offer) (addrs []netip.AddrPort, known int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var rest []netip.AddrPort
	for _, a := range far.Addrs[:min(len(far.Addrs), maxAddrs)] {
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		switch {
		case a.Port() == 0 || !usable(a.Addr()) || !permitted(e.p, a.Addr()):
		case slices.Contains(addrs, a) || slices.Contains(rest, a):
		case e.winners[a]:
			addrs = append(addrs, a)
		default:
			rest = append(rest, a)
		}
	}
	return append(addrs, rest...), len(addrs)
}

// race tries addrs, each a little after the one before or as soon as that has
// failed, and returns the first whose other end proves itself. All others are
// closed and have ended when it returns. Those that ctx ended failed for its cause.
func (e *Endpoint) race(ctx context.Context, addrs []netip.AddrPort, known int, label uint32) (won *attempt, failed []Attempt) {
	ctx, cancel := context.WithCancel(ctx)
	results := make(chan attempt, len(addrs)) // room for all: nobody waits to report
	var tasks sync.WaitGroup
	defer func() {
		cancel()
		tasks.Wait()
		close(results)
		for r := range results {
			if r.conn != nil {
				r.conn.Close()
			}
			if r.err == nil || errors.Is(r.err, context.Canceled) {
				r.err = context.Cause(ctx)
			}
			if won == nil {
				failed = append(failed, Attempt{r.addr, r.err})
			}
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for next, running := 0, 0; next < len(addrs) || running > 0; {
		if running == 0 {
			timer.Reset(0)
		}
		select {
		case <-ctx.Done():
			return nil, failed
		case <-timer.C:
			if next == len(addrs) {
				continue
			}
			addr := addrs[next]
			tasks.Go(func() { results <- e.try(ctx, addr, label) })
			if next++; next <= known {
				timer.Reset(headStart)
			} else {
				timer.Reset(stagger)
			}
			running++
		case r := <-results:
			running--
			if r.err == nil {
				return &r, failed
			}
			failed = append(failed, Attempt{r.addr, r.err})
			timer.Reset(0)
		}
	}
	return nil, failed
}

// try connects to addr and greets, again if the other end had no time.
func (e *Endpoint) try(ctx context.Context, addr netip.AddrPort, label uint32) attempt {
	ctx, cancel := context.WithTimeout(ctx, e.p.Timeout)
	defer cancel()
	pause := retryPause
	for n := 0; ; n++ {
		conn, gr, err := e.greet(ctx, addr, label)
		if err == nil {
			return attempt{addr: addr, conn: conn, gr: gr}
		}
		if !errors.Is(err, seal.ErrNoAnswer) {
			return attempt{addr: addr, err: err}
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			n = retries
		}
		t.Stop()
		if n >= retries {
			return attempt{addr: addr, err: fmt.Errorf("%w: %w", transports.ErrAuth, err)}
		}
		pause = min(2*pause, maxBackoff)
	}
}

// greet makes one connection and does the dialler's part up to the point where
// the other end has proved itself. The deadline of ctx stays on the connection.
func (e *Endpoint) greet(ctx context.Context, addr netip.AddrPort, label uint32) (net.Conn, *seal.Greeting, error) {
	conn, err := e.c.Dial(ctx, addr)
	if err != nil {
		return nil, nil, err
	}
	e.mu.Lock()
	e.heard = time.Now()
	e.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	deadline, _ := ctx.Deadline()
	if err = conn.SetDeadline(deadline); err == nil {
		var gr *seal.Greeting
		if gr, err = e.guard.Greet(conn, label); err == nil && stop() {
			return conn, gr, nil
		}
		err = noAnswer(runtime.GOOS, err)
	}
	stop()
	conn.Close()
	if err == nil || ctx.Err() != nil {
		err = fmt.Errorf("waiting for an answer: %w", context.Cause(ctx))
	}
	return nil, nil, err
}
