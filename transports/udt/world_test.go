package udt

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/transports/internal/cc"
)

// sim is connections over a simulated network.
type sim struct {
	t    testing.TB
	w    *netsim.World
	a, b *netsim.Host
}

func newSim(t testing.TB, seed uint64, ab, ba netsim.Params) *sim {
	t.Helper()
	w := netsim.NewWorld(seed)
	host := func(name string, up netsim.Params) *netsim.Host {
		h, err := w.AddHost(name, up, netsim.Params{}, netip.AddrFrom4([4]byte{10, 0, 0, name[0]}))
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	return &sim{t, w, host("a", ab), host("b", ba)}
}

// end is one end of a connection in a world: it sends what it is given, and
// keeps what it gets.
type end struct {
	s      *sim
	name   string
	sock   *netsim.Socket
	c      *core
	greet  *greeter
	cfg    Config
	timer  *netsim.Timer
	out    outbox
	toSend []byte
	got    []byte
	mute   bool // does not read
	top    int  // what the first link takes, for Config.FindMTU
	filter func(h header, b []byte) bool
	sent   func(now time.Duration, h header, b []byte)
	accept func(*core)
	feed   func(now time.Duration) // writes messages
	eat    func()                  // reads messages
}

func (s *sim) listen(h *netsim.Host, cfg Config) *end {
	s.t.Helper()
	cfg, err := cfg.validate()
	if err != nil {
		s.t.Fatal(err)
	}
	e := &end{s: s, name: h.Name(), cfg: cfg}
	if e.sock, err = h.Listen(0, e.handle); err != nil {
		s.t.Fatal(err)
	}
	e.timer = s.w.NewTimer(e.pump)
	e.greet = newGreeter(cfg, [32]byte{1, 2, 3})
	return e
}

func control(t testing.TB, cfg Config) cc.Controller {
	t.Helper()
	name := cfg.Control
	if name == "" {
		name = defaultControl
	}
	c, err := cc.New(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *sim) dial(h *netsim.Host, cfg Config, to netip.AddrPort, isn seq, rendezvous bool) *end {
	e := s.listen(h, cfg)
	e.c = newCore(e.cfg, control(s.t, cfg), s.w.Now(), to, 0x1000+uint32(e.sock.LocalAddr().Port()), isn)
	e.c.dial(s.w.Now(), rendezvous)
	e.pump()
	return e
}

func (e *end) handle(now time.Duration, d netsim.Datagram) {
	h, body, err := parseHeader(d.Payload)
	if err != nil {
		return
	}
	switch {
	case e.c != nil && h.id == e.c.id && d.Src == e.c.peer:
		e.c.receive(now, h, body)
	case h.id == 0 && e.c != nil && d.Src == e.c.peer && e.c.connect.rendezvous:
		e.c.receive(now, h, body)
	case h.id == 0:
		hs, ok := e.greet.greet(now, d.Src, h, body, &e.out)
		if ok && e.c == nil {
			e.c = newCore(e.cfg, control(e.s.t, e.cfg), now, d.Src, 0x2000, hs.isn)
			e.c.mtu.top = e.top
			e.c.accept(now, &hs)
			if e.accept != nil {
				e.accept(e.c)
			}
		} else if ok && e.c.peerID == hs.id {
			e.c.repeatAccept()
		}
	}
	e.pump()
}

// pump is what a loop does after each event.
func (e *end) pump() {
	now := e.s.w.Now()
	for range 100 {
		if e.c != nil {
			if e.c.state == connected || e.c.state == closing {
				n := e.c.write(e.toSend)
				e.toSend = e.toSend[n:]
				if e.feed != nil {
					e.feed(now)
				}
			}
			e.c.collect(now, &e.out)
		}
		e.flush(now)
		if e.c == nil {
			return
		}
		e.drain()
		if d := e.c.deadline(); d > now {
			if d < never {
				e.timer.Reset(d)
			}
			return
		}
	}
	e.s.t.Fatalf("%s at %v: does not come to rest: %v", e.name, now, e.c.state)
}

func (e *end) drain() {
	if e.eat != nil && !e.mute && (e.c.state == connected || e.c.state == broken) {
		e.eat()
		return
	}
	var b [64 << 10]byte
	for !e.mute && !e.c.cfg.Messages && (e.c.state == connected || e.c.state == broken) {
		n := e.c.read(b[:])
		e.got = append(e.got, b[:n]...)
		if n == 0 {
			return
		}
	}
}

func (e *end) flush(now time.Duration) {
	for _, d := range e.out.ds {
		for _, b := range segments(d) {
			h, body, err := parseHeader(b)
			if err != nil {
				e.s.t.Fatal(err)
			}
			if e.sent != nil {
				e.sent(now, h, body)
			}
			if e.filter != nil && !e.filter(h, body) {
				continue
			}
			if err := e.sock.Send(d.Peer, b); err != nil {
				e.s.t.Fatal(err)
			}
		}
	}
	e.out.reset()
}

func segments(d netx.Datagram) (l [][]byte) {
	b := d.B
	for d.Segment > 0 && len(b) > d.Segment {
		l = append(l, b[:d.Segment])
		b = b[d.Segment:]
	}
	return append(l, b)
}

func noise(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

// run lets the world go on until done.
func (s *sim) run(limit time.Duration, what string, done func() bool) {
	s.t.Helper()
	if !s.w.RunUntil(s.w.Now()+limit, done) {
		s.t.Fatalf("seed %d: not done at %v: %s", s.w.Seed(), s.w.Now(), what)
	}
}

func (e *end) String() string {
	if e.c == nil {
		return e.name + ": no connection"
	}
	x, r := &e.c.send, &e.c.recv
	return fmt.Sprintf("%s: %v %v, acked %d next %d end %d limit %d lost %d out %d, got %d base %d next %d high %d gaps %d; ctl %+v; %+v",
		e.name, e.c.state, e.c.err, x.acked, x.next, x.end, x.load.limit, x.lost.Total(), x.inFlight, len(e.got), r.base, r.next, r.high, r.gaps.packets, e.c.ctl, e.c.count)
}

func mustEqual(t testing.TB, name string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		t.Fatalf("%s: %d bytes, want %d, different from %d on", name, len(got), len(want), i)
	}
}

const ms = time.Millisecond

// TestTransfer moves bytes both ways over all kinds of paths.
func TestTransfer(t *testing.T) {
	path := func(delay time.Duration, loss float64) netsim.Params {
		return netsim.Params{Rate: 12.5e6, Delay: delay, Loss: loss}
	}
	with := func(p netsim.Params, f func(*netsim.Params)) netsim.Params { f(&p); return p }
	tests := []struct {
		name string
		path netsim.Params
		isn  seq
		cfg  Config
		n, m int
	}{
		{"clean", path(25*ms, 0), 5, Config{}, 8 << 20, 0},
		{"both ways", path(25*ms, 0), 5, Config{}, 4 << 20, 4 << 20},
		{"one byte", path(25*ms, 0), 5, Config{}, 1, 1},
		{"loss 1%", path(25*ms, 0.01), 5, Config{}, 4 << 20, 1 << 20},
		{"loss 10%", path(25*ms, 0.1), 5, Config{}, 2 << 20, 1 << 20},
		{"loss 30%", path(5*ms, 0.3), 5, Config{}, 300 << 10, 300 << 10},
		{"reordering", with(path(25*ms, 0), func(p *netsim.Params) { p.Reorder = 0.05 }), 5, Config{}, 2 << 20, 2 << 20},
		{"duplicates", with(path(25*ms, 0), func(p *netsim.Params) { p.Duplicate = 0.1 }), 5, Config{}, 2 << 20, 2 << 20},
		{"corruption", with(path(25*ms, 0.001), func(p *netsim.Params) { p.Corrupt = 0.01 }), 5, Config{}, 2 << 20, 2 << 20},
		{"bursts", with(path(25*ms, 0), func(p *netsim.Params) {
			p.Burst = netsim.GilbertElliott{Enter: 0.002, Exit: 0.1, Loss: 0.7}
		}), 5, Config{}, 2 << 20, 1 << 20},
		{"wrap", path(5*ms, 0.01), seqMask - 300, Config{}, 2 << 20, 2 << 20},
		{"small packets", path(5*ms, 0.01), 5, Config{MSS: 200}, 300 << 10, 300 << 10},
		{"small buffers", path(5*ms, 0.01), 5, Config{SendBuffer: 64 << 10, RecvBuffer: 64 << 10}, 1 << 20, 1 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSim(t, 7, tt.path, tt.path)
			b := s.listen(s.b, tt.cfg)
			a := s.dial(s.a, tt.cfg, b.sock.LocalAddr(), tt.isn, false)
			up, down := noise(1, tt.n), noise(2, tt.m)
			a.toSend, b.toSend = up, down
			s.run(300*time.Second, "transfer", func() bool { return len(a.got) >= len(down) && len(b.got) >= len(up) })
			t.Logf("%v; %v\n%v", s.w.Now(), a, b)
			mustEqual(t, "up", b.got, up)
			mustEqual(t, "down", a.got, down)
			a.c.close(s.w.Now(), 10*time.Second)
			a.pump()
			s.run(20*time.Second, "closing", func() bool { return a.c.gone() && b.c.state == broken })
			if b.c.err != ErrShutdown {
				t.Errorf("the other end ended with %v", b.c.err)
			}
		})
	}
}
