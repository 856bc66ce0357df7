package tcpxm

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// until lets everything happen until something is true.
func (x *world) until(limit time.Duration, what string, done func() bool) {
	x.t.Helper()
	x.pump()
	if !x.w.RunUntil(x.w.Now()+limit, done) {
		x.t.Fatalf("at %v: %s has not happened", x.w.Now(), what)
	}
}

// TestSimulatedTooFewForAGroup: a group waits for somebody who may hear it, and
// meanwhile one that does is given up.
func TestSimulatedTooFewForAGroup(t *testing.T) {
	sites := same(3, line(5*ms, 0))
	sites[2].deaf = true
	x := build(t, 21, home(50), Config{Size: 3e6, Group: groupAt}, sites)
	x.until(10*time.Second, "waiting", func() bool { return x.s.groups[0].waits != never })
	x.s.pcbs[0].abort(x.w.Now(), ErrIncomplete)
	x.run(60 * time.Second)
	x.check(1)
	x.check(2)
}

// TestSimulatedKeysInARow: when two receivers are given up at once those that remain
// can open what the group gets all the time, and so can one that has left the group.
func TestSimulatedKeysInARow(t *testing.T) {
	x := build(t, 22, home(50), Config{Size: 20e6, Group: groupAt, Slow: SlowWait}, same(5, line(5*ms, 0)))
	x.until(10*time.Second, "multicast", func() bool { return len(x.s.groups[0].members) == 5 })
	x.s.pcbs[4].slowDown(x.w.Now())
	for _, p := range x.s.pcbs[:2] {
		p.abort(x.w.Now(), ErrIncomplete)
	}
	x.until(10*time.Second, "two changes", func() bool {
		for i := 2; i < 4; i++ {
			if x.sites[i].r.epoch(x.s.sealers.group.keys.epoch) == nil {
				t.Fatalf("at %v: receiver %d has no key of epoch %d", x.w.Now(), i, x.s.sealers.group.keys.epoch)
			}
		}
		return x.s.stats.Epochs == 2
	})
	x.w.Run(x.w.Now() + time.Second)
	if x.sites[4].r.epoch(x.s.sealers.group.keys.epoch) == nil {
		t.Error("who has left the group does not know its key")
	}
	x.run(60 * time.Second)
	for i := 2; i < 5; i++ {
		x.check(i)
	}
	for i := range 2 {
		for epoch := uint8(1); epoch <= 2; epoch++ {
			if x.sites[i].r.epoch(epoch) != nil {
				t.Errorf("receiver %d was given up, and has the key of epoch %d", i, epoch)
			}
		}
	}
	if x.sites[3].r.epoch(0) != nil {
		t.Error("the key that those know who were given up is still good")
	}
}

// TestSimulatedKeyIsTold: receivers that were not told the group's key before learn it from
// the session, also where datagrams are lost; who does not answer never does.
func TestSimulatedKeyIsTold(t *testing.T) {
	for _, loss := range []float64{0, 0.05} {
		x := build(t, 24, home(50), Config{Size: 4e6, Group: groupAt}, same(5, line(5*ms, loss)))
		x.s.tells = true
		for _, st := range x.sites {
			st.r.group[0] = nil
		}
		x.sites[4].dead = true
		x.until(20*time.Second, "all data", func() bool {
			for _, st := range x.sites[:4] {
				if st.got < x.size {
					return false
				}
			}
			return true
		})
		x.run(60 * time.Second)
		for i := range 4 {
			x.check(i)
			if c := x.s.pcbs[i].counts; loss == 0 && c.GroupBytes < 3e6 {
				t.Errorf("receiver %d got %d bytes by the group", i, c.GroupBytes)
			}
		}
		if x.sites[4].r.epoch(0) != nil {
			t.Error("who was never there knows the key")
		}
	}
}

// TestKeysOfTheGroup: the key before the present one is good until that has been in use
// for a while.
func TestKeysOfTheGroup(t *testing.T) {
	cfg, err := ReceiverConfig{Tag: 5, Secret: Secret{1}}.validate()
	if err != nil {
		t.Fatal(err)
	}
	r := newReceiver(cfg, nil, 0, 1)
	if r.epoch(0) != nil {
		t.Fatal("a key that nobody has told")
	}
	r.setGroupKey(0, Secret{2})
	r.setGroupKey(1, Secret{3})
	for _, step := range []struct {
		at    time.Duration
		epoch uint8
		old   bool
	}{{time.Hour, 0, true}, {2 * time.Hour, 1, true}, {2*time.Hour + oldKeyFor - ms, 1, true}, {2*time.Hour + oldKeyFor, 0, true}, {2*time.Hour + oldKeyFor, 1, false}} {
		if r.retire(step.at, r.epoch(step.epoch)); (r.epoch(0) != nil) != step.old || r.epoch(1) == nil {
			t.Errorf("at %v, after a datagram of epoch %d, the old key is good: %t", step.at, step.epoch, !step.old)
		}
	}
}

// TestReceiversAtOneAddress: behind a relay receivers share an address, and are told
// apart by their keys.
func TestReceiversAtOneAddress(t *testing.T) {
	cfg, err := Config{Tag: 5, Source: payload{1}, Size: 1000}.validate()
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort("192.0.2.1:5000")
	s, err := newSession(cfg, []Destination{{at, Secret{1}}, {at, Secret{2}}, {at, Secret{3}}}, 0, 1, newSecret)
	if err != nil {
		t.Fatal(err)
	}
	for i := 2; i >= 0; i-- {
		from := sealer{keys: keys{secret: Secret{byte(i + 1)}, role: fromReceiver, tag: 5, cipher: cfg.Cipher}}
		g := segment.Segment{Src: 1, Dst: 1, Seq: 9, Flags: segment.SYN | segment.ACK, Window: 100}
		var high uint16
		g.Ack, high = segment.Number(s.iss, 0)
		b, err := from.seal(segment.Shim{Kind: segment.Pair, High: high}, g.Append(make([]byte, segment.ShimLen, 200)))
		if err != nil {
			t.Fatal(err)
		}
		s.receive(ms, at, b)
		if p := s.pcbs[i]; p.state != open {
			t.Errorf("receiver %d is not heard: %v", i, p.state)
		}
	}
}

// TestSmallBuffersAreWritable: writers are woken however small the buffer is.
func TestSmallBuffersAreWritable(t *testing.T) {
	cfg, err := Config{Tag: 5, Payload: minPayload, Retain: 2 * 128 * minPayload}.validate()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSession(cfg, []Destination{{netip.MustParseAddrPort("192.0.2.1:5000"), Secret{1}}}, 0, 1, newSecret)
	if err != nil {
		t.Fatal(err)
	}
	if !s.writable() {
		t.Error("an empty buffer has no room")
	}
	s.write(0, make([]byte, cfg.Retain))
	if s.writable() {
		t.Error("a full buffer has room")
	}
}

// TestSimulatedSlowWriter: who has little to send for a while does not go slowly
// after it.
func TestSimulatedSlowWriter(t *testing.T) {
	for _, at := range []netip.AddrPort{{}, groupAt} {
		x := build(t, 23, home(50), Config{Group: at}, same(3, line(50*ms, 0)))
		give := func(n int64) {
			b := make([]byte, n)
			_, _ = x.data.ReadAt(b, x.size)
			x.size += int64(x.s.write(x.w.Now(), b))
			x.pump()
		}
		for i := range 300 {
			x.w.At(time.Duration(i+1)*20*ms, func() { give(2000) })
		}
		x.w.Run(8 * time.Second)
		begun := x.w.Now()
		give(10e6)
		x.s.finish()
		x.run(60 * time.Second)
		for i := range x.sites {
			x.check(i)
		}
		if took := x.sites[0].done - begun; took > 5*time.Second {
			t.Errorf("%v: it took %v", at, took)
		}
	}
}
