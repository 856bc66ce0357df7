package ground

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
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

func TestSettled(t *testing.T) {
	for _, c := range []struct {
		in     Samples
		rounds int
		want   bool
	}{
		{nil, 3, false}, {Samples{1}, 3, false}, {Samples{1}, 1, true}, {Samples{1}, 2, false},
		{Samples{100, 104}, 3, true}, {Samples{104, 100}, 3, true}, {Samples{100, 106}, 3, false},
		{Samples{100, 500}, 2, true}, {Samples{100, 101}, 5, false}, {Samples{100, 101, 102}, 5, true},
		{Samples{100, 101, 200}, 5, false}, {Samples{1, 100, 101, 200}, 5, true}, {Samples{100, 101, 102}, 4, true},
	} {
		if got := c.in.Settled(c.rounds, 0.05); got != c.want {
			t.Errorf("%v of %d rounds: %v", c.in, c.rounds, got)
		}
	}
}

func TestOptions(t *testing.T) {
	rows := []string{"wan", "lan"}
	parse := func(words ...string) (o Options, err error) {
		flags := flag.NewFlagSet("test", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		return o, o.Parse(flags, words, rows)
	}
	o, err := parse("-lab", "x", "-scale", "0.5")
	if want := (Options{Lab: "x", Rows: rows, Rounds: 3, Scale: 0.5, Memory: "/dev/shm"}); err != nil || !reflect.DeepEqual(o, want) {
		t.Errorf("options %+v, %v", o, err)
	}
	if got := []int64{o.Size(1), o.Size(1 << 20), o.Size(16381)}; !slices.Equal(got, []int64{4096, 1 << 19, 4096}) {
		t.Errorf("sizes %v", got)
	}
	for _, bad := range [][]string{{"-rows", "wan,"}, {"-rows", "nothing"}, {"-rounds", "0"}, {"-scale", "0"}, {"-scale", "NaN"}, {"word"}, {"-nothing"}} {
		if _, err := parse(bad...); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestExit(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{{nil, 0}, {flag.ErrHelp, 0}, {fmt.Errorf("of a row: %w", ErrMissed), 2}, {errors.New("of the test"), 1}} {
		got := Exit("test", []string{"a"}, func(_ context.Context, args []string) error {
			if len(args) != 1 {
				t.Errorf("words %q", args)
			}
			return c.err
		})
		if got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.want)
		}
	}
}

func TestMoverIsTheGivenProgram(t *testing.T) {
	dir := t.TempDir()
	o := Options{Program: filepath.Join(dir, "given")}
	if err := o.Mover(t.Context(), filepath.Join(dir, "mover")); err == nil {
		t.Error("a program that is not there gives no error")
	}
	if err := os.WriteFile(o.Program, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.Mover(t.Context(), filepath.Join(dir, "mover")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "mover"))
	if err != nil || info.Mode().Perm()&0o100 == 0 || info.Size() != 7 {
		t.Errorf("the copy is %v, %v", info, err)
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
	// What comes before does not count: it would have eaten the limit up.
	prepared := func(ctx context.Context) error { return Wait(ctx, 700*time.Millisecond) }
	u, err = g.Timed(context.Background(), Run{Host: h, Args: []string{"sleep", "1000"}, Before: prepared, Limit: 200 * time.Millisecond})
	if !errors.Is(err, ErrLimit) || u.Wall < 200*time.Millisecond {
		t.Errorf("beyond its limit: %v after %v", err, u.Wall)
	}
	for range 5 { // on a busy machine even this may take its time
		if _, err = g.Timed(context.Background(), Run{Host: h, Args: []string{"true"}, Before: prepared, Limit: 600 * time.Millisecond}); err == nil {
			break
		}
	}
	if err != nil {
		t.Errorf("within its limit: %v", err)
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
