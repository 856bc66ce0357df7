package tcpxm

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/transports/tcpxm/internal/segment"
)

func TestLayerCut(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rates []float64
		want  int
	}{
		{"nobody", nil, 0},
		{"two", []float64{1, 2}, 0},
		{"alike", []float64{10, 11, 12, 12.5}, 0},
		{"one fast", []float64{10, 10, 20}, 0}, // alone in a layer it would be
		{"two of four", []float64{10, 10, 20, 20}, 2},
		{"sites of the table", []float64{22.4, 28.1, 34.5, 39.3, 42.1, 51}, 2},
		{"between two", []float64{10, 14, 20, 20}, 2},
		{"all but one", []float64{10, 18, 20, 20}, 1},
	} {
		if got := layerCut(tt.rates); got != tt.want {
			t.Errorf("%s: from %d on, want %d", tt.name, got, tt.want)
		}
	}
}

// halves are sites of which two can take twice what two others can.
func halves() []site {
	l := same(4, line(5*ms, 0))
	for i := range l {
		l[i].down.Rate, l[i].down.Queue = mbit(20), netsim.Limit{Time: 50 * ms}
		if i >= 2 {
			l[i].down.Rate = mbit(40)
		}
	}
	return l
}

// layerOf gives the layer at work, nil without any.
func (x *world) layerOf() *group {
	for _, g := range x.s.groups {
		if g.layer.base != nil && len(g.members) > 0 {
			return g
		}
	}
	return nil
}

// TestSimulatedLayer has the faster half of the receivers get all nearly as soon as their
// paths allow, for less than another copy.
func TestSimulatedLayer(t *testing.T) {
	for _, tt := range []struct {
		name    string
		loss    float64
		growing bool
		least   float64 // Mbit/s
		wire    float64
	}{
		{"clean", 0, false, 33.5, 1.7},
		{"lossy", 0.005, false, 30, 1.8},
		{"a source that grows", 0, true, 33.5, 1.75},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sites := halves()
			for i := range sites {
				sites[i].down.Loss = tt.loss
			}
			cfg := Config{Size: 20e6, Group: groupAt, Growing: tt.growing}
			x := build(t, 21, home(100), cfg, sites)
			if tt.growing {
				x.grow(20e6)
			}
			x.run(60 * time.Second)
			x.tell()
			x.all()
			for i := range x.sites {
				least := 17.5
				if i >= 2 {
					least = tt.least
				}
				if got := x.goodput(i); got < least {
					t.Errorf("receiver %d: %.2f Mbit/s, want %.2f", i, got, least)
				}
				if p := x.s.pcbs[i]; p.counts.UnicastBytes > 1e6 || p.counts.GroupBytes < 19e6 {
					t.Errorf("receiver %d got %d bytes by unicast, %d by groups", i, p.counts.UnicastBytes, p.counts.GroupBytes)
				}
			}
			if got := x.wire(); got > tt.wire {
				t.Errorf("%.3f times the size has left the sender", got)
			}
		})
	}
}

// grow makes the source of a session longer as what was sent demands, as a caller of Hungry
// does.
func (x *world) grow(size int64) {
	x.size = size
	x.s.stream.end = 1 << 20
	var more func()
	more = func() {
		s := x.s
		for s.stream.end < size && s.ahead() <= 4<<20 {
			s.extend(x.w.Now(), min(1<<20, size-s.stream.end))
		}
		if s.stream.end == size {
			s.finish()
		} else {
			x.w.At(x.w.Now()+5*ms, more)
		}
		x.pump()
	}
	x.w.At(0, more)
}

// TestSimulatedLayerIsNotWorthIt has receivers that share a link, or are alike, stay in one
// group.
func TestSimulatedLayerIsNotWorthIt(t *testing.T) {
	alike := same(6, line(5*ms, 0.01))
	for i := range alike {
		alike[i].down.Rate = mbit(100 + 5*float64(i))
	}
	for _, tt := range []struct {
		name  string
		up    float64
		sites []site
	}{
		{"one link is full", 18, halves()},
		{"alike", 1000, alike},
	} {
		x := build(t, 22, home(tt.up), Config{Size: 8e6, Group: groupAt}, tt.sites)
		x.run(60 * time.Second)
		x.tell()
		x.all()
		if got := x.wire(); got > 1.17 {
			t.Errorf("%s: %.3f times the size has left the sender", tt.name, got)
		}
	}
}

// TestSimulatedLayerEnds has receivers that can not hear a second group, stop hearing it, or
// leave while they do: all get everything.
func TestSimulatedLayerEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		at   time.Duration
		do   func(x *world)
	}{
		{"not heard from the beginning", 0, func(x *world) { x.only = true }},
		{"not heard any more", 1500 * ms, func(x *world) {
			for _, st := range x.sites[2:] {
				st.group.Leave(x.layerOf().addr.Addr())
			}
		}},
		{"the base is not heard any more", 1500 * ms, func(x *world) {
			for _, st := range x.sites[2:] {
				st.group.Leave(groupAt.Addr())
			}
		}},
		{"one is lost", 1500 * ms, func(x *world) { x.sites[3].dead = true }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := build(t, 23, home(100), Config{Size: 16e6, Group: groupAt, Dead: 2 * time.Second}, halves())
			had := false
			x.w.At(tt.at, func() {
				had = x.layerOf() != nil
				tt.do(x)
			})
			x.run(90 * time.Second)
			x.tell()
			if had != (tt.at > 0) {
				t.Errorf("a layer at %v: %v", tt.at, had)
			}
			for i := range 3 {
				x.check(i)
			}
			if p := x.s.pcbs[3]; x.sites[3].dead && !errors.Is(p.err, ErrTimeout) {
				t.Errorf("the dead one: %v, %v", p.state, p.err)
			} else if !x.sites[3].dead {
				x.check(3)
			}
			if x.layerOf() != nil {
				t.Error("there is a layer still")
			}
		})
	}
}

// TestSimulatedForgerInALayer has a member of a layer send data of its own to it, and one
// that is no member of it.
func TestSimulatedForgerInALayer(t *testing.T) {
	x := build(t, 24, home(100), Config{Size: 10e6, Group: groupAt}, halves())
	sent := 0
	for i := range 8 {
		x.w.At(time.Duration(900+100*i)*ms, func() {
			e := x.layerOf()
			if e == nil {
				return
			}
			s := sealer{keys: x.s.sealers.group.keys, next: x.s.sealers.group.next + 20}
			g := segment.Segment{Src: 1, Dst: 1, Payload: bytes.Repeat([]byte("evil"), 355)}
			shim := segment.Shim{Kind: segment.Group}
			g.Seq, shim.High = segment.Number(x.s.iss, (e.next+5)*x.s.stream.slot)
			b, err := s.seal(shim, g.Append(append(make([]byte, 0, 2000), make([]byte, segment.ShimLen)...)))
			if err != nil {
				t.Fatal(err)
			}
			if err := x.sites[3*(i%2)].sock.Send(e.addr, b); err != nil {
				t.Fatal(err)
			}
			sent++
		})
	}
	x.run(60 * time.Second)
	x.tell()
	x.all()
	if refused := x.sites[2].r.stats.Refused + x.sites[3].r.stats.Refused; sent == 0 || refused == 0 {
		t.Errorf("%d forged datagrams, %d blocks were refused", sent, refused)
	}
}

// TestReceiverHearsWhatItIsTold has a receiver join and leave groups as it is told, and go on
// to hear what it hears.
func TestReceiverHearsWhatItIsTold(t *testing.T) {
	a, b := netip.MustParseAddr("232.1.1.1"), netip.MustParseAddr("232.1.1.2")
	var h hears
	r := newReceiver(ReceiverConfig{Tag: 1, GroupPort: 7, Window: defaultWindow}, &h, 0, 0)
	for _, tt := range []struct {
		group netip.Addr
		layer uint8
		want  []netip.Addr
		says  uint8
	}{
		{a, 0, []netip.Addr{a}, 0},
		{a, 1, []netip.Addr{a, b}, 1},
		{b, 0, []netip.Addr{b}, 0},
		{a, maxGroups + 1, []netip.Addr{a}, 0},
		{a, 1, []netip.Addr{a, b}, 1},
		{netip.IPv4Unspecified(), 1, nil, 0},
		{netip.MustParseAddr("10.0.0.1"), 1, nil, 0},
		{netip.MustParseAddr("239.255.255.255"), 1, []netip.Addr{netip.MustParseAddr("239.255.255.255")}, 0},
	} {
		r.listen(tt.group, tt.layer)
		if !slices.Equal(h.groups, tt.want) || r.layer != tt.says {
			t.Errorf("%v and %d behind: hears %v, says %d, want %v and %d", tt.group, tt.layer, h.groups, r.layer, tt.want, tt.says)
		}
	}
	if h.joins != 5 {
		t.Errorf("joined %d times", h.joins)
	}
}

// hears are the groups that were joined.
type hears struct {
	groups []netip.Addr
	joins  int
}

func (h *hears) join(group, _ netip.Addr) error {
	if slices.Contains(h.groups, group) {
		return errors.New("joined already")
	}
	h.groups = append(h.groups, group)
	h.joins++
	return nil
}

func (h *hears) leave(group, _ netip.Addr) {
	h.groups = slices.DeleteFunc(h.groups, func(a netip.Addr) bool { return a == group })
}
