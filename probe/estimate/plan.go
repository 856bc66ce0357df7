package estimate

import (
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Constants of our choice.
const (
	// pilot is the first train, in packets: some 20 ms at 10 Mbit/s.
	pilot = 16
	// grow is by how much the next train is longer at most, while they are too
	// short to tell anything.
	grow = 8
	// maxTrain bounds a train, in packets: 10 ms at 20 Gbit/s.
	maxTrain = 16384
	// A train lasts for so many periods of the receiver's adapter, within these
	// bounds, nearly; and is of so many packets, if that takes no longer than
	// fewTime.
	periods  = 20
	shortest = 2 * time.Millisecond
	longest  = 10 * time.Millisecond
	nearly   = 0.8
	fewest   = 100
	fewTime  = 30 * time.Millisecond
	// fastOnes and pacedOnes are how many trains count of each kind.
	fastOnes, pacedOnes = 3, 3
	// Where more than this share of a train is lost a queue is too short for it, and
	// longer ones would only lose more.
	lossy = 0.25
	// pacedTime is how long paced trains are, so that other traffic evens out; on
	// slow links longer, for pacedFew packets. Each may take one pacedShare-th of the
	// budget.
	pacedTime   = 20 * time.Millisecond
	pacedLonger = 100 * time.Millisecond
	pacedFew    = 64
	pacedShare  = 6
	// betweenTrains is how much longer than a train lasts the next one begins later.
	betweenTrains = 5 * time.Millisecond
)

// Planner decides which trains find out what one direction of a path can do: they
// grow until one lasts long enough, then some are sent as fast as possible, and
// then some at the rate that these had. The fields are set once, before the first
// Next. Not for several goroutines at once.
type Planner struct {
	Size  int           // bytes of a packet, IP header included
	Limit units.Rate    // of the slower network interface of both ends; 0: not known
	Bytes int64         // most to send, headers included
	Time  time.Duration // when trains have lasted so long together, none is begun

	trains []Dispersion // those that count
	last   Dispersion
	came   int  // packets of that which arrived
	n      int  // packets of the next train
	grown  bool // long enough
	over   bool
	spent  int64
	lasted time.Duration
	fast   int
	paced  int
}

// Step is a train to send, perhaps several times: none of these depends on what came
// of another, so that a long path is not waited for after each.
type Step struct {
	Packets int
	Pace    units.Rate // 0: as fast as possible
	Times   int        // at least 1; Add is called for each
	// Apart is how long after the beginning of one the next may begin, so that they do
	// not meet in a queue; 0 if Times is 1.
	Apart time.Duration
}

// Next gives the next trains to send; false when there are none.
func (p *Planner) Next() (Step, bool) {
	if p.n == 0 {
		p.n = pilot
	}
	left := int((p.Bytes - p.spent) / int64(max(p.Size, 1)))
	switch {
	case p.over || left < minArrivals:
		return Step{}, false
	case !p.grown:
		return Step{Packets: min(p.n, left), Times: 1}, true
	case p.fast < fastOnes:
		return p.several(Step{Packets: min(p.n, left), Times: fastOnes - p.fast}, left), true
	case p.paced < pacedOnes:
		rate := p.middle()
		in := func(d time.Duration) int { return int(float64(rate)*d.Seconds()) / max(p.Size, 1) }
		n := max(in(pacedTime), min(in(pacedLonger), pacedFew))
		n = max(min(n, int(p.Bytes/pacedShare)/max(p.Size, 1)), p.n)
		return p.several(Step{Packets: min(n, left, maxTrain), Pace: rate, Times: pacedOnes - p.paced}, left), true
	}
	return Step{}, false
}

// several cuts how often a train is sent to what the budgets of bytes and of time
// allow, but for once, and sets them apart by more than each is expected to last.
func (p *Planner) several(s Step, left int) Step {
	d := time.Duration(float64(p.last.Time) * float64(s.Packets) / float64(max(p.came, 1)))
	if s.Pace > 0 {
		d = max(d, time.Duration(float64(s.Packets*p.Size)/float64(s.Pace)*1e9))
	}
	s.Times = min(s.Times, left/max(s.Packets, 1))
	if d > 0 {
		s.Times = min(s.Times, 1+int((p.Time-p.lasted)/d))
	}
	if s.Times = max(s.Times, 1); s.Times > 1 {
		s.Apart = d*5/4 + betweenTrains
	}
	return s
}

// middle is the median rate of the trains that were sent as fast as possible.
func (p *Planner) middle() units.Rate {
	var all []units.Rate
	for _, d := range p.trains {
		if !d.Paced && d.Verdict != Unusable {
			all = append(all, d.Rate)
		}
	}
	return median(all)
}

// Add takes what came of a step.
func (p *Planner) Add(s Step, d Dispersion) {
	p.spent += int64(s.Packets) * int64(p.Size)
	p.last, p.came = d, s.Packets-d.Lost
	if p.grown || p.long(s, d) {
		p.count(s, d)
		return
	}
	n := s.Packets * grow
	if d.Verdict != Unusable {
		n = int(float64(d.Rate) * p.wanted(d).Seconds() * 1.2 / float64(max(p.Size, 1)))
		n = min(max(n, s.Packets*2, fewest), s.Packets*grow)
	}
	n = min(n, maxTrain, int((p.Bytes-p.spent)/int64(max(p.Size, 1))/fastOnes))
	if n > s.Packets && (s.Packets < fewest || float64(d.Lost) <= lossy*float64(s.Packets)) {
		p.n = n
		return
	}
	p.count(s, d) // it cannot be longer: what it tells is all that can be known
}

// long tells that a train lasted long enough, or that longer ones would be cut.
func (p *Planner) long(s Step, d Dispersion) bool {
	switch {
	case d.Verdict == Unusable:
		return false
	case float64(d.Lost) > lossy*float64(s.Packets):
		return true
	case s.Packets < fewest && d.Time*fewest < fewTime*time.Duration(s.Packets):
		return false
	}
	return d.Time >= time.Duration(float64(p.wanted(d))*nearly)
}

// wanted is how long a train should last at the receiver.
func (p *Planner) wanted(d Dispersion) time.Duration {
	return min(max(periods*d.Coalescing, shortest), longest)
}

// count notes a train of full length.
func (p *Planner) count(s Step, d Dispersion) {
	p.trains = append(p.trains, d)
	if s.Pace > 0 {
		p.paced++
	} else {
		p.fast++
		p.n = s.Packets
	}
	p.grown = true
	p.lasted += d.Time
	p.over = p.lasted >= p.Time || p.fast >= fastOnes && !p.measured()
}

// measured tells that the capacity is known, so that it is worth while to look for
// what is free of it.
func (p *Planner) measured() bool {
	return Combine(p.trains).Verdict == Measured
}

// Spent is how many bytes the steps so far were, headers included.
func (p *Planner) Spent() int64 { return p.spent }

// Capacity is what the trains so far tell.
func (p *Planner) Capacity() Capacity {
	if len(p.trains) == 0 {
		return Combine([]Dispersion{p.last})
	}
	return Combine(p.trains)
}
