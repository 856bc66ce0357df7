package main

import (
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

// What a whole command may take beyond the login that ssh itself needs and the size
// over 0.99 of the payload rate.
const (
	startCold       = 1.0 // seconds, the first copy on a path
	startRemembered = 0.8 // seconds, the second one
	startRate       = 0.99 * payloadRate
)

// startSizes are those of the row start: what is lost at the start is the same for
// both, what is lost at the rate is not. The second one needs 10 GiB of memory.
var startSizes = []int64{2 << 30, 8 << 30}

// rowStart measures what a whole command without flags takes beyond its bytes and a
// login: the agent's start, the connections, and the search for the rate.
func rowStart(ctx context.Context, b *bench) error {
	g, err := b.emulated(ctx, wanLink)
	if err != nil {
		return err
	}
	defer g.Close()
	src := filepath.Join(b.Dir, "src")
	if err := payload.MakeFile(ctx, src, b.Size(startSizes[0]), 5); err != nil {
		return err
	}
	defer os.Remove(src)
	for _, full := range startSizes {
		size := b.Size(full)
		if !strings.Contains(fmt.Sprintf("%d MiB", size>>20), b.cases) {
			continue
		}
		// What is longer than the first size has no blocks: it would not fit into memory
		// twice, and is sent as it is.
		if err := os.Truncate(src, size); err != nil {
			return err
		}
		if err := b.starts(ctx, g, src, size); err != nil {
			return err
		}
	}
	return nil
}

// starts measures one size: cold, then with what was remembered, with a login of ssh
// before each.
func (b *bench) starts(ctx context.Context, g *ends, src string, size int64) error {
	dst, state := filepath.Join(b.Dir, "dst"), filepath.Join(b.Dir, "state")
	ideal := time.Duration(float64(size) / startRate * float64(time.Second))
	kinds := []struct {
		name  string
		limit float64
		extra ground.Samples
		notes []string
	}{{name: "cold", limit: startCold}, {name: "remembered", limit: startRemembered}}
	for range b.Rounds {
		if err := os.RemoveAll(state); err != nil {
			return err
		}
		for i := range kinds {
			k := &kinds[i]
			login, err := g.timed(ctx, "ssh", "-F", g.Config(), g.far.Name, "true")
			if err != nil {
				return err
			}
			u, err := g.steady(ctx, dst, nil, g.mover("--json", "--state-dir", state, src, g.target(dst))...)
			if err != nil {
				return err
			}
			if err := errors.Join(payload.SameFile(src, dst), os.Remove(dst)); err != nil {
				return err
			}
			b.peak("start", u)
			k.extra = append(k.extra, (u.wall - login.wall - ideal).Seconds())
			k.notes = append(k.notes, fmt.Sprintf("%.2f s, of which login %.2f s; %s", u.wall.Seconds(), login.wall.Seconds(), firstSteps(u.output)))
		}
	}
	for _, k := range kinds {
		b.Add(ground.Result{
			Row: fmt.Sprintf("start: %d MiB, %s", size>>20, k.name), Figure: k.extra.Text("%.2f", " s") + fmt.Sprintf(" beyond a login and %.2f s", ideal.Seconds()),
			Bar: fmt.Sprintf("<= %.1f s", k.limit), Value: k.extra.Median(), Limit: k.limit, Samples: k.extra, Notes: k.notes, Pass: k.extra.Median() <= k.limit,
		})
	}
	return nil
}

// firstSteps says when what happened, from the events of a run, and how fast it went
// from one second to the next at first.
func firstSteps(output string) string {
	var began time.Time
	var said []string
	var last point
	for line := range strings.Lines(output) {
		var e struct {
			progressLine
			State string `json:"state"`
		}
		if json.Unmarshal([]byte(line), &e) != nil {
			continue
		}
		at := e.Time.Sub(began).Seconds()
		switch {
		case e.Name == "job.start":
			began = e.Time
		case e.Name == "host":
			said = append(said, fmt.Sprintf("%s %.2f s", e.State, at))
		case e.Name == "plan":
			said = append(said, fmt.Sprintf("plan %.2f s", at))
		case e.Name == "job.end":
			said = append(said, fmt.Sprintf("end %.2f s", at))
		case e.Name == "progress" && e.Verified > 0 && at < 6:
			if !last.at.IsZero() && e.Time.After(last.at) {
				said = append(said, fmt.Sprintf("%.1f s %.0f MB/s", at, float64(e.Verified-last.bytes)/1e6/e.Time.Sub(last.at).Seconds()))
			}
			last = point{e.Time, e.Verified}
		}
	}
	return strings.Join(said, ", ")
}
