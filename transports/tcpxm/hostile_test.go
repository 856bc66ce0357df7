package tcpxm

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/transports/tcpxm/internal/coding"
	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

// TestSimulatedForgerInTheGroup has a member send data and repair symbols of its own to the
// others, sealed with the key that it knows.
func TestSimulatedForgerInTheGroup(t *testing.T) {
	for _, kind := range []segment.Kind{segment.Group, segment.Repair} {
		x := build(t, 11, home(50), Config{Size: 6e6, Group: groupAt}, same(4, line(5*ms, 0.005)))
		forger := x.sites[3]
		forge := func() {
			s := sealer{keys: x.s.sealers.group.keys, next: x.s.sealers.group.next + 20}
			slot := x.s.groups[0].next + 5
			b := append(make([]byte, 0, 2000), make([]byte, segment.ShimLen)...)
			shim := segment.Shim{Kind: kind}
			if kind == segment.Group {
				g := segment.Segment{Src: 1, Dst: 1, Payload: bytes.Repeat([]byte("evil"), 355)}
				g.Seq, shim.High = segment.Number(x.s.iss, slot*x.s.stream.slot)
				b = g.Append(b)
			} else {
				start := slot / coding.K * coding.K * x.s.stream.slot
				p := segment.Parity{Start: start, End: x.size, K: coding.K, Index: 1, Symbol: bytes.Repeat([]byte("evil"), 355)}
				b = p.Append(b)
			}
			b, err := s.seal(shim, b)
			if err != nil {
				t.Fatal(err)
			}
			if err := forger.sock.Send(groupAt, b); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 6 {
			x.w.At(time.Duration(400+100*i)*ms, forge)
		}
		x.run(60 * time.Second)
		x.tell()
		x.all()
		refused := int64(0)
		for _, st := range x.sites {
			refused += st.r.stats.Refused
		}
		if refused == 0 && kind == segment.Group {
			t.Error("nobody has noticed")
		}
	}
}

// TestSimulatedReplayedDatagrams sends everything that the sender sends again, later.
func TestSimulatedReplayedDatagrams(t *testing.T) {
	x := build(t, 12, home(50), Config{Size: 3e6, Group: groupAt}, same(3, line(5*ms, 0.002)))
	var dests []netip.AddrPort
	for _, st := range x.sites {
		dests = append(dests, st.sock.LocalAddr())
	}
	x.spoil = func(b []byte) {
		again := bytes.Clone(b)
		x.w.At(x.w.Now()+30*ms, func() {
			for _, to := range append(dests, groupAt) {
				_ = x.sock.Send(to, again) // too late for some
			}
		})
	}
	x.run(60 * time.Second)
	x.tell()
	x.all()
	if x.sites[0].r.stats.Forged == 0 {
		t.Error("nothing was refused")
	}
}

func TestHandshakes(t *testing.T) {
	sites := same(24, line(5*ms, 0))
	for i := range sites {
		sites[i].down.Loss, sites[i].up.Loss = 0.2, 0.2
	}
	x := build(t, 13, home(100), Config{Size: 1, Group: groupAt}, sites)
	x.run(14 * time.Second)
	for i, p := range x.s.pcbs {
		if p.state == synSent {
			t.Errorf("receiver %d is not connected", i)
		}
	}
}

func TestSomeDoNotAnswer(t *testing.T) {
	x := build(t, 14, home(100), Config{Size: 2e6, Group: groupAt}, same(4, line(5*ms, 0)))
	x.sites[0].dead = true // silent
	x.sites[1].dead = true // another secret
	wrong := x.sites[2]
	wrong.r.in.keys.secret[5] ^= 1
	x.run(60 * time.Second)
	x.tell()
	x.check(3)
	for i, p := range x.s.pcbs[:3] {
		if p.state != failed || !errors.Is(p.err, ErrTimeout) || p.counts.UnicastBytes > 0 {
			t.Errorf("receiver %d: %v, %v", i, p.state, p.err)
		}
	}
	if wrong.r.stats.Forged == 0 || wrong.r.stats.Acks > 0 {
		t.Errorf("a receiver with another secret: %+v", wrong.r.stats)
	}
}

// TestSimulatedLateReceiver answers only when the others are half done.
func TestSimulatedLateReceiver(t *testing.T) {
	x := build(t, 15, home(50), Config{Size: 30e6, Group: groupAt}, same(4, line(5*ms, 0)))
	st := x.sites[2]
	st.dead = true
	x.w.At(3300*ms, func() { st.dead = false })
	x.run(60 * time.Second)
	x.tell()
	x.all()
}

// TestSimulatedWriteAndSlowReader writes a stream piece by piece, with pauses; the reader of
// one receiver takes breaks.
func TestSimulatedWriteAndSlowReader(t *testing.T) {
	cfg := Config{Group: groupAt, Retain: 3 << 20}
	x := build(t, 16, home(50), cfg, same(3, line(5*ms, 0.003)))
	x.size = 5_000_000
	var write func()
	written := int64(0)
	write = func() {
		b := make([]byte, 100_001)
		n := min(int64(len(b)), x.size-written)
		x.data.ReadAt(b[:n], written)
		written += int64(x.s.write(x.w.Now(), b[:n]))
		if written == x.size {
			x.s.finish()
		} else {
			x.w.At(x.w.Now()+time.Duration(1+written%40)*ms, write)
		}
		x.pump()
	}
	x.w.At(0, write)
	for i := range time.Duration(10) {
		x.w.At((500+500*i)*ms, func() { x.sites[1].paused = i%2 == 0; x.sites[1].pump() })
	}
	x.run(60 * time.Second)
	x.tell()
	x.all()
}

// FuzzPeers has the other end of a session say anything, sealed as it must be.
func FuzzPeers(f *testing.F) {
	data := segment.Segment{Flags: segment.ACK, Payload: make([]byte, 600), Seq: 12}
	f.Add(data.Append([]byte{0, 1}), uint16(0))
	ack := segment.Segment{Flags: segment.ACK, Ack: 700, Window: 9, Options: segment.Options{Blocks: 2, SACK: [4]segment.Block{{Left: 1500, Right: 2500}}, HasFeedback: true, HasRefused: true}}
	f.Add(ack.Append([]byte{1, 1}), uint16(0))
	f.Add((&segment.Digest{Len: 5}).Append(segment.AppendControl([]byte{0, 4}, 0)), uint16(0))
	f.Add((&segment.Parity{K: 128, End: 9000, Symbol: make([]byte, 600)}).Append([]byte{0, 3}), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, high uint16) {
		if len(b) < 2 || len(b) > 4000 {
			return
		}
		x := build(t, 1, netsim.Params{}, Config{Size: 100_000, Payload: 600, Group: groupAt}, same(2, site{}))
		x.s.iss = 10
		x.w.At(200*ms, func() {
			kind := segment.Kind(b[1]%4 + 1)
			plain := append(make([]byte, segment.ShimLen, 8192), b[2:]...)
			shim := segment.Shim{Kind: kind, High: high}
			st := x.sites[0]
			from := &x.s.pcbs[0].out
			switch {
			case b[0]%2 == 1:
				from = &st.r.out
			case kind == segment.Group || kind == segment.Repair:
				from = &x.s.sealers.group
			}
			d, err := from.seal(shim, plain)
			if err != nil {
				t.Fatal(err)
			}
			if b[0]%2 == 1 {
				x.s.receive(x.w.Now(), st.sock.LocalAddr(), d)
				x.pump()
				return
			}
			st.r.receive(x.w.Now(), x.sock.LocalAddr(), d, kind == segment.Group || kind == segment.Repair)
			st.pump()
		})
		x.run(5 * time.Second)
		if n := x.sites[1].got; n != x.size {
			t.Errorf("the other receiver has %d of %d bytes", n, x.size)
		}
	})
}

// FuzzCalled has a sender say anything to a receiver that waits for it, from the SYN on.
func FuzzCalled(f *testing.F) {
	syn := segment.Segment{Flags: segment.SYN, Seq: 9, Options: segment.Options{MSS: 600, HasScale: true, SACKPermitted: true, HasStart: true, Start: 300_001}}
	data := segment.Segment{Flags: segment.ACK | segment.FIN, Payload: make([]byte, 600)}
	var high uint16
	data.Seq, high = segment.Number(9, 300_001)
	f.Add(syn.Append(nil), data.Append(nil), high)
	syn.Options.Start = 1<<48 - 1
	f.Add(syn.Append(nil), data.Append(nil), uint16(1<<16-1))
	f.Fuzz(func(t *testing.T, first, then []byte, high uint16) {
		cfg, err := ReceiverConfig{Tag: 5, Secret: Secret{1}, Window: minWindow}.validate()
		if err != nil {
			t.Fatal(err)
		}
		r := newReceiver(cfg, nil, 0, 1)
		var out outbox
		read := make([]byte, 100)
		for i, b := range [][]byte{first, then, then} {
			if len(b) > 4000 {
				return
			}
			if r.seg.Parse(b) == nil {
				r.onPair(time.Duration(i)*ms, groupAt, high)
			}
			r.take(read)
			r.collect(time.Duration(i)*ms, &out)
			out.reset()
		}
		if d := &r.data; d.next < d.data.low || d.next > r.rightEdge() || d.got.Len() > 4 {
			t.Errorf("from %d the window to %d, delivered before %d, %d pieces", d.data.low, r.rightEdge(), d.next, d.got.Len())
		}
	})
}
