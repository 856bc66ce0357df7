package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gomover/gomover/bench/ground"
)

// workerWord begins the command line of a worker: this program again, in a mount
// namespace of its own, so that its lab and those of others do not meet.
const workerWord = "worker"

// aroundRun is what a run takes besides its span, about.
const aroundRun = 10 * time.Second

// What a run may suffer. Packets are handed over once in a millisecond.
const (
	mostLate = 0.002 // seconds, on average
	mostEver = 0.25  // and at most
	mostBusy = 0.9   // of all processors, by what is not nice
)

// order is a run, as a worker is told.
type order struct {
	Path  string
	Flags []string
	Keep  string // where to keep the events; "": nowhere
}

// report is what a worker answers.
type report struct {
	outcome
	Error string
}

// worker is a process with a lab. One goroutine at a time.
type worker struct {
	cmd *exec.Cmd
	in  *json.Encoder
	out *json.Decoder
	end io.Closer
	b   *bench
}

func startWorker(b *bench, number int) (*worker, error) {
	cmd, err := ground.Apart(urgency, workerWord, "-lab", b.lab, "-program", b.program, "-dir", b.dir, "-span", b.span.String(), "-number", strconv.Itoa(number))
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	return &worker{cmd, json.NewEncoder(in), json.NewDecoder(out), in, b}, nil
}

// do has a worker run a setting.
func (w *worker) do(p *path, s setting) (outcome, error) {
	o := order{Path: p.name, Flags: s.flags}
	if w.b.events != "" && !fixedSetting(s.name) {
		o.Keep = filepath.Join(w.b.events, strings.NewReplacer("/", "", " ", "-").Replace(p.name+" "+s.name)+time.Now().Format("-150405.jsonl"))
	}
	r := report{}
	err := w.in.Encode(o)
	if err == nil {
		err = w.out.Decode(&r)
	}
	if err == nil && r.Error != "" {
		err = errors.New(r.Error)
	}
	r.Path, r.Setting = p.name, s.name
	return r.outcome, err
}

// close ends a worker, which takes its lab down.
func (w *worker) close() {
	w.end.Close()
	_ = w.cmd.Wait()
}

// site is a worker from within.
type site struct {
	lab, program, dir string
	span              time.Duration
	disk              *ground.Disk
}

// work is a worker's life: it brings a lab up, and runs what it is told until nothing
// more comes.
func work(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(workerWord, flag.ContinueOnError)
	s := &site{}
	flags.StringVar(&s.lab, "lab", "", "")
	flags.StringVar(&s.program, "program", "", "")
	flags.StringVar(&s.dir, "dir", "", "")
	flags.DurationVar(&s.span, "span", 0, "")
	number := flags.Int("number", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(s.dir, fmt.Sprintf("bench-grid-%d-", *number))
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s.dir = dir
	err = s.begin(ctx)
	if s.disk != nil {
		defer s.disk.Close()
	}
	defer s.do(context.Background(), "down")
	if err != nil {
		return err
	}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var o order
		if err := in.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var r report
		if r.outcome, err = s.measure(ctx, &o); err != nil {
			r.Error = err.Error()
		}
		if err := out.Encode(r); err != nil {
			return err
		}
	}
}

// topology is the network that paths change. Writing packets once in a millisecond is
// often enough for paths of 10 ms, and leaves processors to others.
const topology = `{"quantum": "1ms", "hosts": [{"name": "h0"}, {"name": "h1"}]}`

// urgency is by how much less nice all is that a worker runs than others are: it takes
// little of the processors, but must have it at once.
const urgency = 15

// urgent is the time that all processors have spent since the start of the machine on
// what is not nice. Source: proc(5), /proc/stat, in hundredths of a second.
func urgent() time.Duration {
	f := strings.Fields(ground.FirstLine("/proc/stat"))
	var sum int64
	for _, i := range []int{1, 3, 6, 7} { // user, system, irq, softirq
		if i < len(f) {
			n, _ := strconv.ParseInt(f[i], 10, 64)
			sum += n
		}
	}
	return time.Duration(sum) * 10 * time.Millisecond
}

// begin hides other labs, brings one up, and makes the file that is moved: it has no
// blocks on disk, and reads as zeros.
func (s *site) begin(ctx context.Context) error {
	if err := ground.HideLabs(); err != nil {
		return err
	}
	file := filepath.Join(s.dir, "topology.json")
	if err := os.WriteFile(file, []byte(topology), 0o600); err != nil {
		return err
	}
	source := filepath.Join(s.dir, "source")
	if err := errors.Join(os.WriteFile(source, nil, 0o600), os.Truncate(source, 1<<40)); err != nil {
		return err
	}
	// Hosts have mounts of their own, and see only what is there before them.
	var err error
	if s.disk, err = ground.NewDisk(ctx, s.dir, 1<<30); err != nil {
		return err
	}
	if err := s.do(ctx, "up", file); err != nil {
		return err
	}
	if err := s.do(ctx, "sshd"); err != nil {
		return err
	}
	// The far end keeps the program that it is sent at first.
	args := append([]string{"exec", "h0", "--"}, s.mover()...)
	return s.do(ctx, append(args, file, "h1:"+filepath.Join(s.dir, "first"))...)
}

// mover begins a command line of what is measured.
func (s *site) mover() []string {
	return []string{s.program, "-F", "/run/gomover-lab/ssh/config", "--state-dir=" + filepath.Join(s.dir, "state"), "--progress=none", "--summary=none"}
}

// do runs a command of the emulator.
func (s *site) do(ctx context.Context, words ...string) error {
	return ground.Quiet(ctx, nil, append([]string{s.lab}, words...)...)
}

// arrange makes the network that of a path, and gives the directory to copy to.
func (s *site) arrange(ctx context.Context, p *path) (dst string, err error) {
	set := append([]string{"set", "all", "loss=0"}, p.all...)
	err = s.do(ctx, set...)
	if err == nil && p.down != nil {
		err = s.do(ctx, append([]string{"set", "h1.down"}, p.down...)...)
	}
	window := p.window
	if window == "" {
		window = "4096 131072 67108864"
	}
	if err == nil {
		err = s.do(ctx, "exec", "h1", "--", "sysctl", "-qw", "net.ipv4.tcp_rmem="+window)
	}
	if err != nil {
		return "", err
	}
	if p.disk == 0 {
		dst = filepath.Join(s.dir, "to")
	} else {
		if err := s.disk.Hold(0, p.disk); err != nil {
			return "", err
		}
		dst = filepath.Join(s.disk.Dir, "to")
	}
	// What an earlier run has left, and what is remembered of it.
	for _, path := range []string{dst, filepath.Join(s.dir, "state")} {
		if err := os.RemoveAll(path); err != nil {
			return "", err
		}
	}
	return dst, os.Mkdir(dst, 0o700)
}

// measure runs a setting, and says whether that counts.
func (s *site) measure(ctx context.Context, o *order) (r outcome, err error) {
	i := slices.IndexFunc(paths, func(p path) bool { return p.name == o.Path })
	if i < 0 {
		return r, fmt.Errorf("no path %q", o.Path)
	}
	dst, err := s.arrange(ctx, &paths[i])
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dst)
	if err := s.do(ctx, "stats", "--reset"); err != nil {
		return r, err
	}
	began, busy := time.Now(), urgent()
	events, err := s.copy(ctx, dst, o.Flags)
	if err != nil {
		return r, err
	}
	r.CPU = (urgent() - busy).Seconds() / time.Since(began).Seconds() / float64(runtime.NumCPU())
	if err := s.guard(ctx, &r); err != nil {
		return r, err
	}
	if o.Keep != "" {
		if err := keep(events, o.Keep); err != nil {
			return r, err
		}
	}
	r.Rate, r.Streams, r.By, err = readRun(events, s.span)
	return r, err
}

func keep(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o644)
}

// copy moves data for a while, and gives the file with the events.
func (s *site) copy(ctx context.Context, dst string, options []string) (string, error) {
	events := filepath.Join(s.dir, "events")
	if err := os.RemoveAll(events); err != nil {
		return "", err
	}
	words := append([]string{"exec", "h0", "--"}, s.mover()...)
	words = append(words, "--json="+events, "--no-space-check", "--time-limit="+(s.span+login).String())
	words = append(append(words, options...), filepath.Join(s.dir, "source"), "h1:"+dst+"/")
	out, err := exec.CommandContext(ctx, s.lab, words...).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != timeLimit {
		return "", fmt.Errorf("gomover %s ended with %v instead of at its time limit: %s", strings.Join(options, " "), err, ground.Tail(string(out)))
	}
	return events, nil
}

// login is how long a login may take.
const login = 5 * time.Second

// timeLimit is gomover's exit code when --time-limit is reached.
const timeLimit = 12

// guard says why a run does not count: the emulator or the processors could not keep
// up.
func (s *site) guard(ctx context.Context, r *outcome) error {
	text, err := exec.CommandContext(ctx, s.lab, "stats", "--json").Output()
	if err != nil {
		return fmt.Errorf("reading the emulator's counters: %w", err)
	}
	var c struct {
		ground.Counters
		LateAvg float64 `json:"late_avg"`
		LateMax float64 `json:"late_max"`
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return fmt.Errorf("reading the emulator's counters: %w", err)
	}
	r.LateAvg, r.LateMax = c.LateAvg, c.LateMax
	overrun := int64(0)
	for _, l := range c.Links {
		overrun += l.Drops["overrun"]
	}
	r.Void = void(r, overrun)
	return nil
}

// void is why a run does not count, "" if it does.
func void(r *outcome, overrun int64) string {
	switch {
	case overrun > 0:
		return "the emulator could not keep up"
	case r.LateAvg > mostLate:
		return "packets came too late"
	case r.LateMax > mostEver:
		return "the emulator stood still for too long"
	case r.CPU > mostBusy:
		return "the processors were too busy"
	}
	return ""
}
