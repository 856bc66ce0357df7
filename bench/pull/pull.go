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
	"slices"
	"strings"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/bench/peer"
	"github.com/gomover/gomover/internal/payload"
)

// connections is how many are open to each mirror; that is what both programs are
// told.
const connections = 4

// pullLimit is how long a pull may take.
const pullLimit = 3 * time.Minute

// outcome is one pull.
type outcome struct {
	seconds float64
	cpu     float64 // processor seconds at the receiving end
	exit    int
	ends    []float64 // when each mirror sent its last byte, in seconds from the start
	given   []int64   // bytes that each mirror has sent, with headers
	events  events
}

// events is what of a run's events is looked at.
type events struct {
	bytes    map[string]int64 // by source
	warnings []string         // code and message
	end      bool             // there is a last one
	exit     int
}

// later is something done to the network while a pull runs.
type later struct {
	after time.Duration
	do    func(context.Context) error
}

// out is the directory into which is pulled.
func (n *network) out() string { return filepath.Join(n.dir, "out") }

// gomover pulls with the program that is measured; words are its operands without
// the destination.
func (n *network) gomover(ctx context.Context, l *later, words ...string) (o outcome, err error) {
	log := filepath.Join(n.dir, "events.jsonl")
	os.Remove(log)
	args := append([]string{n.b.mover, "pull", "--progress=none", "--json=" + log, "--mirror-streams", fmt.Sprint(connections)}, words...)
	if o, err = n.pull(ctx, l, append(args, n.out()+"/")); err != nil {
		return o, err
	}
	o.events, err = readEvents(log)
	if err == nil && (!o.events.end || o.events.exit != o.exit) {
		err = fmt.Errorf("the events end with exit code %d, the program with %d", o.events.exit, o.exit)
	}
	return o, err
}

// aria2 pulls with aria2.
func (n *network) aria2(ctx context.Context, l *later) (outcome, error) {
	return n.pull(ctx, l, peer.Aria2List(n.list(), n.out(), connections, connections*len(n.mirrors)))
}

// pull times a command that pulls on the first host, and looks at what arrived.
// An exit code is no error.
func (n *network) pull(ctx context.Context, l *later, args []string) (o outcome, err error) {
	if err := os.RemoveAll(n.out()); err != nil {
		return o, err
	}
	if err := os.MkdirAll(n.out(), 0o755); err != nil {
		return o, err
	}
	if err := n.Emulator.Reset(ctx); err != nil {
		return o, err
	}
	w := n.watch(ctx, l)
	u, err := n.Timed(ctx, ground.Run{Host: n.Hosts[0], Args: args, Look: w.look, Limit: pullLimit})
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		o.exit, err = exit.ExitCode(), nil
		n.b.Note("it said %q", ground.Tail(u.Output))
	}
	if err = errors.Join(err, w.err); err != nil {
		return o, err
	}
	if l != nil && !w.did {
		return o, fmt.Errorf("it was over after %v, before the network was to change", u.Wall)
	}
	o.seconds, o.cpu = u.Wall.Seconds(), u.CPU[0].Seconds()
	o.ends, o.given = w.ends()
	if o.exit == 0 {
		if err := payload.SameFile(n.payload(), filepath.Join(n.out(), fileName)); err != nil {
			return o, fmt.Errorf("what arrived is not what was sent: %w", err)
		}
	}
	_, err = n.Emulator.Counters(ctx)
	return o, err
}

// watcher notes what the mirrors' interfaces have sent while a command runs.
type watcher struct {
	n     *network
	ctx   context.Context
	later *later

	begin time.Time
	first []int64
	times []float64
	sent  [][]int64 // by look, by mirror

	did bool
	err error
}

// watch starts with the first look.
func (n *network) watch(ctx context.Context, l *later) *watcher {
	return &watcher{n: n, ctx: ctx, later: l}
}

// look notes the present state.
func (w *watcher) look() {
	if w.begin.IsZero() {
		w.begin = time.Now()
	}
	now := make([]int64, len(w.n.mirrors))
	for i, m := range w.n.mirrors {
		_, now[i] = ground.Traffic(m.host.PID)
	}
	if w.first == nil {
		w.first = now
	}
	at := time.Since(w.begin)
	w.times = append(w.times, at.Seconds())
	w.sent = append(w.sent, now)
	if w.later != nil && !w.did && at >= w.later.after {
		w.did, w.err = true, w.later.do(w.ctx)
	}
}

// lastBytes are left out when it is asked when a mirror has sent its last byte:
// connections are closed, and answers come that nobody waits for any more.
const lastBytes = 64 << 10

// ends is when each mirror's last bytes have arrived, in seconds from the start,
// and how much each has sent. What is sent is on its way for the link's delay.
func (w *watcher) ends() (ends []float64, given []int64) {
	for i, m := range w.n.mirrors {
		last := w.sent[len(w.sent)-1][i]
		end := 0.0
		for k := len(w.sent) - 1; k >= 0 && w.sent[k][i]+lastBytes >= last; k-- {
			end = w.times[k] + m.delay.Seconds()
		}
		ends = append(ends, end)
		given = append(given, last-w.first[i])
	}
	return ends, given
}

// readEvents reads what a run has recorded.
func readEvents(path string) (e events, err error) {
	f, err := os.Open(path)
	if err != nil {
		return e, err
	}
	defer f.Close()
	e.bytes = map[string]int64{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var one struct {
			Event   string `json:"ev"`
			Code    string `json:"code"`
			Message string `json:"message"`
			Exit    int    `json:"exit"`
			Sources []struct {
				Source string `json:"source"`
				Bytes  int64  `json:"bytes"`
			} `json:"sources"`
		}
		head := struct {
			Event string `json:"ev"`
		}{}
		if err := json.Unmarshal(lines.Bytes(), &head); err != nil {
			return e, fmt.Errorf("reading an event: %w", err)
		}
		if !slices.Contains([]string{"warn", "error", "job.end"}, head.Event) {
			continue
		}
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return e, fmt.Errorf("reading an event: %w", err)
		}
		if one.Event == "job.end" {
			e.end, e.exit = true, one.Exit
			for _, s := range one.Sources {
				e.bytes[s.Source] += s.Bytes
			}
			continue
		}
		e.warnings = append(e.warnings, one.Code+": "+one.Message)
	}
	return e, lines.Err()
}

// named says whether a warning has all of some words in it.
func (e events) named(words ...string) bool {
	return slices.ContainsFunc(e.warnings, func(w string) bool {
		return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(w, word) })
	})
}
