package choice

import (
	"fmt"
	"slices"
	"time"
)

// Sample is what a transfer did over a short interval, some hundred milliseconds.
type Sample struct {
	At, Span    time.Duration // since the start, at the interval's end; its length
	RTT, MinRTT time.Duration // of the streams: mean of the smoothed ones; least ever seen
	Acked       int64         // bytes confirmed
	Segs, Lost  int64         // segments sent, and of these again
	Streams     int
	CC          string  // their congestion control
	Wnd         float64 // share of the time in which they waited for the receiver's window
	Held        bool    // something else than the path holds the transfer back

	// While another transport is tried.
	Other        int64 // bytes confirmed on its streams
	OtherStreams int
}

// Action is what a watch wants.
type Action uint8

// The actions.
const (
	None   Action = iota
	Grow          // retune the streams that there are: more of them may help
	Try           // open Setting beside them
	Commit        // what was tried is better: close the others
	Close         // it is not: close it
)

// Decision is what to do, and why.
type Decision struct {
	Action  Action
	Setting Setting // of Try and Commit
	Reason  string  // for people
	// Before and After are rates in bytes per second: of all streams before Try, and
	// of those that were tried.
	Before, After float64
}

// Constants of the watch.
const (
	// looksBack is over which time signs are collected; it is ten round trips if
	// those are longer.
	looksBack = time.Second
	// lately is the time whose rate counts as the present one.
	lately = 600 * time.Millisecond
	// straysNeeded is in how many samples of that time something must have been lost
	// while the queue was empty, and emptyShare in which share of all it must have
	// been empty: then losses are not those of a full path.
	straysNeeded = 3
	emptyShare   = 0.7
	// emptyQueue is the round trip, as a multiple of the least, below which the queue
	// counts as empty.
	emptyQueue = 1.2
	// windowShare is the share of the time waited for the receiver from which the
	// window is the limit.
	windowShare = 0.5
	// farBelow is the share of the predicted rate that counts as far below it, and
	// gain by how much less time another transport must then take.
	farBelow, gain = 0.6, 0.8
	// opening is how long another transport may take to open, ramp how long it has
	// then to find its rate, and trial how long that is measured. The last two are
	// ten round trips if those are longer.
	opening = 5 * time.Second
	ramp    = time.Second
	trial   = 2 * time.Second
	// longest is after which time a trial ends in which nothing could be measured.
	longest = 30 * time.Second
	// wins is by how much it must be faster alone than all was before, and winsEarly
	// is when that is clear while it still ramps up.
	wins, winsEarly = 1.15, 1.5
	// doubt is by how much TCP may be faster than the model says.
	doubt = 2
	// early is over how many samples the latter must hold.
	early = 3
	// worth is how much time must be left at the present rate for a trial.
	worth = 3 * time.Second
	// apart, again and tries bound how often another transport is tried: in
	// general, after one was no better, and in a job.
	apart = time.Minute
	again = 10 * time.Minute
	tries = 3
)

// Watch notices that a transfer over TCP is held back by what another transport does
// not mind, tries that beside it, and decides by what was measured. Its exported
// fields are set before the first Step. It belongs to one goroutine.
type Watch struct {
	// Permitted are the transports that may be tried, besides TCP.
	Permitted []string
	// Known is what is known of the path from elsewhere; MinRTT and losses of the
	// samples replace what it says of these. It may change between steps.
	Known Path
	Ends  Ends
	// Left is how much of the job is not confirmed, in bytes; 0: not known. It may
	// change between steps.
	Left int64

	samples  []Sample
	grown    bool
	tried    int
	lowSince time.Duration // TCP has been far below what is predicted
	next     time.Duration // when a transport may be tried again
	try      *attempt      // nil: none
	moved    bool          // what was tried is in use
}

// attempt is a transport that is being tried.
type attempt struct {
	setting Setting
	before  float64
	steady  float64 // what TCP comes to in the long run, as far as the model knows; it may have been faster until now
	began   time.Duration
	came    time.Duration // its first stream
	open    bool
	recent  []float64
	bytes   int64
	mine    int64 // bytes over TCP meanwhile
	span    time.Duration
}

// alone is what TCP would have without the attempt: no more than it had, and not less
// than the model says; in between, what it has beside the attempt, where it may still
// come down from what it was before the first losses.
func (t *attempt) alone(rate float64) float64 {
	return min(t.before, max(t.steady, min(rate, doubt*t.steady)))
}

// Step takes the next sample and says what to do.
func (w *Watch) Step(s Sample) Decision {
	if w.try != nil {
		return w.judge(s)
	}
	if w.moved || s.Held || s.Streams == 0 || s.Span <= 0 {
		w.samples = w.samples[:0]
		return Decision{}
	}
	w.samples = append(w.samples, s)
	from := s.At - max(looksBack, 10*s.MinRTT)
	if w.samples[0].At-w.samples[0].Span > from {
		return Decision{}
	}
	for len(w.samples) > 1 && w.samples[1].At-w.samples[1].Span <= from {
		w.samples = w.samples[1:]
	}
	return w.look(s)
}

// sums are what the samples tell together.
type sums struct {
	rate          float64 // of the last second
	wnd, loss     float64
	strays, empty int
}

func (w *Watch) sums() (u sums) {
	var span time.Duration
	var acked, segs, lost int64
	end := w.samples[len(w.samples)-1].At
	for _, s := range w.samples {
		if end-s.At < lately { // slow start may have been faster than all that follows
			span += s.Span
			acked += s.Acked
		}
		u.wnd += s.Wnd / float64(len(w.samples))
		if float64(s.RTT) >= emptyQueue*float64(s.MinRTT) {
			continue
		}
		u.empty++
		segs += s.Segs
		lost += s.Lost
		if s.Lost > 0 {
			u.strays++
		}
	}
	u.rate = float64(acked) / span.Seconds()
	if segs > 0 {
		u.loss = float64(lost) / float64(segs)
	}
	return u
}

// look decides when nothing is being tried.
func (w *Watch) look(s Sample) Decision {
	u := w.sums()
	stray := lossBased(s.CC) && u.strays >= straysNeeded && float64(u.empty) >= emptyShare*float64(len(w.samples))
	path := w.Known
	path.RTT = s.MinRTT
	path.Loss = 0
	if stray {
		path.Loss = u.loss
		if each := lossRate(s.CC, u.loss, s.MinRTT); each > 0 {
			path.Kappa = min(max(0.3, u.rate/float64(s.Streams)/each), 3)
		}
	}
	if d, ok := w.tryOther(s, u, path, stray); ok {
		return d
	}
	switch {
	case w.grown:
	case stray:
		w.grown = true
		return Decision{Action: Grow, Before: u.rate, Reason: fmt.Sprintf("losses while the queue is empty (%.2g%% of segments) hold %d streams of %s back", 100*u.loss, s.Streams, s.CC)}
	case u.wnd > windowShare:
		w.grown = true
		return Decision{Action: Grow, Before: u.rate, Reason: fmt.Sprintf("%d streams wait for the receiver window %.0f%% of the time", s.Streams, 100*u.wnd)}
	}
	return Decision{}
}

// tryOther decides whether another transport is worth a trial now.
func (w *Watch) tryOther(s Sample, u sums, path Path, stray bool) (d Decision, ok bool) {
	if w.tried >= tries || s.At < w.next || len(w.Permitted) == 0 || w.Left > 0 && float64(w.Left) < worth.Seconds()*u.rate {
		return d, false
	}
	if stray && slices.Contains(w.Ends.CCs, "bbr") {
		return d, false // the first remedy, and a cheaper one
	}
	present := Predict(path, w.Ends, Setting{TCP, s.CC, s.Streams}, w.Left)
	below := path.Free > 0 && u.rate < farBelow*present.Rate
	if !below {
		w.lowSince = s.At
	}
	below = s.At-w.lowSince >= 3*max(time.Second, 10*s.MinRTT)
	if !stray && !below {
		return d, false
	}
	ranked := Rank(path, w.Ends, w.Left, append([]string{TCP}, w.Permitted...)...)
	best, any := Choose(ranked)
	if !any || best.Transport == TCP && !below {
		return d, false
	}
	if below && best.Transport == TCP {
		// The model of TCP is wrong here; what was measured stands for it.
		best, any = fastest(ranked)
		if !any || u.rate > gain*best.Rate {
			return d, false
		}
	}
	w.tried++
	w.next = s.At + apart
	w.try = &attempt{setting: best.Setting, before: u.rate, steady: u.rate, began: s.At}
	if stray {
		w.try.steady = min(u.rate, float64(s.Streams)*lossRate(s.CC, u.loss, s.MinRTT))
	}
	w.samples = w.samples[:0]
	why := fmt.Sprintf("TCP moves %.1f MB/s, far below the %.1f predicted", u.rate/1e6, present.Rate/1e6)
	if stray {
		why = fmt.Sprintf("losses while the queue is empty (%.2g%% of segments) hold TCP at %.1f MB/s", 100*u.loss, u.rate/1e6)
	}
	return Decision{Action: Try, Setting: best.Setting, Before: u.rate, Reason: why}, true
}

// judge decides while something is being tried.
func (w *Watch) judge(s Sample) Decision {
	t := w.try
	name := map[string]string{UDT: "UDT", SSH: "ssh", TCP: "TCP"}[t.setting.Transport]
	if !t.open {
		if s.OtherStreams == 0 {
			if s.At-t.began < opening {
				return Decision{}
			}
			return w.end(Decision{Action: Close, Setting: t.setting, Before: t.before, Reason: "no data connection over " + name}, s.At)
		}
		t.open, t.came = true, s.At
	}
	if s.OtherStreams == 0 {
		return w.end(Decision{Action: Close, Setting: t.setting, Before: t.before, Reason: "data connections over " + name + " do not last"}, s.At)
	}
	if s.At-t.began > longest {
		return w.end(Decision{Action: Close, Setting: t.setting, Before: t.before, Reason: "the transfer was held back by something else meanwhile"}, s.At)
	}
	if s.Held || s.Span <= 0 {
		return Decision{}
	}
	rate := float64(s.Other) / s.Span.Seconds()
	t.recent = append(t.recent, rate)
	t.recent = t.recent[max(0, len(t.recent)-early):]
	mine := float64(s.Acked) / s.Span.Seconds()
	clear := len(t.recent) == early && slices.Min(t.recent) > winsEarly*t.alone(mine)
	settle := max(ramp, 10*s.MinRTT)
	if s.At-t.came > settle {
		t.bytes += s.Other
		t.mine += s.Acked
		t.span += s.Span
	}
	if !clear && t.span < max(trial, 10*s.MinRTT) {
		return Decision{}
	}
	after := rate
	if t.span > 0 {
		after, mine = float64(t.bytes)/t.span.Seconds(), float64(t.mine)/t.span.Seconds()
	}
	alone := t.alone(mine)
	d := Decision{Action: Close, Setting: t.setting, Before: alone, After: after}
	d.Reason = fmt.Sprintf("%s moves %.1f MB/s, TCP alone %.1f", name, after/1e6, alone/1e6)
	if clear || after > wins*alone {
		d.Action = Commit
	}
	return w.end(d, s.At)
}

// end ends a trial.
func (w *Watch) end(d Decision, now time.Duration) Decision {
	w.try, w.samples = nil, nil
	w.moved = d.Action == Commit
	if d.Action == Close {
		w.next = now + again
	}
	return d
}

// Forgo ends the trial that is under way, for a reason of its user.
func (w *Watch) Forgo(now time.Duration) Decision {
	if w.try == nil {
		return Decision{}
	}
	return w.end(Decision{Action: Close, Setting: w.try.setting, Before: w.try.before, Reason: "the job gives way to others now"}, now)
}

// Back tells the watch that the transfer travels over TCP again, since what it had
// moved to is gone.
func (w *Watch) Back(now time.Duration) {
	w.moved, w.try, w.samples = false, nil, nil
	w.next = max(w.next, now+again)
}
