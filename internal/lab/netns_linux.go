package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// netnsDir is where ip-netns(8) keeps the names of network namespaces.
const netnsDir = "/run/netns"

// netnsPrefix starts the name of every namespace of the lab, and of no other: what
// bears it is removed with the lab.
const netnsPrefix = "gomover-lab."

func netnsName(host string) string { return netnsPrefix + host }

func netnsFile(host string) string { return filepath.Join(netnsDir, netnsName(host)) }

// addNetns makes the network namespace of a host.
func addNetns(ctx context.Context, host string) error {
	return command(ctx, "", "ip", "netns", "add", netnsName(host))
}

// InHost runs f on a thread of its own in the network namespace of a host, so
// that sockets which f itself opens, not goroutines of it, are the host's. The
// thread ends with f: nothing else ever runs there by accident. It may be called
// by many goroutines at once. Errors: that of f, or there is no such host.
func InHost(host string, f func() error) error {
	done := make(chan error, 1) // the thread must not wait
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is thrown away
		done <- func() error {
			if err := enterNetns(host); err != nil {
				return err
			}
			return f()
		}()
	}()
	return <-done
}

// enterNetns moves the calling thread, which must be locked, to a host.
func enterNetns(host string) error {
	fd, err := unix.Open(netnsFile(host), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("entering the network namespace of %s: %w", host, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering the network namespace of %s: %w", host, err)
	}
	return nil
}

// labNetns lists the namespaces of a lab, also of one that is half up or has
// crashed, as files.
func labNetns() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(netnsDir, netnsPrefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("listing network namespaces: %w", err)
	}
	return files, nil
}

// dropNetns ends all that runs in a namespace and removes it.
func dropNetns(ctx context.Context, file string) error {
	if err := killNetns(ctx, file); err != nil {
		return err
	}
	err := command(ctx, "", "ip", "netns", "del", filepath.Base(file))
	if err != nil && !exists(file) {
		return nil // a command of an emulator that was killed has done it
	}
	return err
}

// killNetns kills the processes of a namespace until there is none left; what is
// killed may just be starting another.
func killNetns(ctx context.Context, file string) error {
	var own unix.Stat_t
	if err := unix.Stat(file, &own); errors.Is(err, unix.ENOENT) {
		return nil
	} else if err != nil {
		return fmt.Errorf("looking at network namespace %s: %w", file, err)
	}
	for {
		pids, err := processesIn(own.Dev, own.Ino)
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := kill(ctx, pid); err != nil {
				return err
			}
		}
	}
}

// processesIn lists the processes whose network namespace is the given inode.
func processesIn(dev, ino uint64) (pids []int, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		var st unix.Stat_t // fails for processes that end meanwhile
		if unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &st) == nil && st.Dev == dev && st.Ino == ino && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// kill kills a process and waits until it is gone or a zombie.
func kill(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("killing process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("killing process %d: %w", pid, err)
	}
	for {
		// In short turns, to notice the end of ctx.
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("waiting for the end of process %d: %w", pid, err)
		case ctx.Err() != nil:
			return fmt.Errorf("process %d does not end: %w", pid, ctx.Err())
		}
	}
}

// command runs a program and puts what it said into the error if it fails.
func command(ctx context.Context, input, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// exists tells whether there is a file of that name.
func exists(name string) bool {
	_, err := os.Lstat(name)
	return !errors.Is(err, fs.ErrNotExist)
}
