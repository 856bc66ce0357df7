package udt

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/units"
)

// shared is a world of one link that all flows of a test share, with a queue in
// bytes and losses at random.
type shared struct {
	t     *testing.T
	w     *netsim.World
	hop   *netsim.Hop
	rate  units.Rate
	hosts int
	lumps time.Duration // packets are handed over at multiples of this; 0 is at once
	flows []*flow
}

// newShared makes a link of so many Mbit/s with a queue of so much time.
func newShared(t *testing.T, mbit float64, queue time.Duration, loss float64) *shared {
	t.Helper()
	s := &shared{t: t, w: netsim.NewWorld(1), rate: units.Rate(mbit * 1e6 / 8)}
	var err error
	bytes := int64(float64(s.rate) * queue.Seconds())
	if s.hop, err = s.w.AddLink("shared", netsim.Params{Rate: s.rate, Queue: netsim.Limit{Bytes: bytes}, Loss: loss}); err != nil {
		t.Fatal(err)
	}
	return s
}

// pair adds two hosts with an RTT between them, one each side of the link.
func (s *shared) pair(rtt time.Duration) (from, to *netsim.Host) {
	s.t.Helper()
	var made [2]*netsim.Host
	for i := range made {
		line := netsim.Params{Delay: rtt / 4}
		h, err := s.w.AddHost(fmt.Sprint("h", s.hosts), line, line, netip.AddrFrom4([4]byte{10, 0, 1, byte(s.hosts + 1)}))
		if err != nil {
			s.t.Fatal(err)
		}
		made[i], s.hosts = h, s.hosts+1
	}
	s.w.Route(made[0], made[1], s.hop)
	return made[0], made[1]
}

// flow is a connection through the shared link that sends as long as the world
// runs.
type flow struct {
	s    *shared
	a, b *station
}

// station is one end of a flow.
type station struct {
	s     *shared
	cfg   Config
	sock  *netsim.Socket
	c     *core
	greet *greeter
	timer *netsim.Timer
	out   outbox
	lump  []netsim.Datagram // that came, and were not handed over
	buf   []byte            // of zeros, to be sent without end; nil sends nothing
	got   int64             // bytes read
}

// add adds a flow with a congestion control, from start on.
func (s *shared) add(name string, rtt, start time.Duration) *flow {
	s.t.Helper()
	from, to := s.pair(rtt)
	cfg := Config{Control: name, SendBuffer: 256 << 20, RecvBuffer: 256 << 20}
	f := &flow{s, s.station(from, cfg), s.station(to, cfg)}
	f.a.buf = make([]byte, 1<<20)
	s.w.At(start, func() {
		id := uint32(0x1000 + len(s.flows)*7919 + s.hosts)
		f.a.c = newCore(f.a.cfg, control(s.t, f.a.cfg), s.w.Now(), f.b.sock.LocalAddr(), id, seq(id))
		f.a.c.dial(s.w.Now(), false)
		f.a.pump()
	})
	s.flows = append(s.flows, f)
	return f
}

func (s *shared) station(h *netsim.Host, cfg Config) *station {
	s.t.Helper()
	cfg, err := cfg.validate()
	if err != nil {
		s.t.Fatal(err)
	}
	e := &station{s: s, cfg: cfg, greet: newGreeter(cfg, [32]byte{1})}
	if e.sock, err = h.Listen(0, e.handle); err != nil {
		s.t.Fatal(err)
	}
	e.timer = s.w.NewTimer(e.pump)
	return e
}

// handle takes a datagram, at once or with the others of its lump.
func (e *station) handle(now time.Duration, d netsim.Datagram) {
	if e.s.lumps == 0 {
		e.take(now, d)
		e.pump()
		return
	}
	d.Payload = bytes.Clone(d.Payload)
	if e.lump = append(e.lump, d); len(e.lump) > 1 {
		return
	}
	e.s.w.At(now-now%e.s.lumps+e.s.lumps, func() {
		for _, d := range e.lump {
			e.take(e.s.w.Now(), d)
		}
		e.lump = e.lump[:0]
		e.pump()
	})
}

func (e *station) take(now time.Duration, d netsim.Datagram) {
	h, body, err := parseHeader(d.Payload)
	if err != nil {
		return
	}
	switch {
	case e.c != nil && h.id == e.c.id:
		e.c.receive(now, h, body)
	case h.id == 0:
		if hs, ok := e.greet.greet(now, d.Src, h, body, &e.out); ok && e.c == nil {
			e.c = newCore(e.cfg, control(e.s.t, e.cfg), now, d.Src, 0x2000, hs.isn)
			e.c.accept(now, &hs)
		}
	}
}

func (e *station) pump() {
	var into [64 << 10]byte
	now := e.s.w.Now()
	for range 100 {
		if e.c != nil {
			for e.buf != nil && e.c.state == connected && e.c.write(e.buf) == len(e.buf) {
			}
			e.c.collect(now, &e.out)
		}
		for _, d := range e.out.ds {
			for _, b := range segments(d) {
				if err := e.sock.Send(d.Peer, b); err != nil {
					e.s.t.Fatal(err)
				}
			}
		}
		e.out.reset()
		if e.c == nil {
			return
		}
		for n := 1; n > 0 && e.c.state == connected; {
			n = e.c.read(into[:])
			e.got += int64(n)
		}
		if d := e.c.deadline(); d > now {
			if d < never {
				e.timer.Reset(d)
			}
			return
		}
	}
	e.s.t.Fatalf("at %v: does not come to rest", now)
}

// tcp adds a modelled TCP connection.
func (s *shared) tcp(c netsim.Control, rtt, start time.Duration) *netsim.Flow {
	s.t.Helper()
	from, to := s.pair(rtt)
	f, err := s.w.AddFlow(from, to, netsim.FlowConfig{Name: fmt.Sprint("tcp", s.hosts), Control: c, Start: start})
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// shares runs from begin to end and gives what each flow delivered in that time,
// as a share of what the link can carry of the bytes of programs.
func (s *shared) shares(begin, end time.Duration) (l []float64) {
	s.w.Run(begin)
	for _, f := range s.flows {
		l = append(l, float64(f.b.got))
	}
	s.w.Run(end)
	for i, f := range s.flows {
		l[i] = (float64(f.b.got) - l[i]) / ((end - begin).Seconds() * float64(s.rate) * 0.965)
	}
	return l
}
