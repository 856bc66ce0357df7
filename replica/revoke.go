package replica

import (
	"time"

	"github.com/gomover/gomover/internal/rangeset"
)

// Revoke says that blocks which were stored are not what they must be, as it was
// learned later. They go back. id is the source they came from; less than 0 when
// they were there before, and nobody is to blame. A source whose blocks are wrong
// twice is out.
func (s *Sched) Revoke(now time.Duration, id SourceID, e rangeset.Extent) {
	e = s.clip(e)
	var back []rangeset.Extent
	for at := e.Lo; at < e.Hi; {
		hole := rangeset.Extent{Lo: e.Hi, Hi: e.Hi}
		for part := range s.done.Missing(at, e.Hi) {
			hole = part
			break
		}
		if at < hole.Lo {
			back = append(back, rangeset.Extent{Lo: at, Hi: hole.Lo})
		}
		at = hole.Hi
	}
	n := int64(0)
	for _, part := range back {
		s.done.Remove(part.Lo, part.Hi)
		s.free.Add(part.Lo, part.Hi)
		n += s.bytes(part)
	}
	s.replan = true
	c := s.known(id)
	if c == nil || n == 0 {
		return
	}
	s.kept -= min(s.kept, n)
	c.stored -= min(c.stored, n)
	c.barred.Add(e.Lo, e.Hi)
	if c.strikes++; c.strikes >= maxStrikes {
		s.Gone(now, id, "sends wrong bytes")
	}
}
