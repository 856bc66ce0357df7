package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/gomover/gomover/bench/ground"
)

// rowUK compares one command to all sites with single copies to each.
func rowUK(ctx context.Context, b *bench) error {
	n, err := b.uk(ctx)
	if err != nil {
		return err
	}
	to := n.Hosts[1:]
	if err := n.warm(ctx, to); err != nil {
		return err
	}
	if err := n.fill(ctx, b.Size(ukBytes)); err != nil {
		return err
	}
	worst, share := ground.Samples{}, ground.Samples{}
	for range b.Rounds {
		alone, wire, err := n.alone(ctx)
		if err != nil {
			return err
		}
		w, err := n.whole(ctx, to)
		if err != nil {
			return err
		}
		most := 0.0
		for i, p := range table {
			times := w.ends[i] / alone[i]
			most = max(most, times)
			b.Note("%-11s %5.1f Mbit/s, alone %6.2f s, together %6.2f s, %.2f x; %.1f MB by the group, %.1f by unicast of the session",
				p.name, p.rate, alone[i], w.ends[i], times, float64(w.ways[i].Multicast)/1e6, float64(w.ways[i].Unicast)/1e6)
		}
		worst, share = append(worst, most), append(share, 100*float64(w.wire)/float64(wire))
	}
	b.AtMost("uk, the site that loses most", "%.3f", " x its single copy", "<= 1.6 x", ukTime, worst)
	b.AtMost("uk, bytes", "%.1f", "% of the single copies", "<= 64%", 100*ukCopies, share)
	return nil
}

// ukBudget is what single copies that run beside each other may fill of the sender's
// link, in Mbit/s: they do not meet.
const ukBudget = 85

// alone copies to each site alone, and gives the seconds of each and the bytes that
// left the sender. Those whose links together are well below the sender's run at the
// same time, which saves minutes; they share nothing else.
func (n *network) alone(ctx context.Context) (times []float64, wire int64, err error) {
	if err := n.Settle(ctx); err != nil {
		return nil, 0, err
	}
	if err := n.Emulator.Reset(ctx); err != nil {
		return nil, 0, err
	}
	times = make([]float64, len(table))
	errs := make([]error, len(table))
	free, done := float64(ukBudget), make(chan float64)
	running := 0
	left := map[int]bool{}
	for i := range table {
		left[i] = true
	}
	for len(left) > 0 || running > 0 {
		for _, i := range slowestFirst() {
			if p := table[i]; left[i] && p.rate <= free {
				delete(left, i)
				free -= p.rate
				running++
				go func() {
					times[i], errs[i] = n.once(ctx, n.Hosts[1+i])
					done <- p.rate
				}()
			}
		}
		free += <-done
		running--
	}
	for i, err := range errs {
		if err != nil {
			return nil, 0, fmt.Errorf("%s: %w", table[i].name, err)
		}
	}
	c, err := n.Emulator.Counters(ctx)
	if err != nil {
		return nil, 0, err
	}
	up := c.Link(n.Hosts[0].Name + ".up")
	return times, up.Unicast.Bytes + up.Multicast.Bytes, n.Settle(ctx)
}

// slowestFirst are the places of the table in the order of their rates.
func slowestFirst() (l []int) {
	for i := range table {
		l = append(l, i)
	}
	slices.SortFunc(l, func(a, b int) int { return cmp.Compare(table[a].rate, table[b].rate) })
	return l
}

// once times a copy with gomover; several may run at the same time.
func (n *network) once(ctx context.Context, to *ground.Host) (float64, error) {
	start := time.Now()
	out, err := n.Command(ctx, n.Hosts[0], n.b.mover, "--progress=none", n.payload(), to.Name+":"+filepath.Join(n.dir, "to-"+to.Name)).CombinedOutput()
	took := time.Since(start).Seconds()
	if err != nil {
		return 0, fmt.Errorf("%w: %s", err, ground.Tail(string(out)))
	}
	return took, n.same(to)
}
