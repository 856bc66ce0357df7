package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gomover/gomover/bench/ground"
)

// payloadShare is what of a link's rate its packets of 1500 bytes can carry.
const payloadShare = 0.965

// path is an emulated path from the host "from" to others. All that it sends
// shares one link.
type path struct {
	rate  float64         // bits per second
	queue int64           // bytes
	loss  float64         // of packets towards the receivers
	rtts  []time.Duration // one receiver for each
}

// capacity is what programs can get through the path, in bytes per second.
func (p path) capacity() float64 { return p.rate / 8 * payloadShare }

// sites describes the path for the emulator.
func (p path) sites() []ground.Site {
	rate := fmt.Sprintf("%.0fbit", p.rate)
	l := []ground.Site{{Name: "from", Up: &ground.Link{Rate: rate, Queue: fmt.Sprintf("%dB", p.queue)}}}
	for i, rtt := range p.rtts {
		half := (rtt / 2).String()
		l = append(l, ground.Site{
			Name: fmt.Sprintf("to%d", i),
			Up:   &ground.Link{Delay: half},
			Down: &ground.Link{Delay: half, Loss: p.loss},
		})
	}
	return l
}

// emulated brings a path up.
func (b *bench) emulated(ctx context.Context, p path) (*ground.Ground, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("looking for the user's cache: %w", err)
	}
	setup := ground.Setup{Groups: b.groups, Program: b.Lab, Dir: b.dir, Cache: cache}
	g, err := ground.Emulated(ctx, setup, ground.Topology{Control: "cubic", Sites: p.sites()})
	if err != nil {
		return nil, err
	}
	g.Quiet = b.Quiet
	return g, nil
}

// loopback makes a network namespace in which both ends of a flow are.
func (b *bench) loopback(ctx context.Context) (g *ground.Ground, err error) {
	name := filepath.Base(b.dir)
	g = &ground.Ground{Home: b.dir, Quiet: b.Quiet}
	defer func() {
		if err != nil {
			g.Close()
		}
	}()
	if err := ground.Quiet(ctx, nil, "ip", "netns", "add", name); err != nil {
		return nil, err
	}
	g.OnClose(func() { _ = ground.Quiet(context.Background(), nil, "ip", "netns", "del", name) })
	if err := ground.Quiet(ctx, nil, "ip", "-n", name, "link", "set", "lo", "up"); err != nil {
		return nil, err
	}
	inside := func(args []string) []string { return append([]string{"ip", "netns", "exec", name}, args...) }
	for _, host := range []string{"from", "to0"} {
		if _, err := g.AddHost(b.groups, host, "127.0.0.1", inside); err != nil {
			return nil, err
		}
	}
	return g, nil
}
