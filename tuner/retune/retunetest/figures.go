package retunetest

import (
	"math"
	"time"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/tuner/retune"
)

// Figures are how a run did beside the fixed settings of a grid with the same seed.
type Figures struct {
	// Ratio is the bytes moved over those of the best fixed setting, Late the same of
	// the last third of the time.
	Ratio, Late float64
	// Start is how long it took until the mean rate over five seconds was within 10 % of
	// what the best fixed setting comes to before the path first changes.
	Start time.Duration
	// Needed is the least number of streams with which a fixed setting moves 95 % of
	// what the best one does, or, where none moves 95 % of what the job did, that with
	// which it ended; Most how many there were at any time, and Beyond the share
	// of all stream-seconds that streams beyond one and a half times that number took.
	Needed, Most int
	Beyond       float64
	// Changes is how often the number of streams changed in a minute after the first
	// half, and Spread its standard deviation over its mean.
	Changes, Spread float64
	// OverFour is the bytes moved over those of four streams of CUBIC.
	OverFour float64
}

// steadyFrom is when a job on a path that does not change should have settled.
const steadyFrom = 30 * time.Second

// figures compares a run with those of a grid, of which top was the best.
func figures(s *Scenario, r *Result, grid []retune.Settings, fixed []Result, top int) (f Figures) {
	end := s.length()
	best := &fixed[top]
	f.Ratio = float64(r.Bytes) / float64(best.Bytes)
	f.Late = r.Between(end*2/3, end) / best.Between(end*2/3, end)
	if len(s.Changes) > 0 && s.Changes[0].At > 0 {
		end = s.Changes[0].At
	}
	rate := 0.0
	for i := range fixed {
		rate = math.Max(rate, fixed[i].Between(end/2, end))
	}
	f.Start = r.Reached(0.9*rate, 0, end, 5*time.Second)
	f.Needed = math.MaxInt
	for i, set := range grid {
		if float64(fixed[i].Bytes) >= 0.95*float64(best.Bytes) {
			f.Needed = min(f.Needed, set.Streams)
		}
		if set.Streams == 4 && set.CC == "cubic" {
			f.OverFour = float64(r.Bytes) / float64(fixed[i].Bytes)
		}
	}
	if float64(best.Bytes) < 0.95*float64(r.Bytes) {
		f.Needed = r.Streams[len(r.Streams)-1]
	}
	f.streams(r)
	return f
}

// streams fills in what there is to say of their number.
func (f *Figures) streams(r *Result) {
	var all, beyond, sum, squares, n float64
	changes := 0
	for i, k := range r.Streams {
		f.Most = max(f.Most, k)
		all += float64(k)
		beyond += max(0, float64(k)-1.5*float64(f.Needed))
		if time.Duration(i)*time.Second < steadyFrom {
			continue
		}
		if i > 0 && k != r.Streams[i-1] {
			changes++
		}
		n++
		sum += float64(k)
		squares += float64(k) * float64(k)
	}
	if all > 0 {
		f.Beyond = beyond / all
	}
	if n > 0 {
		mean := sum / n
		f.Changes = float64(changes) / n * 60
		f.Spread = math.Sqrt(max(0, squares/n-mean*mean)) / mean
	}
}

// Seeded makes the guided policy that is told that the path carries so many times what
// it does.
func Seeded(times float64) Maker {
	return func(s Scenario, _ uint64) (Policy, error) {
		c := s.Config()
		c.Capacity = int64(times * float64(s.Rate) * payloadShare)
		return retune.New(c), nil
	}
}

// payloadShare is the payload of a packet of Ethernet.
const payloadShare = 1448.0 / 1500

// Second makes the guided policy of a job that begins with so many times the streams
// that the first job on the same path ended with, and with its congestion control.
func Second(times float64) Maker {
	return func(s Scenario, seed uint64) (Policy, error) {
		first, err := Run(s, seed+1000, retune.New(s.Config()))
		if err != nil {
			return nil, err
		}
		c := s.Config()
		for _, d := range first.Decisions {
			c.Start = d.Settings
		}
		c.Start.Rate = 0
		c.Start.Streams = min(max(1, int(math.Round(times*float64(c.Start.Streams)))), 128)
		return retune.New(c), nil
	}
}

// Labelled is a scenario of which is known what holds a job back that never changes its
// settings.
type Labelled struct {
	Scenario
	Streams int
	Limit   units.Rate // that the user allows, in bytes per second; 0: any
	// Want are the classes that are right from the start, After those after the only
	// change.
	Want, After []retune.Class
}

// Named is how often what held a job back was named rightly.
type Named struct {
	Right, Of int           // seconds, those just behind the start and the change left out
	Found     time.Duration // how long after the change it was named rightly for three seconds on end
}

// firstPeriods is what of the start is left out, in periods of the policy.
const firstPeriods = 3

// Name lets a policy that only observes watch a labelled scenario.
func (l *Labelled) Name(seed uint64) (n Named, err error) {
	s := l.Scenario
	c := s.Config()
	c.Start.Streams, c.Observe, c.Limit = l.Streams, true, int64(l.Limit)
	c.Start.Rate = int64(l.Limit)
	r, err := Run(s, seed, retune.New(c))
	if err != nil {
		return n, err
	}
	period := max(time.Second, 10*s.RTT)
	want, from := l.Want, firstPeriods*period
	var change time.Duration
	if len(s.Changes) > 0 {
		change = s.Changes[0].At
	}
	streak := 0
	for i, class := range r.Classes {
		at := time.Duration(i+1) * time.Second
		if change > 0 && at > change && from < change {
			want, from, streak = l.After, change+firstPeriods*period, 0
			n.Found = s.length() - change
		}
		right := oneOf(class, want)
		if change > 0 && at > change && n.Found == s.length()-change {
			if streak++; !right {
				streak = 0
			}
			if streak == 3 {
				n.Found = at - change - 2*time.Second
			}
		}
		if at <= from {
			continue
		}
		n.Of++
		if right {
			n.Right++
		}
	}
	return n, nil
}

func oneOf(c retune.Class, list []retune.Class) bool {
	for _, w := range list {
		if c == w {
			return true
		}
	}
	return false
}

// Labels are scenarios whose limit is known: each class of a network and of an end, from
// the start and after a change.
func Labels() []Labelled {
	full := []retune.Class{retune.Saturated}
	free := []retune.Class{retune.Saturated, retune.Growing} // the network is to be found full first
	losing := []retune.Class{retune.Losing}
	window, disk, cpu, limit := []retune.Class{retune.ReceiverWindow}, []retune.Class{retune.TargetDisk}, []retune.Class{retune.SourceCPU}, []retune.Class{retune.Limit}
	path := func(p Path) Scenario {
		return Scenario{ID: "label", Path: p, Queue: 1, Noise: 0.05, Length: 90 * time.Second}
	}
	changed := func(p Path, set func(*Path)) Scenario {
		s := path(p)
		s.Length, s.Changes = 2*time.Minute, at(change, set)
		return s
	}
	clean := Path{Rate: gbit, RTT: 40 * msec}
	lossy := Path{Rate: gbit, RTT: 40 * msec, Loss: 1e-3}
	small := Path{Rate: gbit, RTT: 80 * msec, Window: mib}
	slow := Path{Rate: gbit, RTT: 40 * msec, Disk: gbit / 5}
	busy := path(clean)
	busy.CPU = gbit / 3
	return []Labelled{
		{Scenario: path(Path{Rate: gbit, RTT: 10 * msec}), Streams: 8, Want: full},
		{Scenario: path(clean), Streams: 8, Want: full},
		{Scenario: path(Path{Rate: 100 * mbit, RTT: 200 * msec}), Streams: 8, Want: full},
		{Scenario: path(Path{Rate: 50 * mbit, RTT: 20 * msec}), Streams: 2, Want: full},
		{Scenario: path(lossy), Streams: 8, Want: losing},
		{Scenario: path(Path{Rate: gbit, RTT: 100 * msec, Loss: 3e-4}), Streams: 12, Want: losing},
		{Scenario: path(Path{Rate: 100 * mbit, RTT: 100 * msec, Loss: 1e-2}), Streams: 12, Want: losing},
		{Scenario: path(small), Streams: 4, Want: window},
		{Scenario: path(Path{Rate: gbit / 2, RTT: 300 * msec, Window: mib}), Streams: 8, Want: window},
		{Scenario: path(slow), Streams: 8, Want: disk},
		{Scenario: path(Path{Rate: gbit, RTT: 5 * msec, Disk: gbit / 2}), Streams: 4, Want: disk},
		{Scenario: busy, Streams: 4, Want: cpu},
		{Scenario: path(clean), Streams: 8, Limit: gbit / 5, Want: limit},
		{Scenario: changed(clean, func(p *Path) { p.Disk = gbit / 5 }), Streams: 8, Want: full, After: disk},
		{Scenario: changed(slow, func(p *Path) { p.Disk = 0 }), Streams: 8, Want: disk, After: free},
		{Scenario: changed(Path{Rate: gbit / 2, RTT: 40 * msec, Window: 4 * mib}, func(p *Path) { p.Window = mib / 8 }), Streams: 8, Want: full, After: window},
		{Scenario: changed(clean, func(p *Path) { p.Loss = 3e-3 }), Streams: 8, Want: full, After: losing},
		{Scenario: changed(clean, func(p *Path) { p.Rate /= 4 }), Streams: 8, Want: full, After: full},
	}
}
