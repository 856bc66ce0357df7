package main

import (
	"bytes"
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
)

// change is a path that becomes another one while a copy runs.
type change struct {
	name          string
	before, after []string // settings of all links
	cross         [2]string
	best          float64       // what the path carries then, bytes of payload per second
	rtt           time.Duration // then
}

// The path before most changes: 100 Mbit/s, 40 ms, a queue of one bandwidth-delay
// product.
const (
	changeRate  = 100e6 / 8 // bytes per second
	changeRTT   = 40 * time.Millisecond
	payloadPart = 0.965 // what TCP carries of packets of 1500 bytes
)

var (
	fullRate = []string{"rate=100mbit", "delay=10ms", "queue=500KB", "loss=0"}
	aQuarter = []string{"rate=25mbit", "delay=10ms", "queue=500KB", "loss=0"}
	farther  = []string{"rate=100mbit", "delay=30ms", "queue=500KB", "loss=0"}
)

// changes are what is measured, in this order.
var changes = []change{
	{"the rate falls to a quarter", fullRate, aQuarter, [2]string{"0", "0"}, payloadPart * changeRate / 4, changeRTT},
	{"four times the rate", aQuarter, fullRate, [2]string{"0", "0"}, payloadPart * changeRate, changeRTT},
	{"three times the round trip", fullRate, farther, [2]string{"0", "0"}, payloadPart * changeRate, 3 * changeRTT},
	{"losses of 1%", fullRate, []string{"loss=1%"}, [2]string{"0", "0"}, 0.99 * payloadPart * changeRate, changeRTT},
	{"others take half", fullRate, nil, [2]string{"0", "50mbit"}, payloadPart * changeRate / 2, changeRTT},
	{"others go", fullRate, nil, [2]string{"50mbit", "0"}, payloadPart * changeRate, changeRTT},
}

// Times of the row change.
const (
	changeAt   = 12 * time.Second // after the first plan
	changeSpan = 35 * time.Second // of the whole, from there on
	// backFor is over how long the rate must be back, and backShare at which share of
	// the best.
	backFor   = 2 * time.Second
	backShare = 0.9
)

// limit is how long it may take: 10 s, or fifty round trips.
func (c change) limit() time.Duration { return max(10*time.Second, 50*c.rtt) }

// rowChange measures how soon a copy without flags is back at what its path carries
// when that changes.
func rowChange(ctx context.Context, b *bench) error {
	l := link{each: ground.Link{Rate: "100mbit", Queue: "500KB", Delay: "10ms"}}
	g, err := b.emulated(ctx, l)
	if err != nil {
		return err
	}
	defer g.Close()
	src := filepath.Join(b.Dir, "endless")
	if err := os.WriteFile(src, nil, 0o600); err != nil {
		return err
	}
	defer os.Remove(src)
	if err := os.Truncate(src, 1<<40); err != nil { // has no blocks, reads as zeros
		return err
	}
	for _, c := range changes {
		if !strings.Contains(c.name, b.cases) {
			continue
		}
		var took, share ground.Samples
		var notes []string
		for range b.Rounds {
			t, s, note, err := b.change(ctx, g, c, src)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			took, share, notes = append(took, t.Seconds()), append(share, 100*s), append(notes, note)
		}
		limit := c.limit().Seconds()
		b.Add(ground.Result{
			Row: "change: " + c.name, Figure: "back after " + took.Text("%.1f", " s") + ", then at " + share.Text("%.0f", "% of the best"),
			Bar: fmt.Sprintf("<= %.0f s", limit), Value: took.Median(), Limit: limit, Samples: took, Notes: notes,
			Pass: took.Median() <= limit && share.Median() >= 100*backShare,
		})
	}
	return nil
}

// change makes one run, and gives how long it took to be back and which share of the
// best it had from the limit on.
func (b *bench) change(ctx context.Context, g *ends, c change, src string) (took time.Duration, share float64, note string, err error) {
	dst, log := filepath.Join(b.Dir, "to"), filepath.Join(b.Dir, "events")
	for _, path := range []string{dst, log, filepath.Join(b.Dir, "state")} {
		if err := os.RemoveAll(path); err != nil {
			return 0, 0, "", err
		}
	}
	defer os.RemoveAll(dst)
	if err := errors.Join(os.Mkdir(dst, 0o700), b.setPath(ctx, g, c.before, c.cross[0])); err != nil {
		return 0, 0, "", err
	}
	cmd := g.command(ctx, false, g.mover("--state-dir="+filepath.Join(b.Dir, "state"), "--json="+log, "--progress-interval=250ms", "--summary=none",
		"--no-space-check", "--time-limit="+(changeSpan+5*time.Second).String(), src, g.target(dst)+"/")...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return 0, 0, "", err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	began, err := awaitPlan(ctx, log)
	if err == nil {
		err = ground.Wait(ctx, time.Until(began.Add(changeAt)))
	}
	at := time.Now()
	if err == nil {
		err = b.setPath(ctx, g, c.after, c.cross[1])
	}
	if err != nil {
		cmd.Process.Kill()
		<-ended
		return 0, 0, "", err
	}
	err = <-ended
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != timeLimit {
		return 0, 0, "", fmt.Errorf("gomover ended with %v instead of at its time limit: %s", err, ground.Tail(out.String()))
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return 0, 0, "", err
	}
	points, words := readProgress(text, at)
	took, share = back(points, at, c.limit(), c.best)
	return took, share, fmt.Sprintf("back after %.1f s; %s", took.Seconds(), words), nil
}

// timeLimit is gomover's exit code when --time-limit is reached.
const timeLimit = 12

// setPath changes all links, and the cross traffic towards the far end.
func (b *bench) setPath(ctx context.Context, g *ends, words []string, cross string) error {
	if words != nil && words[0] == "loss=1%" { // of the path, not of each of its links
		return g.Emulator.Set(ctx, "all.down", words[0])
	}
	if words != nil {
		if err := g.Emulator.Set(ctx, append([]string{"all"}, words...)...); err != nil {
			return err
		}
	}
	return g.Emulator.Set(ctx, farHost+".down", "cross="+cross)
}

// point is how much was confirmed at a time.
type point struct {
	at    time.Time
	bytes int64
}

// progressLine is what is read of an event.
type progressLine struct {
	Time     time.Time `json:"t"`
	Name     string    `json:"ev"`
	Verified int64     `json:"verified_bytes"`
	What     string    `json:"what"`
	To       any       `json:"to"`
}

// awaitPlan waits for the first plan of a run in its events, and gives its time.
func awaitPlan(ctx context.Context, log string) (time.Time, error) {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		text, _ := os.ReadFile(log) // comes soon
		for line := range bytes.Lines(text) {
			var e progressLine
			if json.Unmarshal(line, &e) == nil && e.Name == "plan" {
				return e.Time, nil
			}
		}
		if err := ground.Wait(ctx, 20*time.Millisecond); err != nil {
			return time.Time{}, err
		}
	}
	return time.Time{}, errors.New("the copy does not begin")
}

// readProgress gives what was confirmed when, and what was decided, in words, with
// times since at.
func readProgress(text []byte, at time.Time) (points []point, words string) {
	var said []string
	for line := range bytes.Lines(text) {
		var e progressLine
		if json.Unmarshal(line, &e) != nil {
			continue // the last one may be cut
		}
		switch e.Name {
		case "progress":
			points = append(points, point{e.Time, e.Verified})
		case "tune", "transport":
			said = append(said, fmt.Sprintf("%+.1f s %s to %v", e.Time.Sub(at).Seconds(), strings.TrimSpace(e.Name+" "+e.What), e.To))
		}
	}
	if len(said) > 12 {
		said = append(said[:6], append([]string{"..."}, said[len(said)-6:]...)...)
	}
	return points, strings.Join(said, ", ")
}

// back gives how long after at the rate over backFor reached backShare of the best;
// the rest of the run if it did not. share is of the best, from limit on to the end.
func back(points []point, at time.Time, limit time.Duration, best float64) (took time.Duration, share float64) {
	bytesAt := func(t time.Time) float64 {
		i, _ := slices.BinarySearchFunc(points, t, func(p point, t time.Time) int { return p.at.Compare(t) })
		switch {
		case len(points) == 0:
			return 0
		case i == 0:
			return float64(points[0].bytes)
		case i == len(points):
			return float64(points[i-1].bytes)
		}
		a, b := points[i-1], points[i]
		return float64(a.bytes) + float64(b.bytes-a.bytes)*float64(t.Sub(a.at))/float64(b.at.Sub(a.at))
	}
	if len(points) == 0 {
		return 0, 0
	}
	end := points[len(points)-1].at
	rate := func(from, to time.Time) float64 { return (bytesAt(to) - bytesAt(from)) / to.Sub(from).Seconds() }
	took = max(0, end.Sub(at))
	for t := at; !t.Add(backFor).After(end); t = t.Add(100 * time.Millisecond) {
		if rate(t, t.Add(backFor)) >= backShare*best {
			took = t.Sub(at)
			break
		}
	}
	if from := at.Add(limit); end.Sub(from) > time.Second {
		share = rate(from, end) / best
	}
	return took, share
}
