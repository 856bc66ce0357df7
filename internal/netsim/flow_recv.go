package netsim

import (
	"slices"
	"time"
)

// delayedAck is how long an acknowledgement waits for a second segment. Unit:
// time. Source: Linux, TCP_DELACK_MIN.
const delayedAck = 40 * time.Millisecond

// span is a range of segments, its end excluded.
type span struct{ from, to int64 }

// spans are disjoint ranges in ascending order, not touching each other.
type spans []span

// find gives the index of the first range that ends at or behind seq.
func (s spans) find(seq int64) int {
	low, high := 0, len(s)
	for low < high {
		if mid := (low + high) / 2; s[mid].to < seq {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// add puts a range in, and gives the range that it is now part of.
func (s *spans) add(n span) span {
	l := *s
	i := l.find(n.from)
	end := i
	for ; end < len(l) && l[end].from <= n.to; end++ {
		n.from, n.to = min(n.from, l[end].from), max(n.to, l[end].to)
	}
	switch end - i {
	case 0:
		*s = slices.Insert(l, i, n)
	default:
		l[i] = n
		*s = slices.Delete(l, i+1, end)
	}
	return n
}

// dropBelow takes out everything below seq.
func (s *spans) dropBelow(seq int64) {
	l := *s
	i := 0
	for i < len(l) && l[i].to <= seq {
		i++
	}
	if i > 0 {
		l = slices.Delete(l, 0, i)
	}
	if len(l) > 0 && l[0].from < seq {
		l[0].from = seq
	}
	*s = l
}

// receiver is the receiving end of a flow.
type receiver struct {
	cum     int64 // segments that arrived in order
	early   spans // what arrived out of order
	recent  [3]span
	waiting int           // segments not yet acknowledged
	echo    time.Duration // of the segment to be answered
}

// receive handles a segment. One out of order is answered at once (RFC 5681,
// section 4.2).
func (f *Flow) receive(s *segment) {
	r := &f.recv
	r.waiting++
	if r.waiting == 1 {
		r.echo = s.sent
	}
	switch {
	case s.seq == r.cum && len(r.early) == 0:
		r.cum++
		if r.waiting < f.config.AckEvery && r.cum != f.total {
			if _, set := f.delayed.Deadline(); !set {
				f.delayed.Reset(f.w.now + delayedAck)
			}
			return
		}
	case s.seq == r.cum:
		r.cum++
		if r.early[0].from == r.cum {
			r.cum = r.early[0].to
		}
		r.early.dropBelow(r.cum)
		r.echo = s.sent
	case s.seq > r.cum:
		r.note(r.early.add(span{s.seq, s.seq + 1}))
		r.echo = s.sent
	default:
		r.echo = s.sent
	}
	f.acknowledge()
}

// note puts the newest range in front of those that are reported; older ones
// follow, unless they are part of it (RFC 2018, section 4).
func (r *receiver) note(n span) {
	old := r.recent
	r.recent = [3]span{n}
	i := 1
	for _, o := range old {
		if i < len(r.recent) && (o.from < n.from || o.to > n.to) && o.to > r.cum {
			r.recent[i] = o
			i++
		}
	}
}

// acknowledge answers what has arrived.
func (f *Flow) acknowledge() {
	r := &f.recv
	f.delayed.Stop()
	r.waiting = 0
	p := f.w.obtain()
	p.flow, p.from, p.to, p.route, p.size = f, f.to, f.from, f.back, f.config.Header
	p.seg = segment{ack: true, seq: r.cum, sent: r.echo}
	if len(r.early) > 0 {
		p.seg.sack = r.recent
	} else {
		r.recent = [3]span{}
	}
	f.w.send(p)
}
