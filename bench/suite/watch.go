package main

import (
	"time"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/internal/netsim"
)

// seriesStep is the least time between two points of a series; shorter ones show
// the emulator's bursts.
const seriesStep = 100 * time.Millisecond

// watcher looks at the hosts while a command runs. Look is called by one goroutine,
// result after that has ended.
type watcher struct {
	job      job
	start    time.Time
	resting  map[int]bool // processes that belong to no command
	sent     peak
	received peak
	last     time.Time // of the last point
	before   int64     // what the receivers' interfaces had taken in then
	begin    int64     // and at the start
	moving   time.Time // when a hundredth of the payload had come; zero before
	series   []Point
	flows    flows
}

// peak is the greatest memory of one end's hosts.
type peak struct{ bytes int64 }

// flows follows a program and its competitor from the moment when the program has
// sent the hundredth part of its payload. Unit: bytes.
type flows struct {
	base         int64 // what the program's sender had sent before
	begun        bool
	from, until  time.Time
	own0, other0 int64
	own, other   int64
}

// watch prepares a watcher.
func (s *scene) watch(j job) *watcher {
	now := time.Now()
	w := &watcher{job: j, start: now, last: now, resting: map[int]bool{}}
	for _, h := range s.Hosts {
		w.resting[h.PID] = true
	}
	w.begin = taken(j.to)
	w.before = w.begin
	if j.against != nil {
		_, w.flows.base = ground.Traffic(j.from[0].PID)
	}
	return w
}

// taken is what the interfaces of hosts have taken in so far, in bytes.
func taken(hosts []*ground.Host) (sum int64) {
	for _, h := range hosts {
		in, _ := ground.Traffic(h.PID)
		sum += in
	}
	return sum
}

// look is called now and then.
func (w *watcher) look() {
	w.sent.look(w.job.from, w.resting)
	w.received.look(w.job.to, w.resting)
	if now := time.Now(); now.Sub(w.last) >= seriesStep {
		in := taken(w.job.to)
		w.series = append(w.series, Point{Seconds: now.Sub(w.start).Seconds(), Rate: float64(in-w.before) / now.Sub(w.last).Seconds()})
		w.last, w.before = now, in
		if w.moving.IsZero() && in-w.begin >= w.job.bytes*int64(len(w.job.to))/100 {
			w.moving = now
		}
	}
	if w.job.against != nil {
		w.flows.look(w.job)
	}
}

// look keeps the greatest sum of what a host's processes hold at most.
func (p *peak) look(hosts []*ground.Host, resting map[int]bool) {
	for _, h := range hosts {
		sum := int64(0)
		for _, pid := range h.Group.PIDs() {
			if !resting[pid] {
				sum += ground.HighWater(pid)
			}
		}
		p.bytes = max(p.bytes, sum)
	}
}

// look notes how far both flows are.
func (f *flows) look(j job) {
	now := time.Now()
	_, own := ground.Traffic(j.from[0].PID)
	_, other := ground.Traffic(j.against.PID)
	if !f.begun && own-f.base >= j.bytes/100 {
		f.begun, f.from, f.own0, f.other0 = true, now, own, other
	}
	// The end of a command, when it waits for the last words, is not a time of
	// competition: what counts ends when the payload has left.
	if f.begun && own-f.base <= j.bytes || f.until.IsZero() {
		f.until, f.own, f.other = now, own, other
	}
}

// result is what was seen of the run.
func (w *watcher) result(s *scene, j job, u ground.Usage) Run {
	delivered := float64(j.bytes) * float64(len(j.to)) / gigabyte
	r := Run{
		Seconds: u.Wall.Seconds(), Bytes: j.bytes, Goodput: float64(j.bytes) / u.Wall.Seconds(), Foreign: u.Foreign, Series: w.series, steady: w.steady(float64(j.bytes), u),
		Sender:   End{CPUPerGB: s.cpuOf(u, j.from) / delivered, PeakBytes: w.sent.bytes},
		Receiver: End{CPUPerGB: s.cpuOf(u, j.to) / delivered, PeakBytes: w.received.bytes},
	}
	if f := w.flows; j.against != nil {
		r.Receiver, r.Series = End{}, nil // the competitor's are among them
		if span := f.until.Sub(f.from).Seconds(); f.begun && span > 0 {
			own, other := float64(f.own-f.own0)/span, float64(f.other-f.other0)/span
			r.Fairness = &Fairness{Jain: netsim.Jain(own, other), Program: own, Competitor: other}
		}
	}
	return r
}

// cut is what was seen of a run that was ended: headers count as payload.
func (w *watcher) cut(u ground.Usage) Run {
	each := float64(taken(w.job.to)-w.begin) / float64(len(w.job.to))
	each = min(each, float64(w.job.bytes))
	return Run{Seconds: u.Wall.Seconds(), Goodput: each / u.Wall.Seconds(), steady: w.steady(each, u)}
}

// steady is the rate of so many bytes without the time before the first of them; 0 if
// too little was seen.
func (w *watcher) steady(bytes float64, u ground.Usage) float64 {
	if span := w.start.Add(u.Wall).Sub(w.moving); !w.moving.IsZero() && span >= seriesStep {
		return bytes / span.Seconds()
	}
	return 0
}

// cpuOf is the processor time of some hosts, in seconds.
func (s *scene) cpuOf(u ground.Usage, hosts []*ground.Host) (sum float64) {
	for i, h := range s.Hosts {
		for _, one := range hosts {
			if one == h {
				sum += u.CPU[i].Seconds()
			}
		}
	}
	return sum
}
