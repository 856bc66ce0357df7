package udt

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
)

// made gives a simulation with a connection from a to b.
func made(t *testing.T, seed uint64, p netsim.Params, cfg Config) (s *sim, a, b *end) {
	t.Helper()
	s = newSim(t, seed, p, p)
	b = s.listen(s.b, cfg)
	a = s.dial(s.a, cfg, b.sock.LocalAddr(), 77, false)
	s.run(10*time.Second, "connecting", func() bool { return a.c.state == connected && b.c != nil && b.c.alive.any })
	return s, a, b
}

func (e *end) give(b []byte) {
	e.toSend = append(e.toSend, b...)
	e.pump()
}

func TestRTTFilter(t *testing.T) {
	f := newRTTFilter()
	f.add(192704 * time.Microsecond)
	if f.rtt != 111588*time.Microsecond || f.dev != 60676*time.Microsecond {
		t.Errorf("%v, %v", f.rtt, f.dev)
	}
}

func TestEstimators(t *testing.T) {
	a := newArrivals(0)
	if speed, capacity := a.rates(); speed != 1 || capacity != 1000 {
		t.Errorf("at first %d and %d, want 1 and 1000", speed, capacity)
	}
	now := time.Duration(0)
	for i := range int64(2000) {
		now += 100 * time.Microsecond
		if i%50 == 7 {
			now += 9 * ms // a pause, which is no property of the path
		}
		a.packet(now, i, seq(i), 1)
		a.end(now)
	}
	if speed, capacity := a.rates(); speed != 10000 || capacity != 10000 {
		t.Errorf("%d and %d, want 10000 twice", speed, capacity)
	}
	for i := range int64(2000) { // read by sixteens, as they come from a fast path
		if i%16 == 0 {
			now += 1600 * time.Microsecond
			a.end(now)
		}
		a.packet(now, i, seq(i), 1)
	}
	if speed, capacity := a.rates(); speed != 10000 || capacity != 100000 {
		t.Errorf("in batches %d and %d, want 10000 and 100000", speed, capacity)
	}
	w := newSampleWindow(16, 0)
	if r := w.rate(8); r != 0 {
		t.Errorf("no time at all: %d", r)
	}
}

func TestCookie(t *testing.T) {
	g := newGreeter(Config{}, [32]byte{7})
	from := netip.MustParseAddrPort("192.0.2.1:5")
	hs := handshake{version: version, kind: typeStream, isn: 9, mss: 1500, window: 100, req: reqClient, id: 3}
	ask := func(now time.Duration, from netip.AddrPort, hs handshake) (handshake, bool) {
		var out outbox
		b := hs.append(nil, 0)
		h, body, _ := parseHeader(b)
		_, ok := g.greet(now, from, h, body, &out)
		if len(out.ds) == 0 {
			return handshake{}, ok
		}
		if len(out.ds[0].B) > len(b) {
			t.Errorf("%d bytes were answered by %d", len(b), len(out.ds[0].B))
		}
		answer, err := parseHandshake(out.ds[0].B[headerLen:])
		if err != nil {
			t.Fatal(err)
		}
		return answer, ok
	}
	challenge, ok := ask(0, from, hs)
	if ok || challenge.req != reqClient || challenge.cookie == 0 {
		t.Fatalf("challenge %+v, %v", challenge, ok)
	}
	hs.req, hs.cookie = reqConclude, challenge.cookie
	other := hs
	other.kind = typeMessages
	if answer, ok := ask(0, from, other); ok || answer.req != reqRefuse {
		t.Errorf("another type: %v, %+v", ok, answer)
	}
	for _, tt := range []struct {
		name string
		now  time.Duration
		from string
		flip uint32
		want bool
	}{
		{"at once", 0, "192.0.2.1:5", 0, true},
		{"the epoch after", 59 * time.Second, "192.0.2.1:5", 0, true},
		{"another port", 0, "192.0.2.1:6", 0, false},
		{"another address", 0, "192.0.2.2:5", 0, false},
		{"another bit", 0, "192.0.2.1:5", 1 << 9, false},
		{"too late", 61 * time.Second, "192.0.2.1:5", 0, false},
	} {
		try := hs
		try.cookie ^= tt.flip
		answer, ok := ask(tt.now, netip.MustParseAddrPort(tt.from), try)
		if ok != tt.want || !ok && answer.req != reqClient {
			t.Errorf("%s: %v, answered by %+v", tt.name, ok, answer)
		}
	}
	// A flood from one address gets few answers.
	hs.req = reqClient
	for range 5000 {
		ask(62*time.Second, from, hs)
	}
	if n := g.limits.RateLimited; n < 3900 {
		t.Errorf("%d of 5000 requests were not answered", n)
	}
}

// TestConnectUnderLoss loses half of all packets in both directions.
func TestConnectUnderLoss(t *testing.T) {
	made := 0
	for seed := range uint64(200) {
		p := netsim.Params{Delay: 10 * ms, Loss: 0.5}
		s := newSim(t, seed, p, p)
		b := s.listen(s.b, Config{})
		a := s.dial(s.a, Config{}, b.sock.LocalAddr(), seq(seed), false)
		s.w.RunUntil(3*connectTimeout, func() bool { return a.c.state != connecting })
		if a.c.state == connected {
			made++
		} else if !errors.Is(a.c.err, ErrTimeout) {
			t.Errorf("seed %d: %v", seed, a.c.err)
		}
	}
	// Four packets in turn, at a quarter a try: 12 tries make two successes.
	if made < 155 {
		t.Errorf("%d of 200 connected", made)
	}
}

func TestAnswersOfListeners(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*handshake)
		want error
	}{
		{"refused", func(h *handshake) { h.req = reqRefuse }, ErrRefused},
		{"another reason", func(h *handshake) { h.req = 1007 }, ErrRefused},
		{"another number", func(h *handshake) { h.req = reqConclude; h.isn++ }, ErrSecurity},
		{"MSS above ours", func(h *handshake) { h.req = reqConclude; h.mss = 9000 }, ErrTimeout},
		{"no ID", func(h *handshake) { h.req = reqConclude; h.id = 0 }, ErrTimeout},
		{"nonsense", func(h *handshake) { h.req = 7 }, ErrTimeout},
		{"accepted", func(h *handshake) { h.req, h.id = reqConclude, 9 }, nil},
	} {
		s := newSim(t, 1, netsim.Params{}, netsim.Params{})
		var sock *netsim.Socket
		sock, err := s.b.Listen(9, func(_ time.Duration, d netsim.Datagram) {
			h, body, _ := parseHeader(d.Payload)
			if hs, err := parseHandshake(body); err == nil && h.kind() == kindHandshake {
				id := hs.id
				tt.edit(&hs)
				_ = sock.Send(d.Src, hs.append(nil, id))
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		a := s.dial(s.a, Config{}, sock.LocalAddr(), 5, false)
		s.w.Run(4 * time.Second)
		if !errors.Is(a.c.err, tt.want) || (a.c.state == connected) != (tt.want == nil) {
			t.Errorf("%s: %v, %v", tt.name, a.c.state, a.c.err)
		}
	}
}

// TestAcceptLost: the server speaks first, and its answer to the handshake is
// lost.
func TestAcceptLost(t *testing.T) {
	p := netsim.Params{Delay: 10 * ms}
	s := newSim(t, 1, p, p)
	b := s.listen(s.b, Config{})
	want := noise(1, 100000)
	b.toSend = want
	lose := 2
	b.filter = func(h header, _ []byte) bool {
		if h.control() && h.kind() == kindHandshake && b.c != nil && lose > 0 {
			lose--
			return false
		}
		return true
	}
	a := s.dial(s.a, Config{}, b.sock.LocalAddr(), 5, false)
	s.run(2*time.Second, "transfer", func() bool { return len(a.got) == len(want) })
	mustEqual(t, "down", a.got, want)
}

// TestLostRepeatedly drops the first copies of one packet.
func TestLostRepeatedly(t *testing.T) {
	for _, last := range []bool{false, true} {
		const rtt = 50 * ms
		s, a, b := made(t, 1, netsim.Params{Delay: rtt / 2}, Config{})
		a.give(noise(1, 200000)) // an estimate of the RTT
		s.run(10*time.Second, "first bytes", func() bool { return len(b.got) == 200000 && a.c.send.acked == a.c.send.end })
		start, from := s.w.Now(), a.c.send.next
		target := from + 5
		want := noise(2, 30*a.c.payload)
		if last {
			target = from + 29
		}
		copies := 0
		a.filter = func(h header, _ []byte) bool {
			if !h.control() && h.seq() == a.c.isn.add(target) {
				copies++
				return copies > 3
			}
			return true
		}
		before := a.c.count.Sent
		a.give(want)
		s.run(10*time.Second, "repair", func() bool { return len(b.got) == 200000+len(want) })
		mustEqual(t, "bytes", b.got[200000:], want)
		// The last packet has nothing behind it that shows its loss.
		limit := 8*rtt + 100*ms
		if d := s.w.Now() - start; d > limit || a.c.count.Sent-before > 45 {
			t.Errorf("last %v: repaired after %v with %d packets: %v", last, d, a.c.count.Sent-before, a)
		}
	}
}

// TestRepeatedReports: what is sent again is remembered only for peers that
// report a loss once, which is to be told from probes and doubled reports.
func TestRepeatedReports(t *testing.T) {
	s, a, b := made(t, 3, netsim.Params{Delay: 10 * ms, Rate: 12.5e6, Loss: 0.05}, Config{})
	want := noise(1, 8<<20)
	a.give(want)
	s.run(time.Minute, "transfer", func() bool { return len(b.got) == len(want) })
	if x := &a.c.send; !x.repeats || len(x.resents) > 0 || a.c.count.Resent < 100 {
		t.Errorf("repeats %v, %d of %d repetitions are remembered", x.repeats, len(x.resents), a.c.count.Resent)
	}

	s, a, _ = made(t, 1, netsim.Params{Delay: 10 * ms}, Config{})
	a.filter = func(h header, _ []byte) bool { return h.control() }
	a.give(noise(1, 5*1456))
	x := &a.c.send
	s.run(10*time.Second, "probes", func() bool { return x.get(x.acked).times > 1 })
	first := a.c.isn.add(x.acked)
	report := func() {
		h, body, err := parseHeader(appendRange(controlHeader(kindNak, 0, a.c.id).append(nil), seqRange{first, first}))
		if err != nil {
			t.Fatal(err)
		}
		a.c.receive(s.w.Now(), h, body)
		a.pump()
	}
	report()
	report()
	if x.repeats {
		t.Error("a first report, which came twice, is taken for a repetition")
	}
	s.w.Run(s.w.Now() + 50*ms)
	report()
	if !x.repeats {
		t.Error("a repeated report was not seen to be one")
	}
}

// TestStalledReader: the sender stays within the window, and goes on at once.
func TestStalledReader(t *testing.T) {
	const rtt = 50 * ms
	s, a, b := made(t, 1, netsim.Params{Delay: rtt / 2}, Config{RecvBuffer: 100 * 1456})
	b.mute = true
	want := noise(1, 1000*1456)
	a.give(want)
	s.w.Run(s.w.Now() + 10*time.Second)
	r := &b.c.recv
	if n := r.high - r.base + 1; n < 95 || n > r.size+recvReserve {
		t.Errorf("%d packets in a buffer of %d", n, r.size)
	}
	if a.c.count.Sent > 200 {
		t.Errorf("%d packets were sent to one who does not read", a.c.count.Sent)
	}
	was := r.high
	b.mute = false
	start := s.w.Now()
	b.drain()
	b.pump()
	s.run(time.Second, "going on", func() bool { return r.high > was })
	if d := s.w.Now() - start; d > rtt+20*ms {
		t.Errorf("went on after %v", d)
	}
	s.run(time.Minute, "the rest", func() bool { return len(b.got) == len(want) })
	mustEqual(t, "bytes", b.got, want)
}

// TestStallIsNoLoss: a reader that stops for a while costs that while and no more.
func TestStallIsNoLoss(t *testing.T) {
	for _, name := range []string{"bbr", "cubic", "native"} {
		s, a, b := made(t, 1, netsim.Params{Delay: 25 * ms, Rate: 12.5e6}, Config{Control: name, RecvBuffer: 2 << 20})
		want := noise(1, 12<<20)
		a.give(want)
		s.run(30*time.Second, "the first bytes", func() bool { return len(b.got) > 4<<20 })
		b.mute = true
		s.run(5*time.Second, "a full window", func() bool { return a.c.send.closed })
		before := a.c.count
		s.w.Run(s.w.Now() + 8*time.Second)
		if n := a.c.count; n.Lost != before.Lost || n.Timeouts != before.Timeouts || b.c.count.Refused == 0 {
			t.Errorf("%s: refused packets count as lost: %+v, before %+v", name, n, before)
		}
		start := s.w.Now()
		b.mute = false
		b.drain()
		b.pump()
		s.run(time.Minute, "the rest", func() bool { return len(b.got) == len(want) })
		if d := s.w.Now() - start; d > time.Second { // some 5 MB at 12.5 MB/s
			t.Errorf("%s: the rest took %v: %v", name, d, a)
		}
		mustEqual(t, name, b.got, want)
	}
}

// TestAckSchedule watches what a receiver says.
func TestAckSchedule(t *testing.T) {
	s, a, b := made(t, 1, netsim.Params{Delay: 5 * ms, Rate: 12.5e6}, Config{})
	var lastFull, lastAny time.Duration
	light, sub := 0, uint32(0)
	b.sent = func(now time.Duration, h header, body []byte) {
		if !h.control() || h.kind() != kindAck {
			return
		}
		k, err := parseAck(h, body)
		if err != nil {
			t.Fatal(err)
		}
		switch k.form {
		case ackLight:
			light++
			return
		case ackFull:
			if lastFull > 0 && now-lastFull <= synInterval-ms {
				t.Errorf("full ACKs at %v and %v", lastFull, now)
			}
			lastFull = now
			if k.capacity == 0 {
				t.Error("a capacity of 0 was told")
			}
		}
		if sub > 0 && k.sub != sub+1 {
			t.Errorf("ACK %d after %d", k.sub, sub)
		}
		if k.free < 2 {
			t.Errorf("%d packets of room were told", k.free)
		}
		sub, lastAny = k.sub, now
	}
	a.give(noise(1, 4<<20))
	s.run(10*time.Second, "transfer", func() bool { return len(b.got) == 4<<20 })
	done := s.w.Now()
	s.w.Run(done + 5*time.Second)
	if lastAny > done+100*ms {
		t.Errorf("the last ACK came %v after the data", lastAny-done)
	}
	if light < 5 {
		t.Errorf("%d light ACKs", light)
	}
	// Silence does not end it, and costs little.
	n := a.c.alive.heardReal
	s.w.Run(done + 10*time.Minute)
	if a.c.state != connected || b.c.state != connected || a.c.alive.heardReal == n {
		t.Errorf("after ten idle minutes: %v, %v", a, b)
	}
}

// TestPairs: the packets of a probe follow each other at once.
func TestPairs(t *testing.T) {
	s, a, b := made(t, 1, netsim.Params{Delay: 5 * ms}, Config{MaxRate: 500e3})
	at := make(map[seq]time.Duration)
	a.sent = func(now time.Duration, h header, _ []byte) {
		if !h.control() && at[h.seq()] == 0 {
			at[h.seq()] = now
		}
	}
	start := s.w.Now()
	a.give(noise(1, 1000*1456))
	s.run(10*time.Second, "transfer", func() bool { return len(b.got) == 1000*1456 })
	for q, when := range at {
		if next, ok := at[q.add(1)]; q%probeEvery == 0 && ok && next != when {
			t.Errorf("%d at %v, %d at %v", q, when, q.add(1), next)
		}
	}
	want := 1000 * 1500.0 / 500e3
	if d := (s.w.Now() - start).Seconds(); d < want*0.98 || d > want*1.02 {
		t.Errorf("1.5 MB at 500 kB/s took %v s", d)
	}
}

// TestLastAck: who closes as soon as everything is read still acknowledges it.
func TestLastAck(t *testing.T) {
	s, a, b := made(t, 1, netsim.Params{Delay: 10 * ms}, Config{})
	want := noise(1, 3*a.c.payload) // acknowledgements of full packets may wait
	a.give(want)
	s.run(time.Second, "transfer", func() bool { return len(b.got) == len(want) })
	b.c.close(s.w.Now(), time.Second)
	b.pump()
	s.run(time.Second, "the end", func() bool { return a.c.state == broken })
	if x := &a.c.send; x.acked != x.end {
		t.Errorf("%d of %d packets were acknowledged", x.acked, x.end)
	}
}

// TestOvertakenWindow: an acknowledgement that another one has overtaken closes
// no window.
func TestOvertakenWindow(t *testing.T) {
	s, a, _ := made(t, 1, netsim.Params{Delay: 5 * ms}, Config{})
	x := &a.c.send
	for _, tt := range []struct {
		sub, free uint32
		want      int64
	}{{11, 1000, 1000}, {10, 2, 1000}, {12, 2, 2}, {13, 500, 500}} {
		h, body, err := parseHeader(ack{sub: tt.sub, form: ackMedium, next: a.c.isn.add(x.acked), free: tt.free}.append(nil, a.c.id))
		if err != nil {
			t.Fatal(err)
		}
		a.c.receive(s.w.Now(), h, body)
		a.pump()
		if got := x.load.limit - x.load.acked; got != tt.want || x.closed != (tt.want == 2) {
			t.Errorf("after ACK %d: room for %d packets, closed %v, want %d", tt.sub, got, x.closed, tt.want)
		}
	}
}

// TestHostile feeds a connection what its peer would never send.
func TestHostile(t *testing.T) {
	s, a, b := made(t, 1, netsim.Params{Delay: 5 * ms}, Config{})
	want := noise(1, 1<<20)
	a.toSend = want
	c := a.c
	beyond := c.isn.add(1 << 20)
	for _, p := range [][]byte{
		ack{form: ackFull, sub: 1, next: beyond, free: 100}.append(nil, c.id),
		ack{form: ackLight, next: beyond}.append(nil, c.id),
		appendRange(controlHeader(kindNak, 0, c.id).append(nil), seqRange{c.isn, beyond}),
		appendRange(controlHeader(kindNak, 0, c.id).append(nil), seqRange{5, 4}),
		drop{1, seqRange{c.isn, beyond}}.append(nil, c.id),
		appendEmpty(nil, kindAck2, 12345, c.id),
		append(dataHeader(beyond, partOnly, 0, c.id).append(nil), 1, 2, 3),
		append(dataHeader(c.isn.add(-5), partOnly, 0, c.id).append(nil), 1, 2, 3),
		append(dataHeader(c.isn, partOnly, 0, c.id).append(nil), make([]byte, 3000)...),
	} {
		h, body, err := parseHeader(p)
		if err != nil {
			t.Fatal(err)
		}
		c.receive(s.w.Now(), h, body)
		a.pump()
	}
	if c.count.Bad+c.count.Refused < 8 {
		t.Errorf("taken for good: %+v", c.count)
	}
	s.run(10*time.Second, "transfer", func() bool { return len(b.got) == len(want) })
	mustEqual(t, "bytes", b.got, want)
}

// TestExpiredMessages: what is too late is given up, the rest arrives.
func TestExpiredMessages(t *testing.T) {
	s, a, b := made(t, 1, netsim.Params{Delay: 20 * ms}, Config{Messages: true})
	a.filter = func(h header, _ []byte) bool { // the second message never gets through
		return h.control() || h.msg().number() != 2
	}
	for i := range uint64(4) {
		var ttl time.Duration
		if i == 1 {
			ttl = 10 * ms
		}
		if ok, err := a.c.writeMessage(s.w.Now(), noise(i, 5000), ttl, true); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	a.pump()
	s.run(5*time.Second, "giving up", func() bool { return a.c.send.acked == a.c.send.end })
	buf := make([]byte, 6000)
	for _, i := range []uint64{0, 2, 3} {
		n := b.c.readMessage(buf)
		mustEqual(t, "message", buf[:max(n, 0)], noise(i, 5000))
	}
	if n := b.c.readMessage(buf); n != -1 || a.c.count.DroppedSent == 0 {
		t.Errorf("another message of %d bytes; %+v", n, a.c.count)
	}
}

// TestMessageWhileClosing: a long message goes on arriving at an end that has
// been closed while it came.
func TestMessageWhileClosing(t *testing.T) {
	s, a, b := made(t, 1, netsim.Params{Delay: 5 * ms, Rate: 1.25e6}, Config{Messages: true})
	a.filter = func(h header, _ []byte) bool { return !h.control() || h.kind() != kindAck }
	if ok, err := b.c.writeMessage(s.w.Now(), []byte("never acknowledged"), 0, true); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if ok, err := a.c.writeMessage(s.w.Now(), noise(1, 300*1456), 0, true); !ok || err != nil {
		t.Fatal(ok, err)
	}
	b.pump()
	a.pump()
	s.run(5*time.Second, "the beginning", func() bool { return b.c.recv.next > 10 })
	b.c.close(s.w.Now(), 10*time.Second)
	b.pump()
	s.run(5*time.Second, "the rest", func() bool { return a.c.send.acked == a.c.send.end })
	if b.c.state != closing {
		t.Errorf("%v, so the rest did not come while closing", b)
	}
}

// TestVainReports: to report what is on its way again costs the peer nothing, so a
// sender does not look at each of these packets for ever.
func TestVainReports(t *testing.T) {
	s, a, b := made(t, 1, netsim.Params{Delay: 50 * ms, Rate: 125e6}, Config{})
	want := noise(1, 8<<20)
	a.give(want)
	x := &a.c.send
	s.run(10*time.Second, "a window", func() bool { return x.next-x.acked > 1000 })
	h, body, err := parseHeader(appendRange(controlHeader(kindNak, 0, a.c.id).append(nil), seqRange{a.c.isn.add(x.acked), a.c.isn.add(x.next - 1)}))
	if err != nil {
		t.Fatal(err)
	}
	reports := int64(0)
	for range 40 {
		for range 50 {
			a.c.receive(s.w.Now(), h, body)
			reports++
		}
		a.pump()
		s.w.Run(s.w.Now() + ms)
	}
	if most := vainFree + vainTimes*a.c.count.Sent + reports; x.vain > most || a.c.count.Bad == 0 {
		t.Errorf("%d packets were looked at in vain, want %d at most; %d reports were dropped", x.vain, most, a.c.count.Bad)
	}
	s.run(time.Minute, "the rest", func() bool { return len(b.got) == len(want) })
	mustEqual(t, "bytes", b.got, want)
}

// TestIdleMemory: what a busy connection has taken it gives back when it is idle.
func TestIdleMemory(t *testing.T) {
	s, a, b := made(t, 1, netsim.Params{Delay: 25 * ms, Rate: 12.5e6}, Config{})
	a.give(noise(1, 4<<20))
	kept := [2]int{} // at some time, at each end
	s.run(time.Minute, "transfer", func() bool {
		kept = [2]int{max(kept[0], len(a.c.send.spare)), max(kept[1], len(b.c.recv.spare))}
		return len(b.got) == 4<<20
	})
	if kept[0] == 0 || kept[1] == 0 {
		t.Fatalf("%v slabs were kept for the next packets", kept)
	}
	s.w.Run(s.w.Now() + 3*time.Second)
	if n, m := len(a.c.send.spare), len(b.c.recv.spare); n+m > 0 {
		t.Errorf("after 3 s %d and %d slabs are kept", n, m)
	}
	a.give(noise(2, 1<<20))
	s.run(time.Minute, "more", func() bool { return len(b.got) == 5<<20 })
}

// FuzzCore feeds a connection any packets.
func FuzzCore(f *testing.F) {
	for _, v := range vectors {
		f.Add(unhex(f, v.text), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, messages bool) {
		p := netsim.Params{Delay: ms}
		cfg := Config{Messages: messages}
		s := newSim(t, 1, p, p)
		y := s.listen(s.b, cfg)
		x := s.dial(s.a, cfg, y.sock.LocalAddr(), 0x164f21f5, false)
		s.w.Run(100 * ms)
		if !messages {
			x.give(make([]byte, 50000))
		}
		for len(b) >= headerLen {
			n := min(len(b), headerLen+int(b[0]&63))
			h, body, _ := parseHeader(b[:n])
			x.c.receive(s.w.Now(), h, body)
			x.pump()
			b = b[n:]
		}
		s.w.Run(s.w.Now() + time.Second)
	})
}
