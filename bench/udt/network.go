package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
	loss  float64         // of packets, in each direction
	rtts  []time.Duration // one receiver for each

	buffer int // bytes that may be under way in a flow of UDT; 0 is the default
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
			Up:   &ground.Link{Delay: half, Loss: p.loss},
			Down: &ground.Link{Delay: half, Loss: p.loss},
		})
	}
	return l
}

// kept checks that the path did what was asked of it: flows did not get more than
// it carries, and it lost as many of the packets to the first receiver as it should.
func (p path) kept(rates []float64, c ground.Counters) error {
	sum := 0.0
	for _, r := range rates {
		sum += r
	}
	// Bytes that waited for a missing one may have crossed the link before.
	if sum > 1.05*p.capacity() {
		return fmt.Errorf("the flows had %.3f of the link: the emulator does not hold its rate", sum/p.capacity())
	}
	l := c.Link("to0.down")
	want := p.loss * float64(l.Unicast.Packets)
	if lost := float64(l.Dropped()); math.Abs(lost-want) > 5*math.Sqrt(want) {
		return fmt.Errorf("of %d packets to the receiver %.0f were lost instead of %.0f", l.Unicast.Packets, lost, want)
	}
	return nil
}

// emulated brings a path up.
func (b *bench) emulated(ctx context.Context, p path) (*ground.Ground, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("looking for the user's cache: %w", err)
	}
	setup := ground.Setup{Groups: b.Groups, Program: b.Lab, Dir: b.Dir, Cache: cache}
	g, err := ground.Emulated(ctx, setup, ground.Topology{Control: "cubic", Sites: p.sites()})
	if err != nil {
		return nil, err
	}
	g.Quiet = b.Quiet
	return g, nil
}

// loopback makes a network namespace in which both ends of a flow are.
func (b *bench) loopback(ctx context.Context) (g *ground.Ground, err error) {
	name := filepath.Base(b.Dir)
	g = &ground.Ground{Home: b.Dir, Quiet: b.Quiet}
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
	restore, err := raiseBuffers()
	g.OnClose(restore)
	if err != nil {
		return nil, err
	}
	inside := func(args []string) []string { return append([]string{"ip", "netns", "exec", name}, args...) }
	for _, host := range []string{"from", "to0"} {
		if _, err := g.AddHost(b.Groups, host, "127.0.0.1", inside); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// socketBuffers is how large programs may make the buffers of their sockets, in
// bytes. Emulators allow as much; libudt asks for 12 MB.
const socketBuffers = 64_000_000

// raiseBuffers lets programs have large buffers. What is returned, also with an
// error, puts the limits back.
func raiseBuffers() (restore func(), err error) {
	old := map[string][]byte{}
	restore = func() {
		for name, text := range old {
			_ = os.WriteFile(name, text, 0o644)
		}
	}
	for _, name := range []string{"/proc/sys/net/core/rmem_max", "/proc/sys/net/core/wmem_max"} {
		text, err := os.ReadFile(name)
		if err != nil {
			return restore, fmt.Errorf("reading the limit of sockets' buffers: %w", err)
		}
		limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return restore, fmt.Errorf("reading the limit of sockets' buffers in %s: %w", name, err)
		}
		if limit >= socketBuffers {
			continue
		}
		old[name] = text
		if err := os.WriteFile(name, []byte(strconv.Itoa(socketBuffers)), 0o644); err != nil {
			return restore, fmt.Errorf("raising the limit of sockets' buffers: %w", err)
		}
	}
	return restore, nil
}
