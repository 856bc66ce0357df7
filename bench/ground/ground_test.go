package ground

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSamples(t *testing.T) {
	for _, c := range []struct {
		in   Samples
		want float64
	}{
		{nil, 0}, {Samples{3}, 3}, {Samples{9, 1, 2}, 2}, {Samples{4, 1, 3, 2}, 2.5},
	} {
		if got := c.in.Median(); got != c.want {
			t.Errorf("median of %v = %v, want %v", c.in, got, c.want)
		}
	}
	s := Samples{9, 1, 2}
	if got, want := s.Text("%.0f", " s"), "2 s [1 to 9]"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	if s.Min() != 1 || s.Max() != 9 || (Samples{}).Min() != 0 || (Samples{}).Max() != 0 {
		t.Errorf("least and greatest of %v are %v and %v", s, s.Min(), s.Max())
	}
}

func TestSameFile(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := MakeFile(path("a"), 3<<20+5, 1); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path("a"))
	if err != nil {
		t.Fatal(err)
	}
	other := append([]byte(nil), data...)
	other[3<<20] ^= 1
	for name, content := range map[string][]byte{"same": data, "short": data[:2<<20], "one bit": other, "empty": nil} {
		if err := os.WriteFile(path(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, want := SameFile(path("a"), path(name)) == nil, name == "same"; got != want {
			t.Errorf("%s: same is %v", name, got)
		}
	}
}

func TestSameTree(t *testing.T) {
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	for _, root := range []string{a, b} {
		if err := MakeTree(root, 3, 10, 100); err != nil {
			t.Fatal(err)
		}
	}
	if err := SameTree(a, b); err != nil {
		t.Error(err)
	}
	if err := os.Rename(filepath.Join(b, "d0001/f000001"), filepath.Join(b, "d0001/x")); err != nil {
		t.Fatal(err)
	}
	if err := SameTree(a, b); err == nil {
		t.Error("another name goes unseen")
	}
}

func TestTopologyIsWhatTheEmulatorReads(t *testing.T) {
	text, err := json.Marshal(Topology{Control: "cubic", Sites: []Site{
		{Name: "near", Link: &Link{Rate: "1gbit", Delay: "25ms"}},
		{Name: "far", Multicast: true, Down: &Link{Loss: 0.001}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"cc":"cubic","hosts":[{"name":"near","link":{"rate":"1gbit","delay":"25ms"}},{"name":"far","multicast":true,"down":{"loss":0.001}}]}`
	if string(text) != want {
		t.Errorf("topology\n%s\nwant\n%s", text, want)
	}
}

func TestCounters(t *testing.T) {
	var c Counters
	text := `{"links":[{"name":"far.down","unicast":{"packets":1,"bytes":2},"multicast":{"packets":3,"bytes":4},"out":{"packets":5,"bytes":6},"drops":{"loss":7,"queue":8}}]}`
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	l := c.Link("far.down")
	if l.Out.Bytes != 6 || l.Unicast.Bytes+l.Multicast.Bytes != 6 || l.Dropped() != 15 {
		t.Errorf("counters %+v", l)
	}
	if l := c.Link("near.down"); l.Out.Bytes != 0 {
		t.Errorf("a link that is not there carries %d bytes", l.Out.Bytes)
	}
}

func TestPort(t *testing.T) {
	for in, want := range map[string]int{"0100007F:08AE": 2222, "0000:0016": 22, "": 0, "x:12": 0, "x:zzzz": 0} {
		if got := port(in); got != want {
			t.Errorf("port of %q is %d, want %d", in, got, want)
		}
	}
}

func TestTrafficLeavesLoopbackOut(t *testing.T) {
	const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  wan0:    2000       2    0    0    0     0          0         0      300       3    0    0    0     0       0          0
  wan1:      20       2    0    0    0     0          0         0        3       3    0    0    0     0       0          0
`
	if in, out := traffic(text); in != 2020 || out != 303 {
		t.Errorf("received %d, sent %d", in, out)
	}
	if in, out := traffic("nonsense: 1 2\n"); in != 0 || out != 0 {
		t.Errorf("received %d, sent %d of nonsense", in, out)
	}
}

func TestKeepAgents(t *testing.T) {
	cache := t.TempDir()
	dir := filepath.Join(cache, "gomover")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string) {
		if err := os.WriteFile(path(name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("gomover-old")
	remove := keepAgents(cache)
	write("gomover-new")
	write("other")
	remove()
	names, err := filepath.Glob(path("*"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.ReplaceAll(strings.Join(names, " "), dir+"/", ""); got != "gomover-old other" {
		t.Errorf("left are %q", got)
	}
}

func TestGroupSeesItsProcessesAndEndsThem(t *testing.T) {
	groups, err := NewGroups(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer groups.Close()
	group, err := groups.Group("test")
	if err != nil {
		t.Fatal(err)
	}
	g := &Ground{Home: t.TempDir()}
	h, err := g.AddHost(groups, "host", "127.0.0.1", func(args []string) []string { return args })
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	looks, before, then := 0, 0, 0
	u, err := g.Timed(context.Background(), Run{Host: h, Args: []string{"sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done"}, Look: func() { looks++ },
		Before: func(context.Context) error { before++; return nil }, Then: func(context.Context) error { then++; return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if before != 1 || then != 1 {
		t.Errorf("%d times before and %d times after the command", before, then)
	}
	if u.TotalCPU() <= 0 || u.Wall <= 0 || u.Output != "done\n" || looks < 2 {
		t.Errorf("usage %+v after %d looks", u, looks)
	}
	if _, err := g.Timed(context.Background(), Run{Host: h, Args: []string{"false"}}); err == nil {
		t.Error("a command that fails gives no error")
	}
	cmd := g.Command(context.Background(), h, "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := group.Adopt(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if pids := group.PIDs(); len(pids) != 1 || pids[0] != cmd.Process.Pid || HighWater(pids[0]) <= 0 {
		t.Errorf("the group has the processes %v", pids)
	}
	if runs, others := group.Running("sl"), group.Running("cat"); len(runs) != 1 || len(others) != 0 {
		t.Errorf("%v run sleep, %v run cat", runs, others)
	}
	group.KillExcept(map[int]bool{cmd.Process.Pid: true})
	if len(group.PIDs()) != 1 {
		t.Error("a process to be kept was killed")
	}
	done := make(chan error)
	go func() { done <- cmd.Wait() }()
	group.Kill()
	if err := <-done; err == nil || len(group.PIDs()) != 0 {
		t.Errorf("after the kill: %v, processes %v", err, group.PIDs())
	}
}
