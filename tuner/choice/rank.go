package choice

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Constants of the choice.
const (
	// better is by how much less time another transport must take than TCP to be
	// chosen: TCP costs least per byte, and passes most firewalls.
	better = 0.85
	// Streams that losses hold back and that are more than many are taken to need
	// crowd times as long: they are reached in steps, and take from others.
	many  = 32
	crowd = 1.25
	// fewest is the share of the best setting's time that one with fewer streams may
	// take longer.
	fewest = 1.02
	// maxStreams bounds the streams over TCP, and udtStreams is how many there are
	// over UDT: neither windows nor losses make more of them faster, and two fill the
	// path's queue together.
	maxStreams = 128
	udtStreams = 1
	// bbrStreams bounds those of bbr, of which several push each other into losses.
	bbrStreams = 12
)

// Rank predicts for each of the permitted transports its best setting, the fastest
// one first: that which takes the least time for size bytes and, of those about as
// fast, the one with the fewest streams. Without a size it goes by rates.
func Rank(p Path, e Ends, size int64, permitted ...string) []Prediction {
	var l []Prediction
	for _, t := range []string{TCP, UDT, SSH} {
		if !slices.Contains(permitted, t) || t == TCP && p.NoTCP || t == UDT && p.NoUDP {
			continue
		}
		l = append(l, bestOf(p, e, size, t))
	}
	slices.SortStableFunc(l, func(a, b Prediction) int { return cmp.Compare(a.cost(), b.cost()) })
	return l
}

// Choose picks from what Rank gives: TCP, unless another one takes less than 0.85 of
// its time. Many streams count as slower than they are.
func Choose(ranked []Prediction) (best Prediction, ok bool) {
	if len(ranked) == 0 {
		return best, false
	}
	best = ranked[0]
	for _, p := range ranked {
		if p.Transport != TCP {
			continue
		}
		cost := p.cost()
		if lossBased(p.CC) && p.Streams > many {
			cost *= crowd
		}
		if best.Transport == TCP {
			best, _ = fastest(ranked)
		}
		if best.Transport == "" || best.cost() >= better*cost {
			best = p
		}
	}
	return best, true
}

// fastest is the first one that is not TCP.
func fastest(ranked []Prediction) (p Prediction, ok bool) {
	i := slices.IndexFunc(ranked, func(p Prediction) bool { return p.Transport != TCP })
	if i < 0 {
		return p, false
	}
	return ranked[i], true
}

// cost is what is made as small as possible.
func (p *Prediction) cost() float64 {
	switch {
	case p.Takes > 0:
		return p.Takes.Seconds()
	case p.Rate > 0:
		return 1 / p.Rate
	}
	return math.Inf(1)
}

// bestOf is the best setting of one transport.
func bestOf(p Path, e Ends, size int64, transport string) Prediction {
	all := settings(p, e, transport)
	best := Predict(p, e, all[0], size)
	for _, s := range all[1:] {
		if x := Predict(p, e, s, size); x.cost() < best.cost() {
			best = x
		}
	}
	for _, s := range all {
		if x := Predict(p, e, s, size); x.cost() <= fewest*best.cost() && (x.Streams < best.Streams || x.Streams == best.Streams && x.cost() < best.cost()) {
			best = x
		}
	}
	return best
}

// settings are those of a transport that are worth a look.
func settings(p Path, e Ends, transport string) (l []Setting) {
	ccs := e.CCs
	if len(ccs) == 0 {
		ccs = []string{"cubic"}
	}
	switch transport {
	case UDT:
		return []Setting{{UDT, "bbr", udtStreams}}
	case SSH:
		return []Setting{{SSH, ccs[0], 1}}
	}
	for _, cc := range ccs {
		counts := []int{1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, maxStreams}
		if n := p.needed(e, cc); n > 0 {
			counts = append(counts, n)
			slices.Sort(counts)
		}
		for _, n := range counts {
			if lossBased(cc) || n <= bbrStreams || e.Window > 0 {
				l = append(l, Setting{TCP, cc, n})
			}
		}
	}
	return l
}

// needed is how many streams fill the path that windows and losses hold back; 0: not
// known, or too many.
func (p *Path) needed(e Ends, cc string) int {
	each := math.Inf(1)
	if e.Window > 0 && p.RTT > 0 {
		each = float64(e.Window) / p.RTT.Seconds()
	}
	if lossBased(cc) {
		each = min(each, lossRate(cc, p.Loss, p.RTT))
	}
	if n := math.Ceil(1.05 * p.Free / each); n >= 1 && n <= maxStreams {
		return int(n)
	}
	return 0
}

// Why says in words why a prediction is what it is.
func (p *Prediction) Why(path Path) string {
	what := map[string]string{
		ByNetwork: "the path is the limit",
		ByDisk:    "the disk is the limit",
		ByCPU:     "the processors are the limit",
		ByWindow:  "socket buffers are the limit",
		ByChannel: "one window for all, twice sealed",
	}[p.By]
	if p.By == ByLoss {
		what = fmt.Sprintf("%s slows down at each loss, %.2g%% of packets", p.CC, 100*path.Loss)
	}
	if p.By != ByLoss && path.Loss > 0 && p.Transport != SSH && (p.Transport == UDT || !lossBased(p.CC)) {
		what += ": " + p.CC + " keeps its rate under loss"
	}
	if p.Transport == TCP {
		return fmt.Sprintf("%d streams of %s, %s", p.Streams, p.CC, what)
	}
	return what
}
