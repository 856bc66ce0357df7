package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/netsim"
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

// What must be so for the rows on fairness to mean something. Ours.
const (
	busyShare  = 0.5 // of the link is used by the flows that share it
	aloneShare = 0.9 // of the link is what TCP alone has
)

// start is what of a flow's life does not count in the row wan.
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
// and looks at what they have between two times. Errors: an end of a flow that
// ends, and a path that did not do what p says.
func (b *bench) flows(ctx context.Context, g *ground.Ground, p path, from, to time.Duration, kinds ...kind) (o once, err error) {
	var l []*flow
	for i, k := range kinds {
		l = append(l, &flow{kind: k, from: g.Hosts[0], to: g.Hosts[1+i%(len(g.Hosts)-1)], port: firstPort + i, buffer: cmp.Or(k.buffer, p.buffer)})
	}
	// Timed waits until the last flows are gone and, as -quiet says, until the
	// machine is idle.
	if _, err := g.Timed(ctx, ground.Run{Host: g.Hosts[0], Args: []string{"true"}}); err != nil {
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
	o.from = ground.Monotonic()
	before, busy := used(g), ground.Busy()
	if err := r.pass(ctx, to); err != nil {
		return o, err
	}
	o.to = ground.Monotonic()
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
	r.stop()
	for _, f := range l {
		o.rates = append(o.rates, f.rate(o.from, o.to))
		o.whole = append(o.whole, f.rate(r.start, o.to))
	}
	if g.Emulator == nil {
		return o, nil
	}
	c, err := g.Emulator.Counters(ctx) // an error if the emulator was too slow
	if err != nil {
		return o, err
	}
	return o, p.kept(o.rates, c)
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

// measured is flows, again if it was no flow of ours that failed. The report
// tells of each repetition.
func (b *bench) measured(ctx context.Context, g *ground.Ground, p path, from, to time.Duration, kinds ...kind) (o once, err error) {
	for range attempts {
		o, err = b.flows(ctx, g, p, from, to, kinds...)
		if ctx.Err() != nil || !errors.Is(err, ground.ErrVoid) && !errors.Is(err, errLibrary) {
			break
		}
		b.Note("%s, void: %s", names(kinds), ground.OneLine(err))
	}
	return o, err
}

// decided says whether it is clear on which side of a limit the median of so many
// rounds will be.
func decided(s ground.Samples, rounds int, limit float64) bool {
	reached := 0
	for _, v := range s {
		if v >= limit {
			reached++
		}
	}
	return len(s) >= rounds || 2*reached > rounds || 2*(len(s)-reached) > rounds
}

// figure is how a measured value is printed.
const figure = "%.3f"

// rowLoop compares goodput and processor time with libudt's over loopback. What
// packets as long as the path takes bring is a reference.
func rowLoop(ctx context.Context, b *bench) error {
	g, err := b.loopback(ctx)
	if err != nil {
		return err
	}
	defer g.Close()
	speed, cpu := map[string]ground.Samples{}, map[string]ground.Samples{}
	for range b.Rounds {
		for _, k := range []kind{library, model, jumbo} {
			o, err := b.measured(ctx, g, path{}, b.span(2*time.Second), b.span(8*time.Second), k)
			if err != nil {
				return err
			}
			gb := o.rates[0] * (o.to - o.from) / 1e9
			speed[k.name] = append(speed[k.name], o.rates[0]*8/1e9)
			cpu[k.name] = append(cpu[k.name], (o.cpu[0]+o.cpu[1]).Seconds()/gb)
			b.Note("%s: %.2f Gbit/s, CPU s/GB %.3f sending and %.3f receiving, others %.2f processors",
				k.name, o.rates[0]*8/1e9, o.cpu[0].Seconds()/gb, o.cpu[1].Seconds()/gb, o.foreign)
		}
	}
	ratio := func(s map[string]ground.Samples) ground.Samples {
		return ground.Samples{s[model.name].Median() / s[library.name].Median()}
	}
	b.AtLeast("loop, goodput", figure, fmt.Sprintf(" x libudt's (%s; libudt %s)", speed[model.name].Text("%.2f", " Gbit/s"), speed[library.name].Text("%.2f", "")),
		">= 2 x", loopSpeed, ratio(speed))
	b.AtMost("loop, CPU of both ends", figure, fmt.Sprintf(" x libudt's (%s; libudt %s)", cpu[model.name].Text("%.3f", " s/GB"), cpu[library.name].Text("%.3f", "")),
		"<= 0.4 x", loopCPU, ratio(cpu))
	b.Show("loop, goodput, long packets", figure, " Gbit/s", speed[jumbo.name])
	b.Show("loop, CPU of both ends, long packets", figure, " s/GB", cpu[jumbo.name])
	return nil
}

// single measures flows of several kinds, one after another, over one path. The
// first kind is judged, by what it has from the start on or, if after, from 10 s
// on; the others are references and run in the first round only.
func (b *bench) single(ctx context.Context, name string, p path, length time.Duration, after bool, limit float64, kinds ...kind) error {
	g, err := b.emulated(ctx, p)
	if err != nil {
		return err
	}
	defer g.Close()
	late, whole := map[string]ground.Samples{}, map[string]ground.Samples{}
	judged, unit, other, otherUnit := whole, " of the link", late, " of the link after 10 s"
	if after {
		judged, unit, other, otherUnit = late, otherUnit, whole, unit
	}
	for chosen := kinds; !decided(judged[kinds[0].name], b.Rounds, limit); chosen = kinds[:1] {
		for i, k := range chosen {
			o, err := b.measured(ctx, g, p, start, start+b.span(length-start), k)
			if err != nil && (i == 0 || ctx.Err() != nil) {
				return err
			}
			if err != nil {
				b.Note("%s: %s", k.name, ground.OneLine(err))
				continue
			}
			late[k.name] = append(late[k.name], o.rates[0]/p.capacity())
			whole[k.name] = append(whole[k.name], o.whole[0]/p.capacity())
			b.Note("%s: %.3f of the link from 10 s on, %.3f with the start; %.1f and %.1f s of CPU at the ends in %.0f s, others and the emulator %.2f processors",
				k.name, o.rates[0]/p.capacity(), o.whole[0]/p.capacity(), o.cpu[0].Seconds(), o.cpu[1].Seconds(), o.to-o.from, o.foreign)
		}
	}
	b.AtLeast(name+", "+kinds[0].name, figure, unit, fmt.Sprintf(">= %.2f", limit), limit, judged[kinds[0].name])
	b.Show(name+", "+kinds[0].name, figure, otherUnit, other[kinds[0].name])
	for _, k := range kinds[1:] {
		b.Show(name+", "+k.name, figure, unit, judged[k.name])
		b.Show(name+", "+k.name, figure, otherUnit, other[k.name])
	}
	return nil
}

// fitted is libudt with a window that the path and its queue can hold, as its users
// set it.
func (p path) fitted() kind {
	k := library
	k.buffer = int(p.rate/8*p.rtts[0].Seconds()) + int(p.queue)
	k.name = fmt.Sprintf("libudt, window of %d MB", k.buffer/1e6)
	return k
}

// rowWAN runs libudt also with a window as large as that of ours.
func rowWAN(ctx context.Context, b *bench) error {
	p := path{rate: 1e9, queue: 12_500_000, rtts: []time.Duration{100 * time.Millisecond}, buffer: 128 << 20}
	return b.single(ctx, "wan", p, 40*time.Second, true, wanShare, native, p.fitted(), library)
}

func rowLossy(ctx context.Context, b *bench) error {
	p := path{rate: 1e9, queue: 25_000_000, loss: 0.01, rtts: []time.Duration{200 * time.Millisecond}, buffer: 256 << 20}
	return b.single(ctx, "lossy", p, 60*time.Second, false, lossyShare, model, p.fitted(), cubic)
}

// fair measures the fairness of native flows that share a link.
func (b *bench) fair(ctx context.Context, name string, p path, limit float64) error {
	g, err := b.emulated(ctx, p)
	if err != nil {
		return err
	}
	defer g.Close()
	var index, sum ground.Samples
	for !decided(index, b.Rounds, limit) {
		o, err := b.measured(ctx, g, p, b.span(60*time.Second), b.span(120*time.Second), native, native, native, native)
		if err != nil {
			return err
		}
		total, each := 0.0, ""
		for _, r := range o.rates {
			total += r / p.capacity()
			each += fmt.Sprintf(" %.3f", r/p.capacity())
		}
		b.Note("shares of the link:%s; index %.3f", each, netsim.Jain(o.rates...))
		if total < busyShare {
			return fmt.Errorf("the flows have %.3f of the link together: they do not compete for it", total)
		}
		index, sum = append(index, netsim.Jain(o.rates...)), append(sum, total)
	}
	b.AtLeast(name, figure, " Jain's index", fmt.Sprintf(">= %.2f", limit), limit, index)
	b.Show(name+", all together", figure, " of the link", sum)
	return nil
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
		o, err := b.measured(ctx, g, p, b.span(60*time.Second), b.span(120*time.Second), kinds...)
		if err != nil {
			return 0, 0, err
		}
		tcp = o.rates[0] / p.capacity()
		if len(o.rates) > 1 {
			ours = o.rates[1] / p.capacity()
		}
		b.Note("%s: TCP has %.3f of the link, the other flow %.3f", names(kinds), tcp, ours)
		return tcp, ours, nil
	}
	alone, _, err := measure(cubic) // once: nothing disturbs it
	if err != nil {
		return err
	}
	if alone < aloneShare {
		return fmt.Errorf("TCP alone has %.3f of the link: it is not what it should be", alone)
	}
	var fair, kept, left ground.Samples
	for !decided(fair, b.Rounds, besideShare) {
		tcp, _, err := measure(cubic, native)
		if err != nil {
			return err
		}
		fair = append(fair, 2*tcp)
	}
	for !decided(kept, b.Rounds, scavengeShare) {
		tcp, ours, err := measure(cubic, scaveng)
		if err != nil {
			return err
		}
		kept, left = append(kept, tcp/alone), append(left, ours)
	}
	b.AtLeast("beside, native", figure, " of TCP's fair share", ">= 0.30", besideShare, fair)
	b.AtLeast("beside, scavenger", figure, " of what TCP has alone", ">= 0.95", scavengeShare, kept)
	b.Show("beside, scavenger's own", figure, " of the link", left)
	return nil
}
