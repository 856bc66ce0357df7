package udt

import (
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
)

// TestReportLost: the only report of a loss is lost, as libraries give no other,
// and later ones come. The packet is sent again long before all else is done.
func TestReportLost(t *testing.T) {
	s, a, b := made(t, 1, netsim.Params{Delay: 25 * ms, Rate: 12.5e6}, Config{})
	const early, late = 500, 1500
	drop := map[int64]bool{early: true, late: true}
	a.filter = func(h header, _ []byte) bool {
		if h.control() {
			return true
		}
		pos := a.c.isn.to(h.seq())
		first := drop[pos]
		delete(drop, pos)
		return !first
	}
	named := make(map[seq]bool)
	b.filter = func(h header, body []byte) bool {
		if !h.control() || h.kind() != kindNak {
			return true
		}
		l, err := parseNak(nil, body)
		if err != nil {
			t.Fatal(err)
		}
		first := l[0].first
		again := named[first]
		named[first] = true
		return !again && first != a.c.isn.add(early)
	}
	want := noise(1, 20<<20)
	a.give(want)
	s.run(time.Minute, "repair", func() bool { return b.c.recv.next > late })
	if len(a.toSend) == 0 {
		t.Errorf("nothing was repaired until all was written: %v", a)
	}
	s.run(time.Minute, "the rest", func() bool { return len(b.got) == len(want) })
	mustEqual(t, "bytes", b.got, want)
}
