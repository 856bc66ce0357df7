package retunetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/tuner/retune"
)

// sampleEvery is how often a job is looked at; a round trip where that is longer.
const sampleEvery = 100 * time.Millisecond

// defaultWindow is what a stream's buffers hold where a path says nothing.
const defaultWindow = 16 << 20

// handshakes is how many round trips a new stream takes before it carries data:
// one for TCP, one for the greeting on it.
const handshakes = 2

// stream is a modelled connection of a job.
type stream struct {
	flow *netsim.FluidFlow
	seen netsim.FlowStats // at the last sample
	rate float64          // bytes per second in the last interval
	cap  float64          // bytes per second that its share of the ends allows; 0 is any
}

// job is streams over the one path of a run, and what its ends can carry.
type job struct {
	x        *netsim.Fluid
	from, to *netsim.Host
	path     *Path
	spec     *Scenario
	name     string
	set      retune.Settings
	policy   Policy
	start    time.Duration
	began    bool
	streams  []*stream
	made     int
	first    int   // streams that it began with
	acked    int64 // bytes delivered by streams that are closed
	noted    int64 // bytes delivered at the last note
	ticked   int64 // the same at the last tick
	rand     *rand.Rand
	lastAt   time.Duration
	result   Result
}

// step begins the job, or looks at it when it is time to and does what its policy
// wants.
func (j *job) step() error {
	now := j.x.Now()
	if now < j.start {
		return nil
	}
	if !j.began {
		j.began, j.lastAt = true, now
		return j.apply(j.policy.Start())
	}
	// Ticks are not all alike; a policy must not depend on that.
	if now-j.lastAt < max(sampleEvery, j.path.RTT)-sampleEvery/2 {
		return nil
	}
	d, ok := j.policy.Step(j.sample())
	if ok {
		j.result.Decisions = append(j.result.Decisions, d)
		if err := j.apply(d.Settings); err != nil {
			return err
		}
	}
	j.share()
	return nil
}

// tick writes down what a step brought.
func (j *job) tick() {
	now := j.delivered()
	j.result.Steps = append(j.result.Steps, now-j.ticked)
	j.ticked = now
}

// note writes down what a second brought.
func (j *job) note() {
	now := j.delivered()
	j.result.Rates = append(j.result.Rates, now-j.noted)
	j.result.Streams = append(j.result.Streams, len(j.streams))
	if p, ok := j.policy.(interface{ Class() retune.Class }); ok {
		j.result.Classes = append(j.result.Classes, p.Class())
	}
	j.noted = now
}

// control turns the name of a congestion control into that of the simulation.
func control(name string) netsim.Control {
	if name == "bbr" {
		return netsim.BBR
	}
	return netsim.CUBIC
}

// apply changes what the job does to what a policy wants.
func (j *job) apply(set retune.Settings) error {
	if j.first == 0 {
		j.first = set.Streams
	}
	if set.CC != j.set.CC {
		for _, s := range j.streams {
			s.flow.SetControl(control(set.CC))
		}
	}
	j.set = set
	for len(j.streams) > max(0, set.Streams) {
		last := len(j.streams) - 1
		s := j.streams[last]
		s.flow.Stop()
		j.acked += s.flow.Stats().Delivered
		j.streams = j.streams[:last]
	}
	for len(j.streams) < set.Streams {
		j.made++
		start := j.x.Now()
		if j.made > j.first { // the first ones are there when the job begins
			start += handshakes * j.path.RTT
		}
		f, err := j.x.AddFlow(j.from, j.to, netsim.FlowConfig{Name: fmt.Sprint(j.name, j.made), Control: control(set.CC), Window: j.window(), Start: start})
		if err != nil {
			return err
		}
		j.streams = append(j.streams, &stream{flow: f})
	}
	j.share()
	return nil
}

func (j *job) window() int64 {
	if j.path.Window > 0 {
		return j.path.Window
	}
	return defaultWindow
}

// ends is what the two ends carry, in bytes per second, and which of them is the
// slower; 0 is any.
func (j *job) ends() (most float64, sink bool) {
	if j.spec.CPU > 0 {
		most = float64(j.spec.CPU) / (1 + j.spec.Fall*float64(max(0, len(j.streams)-4)))
	}
	if d := float64(j.path.Disk); d > 0 && (most == 0 || d < most) {
		return d, true
	}
	return most, false
}

// share divides what the ends carry, or the limit of the settings, among the
// streams: equal parts, and what one cannot use goes to the others.
func (j *job) share() {
	if len(j.streams) == 0 {
		return
	}
	most, _ := j.ends()
	if r := float64(j.set.Rate); r > 0 && (most == 0 || r < most) {
		most = r
	}
	if most == 0 {
		for _, s := range j.streams {
			if s.cap > 0 {
				s.cap = 0
				s.flow.SetRate(0)
			}
		}
		return
	}
	left, open := most, len(j.streams)
	part := most / float64(open)
	for range 3 {
		left, open = most, 0
		for _, s := range j.streams {
			if s.cap > 0 && s.rate < 0.9*s.cap && s.rate < part {
				left -= 1.1 * s.rate
			} else {
				open++
			}
		}
		if open > 0 {
			part = max(left/float64(open), most/float64(len(j.streams)))
		}
	}
	for _, s := range j.streams {
		if s.cap == 0 || math.Abs(s.cap-part) > 0.02*part {
			s.cap = part
			s.flow.SetRate(units.Rate(part))
		}
	}
}

// delivered is the payload in bytes that has arrived.
func (j *job) delivered() int64 {
	sum := j.acked
	for _, s := range j.streams {
		sum += s.flow.Stats().Delivered
	}
	return sum
}

// sample looks at the streams.
func (j *job) sample() retune.Sample {
	now := j.x.Now()
	span := now - j.lastAt
	j.lastAt = now
	if len(j.streams) == 0 {
		return retune.Sample{At: now, Span: span}
	}
	v := retune.Sample{At: now, Span: span, Known: retune.KnownAll}
	var rtt, cwnd, waiting, capped float64
	for _, s := range j.streams {
		st := s.flow.Stats()
		d := st
		bytes := d.Delivered - s.seen.Delivered
		s.rate = float64(bytes) / span.Seconds()
		v.Acked += bytes
		v.Segs += d.Segments - s.seen.Segments
		v.Lost += d.Lost - s.seen.Lost
		v.Events += d.Cuts + d.Timeouts - s.seen.Cuts - s.seen.Timeouts
		s.seen = st
		if st.SRTT == 0 {
			continue
		}
		v.Streams++
		rtt += float64(st.SRTT)
		cwnd += float64(st.Cwnd)
		if st.MinRTT > 0 && (v.MinRTT == 0 || st.MinRTT < v.MinRTT) {
			v.MinRTT = st.MinRTT
		}
		switch {
		case s.cap > 0 && s.rate > 0.95*s.cap && float64(st.Cwnd)/st.SRTT.Seconds() > 1.02*s.cap:
			capped++
		case st.Cwnd >= j.window():
			waiting++
		}
	}
	if v.Streams == 0 {
		v.Streams = len(j.streams)
		v.Known &^= retune.KnownRTT
	}
	n := float64(v.Streams)
	v.RTT, v.Cwnd = time.Duration(rtt/n*(1+0.01*j.rand.NormFloat64())), int64(cwnd/n)
	j.result.RTTs = append(j.result.RTTs, time.Duration(rtt/n))
	v.Wnd = waiting / n
	if most, sink := j.ends(); most > 0 && capped > 0 {
		work := min(1, float64(v.Acked)/span.Seconds()/most)
		if sink {
			v.Wnd += capped / n
			v.Sink = retune.End{Disk: work}
		} else {
			v.App = capped / n
			v.Source = retune.End{CPU: work, Own: work}
		}
	}
	v.Acked = int64(float64(v.Acked) * math.Exp(j.spec.Noise*j.rand.NormFloat64()))
	return v
}
