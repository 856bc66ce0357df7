package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/gomover/gomover/bench/ground"
)

// Bars.
const (
	ratesFactor = 1.06 // times the optimum
	ratesExtra  = 2.0  // seconds
	togetherBar = 0.02 // of the makespan
	changeBar   = 1.08 // times the optimum for the rates as they change
	changeExtra = 3.0  // seconds
	sinkBar     = 0.95 // of what the sink's link carries
	peerFactor  = 1.05 // times the optimum
	peerExtra   = 1.0  // seconds
	peerBar     = 0.9  // of aria2's time, where that is
	peerSlow    = 1.17 // times the optimum or more
)

// Sizes in bytes.
const (
	ratesBytes  = 2 << 30
	changeBytes = 1 << 30
	sinkBytes   = 768 << 20
	peerBytes   = 1 << 30
)

// words are gomover's operands for the list.
func (n *network) words() []string { return []string{"--metalink", n.list()} }

// once pulls by the list and judges neither time nor shares. Warnings are noted.
func (n *network) once(ctx context.Context, l *later) (outcome, error) {
	return n.from(ctx, l, n.words()...)
}

// from is once for any operands.
func (n *network) from(ctx context.Context, l *later, words ...string) (outcome, error) {
	o, err := n.gomover(ctx, l, words...)
	if err != nil {
		return o, err
	}
	n.b.Note("%.2f s; last bytes at %s s; %s MB sent", o.seconds, list("%.2f", o.ends), list("%.1f", megabytes(o.given)))
	for _, w := range o.events.warnings {
		n.b.Note("%s", w)
	}
	if o.exit != 0 {
		return o, fmt.Errorf("gomover ended with exit code %d", o.exit)
	}
	return o, nil
}

// list prints numbers.
func list(format string, l []float64) (text string) {
	for i, v := range l {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf(format, v)
	}
	return text
}

func megabytes(l []int64) (mb []float64) {
	for _, n := range l {
		mb = append(mb, float64(n)/1e6)
	}
	return mb
}

func rowRates(ctx context.Context, b *bench) error {
	return steady(ctx, b, "rates", (*network).words)
}

// rowHosts reads the same over ssh, and without a list.
func rowHosts(ctx context.Context, b *bench) error {
	return steady(ctx, b, "hosts", func(n *network) []string { return n.hosts(n.mirrors) })
}

// rowMixed reads from a host and two web servers, without a list.
func rowMixed(ctx context.Context, b *bench) error {
	return steady(ctx, b, "mixed", func(n *network) []string {
		words := n.hosts(n.mirrors[fastest:])
		for _, m := range n.mirrors[:fastest] {
			words = append(words, m.url())
		}
		return words
	})
}

// hosts are gomover's operands for the files of mirrors as ssh sees them.
func (n *network) hosts(mirrors []*mirror) (words []string) {
	for _, m := range mirrors {
		words = append(words, m.name+":"+filepath.Join(m.root, fileName))
	}
	return words
}

// steady measures pulls over a network that stays as it is.
func steady(ctx context.Context, b *bench, name string, words func(*network) []string) error {
	n, err := b.up(ctx, 1<<20)
	if err != nil {
		return err
	}
	// The first command brings the program to hosts that do not have it.
	if _, err := n.gomover(ctx, nil, words(n)...); err != nil {
		return err
	}
	size := b.Size(ratesBytes)
	if n, err = b.up(ctx, size); err != nil {
		return err
	}
	optimum := float64(size) / carried(rates(), sinkRate)
	var times, apart ground.Samples
	for range b.Rounds {
		o, err := n.from(ctx, nil, words(n)...)
		if err != nil {
			return err
		}
		times = append(times, o.seconds)
		last := slices.Max(o.ends)
		apart = append(apart, 100*(last-slices.Min(o.ends))/last)
	}
	limit := ratesFactor*optimum + ratesExtra
	b.Note("the optimum is %.2f s; the command took %.3f x that", optimum, times.Median()/optimum)
	b.AtMost(name, "%.2f", " s", fmt.Sprintf("<= %.2f x %.2f s + %.0f s", ratesFactor, optimum, ratesExtra), limit, times)
	b.AtMost(name+", last bytes apart", "%.2f", "% of the makespan", "<= 2%", 100*togetherBar, apart)
	return nil
}

// fluid is half of the time that a fluid takes, and how many seconds it takes when
// the mirrors have other rates from then on.
func fluid(size int64, after []float64) (half time.Duration, optimum float64) {
	before := carried(rates(), sinkRate)
	at := float64(size) / before / 2
	return time.Duration(at * float64(time.Second)), at + (float64(size)-at*before)/carried(after, sinkRate)
}

// changing measures a pull in which something happens at half time, after which
// the mirrors have other rates.
func changing(ctx context.Context, b *bench, name string, after []float64, do func(context.Context, *network) error) error {
	size := b.Size(changeBytes)
	half, optimum := fluid(size, after)
	var times ground.Samples
	for range b.Rounds {
		n, err := b.up(ctx, size)
		if err != nil {
			return err
		}
		change := &later{half, func(ctx context.Context) error { return do(ctx, n) }}
		o, err := n.once(ctx, change)
		if err != nil {
			return err
		}
		times = append(times, o.seconds)
	}
	b.Note("the optimum is %.2f s; the command took %.3f x that", optimum, times.Median()/optimum)
	b.AtMost(name, "%.2f", " s", fmt.Sprintf("<= %.2f x %.2f s + %.0f s", changeBar, optimum, changeExtra), changeBar*optimum+changeExtra, times)
	return nil
}

// fastest is the place of the fastest site, second that of the next.
const fastest, second = 2, 1

// with are the mirrors' rates with that of one multiplied.
func with(at int, by float64) []float64 {
	l := rates()
	l[at] *= by
	return l
}

// setRate multiplies what a mirror's link carries.
func setRate(at int, by float64) func(context.Context, *network) error {
	return func(ctx context.Context, n *network) error {
		m := n.mirrors[at]
		return n.Emulator.Set(ctx, m.name+".up", "rate="+rateText(by*m.rate))
	}
}

// cut cuts a mirror's link.
func cut(at int) func(context.Context, *network) error {
	return func(ctx context.Context, n *network) error {
		return n.Emulator.Set(ctx, n.mirrors[at].name, "cut=true")
	}
}

func rowDies(ctx context.Context, b *bench) error {
	return changing(ctx, b, "dies", with(fastest, 0), cut(fastest))
}

func rowKilled(ctx context.Context, b *bench) error {
	return changing(ctx, b, "killed", with(fastest, 0), func(_ context.Context, n *network) error {
		n.mirrors[fastest].kill()
		return nil
	})
}

func rowTenth(ctx context.Context, b *bench) error {
	return changing(ctx, b, "tenth", with(fastest, 0.1), setRate(fastest, 0.1))
}

func rowDoubles(ctx context.Context, b *bench) error {
	return changing(ctx, b, "doubles", with(second, 2), setRate(second, 2))
}

func rowSink(ctx context.Context, b *bench) error {
	const rate = 300 // Mbit/s
	size := b.Size(sinkBytes)
	var share ground.Samples
	var wrong []string
	for range b.Rounds {
		n, err := b.up(ctx, size)
		if err != nil {
			return err
		}
		if err := n.Emulator.Set(ctx, "h0.down", "rate="+rateText(rate)); err != nil {
			return err
		}
		o, err := n.once(ctx, nil)
		if err != nil {
			return err
		}
		share = append(share, 100*float64(size)/o.seconds/(rate*mbit*payloadShare))
		for _, m := range n.mirrors {
			if o.events.named(m.url()) {
				wrong = append(wrong, m.name+" was in trouble")
			}
		}
	}
	b.AtLeast("sink", "%.1f", "% of the sink", ">= 95%", 100*sinkBar, share)
	b.Claim("sink, nobody starved", "no source timed out, rested or was left out", "none", wrong)
	return nil
}

// rowPeer pulls in turn with aria2.
func rowPeer(ctx context.Context, b *bench) error {
	return beside(ctx, b, "aria2", rates(), nil)
}

// rowPeerTenth is the same while the fastest falls to a tenth at half time.
func rowPeerTenth(ctx context.Context, b *bench) error {
	return beside(ctx, b, "aria2, tenth", with(fastest, 0.1), setRate(fastest, 0.1))
}

// rowPeerCut is the same while the link of the fastest is cut at half time.
func rowPeerCut(ctx context.Context, b *bench) error {
	return beside(ctx, b, "aria2, dies", with(fastest, 0), cut(fastest))
}

// beside measures pulls in turn with aria2's. If do is not nil it happens at half
// time, after which the mirrors have other rates. A steady network has a bar by the
// optimum, too.
func beside(ctx context.Context, b *bench, name string, after []float64, do func(context.Context, *network) error) error {
	size := b.Size(peerBytes)
	half, optimum := fluid(size, after)
	var ours, theirs, cpu, theirCPU ground.Samples
	gb := float64(size) / 1e9
	failed := 0 // exit code of aria2
	for round := range b.Rounds {
		for k := range 2 {
			n, err := b.up(ctx, size)
			if err != nil {
				return err
			}
			var change *later
			if do != nil {
				change = &later{half, func(ctx context.Context) error { return do(ctx, n) }}
			}
			if (k+round)%2 == 0 {
				o, err := n.once(ctx, change)
				if err != nil {
					return err
				}
				ours, cpu = append(ours, o.seconds), append(cpu, o.cpu/gb)
				continue
			}
			o, err := n.aria2(ctx, change)
			if err != nil {
				return err
			}
			b.Note("aria2: %.2f s; last bytes at %s s; %s MB sent", o.seconds, list("%.2f", o.ends), list("%.1f", megabytes(o.given)))
			if failed = o.exit; failed == 0 {
				theirs, theirCPU = append(theirs, o.seconds), append(theirCPU, o.cpu/gb)
			}
		}
	}
	if len(theirs) == 0 {
		b.Show(name+": ours", "%.2f", " s", ours)
		b.Claim(name+": ours by its", fmt.Sprintf("aria2 failed with exit code %d", failed), "<= 1 x", nil)
		return nil
	}
	b.Note("the optimum is %.2f s; gomover took %.3f x that, aria2 %.3f x", optimum, ours.Median()/optimum, theirs.Median()/optimum)
	b.Show(name+": processor time at the receiving end, ours", "%.2f", " s/GB", cpu)
	b.Show(name+": its", "%.2f", " s/GB", theirCPU)
	b.Show(name+": its time", "%.2f", " s", theirs)
	if do == nil {
		b.AtMost(name+": ours", "%.2f", " s", fmt.Sprintf("<= %.2f x %.2f s + %.0f s", peerFactor, optimum, peerExtra), peerFactor*optimum+peerExtra, ours)
	} else {
		b.Show(name+": ours", "%.2f", " s", ours)
	}
	bar, limit := "<= 1 x", 1.0
	if theirs.Median() > peerSlow*optimum {
		bar, limit = fmt.Sprintf("<= %.1f x, aria2 being beyond %.2f x the optimum", peerBar, peerSlow), peerBar
	}
	b.AtMost(name+": ours by its", "%.3f", " x", bar, limit, ground.Samples{ours.Median() / theirs.Median()})
	return nil
}
