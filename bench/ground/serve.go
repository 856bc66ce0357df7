package ground

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// bindTimeout is how long a server may take until its port is bound.
const bindTimeout = 10 * time.Second

// Server is a program that must run on a host before a command is started.
type Server struct {
	Host *Host
	Args []string
	// Protocol and Port say when it is ready: "tcp" when it listens on the port, "udp"
	// when it is bound to it. Without a port it is ready at once.
	Protocol string
	Port     int
	// Ends is set if it ends by itself when it has all.
	Ends bool

	output bytes.Buffer
	done   chan struct{}
	err    error
}

// Output is what an ended server has printed.
func (s *Server) Output() string { return s.output.String() }

// Serve starts servers and waits until they are ready; from then on Timed takes what
// they are for what runs when nothing runs. What is returned first waits for
// those that end by themselves, what second ends all that has been started on the hosts
// since, and is to be called also after an error.
func (g *Ground) Serve(ctx context.Context, servers []*Server) (ends func(context.Context) error, stop func(), err error) {
	kept := make([]map[int]bool, len(g.Hosts))
	for i, h := range g.Hosts {
		kept[i] = map[int]bool{}
		for _, pid := range h.Group.PIDs() {
			kept[i][pid] = true
		}
	}
	back := func() {}
	var running []*Server
	stop = func() {
		for i, h := range g.Hosts {
			h.Group.KillExcept(kept[i])
		}
		for _, s := range running {
			<-s.done
		}
		back()
	}
	for _, s := range servers {
		if err := s.start(ctx, g); err != nil {
			return nil, stop, err
		}
		running = append(running, s)
	}
	for _, s := range running {
		if err := s.bound(ctx); err != nil {
			return nil, stop, err
		}
	}
	rested, err := g.Rest(ctx)
	if err != nil {
		return nil, stop, err
	}
	back = rested
	return func(ctx context.Context) error { return waitAll(ctx, running) }, stop, nil
}

// start starts one server.
func (s *Server) start(ctx context.Context, g *Ground) error {
	s.done = make(chan struct{})
	cmd := g.Command(ctx, s.Host, s.Args...)
	cmd.Stdout, cmd.Stderr = &s.output, &s.output
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", s.Args[0], err)
	}
	go func() {
		defer close(s.done)
		s.err = cmd.Wait()
	}()
	return nil
}

// bound waits until the server's port is bound.
func (s *Server) bound(ctx context.Context) error {
	for deadline := time.Now().Add(bindTimeout); s.Port != 0; {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s has not bound its port %d within %v", s.Args[0], s.Port, bindTimeout)
		}
		for _, socket := range Sockets(s.Host.PID, s.Protocol) {
			if socket.Local == s.Port && socket.Listening {
				return nil
			}
		}
		select {
		case <-s.done:
			return fmt.Errorf("%s has ended before it was needed: %v: %s", s.Args[0], s.err, Tail(s.output.String()))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// waitAll waits for the servers that end by themselves.
func waitAll(ctx context.Context, list []*Server) error {
	for _, s := range list {
		if !s.Ends {
			continue
		}
		select {
		case <-s.done:
			if s.err != nil {
				return fmt.Errorf("%s: %w: %s", s.Args[0], s.err, Tail(s.output.String()))
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
