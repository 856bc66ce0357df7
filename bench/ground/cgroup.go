package ground

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Groups is the place below which the process groups of one run are made. One
// goroutine.
type Groups struct {
	dir     string
	mounted string // our own mount, if there was none
	groups  []*Group
}

// Group holds the processes of one host, and their children. Its counters keep
// what ended processes have used. Methods may be called concurrently.
type Group struct {
	dir string
	fd  *os.File
}

// NewGroups finds the mount of cgroup version 2, or mounts it below dir, and
// makes a cgroup whose name begins with that of dir and is its own. No controller is
// needed: every group counts its processor time. Errors: without root, or without cgroup version 2.
func NewGroups(dir string) (*Groups, error) {
	r := &Groups{}
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
	// Directories of different runs may have the same last name, such as those of tests.
	if r.dir, err = os.MkdirTemp(base, filepath.Base(dir)+"."); err != nil {
		r.Close()
		return nil, fmt.Errorf("making a cgroup: %w", err)
	}
	return r, nil
}

// Group makes a group; its name is made unique. Close removes it.
func (r *Groups) Group(name string) (*Group, error) {
	g := &Group{dir: filepath.Join(r.dir, fmt.Sprintf("%s.%d", name, len(r.groups)))}
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

// Close ends all processes of all groups and removes the groups.
func (r *Groups) Close() {
	for _, g := range r.groups {
		g.Kill()
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

// Attributes start a process in the group.
func (g *Group) Attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(g.fd.Fd())}
}

// Adopt takes a running process over, without its children.
func (g *Group) Adopt(pid int) error {
	if err := os.WriteFile(g.dir+"/cgroup.procs", []byte(strconv.Itoa(pid)), 0); err != nil {
		return fmt.Errorf("moving process %d to a cgroup: %w", pid, err)
	}
	return nil
}

// PIDs are the processes in the group now.
func (g *Group) PIDs() (pids []int) {
	data, _ := os.ReadFile(g.dir + "/cgroup.procs")
	for line := range strings.Lines(string(data)) {
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Kill ends the group's processes, which are all ours, and waits until they are
// gone, for at most five seconds.
func (g *Group) Kill() { g.KillExcept(nil) }

// KillExcept is Kill for all but some processes.
func (g *Group) KillExcept(kept map[int]bool) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		left := 0
		for _, pid := range g.PIDs() {
			if !kept[pid] {
				left++
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if left == 0 {
			return
		}
	}
}

// CPU is the time that the group's processes, ended ones too, have used on
// processors, in user mode and in the kernel.
func (g *Group) CPU() time.Duration {
	data, _ := os.ReadFile(g.dir + "/cpu.stat")
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "usage_usec "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return time.Duration(n) * time.Microsecond
		}
	}
	return 0
}

// Running are the processes of the group whose program's file name starts with
// name.
func (g *Group) Running(name string) (pids []int) {
	for _, pid := range g.PIDs() {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err == nil && strings.HasPrefix(filepath.Base(exe), name) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Names lists the group's processes for a person.
func (g *Group) Names() string {
	var names []string
	for _, pid := range g.PIDs() {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		names = append(names, fmt.Sprintf("%d %q", pid, strings.ReplaceAll(strings.TrimRight(string(line), "\x00"), "\x00", " ")))
	}
	return strings.Join(names, ", ")
}
