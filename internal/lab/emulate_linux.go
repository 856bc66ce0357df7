package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gomover/gomover/internal/topology"
	"golang.org/x/sys/unix"
)

// groupInterval is the longest time until a change of groups is seen that no
// report told of. Ours: looking costs some 20 us per host.
const groupInterval = 100 * time.Millisecond

// Emulate is the emulator: it makes the interfaces of the lab whose state is in
// StateDir, answers requests, and moves packets until ctx ends. It calls ready
// once it does. Up starts it in a process of its own; it raises the priority of
// the whole process.
//
// Errors: what could not be set up, or what made it stop; nil at the end of ctx.
func Emulate(ctx context.Context, ready func() error) (err error) {
	t, err := readTopology()
	if err != nil {
		return err
	}
	e, err := newEmulator(t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	for _, h := range e.hosts {
		if err := h.attach(ctx, t); err != nil {
			return fmt.Errorf("setting up %s: %w", h.name, err)
		}
	}
	l, err := net.Listen("unix", socketFile)
	if err != nil {
		return fmt.Errorf("listening for requests: %w", err)
	}
	if err := realtime(); err != nil {
		fmt.Fprintln(os.Stderr, "running without real-time priority, deliveries may be late:", err)
	}
	return e.serve(ctx, l, ready)
}

// serve runs the emulator and all that is beside it.
func (e *emulator) serve(ctx context.Context, l net.Listener, ready func() error) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	var over atomic.Bool
	wg.Go(func() {
		<-ctx.Done()
		l.Close()
		over.Store(true)
		e.ring()
	})
	wg.Go(func() { e.answer(ctx, l) })
	wg.Go(func() { e.watchGroups(ctx) })
	if err := ready(); err != nil {
		return err
	}
	return e.run(over.Load)
}

// close removes the interfaces.
func (e *emulator) close() error {
	var errs []error
	for _, h := range e.hosts {
		errs = append(errs, h.close())
	}
	return errors.Join(append(errs, unix.Close(e.bell))...)
}

// realtime lets all threads of the process run before those of normal programs,
// so that packets leave on time also when the processors are busy. The lowest of
// the real-time priorities is enough for that.
func realtime() error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("listing threads: %w", err)
	}
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	for _, task := range tasks { // later ones inherit it
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			continue
		}
		if err := unix.SchedSetAttr(tid, &attr, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("asking for real-time priority: %w", err)
		}
	}
	return nil
}

// watchGroups keeps the emulator's list of who is in which group. The kernel of
// each namespace knows; reports of a change, which it sends some 10 ms after,
// say when to look.
func (e *emulator) watchGroups(ctx context.Context) {
	tick := time.NewTicker(groupInterval)
	defer tick.Stop()
	buf := make([]byte, 64<<10)
	last := members{}
	for {
		found := members{}
		for _, h := range e.hosts {
			if !h.multicast {
				continue
			}
			for _, g := range parseIGMP(procText(h.proc.igmp, buf), ifname) {
				found[g] = append(found[g], h.index)
			}
			for _, g := range parseIGMP6(procText(h.proc.igmp6, buf), ifname) {
				found[g] = append(found[g], h.index)
			}
		}
		if !found.equal(last) {
			last = found
			e.post(ctx, func() { e.members = found })
		}
		select {
		case <-ctx.Done():
			return
		case <-e.changed:
		case <-tick.C:
		}
	}
}

// collect gives the counters and, if asked to, zeroes them. It is run by post.
func (e *emulator) collect(reset bool) (*Stats, error) {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return nil, fmt.Errorf("asking for the time used: %w", err)
	}
	now := e.now()
	s := &Stats{
		Seconds: now.Seconds(),
		CPU:     time.Duration(ru.Utime.Nano() + ru.Stime.Nano()).Seconds(),
		LateAvg: (e.late.sum / time.Duration(max(1, e.late.n))).Seconds(),
		LateMax: e.late.max.Seconds(),
		PID:     os.Getpid(),
	}
	e.countOverruns()
	for _, id := range e.topo.Links() {
		l := e.link(id)
		s.Links = append(s.Links, l.stats(now))
		if reset {
			l.reset()
		}
	}
	if reset {
		e.late = lateness{}
	}
	return s, nil
}

// countOverruns adds what the kernels dropped since it was last called.
func (e *emulator) countOverruns() {
	buf := make([]byte, 4096)
	for _, h := range e.hosts {
		n := parseTransmitDrops(procText(h.proc.dev, buf), ifname)
		if n > h.overruns {
			h.up.refused[causeOverrun] += n - h.overruns
		}
		h.overruns = n
	}
}

// link gives the link of a name that the topology knows.
func (e *emulator) link(id topology.LinkID) *link {
	switch id.Kind {
	case topology.Up:
		return e.hosts[id.Host].up
	case topology.Down:
		return e.hosts[id.Host].down
	}
	return e.paths[[2]int{id.Host, id.To}]
}

// set changes links as words say, all or none. It is run by post.
func (e *emulator) set(words []string) error {
	ids, err := e.topo.Set(words)
	if err != nil {
		return err
	}
	for _, id := range ids {
		l := e.link(id)
		if l == nil {
			if err := e.addLink(id); err != nil {
				return err
			}
			continue
		}
		if err := l.model.Set(*e.topo.Link(id)); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	return nil
}

// readTopology reads the description of the lab that is up.
func readTopology() (*topology.Topology, error) {
	text, err := os.ReadFile(topologyFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotUp
	}
	if err != nil {
		return nil, fmt.Errorf("reading the topology: %w", err)
	}
	t, err := topology.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(topologyFile), err)
	}
	return t, nil
}
