package cc

import (
	"math"
	"time"
)

// synInterval is the interval of UDT's rate control. Source: UDT4; it must not
// follow the RTT, so that flows of different RTTs are fair.
const synInterval = 10 * time.Millisecond

// Constants of UDT4's control.
const (
	nativeWindow   = 16 // packets; at the start, and beyond rate times RTT
	nativeDecrease = 1.125
	nativeScale    = 0.0000015 // of the increase
	nativeMinInc   = 0.01      // packets per SYN interval
	stockDecreases = 5         // at most in one epoch of congestion
	stockRate      = 16        // packets per second, the stock's estimate before any report
	stockBandwidth = 1         // packets per second, as well
)

// Constants of the mended control; ours.
const (
	// nativeReports is how many reports of the peer there must be before they
	// are believed. A measurement needs a few packets, and the mean some reports.
	nativeReports = 4
	// nativeSpare bounds the window, as a multiple of what the path holds.
	nativeSpare = 2.0
	// nativeQueue is the queue of others in which it may stand nevertheless.
	nativeQueue = 100 * time.Millisecond
	// nativeHeadroom is the capacity that is assumed beyond the highest rate of
	// delivery, at most. Where packets are handed over in bunches, as modern systems
	// do, their spacing tells a peer nothing, and its reports are up to ten times
	// too high: steps of increase are then those for the decade above.
	nativeHeadroom = 1.1
	// nativeDecreases is how often the rate decreases in one epoch, at most. What
	// is reported in an epoch was sent before its first decrease could change
	// anything, for a round trip; where the queue is long all five decreases of the
	// stock form come, and leave 55% of a path whose rate was exceeded by a little.
	// Two leave 79%, which lets the queue drain.
	nativeDecreases = 2
	// The slow start ends when the rate of delivery grew by less than a quarter
	// in three round trips: the queue grows instead (as BBR's startup does).
	nativePlateau       = 1.25
	nativePlateauRounds = 3
	maxPeriod           = 1e6 // us; of a packet
	minPeriod           = 1e-3
)

// Native is the control of UDT4 (DAIMD): the rate grows in every interval of
// 10 ms by a step that follows from the decade of the spare capacity, and
// shrinks by a ninth when packets are lost, with chance deciding whether it
// shrinks again in the same epoch. Sources: Gu, Hong and Grossman, "An analysis
// of AIMD algorithm with decreasing increases", 2004; draft-gg-udt-03; and the
// behaviour of the library, version 4.
//
// There are two forms. The stock form is the library's, defects included, as a
// measure and for tests beside it: the first losses can bring the rate to 16
// packets per second; the slow start is not paced, and fills any buffer; an idle
// application's rate is taken for the path's; the window is not bounded by what
// the path holds, but holds back flows of long RTTs; an epoch with several reports
// of losses nearly halves the rate; periods are rounded to whole microseconds. The
// other form is mended where those are, with the same steps of increase and
// decrease but fewer of these in an epoch, and is meant for use.
type Native struct {
	Ignore
	stock bool

	mss, maxWindow float64
	slowStart      bool
	cwnd           float64       // packets
	period         float64       // us per packet
	lastRC         time.Duration // last change by an acknowledgement
	lastAck        int64

	lossSeen      bool    // in this interval
	lastDecrease  int64   // highest position sent when the epoch began
	decreaseFrom  float64 // period before the epoch's first decrease
	avgNAK        float64
	nakCount      int64
	decreaseCount int
	decreaseEvery int64
	random        random
	path          path
}

var _ Controller = (*Native)(nil)

// NewNative makes the mended form.
func NewNative() *Native { return &Native{} }

// NewStockNative makes the form that behaves as the library.
func NewStockNative() *Native { return &Native{stock: true} }

// Init begins.
func (n *Native) Init(s *Stats) {
	n.slowStart, n.cwnd, n.period = true, nativeWindow, 1
	n.lastRC, n.lastAck = s.Now, -1
	n.lossSeen, n.lastDecrease, n.decreaseFrom = false, -2, 1
	n.avgNAK, n.nakCount, n.decreaseCount, n.decreaseEvery = 0, 0, 0, 1
	n.random = random{s.Seed}
	n.path = path{}
	n.learn(s)
	if !n.stock {
		n.paceSlowStart(s)
	}
}

func (n *Native) learn(s *Stats) {
	n.mss, n.maxWindow = float64(s.MSS), windowLimit(s)
	n.cwnd = clamp(n.cwnd, 1, MaxWindow)
	n.period = clamp(n.period, minPeriod, maxPeriod)
}

// OnAck grows the rate, at most once in an interval.
func (n *Native) OnAck(s *Stats, a *Ack) {
	if a.Packets <= 0 { // the library does not tell of acknowledgements that do not advance
		return
	}
	n.path.learn(s, a)
	if s.Now-n.lastRC < synInterval {
		return
	}
	n.lastRC = s.Now
	if n.slowStart {
		n.double(s)
	} else {
		n.cwnd = n.flow(s)/1e6*micros(s.RTT+synInterval) + nativeWindow
		if !n.stock {
			n.cwnd = n.bound(s, n.cwnd)
		}
	}
	if !n.slowStart {
		n.increase(s)
	}
	n.learn(s)
}

// double is the slow start.
func (n *Native) double(s *Stats) {
	n.cwnd += max(0, float64(s.Acked-n.lastAck+1))
	n.lastAck = s.Acked
	if !n.stock {
		n.cwnd = min(n.cwnd, max(nativeWindow, n.maxWindow))
		n.paceSlowStart(s)
		if n.path.flat >= nativePlateauRounds {
			n.leaveSlowStart(s)
		}
		return
	}
	if n.cwnd > n.maxWindow {
		n.leaveSlowStart(s)
	}
}

// paceSlowStart spreads the window over half a round trip.
func (n *Native) paceSlowStart(s *Stats) {
	if s.RTT > 0 {
		n.period = micros(s.RTT) / (paceSlowStart * n.cwnd)
	}
}

// leaveSlowStart takes the rate at which packets arrive.
func (n *Native) leaveSlowStart(s *Stats) {
	n.slowStart = false
	r := n.rate(s)
	if !n.stock {
		r = max(r, n.path.highest/max(n.mss, 1)) // the smoothed one lags while rates double
	}
	if r > 0 {
		n.period = 1e6 / r
		return
	}
	n.period = micros(s.RTT+synInterval) / n.cwnd
}

// increase is the additive increase, which is the larger the more capacity is
// spare.
func (n *Native) increase(s *Stats) {
	if n.lossSeen {
		n.lossSeen = false
		return
	}
	if !n.stock && s.AppLimited {
		return // a rate that is not used proves nothing
	}
	capacity := n.capacity(s)
	spare := math.Trunc(capacity - 1e6/n.period)
	if ninth := math.Floor(capacity / 9); n.period > n.decreaseFrom && ninth < spare {
		spare = ninth
	}
	inc := nativeMinInc
	if spare > 0 {
		inc = max(math.Pow(10, math.Ceil(math.Log10(spare*n.mss*8)))*nativeScale/n.mss, nativeMinInc)
	}
	interval := micros(synInterval)
	n.period = n.period * interval / (n.period*inc + interval)
}

// OnLoss shrinks the rate: at the first loss of an epoch, and by chance at some
// of the next.
func (n *Native) OnLoss(s *Stats, l *Loss) {
	if len(l.Ranges) == 0 {
		return
	}
	if n.slowStart {
		known := !n.stock || n.rate(s) > 0
		n.leave(s)
		if known {
			n.learn(s)
			return
		}
	}
	n.lossSeen = true
	if l.First() > n.lastDecrease {
		n.epoch(s)
	} else {
		n.again(s)
	}
	n.learn(s)
}

// again decides on a further loss of an epoch. The draft (section 6.1) spreads
// the decreases of an epoch over as many reports as came in earlier ones; the
// library counts reports as if they were decreases, so that it decreases at each
// of the first five, to 55%.
func (n *Native) again(s *Stats) {
	due := false
	if n.stock {
		if n.decreaseCount++; n.decreaseCount <= stockDecreases {
			n.nakCount++
			due = n.nakCount%n.decreaseEvery == 0
		}
	} else {
		n.nakCount++
		due = n.decreaseCount < nativeDecreases && n.nakCount >= int64(n.decreaseCount)*n.decreaseEvery
	}
	if !due {
		return
	}
	if !n.stock {
		n.decreaseCount++
	}
	n.decrease()
	n.lastDecrease = s.Sent - 1
}

// leave ends the slow start at a loss or a timeout. The library's formula for an
// unknown rate is upside down.
func (n *Native) leave(s *Stats) {
	if n.stock && n.rate(s) <= 0 {
		n.slowStart = false
		n.period = n.cwnd / micros(s.RTT+synInterval)
		return
	}
	n.leaveSlowStart(s)
	if !n.stock {
		// Of what is told of this flight later nothing is new.
		n.lastDecrease, n.decreaseCount, n.decreaseEvery = s.Sent-1, nativeDecreases, 1
		n.cwnd = n.bound(s, n.cwnd)
	}
}

// epoch begins an epoch of congestion. A rate far beyond that of delivery only
// filled the queue: the mended form decreases from what was delivered.
func (n *Native) epoch(s *Stats) {
	if r := n.rate(s); !n.stock && r > 0 {
		n.period = max(n.period, 1e6/(nativeHeadroom*r))
	}
	n.decreaseFrom = n.period
	n.decrease()
	n.avgNAK = math.Ceil(0.875*n.avgNAK + 0.125*float64(n.nakCount))
	n.nakCount, n.decreaseCount = 1, 1
	n.lastDecrease = s.Sent - 1
	n.decreaseEvery = max(1, int64(math.Ceil(n.avgNAK*n.random.float())))
}

func (n *Native) decrease() {
	n.period *= nativeDecrease
	if n.stock {
		n.period = math.Ceil(n.period)
	}
}

// OnTimeout ends the slow start, and nothing else.
func (n *Native) OnTimeout(s *Stats) {
	if n.slowStart {
		n.leave(s)
	}
	n.learn(s)
}

// rate is the rate at which packets arrive, in packets per second; 0 is unknown.
func (n *Native) rate(s *Stats) float64 {
	switch {
	case n.stock && s.Reports == 0:
		return stockRate
	case n.stock:
		return s.ArrivalRate
	case n.path.rate > 0:
		return n.path.rate / max(n.mss, 1)
	case s.Reports >= nativeReports && !s.AppLimited:
		return s.ArrivalRate
	}
	return 0
}

// flow is the rate that the window has to hold, in packets per second. In the
// library it is that of arrival, which makes the window a bound that grows by the
// RTT: flows of 100 ms then get half of what flows of 10 ms get beside them. So
// the mended form takes the pace, up to twice the rate of arrival.
func (n *Native) flow(s *Stats) float64 {
	if n.stock {
		return n.rate(s)
	}
	return min(1e6/n.period, nativeSpare*n.rate(s))
}

// capacity is the estimated rate of the path, in packets per second.
func (n *Native) capacity(s *Stats) float64 {
	switch {
	case n.stock && s.Reports == 0:
		return stockBandwidth
	case n.stock:
		return s.Capacity
	}
	seen := n.path.peak * nativeHeadroom / max(n.mss, 1)
	if s.Reports >= nativeReports && s.Capacity > 0 && (seen == 0 || s.Capacity < seen) {
		return s.Capacity
	}
	return seen
}

// bound keeps a window near what the path holds: more would only wait in queues.
func (n *Native) bound(s *Stats, cwnd float64) float64 {
	rtt := s.MinRTT
	if rtt <= 0 {
		rtt = s.RTT
	}
	if r := n.rate(s); r > 0 {
		held := max(nativeSpare*(rtt+synInterval).Seconds(), (rtt + nativeQueue).Seconds())
		cwnd = min(cwnd, r*held+nativeWindow)
	}
	return clamp(cwnd, nativeWindow, max(nativeWindow, n.maxWindow))
}

// Control gives pace and window.
func (n *Native) Control() Control {
	return Control{
		Rate:      paceOf(n.mss * 1e6 / n.period),
		Window:    max(1, math.Floor(n.cwnd)),
		AckPeriod: synInterval,
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// path is what the mended control knows of the path by its own measuring.
type path struct {
	rate    float64 // bytes per second, smoothed
	peak    float64 // the highest of it, of the connection's life
	highest float64 // bytes per second, not smoothed, of the connection's life
	round   int64   // bytes delivered that end the round trip
	best    float64 // rate of the round trip
	before  float64 // highest rate that was a clear growth
	flat    int     // round trips without one
}

func (p *path) learn(s *Stats, a *Ack) {
	r := a.Delivery.Rate
	if !(r > 0) || r > float64(MaxRate) || a.Delivery.AppLimited && r < p.rate {
		return
	}
	if p.rate == 0 {
		p.rate = r
	}
	p.rate += (r - p.rate) / 8
	p.peak = max(p.peak, p.rate)
	p.highest, p.best = max(p.highest, r), max(p.best, r)
	if a.Delivery.Prior < p.round {
		return
	}
	p.round = s.Delivered
	switch {
	case p.best >= p.before*nativePlateau:
		p.before, p.flat = p.best, 0
	case !a.Delivery.AppLimited:
		p.flat++
	}
	p.best = 0
}
