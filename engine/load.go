package engine

import (
	"sync/atomic"
	"time"

	"github.com/gomover/gomover/internal/stopwatch"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/wire"
)

// busy sums what the streams of an end spend their time on.
type busy struct {
	disk, idle, limited stopwatch.Sum
	held                stopwatch.Sum // by Common.Hold
	sync                stopwatch.Sum // at the sink, beside its streams
	sent, packed        atomic.Int64  // payload bytes; those of small files among them
	delay               delays
	// processors fills in what this process uses of the processors; nil: as the
	// system tells. Tests in virtual time have real processors beside their clock.
	processors func(*wire.Report)
}

// fill adds to a report what this process uses of the processors. One goroutine at a
// time.
func (b *busy) fill(r *wire.Report) {
	if b.processors != nil {
		b.processors(r)
		return
	}
	r.CPU, r.Delay, r.Cores = processCPU(), b.delay.total(), cores()
	r.Periods, r.UsedUp = b.delay.quota()
}

// flow adds up what the kernel tells of a source's streams, those that have gone
// included. It belongs to the ticker.
type flow struct {
	net, rwnd, buf time.Duration
	losses, segs   int64         // episodes of loss; segments sent
	again          int64         // segments sent again
	retrans        int64         // the same of the streams that are there
	rtt, least     time.Duration // of the stream with the least; 0: not known
	acked          int64
	unacked        bool // something, now
	streams        int
	full           float64   // share of the time since the look before in which send buffers were the limit
	at             time.Time // of the latest look
}

// bufferFull is how many times as much of a send buffer is under way as waits in it
// when the buffer is what bounds a stream. The kernel makes its own twice as long as
// the congestion window.
const bufferFull = 8

// look takes the streams' counters.
func (f *flow) look(now time.Time, list []*sendStream) {
	passed := now.Sub(f.at)
	f.at = now
	f.rtt, f.least, f.unacked, f.retrans, f.streams = 0, 0, false, 0, len(list)
	before := f.buf
	for _, ss := range list {
		st, old := ss.st.Stats(), &ss.seen
		blocked := max(0, st.SendBlocked-old.SendBlocked)
		f.net += blocked
		f.rwnd += max(0, st.RwndLimited-old.RwndLimited)
		// The kernel counts only a part of it: with a window that has just room for
		// the buffer it takes the window for the limit.
		if own := st.BufLimited - old.BufLimited; blocked > passed/2 && st.Unacked > bufferFull*st.NotSent {
			f.buf += max(own, passed)
		} else {
			f.buf += max(0, own)
		}
		f.acked += max(0, acknowledged(&st)-acknowledged(old))
		f.segs += max(0, st.SentBytes-old.SentBytes) / segment
		if again := st.Retrans - old.Retrans; again > 0 {
			f.losses++
			f.again += again
		}
		f.retrans += st.Retrans
		if st.RTT > 0 && (f.rtt == 0 || st.RTT < f.rtt) {
			f.rtt = st.RTT
		}
		if st.MinRTT > 0 && (f.least == 0 || st.MinRTT < f.least) {
			f.least = st.MinRTT
		}
		f.unacked = f.unacked || st.Unacked > 0
		ss.seen = st
	}
	f.full = share(float64(f.buf-before)/float64(max(1, len(list))), passed)
}

// carriers are the live streams, and the one inside the link while it carries data.
func (x *streamSet) carriers() []*sendStream {
	l := x.list()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.running {
		l = append(l, x.inband)
	}
	return l
}

// acknowledged is how much of what a stream has sent the other end's kernel has. Where
// the kernel does not tell, it is what was given to it less what it still has; that comes
// in steps of whole records, which on a slow stream take seconds.
func acknowledged(st *transports.Stats) int64 {
	if st.Acked > 0 {
		return st.Acked
	}
	return st.SentBytes - st.Unacked - st.NotSent
}

// report is what a source tells of itself.
func (s *Source) report(now time.Time) wire.Report {
	f := &s.flow
	r := wire.Report{Span: int64(now.Sub(s.start)), Streams: f.streams,
		Disk: int64(s.work.disk.Total(0)), Idle: int64(s.work.idle.Total(0)), Limited: int64(s.work.limited.Total(0)), Held: int64(s.work.held.Total(0)),
		Network: int64(f.net), RwndWait: int64(f.rwnd), BufWait: int64(f.buf),
		Sent: s.work.sent.Load(), Packed: s.work.packed.Load(), Retrans: f.retrans, Again: f.again, Losses: f.losses, Segs: f.segs, RTT: int64(f.rtt), MinRTT: int64(f.least)}
	s.work.fill(&r)
	return r
}

// queueLeast and queueShare: a round trip that is longer than the least by both is
// one through a queue.
const (
	queueLeast = 1500 * time.Microsecond
	queueShare = 0.03
)

// saturated tells from the round trip that packets wait in a queue.
func saturated(rtt, least time.Duration) bool {
	return rtt > least+max(queueLeast, time.Duration(queueShare*float64(least)))
}
