package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/bench/peer"
)

// bindTimeout is how long a server may take until its port is bound.
const bindTimeout = 10 * time.Second

// server is one that runs. Err and what is in output may be read when done is
// closed.
type server struct {
	peer.Server
	host   *ground.Host
	output bytes.Buffer
	done   chan struct{}
	err    error
}

// serve starts a plan's servers and waits until they are ready. What is returned
// first waits for those that end by themselves, what second ends all that the plan
// has left.
func (s *scene) serve(ctx context.Context, p peer.Plan) (ends func(context.Context) error, stop func(), err error) {
	kept := make([]map[int]bool, len(s.Hosts))
	for i, h := range s.Hosts {
		kept[i] = map[int]bool{}
		for _, pid := range h.Group.PIDs() {
			kept[i][pid] = true
		}
	}
	back := func() {}
	var running []*server
	stop = func() {
		for i, h := range s.Hosts {
			h.Group.KillExcept(kept[i])
		}
		for _, r := range running {
			<-r.done
		}
		back()
	}
	for path, text := range p.Files {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, stop, err
		}
	}
	if err := open(p.Dirs); err != nil {
		return nil, stop, err
	}
	for _, one := range p.Servers {
		r, err := s.start(ctx, one)
		if err != nil {
			return nil, stop, err
		}
		running = append(running, r)
	}
	for _, r := range running {
		if err := r.bound(ctx); err != nil {
			return nil, stop, err
		}
	}
	rested, err := s.Rest(ctx)
	if err != nil {
		return nil, stop, err
	}
	back = rested
	return func(ctx context.Context) error { return waitAll(ctx, running) }, stop, nil
}

// start starts one server.
func (s *scene) start(ctx context.Context, one peer.Server) (*server, error) {
	r := &server{Server: one, host: s.Host(one.Host), done: make(chan struct{})}
	cmd := s.Command(ctx, r.host, one.Args...)
	cmd.Stdout, cmd.Stderr = &r.output, &r.output
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", one.Args[0], err)
	}
	go func() {
		defer close(r.done)
		r.err = cmd.Wait()
	}()
	return r, nil
}

// bound waits until the server's port is bound.
func (r *server) bound(ctx context.Context) error {
	for deadline := time.Now().Add(bindTimeout); time.Now().Before(deadline); {
		for _, socket := range ground.Sockets(r.host.PID, r.Protocol) {
			if socket.Local == r.Port && socket.Listening {
				return nil
			}
		}
		select {
		case <-r.done:
			return fmt.Errorf("%s has ended before it was needed: %v: %s", r.Args[0], r.err, ground.Tail(r.output.String()))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s has not bound its port %d within %v", r.Args[0], r.Port, bindTimeout)
}

// waitAll waits for the servers that end by themselves.
func waitAll(ctx context.Context, list []*server) error {
	for _, r := range list {
		if !r.Ends {
			continue
		}
		select {
		case <-r.done:
			if r.err != nil {
				return fmt.Errorf("%s: %w: %s", r.Args[0], r.err, ground.Tail(r.output.String()))
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
