package mover

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/engine"
	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/tcpxm"
	"github.com/gomover/gomover/wire"
)

func TestWorthComparing(t *testing.T) {
	for _, c := range []struct {
		each float64
		left int64
		want bool
	}{
		{12e6, 100e6, false}, {12e6, 800e6, true}, {100e6, 900e6, false}, {100e6, 1100e6, true}, {61e6, 700e6, true}, {59e6, 700e6, false},
	} {
		if got := worthComparing(c.each, c.left); got != c.want {
			t.Errorf("%v bytes per second, %d left: %t, want %t", c.each, c.left, got, c.want)
		}
	}
}

// TestCastGroup looks at groups that are chosen.
func TestCastGroup(t *testing.T) {
	c := &casting{}
	for range 100 {
		g := c.group(false, [2]uint16{})
		b := g.Addr().As4()
		if b[0] != 232 || b[1] == 0 || b[3] > 0xfc || g.Port() < 20000 || g.Port() >= 60000 {
			t.Errorf("group %v", g)
		}
		if g := c.group(true, [2]uint16{5000, 5010}); !netip.MustParsePrefix("ff3e::8000:0/104").Contains(g.Addr()) || g.Port() != 5010 {
			t.Errorf("group %v", g)
		}
	}
	c.o.Addr = netip.MustParseAddr("239.192.1.2")
	if g := c.group(true, [2]uint16{}); g.Addr() != c.o.Addr {
		t.Errorf("group %v", g)
	}
}

// links is a link that keeps what is sent.
type links struct{ said chan []byte }

func (l links) Send(parts ...[]byte) error {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	l.said <- b
	return nil
}
func (l links) Recv() ([]byte, error) { return nil, io.EOF }
func (l links) Close() error          { return nil }

// TestCastOrders gives an agent orders that make no sense, and too many.
func TestCastOrders(t *testing.T) {
	h := &castHost{link: links{make(chan []byte, 100)}}
	for _, s := range []string{``, `{}`, `{"tag":1}`, `{"tag":1,"secret":"AAAA","stream":1073741824}`} {
		if err := h.take([]byte(s)); err == nil {
			t.Errorf("%s is taken", s)
		}
	}
}

// TestCastStream reads frames that come from a group, and lengths that are none.
func TestCastStream(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name string
		n    uint32
		want error
	}{{"a frame", 1000, nil}, {"nothing", 0, transports.ErrDamaged}, {"too much", 1 << 30, transports.ErrDamaged}} {
		key, group := tcpxm.Secret{1}, tcpxm.Secret{2}
		r, err := tcpxm.Listen(ctx, &netx.System{}, "udp4", "127.0.0.1:0", tcpxm.ReceiverConfig{Tag: 3, Secret: key, Group: group})
		if err != nil {
			t.Fatal(err)
		}
		s, err := tcpxm.Dial(ctx, &netx.System{}, tcpxm.Config{Tag: 3, Secret: group}, []tcpxm.Destination{{Addr: r.Addr().(*net.UDPAddr).AddrPort(), Secret: key}})
		if err != nil {
			t.Fatal(err)
		}
		var leave sync.WaitGroup
		in := &castStreamIn{r: r, in: bufio.NewReader(r), id: castStream, leave: &leave, tell: func(int64) {}}
		if _, err := s.Write(append(binary.BigEndian.AppendUint32(nil, c.n), make([]byte, 1000)...)); err != nil {
			t.Fatal(err)
		}
		s.CloseWrite()
		f := transports.NewFrame(2000)
		if err := in.Recv(f); !errors.Is(err, c.want) || err == nil && len(f.Body()) != 1000 {
			t.Errorf("%s: %v, %d bytes", c.name, err, len(f.Body()))
		}
		if c.want == nil {
			if err := in.Recv(f); err != io.EOF {
				t.Errorf("%s: then %v", c.name, err)
			}
		}
		if err := in.Send(f); err == nil {
			t.Error("it can be sent to")
		}
		in.Close()
		in.Close()
		leave.Wait()
		s.Close()
	}
}

// TestCastAnswers has one of many agents not answer: those that have are in the group.
func TestCastAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &casting{}
		var legs []*castLeg
		for i := range 20 {
			l := &castLeg{c: c, leg: &leg{host: "h"}, answer: make(chan castAnswer, 1), link: links{make(chan []byte, 1)}}
			if i > 0 {
				l.answer <- castAnswer{Tag: 5, Port: 1000}
			}
			legs = append(legs, l)
		}
		began := time.Now()
		with, why := c.order(t.Context(), legs, castOrder{Tag: 5})
		if len(with) != 19 || why == nil || time.Since(began) != answerWait {
			t.Errorf("%d of 19 that have answered, after %v, %v", len(with), time.Since(began), why)
		}
		legs[1].asked = new(engine.Source) // it has logged in again meanwhile
		legs[1].answer <- castAnswer{Tag: 5, Port: 1000}
		if with, _ = c.order(t.Context(), legs[1:2], castOrder{Tag: 5}); len(with) != 0 {
			t.Error("another session than the one that was meant is asked")
		}
	})
}

// TestCastTogether has destinations wait for each other of which one had more at the
// start, or is not reached by the group.
func TestCastTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list []*engine.Source
		for range 2 {
			list = append(list, engine.NewSource(engine.Options{Shared: true}, engine.Paths{}, nil, nil, nil))
		}
		s := &castSession{c: &casting{run: &fanRun{fan: &Fan{Slow: SlowWait}}}, legs: []*castLeg{{i: 0}, {i: 1}, {i: 2}}, place: []int{0, 1, -1},
			cast: engine.NewCast(castStream, nil, list)}
		defer s.cast.Close()
		pace := &s.c.run.pace
		pace.next = make(chan struct{})
		for _, c := range []struct {
			at   []int64
			want error
		}{
			{[]int64{0, 0, 0}, nil},
			{[]int64{1 << 30, 0, 0}, nil},
			{[]int64{0, 0, 1 << 30}, nil},
			{[]int64{1 << 30, 1 << 30, 0}, context.DeadlineExceeded},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			pace.look(c.at)
			if err := s.together(ctx); !errors.Is(err, c.want) {
				t.Errorf("with %v: %v, want %v", c.at, err, c.want)
			}
			cancel()
		}
	})
}

// TestCastHeld tells a pause from receivers that confirm nothing.
func TestCastHeld(t *testing.T) {
	now := time.Now()
	var s castSession
	for _, c := range []struct {
		since time.Time
		want  bool
	}{{time.Time{}, false}, {now, false}, {now.Add(-time.Minute), true}} {
		if s.paying.Store(0); !c.since.IsZero() {
			s.paying.Store(c.since.UnixNano())
		}
		if got := s.held(now); got != c.want {
			t.Errorf("since %v: %t, want %t", c.since, got, c.want)
		}
	}
}

// TestCastHold lets a destination wait for a moment at its start, and one that was
// lost get its share.
func TestCastHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &casting{free: make(chan struct{}), over: make(chan struct{}), news: make(chan struct{}, 1)}
		l := &castLeg{c: c, answer: make(chan castAnswer, 1), looks: make(chan struct{}, 1)}
		c.legs = []*castLeg{l}
		l.begin(nil, nil, netip.Addr{})
		began := time.Now()
		if err := c.hold(t.Context(), 0); err != nil || time.Since(began) < waitLeast || time.Since(began) > waitMost {
			t.Errorf("held for %v, %v", time.Since(began), err)
		}
		c.letGo()
		c.letGo()
		c.atWork = true
		began = time.Now()
		for range 100 {
			if err := c.hold(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d > 0 {
			t.Errorf("held for %v in its first session", d)
		}
		l.end()
		l.begin(nil, nil, netip.Addr{})
		n := 0
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for c.hold(ctx, 0) == nil {
			if n++; n == 5 {
				c.mu.Lock()
				c.put += 100 << 20
				c.mu.Unlock()
			}
		}
		if most := (1<<20+100<<20/returnShare)/engine.DefaultBlock + 1; n < 20 || n > most {
			t.Errorf("%d frames beside the group, want 20 to %d", n, most)
		}
		close(c.over)
		if err := c.hold(t.Context(), 0); err != nil {
			t.Error(err)
		}
	})
}

// TestCastNewcomers tells who may be taken into a group at work, and adds up what a
// destination got that was in it twice.
func TestCastNewcomers(t *testing.T) {
	src, other := new(engine.Source), new(engine.Source)
	at, own := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.1")
	for _, c := range []struct {
		name string
		leg  castLeg
		want bool
	}{
		{"its first session", castLeg{src: src, addr: at}, true},
		{"a later session", castLeg{src: src, addr: at, asked: other, sessions: 2}, true},
		{"was asked", castLeg{src: src, addr: at, asked: src}, false},
		{"is in it", castLeg{src: src, addr: at, asked: other, member: true}, false},
		{"no session", castLeg{addr: at}, false},
		{"has ended", castLeg{src: src, addr: at, out: true}, false},
		{"behind a proxy", castLeg{src: src}, false},
		{"this machine", castLeg{src: src, addr: own}, false},
		{"an address that cannot be reached", castLeg{src: src, addr: netip.MustParseAddr("2001:db8::1")}, false},
	} {
		k := &casting{legs: []*castLeg{&c.leg}}
		if got := len(k.newcomers(false)) == 1; got != c.want {
			t.Errorf("%s: %t, want %t", c.name, got, c.want)
		}
	}
	k := &casting{}
	a, b := &castLeg{c: k}, &castLeg{c: k}
	s := castSession{c: k, legs: []*castLeg{a, b, a}}
	s.note([]tcpxm.Result{
		{PCBCounters: tcpxm.PCBCounters{GroupBytes: 1, GroupPackets: 2, UnicastBytes: 3, UnicastPackets: 4, ResentBytes: 5}},
		{PCBCounters: tcpxm.PCBCounters{GroupBytes: 100}},
		{PCBCounters: tcpxm.PCBCounters{GroupBytes: 10, GroupPackets: 20, UnicastBytes: 30, UnicastPackets: 40, ResentBytes: 50}, Connected: true},
	})
	if r, _ := a.counts(); r.GroupBytes != 11 || r.GroupPackets != 22 || r.UnicastBytes != 33 || r.UnicastPackets != 44 || r.ResentBytes != 55 || !r.Connected {
		t.Errorf("%+v", r)
	}
	if r, _ := b.counts(); r.GroupBytes != 100 {
		t.Errorf("%+v", r)
	}
}

// TestCastWho leaves those out that cannot get what others get, and says so when nobody
// is left who can though that was asked for.
func TestCastWho(t *testing.T) {
	for _, c := range []struct {
		name   string
		how    string
		blocks []int64
		tcp    bool
		want   []bool
		told   int
	}{
		{"all alike", MulticastAuto, []int64{0, 0}, true, []bool{true, true}, 0},
		{"blocks of another size", MulticastAuto, []int64{1 << 20, 0, 0}, true, []bool{false, true, true}, 0},
		{"each of another size", MulticastAuto, []int64{1 << 20, 0}, true, []bool{false, false}, 0},
		{"each of another size, as asked", MulticastAlways, []int64{1 << 20, 0}, true, []bool{false, false}, 1},
		{"inside ssh, as asked", MulticastAlways, []int64{0, 0}, false, []bool{false, false}, 1},
	} {
		var rec recorded
		f := &Fan{Multicast: c.how}
		for i, size := range c.blocks {
			f.Jobs = append(f.Jobs, &Job{TCP: c.tcp, Sources: []Place{{Path: "f"}}, Engine: engine.Options{BlockSize: size},
				Dest: Place{Remote: true, Host: string(rune('a' + i)), Shown: string(rune('a'+i)) + ":"}})
		}
		for i, l := range newFanRun(f, &rec).legs {
			if got := l.dir.cast != nil; got != c.want[i] {
				t.Errorf("%s: destination %d: %t, want %t", c.name, i, got, c.want[i])
			}
		}
		if len(rec.list) != c.told {
			t.Errorf("%s: told %v, want %d events", c.name, rec.list, c.told)
		}
	}
}

// TestCastProxies says why there is no group where destinations are behind proxies.
func TestCastProxies(t *testing.T) {
	src := engine.NewSource(engine.Options{Shared: true}, engine.Paths{}, nil, nil, nil)
	for _, c := range []struct {
		legs []*castLeg
		want error
	}{
		{[]*castLeg{{src: src}, {src: src}}, errNobody},
		{[]*castLeg{{src: src}, {out: true}}, errNoGroup},
	} {
		if _, err := (&casting{legs: c.legs}).form(t.Context()); !errors.Is(err, c.want) {
			t.Errorf("%d destinations: %v, want %v", len(c.legs), err, c.want)
		}
	}
}

// deafLink is a link that takes nothing until its end.
type deafLink struct {
	links
	end chan struct{}
}

func (l deafLink) Send(...[]byte) error {
	<-l.end
	return io.ErrClosedPipe
}

// TestCastDeaf has one agent not even take what it is asked: the others are in the group.
func TestCastDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &casting{}
		end := make(chan struct{})
		one := &castLeg{c: c, leg: &leg{host: "h"}, answer: make(chan castAnswer, 1), link: deafLink{end: end}}
		other := &castLeg{c: c, leg: &leg{host: "i"}, answer: make(chan castAnswer, 1), link: links{make(chan []byte, 1)}}
		other.answer <- castAnswer{Tag: 5, Port: 1000}
		began := time.Now()
		with, why := c.order(t.Context(), []*castLeg{one, other}, castOrder{Tag: 5})
		if len(with) != 1 || with[0] != other || why == nil || time.Since(began) > answerWait {
			t.Errorf("%d have answered after %v, %v", len(with), time.Since(began), why)
		}
		close(end)
		if a := <-one.answer; a.Tag != 5 || a.Error == "" {
			t.Errorf("a link that is closed answers %+v", a)
		}
	})
}

// TestCastRefused adds up what the agents of a destination have refused, and what the
// session knows of it.
func TestCastRefused(t *testing.T) {
	k := &casting{news: make(chan struct{}, 1)}
	l := &castLeg{c: k, answer: make(chan castAnswer, 1)}
	say := func(text string) {
		t.Helper()
		if err := l.take([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	l.begin(new(engine.Source), nil, netip.Addr{})
	say(`{"tag":1,"refused":5}`)
	say(`{"tag":1,"refused":9}`)
	l.end()
	l.begin(new(engine.Source), nil, netip.Addr{}) // another agent begins anew
	say(`{"tag":1,"refused":2}`)
	say(`{"tag":1,"port":50000}`)
	s := castSession{c: k, legs: []*castLeg{l, l}}
	s.note([]tcpxm.Result{{PCBCounters: tcpxm.PCBCounters{Refused: 3}}, {PCBCounters: tcpxm.PCBCounters{Refused: 4}}})
	if got, want := l.turnedAway(), (Refused{Blocks: 7, Packets: 11}); got != want {
		t.Errorf("refused %+v, want %+v", got, want)
	}
	if a, ok := l.heard(t.Context()); !ok || a.Port != 50000 {
		t.Errorf("the answer is %+v, %t", a, ok)
	}
	if err := l.take([]byte(`{`)); err == nil {
		t.Error("what is no answer is taken")
	}
}

// TestCastTally tells the sender how many datagrams were refused, if there are more.
func TestCastTally(t *testing.T) {
	said := make(chan []byte, 10)
	h := &castHost{link: links{said}}
	tell := h.tally(7)
	for _, n := range []int64{0, 2, 2, 1, 30} {
		tell(n)
	}
	close(said)
	var got []string
	for b := range said {
		if wire.Kind(b[0]) != wire.KindGroup {
			t.Errorf("kind %d", b[0])
		}
		got = append(got, string(b[1:]))
	}
	if want := []string{`{"tag":7,"refused":2}`, `{"tag":7,"refused":30}`}; !slices.Equal(got, want) {
		t.Errorf("said %q, want %q", got, want)
	}
}
