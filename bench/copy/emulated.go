package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Names of the emulated hosts.
const (
	nearHost = "near"
	farHost  = "far"
)

// link describes both access links of an emulated path.
type link struct {
	rate  string  // of each direction
	queue string  // of each direction: one bandwidth-delay product
	delay string  // of each of the four links that a round trip passes
	loss  float64 // of each direction of the path
}

// The paths of the table.
var (
	wanLink   = link{rate: "1gbit", queue: "12.5MB", delay: "25ms"}
	lossyLink = link{rate: "1gbit", queue: "12.5MB", delay: "25ms", loss: 0.001}
	treeLink  = link{rate: "1gbit", queue: "6.25MB", delay: "12.5ms"}
)

// payloadRate is what TCP can carry of 1 Gbit/s of packets of 1500 bytes.
// Unit: bytes per second.
const payloadRate = 0.965 * 1e9 / 8

// topology is the emulator's description of the path.
func (l link) topology() ([]byte, error) {
	type settings map[string]any
	var hosts []settings
	for _, name := range []string{nearHost, farHost} {
		h := settings{"name": name, "link": settings{"rate": l.rate, "queue": l.queue, "delay": l.delay}}
		if l.loss > 0 {
			h["down"] = settings{"loss": l.loss}
		}
		hosts = append(hosts, h)
	}
	return json.MarshalIndent(settings{"cc": "cubic", "hosts": hosts}, "", "  ")
}

// linkStats is the part of the emulator's counters that is looked at.
type linkStats struct {
	Links []struct {
		Name string `json:"name"`
		Out  struct {
			Bytes int64 `json:"bytes"`
		} `json:"out"`
		Drops map[string]int64 `json:"drops"`
	} `json:"links"`
}

// emulated brings up two hosts joined by an emulated link.
func (b *bench) emulated(ctx context.Context, l link) (g *ground, err error) {
	if exec.CommandContext(ctx, b.lab, "stats", "--json").Run() == nil {
		return nil, fmt.Errorf("%s: a network is up already; end it with its user's consent: %s down", b.lab, b.lab)
	}
	g = &ground{host: farHost, dir: b.dir, home: filepath.Join(b.dir, "home"), binary: b.binary, quiet: b.quiet, sshPort: 22}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	if err := g.groups(b, true); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(g.home, 0o700); err != nil {
		return nil, err
	}
	g.closers = append(g.closers, func() { os.RemoveAll(g.home) })
	text, err := l.topology()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(b.dir, "topology.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return nil, err
	}
	// From here on the network may be half up.
	g.closers = append(g.closers, keepAgents(), func() { quiet(context.Background(), nil, b.lab, "down") })
	if err := quiet(ctx, g.emulator, b.lab, "up", file); err != nil {
		return nil, err
	}
	if err := quiet(ctx, g.far, b.lab, "sshd", "--install-home", g.home); err != nil {
		return nil, err
	}
	g.wrap = func(far bool, args []string) []string {
		host := nearHost
		if far {
			host = farHost
		}
		return append([]string{b.lab, "exec", host, "--"}, args...)
	}
	return g, g.ready(ctx)
}

// keepAgents notes the agents that are kept in the user's cache and returns a
// function that removes those that have come since.
func keepAgents() func() {
	cache, err := os.UserCacheDir()
	if err != nil {
		return func() {}
	}
	pattern := filepath.Join(cache, "gomover", "gomover-*")
	had := map[string]bool{}
	names, _ := filepath.Glob(pattern)
	for _, name := range names {
		had[name] = true
	}
	since := time.Now()
	return func() {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && !had[name] && info.ModTime().After(since) {
				os.Remove(name)
			}
		}
	}
}

// load is what the path towards the far end has seen.
type load struct {
	bytes int64 // that arrived, with headers
	drops int64 // packets lost on the way, in queues or by the link's loss
}

// carried resets the emulator's counters and returns a function that checks that
// at least n bytes have passed to the far end since, and that the emulator kept
// up.
func (b *bench) carried(ctx context.Context) (func(n int64) (load, error), error) {
	if err := quiet(ctx, nil, b.lab, "stats", "--reset"); err != nil {
		return nil, err
	}
	return func(n int64) (sum load, err error) {
		text, err := exec.CommandContext(ctx, b.lab, "stats", "--json").Output()
		if err != nil {
			return sum, fmt.Errorf("reading the emulator's counters: %w", err)
		}
		var st linkStats
		if err := json.Unmarshal(text, &st); err != nil {
			return sum, fmt.Errorf("reading the emulator's counters: %w", err)
		}
		for _, l := range st.Links {
			if l.Drops["overrun"] > 0 {
				return sum, errors.New("the emulator could not keep up: the measurement is void")
			}
			if l.Name == farHost+".down" {
				sum.bytes = l.Out.Bytes
			}
			if l.Name == farHost+".down" || l.Name == nearHost+".up" {
				for _, n := range l.Drops {
					sum.drops += n
				}
			}
		}
		if sum.bytes < n {
			return sum, fmt.Errorf("the link carried %d bytes, less than the payload of %d: something went another way", sum.bytes, n)
		}
		return sum, nil
	}, nil
}
