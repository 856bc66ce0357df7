package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cgroupRoot is the place below which the groups of this run are made.
type cgroupRoot struct {
	dir     string
	mounted string // our own mount, if there was none
	groups  []*cgroup
}

// cgroup holds the processes of one end, and their children. Its counters keep
// what ended processes have used.
type cgroup struct {
	dir string
	fd  *os.File
}

// newCgroupRoot finds the mount of cgroup version 2, or mounts it below dir. No
// controller is needed: every group counts its processor time.
func newCgroupRoot(dir string) (*cgroupRoot, error) {
	r := &cgroupRoot{}
	base := ""
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("looking for cgroup version 2: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 3 && f[2] == "cgroup2" && strings.HasPrefix(f[3], "rw") {
			base = f[1]
			break
		}
	}
	if base == "" {
		r.mounted = filepath.Join(dir, "cgroup")
		if err := os.Mkdir(r.mounted, 0o700); err != nil {
			return nil, err
		}
		if err := syscall.Mount("cgroup2", r.mounted, "cgroup2", 0, ""); err != nil {
			return nil, fmt.Errorf("mounting cgroup version 2: %w", err)
		}
		base = r.mounted
	}
	r.dir = filepath.Join(base, filepath.Base(dir))
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		r.close()
		return nil, fmt.Errorf("making a cgroup: %w", err)
	}
	return r, nil
}

// group makes a group. The root's close removes it.
func (r *cgroupRoot) group(name string) (*cgroup, error) {
	g := &cgroup{dir: filepath.Join(r.dir, name)}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		return nil, fmt.Errorf("making a cgroup: %w", err)
	}
	var err error
	if g.fd, err = os.Open(g.dir); err != nil {
		return nil, fmt.Errorf("opening a cgroup: %w", err)
	}
	r.groups = append(r.groups, g)
	return g, nil
}

// close ends all processes of all groups and removes the groups.
func (r *cgroupRoot) close() {
	for _, g := range r.groups {
		g.kill()
		g.fd.Close()
		syscall.Rmdir(g.dir)
	}
	if r.dir != "" {
		syscall.Rmdir(r.dir)
	}
	if r.mounted != "" {
		syscall.Unmount(r.mounted, 0)
	}
}

// pids are the processes in the group now.
func (g *cgroup) pids() (pids []int) {
	data, _ := os.ReadFile(g.dir + "/cgroup.procs")
	for line := range strings.Lines(string(data)) {
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// kill ends the group's processes, which are all ours, and waits until they are
// gone, for at most five seconds.
func (g *cgroup) kill() {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		pids := g.pids()
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// cpu is the time that the group's processes, ended ones too, have used on
// processors, in user mode and in the kernel.
func (g *cgroup) cpu() time.Duration {
	data, _ := os.ReadFile(g.dir + "/cpu.stat")
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return time.Duration(n) * time.Microsecond
		}
	}
	return 0
}

// movers are the processes of the group that run gomover.
func (g *cgroup) movers() (pids []int) {
	for _, pid := range g.pids() {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err == nil && strings.HasPrefix(filepath.Base(exe), "gomover") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// names lists the group's processes for a person.
func (g *cgroup) names() string {
	var names []string
	for _, pid := range g.pids() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		names = append(names, fmt.Sprintf("%d %q", pid, strings.ReplaceAll(strings.TrimRight(string(line), "\x00"), "\x00", " ")))
	}
	return strings.Join(names, ", ")
}

// highWater is the most that a process has held resident so far. Unit: bytes;
// 0 if it is gone.
func highWater(pid int) int64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// busy is the time that all processors have spent working since the start of
// the machine. Source: proc(5), /proc/stat, in hundredths of a second.
func busy() time.Duration {
	f := strings.Fields(firstLine("/proc/stat"))
	var sum int64
	for i, field := range f {
		// 1 user, 2 nice, 3 system, 4 idle, 5 iowait, 6 irq, 7 softirq
		if i >= 1 && i <= 7 && i != 4 && i != 5 {
			n, _ := strconv.ParseInt(field, 10, 64)
			sum += n
		}
	}
	return time.Duration(sum) * 10 * time.Millisecond
}
