package anomaly

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/gomover/gomover/internal/units"
)

// Metric is what changed.
type Metric string

// The metrics that are watched.
const (
	Rate Metric = "rate" // bytes per second that arrive
	RTT  Metric = "rtt"  // least round trip time, in seconds
	Loss Metric = "loss" // loss events per second
)

// Stage is how sure a finding is.
type Stage int

// The stages of a finding.
const (
	// Suspected may be wrong about once an hour: for those to whom an error costs
	// little. A rise of the rate ends at this stage.
	Suspected Stage = iota
	// Confirmed is for people.
	Confirmed
	// Over says that the rate is back where it was before a confirmed drop.
	Over
)

// Finding is a change that was found.
type Finding struct {
	Metric Metric
	Stage  Stage
	At     time.Duration // when it was found
	Since  time.Duration // when it began, about
	Was    float64       // the level before, in units of the metric
	Now    float64       // the level since; of suspicions that of the last block
	// Confidence is the share of such findings that are right, as far as the test
	// can tell; 0: not known.
	Confidence float64
	Likely     string // why, a cause of those below; "" when it cannot be told
}

// What a finding may name as likely.
const (
	PathChange    = "path-change"    // the round trip time stepped, too
	LossRise      = "loss-rise"      // losses rose while the path was not full
	LessAvailable = "less-available" // the path is full with less of ours
	Disk          = "disk"           // a disk began to hold the transfer back
	CPU           = "cpu"            // a processor did
)

// Sample is what is known of a transfer at an instant. Counts are of the whole
// job and never fall; those that nobody takes stay 0.
type Sample struct {
	At        time.Duration // since the job's start; rises
	Bytes     int64         // that arrived
	RTT       time.Duration // now; 0: not measured
	Segments  int64         // sent
	Lost      int64         // of them lost
	Losses    int64         // loss events: losses within one round trip are one
	Saturated bool          // the path's queue is long
	LimitedBy string        // as in events.Progress; "" or "unknown": not known
}

// Constants of the watch.
const (
	// blockLen is over what rates are averaged: shorter ones show the batches in
	// which confirmations come.
	blockLen = time.Second
	// rttBlock is over what round trip times are taken together: a queue fills and
	// empties meanwhile.
	rttBlock = 10 * time.Second
	// absence is between two samples where the one who takes them did not run.
	absence = 5 * time.Second
	// told is for how long nothing more is told of a metric, at first. It doubles
	// up to toldMost while changes go on: a path that goes up and down all day is
	// told of a few times.
	told     = time.Minute
	toldMost = time.Hour
	// limitsBack is before how many blocks a change of what limits the rate is
	// seen as the cause of one of the rate.
	limitsBack = 10
	// together is within what two changes have one cause.
	together = time.Minute
)

// Watch looks at one job. The zero value is ready; it learns for 40 s and needs
// samples about every 250 ms. It belongs to one goroutine.
type Watch struct {
	last    Sample
	any     bool
	live    bool
	begin   Sample // of the block, with bytes at its very beginning
	bytes   float64
	resume  time.Duration // nothing is tested before
	rate    level
	loss    losses
	rtt     roundTrip
	least   time.Duration // of the round trip times of this RTT block
	most    time.Duration
	rttFrom time.Duration
	stepped time.Duration      // when the round trip time stepped last; 0: never
	rose    time.Duration      // when losses rose last
	limits  [limitsBack]string // what limited the rate of the latest calm blocks
	blocks  int                // calm ones
	cause   string             // of the suspicion that is being tried
	silent  map[Metric]silence
	open    bool // a drop of the rate was told, and not that it is over
}

// silence is when a metric was told of last, and for how long no more.
type silence struct {
	at, gap time.Duration
}

// Suspend tells that what happens until an instant has a known cause, such as
// another number of streams: it is neither learned from nor tested.
func (w *Watch) Suspend(until time.Duration) {
	w.resume = max(w.resume, until)
	w.rate.pause()
	w.loss.pause()
}

// Add takes the next sample and returns what was found, which is seldom
// anything.
func (w *Watch) Add(s Sample) []Finding {
	last := w.last
	w.last = s
	switch {
	case !w.any:
		w.any = true
		w.start(s)
		return nil
	case s.At-last.At > absence:
		w.start(s)
		w.Suspend(s.At + blockLen)
		return nil
	case !w.live:
		// The wait for the first byte is not part of the rate.
		w.live = s.Bytes > last.Bytes
		w.start(s)
		return nil
	}
	found := w.addRTT(s)
	for end := w.begin.At + blockLen; end <= s.At; end += blockLen {
		share := float64(end-last.At) / float64(s.At-last.At)
		bytes := float64(last.Bytes) + float64(share*float64(s.Bytes-last.Bytes))
		found = append(found, w.block(end, s, bytes-w.bytes)...)
		w.begin, w.bytes = s, bytes
		w.begin.At = end
	}
	return found
}

// start begins a block at s.
func (w *Watch) start(s Sample) {
	w.begin, w.bytes = s, float64(s.Bytes)
	w.least, w.most, w.rttFrom = 0, 0, s.At
}

// block tests a block that ended at end.
func (w *Watch) block(end time.Duration, s Sample, rate float64) []Finding {
	if end <= w.resume {
		return nil
	}
	var found []Finding
	events, lost, sent := s.Losses-w.begin.Losses, s.Lost-w.begin.Lost, s.Segments-w.begin.Segments
	share := 0.0
	if sent > 0 {
		share = float64(lost) / float64(sent)
	}
	before := w.loss.mean
	if v, since := w.loss.add(float64(events), share); v != calm {
		f := Finding{Metric: Loss, At: end, Since: end - time.Duration(since)*blockLen, Was: before, Now: math.Max(w.loss.mean, float64(events)), Likely: likelyLoss(s)}
		if v == confirmed {
			f.Stage, f.Confidence, w.rose = Confirmed, lossSure, end
		}
		found = w.tell(found, f)
	}
	was, known := w.rate.n.mean, w.rate.know
	v, since := w.rate.add(math.Log(math.Max(1, rate)))
	if known && v == calm && w.rate.test == nil {
		w.limits[w.blocks%limitsBack] = s.LimitedBy
		w.blocks++
	}
	f := Finding{Metric: Rate, At: end, Since: end - time.Duration(since)*blockLen, Was: math.Exp(was), Now: rate}
	switch v {
	case suspected:
		w.cause = w.likely(s, end)
		f.Likely = w.cause
	case risen:
		return found
	case confirmed:
		f.Stage, f.Confidence, f.Now, f.Likely = Confirmed, 1-falseShare, math.Exp(w.rate.n.mean), cmp.Or(w.likely(s, end), w.cause)
	case recovered:
		f.Stage, f.Now = Over, math.Exp(w.rate.n.mean)
	default:
		return found
	}
	return w.tell(found, f)
}

// addRTT tests the round trip time when enough of them have come.
func (w *Watch) addRTT(s Sample) []Finding {
	if s.RTT > 0 && (w.least == 0 || s.RTT < w.least) {
		w.least = s.RTT
	}
	w.most = max(w.most, s.RTT)
	if s.At-w.rttFrom < rttBlock {
		return nil
	}
	least, most := w.least, w.most
	w.least, w.most, w.rttFrom = 0, 0, s.At
	if s.At <= w.resume {
		return nil
	}
	ok, was := w.rtt.add(least, most)
	if !ok {
		return nil
	}
	w.stepped = s.At
	return w.tell(nil, Finding{Metric: RTT, Stage: Confirmed, At: s.At, Since: s.At - stepBlocks*rttBlock, Was: was.Seconds(), Now: w.rtt.low.Seconds(), Likely: PathChange})
}

// tell adds a finding, unless as much was told of its metric lately.
func (w *Watch) tell(found []Finding, f Finding) []Finding {
	switch f.Stage {
	case Over:
		if !w.open {
			return found
		}
		w.open = false
	case Confirmed:
		q, before := w.silent[f.Metric]
		since := f.At - q.at
		switch {
		case !before:
			q.gap = told
		case since < q.gap:
			return found
		case since < 4*q.gap:
			q.gap = min(2*q.gap, toldMost)
		default:
			q.gap = told
		}
		if w.silent == nil {
			w.silent = make(map[Metric]silence)
		}
		q.at = f.At
		w.silent[f.Metric] = q
		w.open = w.open || f.Metric == Rate
	}
	return append(found, f)
}

// likely names the cause of a drop, if something else changed with it.
func (w *Watch) likely(s Sample, at time.Duration) string {
	before := w.limits[w.blocks%limitsBack]
	near := func(t time.Duration) bool { return t > 0 && at-t < together }
	switch {
	case near(w.stepped):
		return PathChange
	case s.LimitedBy != before && (s.LimitedBy == "source disk" || s.LimitedBy == "target disk"):
		return Disk
	case s.LimitedBy != before && (s.LimitedBy == "source cpu" || s.LimitedBy == "target cpu"):
		return CPU
	case s.Saturated:
		return LessAvailable
	case near(w.rose) || w.loss.told:
		return LossRise
	}
	return ""
}

func likelyLoss(s Sample) string {
	if s.Saturated {
		return LessAvailable
	}
	return LossRise
}

// causes are the words for what a finding may name.
var causes = map[string]string{
	PathChange:    "the path has changed",
	LossRise:      "packets get lost while no queue is full",
	LessAvailable: "others use the path, too",
	Disk:          "a disk holds it back",
	CPU:           "a processor holds it back",
}

// Words says what was found, on one line and without a full stop.
func (f Finding) Words() string {
	ago := (f.At - f.Since).Round(time.Second)
	var s string
	switch {
	case f.Metric == Rate && f.Stage == Over:
		return fmt.Sprintf("the rate is back at %s", bits(f.Now))
	case f.Metric == Rate && f.Now > f.Was:
		s = fmt.Sprintf("the rate rose from %s to %s", bits(f.Was), bits(f.Now))
	case f.Metric == Rate:
		s = fmt.Sprintf("the rate fell from %s to %s, %d%% less,", bits(f.Was), bits(f.Now), int(math.Round(100*(1-f.Now/f.Was))))
	case f.Metric == RTT:
		s = fmt.Sprintf("the round trip went from %.3g ms to %.3g ms", 1000*f.Was, 1000*f.Now)
	default:
		s = fmt.Sprintf("losses rose from %.2g to %.2g a second", f.Was, f.Now)
	}
	s += fmt.Sprintf(" about %v ago", ago)
	if c := causes[f.Likely]; c != "" {
		s += ": " + c
	}
	return s
}

func bits(rate float64) string { return units.FormatRate(units.Rate(math.Max(0, rate)), true) }
