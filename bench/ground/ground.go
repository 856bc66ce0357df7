package ground

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// pollInterval is the time between two looks at the processes. VmHWM is itself a
// high-water mark, so only growth in a process's last interval escapes.
const pollInterval = 20 * time.Millisecond

// Host is one end of a network.
type Host struct {
	Name    string // by which ssh and the host's own resolver know it
	Address string // IPv4
	Group   *Group
	PID     int // of a process that lives in its network namespace: the ssh server

	idle int                          // processes when nothing runs
	wrap func(args []string) []string // makes the command that runs args on the host
}

// Ground is a network and the hosts on it. One goroutine at a time.
type Ground struct {
	Hosts    []*Host
	Home     string        // HOME of every command; its .ssh knows all hosts
	Emulator *Emulator     // nil on loopback
	Quiet    time.Duration // how long to wait for an idle machine before a command
	// Patience is how long a command's processes may take to end after it; 0 is 10 s.
	// With Sweep what is left then is ended, but for the ssh servers: behind a link of
	// 1.5 Mbit/s with a full queue the session of an ssh server was seen to stay after its
	// client had ended. Why was not looked into; a reset that the queue has dropped would
	// explain it.
	Patience time.Duration
	Sweep    bool
	Env      []string // more of the environment of every command
	Reserve  *Reserve // for steady runs; may be nil

	closers []func()
}

// Close takes everything down, last thing first.
func (g *Ground) Close() {
	for i := len(g.closers) - 1; i >= 0; i-- {
		g.closers[i]()
	}
	g.closers = nil
}

// OnClose adds something that Close does before what was added earlier.
func (g *Ground) OnClose(f func()) { g.closers = append(g.closers, f) }

// AddHost adds a host, whose commands wrap makes, with a group of its own.
func (g *Ground) AddHost(groups *Groups, name, address string, wrap func(args []string) []string) (*Host, error) {
	group, err := groups.Group(name)
	if err != nil {
		return nil, err
	}
	h := &Host{Name: name, Address: address, Group: group, wrap: wrap}
	g.Hosts = append(g.Hosts, h)
	g.OnClose(group.Kill)
	return h, nil
}

// Host finds a host by its name; nil if there is none.
func (g *Ground) Host(name string) *Host {
	for _, h := range g.Hosts {
		if h.Name == name {
			return h
		}
	}
	return nil
}

// Config is the ssh_config for programs that do not look at HOME.
func (g *Ground) Config() string { return filepath.Join(g.Home, ".ssh/config") }

// Command prepares a command on a host, in its group. It is killed when ctx ends.
func (g *Ground) Command(ctx context.Context, h *Host, args ...string) *exec.Cmd {
	args = h.wrap(args)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.SysProcAttr = h.Group.Attributes()
	cmd.Env = append(cmd.Environ(), "HOME="+g.Home, "XDG_STATE_HOME="+filepath.Join(g.Home, "state"))
	cmd.Env = append(cmd.Env, g.Env...)
	cmd.WaitDelay = 3 * time.Second
	return cmd
}

// Usage is what one command took. CPU is by host, in the order of Ground.Hosts.
type Usage struct {
	Wall    time.Duration
	CPU     []time.Duration
	Foreign float64 // processors kept busy by everything else
	Output  string  // standard output and standard error
}

// TotalCPU is that of all hosts.
func (u Usage) TotalCPU() (sum time.Duration) {
	for _, cpu := range u.CPU {
		sum += cpu
	}
	return sum
}

// Run is a command to be timed.
type Run struct {
	Host *Host
	Args []string
	// Before is done at the last moment before the start, when the machine is as quiet
	// as it gets; may be nil.
	Before func(context.Context) error
	Look   func()                      // called every 20 ms and once at the end; may be nil
	Then   func(context.Context) error // what else belongs to the command's time; may be nil
	Limit  time.Duration               // from the start of the command; 0 is none
	// Steady says that the command writes much memory: see Reserve.
	Steady bool
}

// ErrLimit says that a command took longer than its Limit.
var ErrLimit = errors.New("it took too long")

// Timed runs a command and says what it took on every host, until the hosts have
// nothing left of it. Errors are those of starting it and of its exit, and
// ErrLimit; Usage is then what it took so far. After ErrLimit the command has been
// killed, but not what it has started: the caller ends that.
func (g *Ground) Timed(ctx context.Context, r Run) (Usage, error) {
	if r.Steady {
		g.Reserve.Hold(ctx) // what the last command has freed must not lie idle meanwhile
	} else {
		g.Reserve.Release()
	}
	if err := g.Settle(ctx); err != nil {
		return Usage{}, err
	}
	if err := g.hush(ctx); err != nil {
		return Usage{}, err
	}
	if r.Before != nil {
		if err := r.Before(ctx); err != nil {
			return Usage{}, err
		}
	}
	if r.Steady {
		g.Reserve.Lead()
	}
	before, all, emulator := g.cpu(), Busy(), g.emulatorCPU()
	start := time.Now()
	limited, cancel := ctx, func() {}
	if r.Limit > 0 { // what came before is not the command's fault
		limited, cancel = context.WithTimeout(ctx, r.Limit)
	}
	defer cancel()
	var out bytes.Buffer
	cmd := g.Command(limited, r.Host, r.Args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return Usage{}, fmt.Errorf("starting %s: %w", r.Args[0], err)
	}
	stop := poll(r.Look)
	err := cmd.Wait()
	if err == nil && r.Then != nil {
		err = r.Then(limited)
	}
	u := Usage{Wall: time.Since(start), CPU: g.cpu()}
	all = Busy() - all
	during := g.emulatorCPU() - emulator
	for i := range u.CPU {
		during += u.CPU[i] - before[i]
	}
	stop()
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return u, fmt.Errorf("%w: %v", ErrLimit, r.Limit)
	}
	if settled := g.Settle(ctx); err == nil {
		err = settled
	}
	u.CPU = g.cpu()
	for i := range u.CPU {
		u.CPU[i] -= before[i]
	}
	u.Foreign = max(0, (all-during).Seconds()/u.Wall.Seconds())
	u.Output = out.String()
	if err != nil {
		return u, fmt.Errorf("%s: %w\n%s", strings.Join(r.Args, " "), err, Tail(u.Output))
	}
	return u, nil
}

// cpu is what each host has used so far.
func (g *Ground) cpu() []time.Duration {
	list := make([]time.Duration, len(g.Hosts))
	for i, h := range g.Hosts {
		list[i] = h.Group.CPU()
	}
	return list
}

// emulatorCPU is what the emulator has used so far.
func (g *Ground) emulatorCPU() time.Duration {
	if g.Emulator == nil {
		return 0
	}
	return g.Emulator.CPU()
}

// poll calls look every pollInterval until the returned function is called, which
// calls it once more and returns after that.
func poll(look func()) func() {
	if look == nil {
		return func() {}
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(pollInterval)
		defer tick.Stop()
		for {
			look()
			select {
			case <-stop:
				look()
				return
			case <-tick.C:
			}
		}
	}()
	return func() {
		close(stop)
		<-done
	}
}

// hush waits until other programs keep less than a tenth of a processor busy, for
// as long as the settings allow.
func (g *Ground) hush(ctx context.Context) error {
	const span = 500 * time.Millisecond
	for deadline := time.Now().Add(g.Quiet); time.Now().Before(deadline); {
		before := Busy() - g.emulatorCPU()
		if err := Wait(ctx, span); err != nil {
			return err
		}
		if Busy()-g.emulatorCPU()-before < span/10 {
			return nil
		}
	}
	return nil
}

// Settle waits until no host has anything left of the last command.
func (g *Ground) Settle(ctx context.Context) error {
	patience := g.Patience
	if patience <= 0 {
		patience = 10 * time.Second
	}
	for _, h := range g.Hosts {
		for deadline := time.Now().Add(patience); len(h.Group.PIDs()) > h.idle; {
			if time.Now().After(deadline) && g.Sweep {
				h.Group.KillExcept(map[int]bool{h.PID: true})
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s still runs processes of the last command: %s", h.Name, h.Group.Names())
			}
			if err := Wait(ctx, 5*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// Rest takes the processes that the hosts have now, such as servers, for what
// runs when nothing runs; it waits until their number stands still. What is
// returned puts the numbers back.
func (g *Ground) Rest(ctx context.Context) (func(), error) {
	old := make([]int, len(g.Hosts))
	for i, h := range g.Hosts {
		old[i] = h.idle
	}
	for same := 0; same < 15; {
		same++
		for _, h := range g.Hosts {
			if n := len(h.Group.PIDs()); n != h.idle {
				h.idle, same = n, 0
			}
		}
		if err := Wait(ctx, 10*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return func() {
		for i, h := range g.Hosts {
			h.idle = old[i]
		}
	}, nil
}

// Ready waits until the host lets one log in with ssh from another one. Both may
// be the same.
func (g *Ground) Ready(ctx context.Context, from, to *Host) error {
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		cmd := g.Command(ctx, from, "ssh", "-F", g.Config(), to.Name, "true")
		var out []byte
		if out, err = cmd.CombinedOutput(); err == nil {
			return nil
		}
		err = fmt.Errorf("waiting for the ssh server of %s: %w: %s", to.Name, err, Tail(string(out)))
		if waited := Wait(ctx, 50*time.Millisecond); waited != nil {
			return waited
		}
	}
	return err
}
