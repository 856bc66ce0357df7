package main

import (
	"context"
	"fmt"

	"github.com/gomover/gomover/bench/ground"
)

// Bars.
const (
	evenRate   = 91.0  // Mbit/s to each
	evenSpread = 1.0   // percent, over the numbers of receivers, and over the receivers
	evenCopies = 1.075 // times the file leave the sender
	lossCopies = 1.12
	lossTime   = 1.15 // times that without loss
	singleTime = 1.1  // times gomover's own
	cpuShare   = 0.5  // of parallel copies
	ukTime     = 1.6  // times a single copy
	ukCopies   = 0.64 // of single copies
)

// Sizes in bytes.
const (
	evenBytes = 200e6
	cpuBytes  = 100e6
	peerBytes = 100e6
	tryBytes  = 20e6
	ukBytes   = 20e6
)

// counts are the numbers of receivers of the row even.
var counts = []int{1, 2, 4, 8, 16, most}

// start gives the network where all are alike with a payload.
func (b *bench) start(ctx context.Context, size int64) (*network, error) {
	n, err := b.even(ctx)
	if err != nil {
		return nil, err
	}
	return n, n.fill(ctx, b.Size(size))
}

// tell prints what a session did.
func (n *network) tell(what string, o outcome) {
	low, high := o.goodputs()
	c := o.sent.Counts
	n.b.Note("%s: %.2f to %.2f Mbit/s, %.2f s of data, %.2f s in all, %.4f copies; resent %d, coded %d, control %d; CPU %.2f s and %.2f s of the receivers; emulator %.2f processors, late %.2f ms on average, %.1f at most",
		what, low, high, o.seconds(), o.wall, o.copies(n.size), c.ResentPackets, c.CodedPackets, c.ControlPackets, o.cpu, o.theirs, o.busy, 1e3*o.lab.LateAvg, 1e3*o.lab.LateMax)
}

func rowEven(ctx context.Context, b *bench) error {
	n, err := b.start(ctx, evenBytes)
	if err != nil {
		return err
	}
	var over ground.Samples // numbers of receivers
	for _, k := range b.counts {
		var rate, spread, copies, times ground.Samples
		for range b.Rounds {
			o, err := n.send(ctx, n.Hosts[1:1+k], disturbance{})
			if err != nil {
				return fmt.Errorf("%d receivers: %w", k, err)
			}
			n.tell(fmt.Sprint(k), o)
			low, high := o.goodputs()
			rate, spread, copies, times = append(rate, low), append(spread, 100*(high/low-1)), append(copies, o.copies(n.size)), append(times, o.seconds())
		}
		name := fmt.Sprintf("even, %d", k)
		b.AtLeast(name, "%.2f", " Mbit/s to the slowest", ">= 91", evenRate, rate)
		b.AtMost(name+", bytes", "%.4f", " x the file", "<= 1.075 x", evenCopies, copies)
		if k > 1 {
			b.AtMost(name+", apart", "%.3f", "%", "<= 1%", evenSpread, spread)
		}
		over = append(over, rate.Median())
		if k == most {
			b.lossless = times.Median()
		}
	}
	if len(b.counts) == 1 {
		return nil
	}
	b.AtMost("even, over the numbers of receivers", "%.2f", "% apart", "<= 1%", evenSpread, ground.Samples{100 * (over.Max()/over.Min() - 1)})
	return nil
}

func rowLoss(ctx context.Context, b *bench) error {
	n, err := b.start(ctx, evenBytes)
	if err != nil {
		return err
	}
	if b.lossless == 0 {
		o, err := n.send(ctx, n.Hosts[1:1+most], disturbance{})
		if err != nil {
			return err
		}
		n.tell("without loss", o)
		b.lossless = o.seconds()
	}
	if err := n.Emulator.Set(ctx, "all.down", "loss=1%"); err != nil {
		return err
	}
	if err := n.Emulator.Set(ctx, "h0.down", "loss=0"); err != nil {
		return err
	}
	var copies, times, rate ground.Samples
	for range b.Rounds {
		o, err := n.send(ctx, n.Hosts[1:1+most], disturbance{})
		if err != nil {
			return err
		}
		n.tell("1% loss", o)
		low, _ := o.goodputs()
		copies, times, rate = append(copies, o.copies(n.size)), append(times, o.seconds()/b.lossless), append(rate, low)
	}
	b.AtMost("loss, 24, bytes", "%.4f", " x the file", "<= 1.12 x", lossCopies, copies)
	b.AtMost("loss, 24, time", "%.3f", " x that without loss", "<= 1.15 x", lossTime, times)
	b.Show("loss, 24", "%.2f", " Mbit/s to the slowest", rate)
	return nil
}

// rowSingle compares what a session with one receiver takes from its first datagram on
// with a whole copy less what the same copy of an empty file takes: login and start.
func rowSingle(ctx context.Context, b *bench) error {
	n, err := b.start(ctx, evenBytes)
	if err != nil {
		return err
	}
	to := n.Hosts[1:2]
	if err := n.warm(ctx, to); err != nil {
		return err
	}
	var ours, theirs ground.Samples
	for range b.Rounds {
		o, err := n.send(ctx, to, disturbance{})
		if err != nil {
			return err
		}
		n.tell("1", o)
		whole, _, err := n.copy(ctx, to, "gomover")
		if err != nil {
			return err
		}
		empty, err := n.empty(ctx, to[0])
		if err != nil {
			return err
		}
		b.Note("gomover: %.2f s, of which %.2f s for an empty file", whole, empty)
		ours, theirs = append(ours, o.seconds()), append(theirs, whole-empty)
	}
	b.Show("single, gomover's own", "%.2f", " s", theirs)
	b.AtMost("single", "%.3f", " x gomover's own", "<= 1.1 x", singleTime, ground.Samples{ours.Median() / theirs.Median()})
	return nil
}

func rowCPU(ctx context.Context, b *bench) error {
	const k = 8
	n, err := b.start(ctx, cpuBytes)
	if err != nil {
		return err
	}
	to := n.Hosts[1 : 1+k]
	if err := n.warm(ctx, to); err != nil {
		return err
	}
	gb := float64(n.size) / 1e9
	var ours, theirs, session ground.Samples
	for range b.Rounds {
		o, err := n.send(ctx, to, disturbance{})
		if err != nil {
			return err
		}
		n.tell(fmt.Sprint(k), o)
		w, err := n.whole(ctx, to)
		if err != nil {
			return err
		}
		b.Note("gomover --fanout=multicast: %.2f s, %.2f s of CPU", w.wall, w.cpu)
		_, cpu, err := n.copy(ctx, to, "gomover")
		if err != nil {
			return err
		}
		session, ours, theirs = append(session, o.cpu/gb), append(ours, w.cpu/gb), append(theirs, cpu/gb)
	}
	b.Show("cpu, 8 copies of gomover at once", "%.2f", " s per GB of the file", theirs)
	if _, cpu, err := n.copy(ctx, to, "scp"); err == nil {
		b.Show("cpu, 8 copies of scp at once", "%.2f", " s per GB of the file", ground.Samples{cpu / gb})
	} else {
		b.Note("scp: %s", ground.OneLine(err))
	}
	b.Show("cpu, the transport alone", "%.2f", " s per GB of the file", session)
	b.Show("cpu, one gomover by multicast", "%.2f", " s per GB of the file", ours)
	b.AtMost("cpu", "%.3f", " x 8 copies", "<= 0.5 x", cpuShare, ground.Samples{ours.Median() / theirs.Median()})
	return nil
}
