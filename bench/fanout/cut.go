package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/payload"
)

// The row cut: a copy of cutBytes to cutHosts, of which the last four have trouble.
const (
	cutBytes = 1e9
	cutHosts = 8
	cutTime  = 1.05 // of the time of those without trouble when nobody has any

	killAt = 15 * time.Second // an agent is killed; its host lets it be started again
	cutAt  = 20 * time.Second // a host is cut off
	cutFor = 20 * time.Second
	goneAt = 25 * time.Second // a host loses its agent, and its network for as long as it takes to start again
	goneTo = 25 * time.Second
	fullAt = 65 * time.Second // other data has filled a disk
	giveUp = 40 * time.Second // of the command: longer than what passes

	// cutAgain is what the second command may send, in times what is missing.
	cutAgain = 1.05
	// exitSpace is the exit status for a full disk, exitPart that of a command of which
	// some destinations are complete; see docs.
	exitSpace = 6
	exitPart  = 3
)

// step is something that happens while a command runs.
type step struct {
	at time.Duration // from the start of the command
	do func(context.Context) error
}

// script does steps when they are due. One goroutine.
type script struct {
	ctx   context.Context
	steps []step // in the order of their times
	begin time.Time
	err   error
}

// look does the steps that are due.
func (s *script) look() {
	if s.begin.IsZero() {
		s.begin = time.Now()
	}
	for len(s.steps) > 0 && time.Since(s.begin) >= s.steps[0].at {
		s.err = errors.Join(s.err, s.steps[0].do(s.ctx))
		s.steps = s.steps[1:]
	}
}

// disk is a file system in memory whose size can be changed.
type disk string

// newDisk mounts one of size bytes on a new directory. Hosts see it that are made later.
func newDisk(dir string, size int64) (disk, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprint("size=", size)); err != nil {
		return "", fmt.Errorf("mounting a small file system: %w", err)
	}
	return disk(dir), nil
}

// close ends it.
func (d disk) close() {
	unix.Unmount(string(d), unix.MNT_DETACH)
	os.Remove(string(d))
}

// resize changes its size; 0 leaves no room for more than it has.
func (d disk) resize(size int64) error {
	if size == 0 {
		var st unix.Statfs_t
		if err := unix.Statfs(string(d), &st); err != nil {
			return fmt.Errorf("looking what %s holds: %w", d, err)
		}
		size = int64(st.Blocks-st.Bfree+16) * st.Bsize // what comes meanwhile
	}
	if err := unix.Mount("tmpfs", string(d), "tmpfs", unix.MS_REMOUNT, fmt.Sprint("size=", size)); err != nil {
		return fmt.Errorf("changing the size of %s: %w", d, err)
	}
	return nil
}

// cut is what the row cut works on.
type cut struct {
	*network
	to    []*ground.Host
	paths []string // of the copy at each
	full  disk     // on which the copy of the third of those with trouble is
}

// fate is what became of one destination of a command.
type fate struct {
	end  float64 // seconds from the start to when it had the file; 0: never
	exit int
	why  string
}

// command copies the payload to all hosts with one command, while steps happen. wire
// is what has left the sender, in bytes.
func (c *cut) command(ctx context.Context, steps []step) (all []fate, exit int, wire int64, err error) {
	log := filepath.Join(c.dir, "events.jsonl")
	os.Remove(log)
	args := []string{c.b.mover, "--fanout=multicast", "--progress=none", fmt.Sprintf("--give-up=%.0fs", giveUp.Seconds()), "--json=" + log, c.payload()}
	var names []string
	for i, h := range c.to {
		names = append(names, h.Name+":"+c.paths[i])
	}
	var start time.Time
	before := func(ctx context.Context) error {
		start = time.Now()
		return c.Emulator.Reset(ctx)
	}
	s := &script{ctx: ctx, steps: steps}
	u, err := c.Timed(ctx, ground.Run{Host: c.Hosts[0], Args: append(args, names...), Before: before, Look: s.look, Limit: sessionLimit})
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		exit, err = ended.ExitCode(), nil
	}
	if err = errors.Join(err, s.err); err != nil {
		return nil, exit, 0, err
	}
	if len(s.steps) > 0 {
		return nil, exit, 0, fmt.Errorf("it ended after %.1f s, before all had happened\n%s", u.Wall.Seconds(), ground.Tail(u.Output))
	}
	n, err := c.Emulator.Counters(ctx)
	if err != nil {
		return nil, exit, 0, err
	}
	up := n.Link(c.Hosts[0].Name + ".up")
	all, err = fates(log, start, names)
	c.b.Note("exit status %d after %.1f s, %.4f copies", exit, u.Wall.Seconds(), float64(up.Unicast.Bytes+up.Multicast.Bytes)/float64(c.size))
	return all, exit, up.Unicast.Bytes + up.Multicast.Bytes, err
}

// fates reads from a command's events what became of its destinations.
func fates(log string, start time.Time, names []string) ([]fate, error) {
	f, err := os.Open(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all := make([]fate, len(names))
	for i := range all {
		all[i].exit = -1
	}
	place := map[string]int{}
	for i, name := range names {
		place[name] = i
	}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e struct {
			Event  string          `json:"ev"`
			Time   time.Time       `json:"t"`
			Dest   string          `json:"dest"`
			Action string          `json:"action"`
			Dests  json.RawMessage `json:"dests"` // other events have numbers there
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("reading an event: %w", err)
		}
		if i, ok := place[e.Dest]; ok && e.Event == "file" && e.Action != "fail" {
			all[i].end = e.Time.Sub(start).Seconds()
		}
		if e.Event != "job.end" {
			continue
		}
		var ends []struct {
			Dest   string `json:"dest"`
			Exit   int    `json:"exit"`
			Reason string `json:"reason"`
		}
		if err := json.Unmarshal(e.Dests, &ends); err != nil {
			return nil, fmt.Errorf("reading the results: %w", err)
		}
		for _, d := range ends {
			if i, ok := place[d.Dest]; ok {
				all[i].exit, all[i].why = d.Exit, d.Reason
			}
		}
	}
	return all, lines.Err()
}

// startCut prepares the row's network, and the disk that will be full before it, so that all
// hosts see that.
func (b *bench) startCut(ctx context.Context) (*cut, error) {
	b.down()
	full, err := newDisk(filepath.Join(b.Dir, "full"), b.Size(cutBytes)*5/4)
	if err != nil {
		return nil, err
	}
	n, err := b.start(ctx, cutBytes)
	if err != nil {
		full.close()
		return nil, err
	}
	n.OnClose(full.close)
	n.Patience, n.Sweep = 20*time.Second, true
	c := &cut{network: n, to: n.Hosts[1 : 1+cutHosts], full: full}
	for _, h := range c.to {
		c.paths = append(c.paths, filepath.Join(n.dir, "to-"+h.Name))
	}
	c.paths[cutHosts-2] = filepath.Join(string(full), "copy")
	return c, n.warm(ctx, c.to)
}

// clean removes all copies.
func (c *cut) clean() error {
	for _, p := range c.paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// link changes that of one host.
func (c *cut) link(i int, value string) func(context.Context) error {
	return func(ctx context.Context) error { return c.Emulator.Set(ctx, c.to[i].Name, value) }
}

// kill ends the agent of one host.
func (c *cut) kill(i int) error {
	pids := c.to[i].Group.Running("gomover")
	if len(pids) == 0 {
		return fmt.Errorf("no agent runs on %s", c.to[i].Name)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return fmt.Errorf("killing the agent of %s: %w", c.to[i].Name, err)
		}
	}
	return nil
}

// troubles are the places of the four with trouble.
const (
	killed = cutHosts - 4 + iota
	apart
	full
	late
)

// steps are what happens to them.
func (c *cut) steps() []step {
	return []step{
		{killAt, func(context.Context) error { return c.kill(killed) }},
		{cutAt, c.link(apart, "cut=true")},
		{goneAt, func(ctx context.Context) error { return errors.Join(c.kill(late), c.link(late, "cut=true")(ctx)) }},
		{cutAt + cutFor, c.link(apart, "cut=false")},
		{goneAt + goneTo, c.link(late, "cut=false")},
		{fullAt, func(context.Context) error { return c.full.resize(0) }},
	}
}

// rowCut has four of eight in trouble, each in another one, and looks at the others; then
// it makes room on the full disk and gives the command again.
func rowCut(ctx context.Context, b *bench) error {
	c, err := b.startCut(ctx)
	if err != nil {
		return err
	}
	defer b.down() // its disk is of no use to other rows
	var longer, whole ground.Samples
	for range b.Rounds {
		plain, _, _, err := c.command(ctx, nil)
		if err != nil {
			return err
		}
		wrong := c.compare(plain, nil)
		b.Claim("cut, nobody in trouble", "all complete", "all complete", wrong)
		if err := c.clean(); err != nil {
			return err
		}
		got, exit, _, err := c.command(ctx, c.steps())
		if err != nil {
			return err
		}
		most, last := 0.0, 0.0
		for i, f := range got {
			b.Note("%s: %.2f s, beside %.2f s; exit status %d %s", c.to[i].Name, f.end, plain[i].end, f.exit, f.why)
			if i < killed {
				most = max(most, f.end/plain[i].end)
			}
			last = max(last, f.end/plain[i].end)
		}
		longer, whole = append(longer, most), append(whole, last)
		wrong = c.compare(got, map[int]int{full: exitSpace})
		if exit != exitPart {
			wrong = append(wrong, fmt.Sprintf("exit status %d, not %d", exit, exitPart))
		}
		b.Claim("cut, results", "complete but for the full disk, which has a status of its own", "each its own", wrong)
		if err := c.again(ctx); err != nil {
			return err
		}
		if err := c.clean(); err != nil {
			return err
		}
	}
	b.AtMost("cut, the four without trouble", "%.3f", " x the time when nobody has any", "<= 1.05 x", cutTime, longer)
	b.Show("cut, the last one", "%.3f", " x that time", whole)
	return nil
}

// again makes room and gives the command again, which sends what is missing.
func (c *cut) again(ctx context.Context) error {
	had, err := kept(filepath.Dir(c.paths[full]))
	if err != nil {
		return err
	}
	if err := c.full.resize(c.size * 5 / 4); err != nil {
		return err
	}
	all, exit, wire, err := c.command(ctx, nil)
	if err != nil {
		return err
	}
	wrong := c.compare(all, nil)
	if exit != 0 {
		wrong = append(wrong, fmt.Sprintf("exit status %d", exit))
	}
	// With what packets and logins need.
	if most := cutAgain*float64(c.size-had)*evenCopies + 8*1e5; float64(wire) > most {
		wrong = append(wrong, fmt.Sprintf("%.1f MB were sent, at most %.1f were missing", float64(wire)/1e6, most/1e6))
	}
	c.b.Claim("cut, the same command again", fmt.Sprintf("all complete; %.1f MB were there of %.1f, %.1f have left", float64(had)/1e6, float64(c.size)/1e6, float64(wire)/1e6), "sends what is missing", wrong)
	return nil
}

// kept is how long the longest file in a directory is, in bytes that take room.
func kept(dir string) (n int64, err error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range list {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, e.Name()), &st); err != nil {
			return 0, fmt.Errorf("looking at %s: %w", e.Name(), err)
		}
		n = max(n, 512*st.Blocks)
	}
	return n, nil
}

// compare says what is wrong with the results of a command: exits has the expected
// status of those that are not to be complete.
func (c *cut) compare(all []fate, exits map[int]int) (wrong []string) {
	for i, f := range all {
		if want := exits[i]; f.exit != want {
			wrong = append(wrong, fmt.Sprintf("%s: exit status %d (%s), not %d", c.to[i].Name, f.exit, f.why, want))
		}
		err := payload.SameFile(c.payload(), c.paths[i])
		switch {
		case exits[i] == 0 && err != nil:
			wrong = append(wrong, fmt.Sprintf("%s: %v", c.to[i].Name, err))
		case exits[i] != 0 && !errors.Is(err, os.ErrNotExist):
			wrong = append(wrong, fmt.Sprintf("%s has something under the final name (%v)", c.to[i].Name, err))
		}
	}
	return wrong
}
