package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/payload"
)

// scene arranges one bottleneck, runs gomover beside it, and takes everything back.
func (b *bench) scene(ctx context.Context, s *scene) (r result, err error) {
	var undo []func()
	defer func() {
		for i := len(undo) - 1; i >= 0; i-- {
			undo[i]()
		}
	}()
	undo = append(undo, func() { b.g.Emulator.Set(context.Background(), append([]string{"all"}, plain...)...) })
	if err := b.g.Emulator.Set(ctx, append([]string{"all"}, s.link...)...); err != nil {
		return r, err
	}
	if s.path != nil {
		if err := b.g.Emulator.Set(ctx, append([]string{"far.down"}, s.path...)...); err != nil {
			return r, err
		}
	}
	if s.sysctl != "" {
		for _, h := range b.g.Hosts {
			back, err := sysctl(ctx, b.g, h, s.sysctl)
			if err != nil {
				return r, err
			}
			undo = append(undo, back)
		}
	}
	source, target, err := b.places(ctx, s)
	if err != nil {
		return r, err
	}
	undo = append(undo, func() {
		// With what is unfinished: the next scene would go on with it.
		os.RemoveAll(filepath.Dir(target))
		os.Remove(filepath.Join(b.disk.Dir, "file"))
	})
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		return r, fmt.Errorf("making a place for the copy: %w", err)
	}
	if s.source+s.target > 0 {
		if err := b.disk.Hold(s.source, s.target); err != nil {
			return r, err
		}
		undo = append(undo, func() { b.disk.Hold(0, 0) })
	}
	args := append([]string{b.binary, "-r", "--json", "--progress=none"}, s.args...)
	args = append(args, source, "far:"+target)
	if s.third != nil {
		if err := b.g.Emulator.Set(ctx, append([]string{"third"}, s.third...)...); err != nil {
			return r, err
		}
		args = append(args, "second:"+target+".second", "third:"+target+".third")
	}
	return b.watch(ctx, s, args...)
}

// places gives what is copied, and where to.
func (b *bench) places(ctx context.Context, s *scene) (source, target string, err error) {
	source, target = b.file(), filepath.Join(b.Dir, "target", "copy")
	if s.files {
		source = filepath.Join(b.Dir, "tree")
		if _, err := os.Stat(source); err == nil {
			return source + "/", target, nil
		}
		return source + "/", target, payload.MakeTree(ctx, source, treeDirs, treeFiles, treeSize)
	}
	if s.source+s.target == 0 {
		return source, target, nil
	}
	if s.target > 0 {
		return source, filepath.Join(b.disk.Dir, "target", "copy"), nil
	}
	source = filepath.Join(b.disk.Dir, "file")
	if err := payload.MakeFile(ctx, source, diskSize, 3); err != nil {
		return "", "", err
	}
	return source, target, forget(source)
}

// watch runs gomover until the time is over, and counts what it says.
func (b *bench) watch(ctx context.Context, s *scene, args ...string) (r result, err error) {
	r = result{Name: s.name, What: s.what, Want: s.want, All: make(map[string]float64)}
	cmd := b.g.Command(ctx, b.near(), args...)
	log, err := os.Create(filepath.Join(b.Dir, "log"))
	if err != nil {
		return r, err
	}
	defer log.Close()
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := cmd.Start(); err != nil {
		return r, fmt.Errorf("starting gomover: %w", err)
	}
	defer func() {
		b.end(cmd, out)
		if err != nil {
			text, _ := os.ReadFile(log.Name())
			err = fmt.Errorf("%w: %s", err, ground.Tail(string(text)))
		}
	}()
	lines := make(chan progress)
	done := make(chan struct{})
	defer close(done)
	go read(out, lines, done)
	c := counter{r: &r}
	var over <-chan time.Time
	late := time.After(30 * time.Second)
	for {
		select {
		case p, open := <-lines:
			if !open {
				if c.from.IsZero() {
					return r, errors.New("gomover ended before the time")
				}
				return r, c.sum(s.want)
			}
			if over == nil && p.Verified > 0 {
				undo, err := b.during(s, cmd.Process.Pid)
				defer undo()
				if err != nil {
					return r, err
				}
				over, late = time.After(b.span), nil
				c.from = p.T.Add(settle)
			}
			c.add(p)
		case <-over:
			return r, c.sum(s.want)
		case <-late:
			return r, errors.New("no data came")
		case <-ctx.Done():
			return r, ctx.Err()
		}
	}
}

// during arranges what can be only while data flows.
func (b *bench) during(s *scene, pid int) (undo func(), err error) {
	var rations []*ration
	agents := b.far().Group.Running("gomover")
	undo = func() {
		for _, r := range rations {
			r.close()
		}
	}
	if (s.stop || s.quota[1] > 0) && len(agents) == 0 {
		return undo, errors.New("gomover does not run at the far end")
	}
	for i, pids := range [][]int{{pid}, agents} {
		if s.quota[i] == 0 {
			continue
		}
		r, err := newRation(fmt.Sprintf("%s.%d", filepath.Base(b.Dir), i), s.quota[i])
		if err != nil {
			return undo, err
		}
		rations = append(rations, r)
		for _, p := range pids {
			if err := r.adopt(p); err != nil {
				return undo, err
			}
		}
	}
	if s.stop {
		for _, p := range agents {
			if err := syscall.Kill(p, syscall.SIGSTOP); err != nil {
				return undo, fmt.Errorf("stopping the far end: %w", err)
			}
		}
		undo = func() {
			for _, p := range agents {
				syscall.Kill(p, syscall.SIGCONT)
			}
		}
	}
	return undo, nil
}

// end interrupts gomover and waits until nothing of it is left on both hosts.
func (b *bench) end(cmd *exec.Cmd, out io.Reader) {
	for _, h := range b.g.Hosts {
		for _, p := range h.Group.Running("gomover") {
			syscall.Kill(p, syscall.SIGKILL) // a slow disk would keep it for long
		}
	}
	cmd.Process.Kill()
	io.Copy(io.Discard, out)
	cmd.Wait()
	b.g.Settle(context.Background())
}

// progress is what is looked at of an event.
type progress struct {
	T         time.Time `json:"t"`
	Ev        string    `json:"ev"`
	LimitedBy string    `json:"limited_by"`
	Verified  int64     `json:"verified_bytes"`
}

// read gives the events of progress until the program ends.
func read(out io.Reader, to chan<- progress, done <-chan struct{}) {
	defer close(to)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var p progress
		if json.Unmarshal(lines.Bytes(), &p) != nil || p.Ev != "progress" {
			continue
		}
		select {
		case to <- p:
		case <-done:
			return
		}
	}
}

// counter adds up for how long each word was told.
type counter struct {
	r          *result
	from       time.Time // before, words do not count; zero: not known yet
	last       time.Time
	first, end progress
}

func (c *counter) add(p progress) {
	if c.from.IsZero() || p.T.Before(c.from) {
		return
	}
	if c.last.IsZero() {
		c.first = p
	} else {
		c.r.All[p.LimitedBy] += p.T.Sub(c.last).Seconds()
	}
	c.last, c.end = p.T, p
}

// sum makes shares of times and judges.
func (c *counter) sum(want string) error {
	total, most := 0.0, 0.0
	for word, t := range c.r.All {
		if total += t; t > most {
			c.r.Told, most = word, t
		}
	}
	if total == 0 {
		return errors.New("gomover ended before anything could be judged")
	}
	for word := range c.r.All {
		c.r.All[word] /= total
	}
	c.r.Right, c.r.Pass = c.r.All[want], c.r.Told == want
	c.r.Rate = float64(c.end.Verified-c.first.Verified) / total
	return nil
}
