package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// pollInterval is the time between two looks at the processes' memory. VmHWM is
// itself a high-water mark, so only growth in a process's last interval escapes.
const pollInterval = 20 * time.Millisecond

// ground is where a row runs: a near end, where commands are typed, and a far
// end with an ssh server.
type ground struct {
	host      string                                 // the far end's name for ssh
	home      string                                 // HOME at the near end; its .ssh knows the far end
	wrap      func(far bool, args []string) []string // makes the command that runs args at an end
	near, far *cgroup
	emulator  *cgroup // nil without one
	idle      int     // processes of the far end when nothing runs
	dir       string  // in memory, for files
	binary    string
	quiet     time.Duration // how long to wait for an idle machine before a command
	sshPort   int           // whose connections are not data connections
	shared    bool          // both ends are in one network namespace
	closers   []func()
}

// close takes everything down, last thing first.
func (g *ground) close() {
	for i := len(g.closers) - 1; i >= 0; i-- {
		g.closers[i]()
	}
	g.closers = nil
}

// config is the ssh_config for programs that do not look at HOME.
func (g *ground) config() string { return filepath.Join(g.home, ".ssh/config") }

// ssh is the ssh command for peers, with the cipher that a GCM in hardware is
// fastest with.
func (g *ground) ssh() []string {
	return []string{"ssh", "-F", g.config(), "-c", "aes128-gcm@openssh.com"}
}

// target names a path at the far end.
func (g *ground) target(path string) string { return g.host + ":" + path }

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

// command prepares a command at one end, in its cgroup. It is killed when ctx
// ends.
func (g *ground) command(ctx context.Context, far bool, args ...string) *exec.Cmd {
	args = g.wrap(far, args)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	group := g.near
	if far {
		group = g.far
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.fd.Fd())}
	cmd.Env = append(os.Environ(), "HOME="+g.home, "XDG_STATE_HOME="+filepath.Join(g.home, "state"))
	cmd.WaitDelay = 3 * time.Second
	return cmd
}

// mover is gomover's command line.
func (g *ground) mover(args ...string) []string {
	return append([]string{g.binary, "--progress=none"}, args...)
}

// timed runs a command at the near end and says what it took at both ends.
func (g *ground) timed(ctx context.Context, args ...string) (usage, error) {
	return g.timedAfter(ctx, func() error { return nil }, args...)
}

// timedAfter is timed with something to do at the last moment before.
func (g *ground) timedAfter(ctx context.Context, prepare func() error, args ...string) (usage, error) {
	if err := g.settle(ctx); err != nil {
		return usage{}, err
	}
	if err := g.hush(ctx); err != nil {
		return usage{}, err
	}
	if err := prepare(); err != nil {
		return usage{}, err
	}
	var out bytes.Buffer
	cmd := g.command(ctx, false, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cpu, all, emulator := g.near.cpu()+g.far.cpu(), busy(), g.emulatorCPU()
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, fmt.Errorf("starting %s: %w", args[0], err)
	}
	watched := g.watch()
	err := cmd.Wait()
	u := usage{wall: time.Since(start)}
	all = busy() - all
	during := g.near.cpu() + g.far.cpu() - cpu + g.emulatorCPU() - emulator
	watched(&u)
	if settled := g.settle(ctx); err == nil {
		err = settled
	}
	u.cpu = g.near.cpu() + g.far.cpu() - cpu
	u.foreign = max(0, (all-during).Seconds()/u.wall.Seconds())
	u.output = out.String()
	if err != nil {
		return u, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, tail(u.output))
	}
	return u, nil
}

// A run is disturbed when other programs keep more than this share of a processor
// busy meanwhile. With a time to wait for a quiet machine it is repeated, at most
// so often, and the least disturbed one counts: never the fastest.
const (
	disturbed = 0.25
	attempts  = 4
)

// steady is timed for commands that can be repeated; prepare goes before each.
func (g *ground) steady(ctx context.Context, prepare func() error, args ...string) (best usage, err error) {
	for i := range attempts {
		u, err := g.timedAfter(ctx, prepare, args...)
		if err != nil {
			return u, err
		}
		if i == 0 || u.foreign < best.foreign {
			u.nearPeak, u.farPeak = max(u.nearPeak, best.nearPeak), max(u.farPeak, best.farPeak)
			best = u
		}
		if best.foreign <= disturbed || g.quiet == 0 {
			break
		}
	}
	return best, nil
}

// hush waits until other programs keep less than a tenth of a processor busy, for
// as long as the settings allow.
func (g *ground) hush(ctx context.Context) error {
	const span = 500 * time.Millisecond
	for deadline := time.Now().Add(g.quiet); time.Now().Before(deadline); {
		before := busy() - g.emulatorCPU()
		if err := wait(ctx, span); err != nil {
			return err
		}
		if busy()-g.emulatorCPU()-before < span/10 {
			return nil
		}
	}
	return nil
}

// touch writes dst as large as src is and removes it, right before a command that
// writes as much. A virtual machine gives free memory back to its host some two
// seconds after it was freed and must get it again page by page at the next use,
// which costs more than copying into it does; without this the figures say little
// but who came when.
func (g *ground) touch(ctx context.Context, src, dst string) error {
	if err := quiet(ctx, nil, "cp", src, dst); err != nil {
		return err
	}
	return os.Remove(dst)
}

// emulatorCPU is what the emulator has used so far.
func (g *ground) emulatorCPU() time.Duration {
	if g.emulator == nil {
		return 0
	}
	return g.emulator.cpu()
}

// settle waits until the far end has nothing left of the last command.
func (g *ground) settle(ctx context.Context) error {
	for deadline := time.Now().Add(10 * time.Second); len(g.far.pids()) > g.idle; {
		if time.Now().After(deadline) {
			return fmt.Errorf("the far end still runs processes of the last command: %s", g.far.names())
		}
		if err := wait(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// watch polls the processes of both ends until the returned function is called,
// which fills in what was seen.
func (g *ground) watch() func(*usage) {
	var nearPeak, farPeak, streams atomic.Int64
	stop, done := make(chan struct{}), make(chan struct{})
	// The kernel walks through the table of all connections it could have for each
	// look at them: every twentieth is enough.
	look := func(number int) {
		for _, pid := range g.near.movers() {
			nearPeak.Store(max(nearPeak.Load(), highWater(pid)))
		}
		for _, pid := range g.far.movers() {
			farPeak.Store(max(farPeak.Load(), highWater(pid)))
			if number%20 == 10 {
				streams.Store(max(streams.Load(), int64(g.dataConnections(pid))))
			}
		}
	}
	go func() {
		defer close(done)
		tick := time.NewTicker(pollInterval)
		defer tick.Stop()
		for number := 0; ; number++ {
			look(number)
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	return func(u *usage) {
		close(stop)
		<-done
		u.nearPeak, u.farPeak, u.streams = nearPeak.Load(), farPeak.Load(), int(streams.Load())
	}
}

// wait is a pause that ends with ctx.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// tail is the end of a command's output, for an error.
func tail(s string) string {
	const most = 800 // bytes
	if len(s) > most {
		s = "..." + s[len(s)-most:]
	}
	return strings.TrimSpace(s)
}

// quiet runs a helper command and gives its output only in an error.
func quiet(ctx context.Context, group *cgroup, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	if group != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.fd.Fd())}
	}
	// A file, not a pipe: a daemon that the command leaves would keep a pipe open.
	out, err := os.CreateTemp("", "gomover-bench-")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return errors.Join(fmt.Errorf("%s: %w", strings.Join(args, " "), err), errors.New(tail(string(text))))
	}
	return nil
}
