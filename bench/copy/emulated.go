package main

import (
	"context"
	"fmt"
	"os"

	"github.com/gomover/gomover/bench/ground"
)

// Names of the emulated hosts.
const (
	nearHost = "near"
	farHost  = "far"
)

// link describes an emulated path between two hosts.
type link struct {
	each ground.Link // each direction of both access links: a round trip passes four
	loss float64     // of each direction of the path
}

// The paths of the table; queues hold one bandwidth-delay product.
var (
	wanLink   = link{each: ground.Link{Rate: "1gbit", Queue: "12.5MB", Delay: "25ms"}}
	lossyLink = link{each: ground.Link{Rate: "1gbit", Queue: "12.5MB", Delay: "25ms"}, loss: 0.001}
	treeLink  = link{each: ground.Link{Rate: "1gbit", Queue: "6.25MB", Delay: "12.5ms"}}
)

// payloadRate is what TCP can carry of 1 Gbit/s of packets of 1500 bytes.
// Unit: bytes per second.
const payloadRate = 0.965 * 1e9 / 8

// topology is the emulator's description of the path.
func (l link) topology() ground.Topology {
	t := ground.Topology{Control: "cubic"}
	for _, name := range []string{nearHost, farHost} {
		site := ground.Site{Name: name, Link: &l.each}
		if l.loss > 0 {
			site.Down = &ground.Link{Loss: l.loss}
		}
		t.Sites = append(t.Sites, site)
	}
	return t
}

// emulated brings up two hosts joined by an emulated link.
func (b *bench) emulated(ctx context.Context, l link) (*ends, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("looking for the agents kept in the user's cache: %w", err)
	}
	base, err := ground.Emulated(ctx, ground.Setup{Groups: b.Groups, Program: b.Lab, Dir: b.Dir, Cache: cache}, l.topology())
	if err != nil {
		return nil, err
	}
	base.Quiet, base.Reserve = b.Quiet, b.reserve
	g := &ends{Ground: base, near: base.Hosts[0], far: base.Hosts[1], dir: b.Dir, binary: b.binary, sshPort: 22}
	if err := g.ready(ctx); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// load is what the path towards the far end has seen.
type load struct {
	bytes int64 // that arrived, with headers
	drops int64 // packets lost on the way, in queues or by the link's loss
}

// carried resets the emulator's counters and returns a function that checks that
// at least n bytes have passed to the far end since, and that the emulator kept
// up.
func carried(ctx context.Context, g *ends) (func(n int64) (load, error), error) {
	if err := g.Emulator.Reset(ctx); err != nil {
		return nil, err
	}
	return func(n int64) (sum load, err error) {
		c, err := g.Emulator.Counters(ctx)
		if err != nil {
			return sum, err
		}
		down, up := c.Link(farHost+".down"), c.Link(nearHost+".up")
		sum = load{bytes: down.Out.Bytes, drops: down.Dropped() + up.Dropped()}
		if sum.bytes < n {
			return sum, fmt.Errorf("the link carried %d bytes, less than the payload of %d: something went another way", sum.bytes, n)
		}
		return sum, nil
	}, nil
}
