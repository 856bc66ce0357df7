package tcpxm

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

func TestOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	var o order
	var model []sending
	for i := range int64(5000) {
		if r.IntN(5) < 3 {
			o.push(i, time.Duration(i))
			model = append(model, sending{i, time.Duration(i)})
		} else if s, ok := o.first(); ok != (len(model) > 0) || ok && s != model[0] {
			t.Fatalf("first is %v, %v of %d", s, ok, len(model))
		} else if ok {
			o.pop()
			model = model[1:]
		}
		if got := o.list[o.head:]; !slices.Equal(got, model) {
			t.Fatalf("%d are kept, want %d", len(got), len(model))
		}
	}
	if len(o.list) > 2*len(model)+128 {
		t.Errorf("a list of %d for %d", len(o.list), len(model))
	}
	o.clear()
	if _, ok := o.first(); ok {
		t.Error("something is left")
	}
}

// answered makes a session of a receiver that has answered, and has room for much.
func answered(t testing.TB, size int64) (*session, *pcb) {
	t.Helper()
	cfg, err := Config{Tag: 5, Source: payload{1}, Size: size}.validate()
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSession(cfg, []Destination{{netip.MustParseAddrPort("192.0.2.1:5000"), Secret{1}}}, 0, 1, newSecret)
	if err != nil {
		t.Fatal(err)
	}
	p := s.pcbs[0]
	p.timer.syns = 1
	p.connected(10*ms, &segment.Segment{Flags: segment.SYN | segment.ACK, Window: 1<<16 - 1})
	return s, p
}

// TestManyPieces: a receiver that says it has every other segment costs no more than
// some thousand pieces, whatever its window; the stream goes on when it has all.
func TestManyPieces(t *testing.T) {
	const slots = 4 * maxExtents
	s, p := answered(t, slots*defaultPayload)
	for slot := range int64(slots) {
		p.sent(20*ms, slot, p.grow())
	}
	number := func(slot int64) uint32 {
		seq, _ := segment.Number(s.iss, slot*s.stream.slot)
		return seq
	}
	now := 30 * ms
	for slot := int64(1); slot < slots; slot += 2 {
		now += 100 * time.Microsecond
		p.acknowledge(now, 0, 1<<30, &segment.Segment{Options: segment.Options{SACK: [4]segment.Block{{Left: number(slot), Right: number(slot + 1)}}, Blocks: 1}})
	}
	if n := p.arrived.Len(); n != maxExtents {
		t.Errorf("%d pieces are remembered, want %d", n, maxExtents)
	}
	// What makes a known piece longer counts still.
	p.acknowledge(now, 0, 1<<30, &segment.Segment{Options: segment.Options{SACK: [4]segment.Block{{Left: number(2), Right: number(3)}}, Blocks: 1}})
	if n := p.arrived.Len(); n != maxExtents-1 {
		t.Errorf("%d pieces are remembered, want %d", n, maxExtents-1)
	}
	p.acknowledge(now+ms, s.stream.end, 1<<30, &segment.Segment{Options: segment.Options{}})
	if p.inFlight != 0 || p.arrived.Len() != 0 || p.lost.Len() != 0 || p.una != slots {
		t.Errorf("in flight %d, una %d, %d pieces, %d lost", p.inFlight, p.una, p.arrived.Len(), p.lost.Len())
	}
}

// BenchmarkHostileAcks has a receiver with a window of 1 GB acknowledge every other
// segment: what an acknowledgement costs must not grow with what is missing.
func BenchmarkHostileAcks(b *testing.B) {
	const slots = 200_000
	s, p := answered(b, slots*defaultPayload)
	for slot := range int64(slots) {
		p.sent(20*ms, slot, p.grow())
	}
	now := 30 * ms
	b.ResetTimer()
	for i := range b.N {
		now += 10 * time.Microsecond
		slot := int64(2*i+1) % slots
		left, _ := segment.Number(s.iss, slot*s.stream.slot)
		right, _ := segment.Number(s.iss, (slot+1)*s.stream.slot)
		p.acknowledge(now, 0, 1<<30, &segment.Segment{Options: segment.Options{SACK: [4]segment.Block{{Left: left, Right: right}}, Blocks: 1}})
	}
}

// TestAwayItself has a sender wake up late: receivers are not taken for silent before what
// they have said is read. Who is silent after that is.
func TestAwayItself(t *testing.T) {
	s, p := answered(t, 100*defaultPayload)
	for slot := range int64(10) {
		p.sent(20*ms, slot, p.grow())
	}
	var out outbox
	s.collect(30*ms, &out)
	late := s.deadline(30*ms) + 3*time.Second
	s.collect(late, &out)
	if p.timer.probes != 0 || p.counts.Lost != 0 {
		t.Errorf("after an absence: %d timeouts, %d lost", p.timer.probes, p.counts.Lost)
	}
	for now := late; now < late+3*time.Second; now += 10 * ms {
		s.collect(now, &out)
		s.deadline(now)
	}
	if p.timer.probes < 2 || p.counts.Lost == 0 {
		t.Errorf("of who is silent: %d timeouts, %d lost", p.timer.probes, p.counts.Lost)
	}
}
