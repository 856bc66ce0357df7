package retune

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Constants of the rules. Ours, from simulation. Of a pair of times, the first is
// how long a rule waits after it was right, the second how long at most after it was
// wrong again and again.
const (
	pruneLeast   = 5 * time.Second
	pruneMost    = 60 * time.Second
	pruneLook    = 1500 * time.Millisecond // at what is before
	pruneFirst   = 4                       // by what the streams are divided at first, and
	pruneLater   = 2                       // after that was too much
	pruneEnough  = 4                       // streams that no end is hurt by
	bbrLeast     = 10 * time.Second
	bbrMost      = 5 * time.Minute
	trimLeast    = 30 * time.Second
	trimMost     = 2 * time.Minute
	liftLeast    = 10 * time.Second
	liftMost     = time.Minute
	neededFor    = time.Minute // streams that losses were seen to hold back stay for so long
	exploreLeast = 10 * time.Second
	exploreMost  = 160 * time.Second
	hasteLeast   = 5 * time.Second
	priceFirst   = 8 * time.Second
	priceAlone   = 20 * time.Second // while nobody else is known to be there
	priceLeast   = 4 * time.Second
	priceMost    = time.Minute

	windowAll  = 0.8                  // of the time that streams wait for a window: nothing else holds them back
	farAway    = 2 * time.Millisecond // round trip, below which losses hardly matter
	strayQueue = 1.2                  // of the round trip without a queue, up to which a loss is none of the queue's

	priceStep   = 0.2  // of the streams, at most, in one trial on a full path
	freeStreams = 8    // that cost nothing on a full path
	streamPrice = 0.02 // of each further one, in ln of the rate
)

// propose asks the rules, the most certain first.
func (p *Policy) propose(class Class, rec, all *Record) *trial {
	if p.vain > 0 && p.now-p.vainAt > forgetVain {
		p.vain = 0
	}
	switch {
	case class == Limit:
		return nil
	case class.AtEnd():
		return p.atEnd(class, all)
	}
	if t := p.liftCap(rec); t != nil {
		return t
	}
	p.relax(rec)
	switch class {
	case ReceiverWindow, SendBuffer:
		return p.widen(class, rec)
	case Losing:
		p.needed, p.neededAt = p.set.Streams, p.now
		if t := p.avoidLoss(rec); t != nil {
			return t
		}
		return p.outgrowLoss(rec, all)
	case Saturated:
		if t := p.doubt(rec); t != nil {
			return t
		}
	}
	if t := p.hasten(class, rec); t != nil {
		return t
	}
	if t := p.venture(class, rec, all); t != nil {
		return t
	}
	if class == Saturated || p.set.CC == "bbr" && all.Queue > queueEmpty {
		if t := p.trimLoss(all); t != nil {
			return t
		}
		return p.bargain(all)
	}
	return nil
}

// streams makes a trial of another number of streams.
func (p *Policy) streams(k kind, n int, before *Record, reason string) *trial {
	next := p.set
	next.Streams = n
	return &trial{kind: k, next: next, before: *before, reason: reason}
}

// atEnd takes streams away that an end cannot feed: each costs memory, and on
// most machines time. More of them help only a sender whose one stream keeps one
// processor busy while others are idle.
func (p *Policy) atEnd(class Class, all *Record) *trial {
	n := p.set.Streams
	if (class == SourceCPU && all.Source.Own < 0.6 && all.Source.Core > hotCore || class == TargetCPU && all.Sink.Own < 0.6 && all.Sink.Core > hotCore) && p.vain < firstStreak {
		if more := p.bound(n+max(1, n/2), false); more > n {
			return p.streams(grow, more, all, "one processor is busy and others are idle")
		}
	}
	fewer := p.bound(max(2, n/p.divisor), false)
	if n <= pruneEnough || fewer >= n || !p.prune.due(p.now) || all.Span < pruneLook {
		return nil
	}
	return p.streams(shrink, fewer, all, fmt.Sprintf("%s is the limit, which no number of streams moves", class))
}

// relax lets go of a belief when nothing pushes back: no queue although as much
// is moved as was thought possible.
func (p *Policy) relax(rec *Record) {
	if p.belief == 0 || !rec.Known.Has(KnownRTT) || rec.Queue > queueEmpty || rec.Rate < belowBelief*p.belief {
		return
	}
	if rec.Events == 0 && rec.Wnd == 0 || p.vain > 0 {
		return // growing by itself, or known not to
	}
	p.belief = 0
}

// widen opens streams where windows hold back.
func (p *Policy) widen(class Class, rec *Record) *trial {
	if p.vain >= firstStreak || p.belief > 0 && rec.Rate > 0.95*p.belief {
		return nil
	}
	n := p.set.Streams
	more := 2 * n
	if rec.Queue == 0 && rec.Wnd > windowAll {
		more = 3 * n // there is room for what they bring
	}
	if p.belief > 0 {
		more = min(4*n, int(math.Ceil(1.03*p.belief/rec.Rate*float64(n))))
	}
	if more = p.bound(more, false); more <= n {
		return nil
	}
	return p.streams(grow, more, rec, fmt.Sprintf("each stream fills its %s", class))
}

// avoidLoss changes to bbr, which does not slow down for losses that no queue
// caused.
func (p *Policy) avoidLoss(all *Record) *trial {
	if !p.canBBR() || !p.bbr.due(p.now) {
		return nil
	}
	next := p.set
	next.CC = "bbr"
	return &trial{kind: control, next: next, before: *all, reason: fmt.Sprintf("%.2g%% of segments are lost while the queue is empty", 100*all.Loss())}
}

// notice changes to bbr as soon as two samples have losses that no queue caused: each
// costs streams that take them for a queue a third of their rate, while it takes
// seconds until enough is seen to be sure. What is lost at the end of slow start comes
// with a long queue. Near by, a loss is made good before it is felt.
func (p *Policy) notice(s *Sample) *trial {
	if p.trial != nil || p.now < p.muted || !p.canBBR() || !p.bbr.due(p.now) || !s.Known.Has(KnownRTT|KnownLoss) || s.Events == 0 {
		return nil
	}
	base := s.MinRTT
	if base == 0 || p.rebased || p.base > 0 && p.base < base {
		base = p.base
	}
	if base < farAway || float64(s.RTT) >= strayQueue*float64(base) {
		return nil
	}
	if p.strays++; p.strays < 2 {
		return nil
	}
	p.strays = 0
	before := Reduce(append(slices.Clip(p.win.last(p.period())), *s), p.trip())
	next := p.set
	next.CC = "bbr"
	return &trial{kind: control, next: next, before: before, reason: fmt.Sprintf("segments are lost while the queue is empty (rtt %.3g ms of at least %.3g)", msec(s.RTT), msec(base))}
}

func msec(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// outgrowLoss opens as many streams as fill the path although each is held back
// by losses.
func (p *Policy) outgrowLoss(rec, all *Record) *trial {
	n := p.set.Streams
	if p.set.CC == "bbr" || p.vain >= firstStreak {
		return nil
	}
	share := (float64(rec.Events) + 0.3) / float64(max(1, rec.Segs))
	each := cubicRate(share, rec.RTT, p.c.MSS)
	if all.Span > 15*all.RTT+2*time.Second {
		each = min(max(rec.Rate/float64(n), 0.3*each), 3*each)
	}
	want := 2.5 * float64(n)
	if p.belief > 0 {
		want = min(max(1.05*p.belief/each, 1.25*float64(n)), 2*want)
	}
	more := p.bound(int(math.Ceil(want)), true)
	if more <= n {
		return nil
	}
	return p.streams(grow, more, rec, fmt.Sprintf("losses without a queue hold each stream at %.1f Mbit/s", rec.Rate/float64(n)*8/1e6))
}

// venture opens streams when nothing explains why the job is no faster, and it
// has not changed for long: something unseen may limit each stream, as a policer
// does. While that pays it goes on.
func (p *Policy) venture(class Class, rec, all *Record) *trial {
	if class != Unknown || p.goal > 0 || !rec.Known.Has(KnownRTT) || rec.Queue > queueEmpty || p.vain >= firstStreak || p.belief > 0 && rec.Rate > belowBelief*p.belief {
		return nil
	}
	steady := all.Span >= exploreLeast && all.SE < 0.03 && !all.Rising && all.Events == 0
	if !p.paid && (!steady || !p.explore.due(p.now)) {
		return nil
	}
	more := p.bound(p.set.Streams+max(1, p.set.Streams/2), false)
	if more <= p.set.Streams {
		return nil
	}
	p.explore.next(p.now, p.paid, exploreLeast, exploreMost)
	p.paid = false
	return p.streams(grow, more, rec, "nothing seen explains why it is no faster")
}

// hasten opens streams when a path has become faster: its queue has gone although
// more gets through than when it was full. An old stream takes seconds to find
// what there is, while the window of a new one doubles each round trip.
func (p *Policy) hasten(class Class, rec *Record) *trial {
	if class != Growing && class != Unknown || p.set.CC == "bbr" || p.vain >= firstStreak || !p.haste.due(p.now) {
		return nil
	}
	if p.filled == 0 || rec.Rate < 1.15*p.filled || rec.Queue > queueEmpty || p.now-p.fullAt < max(time.Second, 10*p.base) {
		return nil
	}
	if cubicPeriod(rec.Cwnd, p.c.MSS) < 3*time.Second {
		return nil
	}
	more := p.bound(p.set.Streams*2, false)
	if more <= p.set.Streams {
		return nil
	}
	p.haste.next(p.now, true, hasteLeast, hasteLeast)
	return p.streams(grow, more, rec, "the path has become faster, and old streams find that slowly")
}

// fallen tells whether the job has become slower by a quarter and the round trip
// longer by a fifth since it was steady.
func (p *Policy) fallen(rec *Record) bool {
	return p.steady.Rate > 0 && rec.Rate < 0.75*p.steady.Rate && float64(rec.Least) > 1.2*float64(p.steady.Least)
}

// doubt tries more streams when the path looks full, and slower than before, from
// one moment to the next. Either others have come, or the link has become slower,
// and it is full; or the way has become longer, and each stream carries less.
// More streams help in the second case only.
func (p *Policy) doubt(rec *Record) *trial {
	if !p.fallen(rec) || p.vain >= firstStreak {
		return nil
	}
	n := p.set.Streams
	more := p.bound(n+max(2, n/2), false)
	if more <= n {
		return nil
	}
	p.steady = Record{}
	return p.streams(grow, more, rec, "slower since the round trip has become longer: the path is full, or longer")
}

// cost is what n streams cost on a full path, in ln of the rate that they must
// bring: nothing for those that any transfer may have, and the same for each
// further one.
func (p *Policy) cost(n int) float64 {
	price := streamPrice
	if p.c.Priority == Bold {
		price /= 4
	}
	return price * float64(max(0, n-freeStreams))
}

// bargain tries a few streams more or less on a full path.
func (p *Policy) bargain(all *Record) *trial {
	if !p.price.due(p.now) || !(all.Span > 3*time.Second && all.SE < 0.03 || all.Span > 10*time.Second) || all.Wnd > windowShare {
		return nil
	}
	n := p.set.Streams
	next := n + p.price.dir*max(1, int(math.Round(p.price.step*float64(n))))
	if p.price.dir < 0 {
		next = max(next, min(n, freeStreams))
		if p.now-p.neededAt < neededFor && 4*next < 5*p.needed {
			next = n
		}
	}
	if next = p.bound(next, n > mostFair); next == n {
		p.price.at = p.now + priceMost
		p.price.dir = -p.price.dir
		return nil
	}
	reason := "the path is full: fewer streams might do"
	if next > n {
		reason = "the path is full: more streams might get a larger share"
	}
	return p.streams(pay, next, all, reason)
}

// trimLoss limits bbr streams that push each other into losses.
func (p *Policy) trimLoss(all *Record) *trial {
	if p.set.CC != "bbr" || p.set.Rate > 0 || !p.trim.due(p.now) || all.Span < 5*time.Second || all.Loss() < p.leastBad+0.02 {
		return nil
	}
	next := p.set
	next.Rate = int64(0.97 * all.Rate)
	return &trial{kind: trim, next: next, before: *all, reason: fmt.Sprintf("%.1f%% of segments are sent again", 100*all.Loss())}
}

// liftCap raises or takes away a limit of the rate that the job no longer needs.
func (p *Policy) liftCap(rec *Record) *trial {
	if p.set.Rate == 0 || !p.lift.due(p.now) {
		return nil
	}
	next := p.set
	next.Rate = int64(1.06 * float64(p.set.Rate))
	return &trial{kind: lift, next: next, before: *rec, reason: "there may be more room by now"}
}
