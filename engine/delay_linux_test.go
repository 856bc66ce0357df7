package engine

import "testing"

func TestCPUGroup(t *testing.T) {
	const mounts = `tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
`
	for _, c := range []struct{ own, mount, group string }{
		{"3:cpuset:/\n1:cpu,cpuacct:/a/b\n0::/user.slice\n", "/sys/fs/cgroup/cpu,cpuacct", "/a/b"},
		{"3:cpuset:/x\n0::/user.slice/c\n", "/sys/fs/cgroup/unified", "/user.slice/c"},
		{"0::/../../x\n", "/sys/fs/cgroup/unified", "/x"},
		{"nonsense\n1:cpu:relative\n", "", ""},
		{"", "", ""},
	} {
		if mount, group := cpuGroup(c.own, mounts); mount != c.mount || group != c.group {
			t.Errorf("%q: %q %q, want %q %q", c.own, mount, group, c.mount, c.group)
		}
	}
	if periods, used := throttled("nr_periods 82\nnr_throttled 80\nthrottled_time 6911966949\nodd x\n"); periods != 82 || used != 80 {
		t.Errorf("%d of %d", used, periods)
	}
}

// TestDelays: threads of a test wait now and then, and never for less than before.
func TestDelays(t *testing.T) {
	var d delays
	if got := d.total(); got != 0 {
		t.Errorf("before the first look threads have waited for %d", got)
	}
	last := int64(0)
	for range 3 {
		if got := d.total(); got < last {
			t.Errorf("fell from %d to %d", last, got)
		} else {
			last = got
		}
	}
	if len(d.seen) == 0 {
		t.Error("no thread of this process was found")
	}
}
