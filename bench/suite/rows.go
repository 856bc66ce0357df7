package main

import (
	"context"

	"github.com/gomover/gomover/bench/ground"
)

// row is one part of the run: its name on the command line, what it says, and
// what measures it.
type row struct {
	name string
	what string
	run  func(ctx context.Context, b *bench, name string) error
}

// rows are all, in the order in which they run.
var rows = []row{
	{"wan", "one large file, 1 Gbit/s, RTT 100 ms", wide(Path{RateBits: 1e9, RTTSeconds: 0.1})},
}

// Hosts of the network of two ends; the third sends what competes with the first.
const (
	nearHost  = "near"
	farHost   = "far"
	otherHost = "other"
)

// pair brings up the network of the rows with one sender and one receiver.
func (b *bench) pair(ctx context.Context) (*scene, error) {
	return b.network(ctx, []ground.Site{{Name: nearHost, Multicast: true}, {Name: farHost, Multicast: true}, {Name: otherHost}})
}

// between is a table of the pair.
func (s *scene) between(name string) table {
	return table{
		scene: s, name: name, rounds: s.b.rounds,
		from: []*ground.Host{s.Host(nearHost)}, to: []*ground.Host{s.Host(farHost)},
	}
}

// wide compares all programs on one path.
func wide(p Path) func(context.Context, *bench, string) error {
	return func(ctx context.Context, b *bench, name string) error {
		s, err := b.pair(ctx)
		if err != nil {
			return err
		}
		defer s.Close()
		if err := s.set(ctx, p); err != nil {
			return err
		}
		t := s.between(name)
		entries, err := t.entries(ctx, b.programs(), b.size(512<<20, 16<<20), b.size(64<<20, 8<<20))
		if err != nil {
			return err
		}
		return t.compare(ctx, entries)
	}
}
