package engine

import (
	"bytes"
	"os"
	"path"
	"strconv"
	"strings"
)

// delays tells how this process fares on the processors: for how long its threads
// were ready to run and waited, and how often a quota of its cgroup was used up. One
// goroutine at a time. Sources of the figures: Documentation/scheduler/sched-stats.rst,
// Documentation/scheduler/sched-bwc.rst.
type delays struct {
	seen map[string]int64 // by thread
	sum  int64            // nanoseconds
}

// total is how long threads have waited since the first call, in nanoseconds; 0
// where the kernel does not tell.
func (d *delays) total() int64 {
	const dir = "/proc/self/task"
	threads, err := os.ReadDir(dir)
	if err != nil {
		return d.sum
	}
	seen := make(map[string]int64, len(threads))
	for _, t := range threads {
		text, err := os.ReadFile(dir + "/" + t.Name() + "/schedstat")
		if err != nil {
			continue // ended meanwhile
		}
		f := bytes.Fields(text)
		if len(f) < 2 {
			continue
		}
		n, err := strconv.ParseInt(string(f[1]), 10, 64)
		if err != nil {
			continue
		}
		seen[t.Name()] = n
		if d.seen != nil {
			d.sum += max(0, n-d.seen[t.Name()])
		}
	}
	d.seen = seen
	return d.sum
}

// quota counts the periods of the quota that binds this process most, and those of
// them in which it was used up; 0 where there is none.
func (d *delays) quota() (periods, used int64) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, 0
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return 0, 0
	}
	mount, group := cpuGroup(string(own), string(mounts))
	if mount == "" {
		return 0, 0
	}
	// Quotas of the groups around it hold, too.
	for ; ; group = path.Dir(group) {
		if text, err := os.ReadFile(path.Join(mount, group, "cpu.stat")); err == nil {
			if n, u := throttled(string(text)); u > used {
				periods, used = n, u
			}
		}
		if group == "/" || group == "." {
			return periods, used
		}
	}
}

// cpuGroup finds in what /proc tells of a process which group rations its time, and
// where the tree of these groups is mounted; "" if nowhere.
func cpuGroup(own, mounts string) (mount, group string) {
	kind := "" // the version of cgroups that has the processors
	for line := range strings.Lines(own) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(f) != 3 || !strings.HasPrefix(f[2], "/"):
		case hasWord(f[1], "cpu"):
			kind, group = "cgroup", path.Clean(f[2])
		case f[0] == "0" && f[1] == "" && kind == "":
			kind, group = "cgroup2", path.Clean(f[2])
		}
	}
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) >= 4 && f[2] == kind && (kind == "cgroup2" || hasWord(f[3], "cpu")) {
			return f[1], group
		}
	}
	return "", ""
}

// hasWord tells whether a list with commas has a word.
func hasWord(list, word string) bool { return strings.Contains(","+list+",", ","+word+",") }

// throttled reads the counters of a cpu.stat.
func throttled(text string) (periods, used int64) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "nr_periods":
			periods = n
		case "nr_throttled":
			used = n
		}
	}
	return periods, used
}
