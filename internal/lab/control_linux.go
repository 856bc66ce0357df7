package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Bounds of a request: long enough for every link of the largest topology.
const (
	maxRequest     = 4 << 20 // bytes
	requestTimeout = 10 * time.Second
)

// request is what a command asks of the emulator, and reply what it answers. One
// of each, as JSON, goes over a connection.
type request struct {
	Verb  string   `json:"verb"`            // "set" or "stats"
	Words []string `json:"words,omitempty"` // of set
	Reset bool     `json:"reset,omitempty"` // after stats
}

type reply struct {
	Error string `json:"error,omitempty"`
	Stats *Stats `json:"stats,omitempty"`
}

// Set changes links of the lab that is up, as words such as "h1.down loss=1%" say:
// all, or none on an error.
//
// Errors: ErrNotUp; what is wrong with the words.
func Set(ctx context.Context, words ...string) error {
	_, err := ask(ctx, request{Verb: "set", Words: words})
	return err
}

// Partition cuts links, named as for Set.
func Partition(ctx context.Context, links ...string) error {
	return Set(ctx, append(slices.Clone(links), "cut=true")...)
}

// Heal mends links that were cut.
func Heal(ctx context.Context, links ...string) error {
	return Set(ctx, append(slices.Clone(links), "cut=false")...)
}

// ReadStats gives the counters of the lab that is up; with reset they start again
// at zero, without a gap.
func ReadStats(ctx context.Context, reset bool) (*Stats, error) {
	r, err := ask(ctx, request{Verb: "stats", Reset: reset})
	if err != nil {
		return nil, err
	}
	if r.Stats == nil {
		return nil, errors.New("the emulator sent no counters")
	}
	return r.Stats, nil
}

// ask sends a request to the emulator.
func ask(ctx context.Context, req request) (r reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socketFile)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return r, ErrNotUp
	case errors.Is(err, syscall.ECONNREFUSED):
		return r, ErrCrashed
	case err != nil:
		return r, fmt.Errorf("asking the emulator: %w", err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })
	defer stop()
	if err := json.NewEncoder(conn).Encode(req); err != nil {
		return r, fmt.Errorf("asking the emulator: %w", err)
	}
	if err := json.NewDecoder(conn).Decode(&r); err != nil {
		return r, fmt.Errorf("asking the emulator: %w", err)
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

// answer answers requests until the listener is closed.
func (e *emulator) answer(ctx context.Context, l net.Listener) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(requestTimeout))
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			var req request
			if err := json.NewDecoder(io.LimitReader(conn, maxRequest)).Decode(&req); err != nil {
				return // nobody to tell, or nothing that was a request
			}
			json.NewEncoder(conn).Encode(e.handle(ctx, req)) // if the other end has gone, it does not care
		})
	}
}

// handle does what a request asks for.
func (e *emulator) handle(ctx context.Context, req request) (r reply) {
	err := e.do(ctx, func() (err error) {
		switch req.Verb {
		case "set":
			err = e.set(req.Words)
		case "stats":
			r.Stats, err = e.collect(req.Reset)
		default:
			err = fmt.Errorf("unknown request %q", req.Verb)
		}
		return err
	})
	if err != nil {
		return reply{Error: err.Error()}
	}
	return r
}

// do has run call f and waits for it.
func (e *emulator) do(ctx context.Context, f func() error) error {
	done := make(chan error, 1) // run must not wait
	e.post(ctx, func() { done <- f() })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
