package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gomover/gomover/internal/topology"
	"golang.org/x/sys/unix"
)

// StateDir holds what is known of the lab that is up: its topology, the
// emulator's socket and log, and below ssh what the servers use.
const StateDir = "/run/gomover-lab"

// Files of the state. lockFile is held by Up and Down while they work, and by the
// emulator as long as it lives.
const (
	lockFile     = StateDir + ".lock"
	topologyFile = StateDir + "/topology.json"
	socketFile   = StateDir + "/control"
	logFile      = StateDir + "/log"
)

// Descriptors that the emulator's process is started with, after the usual three.
const (
	readyFD = 3 // a pipe to Up; a byte says that the lab is up
	lockFD  = 4 // lockFile, locked
	lifeFD  = 5 // Config.Life, if there is one
)

// Bounds of our choice.
const (
	downTimeout = 30 * time.Second      // for all processes of a lab to be gone
	lockPoll    = 10 * time.Millisecond // between two tries to get a lock
	maxSaid     = 64 << 10              // bytes of the log that go into an error
)

var (
	// ErrNotRoot says that the caller may not build networks.
	ErrNotRoot = errors.New("the lab needs root: it makes network namespaces and TUN interfaces, and gives hosts names and ssh servers")
	// ErrUp says that there is a lab already, perhaps another user's.
	ErrUp = errors.New("a lab is up already, and a machine has one at a time; down ends it")
	// ErrNotUp says that there is none.
	ErrNotUp = errors.New("the lab is not up")
	// ErrCrashed says that there is what a lab has left whose emulator is gone.
	ErrCrashed = errors.New("the lab's emulator has died, see " + logFile + "; down cleans up")
)

func needRoot() error {
	if os.Geteuid() != 0 {
		return ErrNotRoot
	}
	return nil
}

// Config says which lab to bring up, and how.
type Config struct {
	Topology []byte   // as package topology reads it
	Emulator []string // command line of a process that calls Serve with the further words it gets
	// Life, if not nil, is the reading end of a pipe, or the like: when nobody
	// holds the other end open any more, the lab ends by itself, as by Down.
	Life *os.File
}

// tiedWord tells Serve that there is a lifeFD.
const tiedWord = "-tied"

// Up builds a network and starts its emulator. It returns when packets flow. What
// a crashed lab has left is removed first; if anything fails or ctx ends, nothing
// of the new one remains.
//
// Errors: ErrNotRoot, ErrUp; else what went wrong.
func Up(ctx context.Context, c Config) (err error) {
	if err := needRoot(); err != nil {
		return err
	}
	t, err := topology.Parse(c.Topology)
	if err != nil {
		return fmt.Errorf("topology: %w", err)
	}
	lock, err := tryLock()
	if err != nil {
		return err
	}
	defer lock.Close() // the emulator has it, too
	if err := clean(); err != nil {
		return fmt.Errorf("removing what an earlier lab has left: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, clean(), removeLock())
		}
	}()
	if err := os.Mkdir(StateDir, 0o755); err != nil {
		return fmt.Errorf("making a directory for the state: %w", err)
	}
	if err := os.WriteFile(topologyFile, c.Topology, 0o644); err != nil {
		return fmt.Errorf("keeping the topology: %w", err)
	}
	if err := raiseLimits(); err != nil {
		return err
	}
	for i := range t.Hosts {
		if err := addHost(ctx, t, i); err != nil {
			return err
		}
	}
	return startEmulator(ctx, c, lock)
}

// addHost makes the namespace of a host and the files that it sees in /etc.
func addHost(ctx context.Context, t *topology.Topology, i int) error {
	if err := addNetns(ctx, t.Hosts[i].Name); err != nil {
		return err
	}
	dir := etcDir(t.Hosts[i].Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	files := map[string]string{"hosts": hostsFile(t), "resolv.conf": resolvConf}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing %s for %s: %w", name, t.Hosts[i].Name, err)
		}
	}
	return nil
}

// startEmulator starts the emulator's process and waits until the lab is up.
func startEmulator(ctx context.Context, c Config, lock *os.File) error {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("making the emulator's log: %w", err)
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("making a pipe: %w", err)
	}
	defer r.Close()
	cmd := exec.Command(c.Emulator[0], c.Emulator[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, "/"
	cmd.ExtraFiles = []*os.File{w, lock} // readyFD, lockFD
	if c.Life != nil {
		cmd.Args = append(cmd.Args, tiedWord)
		cmd.ExtraFiles = append(cmd.ExtraFiles, c.Life) // lifeFD
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return fmt.Errorf("starting the emulator: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
	defer stop()
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil || ctx.Err() != nil {
		cmd.Process.Kill()
		cmd.Wait()
		if ctx.Err() != nil {
			return fmt.Errorf("starting the emulator: %w", context.Cause(ctx))
		}
		// Through the descriptor: the emulator may have removed the name already.
		said, _ := io.ReadAll(io.NewSectionReader(log, 0, maxSaid))
		return fmt.Errorf("the emulator did not start: %s", strings.TrimSpace(string(said)))
	}
	go cmd.Wait() // a caller that outlives the lab keeps no dead process
	return nil
}

// Serve is what the process that Up starts does, until it is killed or ctx ends; at
// the end of ctx it removes the lab, as Down does. words are what Up has added to
// its command line.
func Serve(ctx context.Context, words []string) error {
	for _, fd := range []int{readyFD, lockFD} {
		// No process that is started from here may keep the lab locked.
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return fmt.Errorf("this process was not started by Up: %w", err)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tied := slices.Contains(words, tiedWord)
	if tied {
		unix.CloseOnExec(lifeFD)
		go func() { // ends with the process at the latest
			io.Copy(io.Discard, os.NewFile(lifeFD, "life"))
			cancel()
		}()
	}
	err := Emulate(ctx, func() error {
		// Not an os.File, which the garbage collector closes when it is not needed
		// any more: Up takes that for the end of this process, and kills it.
		if _, err := unix.Write(readyFD, []byte{1}); err != nil {
			return fmt.Errorf("saying that the lab is up: %w", err)
		}
		return unix.Close(readyFD)
	})
	if !tied && ctx.Err() == nil {
		return err // the log, which says why, stays until Down
	}
	return errors.Join(err, clean(), removeLock())
}

// Down ends the lab: the emulator, all that runs in the hosts, and everything that
// Up and StartServers made. It also cleans up after a crash. Nothing that runs
// elsewhere is touched.
//
// Errors: ErrNotRoot; ErrNotUp if there is nothing to end; else what remains.
func Down(ctx context.Context) error {
	if err := needRoot(); err != nil {
		return err
	}
	files, err := labNetns()
	if err != nil {
		return err
	}
	if len(files) == 0 && !exists(StateDir) {
		return ErrNotUp
	}
	ctx, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	lock, err := takeOver(ctx)
	if lock == nil {
		return err
	}
	defer lock.Close()
	return errors.Join(clean(), removeLock())
}

// clean removes everything of a lab but the emulator and the lock, which the
// caller holds.
func clean() error {
	// Not the caller's context: what ended that must not keep us from cleaning up.
	ctx, cancel := context.WithTimeout(context.Background(), downTimeout)
	defer cancel()
	errs := []error{uninstallHomes()}
	files, err := labNetns()
	errs = append(errs, err)
	for _, file := range files {
		errs = append(errs, dropNetns(ctx, file))
	}
	return errors.Join(append(errs, os.RemoveAll(StateDir))...)
}

// killEmulator kills whoever answers requests, and waits for that end; false: nobody
// does.
func killEmulator(ctx context.Context) (bool, error) {
	conn, err := net.Dial("unix", socketFile)
	if err != nil {
		return false, nil // none, or gone
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return false, fmt.Errorf("finding the emulator: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || credErr != nil {
		return false, fmt.Errorf("finding the emulator: %w", errors.Join(err, credErr))
	}
	return true, kill(ctx, int(cred.Pid))
}

// tryLock takes the lock or says that someone has it.
func tryLock() (*os.File, error) {
	for {
		f, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("opening the lab's lock: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, ErrUp
			}
			return nil, fmt.Errorf("taking the lab's lock: %w", err)
		}
		// Whoever had it may have removed the file since it was opened.
		have, err1 := f.Stat()
		there, err2 := os.Stat(lockFile)
		if err1 == nil && err2 == nil && os.SameFile(have, there) {
			return f, nil
		}
		f.Close()
	}
}

// takeOver kills the emulator and takes the lock, as soon as there is the one and
// the other is free: a lab that is just coming up has no emulator yet that answers.
// Without a lock, and without an error, the emulator is dead and someone else was
// faster: who brings up the next lab removes what the one before has left, and must
// not be killed, too.
func takeOver(ctx context.Context) (*os.File, error) {
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		killed, err := killEmulator(ctx)
		if err != nil {
			return nil, err
		}
		lock, err := tryLock()
		switch {
		case !errors.Is(err, ErrUp):
			return lock, err
		case killed:
			return nil, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("another command works on the lab: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// removeLock removes the lock, which the caller holds and gives up next.
func removeLock() error {
	if err := os.Remove(lockFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the lab's lock: %w", err)
	}
	return nil
}
