package retune

import (
	"math"
	"time"
)

// windowSpan is how far back samples are kept, and windowLen how many at most:
// what is older tells of another path, and memory stays bounded whatever the
// caller's interval. Ours.
const (
	windowSpan = 20 * time.Second
	windowLen  = 400
)

// Record is what a span of samples comes to.
type Record struct {
	Span    time.Duration
	Rate    float64 // bytes acknowledged per second
	SE      float64 // standard error of ln Rate; 1 where it cannot be told
	Streams int     // at the end
	Known   Known   // groups that all samples had

	RTT    time.Duration // mean
	Least  time.Duration // least smoothed round trip in the span
	Cwnd   int64         // bytes, mean
	Queue  float64       // share of samples whose round trip tells of a queue
	Rising bool          // the second half was faster than the first, more than by chance

	Segs, Lost, Events int64
	// Stray counts the events while no queue was seen, shortly before or at the
	// time, Bad the samples that had any: no congestion caused those losses.
	Stray         int64
	Bad           int
	Wnd, Snd, App float64
	Source, Sink  End
}

// Loss is the share of segments that were sent again.
func (r *Record) Loss() float64 {
	if r.Segs == 0 {
		return 0
	}
	return float64(r.Lost) / float64(r.Segs)
}

// window keeps the samples since the last change.
type window struct {
	list []Sample
}

func (w *window) add(s Sample) {
	w.list = append(w.list, s)
	cut := max(0, len(w.list)-windowLen)
	for cut < len(w.list)-1 && s.At-w.list[cut].At >= windowSpan {
		cut++
	}
	w.list = w.list[cut:]
}

// clear forgets all samples.
func (w *window) clear() { w.list = w.list[:0] }

// span is how much time the samples cover.
func (w *window) span() time.Duration {
	if len(w.list) == 0 {
		return 0
	}
	return w.list[len(w.list)-1].At - w.list[0].At + w.list[0].Span
}

// last gives the samples of the last span.
func (w *window) last(span time.Duration) []Sample {
	if len(w.list) == 0 {
		return nil
	}
	from := len(w.list) - 1
	for from > 0 && w.list[len(w.list)-1].At-w.list[from].At+w.list[from].Span < span {
		from--
	}
	return w.list[from:]
}

// eventful gives the samples of the last span, or as many more as it takes to see
// so many episodes of loss: those are rare, and old ones tell of other days.
func (w *window) eventful(span time.Duration, events int64) []Sample {
	last := w.last(span)
	from := len(w.list) - len(last)
	for i := range last {
		events -= last[i].Events
	}
	for from > 0 && events > 0 {
		from--
		events -= w.list[from].Events
	}
	return w.list[from:]
}

// queueEvidence is how much longer than the base a round trip must be to tell of
// a queue: at least 1.5 ms, which scheduling may add, and 3%.
func queueEvidence(base time.Duration) time.Duration {
	return max(1500*time.Microsecond, base*3/100)
}

// Trip is what is known of a path's round trip: Base without queues, and the
// longest that was seen of late.
type Trip struct {
	Base, Longest time.Duration
}

// queued is the round trip from which on there is a queue.
func (t Trip) queued() time.Duration { return t.Base + queueEvidence(t.Base) }

// crowded is the round trip from which on a loss is put down to the queue: it
// overflows when it is full, and a sender that smooths its round trip, and loses
// some of it, sees at least half of that.
func (t Trip) crowded() time.Duration {
	return max(t.queued(), t.Base+(t.Longest-t.Base)/2)
}

// Reduce makes a record of samples, the oldest first. No samples make an empty
// record.
func Reduce(list []Sample, trip Trip) Record {
	r := Record{SE: 1}
	if len(list) == 0 {
		return r
	}
	r.Known = KnownAll
	var sum, measured time.Duration
	var bytes int64
	var cwnd float64
	var queueAt time.Duration // when a queue was seen last
	for i := range list {
		s := &list[i]
		r.Span += s.Span
		r.Known &= s.Known
		bytes += s.Acked
		if s.Known.Has(KnownRTT) && s.RTT > 0 {
			measured += s.Span
			sum += time.Duration(float64(s.RTT) * s.Span.Seconds())
			cwnd += float64(s.Cwnd) * s.Span.Seconds()
			if r.Least == 0 || s.RTT < r.Least {
				r.Least = s.RTT
			}
			if s.RTT > trip.queued() {
				r.Queue += s.Span.Seconds()
			}
		}
		r.Segs, r.Lost, r.Events = r.Segs+s.Segs, r.Lost+s.Lost, r.Events+s.Events
		if s.Known.Has(KnownRTT) && s.RTT > trip.crowded() {
			queueAt = s.At
		}
		// A sender hears of a loss a round trip later, and RTT is smoothed.
		if s.Events > 0 && s.Known.Has(KnownRTT) && (queueAt == 0 || s.At-queueAt > 3*s.RTT+s.Span) {
			r.Stray += s.Events
			r.Bad++
		}
		r.addShares(s)
	}
	r.Streams = list[len(list)-1].Streams
	r.Rate = float64(bytes) / r.Span.Seconds()
	if m := measured.Seconds(); m > 0 {
		r.RTT = time.Duration(float64(sum) / m)
		r.Cwnd = int64(cwnd / m)
		r.Queue /= m
	}
	r.divideShares()
	r.judgeBlocks(blocks(list, max(200*time.Millisecond, 2*r.RTT)))
	return r
}

// addShares adds a sample's shares, weighted with its span.
func (r *Record) addShares(s *Sample) {
	t := s.Span.Seconds()
	r.Wnd += s.Wnd * t
	r.Snd += s.Snd * t
	r.App += s.App * t
	r.Source.add(s.Source, t)
	r.Sink.add(s.Sink, t)
}

func (r *Record) divideShares() {
	t := r.Span.Seconds()
	r.Wnd /= t
	r.Snd /= t
	r.App /= t
	r.Source, r.Sink = r.Source.scaled(1/t), r.Sink.scaled(1/t)
}

func (e *End) add(o End, t float64) {
	e.Disk += o.Disk * t
	e.CPU += o.CPU * t
	e.Core += o.Core * t
	e.Own += o.Own * t
	e.Files += o.Files * t
}

func (e End) scaled(by float64) End {
	return End{Disk: e.Disk * by, CPU: e.CPU * by, Core: e.Core * by, Own: e.Own * by, Files: e.Files * by}
}

// blocks gives ln of the rates of blocks of samples, each at least length long:
// what acknowledgements do within a round trip is not independent.
func blocks(list []Sample, length time.Duration) []float64 {
	var l []float64
	var span time.Duration
	var bytes int64
	for i := range list {
		span += list[i].Span
		bytes += list[i].Acked
		if span >= length {
			l = append(l, math.Log(max(1, float64(bytes)/span.Seconds())))
			span, bytes = 0, 0
		}
	}
	return l
}

// judgeBlocks finds the standard error of the mean of ln of the rates, and
// whether they rise.
func (r *Record) judgeBlocks(l []float64) {
	if len(l) < 4 {
		return
	}
	_, sd, corr := moments(l)
	r.SE = standardError(sd, corr, len(l))
	half := len(l) / 2
	a, sa, _ := moments(l[:half])
	b, sb, _ := moments(l[len(l)-half:])
	// Chance makes two halves differ by one and a half errors now and then.
	chance := 1.5 * math.Sqrt((sa*sa+sb*sb)/float64(half))
	r.Rising = b-a > max(math.Log(1.05), chance)
}

// moments gives mean, standard deviation and autocorrelation at lag 1, which is
// kept between 0 and 0.8.
func moments(l []float64) (mean, sd, corr float64) {
	n := float64(len(l))
	for _, v := range l {
		mean += v
	}
	mean /= n
	var square, lagged float64
	for i, v := range l {
		square += (v - mean) * (v - mean)
		if i > 0 {
			lagged += (v - mean) * (l[i-1] - mean)
		}
	}
	if n > 1 {
		sd = math.Sqrt(square / (n - 1))
	}
	if square > 0 {
		corr = min(max(lagged/square, 0), 0.8)
	}
	return mean, sd, corr
}

// standardError is that of the mean of n values which depend on their
// predecessors (the variance of an AR(1) process), at least 0.3%.
func standardError(sd, corr float64, n int) float64 {
	return max(0.003, sd/math.Sqrt(float64(n))*math.Sqrt((1+corr)/(1-corr)))
}
