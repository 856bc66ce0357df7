package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/bench/ground"
)

// forget takes a file's content out of memory, so that it is read from the disk.
func forget(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("taking a file out of memory: %w", err)
	}
	defer f.Close()
	// What is not written yet would stay.
	if err := errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
		return fmt.Errorf("taking %s out of memory: %w", path, err)
	}
	return nil
}

// ration is a cgroup whose processes share a part of one processor.
type ration struct{ dir string }

// period is over what a ration is given out, in microseconds.
const period = 50_000

// newRation makes one of so many thousandths.
func newRation(name string, perMille int) (*ration, error) {
	base, err := ground.Controller("cpu")
	if err != nil {
		return nil, err
	}
	r := &ration{filepath.Join(base, name)}
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		return nil, fmt.Errorf("making a cgroup: %w", err)
	}
	err = errors.Join(os.WriteFile(r.dir+"/cpu.cfs_period_us", []byte(strconv.Itoa(period)), 0),
		os.WriteFile(r.dir+"/cpu.cfs_quota_us", []byte(strconv.Itoa(period*perMille/1000)), 0))
	if err != nil {
		r.close()
		return nil, fmt.Errorf("setting a quota of processor time: %w", err)
	}
	return r, nil
}

// adopt puts a process into the ration.
func (r *ration) adopt(pid int) error {
	if err := os.WriteFile(r.dir+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0); err != nil {
		return fmt.Errorf("rationing processor time of process %d: %w", pid, err)
	}
	return nil
}

// close ends the ration; its processes get what they want from then on.
func (r *ration) close() {
	os.WriteFile(r.dir+"/cpu.cfs_quota_us", []byte("-1"), 0)
	os.Remove(r.dir)
}

// sysctl sets a parameter of a host's network namespace and returns what puts it
// back.
func sysctl(ctx context.Context, g *ground.Ground, h *ground.Host, setting string) (func(), error) {
	name, _, _ := strings.Cut(setting, "=")
	old, err := g.Command(ctx, h, "sysctl", "-n", name).Output()
	if err != nil {
		return nil, fmt.Errorf("reading %s at %s: %w", name, h.Name, err)
	}
	set := func(ctx context.Context, setting string) error {
		if out, err := g.Command(ctx, h, "sysctl", "-q", "-w", setting).CombinedOutput(); err != nil {
			return fmt.Errorf("setting %s at %s: %w: %s", setting, h.Name, err, ground.Tail(string(out)))
		}
		return nil
	}
	undo := func() { set(context.Background(), name+"="+strings.TrimSpace(string(old))) }
	return undo, set(ctx, setting)
}
