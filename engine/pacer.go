package engine

import (
	"math"
	"time"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/tuner/pace"
)

// Headers of a full segment of TCP on Ethernet: 14 bytes of Ethernet, 20 of IPv4, 32 of
// TCP with timestamps. What a limit counts are bytes as an interface counts them.
const headers = 66

// onWire is what n bytes of payload are on an interface.
func onWire(n int64) int64 { return n + n*headers/segment }

// payload is what of a rate on an interface is payload.
func payload(rate int64) int64 { return int64(float64(rate) * segment / (segment + headers)) }

const (
	// paceEvery is how often the rate is divided anew.
	paceEvery = 250 * time.Millisecond
	// paceRoom is by how much sockets may be faster than the limit: it is the turns of
	// frames that keep the mean, sockets only make what goes in a frame even.
	paceRoom = 1.008
	// unpaced is a pacing rate that no stream comes to, which takes a lower one away.
	unpaced = math.MaxInt64
	// frameTime is how long one frame may take on a stream under a limit: with more
	// streams it takes long until all are in step, and each confirms little. Streams
	// that do not come to the limit are more useful in greater number, up to
	// frameTimeMost, beyond which each would seem to stall.
	frameTime     = 500 * time.Millisecond
	frameTimeMost = 2 * time.Second
	// In a chain each host passes a frame on when it has all of it, so several that come
	// side by side are late together. Up to lineRate one stream does on a path of up to
	// lineRTT.
	lineRate = 64 << 20
	lineRTT  = 2 * time.Millisecond
)

// pacer divides a rate among the sockets. It belongs to the ticker.
type pacer struct {
	trim  int64     // bytes per second of payload, from the retuner; 0: none
	on    bool      // sockets have a rate
	total int64     // which is divided
	held  time.Time // when a stream had to wait for the limit last
	waits time.Duration
	goal  int64 // limit that the rate was on the way to
	loose bool  // so few streams did not come to the limit
	at    time.Time
	seen  map[uint32]paced
	used  []float64
	had   []float64
	parts []float64
}

// paced is what is known of a stream.
type paced struct {
	sent    int64 // bytes, as far as the socket has let them go
	retrans int64
	rate    int64 // bytes per second that it may have
}

// pace holds the sockets to the limit. Without one it has nothing to do.
func (s *Source) pace(now time.Time) {
	s.limit.step()
	if s.common.Limit != nil {
		s.common.Limit.l.step()
	}
	p := &s.pacer
	total := p.trim
	rate, goal := s.limit.rates()
	if rate > 0 && !s.paths.Local {
		if l := int64(paceRoom * float64(payload(rate))); total == 0 || l < total {
			total = l
		}
	}
	s.fitStreams(now, rate, goal)
	if total == 0 && !p.on {
		return
	}
	list := s.streams.list()
	if total == p.total && now.Sub(p.at) < paceEvery && len(list) == len(p.seen) {
		return
	}
	s.dividePace(now, total, list)
}

func (s *Source) dividePace(now time.Time, total int64, list []*sendStream) {
	p := &s.pacer
	span := now.Sub(p.at).Seconds()
	seen := make(map[uint32]paced, len(list))
	p.used, p.had = p.used[:0], p.had[:0]
	again := int64(0)
	for _, ss := range list {
		st := ss.st.Stats()
		v := paced{sent: st.SentBytes - st.NotSent, retrans: st.Retrans, rate: p.seen[ss.id].rate}
		used, had := 0.0, 0.0
		if last, known := p.seen[ss.id]; known && span > 0 {
			again += v.retrans - last.retrans
			used = float64(v.sent-last.sent) / span
			if st.NotSent > 0 {
				// Whole segments are seen, and those of loopback have 64 KiB: one
				// that waits may be due.
				used += float64(2*st.MSS) / span
			}
			if last.rate != unpaced {
				had = float64(last.rate)
			}
		}
		p.used, p.had = append(p.used, used), append(p.had, had)
		seen[ss.id] = v
	}
	s.limit.charge(onWire(again * segment))
	p.parts = pace.Split(float64(total), p.used, p.had, p.parts)
	for i, ss := range list {
		rate := int64(unpaced)
		if total > 0 {
			rate = max(1, int64(p.parts[i]))
		}
		v := seen[ss.id]
		if d := math.Abs(float64(rate - v.rate)); v.rate == 0 || d > 0.02*float64(rate) {
			// A refusal leaves the stream as fast as it was; the turns of frames
			// keep the limit then.
			_ = ss.st.Retune(transports.Settings{PacingRate: rate})
			v.rate = rate
			seen[ss.id] = v
		}
	}
	p.on, p.total, p.at, p.seen = total > 0, total, now, seen
}

// fitStreams keeps the streams so few that each still moves under a limit of rate
// bytes per second, on the way to goal.
func (s *Source) fitStreams(now time.Time, rate, goal int64) {
	p := &s.pacer
	waits := s.work.limited.Total(0)
	if waits != p.waits || goal != p.goal {
		p.held = now
	}
	if goal != p.goal {
		p.loose = false
	}
	p.waits, p.goal = waits, goal
	most := 0
	if rate > 0 {
		p.loose = p.loose || now.Sub(p.held) > frameTimeMost
		each := frameTime
		if p.loose {
			each = frameTimeMost
		}
		most = int(max(1, min(float64(rate)*each.Seconds()/DefaultBlock, maxStreams)))
		if s.opts.Rehash && !p.loose && rate <= lineRate && s.pathRTT() <= lineRTT {
			most = 1
		}
	}
	x := &s.streams
	x.mu.Lock()
	changed := x.most != most
	x.most = most
	x.mu.Unlock()
	if changed {
		x.poke()
	}
}
