package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/gomover/gomover/bench/ground"
)

const (
	lossyBytes = 1 << 30   // of the pull
	lossyAlone = 256 << 20 // of the copy from the lossy host alone
	lossyShare = 0.01      // of the packets that it sends
	lossyBar   = 0.85      // of what the copy reaches
)

// rowLossy has the fastest host lose packets at random, and compares what it gives in a
// pull from all hosts with what a copy from it alone reaches.
func rowLossy(ctx context.Context, b *bench) error {
	alone, all := b.Size(lossyAlone), b.Size(lossyBytes)
	var share ground.Samples
	for range b.Rounds {
		rate, err := b.copyLossy(ctx, alone)
		if err != nil {
			return err
		}
		n, err := b.lossy(ctx, all)
		if err != nil {
			return err
		}
		o, err := n.from(ctx, nil, n.hosts(n.mirrors)...)
		if err != nil {
			return err
		}
		gives := float64(o.given[fastest]) / o.ends[fastest]
		b.Note("it gives %.1f Mbit/s beside the others, %.1f alone", gives/mbit, rate/mbit)
		share = append(share, gives/rate)
	}
	b.AtLeast("lossy: what the host gives by what a copy from it alone reaches", "%.2f", " x", fmt.Sprintf(">= %.2f", lossyBar), lossyBar, share)
	return nil
}

// lossy gives the network with the fastest host losing packets. The next row has it
// whole again.
func (b *bench) lossy(ctx context.Context, size int64) (*network, error) {
	n, err := b.up(ctx, size)
	if err != nil {
		return nil, err
	}
	return n, n.Emulator.Set(ctx, n.mirrors[fastest].name+".up", fmt.Sprintf("loss=%g", lossyShare))
}

// copyLossy copies from the lossy host alone, and gives the bytes per second that it sent.
func (b *bench) copyLossy(ctx context.Context, size int64) (float64, error) {
	n, err := b.lossy(ctx, size)
	if err != nil {
		return 0, err
	}
	m := n.mirrors[fastest]
	o, err := n.pull(ctx, nil, []string{b.mover, "--progress=none", m.name + ":" + filepath.Join(m.root, fileName), n.out() + "/"})
	if err == nil && o.exit != 0 {
		err = fmt.Errorf("a copy from the lossy host ended with exit code %d", o.exit)
	}
	if err != nil {
		return 0, err
	}
	return float64(o.given[fastest]) / o.ends[fastest], nil
}
