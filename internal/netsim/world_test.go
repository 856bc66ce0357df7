package netsim

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/topology"
)

func mustListen(tb testing.TB, h *Host, port uint16, handle Handler) *Socket {
	tb.Helper()
	s, err := h.Listen(port, handle)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func mustSend(tb testing.TB, s *Socket, dst netip.AddrPort, payload []byte) {
	tb.Helper()
	if err := s.Send(dst, payload); err != nil {
		tb.Fatal(err)
	}
}

// TestEventOrder: events happen by time, those of one time in the order in
// which they were decided, whatever the heap does.
func TestEventOrder(t *testing.T) {
	w := NewWorld(1)
	var got []int
	var want []int
	for i := range 500 {
		at := time.Duration(i * 7919 % 100)
		w.At(at, func() { got = append(got, int(at)*1000+i) })
		want = append(want, int(at)*1000+i)
	}
	w.Run(time.Second)
	if len(got) != len(want) || w.Now() != time.Second {
		t.Fatalf("%d events until %v", len(got), w.Now())
	}
	for i := 1; i < len(got); i++ {
		if got[i-1] >= got[i] {
			t.Fatalf("event %d before %d", got[i-1], got[i])
		}
	}
}

// TestEndOfTime: what is too late does not happen, nor does time wrap around.
func TestEndOfTime(t *testing.T) {
	w, a, b := pair(t, 1, 40*time.Minute, Params{Rate: mbit(1)})
	ticks := 0
	var tick func()
	tick = func() {
		ticks++
		w.After(time.Hour, tick)
		w.After(math.MaxInt64, func() { t.Errorf("fired at %v", w.Now()) })
	}
	w.At(EndOfTime-90*time.Minute, tick)
	w.At(math.MaxInt64, func() { t.Errorf("fired at %v", w.Now()) })
	f := mustFlow(t, a, b, FlowConfig{Name: "f", Start: EndOfTime - time.Hour, Sample: time.Hour})
	w.Run(math.MaxInt64)
	if w.Now() != EndOfTime || ticks != 2 || f.Stats().Delivered == 0 || len(f.Samples()) != 1 {
		t.Errorf("at %v: %d ticks, flow %+v", w.Now(), ticks, f.Stats())
	}
	if w.RunUntil(math.MaxInt64, func() bool { return false }) || w.Now() != EndOfTime {
		t.Errorf("ran on to %v", w.Now())
	}
	if _, err := w.AddFlow(a, b, FlowConfig{Name: "late", Start: math.MaxInt64}); err == nil {
		t.Error("a flow that starts behind the end of time was added")
	}
}

func TestTimer(t *testing.T) {
	w := NewWorld(1)
	var log []string
	note := func(s string) func() {
		return func() { log = append(log, fmt.Sprint(s, w.Now())) }
	}
	w.After(1, note("a"))
	stopped := w.After(2, note("never"))
	if !stopped.Stop() || stopped.Stop() {
		t.Error("stopping twice should work once")
	}
	later := w.After(3, note("later"))
	later.Reset(9)
	sooner := w.After(8, note("sooner"))
	sooner.Reset(4)
	again := w.After(5, note("again"))
	again.Stop()
	again.Reset(6)
	moved := w.After(5, note("moved"))
	moved.Reset(20)
	moved.Reset(7)
	// Set for the same instant as "later", but afterwards.
	w.At(9, note("last"))
	if at, set := later.Deadline(); at != 9 || !set {
		t.Errorf("deadline %v, %v", at, set)
	}
	w.Run(100)
	if got, want := strings.Join(log, " "), "a1ns sooner4ns again6ns moved7ns later9ns last9ns"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, set := later.Deadline(); set {
		t.Error("a timer that has fired is set")
	}
}

// TestDatagram follows single datagrams.
func TestDatagram(t *testing.T) {
	w := NewWorld(1)
	// 1 MB/s: 1028 bytes take 1.028 ms.
	a := mustHost(t, w, "a", Params{Rate: 1e6, Delay: 10 * time.Millisecond}, Params{})
	b := mustHost(t, w, "b", Params{}, Params{Delay: 5 * time.Millisecond})
	var trace bytes.Buffer
	w.Capture(&trace, Everything)
	s := mustListen(t, a, 0, nil)
	var got []string
	r := mustListen(t, b, 9, func(now time.Duration, d Datagram) {
		got = append(got, fmt.Sprintf("%v %v>%v %d", now, d.Src, d.Dst, len(d.Payload)))
	})
	if _, err := b.Listen(9, nil); !errors.Is(err, ErrInUse) {
		t.Errorf("opening a port twice: %v", err)
	}
	payload := make([]byte, 1000)
	if n, err := s.SendBatch(r.LocalAddr(), payload, payload); n != 2 || err != nil {
		t.Errorf("sent %d: %v", n, err)
	}
	if err := s.Send(r.LocalAddr(), make([]byte, 1473)); !errors.Is(err, ErrTooLong) {
		t.Errorf("sending too much: %v", err)
	}
	mustSend(t, s, netip.AddrPortFrom(b.Addr(), 10), nil)                   // no socket
	mustSend(t, s, netip.MustParseAddrPort("192.0.2.1:9"), []byte("hello")) // no host
	w.Run(time.Second)
	want := []string{"16.028ms 10.77.0.1:49152>10.77.0.2:9 1000", "17.056ms 10.77.0.1:49152>10.77.0.2:9 1000"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") || w.Unrouted != 2 {
		t.Errorf("got  %q\nwant %q; %d unrouted, want 2", got, want, w.Unrouted)
	}
	r.Close()
	if err := r.Send(s.LocalAddr(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("sending on a closed socket: %v", err)
	}
	lines := `0.000000000 a.up pass 0.011028000 udp 10.77.0.1:49152 > 10.77.0.2:9 1028
0.000000000 a.up pass 0.012056000 udp 10.77.0.1:49152 > 10.77.0.2:9 1028
0.000000000 a.up pass 0.012084000 udp 10.77.0.1:49152 > 10.77.0.2:10 28
0.011028000 b.down pass 0.016028000 udp 10.77.0.1:49152 > 10.77.0.2:9 1028
0.012056000 b.down pass 0.017056000 udp 10.77.0.1:49152 > 10.77.0.2:9 1028
0.012084000 b.down pass 0.017084000 udp 10.77.0.1:49152 > 10.77.0.2:10 28
0.016028000 b got udp 10.77.0.1:49152 > 10.77.0.2:9 1028 31e4eae5
0.017056000 b got udp 10.77.0.1:49152 > 10.77.0.2:9 1028 31e4eae5
`
	if trace.String() != lines {
		t.Errorf("the trace is\n%swant\n%s", &trace, lines)
	}
}

func TestMulticast(t *testing.T) {
	w := NewWorld(1)
	group := netip.MustParseAddrPort("239.1.2.3:7")
	got := make([]int, 5)
	var sockets []*Socket
	for i := range got {
		h := mustHost(t, w, fmt.Sprintf("h%d", i), Params{Delay: 1}, Params{Delay: time.Duration(i) + 1})
		s := mustListen(t, h, 7, func(now time.Duration, d Datagram) {
			got[i]++
			if d.Dst != group || now != time.Duration(i)+2 {
				t.Errorf("h%d: %v at %v", i, d.Dst, now)
			}
			d.Payload[0] = 0 // the copies do not share bytes
		})
		if i != 3 {
			s.Join(group.Addr())
		}
		sockets = append(sockets, s)
	}
	w.Hosts()[4].Down().Link().DropPackets(2)
	mustSend(t, sockets[0], group, []byte{1})
	w.Run(1e3)
	if got, want := fmt.Sprint(got), "[0 1 1 0 1]"; got != want {
		t.Errorf("received %s, want %s", got, want)
	}
	if n := w.Hop("h0.up").Link().Counters().Offered.Packets; n != 1 {
		t.Errorf("%d packets on the sender's up link, want 1", n)
	}
	if n := w.Hop("h3.down").Link().Counters().Offered.Packets; n != 0 {
		t.Errorf("%d packets on the link of a host that has not joined", n)
	}
	sockets[1].Leave(group.Addr())
	sockets[2].Close()
	w2 := w.Now()
	for i := range sockets {
		sockets[i].handle = func(now time.Duration, _ Datagram) { got[i] += 10; _ = now - w2 }
	}
	mustSend(t, sockets[0], group, []byte{1}) // the second one is dropped on the way to h4
	mustSend(t, sockets[0], group, []byte{1})
	w.Run(2e3)
	if got, want := fmt.Sprint(got), "[0 1 1 0 11]"; got != want {
		t.Errorf("received %s, want %s", got, want)
	}
}

func TestPartition(t *testing.T) {
	w := NewWorld(1)
	got := 0
	a, b, c := mustHost(t, w, "a", Params{Delay: 10}, Params{}), mustHost(t, w, "b", Params{}, Params{}), mustHost(t, w, "c", Params{}, Params{})
	s, d := mustListen(t, a, 1, nil), mustListen(t, c, 1, nil)
	r := mustListen(t, b, 1, func(time.Duration, Datagram) { got++ })
	send := func() {
		mustSend(t, s, r.LocalAddr(), nil)
		mustSend(t, d, r.LocalAddr(), nil)
	}
	send()
	w.Run(5)
	w.Partition([]*Host{a})
	w.Run(20)
	if got != 1 {
		t.Errorf("%d packets arrived, want that of the same side", got)
	}
	send()
	w.Run(40)
	w.Partition()
	send()
	w.Run(60)
	if got != 4 || w.Unrouted != 2 {
		t.Errorf("%d packets arrived, %d did not, want 4 and 2", got, w.Unrouted)
	}
}

// TestCorruptedIsNotDelivered: what a checksum would find does not reach the
// program, what it would not find does.
func TestCorruptedIsNotDelivered(t *testing.T) {
	w := NewWorld(1)
	a, b := mustHost(t, w, "a", Params{Corrupt: 0.5, Mangle: 0.5}, Params{}), mustHost(t, w, "b", Params{}, Params{})
	sent := []byte("what is sent is not what arrives")
	n := 0
	r := mustListen(t, b, 1, func(_ time.Duration, d Datagram) {
		n++
		if d.Mangled == bytes.Equal(d.Payload, sent) || checksum(d.Payload) != checksum(sent) {
			t.Errorf("mangled %v: %q", d.Mangled, d.Payload)
		}
	})
	s := mustListen(t, a, 1, nil)
	for range 1000 {
		mustSend(t, s, r.LocalAddr(), sent)
	}
	w.Run(1)
	if c := a.Up().Link().Counters(); int64(n) != 1000-c.Corrupted || c.Corrupted < 400 || c.Mangled < 200 {
		t.Errorf("%d arrived; %+v", n, c)
	}
}

// TestPathAsConfigured measures whole paths with a probe train, over a table of
// rates, delays and losses.
func TestPathAsConfigured(t *testing.T) {
	const seed = 99
	for _, mb := range []float64{1.5, 10, 100, 1000} {
		for _, delay := range []time.Duration{time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond} {
			w := NewWorld(seed)
			const n = 10000
			const loss = 0.25 // so that 1% of it is more than chance makes
			a := mustHost(t, w, "a", Params{Rate: mbit(mb), Delay: delay, Loss: loss, LossBlock: 100, Queue: Limit{Bytes: n * 1500}}, Params{})
			b := mustHost(t, w, "b", Params{}, Params{Delay: delay})
			first, last, count := time.Duration(0), time.Duration(0), 0
			r := mustListen(t, b, 1, func(now time.Duration, _ Datagram) {
				if count++; count == 1 {
					first = now
				}
				last = now
			})
			s := mustListen(t, a, 1, nil)
			payload := make([]byte, 1472)
			for range n {
				mustSend(t, s, r.LocalAddr(), payload)
			}
			w.Run(time.Hour)
			name := fmt.Sprintf("%v Mbit/s, %v", mb, delay)
			one := 1500 * 8 / (mb * 1e6)
			near(t, name+": rate", float64(count)*12000/(last-first).Seconds()/(1-loss), mb*1e6, 0.01)
			near(t, name+": loss", 1-float64(count)/n, loss, 0.01)
			// The first that arrives is not the first that was sent.
			if got := first.Seconds() - 2*delay.Seconds() - one; got < -1e-9 || got > 20*one {
				t.Errorf("%s: the first arrives %g s late; seed %d", name, got, seed)
			}
		}
	}
}

func TestTopologyWorld(t *testing.T) {
	text, err := os.ReadFile("../../testdata/topologies/wan2.json")
	if err != nil {
		text = []byte(`{"hosts": [{"name": "h0", "link": {"rate": "1gbit", "delay": "25ms"}}, {"name": "h1", "link": {"rate": "1gbit", "delay": "25ms"}}]}`)
	}
	top, err := topology.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	top.Paths = []topology.Path{{From: 0, To: 1, Link: Params{Delay: 7 * time.Millisecond}}}
	w, err := NewTopologyWorld(top)
	if err != nil {
		t.Fatal(err)
	}
	h0, h1 := w.Hosts()[0], w.Hosts()[1]
	at := time.Duration(0)
	r := mustListen(t, h1, 1, func(now time.Duration, _ Datagram) { at = now })
	s := mustListen(t, h0, 1, nil)
	mustSend(t, s, netip.AddrPortFrom(topology.Address(1, true), r.LocalAddr().Port()), nil)
	w.Run(time.Second)
	want := h0.Up().Link().Params().Delay + h1.Down().Link().Params().Delay + 7*time.Millisecond
	if d := at - want; d <= 0 || d > 10*time.Microsecond {
		t.Errorf("a small packet arrives at %v, want a bit more than %v", at, want)
	}
	if w.Hop("h0:h1") == nil || w.Hop("h1:h0") != nil || len(w.Hops()) != 5 {
		t.Error("links are not those of the topology")
	}
}

// story runs a small network in which everything happens, and gives what
// crossed.
func story(tb testing.TB, seed uint64, to interface{ Write([]byte) (int, error) }) *World {
	w := NewWorld(seed)
	shared, err := w.AddLink("shared", Params{Rate: mbit(8), Queue: Limit{Time: 30 * time.Millisecond}, Cross: mbit(1)})
	if err != nil {
		tb.Fatal(err)
	}
	w.Capture(to, Everything)
	p := rich
	p.Rate, p.Delay, p.Loss, p.Reorder, p.Duplicate, p.Corrupt, p.Mangle, p.Cross = mbit(20), 5*time.Millisecond, 0.02, 0.02, 0.02, 0.01, 0.01, mbit(2)
	p.Burst.Enter = 0.01
	group := netip.MustParseAddrPort("239.0.0.1:5")
	for i := range 4 {
		h := mustHost(tb, w, fmt.Sprintf("h%d", i), p, p)
		var s *Socket
		s = mustListen(tb, h, 5, func(_ time.Duration, d Datagram) {
			if len(d.Payload) > 100 {
				_ = s.Send(d.Src, d.Payload[:20])
			}
		})
		s.Join(group.Addr())
		w.After(time.Duration(i)*time.Millisecond, func() { talk(w, s, group, 10) })
	}
	h := w.Hosts()
	w.Route(h[0], h[1], shared)
	w.Route(h[2], h[3], shared)
	mustFlow(tb, h[0], h[1], FlowConfig{Name: "reno", Control: Reno, Bytes: 60e3})
	mustFlow(tb, h[2], h[3], FlowConfig{Name: "cubic", Control: CUBIC, Bytes: 60e3})
	mustFlow(tb, h[1], h[2], FlowConfig{Name: "bbr", Control: BBR, Bytes: 60e3, AckEvery: 2})
	w.After(60*time.Millisecond, func() { w.Partition(h[:2], h[2:]) })
	w.After(90*time.Millisecond, func() { w.Partition() })
	w.Run(time.Second)
	return w
}

// talk sends n datagrams to a group, one in 8 ms.
func talk(w *World, s *Socket, to netip.AddrPort, n int) {
	_ = s.Send(to, bytes.Repeat([]byte{byte(n)}, 50*n))
	if n > 1 {
		w.After(8*time.Millisecond, func() { talk(w, s, to, n-1) })
	}
}

// TestSameSeedSameTrace: byte for byte, 1,000 times, less with the race detector.
func TestSameSeedSameTrace(t *testing.T) {
	const seed = 20
	var text bytes.Buffer
	w := story(t, seed, &text)
	for _, must := range []string{"drop loss", "drop burst", "held", "twice", "corrupted", "mangled", "tcp reno", "tcp cubic", "tcp bbr ack", "239.0.0.1:5"} {
		if !strings.Contains(text.String(), must) {
			t.Errorf("nothing with %q happens", must)
		}
	}
	t.Logf("%d events, %d bytes of trace, seed %d", w.Events(), text.Len(), seed)
	want := sha256.Sum256(text.Bytes())
	for i := range 1000 / raceFactor {
		h := sha256.New()
		story(t, seed, h)
		if got := h.Sum(nil); !bytes.Equal(got, want[:]) {
			var other bytes.Buffer
			story(t, seed, &other)
			t.Fatalf("run %d differs (seed %d), from line %d on", i, seed, firstDifference(text.String(), other.String()))
		}
	}
	h := sha256.New()
	story(t, seed+1, h)
	if bytes.Equal(h.Sum(nil), want[:]) {
		t.Error("another seed, same trace")
	}
}

func firstDifference(a, b string) int {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] {
			return i + 1
		}
	}
	return min(len(x), len(y)) + 1
}

func TestAddressesAreUnique(t *testing.T) {
	w := NewWorld(1)
	mustHost(t, w, "a", Params{}, Params{})
	if _, err := w.AddHost("a", Params{}, Params{}); err == nil {
		t.Error("two hosts of one name")
	}
	if _, err := w.AddHost("b", Params{}, Params{}, netip.MustParseAddr("10.77.0.1")); err == nil {
		t.Error("two hosts of one address")
	}
	if _, err := w.AddHost("c", Params{Loss: math.Inf(1)}, Params{}); err == nil {
		t.Error("a link with a loss of infinity")
	}
}

// BenchmarkDatagrams is what a transport's core in simulated time pays for the
// network.
func BenchmarkDatagrams(b *testing.B) {
	w := NewWorld(1)
	x, y := mustHost(b, w, "x", Params{Rate: mbit(1000), Delay: 10 * time.Millisecond}, Params{}), mustHost(b, w, "y", Params{}, Params{})
	s, r := mustListen(b, x, 1, nil), mustListen(b, y, 1, func(time.Duration, Datagram) {})
	payload := make([]byte, 1400)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		mustSend(b, s, r.LocalAddr(), payload)
		w.Run(w.Now() + 12*time.Microsecond)
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "packets/s")
}
