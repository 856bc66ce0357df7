package udt

import (
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/transports/internal/cc"
)

// TestTakesOver: a connection that begins beside TCP connections which losses hold back
// has most of the link half a second after its first packet, if it knows what was seen,
// and all of it as soon as they are gone.
func TestTakesOver(t *testing.T) {
	const rtt = 100 * ms
	s := newShared(t, 500, rtt, 0.001)
	s.lumps = 200 * time.Microsecond
	var tcp []*netsim.Flow
	for range 12 {
		tcp = append(tcp, s.tcp(netsim.CUBIC, rtt, 0))
	}
	f := s.add("bbr", rtt, 2*sec)
	s.w.At(2*sec+2*rtt+50*ms, func() {
		c := f.a.c
		c.fill(s.w.Now())
		c.control.(cc.Resumer).Resume(&c.stats, units.Rate(0.5*float64(s.rate)))
		c.learn()
		f.a.pump()
	})
	s.w.At(4*sec, func() {
		for _, f := range tcp {
			f.Stop()
		}
	})
	s.w.Run(2800 * ms)
	before := f.a.c.send.sampler.Delivered() // what is behind a gap counts, too
	s.w.Run(3800 * ms)
	had := float64(f.a.c.send.sampler.Delivered()-before) / float64(s.rate)
	t.Logf("%.3f of the link beside TCP", had)
	if had < 0.5 {
		t.Errorf("%.3f of the link from half a second after its first packet on, want half beside TCP", had)
	}
	l := s.shares(4200*ms, 6*sec)
	n := f.a.c.count
	t.Logf("%.3f of the link behind the others; of %d packets %d lost, rtt %v", l, n.Sent, n.Lost, f.a.c.stats.RTT)
	if l[0] < 0.9 {
		t.Errorf("%.3f of the link when the others have gone, want 0.9", l)
	}
	if n.Lost > n.Sent/20 {
		t.Errorf("of %d packets %d were lost", n.Sent, n.Lost)
	}
}
