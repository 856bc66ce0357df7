package main

import (
	"context"
	"fmt"
	"time"

	"github.com/gomover/gomover/bench/ground"
)

// Bars.
const (
	loopSpeed     = 2.0  // times libudt's
	loopCPU       = 0.4  // times libudt's
	wanShare      = 0.9  // of the link, after the start
	lossyShare    = 0.8  // of the link
	sameJain      = 0.95 // index of fairness
	apartJain     = 0.9
	besideShare   = 0.3  // of the TCP flow's fair share
	scavengeShare = 0.95 // of what the TCP flow has alone
)

// start is what of a flow's life does not count in the rows on long paths.
const start = 10 * time.Second

// firstPort is that of the first flow of a run; the others follow.
const firstPort = 9300

// once is one run of flows: what each had in the span that counts, in bytes per
// second, and from the start on.
type once struct {
	rates, whole []float64
	cpu          []time.Duration // of each host, in the span
	from, to     float64
	foreign      float64 // processors kept busy by others, in the span
}

// flows runs flows from the first host to the others in turn, one of each kind,
// and looks at what they have between two times.
func (b *bench) flows(ctx context.Context, g *ground.Ground, from, to time.Duration, buffer int, kinds ...kind) (o once, err error) {
	var l []*flow
	for i, k := range kinds {
		l = append(l, &flow{kind: k, from: g.Hosts[0], to: g.Hosts[1+i%(len(g.Hosts)-1)], port: firstPort + i, buffer: buffer})
	}
	if err := g.Settle(ctx); err != nil {
		return o, err
	}
	if g.Emulator != nil {
		if err := g.Emulator.Reset(ctx); err != nil {
			return o, err
		}
	}
	r, err := b.start(ctx, g, l...)
	if err != nil {
		return o, err
	}
	defer r.stop()
	if err := r.pass(ctx, from); err != nil {
		return o, err
	}
	o.from = monotonic()
	before, busy := used(g), ground.Busy()
	if err := r.pass(ctx, to); err != nil {
		return o, err
	}
	o.to = monotonic()
	o.cpu = used(g)
	all := ground.Busy() - busy
	for i := range o.cpu {
		o.cpu[i] -= before[i]
		all -= o.cpu[i]
	}
	o.foreign = max(0, all.Seconds()/(o.to-o.from))
	if err := ground.Wait(ctx, 3*sampleInterval); err != nil { // for the last samples
		return o, err
	}
	for _, f := range l {
		o.rates = append(o.rates, f.rate(o.from, o.to))
		o.whole = append(o.whole, f.rate(r.start, o.to))
	}
	r.stop()
	if g.Emulator != nil {
		_, err = g.Emulator.Counters(ctx) // an error if the emulator was too slow
	}
	return o, err
}

// used is the processor time of each host so far.
func used(g *ground.Ground) (l []time.Duration) {
	for _, h := range g.Hosts {
		l = append(l, h.Group.CPU())
	}
	return l
}

// attempts is how often a run is tried whose emulator was too slow, or whose
// library fell out.
const attempts = 3

// measured is flows, again if something else than the flows went wrong.
func (b *bench) measured(ctx context.Context, g *ground.Ground, from, to time.Duration, buffer int, kinds ...kind) (o once, err error) {
	for range attempts {
		if o, err = b.flows(ctx, g, from, to, buffer, kinds...); err == nil || ctx.Err() != nil {
			break
		}
	}
	return o, err
}

// rowLoop compares goodput and processor time with libudt's over loopback.
func rowLoop(ctx context.Context, b *bench) error {
	g, err := b.loopback(ctx)
	if err != nil {
		return err
	}
	defer g.Close()
	speed, cpu := map[string]ground.Samples{}, map[string]ground.Samples{}
	var notes []string
	for range b.Rounds {
		for _, k := range []kind{library, model} {
			o, err := b.measured(ctx, g, b.span(2*time.Second), b.span(8*time.Second), 0, k)
			if err != nil {
				return err
			}
			gb := o.rates[0] * (o.to - o.from) / 1e9
			speed[k.name] = append(speed[k.name], o.rates[0]*8/1e9)
			cpu[k.name] = append(cpu[k.name], (o.cpu[0]+o.cpu[1]).Seconds()/gb)
			notes = append(notes, fmt.Sprintf("%s: %.2f Gbit/s, CPU s/GB %.3f sending and %.3f receiving, others %.2f processors",
				k.name, o.rates[0]*8/1e9, o.cpu[0].Seconds()/gb, o.cpu[1].Seconds()/gb, o.foreign))
		}
	}
	ratio := func(s map[string]ground.Samples) ground.Samples {
		return ground.Samples{s[model.name].Median() / s[library.name].Median()}
	}
	b.judge("loop, goodput", fmt.Sprintf(" x libudt's (%s; libudt %s)", speed[model.name].Text("%.2f", " Gbit/s"), speed[library.name].Text("%.2f", "")),
		">= 2 x", loopSpeed, false, ratio(speed), notes)
	b.judge("loop, CPU of both ends", fmt.Sprintf(" x libudt's (%s; libudt %s)", cpu[model.name].Text("%.3f", " s/GB"), cpu[library.name].Text("%.3f", "")),
		"<= 0.4 x", loopCPU, true, ratio(cpu), nil)
	return nil
}

// single measures flows of several kinds, one after another, over one path. The
// first kind is judged.
func (b *bench) single(ctx context.Context, name string, p path, length time.Duration, buffer int, limit float64, kinds ...kind) error {
	g, err := b.emulated(ctx, p)
	if err != nil {
		return err
	}
	defer g.Close()
	share, whole := map[string]ground.Samples{}, map[string]ground.Samples{}
	var notes []string
	for range b.Rounds {
		for _, k := range kinds {
			o, err := b.measured(ctx, g, start, start+b.span(length-start), buffer, k)
			if err != nil {
				notes = append(notes, fmt.Sprintf("%s: %v", k.name, err))
				continue
			}
			share[k.name] = append(share[k.name], o.rates[0]/p.capacity())
			whole[k.name] = append(whole[k.name], o.whole[0]/p.capacity())
			notes = append(notes, fmt.Sprintf("%s: %.3f of the link from 10 s on, %.3f with the start; %.1f and %.1f s of CPU at the ends in %.0f s, others and the emulator %.2f processors",
				k.name, o.rates[0]/p.capacity(), o.whole[0]/p.capacity(), o.cpu[0].Seconds(), o.cpu[1].Seconds(), o.to-o.from, o.foreign))
		}
	}
	b.judge(name+", "+kinds[0].name, " of the link after 10 s", fmt.Sprintf(">= %.2f", limit), limit, false, share[kinds[0].name], notes)
	b.show(name+", "+kinds[0].name+", with the start", " of the link", whole[kinds[0].name])
	for _, k := range kinds[1:] {
		b.show(name+", "+k.name, " of the link after 10 s", share[k.name])
	}
	return nil
}

func rowWAN(ctx context.Context, b *bench) error {
	p := path{rate: 1e9, queue: 12_500_000, rtts: []time.Duration{100 * time.Millisecond}}
	return b.single(ctx, "wan", p, 40*time.Second, 128<<20, wanShare, native, library)
}

func rowLossy(ctx context.Context, b *bench) error {
	p := path{rate: 1e9, queue: 25_000_000, loss: 0.01, rtts: []time.Duration{200 * time.Millisecond}}
	return b.single(ctx, "lossy", p, 60*time.Second, 256<<20, lossyShare, model, library, cubic)
}

// fair measures the fairness of native flows that share a link.
func (b *bench) fair(ctx context.Context, name string, p path, limit float64) error {
	g, err := b.emulated(ctx, p)
	if err != nil {
		return err
	}
	defer g.Close()
	var index, sum ground.Samples
	var notes []string
	for range b.Rounds {
		o, err := b.measured(ctx, g, b.span(60*time.Second), b.span(120*time.Second), 0, native, native, native, native)
		if err != nil {
			return err
		}
		index = append(index, jain(o.rates))
		total, each := 0.0, ""
		for _, r := range o.rates {
			total += r / p.capacity()
			each += fmt.Sprintf(" %.3f", r/p.capacity())
		}
		sum = append(sum, total)
		notes = append(notes, "shares of the link:"+each)
	}
	b.judge(name, " Jain's index", fmt.Sprintf(">= %.2f", limit), limit, false, index, notes)
	b.show(name+", all together", " of the link", sum)
	return nil
}

// jain is Jain's index of fairness. Source: Jain, Chiu and Hawe, DEC-TR-301, 1984.
func jain(l []float64) float64 {
	sum, squares := 0.0, 0.0
	for _, v := range l {
		sum += v
		squares += v * v
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / (float64(len(l)) * squares)
}

// fairRate is the rate of the link that flows share, in bits per second.
const fairRate = 100e6

func rowSame(ctx context.Context, b *bench) error {
	const rtt = 40 * time.Millisecond
	return b.fair(ctx, "same", path{rate: fairRate, queue: 500_000, rtts: []time.Duration{rtt, rtt, rtt, rtt}}, sameJain)
}

// rowApart has a queue of one product of the rate and the longer RTT.
func rowApart(ctx context.Context, b *bench) error {
	short, long := 10*time.Millisecond, 100*time.Millisecond
	return b.fair(ctx, "apart", path{rate: fairRate, queue: 1_250_000, rtts: []time.Duration{short, short, long, long}}, apartJain)
}

// rowBeside measures what a TCP flow has alone, and beside one of ours.
func rowBeside(ctx context.Context, b *bench) error {
	const rtt = 40 * time.Millisecond
	p := path{rate: fairRate, queue: 500_000, rtts: []time.Duration{rtt, rtt}}
	g, err := b.emulated(ctx, p)
	if err != nil {
		return err
	}
	defer g.Close()
	measure := func(kinds ...kind) (tcp, ours float64, err error) {
		o, err := b.measured(ctx, g, b.span(60*time.Second), b.span(120*time.Second), 0, kinds...)
		if err != nil {
			return 0, 0, err
		}
		if len(o.rates) > 1 {
			ours = o.rates[1] / p.capacity()
		}
		return o.rates[0] / p.capacity(), ours, nil
	}
	var fair, kept ground.Samples
	var notes []string
	for range b.Rounds {
		alone, _, err := measure(cubic)
		if err != nil {
			return err
		}
		beside, ours, err := measure(cubic, native)
		if err != nil {
			return err
		}
		yielded, rest, err := measure(cubic, scaveng)
		if err != nil {
			return err
		}
		fair, kept = append(fair, 2*beside), append(kept, yielded/alone)
		notes = append(notes, fmt.Sprintf("of the link: TCP alone %.3f; beside native %.3f, which has %.3f; beside ledbat %.3f, which has %.3f", alone, beside, ours, yielded, rest))
	}
	b.judge("beside, native", " of TCP's fair share", ">= 0.30", besideShare, false, fair, notes)
	b.judge("beside, scavenger", " of what TCP has alone", ">= 0.95", scavengeShare, false, kept, nil)
	return nil
}
