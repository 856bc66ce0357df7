package choice

import (
	"math"
	"strings"
	"time"
)

// The transports, as --transport calls them.
const (
	TCP = "tcp"
	UDT = "udt"
	SSH = "ssh"
)

// What binds a prediction, in the words of limited_by where there are some.
const (
	ByNetwork = "network"
	ByLoss    = "loss"
	ByWindow  = "receiver window"
	ByCPU     = "cpu"
	ByDisk    = "disk"
	ByChannel = "ssh window"
)

// Path is what is known of a path. Zero means not known, if nothing else is said.
type Path struct {
	RTT time.Duration // least
	// Free is what the narrowest link has left for this job; not known: as much as
	// the ends can.
	Free float64
	Loss float64 // share of packets that is lost however little is sent
	// Queue is that of the narrowest link, as a multiple of its rate times RTT; not
	// known: one.
	Queue float64
	// Kappa is by how much one stream that losses hold back was seen to do better
	// than the model says, 0.3 to 3; not known: 1.
	Kappa float64
	NoTCP bool // connections over TCP do not get through, but ssh's
	NoUDP bool // datagrams do not get through
}

// Ends is what is known of the two ends. Zero means not known.
type Ends struct {
	// CCs are the congestion controls that the sending end's TCP may use, the one
	// that it uses by itself first; not known: cubic.
	CCs    []string
	Window int64   // bytes that one stream over TCP may have under way
	Cores  float64 // processors that the weaker end has free
	Disk   float64 // rate of the slower of both files
}

// Setting is one way to send.
type Setting struct {
	Transport string
	CC        string // of TCP: as the kernel calls it; of UDT: as package cc does
	Streams   int
}

// Prediction is what a setting would reach.
type Prediction struct {
	Setting
	Rate  float64       // in the long run
	By    string        // what holds it there
	Takes time.Duration // the whole job, from the first packet of a connection on
	CPU   float64       // processors busy at each end
}

// Constants of the models.
const (
	// mss is the payload of a TCP segment, and udtPayload that of a UDT packet, in
	// bytes, on most paths.
	mss        = 1448
	udtPayload = 1456
	// bbrLoss is the share of packets lost from which bbr does not keep its rate any
	// more: 15% is below the gain with which it probes for more. Source:
	// Cardwell et al., BBR: congestion-based congestion control, 2016.
	bbrLoss = 0.15
	// timeouts is the share from which retransmission timeouts count. Source:
	// Padhye et al., Modeling TCP throughput, 1998.
	timeouts = 0.02
	// sshWindow is how much an ssh channel has under way, in bytes.
	sshWindow = 2 << 20
	// What a byte costs a processor at each end, in seconds, measured on the copies
	// of docs/performance.md. Over ssh it is sealed twice, by one thread.
	costTCP, costUDT, costSSH = 1.0e-9, 1.25e-9, 2.5e-9
	// unboundRate stands for a rate that nothing known bounds.
	unboundRate = 100e9 / 8
)

// lossRate is how fast one stream of TCP goes that takes losses for a full queue:
// the larger of Reno's mean window, 1.22/sqrt(p) (M. Mathis et al., The macroscopic
// behavior of the TCP congestion avoidance algorithm, 1997), and for CUBIC its own,
// 1.054 (RTT/p)^(3/4) (RFC 9438, section 5.1); with many losses that of Padhye et
// al., 1998. Without losses it is infinite.
func lossRate(cc string, p float64, rtt time.Duration) float64 {
	r := rtt.Seconds()
	if p <= 0 || r <= 0 {
		return math.Inf(1)
	}
	if p > timeouts {
		rto := max(0.2, 2*r)
		return mss / (r*math.Sqrt(2*p/3) + rto*min(1, 3*math.Sqrt(3*p/8))*p*(1+32*p*p))
	}
	window := 1.22 / math.Sqrt(p)
	if cc != "reno" {
		window = max(window, 1.054*math.Pow(r/p, 0.75))
	}
	return window * mss / r
}

// used is the share of a link that n streams of a control use which yields at each
// full queue: 1 - 1/(1 + c n), with c = (1+b)/(1-b) for a cut to b of the window and
// no queue at all (E. Altman et al., Parallel TCP sockets: simple model, throughput
// and validation, 2006). From half a round trip of queue on it is always full.
func used(cc string, n int, queue float64) float64 {
	c := 5.7 // CUBIC cuts to 0.7
	if cc == "reno" {
		c = 3
	}
	empty := 1 - 1/(1+c*float64(n))
	if queue == 0 {
		queue = 1
	}
	return empty + (1-empty)*min(1, queue/0.5)
}

// udtRate is the rate of UDT's own control: a packet more per interval of 10 ms,
// the more the faster the link is, and a ninth less per loss event, of which there
// is one a round trip at most. Derived from Y. Gu and R. Grossman, UDT: UDP-based
// data transfer for high-speed wide area networks, 2007.
func udtRate(free, p float64, rtt time.Duration) float64 {
	if p <= 0 {
		return math.Inf(1)
	}
	bits := 8 * min(free, unboundRate)
	a := max(math.Pow(10, math.Ceil(math.Log10(bits)))*1.5e-6/udtPayload, 1.0/udtPayload)
	perSecond := 9 * a * 1e4
	return udtPayload * max(math.Sqrt(perSecond/p), perSecond*(rtt.Seconds()+0.01))
}

// bound lowers a prediction to a rate that something allows.
func (p *Prediction) bound(rate float64, by string) {
	if rate < p.Rate {
		p.Rate, p.By = max(0, rate), by
	}
}

// Predict foretells what a setting reaches with a job of size bytes; 0 is one that
// has no end.
func Predict(p Path, e Ends, s Setting, size int64) Prediction {
	r := Prediction{Setting: s, Rate: unboundRate, By: ByNetwork}
	if p.Free > 0 {
		r.Rate = p.Free
	}
	free := r.Rate
	rtt := p.RTT.Seconds()
	n := float64(max(1, s.Streams))
	if e.Disk > 0 {
		r.bound(e.Disk, ByDisk)
	}
	cost := costTCP
	switch {
	case s.Transport == SSH:
		cost = costSSH
		r.bound(1/cost, ByCPU)
		if rtt > 0 {
			r.bound(sshWindow/rtt, ByChannel)
		}
		r.bound(lossRate(s.CC, p.Loss, p.RTT), ByLoss)
	case s.Transport == UDT && s.CC == "native":
		cost = costUDT
		r.bound(udtRate(free, p.Loss, p.RTT), ByLoss)
	case s.CC == "bbr" || s.Transport == UDT:
		if s.Transport == UDT {
			cost = costUDT
		}
		r.bound(free*(1-p.Loss), ByNetwork)
		if p.Loss > bbrLoss {
			r.bound(n*lossRate("cubic", p.Loss, p.RTT), ByLoss)
		}
	default:
		kappa := p.Kappa
		if kappa == 0 {
			kappa = 1
		}
		r.bound(free*used(s.CC, s.Streams, p.Queue), ByNetwork)
		r.bound(n*kappa*lossRate(s.CC, p.Loss, p.RTT), ByLoss)
	}
	if s.Transport == TCP && e.Window > 0 && rtt > 0 {
		r.bound(n*float64(e.Window)/rtt, ByWindow)
	}
	if e.Cores > 0 {
		r.bound(e.Cores/cost, ByCPU)
	}
	r.CPU = r.Rate * cost
	if size > 0 && r.Rate > 0 {
		r.Takes = takes(p, r, size)
	}
	return r
}

// takes is how long a job of size bytes takes: the handshakes, what slow start
// loses against the rate in the long run, and the bytes. A stream begins with ten
// segments and doubles them each round trip until all hold what is under way.
func takes(p Path, r Prediction, size int64) time.Duration {
	trips := map[string]float64{TCP: 2, UDT: 3}[r.Transport]
	if under := r.Rate * p.RTT.Seconds(); under > 0 {
		trips += max(0, math.Log2(under/(float64(max(1, r.Streams))*10*mss))-1.44)
	}
	s := trips*p.RTT.Seconds() + float64(size)/r.Rate
	return time.Duration(min(s, 1e9) * float64(time.Second))
}

// lossBased tells a control of TCP that takes each loss for a full queue.
func lossBased(cc string) bool { return !strings.HasPrefix(cc, "bbr") }

// Sensible tells whether what somebody says of a path can be: shares are shares, and
// nothing is negative or without end.
func (p *Path) Sensible() bool {
	in := func(x, most float64) bool { return x >= 0 && x <= most }
	return p.RTT >= 0 && p.RTT <= time.Hour && in(p.Free, 1e15) && in(p.Loss, 1) && in(p.Queue, 1e6) && in(p.Kappa, 100)
}
