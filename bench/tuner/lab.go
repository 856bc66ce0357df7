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
	"strings"
	"time"

	"github.com/gomover/gomover/bench/ground"
)

// labWord begins the command line of this program as the one that has a network.
const labWord = "lab"

// What must be reached on real kernels.
const (
	againBar  = 0.01 // of segments, sent again
	trainBar  = 0.10 // off, of the capacity
	pacedTCP  = 0.01 // off, of means over a second
	pacedUDP  = 0.02
	labSpan   = 30 * time.Second
	labRate   = 25e6            // bytes of packets per second
	labRTT    = 100e-3          // seconds
	wireShare = 1448.0 / 1514.0 // of what travels, that is payload of TCP, at most
)

// labRows has a process of its own measure on an emulated network; it tells rows as
// lines.
func labRows(lab, program string, quick bool) []row {
	cmd, err := ground.Apart(15, labWord, lab, program, fmt.Sprint(quick))
	if err != nil {
		return failed("lab", err)
	}
	out, err := cmd.Output()
	var rows []row
	for line := range strings.Lines(string(out)) {
		var r told
		if json.Unmarshal([]byte(line), &r) == nil {
			rows = append(rows, row{r.No, r.ID, r.What, r.Got, r.Bar, r.Short})
		}
	}
	if err != nil {
		rows = append(rows, failed("lab", err)...)
	}
	return rows
}

// told is a row on its way.
type told struct {
	No                 int
	ID, What, Got, Bar string
	Short              bool
}

// network is an emulated one of 200 Mbit/s and 100 ms.
type network struct {
	lab, program, dir string
	span              time.Duration
}

// measureLab is the other process's life.
func measureLab(ctx context.Context, args []string) (err error) {
	if len(args) != 3 {
		return errors.New("needs an emulator and a program")
	}
	n := &network{lab: args[0], program: args[1], span: labSpan}
	if args[2] == "true" {
		n.span /= 2
	}
	if n.dir, err = os.MkdirTemp("/dev/shm", "bench-tuner-"); err != nil {
		return err
	}
	defer os.RemoveAll(n.dir)
	if err := ground.HideLabs(); err != nil {
		return err
	}
	topology, source := filepath.Join(n.dir, "topology"), filepath.Join(n.dir, "source")
	if err := errors.Join(os.WriteFile(topology, []byte(`{"hosts": [{"name": "h0"}, {"name": "h1"}]}`), 0o600), os.WriteFile(source, nil, 0o600), os.Truncate(source, 1<<40)); err != nil {
		return err
	}
	if err := n.do(ctx, "up", topology); err != nil {
		return err
	}
	defer n.do(context.Background(), "down")
	if err := n.do(ctx, "sshd"); err != nil {
		return err
	}
	// The far end keeps the program that it is sent at first.
	if _, err := n.run(ctx, topology, "h1:"+filepath.Join(n.dir, "first")); err != nil {
		return err
	}
	for _, f := range []func(context.Context) ([]row, error){n.probed, n.beside, n.copies, n.paced} {
		rows, err := f(ctx)
		if err != nil {
			return err
		}
		for _, r := range rows {
			text, err := json.Marshal(told{r.no, r.id, r.what, r.got, r.bar, r.short})
			if err != nil {
				return err
			}
			fmt.Println(string(text))
		}
	}
	return nil
}

// do runs a command of the emulator.
func (n *network) do(ctx context.Context, words ...string) error {
	return ground.Quiet(ctx, nil, append([]string{n.lab}, words...)...)
}

// moved is what is read of a run's events.
type moved struct {
	Time     time.Time `json:"t"`
	Name     string    `json:"ev"`
	Verified int64     `json:"verified_bytes"`
	Retrans  int64     `json:"retrans"`
	From     any       `json:"from"` // of a probe the sending end, of a tune a number
	RTT      float64   `json:"rtt_min_ms"`
	MTU      int       `json:"mtu"`
	Capacity int64     `json:"capacity_bps"`
	Sent     int64     `json:"sent_bytes"`
	Cached   bool      `json:"cached"`
	State    string    `json:"state"`
}

// run runs the program on a host, and gives its events.
func (n *network) run(ctx context.Context, args ...string) (l []moved, err error) {
	words := append([]string{"exec", "h0", "--", n.program}, args[:len(args)-2]...)
	words = append(words, "-F", "/run/gomover-lab/ssh/config", "--state-dir="+filepath.Join(n.dir, "state"), "--json", "--progress=none")
	out, err := exec.CommandContext(ctx, n.lab, append(words, args[len(args)-2:]...)...).Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != timeLimit) {
		return nil, fmt.Errorf("gomover %s: %w: %s", strings.Join(args, " "), err, ground.Tail(string(out)))
	}
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e moved
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, err
		}
		l = append(l, e)
	}
	return l, lines.Err()
}

// timeLimit is gomover's exit code when --time-limit is reached.
const timeLimit = 12

// set changes the links.
func (n *network) set(ctx context.Context, queue float64, down ...string) error {
	if err := n.do(ctx, "set", "all", "rate=200mbit", "delay=25ms", fmt.Sprintf("queue=%.0f", queue*labRate*labRTT), "loss=0"); err != nil || down == nil {
		return err
	}
	return n.do(ctx, append([]string{"set", "h1.down"}, down...)...)
}

// probed compares what is found of a path with what it is set to.
func (n *network) probed(ctx context.Context) ([]row, error) {
	if err := n.set(ctx, 1); err != nil {
		return nil, err
	}
	l, err := n.run(ctx, "probe", "--probe=full", "h1")
	if err != nil {
		return nil, err
	}
	for _, e := range l {
		if e.Name != "probe" || e.From != "local" {
			continue
		}
		off, rtt := float64(e.Capacity)/labRate-1, e.RTT/1e3-labRTT
		if e.Capacity > 1e8 { // told in bits
			off = float64(e.Capacity)/(8*labRate) - 1
		}
		return []row{
			most(11, "capacity", "lab, 200 Mbit/s: trains are off by", max(off, -off), trainBar, percent),
			most(12, "round trip", "lab, 100 ms: the least is off by, in milliseconds", 1e3*max(rtt, -rtt), 2, plain),
			{no: 12, id: "mtu", what: "lab: path MTU", got: fmt.Sprint(e.MTU), bar: "1500", short: e.MTU != 1500},
		}, nil
	}
	return nil, errors.New("no probe was told")
}

// copies are copies over lossy paths and short queues.
func (n *network) copies(ctx context.Context) (rows []row, err error) {
	for _, c := range []struct {
		no    int
		id    string
		queue float64
		down  []string
		flags []string
		bar   float64
		again float64 // 0: no bar
	}{
		{28, "loss, bbr", 1, []string{"loss=0.1%"}, nil, 0.88, againBar + 0.001}, // what the path loses must be sent again
		{28, "loss, cubic", 1, []string{"loss=0.1%"}, []string{"--cc=cubic"}, 0.75, 0},
		{29, "short queue", 0.1, nil, nil, 0.90, againBar},
	} {
		if err := n.set(ctx, c.queue, c.down...); err != nil {
			return rows, err
		}
		to := filepath.Join(n.dir, "to")
		if err := errors.Join(os.RemoveAll(to), os.RemoveAll(filepath.Join(n.dir, "state")), os.Mkdir(to, 0o700)); err != nil {
			return rows, err
		}
		args := append([]string{"--no-space-check", "--summary=none", "--time-limit=" + (n.span + 5*time.Second).String()}, c.flags...)
		l, err := n.run(ctx, append(args, filepath.Join(n.dir, "source"), "h1:"+to+"/")...)
		if err != nil {
			return rows, err
		}
		rate, again := judged(l, n.span)
		share := rate / (labRate * wireShare)
		r := above("lab, "+c.id, fmt.Sprintf("200 Mbit/s, 100 ms, queue %.1f of the path, %s: share of the payload rate in the first %v", c.queue, strings.Join(append(c.down, c.flags...), " "), n.span), share, c.bar)
		r.no = c.no
		rows = append(rows, r)
		if c.again > 0 {
			rows = append(rows, most(c.no, "lab, "+c.id+" again", "segments sent again", again, c.again, percent))
		}
	}
	return rows, os.RemoveAll(filepath.Join(n.dir, "to"))
}

// judged is the mean rate of a run from its first plan on, and the share of segments
// that were sent again.
func judged(l []moved, span time.Duration) (rate, again float64) {
	var began time.Time
	var last moved
	for _, e := range l {
		switch {
		case e.Name == "plan" && began.IsZero():
			began = e.Time
		case e.Name == "progress" && !began.IsZero() && e.Time.Sub(began) <= span:
			last = e
		}
	}
	took := last.Time.Sub(began).Seconds()
	if took <= 0 || last.Verified == 0 {
		return 0, 0
	}
	return float64(last.Verified) / took, float64(last.Retrans) / (float64(last.Verified) / 1448)
}

// paced counts what leaves a host with a limit: over TCP, also with bbr, which a path is
// remembered for, and over UDP. Nothing is remembered of copies before.
func (n *network) paced(ctx context.Context) (rows []row, err error) {
	if err := n.set(ctx, 1); err != nil {
		return nil, err
	}
	for _, c := range []struct {
		name  string
		flags []string
		bar   float64
	}{
		{"tcp", []string{"--transport=tcp"}, pacedTCP},
		{"tcp bbr", []string{"--transport=tcp", "--cc=bbr"}, pacedTCP},
		{"udt", []string{"--transport=udt"}, pacedUDP},
	} {
		l, err := n.pacedOver(ctx, c.name, c.flags, c.bar)
		rows = append(rows, l...)
		if err != nil {
			return rows, fmt.Errorf("a limit over %s: %w", c.name, err)
		}
	}
	return rows, nil
}

func (n *network) pacedOver(ctx context.Context, name string, flags []string, bar float64) ([]row, error) {
	const limit = 10e6 // bytes per second
	to := filepath.Join(n.dir, "to")
	if err := errors.Join(os.RemoveAll(to), os.RemoveAll(filepath.Join(n.dir, "state")), os.Mkdir(to, 0o700)); err != nil {
		return nil, err
	}
	args := append([]string{"--bwlimit=10MB", "--no-space-check", "--summary=none", "--time-limit=20s"}, flags...)
	done := make(chan error, 1)
	go func() {
		_, err := n.run(ctx, append(args, filepath.Join(n.dir, "source"), "h1:"+to+"/")...)
		done <- err
	}()
	var bytes []int64
	var at []float64 // seconds of the emulator, which counts
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				return nil, err
			}
			return pacedRows(name, bytes, at, limit, bar)
		case <-t.C:
		}
		sent, now, err := n.sent(ctx)
		if err != nil {
			return nil, err
		}
		bytes, at = append(bytes, sent), append(at, now)
	}
}

// sent is what the first host has sent so far, in bytes, and when the emulator counted
// that, in its seconds.
func (n *network) sent(ctx context.Context) (bytes int64, at float64, err error) {
	out, err := exec.CommandContext(ctx, n.lab, "stats", "--json").Output()
	if err != nil {
		return 0, 0, fmt.Errorf("reading the emulator's counters: %w", err)
	}
	var c struct {
		ground.Counters
		Seconds float64 `json:"seconds"`
	}
	if err := json.Unmarshal(out, &c); err != nil {
		return 0, 0, fmt.Errorf("reading the emulator's counters: %w", err)
	}
	return c.Link("h0.up").Unicast.Bytes, c.Seconds, nil
}

// pacedRows judges counters of an interface between the seventh and the sixteenth second
// of a copy. A limit counts as they do.
func pacedRows(name string, bytes []int64, at []float64, limit, bar float64) ([]row, error) {
	share := func(i, k int) float64 { return float64(bytes[k]-bytes[i]) / (at[k] - at[i]) / limit }
	most1, least1, tenth := 0.0, 2.0, 0.0
	for i := range bytes {
		if since := at[i] - at[0]; since < 6 || since > 15 {
			continue
		}
		for k := i; k < len(bytes); k++ {
			span := at[k] - at[i]
			if span >= 0.1 && span < 0.16 {
				tenth = max(tenth, share(i, k))
			}
			if span >= 1 {
				most1, least1 = max(most1, share(i, k)), min(least1, share(i, k))
				break
			}
		}
	}
	if most1 == 0 {
		return nil, errors.New("too little was counted")
	}
	return []row{
		most(24, "lab, paced, "+name, "--bwlimit=10MB: means of a second on the interface are off by at most", max(most1-1, 1-least1), bar, percent),
		most(24, "lab, even, "+name, "greatest mean of 100 ms on the interface, of the limit", tenth, tenthBar, percent),
	}, nil
}
