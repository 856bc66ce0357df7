package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/payload"
)

// Of the row cut: a copy over UDT that takes twice as long as until UDP is dropped.
const (
	cutAt   = 10 * time.Second // after the first plan
	cutSize = 256 << 20        // 21 s at the rate of the link: no scale makes it shorter than cutAt
	cutBar  = 6 * time.Second  // from the drop to the first bytes over TCP
)

// cutWays are where UDP is dropped: data towards the far end, or what answers it.
var cutWays = []struct {
	name string
	far  bool
}{{"dropped at the far end", true}, {"dropped at the near end", false}}

// dropUDP are commands that make a host take no UDP any more, letUDP one that undoes it.
var (
	dropUDP = [][]string{
		{"nft", "add", "table", "inet", "cut"},
		{"nft", "add", "chain", "inet", "cut", "in", "{ type filter hook input priority 0 ; }"},
		{"nft", "add", "rule", "inet", "cut", "in", "meta", "l4proto", "udp", "drop"},
	}
	letUDP = []string{"nft", "delete", "table", "inet", "cut"}
)

// rowCut measures how soon a copy over UDT goes on over TCP when UDP is dropped midway,
// over the path of the row change.
func rowCut(ctx context.Context, b *bench) error {
	g, err := b.emulated(ctx, link{each: ground.Link{Rate: "100mbit", Queue: "500KB", Delay: "10ms"}})
	if err != nil {
		return err
	}
	defer g.Close()
	src := filepath.Join(b.Dir, "src")
	if err := payload.MakeFile(ctx, src, cutSize, 6); err != nil {
		return err
	}
	defer os.Remove(src)
	for _, w := range cutWays {
		if !strings.Contains(w.name, b.cases) {
			continue
		}
		var took ground.Samples
		var notes []string
		pass := true
		for range b.Rounds {
			c, err := b.cut(ctx, g, src, w.far)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			took, notes = append(took, c.took.Seconds()), append(notes, c.String())
			pass = pass && c.holds()
		}
		b.Add(ground.Result{
			Row: "cut: UDP " + w.name, Figure: took.Text("%.1f", " s") + " until bytes come over TCP",
			Bar: fmt.Sprintf("<= %.0f s, one transport event, file exact", cutBar.Seconds()), Value: took.Median(), Limit: cutBar.Seconds(), Samples: took, Notes: notes,
			Pass: pass,
		})
	}
	return nil
}

// cut makes one run and drops UDP at one end midway. The file must have arrived whole.
func (b *bench) cut(ctx context.Context, g *ends, src string, far bool) (c cutRun, err error) {
	dst, log, state := filepath.Join(b.Dir, "dst"), filepath.Join(b.Dir, "events"), filepath.Join(b.Dir, "state")
	if err := errors.Join(os.RemoveAll(log), os.RemoveAll(state)); err != nil {
		return c, err
	}
	defer os.Remove(dst)
	run, stop := context.WithCancel(ctx)
	defer stop()
	cmd := g.command(run, false, g.mover("--transport=udt,tcp", "--json="+log, "--progress-interval=100ms", "--summary=none", "--state-dir="+state, src, g.target(dst))...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return c, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	began, err := awaitPlan(ctx, log)
	if err == nil {
		err = ground.Wait(ctx, time.Until(began.Add(cutAt)))
	}
	defer func() {
		err = errors.Join(err, ground.Quiet(context.Background(), nil, g.command(context.Background(), far, letUDP...).Args...))
	}()
	var at time.Time
	for _, words := range dropUDP {
		if err != nil {
			break
		}
		at = time.Now()
		err = ground.Quiet(ctx, nil, g.command(ctx, far, words...).Args...)
	}
	if err != nil {
		stop()
		<-ended
		return c, err
	}
	if err := <-ended; err != nil {
		return c, fmt.Errorf("gomover: %w: %s", err, ground.Tail(out.String()))
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return c, err
	}
	return readCut(text, at), payload.SameFile(src, dst)
}

// cutRun is what became of a copy whose UDP was dropped.
type cutRun struct {
	before   []string      // transports of the plans and transport events until then
	events   int           // transport events from then on
	told     time.Duration // from then until the last of them, and until bytes came after it
	took     time.Duration
	reason   string
	verified int64 // bytes until then
}

// holds says whether all is as it must be: UDT before, TCP soon, and told once.
func (c cutRun) holds() bool {
	return len(c.before) == 1 && c.before[0] == "udt" && c.events == 1 && c.verified > 0 && c.took > 0 && c.took <= cutBar
}

// String is one run in words.
func (c cutRun) String() string {
	return fmt.Sprintf("over %s, %d MB; %d transport event %.1f s after the drop (%s), first bytes over tcp %.1f s after it; the file is exact",
		strings.Join(c.before, ", "), c.verified/1e6, c.events, c.told.Seconds(), c.reason, c.took.Seconds())
}

// readCut reads the events of a run in which UDP was dropped at an instant. A run that
// brought no bytes over TCP took no time: it does not hold.
func readCut(text []byte, at time.Time) (c cutRun) {
	var verified int64
	overTCP := false
	for line := range bytes.Lines(text) {
		var e struct {
			progressLine
			Transport string `json:"transport"`
			Reason    string `json:"reason"`
		}
		if json.Unmarshal(line, &e) != nil {
			continue
		}
		switch early := e.Time.Before(at); {
		case e.Name == "plan" && early:
			c.before = append(c.before, e.Transport)
		case e.Name == "transport" && early:
			c.before = append(c.before, fmt.Sprint(e.To))
		case e.Name == "transport":
			c.events++
			c.told, c.reason = e.Time.Sub(at), e.Reason
			overTCP = e.To == "tcp"
		case e.Name != "progress":
		case early:
			c.verified = e.Verified
		case overTCP && c.took == 0 && e.Verified > verified:
			c.took = e.Time.Sub(at)
		}
		if e.Name == "progress" {
			verified = e.Verified
		}
	}
	return c
}
