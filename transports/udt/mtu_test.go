package udt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/netx"
)

// wide is a connection over a path that takes packets of mtu bytes, between hosts
// whose links take more.
func wide(t *testing.T, seed uint64, path netsim.Params, mtu, top int, cfg Config) (s *sim, a, b *end) {
	t.Helper()
	s = newSim(t, seed, path, path)
	s.w.SetMTU(65535)
	s.narrow(mtu)
	cfg.FindMTU = true
	b = s.listen(s.b, cfg)
	b.top = top
	a = s.dial(s.a, cfg, b.sock.LocalAddr(), 5, false)
	a.c.mtu.top = top
	return s, a, b
}

// narrow changes what passes, both ways.
func (s *sim) narrow(mtu int) {
	s.a.Up().Link().SetMTU(mtu)
	s.b.Up().Link().SetMTU(mtu)
}

// closeTo tells that a size is what a path of mtu bytes takes, or little less.
func closeTo(size, mtu int) bool {
	mtu = min(mtu, mostMTU)
	return size <= mtu && size >= mtu-max(16, mtu/64)
}

// wantSize fails unless the end sends packets of the size of the path.
func wantSize(t *testing.T, e *end, mtu int) {
	t.Helper()
	if !closeTo(e.c.mtu.size, mtu) {
		t.Errorf("%s sends packets of %d bytes where %d pass\n%v", e.name, e.c.mtu.size, mtu, e)
	}
}

var jumboPath = netsim.Params{Rate: 25e6, Delay: 10 * ms, Queue: netsim.Limit{Time: 20 * ms}}

// TestFindMTU: the size of the path is found within some round trips, whatever it is,
// and nothing but a few probes is lost for it.
func TestFindMTU(t *testing.T) {
	for _, tt := range []struct {
		mtu, top int
		trips    time.Duration // round trips from the first full packet
	}{
		{576, 1500, 12}, {1000, 1500, 44}, {1280, 1500, 24}, {1300, 1500, 24}, {1400, 1500, 2}, {1420, 1500, 24}, {1500, 1500, 2},
		{1500, 9000, 2}, {4000, 9000, 44}, {9000, 9000, 2}, {8000, 65535, 44}, {9000, 65535, 2}, {12000, 65535, 44}, {65535, 65535, 2},
	} {
		t.Run(fmt.Sprintf("%d of %d", tt.mtu, tt.top), func(t *testing.T) {
			s, a, b := wide(t, 7, jumboPath, tt.mtu, tt.top, Config{})
			data := noise(1, 14<<20)
			a.toSend = data
			s.run(time.Minute, "connecting", func() bool { return a.c.mtu.active })
			begun := s.w.Now()
			s.run(10*time.Second, "finding the size", func() bool { return closeTo(a.c.mtu.size, tt.mtu) })
			if took := s.w.Now() - begun; took > tt.trips*20*ms+50*ms {
				t.Errorf("it took %v", took)
			}
			s.run(time.Minute, "transfer", func() bool { return len(b.got) == len(data) })
			mustEqual(t, "data", b.got, data)
			wantSize(t, a, tt.mtu)
			if n := s.a.Up().Link().Counters().Drops[netsim.DropSize]; tt.mtu >= firstMTU && n > 20*mtuTries {
				t.Errorf("%d packets were too long", n)
			}
			if b.c.mtu.active || b.c.mtu.size != firstMTU {
				t.Errorf("who sends nothing has searched: %+v", b.c.mtu)
			}
			t.Logf("%v: %+v\n%v", s.w.Now(), a.c.mtu, a)
		})
	}
}

// TestMTUShrinks: the path takes less all of a sudden, and nobody says so.
func TestMTUShrinks(t *testing.T) {
	for _, tt := range []struct {
		from, to int
		loss     float64
		control  string
	}{
		{9000, 1500, 0, ""}, {9000, 1500, 0.01, ""}, {65535, 1500, 0, ""}, {65535, 9000, 0, "cubic"}, {9000, 576, 0, ""},
		{1500, 1300, 0, "native"}, {1500, 600, 0.01, "cubic"}, {9000, 4000, 0, "ledbat"},
	} {
		t.Run(fmt.Sprintf("%d to %d, loss %v, %s", tt.from, tt.to, tt.loss, tt.control), func(t *testing.T) {
			path := jumboPath
			path.Loss = tt.loss
			s, a, b := wide(t, 7, path, tt.from, tt.from, Config{Control: tt.control})
			data := noise(1, 8<<20)
			a.toSend = data
			s.run(time.Minute, "some of it", func() bool { return len(b.got) > 2<<20 })
			wantSize(t, a, tt.from)
			s.narrow(tt.to)
			s.w.Run(s.w.Now() + 20*ms) // what was on its way
			was := len(b.got)
			s.run(1000*ms, "going on", func() bool { return len(b.got) > was+64<<10 })
			s.run(2*time.Minute, "transfer", func() bool { return len(b.got) == len(data) && a.c.send.acked == a.c.send.end })
			mustEqual(t, "data", b.got, data)
			wantSize(t, a, tt.to)
			if len(b.c.recv.parts) > 0 || b.c.recv.there != 0 || b.c.recv.extra != 0 || a.c.send.inFlight != 0 {
				t.Errorf("left: %+v\n%v", b.c.recv.weights, a)
			}
			t.Logf("%v: %+v\n%v\n%v", s.w.Now(), a.c.mtu, a, b)
		})
	}
}

// TestMTUGrows: what the path takes more is found ten minutes later.
func TestMTUGrows(t *testing.T) {
	s, a, b := wide(t, 7, jumboPath, 1500, 9000, Config{})
	data := noise(1, 8<<20)
	a.toSend = data[:4<<20]
	s.run(time.Minute, "the first half", func() bool { return len(b.got) == 4<<20 })
	s.run(time.Minute, "the end of the search", func() bool { return !a.c.mtu.active })
	wantSize(t, a, 1500)
	s.narrow(9000)
	s.w.Run(s.w.Now() + mtuAgain)
	a.toSend = data[4<<20:]
	a.pump()
	s.run(time.Minute, "the second half", func() bool { return len(b.got) == 8<<20 })
	mustEqual(t, "data", b.got, data)
	wantSize(t, a, 9000)
}

// TestMTUUnderLoss: losses and outages do not make packets shorter.
func TestMTUUnderLoss(t *testing.T) {
	for seed := range uint64(6) {
		path := jumboPath
		path.Loss = 0.1
		s, a, b := wide(t, seed, path, 9000, 9000, Config{})
		data := noise(1, 4<<20)
		a.toSend = data
		s.run(time.Minute, "some of it", func() bool { return len(b.got) > 2<<20 })
		s.w.Partition([]*netsim.Host{s.a}, []*netsim.Host{s.b})
		s.w.Run(s.w.Now() + 3*time.Second)
		s.w.Partition()
		s.run(time.Minute, "transfer", func() bool { return len(b.got) == len(data) })
		mustEqual(t, "data", b.got, data)
		if a.c.mtu.size != 9000 || a.c.count.Shrunk > 0 {
			t.Errorf("seed %d: %+v, shrunk %d times", seed, a.c.mtu, a.c.count.Shrunk)
		}
	}
}

// TestMTUHostile: answers to probes that were not sent, or of other sizes, and
// pieces that fit nowhere change nothing; what fits takes bounded memory.
func TestMTUHostile(t *testing.T) {
	s, a, b := wide(t, 7, jumboPath, 1500, 9000, Config{RecvBuffer: 100 << 10})
	a.toSend = noise(1, 100<<10)
	s.run(time.Minute, "searching", func() bool { return a.c.mtu.active && len(a.c.mtu.open) > 0 })
	probed := func(id uint32, size int) error {
		return a.c.receiveOurs(s.w.Now(), header{w0: extProbed, w1: id}, binary.BigEndian.AppendUint32(nil, uint32(size)))
	}
	top := a.c.mtu.open[len(a.c.mtu.open)-1]
	for _, tt := range []struct {
		id   uint32
		size int
	}{{top.id + 1, top.size - 28}, {top.id, 16000}, {top.id, top.size}, {top.id, 1 << 31}, {a.c.mtu.small.id, 8972 + 28}} {
		_ = probed(tt.id, tt.size) // whether it is noted as bad does not matter
		if a.c.mtu.size > 1500 || a.c.mtu.good > 1500 {
			t.Errorf("an answer of %d bytes was believed: %+v", tt.size, a.c.mtu)
		}
	}
	s.run(time.Minute, "transfer", func() bool { return len(b.got) == 100<<10 })
	b.mute = true
	r := &b.c.recv
	piece := func(ahead int64, at, all, n int) error {
		body := binary.BigEndian.AppendUint16(nil, uint16(at))
		body = append(binary.BigEndian.AppendUint16(body, uint16(all)), make([]byte, n)...)
		h := header{w0: extPiece, w1: uint32(r.first.add(r.next + ahead))}
		return b.c.receiveOurs(s.w.Now(), h, body)
	}
	for _, tt := range []struct {
		ahead      int64
		at, all, n int
	}{{0, 0, 10, 11}, {0, 9, 10, 2}, {0, 0, mostMTU, 10}, {-1 << 20, 0, 10, 5}, {0, 0, 10, 0}, {0, 8000, 16000, leastPiece - 1}} {
		if err := piece(tt.ahead, tt.at, tt.all, tt.n); err == nil || len(r.parts) > 0 {
			t.Errorf("%+v was taken", tt)
		}
	}
	most := 0
	for ahead := range int64(1000) {
		_ = piece(ahead, 0, 16000, leastPiece) // refused when there is no room
		most = max(most, len(r.parts))
	}
	if size := int64(most) * 16000; most == 0 || size > 100<<10+3*mostMTU {
		t.Errorf("%d packets of which a piece has come take %d bytes", most, size)
	}
}

// TestMTUOnSlowPaths: where answers take longer than the longest pause between tries,
// one that is lost does not end the search.
func TestMTUOnSlowPaths(t *testing.T) {
	path := jumboPath
	path.Delay = 600 * ms
	s, a, b := wide(t, 7, path, 1500, 1500, Config{})
	var until time.Duration
	b.filter = func(h header, _ []byte) bool {
		answer := h.control() && h.kind() == kindUser && h.extended() == extProbed
		if answer && until == 0 {
			until = s.w.Now() + time.Second
		}
		return !answer || s.w.Now() > until
	}
	a.toSend = noise(1, 4<<20)
	s.run(time.Minute, "finding the size", func() bool { return a.c.mtu.size == 1500 })
	if until == 0 {
		t.Error("no answer was lost")
	}
}

// TestReportsFitThePath: reports of very many losses are not longer than what is known
// to pass.
func TestReportsFitThePath(t *testing.T) {
	s, a, b := wide(t, 7, jumboPath, 1400, 1500, Config{})
	s.run(time.Minute, "connecting", func() bool { return a.c.state == connected && b.c != nil })
	r := &b.c.recv
	for i := int64(1); i < 2000; i += 2 {
		b.c.receiveData(s.w.Now(), dataHeader(r.first.add(i), partOnly|msgInOrder, 0, b.c.id), []byte{1})
	}
	var out outbox
	b.c.collect(s.w.Now(), &out)
	reports := 0
	for _, d := range out.ds {
		h, body, err := parseHeader(d.B)
		if err != nil {
			t.Fatal(err)
		}
		if h.control() && h.kind() == kindNak && len(body) > 1000 {
			reports++
		}
		if len(d.B)+b.c.headers() > firstMTU {
			t.Errorf("a %v packet of %d bytes", h.kind(), len(d.B)+b.c.headers())
		}
	}
	if reports == 0 {
		t.Error("no long report was sent")
	}
}

// told is a network that tells a path MTU, or an error.
type told struct {
	netx.Network
	mtu int
	err error
}

func (n told) PathMTU(context.Context, netip.AddrPort) (int, error) { return n.mtu, n.err }

// TestFirstLink: what is not known, or cannot be, does not end the search before it
// begins.
func TestFirstLink(t *testing.T) {
	for _, tt := range []struct {
		nw   netx.Network
		want int
	}{{told{mtu: 9000}, 9000}, {told{mtu: leastMTU}, leastMTU}, {told{mtu: 552}, defaultMSS}, {told{err: errors.New("no")}, defaultMSS}, {nil, defaultMSS}} {
		e := &Endpoint{nw: tt.nw}
		if got := e.firstLink(netip.MustParseAddrPort("192.0.2.1:5")); got != tt.want {
			t.Errorf("%+v: %d bytes, want %d", tt.nw, got, tt.want)
		}
	}
}
