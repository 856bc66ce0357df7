package udt

import (
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
)

// What bench/udt measures over emulated links, at rates and for times that a test
// can afford. Shares are of 0.965 of the link's rate.

const sec = time.Second

// A long path alone, from 10 s on.
func TestSimulatedLongPath(t *testing.T) {
	for _, name := range []string{"native", "bbr"} {
		t.Run(name, func(t *testing.T) {
			s := newShared(t, 200, 100*ms, 0)
			s.add(name, 100*ms, 0)
			l := s.shares(10*sec, 30*sec)
			t.Logf("%.3f of the link", l)
			if l[0] < 0.95 || l[0] > 1.01 {
				t.Errorf("%s has %.3f of the link, want 0.95", name, l)
			}
		})
	}
}

// A gigabit path that hands packets over every 200 us, as the emulator of
// bench/udt does: what the peer reports of the path's capacity is too high then.
func TestSimulatedLumps(t *testing.T) {
	s := newShared(t, 1000, 100*ms, 0)
	s.lumps = 200 * time.Microsecond
	f := s.add("native", 100*ms, 0)
	l := s.shares(10*sec, 20*sec)
	t.Logf("%.3f of the link, capacity reported as %.0f packets/s", l, f.a.c.send.capacity)
	if l[0] < 0.93 || l[0] > 1.01 {
		t.Errorf("native has %.3f of the link, want 0.93", l)
	}
}

// Random losses do not slow the model-based control, nor does it send more again
// than was lost.
func TestSimulatedLossyPath(t *testing.T) {
	s := newShared(t, 200, 100*ms, 0.01)
	f := s.add("bbr", 200*ms, 0)
	l := s.shares(10*sec, 30*sec)
	n := f.a.c.count
	t.Logf("%.3f of the link; %d packets sent, %d of them again, %d came twice", l, n.Sent, n.Resent, f.b.c.count.Duplicates)
	if l[0] < 0.85 {
		t.Errorf("%.3f of the link at 1%% of loss, want 0.85", l)
	}
	if n.Resent > n.Sent/10 || f.b.c.count.Duplicates > n.Sent/500 {
		t.Errorf("of %d packets %d were sent again, %d came twice", n.Sent, n.Resent, f.b.c.count.Duplicates)
	}
}

// Native flows share a link, also with different RTTs.
func TestSimulatedFairness(t *testing.T) {
	for _, p := range []struct {
		name       string
		queue      time.Duration
		short, far time.Duration
		want       float64
	}{
		{"same RTT", 40 * ms, 40 * ms, 40 * ms, 0.95},
		{"10 and 100 ms, short queue", 10 * ms, 10 * ms, 100 * ms, 0.9},
		{"10 and 100 ms, long queue", 100 * ms, 10 * ms, 100 * ms, 0.9},
	} {
		t.Run(p.name, func(t *testing.T) {
			s := newShared(t, 100, p.queue, 0)
			for i := range 4 {
				s.add("native", []time.Duration{p.short, p.far}[i/2], 0)
			}
			l := s.shares(20*sec, 50*sec)
			t.Logf("shares %.3f, Jain's index %.3f", l, netsim.Jain(l...))
			if netsim.Jain(l...) < p.want {
				t.Errorf("shares %.3f: Jain's index %.3f, want %.2f", l, netsim.Jain(l...), p.want)
			}
		})
	}
}

// A TCP flow keeps 30% of its half beside the native control, and nearly all
// beside the scavenger.
func TestSimulatedBesideTCP(t *testing.T) {
	for _, p := range []struct {
		name string
		want float64
	}{{"native", 0.15}, {"ledbat", 0.95}} {
		t.Run(p.name, func(t *testing.T) {
			s := newShared(t, 100, 40*ms, 0)
			s.add(p.name, 40*ms, 0)
			f := s.tcp(netsim.CUBIC, 40*ms, 0)
			s.w.Run(20 * sec)
			was := f.Stats().Delivered
			ours := s.shares(20*sec, 50*sec)
			theirs := float64(f.Stats().Delivered-was) / (30 * float64(s.rate) * 0.965)
			t.Logf("TCP has %.3f of the link, %s %.3f", theirs, p.name, ours)
			if theirs < p.want {
				t.Errorf("TCP has %.3f of the link beside %s, want %.2f", theirs, p.name, p.want)
			}
		})
	}
}
