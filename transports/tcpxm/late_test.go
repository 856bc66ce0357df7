package tcpxm

import (
	"bytes"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// after is the hash of what follows an offset, up to a size.
func (p payload) after(start, size int64) [32]byte {
	b := make([]byte, size-start)
	p.ReadAt(b, start)
	return sha256.Sum256(b)
}

// late has one more receiver called at a time, for what follows an offset.
func (x *world) late(at time.Duration, s site, start int64) {
	x.w.At(at, func() {
		i := len(x.sites)
		st := x.station(i, s, true)
		st.r.heardAt = x.w.Now()
		place, err := x.s.add(Destination{st.sock.LocalAddr(), Secret{2, byte(i)}}, start, x.w.Now())
		if err != nil || place != i {
			x.t.Errorf("receiver %d is added at %d, %v", i, place, err)
		}
		x.pump()
	})
}

// TestSimulatedReceiverJoins has a receiver join a group at work: it gets the rest by the
// group, from where it was told, and the others do not notice.
func TestSimulatedReceiverJoins(t *testing.T) {
	const size, start = 20e6, 8_000_123
	alone := build(t, 31, home(100), Config{Size: size, Group: groupAt}, same(2, line(5*ms, 0)))
	alone.run(20 * time.Second)
	for _, tt := range []struct {
		name   string
		change func(x *world)
		site   site
		group  int64   // bytes that the late one gets by the group at least
		wire   float64 // times the size
	}{
		{"hears it", func(*world) {}, line(5*ms, 0), 11e6, 1.1},
		{"loses one in a hundred", func(*world) {}, line(5*ms, 0.01), 10e6, 1.13},
		{"hears nothing", func(*world) {}, site{up: line(5*ms, 0).up, down: line(5*ms, 0).down, deaf: true}, 0, 1.8},
		{"after the key was changed", func(x *world) {
			x.w.At(300*ms, func() { x.s.changeKey(x.w.Now()); x.pump() })
		}, line(5*ms, 0), 11e6, 1.1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := build(t, 31, home(100), Config{Size: size, Group: groupAt}, same(2, line(5*ms, 0)))
			tt.change(x)
			x.late(600*ms, tt.site, start)
			x.until(10*time.Second, "joining", func() bool { return len(x.s.pcbs) == 3 && x.s.pcbs[2].answered })
			x.run(30 * time.Second)
			x.tell()
			x.check(0)
			x.check(1)
			if a, b := alone.goodput(0), x.goodput(0); b < 0.9*a {
				t.Errorf("the others get %.1f Mbit/s, %.1f without it", b, a)
			}
			p, st := x.s.pcbs[2], x.sites[2]
			if p.state != done || st.got != size-start || [32]byte(st.sum.Sum(nil)) != x.data.after(start, size) {
				t.Errorf("the late one: %v, %d of %d bytes", p.state, st.got, int64(size-start))
			}
			if got := p.counts.GroupBytes; got < tt.group {
				t.Errorf("%d bytes by the group", got)
			}
			if got := x.wire(); got > tt.wire {
				t.Errorf("%.3f times the size has left the sender", got)
			}
		})
	}
}

// TestLateReceiverOfASlowStream joins where the stream ends for now.
func TestLateReceiverOfASlowStream(t *testing.T) {
	x := build(t, 32, home(50), Config{Group: groupAt}, same(2, line(5*ms, 0)))
	give := func(n int64) {
		b := make([]byte, n)
		_, _ = x.data.ReadAt(b, x.size)
		x.size += int64(x.s.write(x.w.Now(), b))
		x.pump()
	}
	give(3e6)
	x.until(10*time.Second, "all there", func() bool { return x.sites[0].got == 3e6 && x.sites[1].got == 3e6 })
	start := x.size
	x.late(x.w.Now()+ms, line(5*ms, 0), start)
	x.until(10*time.Second, "joining", func() bool { return len(x.s.pcbs) == 3 && x.s.pcbs[2].answered })
	give(2e6)
	x.s.finish()
	x.run(20 * time.Second)
	x.check(0)
	x.check(1)
	if st := x.sites[2]; st.done < 0 || [32]byte(st.sum.Sum(nil)) != x.data.after(start, x.size) {
		t.Errorf("the late one has %d bytes of %d", st.got, x.size-start)
	}
	if _, err := x.s.add(Destination{x.sites[0].sock.LocalAddr(), Secret{}}, 0, x.w.Now()); err == nil {
		t.Error("a receiver is to get what is kept no longer")
	}
}

// TestLateStartTwice: a SYN that is repeated does not begin again.
func TestLateStartTwice(t *testing.T) {
	cfg, err := ReceiverConfig{Tag: 5, Secret: Secret{1}}.validate()
	if err != nil {
		t.Fatal(err)
	}
	r := newReceiver(cfg, nil, 0, 1)
	syn := segment.Segment{Flags: segment.SYN, Seq: 9, Options: segment.Options{MSS: 1000, HasScale: true, SACKPermitted: true, HasStart: true, Start: 300_001}}
	for range 2 {
		r.seg = syn
		r.onSYN(0, groupAt)
		if d := &r.data; d.read != 300_001 || d.next != 256_000 && d.next != 300_001 || r.state != established {
			t.Fatalf("read %d, next %d, %v", d.read, d.next, r.state)
		}
		r.onData(0, 256_000, bytes.Repeat([]byte{7}, 44_001), false)
		syn.Options.Start = 128_000
	}
	if b := make([]byte, 10); r.take(b) != 0 {
		t.Error("bytes before the start are read")
	}
	r.onData(0, 300_001, []byte{8, 9}, false)
	if b := make([]byte, 10); r.take(b) != 2 || b[0] != 8 {
		t.Errorf("read %v", b)
	}
}
