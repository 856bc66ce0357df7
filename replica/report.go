package replica

import (
	"time"

	"github.com/gomover/gomover/internal/rangeset"
)

// Up says that a source is connected and has the right object. latency is the
// time from a request to its first byte, 0 if not known. It is ignored unless
// the source was told to open.
func (s *Sched) Up(now time.Duration, id SourceID, latency time.Duration) {
	c := s.known(id)
	if c == nil || c.state != Opening {
		return
	}
	if latency > 0 {
		c.Latency = latency
	}
	c.set(Active, "")
	s.replan = true
}

// Down says that the connections of a source are lost, or could not be made, and
// why in words. What it was asked for goes back; it is opened again after 1, 2,
// 4 .. 60 s, unless it is not needed any more.
func (s *Sched) Down(now time.Duration, id SourceID, why string) {
	c := s.known(id)
	if c == nil || c.state != Opening && c.state != Active {
		return
	}
	s.release(now, c)
	c.fail(now, why)
}

// Gone says that a source must not be asked again, and why in words: it changed,
// it refuses, it does not have the object.
func (s *Sched) Gone(now time.Duration, id SourceID, why string) {
	c := s.known(id)
	if c == nil || c.state == Out {
		return
	}
	if c.state == Opening || c.state == Active {
		s.order(Close, c, rangeset.Extent{})
	}
	s.release(now, c)
	c.set(Out, why)
}

// Received counts n bytes that came from a source, of whatever block.
func (s *Sched) Received(now time.Duration, id SourceID, n int64) {
	c := s.known(id)
	if c == nil || n <= 0 {
		return
	}
	s.came += n
	c.received += n
	c.bucket += float64(n)
	if t := s.joint.trial; t != nil && int(id) < len(t.bytes) {
		t.bytes[id] += float64(n)
	}
	if c.state != Active {
		return
	}
	c.heard = max(c.heard, now)
	if c.silent {
		c.silent = false
		s.replan = true
	}
	if c.left == 0 {
		return
	}
	if c.due > now {
		c.due, c.heard = now, now
	}
	c.partial = min(c.left, c.partial+n)
	c.meter.add(now, n)
}

// Void says that of the bytes that Received has counted, n belong to blocks which the
// source will not complete: they were begun and left, or are of no use to anybody.
// Without that it would seem to have less to do than it has.
func (s *Sched) Void(id SourceID, n int64) {
	if c := s.known(id); c != nil && n > 0 {
		c.partial -= min(c.partial, n)
	}
}

// Stored says that blocks came from a source, were verified, and are kept. It
// returns how many of their bytes were not there before. Blocks that the source
// was never asked for are welcome; what lies outside of the object is ignored.
func (s *Sched) Stored(now time.Duration, id SourceID, e rangeset.Extent) (fresh int64) {
	c := s.known(id)
	if e = s.clip(e); c == nil || e.Len() == 0 {
		return 0
	}
	for part := range s.done.Missing(e.Lo, e.Hi) {
		fresh += s.bytes(part)
	}
	s.done.Add(e.Lo, e.Hi)
	s.free.Remove(e.Lo, e.Hi)
	s.kept += fresh
	c.stored += fresh
	c.streak = 0
	var had int64
	c.partial -= min(c.partial, s.bytes(e))
	s.take(now, c, e, func(part rangeset.Extent) { had += part.Len() })
	if had == e.Len() && s.twice.Remove(e.Lo, e.Hi) == 0 {
		return fresh
	}
	// Somebody else was asked for some of it.
	s.twice.Remove(e.Lo, e.Hi)
	for _, o := range s.sources {
		if o != c && o.left > 0 {
			s.take(now, o, e, func(part rangeset.Extent) { s.order(Drop, o, part) })
		}
	}
	return fresh
}

// Bad says that blocks came from a source and are not what they must be. They
// go back, to another source if there is one. A source whose blocks are wrong
// twice is out.
func (s *Sched) Bad(now time.Duration, id SourceID, e rangeset.Extent) {
	c := s.known(id)
	if e = s.clip(e); c == nil || e.Len() == 0 {
		return
	}
	c.barred.Add(e.Lo, e.Hi)
	c.partial -= min(c.partial, s.bytes(e))
	s.take(now, c, e, s.giveBack)
	if c.strikes++; c.strikes >= maxStrikes {
		s.Gone(now, id, "sends wrong bytes")
	}
}
