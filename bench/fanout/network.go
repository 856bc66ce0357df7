package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/payload"
)

// most is how many receivers there are where all are alike; one host more is for who
// does not receive.
const most = 24

// linkDelay is that of each of the four links of a round trip where all receivers are
// alike.
const linkDelay = "5ms"

// quantum is the least time between two deliveries to one host: 24 hosts that wake up
// for each packet would take more than two processors have.
const quantum = "2ms"

// upRate is the sender's where all receivers are alike, in bits per second.
const upRate = 100e6

// place is a site of the UK e-Science table, as seen from Cambridge. Source: Jeacle and
// Crowcroft, tables 1 and 2.
type place struct {
	name      string
	rtt       float64 // ms
	rate      float64 // Mbit/s
	multicast bool
}

var table = []place{
	{"belfast", 18.6, 16.0, false},
	{"cardiff", 13.5, 22.4, true},
	{"daresbury", 21.3, 28.1, true},
	{"glasgow", 16.2, 33.9, false},
	{"imperial", 17.1, 51.0, true},
	{"manchester", 9.9, 34.5, true},
	{"newcastle", 11.8, 1.5, true},
	{"oxford", 7.0, 4.0, true},
	{"southampton", 8.8, 39.3, true},
	{"ucl", 4.9, 42.1, true},
}

// network is one that is up, and a payload in memory that all its hosts see. The first
// host sends.
type network struct {
	*ground.Ground
	b    *bench
	name string
	dir  string
	size int64 // of the payload that is there
}

// even gives the network in which all receivers are alike, without losses.
func (b *bench) even(ctx context.Context) (*network, error) {
	sites := []ground.Site{{Name: "h0", Multicast: true, Link: &ground.Link{Rate: "1gbit", Delay: linkDelay}, Up: &ground.Link{Rate: fmt.Sprintf("%.0fbit", upRate)}}}
	for i := range most + 1 {
		sites = append(sites, ground.Site{Name: fmt.Sprint("h", i+1), Multicast: true, Link: &ground.Link{Rate: "1gbit", Delay: linkDelay}})
	}
	n, err := b.up(ctx, "even", sites)
	if err != nil {
		return nil, err
	}
	return n, n.Emulator.Set(ctx, "all", "loss=0", "mangle=0", "cut=false")
}

// uk gives the network of the table.
func (b *bench) uk(ctx context.Context) (*network, error) {
	sites := []ground.Site{{Name: "cambridge", Multicast: true, Link: &ground.Link{Rate: "100mbit"}}}
	for _, p := range table {
		sites = append(sites, ground.Site{Name: p.name, Multicast: p.multicast, Link: &ground.Link{Rate: fmt.Sprintf("%.0fkbit", 1e3*p.rate), Delay: fmt.Sprintf("%.2fms", p.rtt/2)}})
	}
	n, err := b.up(ctx, "uk", sites)
	if err != nil {
		return nil, err
	}
	n.Patience, n.Sweep = 20*time.Second, true
	return n, nil
}

// up gives the network of a name; another one that is up is taken down.
func (b *bench) up(ctx context.Context, name string, sites []ground.Site) (*network, error) {
	if b.net != nil && b.net.name == name {
		return b.net, nil
	}
	b.down()
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("looking for the user's cache: %w", err)
	}
	setup := ground.Setup{Groups: b.Groups, Program: b.Lab, Dir: b.Dir, Cache: cache}
	g, err := ground.Emulated(ctx, setup, ground.Topology{Control: "cubic", Quantum: quantum, Sites: sites})
	if err != nil {
		return nil, err
	}
	g.Quiet = b.Quiet
	n := &network{Ground: g, b: b, name: name, dir: filepath.Join(b.Dir, name)}
	g.OnClose(func() { os.RemoveAll(n.dir) })
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		g.Close()
		return nil, err
	}
	b.net = n
	return n, nil
}

// down takes the network down.
func (b *bench) down() {
	if b.net != nil {
		b.net.Close()
		b.net = nil
	}
}

// payload is the file that is sent.
func (n *network) payload() string { return filepath.Join(n.dir, "payload") }

// fill makes the payload.
func (n *network) fill(ctx context.Context, size int64) error {
	if n.size == size {
		return nil
	}
	n.size = 0
	if err := payload.MakeFile(ctx, n.payload(), size, 1); err != nil {
		return err
	}
	n.size = size
	return nil
}
