package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/payload"
)

// whole is one command of gomover to several hosts by multicast, with all that belongs
// to it.
type whole struct {
	wall, cpu float64   // seconds; the processor's are the sending host's
	wire      int64     // bytes that have left it
	ends      []float64 // when each has the file, in seconds from the start
	ways      []way
}

// way is how the file went to one host: bytes; and what that has refused.
type way struct {
	Dest      string `json:"dest"`
	Multicast int64  `json:"multicast_bytes"`
	Unicast   int64  `json:"unicast_bytes"`
	Blocks    int64  `json:"refused_blocks"`
	Packets   int64  `json:"refused_packets"`
}

// whole copies the payload to hosts with one command, which may have more words.
func (n *network) whole(ctx context.Context, to []*ground.Host, words ...string) (w whole, err error) {
	for range attempts {
		if w, err = n.wholeOnce(ctx, to, words); !errors.Is(err, ground.ErrVoid) || ctx.Err() != nil {
			break
		}
		n.b.Note("void: %s", ground.OneLine(err))
	}
	return w, err
}

func (n *network) wholeOnce(ctx context.Context, to []*ground.Host, words []string) (w whole, err error) {
	log := filepath.Join(n.dir, "events.jsonl")
	os.Remove(log)
	args := append([]string{n.b.mover, "--fanout=multicast", "--progress=none", "--json=" + log}, words...)
	args = append(args, n.payload())
	var names []string
	for _, h := range to {
		path := filepath.Join(n.dir, "to-"+h.Name)
		defer os.Remove(path)
		names = append(names, h.Name+":"+path)
	}
	var start time.Time
	before := func(ctx context.Context) error {
		start = time.Now()
		return n.Emulator.Reset(ctx)
	}
	u, err := n.Timed(ctx, ground.Run{Host: n.Hosts[0], Args: append(args, names...), Before: before, Limit: sessionLimit})
	if err != nil {
		return w, err
	}
	c, err := n.Emulator.Counters(ctx)
	if err != nil {
		return w, err
	}
	up := c.Link(n.Hosts[0].Name + ".up")
	w.wall, w.cpu, w.wire = u.Wall.Seconds(), u.CPU[0].Seconds(), up.Unicast.Bytes+up.Multicast.Bytes
	for _, h := range to {
		if err := payload.SameFile(n.payload(), filepath.Join(n.dir, "to-"+h.Name)); err != nil {
			return w, fmt.Errorf("%s: what arrived is not what was sent: %w", h.Name, err)
		}
	}
	return w, w.read(log, start, names)
}

// read reads what a run has recorded.
func (w *whole) read(log string, start time.Time, names []string) error {
	f, err := os.Open(log)
	if err != nil {
		return err
	}
	defer f.Close()
	place := map[string]int{}
	for i, name := range names {
		place[name] = i
	}
	w.ends, w.ways = make([]float64, len(names)), make([]way, len(names))
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var e struct {
			Event string    `json:"ev"`
			Time  time.Time `json:"t"`
			Dest  string    `json:"dest"`
			Dests []way     `json:"dests"`
		}
		var kind struct {
			Event string `json:"ev"`
		}
		if err := json.Unmarshal(lines.Bytes(), &kind); err != nil {
			return fmt.Errorf("reading an event: %w", err)
		}
		if kind.Event != "file" && kind.Event != "job.end" {
			continue
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return fmt.Errorf("reading an event: %w", err)
		}
		if i, ok := place[e.Dest]; ok && e.Event == "file" {
			w.ends[i] = e.Time.Sub(start).Seconds()
		}
		for _, d := range e.Dests {
			if i, ok := place[d.Dest]; ok {
				w.ways[i] = d
			}
		}
	}
	for i, end := range w.ends {
		if end <= 0 {
			return fmt.Errorf("the events do not say that %s has the file", names[i])
		}
	}
	return lines.Err()
}
