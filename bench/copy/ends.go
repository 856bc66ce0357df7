package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/payload"
)

// ends is where a row runs: a near end, where commands are typed, and a far end
// with an ssh server.
type ends struct {
	*ground.Ground
	near, far *ground.Host
	dir       string // in memory, for files
	binary    string
	sshPort   int  // whose connections are not data connections
	shared    bool // both ends are in one network namespace
}

// target names a path at the far end.
func (g *ends) target(path string) string { return g.far.Name + ":" + path }

// mover is gomover's command line.
func (g *ends) mover(args ...string) []string {
	return append([]string{g.binary, "--progress=none"}, args...)
}

// movers are the processes of an end that run gomover.
func movers(h *ground.Host) []int { return h.Group.Running("gomover") }

// command prepares a command at one end, in its group. It is killed when ctx ends.
func (g *ends) command(ctx context.Context, far bool, args ...string) *exec.Cmd {
	if far {
		return g.Command(ctx, g.far, args...)
	}
	return g.Command(ctx, g.near, args...)
}

// cpu is what both ends have used so far.
func (g *ends) cpu() time.Duration { return g.near.Group.CPU() + g.far.Group.CPU() }

// usage is what one command took.
type usage struct {
	wall     time.Duration
	cpu      time.Duration // of both ends
	nearPeak int64         // VmHWM of gomover at the near end, bytes
	farPeak  int64         // and at the far end
	streams  int           // data connections at once, where they can be counted
	foreign  float64       // processors kept busy by everything else
	output   string
}

// timed runs a command at the near end and says what it took at both ends.
func (g *ends) timed(ctx context.Context, args ...string) (usage, error) {
	return g.watched(ctx, ground.Run{Args: args})
}

// watched runs a command at the near end and says what it took at both ends.
func (g *ends) watched(ctx context.Context, r ground.Run) (usage, error) {
	var w watcher
	r.Host, r.Look = g.near, func() { w.look(g) }
	u, err := g.Timed(ctx, r)
	return usage{
		wall: u.Wall, cpu: u.TotalCPU(), foreign: u.Foreign, output: u.Output,
		nearPeak: w.nearPeak, farPeak: w.farPeak, streams: w.streams,
	}, err
}

// A run is disturbed when other programs keep more than this share of a processor
// busy meanwhile. With a time to wait for a quiet machine it is repeated, at most
// so often, and the least disturbed one counts: never the fastest.
const (
	disturbed = 0.25
	attempts  = 4
)

// steady is timed for commands that make the file dst in memory and can be repeated,
// with something to do at the last moment before; nil is nothing. Each attempt finds
// no dst: a copy that is there already would cost nothing.
func (g *ends) steady(ctx context.Context, dst string, before func(context.Context) error, args ...string) (best usage, err error) {
	for i := range attempts {
		if err := os.Remove(dst); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return best, err
		}
		u, err := g.watched(ctx, ground.Run{Args: args, Before: before, Steady: true})
		if err != nil {
			return u, err
		}
		if i == 0 || u.foreign < best.foreign {
			u.nearPeak, u.farPeak = max(u.nearPeak, best.nearPeak), max(u.farPeak, best.farPeak)
			best = u
		}
		if best.foreign <= disturbed || g.Quiet == 0 {
			break
		}
	}
	return best, nil
}

// watcher keeps what is seen of the processes of both ends while a command runs.
type watcher struct {
	looks             int
	nearPeak, farPeak int64
	streams           int
}

// look is called now and then, by one goroutine.
func (w *watcher) look(g *ends) {
	for _, pid := range movers(g.near) {
		w.nearPeak = max(w.nearPeak, ground.HighWater(pid))
	}
	for _, pid := range movers(g.far) {
		w.farPeak = max(w.farPeak, ground.HighWater(pid))
		// The kernel walks through the table of all connections it could have for each
		// look at them: every twentieth is enough.
		if w.looks%20 == 10 {
			w.streams = max(w.streams, g.dataConnections(pid))
		}
	}
	w.looks++
}

// dataConnections counts the established TCP connections in a process's network
// namespace that are not ssh's.
func (g *ends) dataConnections(pid int) (n int) {
	for _, s := range ground.Sockets(pid, "tcp") {
		if s.Established && s.Local != g.sshPort && s.Remote != g.sshPort {
			n++
		}
	}
	if g.shared {
		n /= 2 // both ends of each are in the list
	}
	return n
}

// ready waits until the far end answers and copies one small file, so that the
// agent is there.
func (g *ends) ready(ctx context.Context) error {
	if err := g.Ready(ctx, g.near, g.far); err != nil {
		return err
	}
	// What is left after a login is the server itself.
	if _, err := g.Rest(ctx); err != nil {
		return err
	}
	return g.warm(ctx)
}

// warm copies one small file.
func (g *ends) warm(ctx context.Context) error {
	src, dst := g.dir+"/warm", g.dir+"/warm.copy"
	if err := payload.MakeFile(ctx, src, 5, 0); err != nil {
		return err
	}
	if _, err := g.timed(ctx, g.mover(src, g.target(dst))...); err != nil {
		return fmt.Errorf("copying the first file: %w", err)
	}
	return ground.Quiet(ctx, nil, "rm", src, dst)
}
