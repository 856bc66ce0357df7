package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/internal/topology"
	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/probe/estimate"
	"github.com/gomover/gomover/probe/host"
)

// wire is one end of a link in memory.
type wire struct {
	in, out chan []byte // have room; nobody closes them
	done    chan struct{}
	once    *sync.Once // closes done
}

func newLink() (a, b *wire) {
	x, y := make(chan []byte, 64), make(chan []byte, 64)
	done, once := make(chan struct{}), new(sync.Once)
	return &wire{x, y, done, once}, &wire{y, x, done, once}
}

func (w *wire) Send(parts ...[]byte) error {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	select {
	case <-w.done:
		return net.ErrClosed
	case w.out <- b:
		return nil
	}
}

func (w *wire) Recv() ([]byte, error) {
	select {
	case <-w.done:
		return nil, net.ErrClosed
	case b := <-w.in:
		return b, nil
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.done) })
	return nil
}

// world makes a network of h0 and h1, whose links are as given.
func world(t *testing.T, up, down string) *netsim.Network {
	t.Helper()
	text := fmt.Sprintf(`{"hosts": [{"name": "h0", "up": {%s}, "down": {%s}}, {"name": "h1"}]}`, up, down)
	topo, err := topology.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	n, err := netsim.NewNetwork(topo)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// params are those of a host of the network.
func params(own, other *netsim.Node) *Params {
	return &Params{Network: own, Ports: [2]uint16{50000, 50019}, Own: []netip.Addr{own.Addr(false)}, Peers: []netip.Addr{other.Addr(false)},
		Facts: func(a host.Ask) host.Facts {
			time.Sleep(a.For)
			return host.Facts{OS: "test", Disk: host.Disk{Dir: a.Dir}}
		}}
}

// measure probes from h0 to h1; change may alter what either end does.
func measure(t *testing.T, n *netsim.Network, change func(asks, answers *Params)) (*Report, error) {
	t.Helper()
	h0, h1 := n.Node("h0"), n.Node("h1")
	asks, answers := params(h0, h1), params(h1, h0)
	asks.Dir, asks.FarDir = "/here", "/there"
	if change != nil {
		change(asks, answers)
	}
	a, b := newLink()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := Serve(t.Context(), b, answers); err != nil {
			t.Errorf("the answering end: %v", err)
		}
	})
	r, err := Measure(t.Context(), a, asks)
	wg.Wait()
	return r, err
}

const mbit = units.Rate(1e6 / 8)

func near(got, want units.Rate, share float64) bool {
	d := float64(got - want)
	return max(d, -d) <= share*float64(want)
}

func TestMeasure(t *testing.T) {
	tests := []struct {
		name, up, down string
		rtt            time.Duration
		there, back    units.Rate
		took           time.Duration
	}{
		{"10 Mbit/s", `"rate": "10mbit", "delay": "20ms"`, `"rate": "10mbit", "delay": "20ms"`, 40 * time.Millisecond, 10 * mbit, 10 * mbit, 3 * time.Second},
		{"DSL", `"rate": "5mbit", "delay": "10ms"`, `"rate": "50mbit", "delay": "10ms"`, 20 * time.Millisecond, 5 * mbit, 50 * mbit, 3 * time.Second},
		{"200 Mbit/s, far", `"rate": "200mbit", "delay": "50ms"`, `"rate": "200mbit", "delay": "50ms"`, 100 * time.Millisecond, 200 * mbit, 200 * mbit, 1100 * time.Millisecond},
		{"1 Gbit/s, near", `"rate": "1gbit", "delay": "1ms"`, `"rate": "1gbit", "delay": "1ms"`, 2 * time.Millisecond, 1000 * mbit, 1000 * mbit, 2 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, err := measure(t, world(t, tt.up, tt.down), nil)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("# took %v, %d bytes, there %+v, back %+v", r.Took, r.Bytes, r.There, r.Back)
				// 92 bytes on links of these rates are part of the round trip.
				own := time.Duration(92*1e9/int64(tt.there) + 92*1e9/int64(tt.back))
				if d := (r.RTT.Min - tt.rtt - own).Abs(); d > max(50*time.Microsecond, tt.rtt/50) {
					t.Errorf("round trip: got %v, want %v", r.RTT.Min, tt.rtt+own)
				}
				if r.Connect < tt.rtt || r.Connect > tt.rtt+tt.rtt/2+time.Millisecond {
					t.Errorf("handshake: got %v, want some %v", r.Connect, tt.rtt)
				}
				if r.There.Verdict != estimate.Measured || !near(r.There.Rate, tt.there, 0.03) {
					t.Errorf("there: got %v %v, want %v", r.There.Verdict, r.There.Rate, tt.there)
				}
				if r.Back.Verdict != estimate.Measured || !near(r.Back.Rate, tt.back, 0.03) {
					t.Errorf("back: got %v %v, want %v", r.Back.Verdict, r.Back.Rate, tt.back)
				}
				if r.There.Free == estimate.Unusable || !near(r.There.Available, tt.there, 0.12) {
					t.Errorf("available there: got %v %v, want %v", r.There.Free, r.There.Available, tt.there)
				}
				if want := estimate.BDP(r.There.Rate, r.RTT.Min); r.There.BDP != want {
					t.Errorf("BDP: got %d, want %d", r.There.BDP, want)
				}
				if r.MTU != 1500 || r.Lost != 0 || r.Echoes != 20 || r.Order.Reordered != 0 || r.Offset.Abs() > tt.rtt {
					t.Errorf("echoes: got MTU %d, lost %d of %d, order %+v, offset %v", r.MTU, r.Lost, r.Echoes, r.Order, r.Offset)
				}
				if !r.TCPOut.OK || !r.TCPIn.OK || !r.UDPOut.OK || !r.UDPIn.OK {
					t.Errorf("ports: got %+v %+v %+v %+v", r.TCPOut, r.TCPIn, r.UDPOut, r.UDPIn)
				}
				if r.Here.Disk.Dir != "/here" || r.Far.Disk.Dir != "/there" {
					t.Errorf("facts: got %+v and %+v", r.Here, r.Far)
				}
				if len(r.Flags) > 0 {
					t.Errorf("flags: got %q", r.Flags)
				}
				if r.Took > tt.took || r.Bytes > 2*DefaultBytes {
					t.Errorf("took %v and %d bytes, at most %v", r.Took, r.Bytes, tt.took)
				}
			})
		})
	}
}

// TestCross: other traffic on the link is seen, and not taken for the link's end.
func TestCross(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := measure(t, world(t, `"rate": "100mbit", "delay": "10ms", "cross": "40mbit"`, `"rate": "100mbit", "delay": "10ms"`), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !near(r.There.Rate, 100*mbit, 0.05) || !near(r.There.Available, 60*mbit, 0.2) {
			t.Errorf("there: got %v, %v available, want 100 and 60 Mbit/s", r.There.Rate, r.There.Available)
		}
	})
}

func TestFiltered(t *testing.T) {
	link := `"rate": "100mbit", "delay": "10ms"`
	tests := []struct {
		name  string
		rules []netsim.Rule
		want  [4]bool // TCP out, TCP in, UDP out, UDP in
	}{
		{"UDP to the far end", []netsim.Rule{{To: "h1", Network: "udp"}}, [4]bool{true, true, false, true}},
		{"all UDP", []netsim.Rule{{Network: "udp"}}, [4]bool{true, true, false, false}},
		{"TCP from the far end", []netsim.Rule{{To: "h0", Network: "tcp"}}, [4]bool{true, false, true, true}},
		{"TCP to the far end", []netsim.Rule{{To: "h1", Network: "tcp", Reject: true}}, [4]bool{false, true, true, true}},
		{"everything", []netsim.Rule{{}}, [4]bool{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := world(t, link, link)
				for _, rule := range tt.rules {
					n.Block(rule)
				}
				r, err := measure(t, n, nil)
				if err != nil {
					t.Fatal(err)
				}
				for i, reach := range []Reach{r.TCPOut, r.TCPIn, r.UDPOut, r.UDPIn} {
					if reach.OK != tt.want[i] {
						t.Errorf("%s: got %+v, want %v", []string{"TCP out", "TCP in", "UDP out", "UDP in"}[i], reach, tt.want[i])
					}
					if !reach.OK && reach.Why == "" {
						t.Errorf("%d: no reason", i)
					}
				}
				if r.UDPOut.OK != (r.There.Rate > 0) || r.UDPOut.OK != (r.RTT.Min > 0) {
					t.Errorf("without UDP: got %v, RTT %v", r.There.Rate, r.RTT)
				}
				if r.Took > 10*time.Second {
					t.Errorf("took %v", r.Took)
				}
			})
		})
	}
}

// narrowNet is a network on whose path datagrams beyond a length vanish.
type narrowNet struct {
	netx.Network
	most int // bytes of a datagram
}

// ListenPacket implements netx.Network.
func (n narrowNet) ListenPacket(ctx context.Context, network, addr string) (net.PacketConn, error) {
	c, err := n.Network.ListenPacket(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return narrowConn{c.(*netsim.PacketConn), n.most}, nil
}

// PathMTU tells of the first link, which is not the narrow one.
func (n narrowNet) PathMTU(context.Context, netip.AddrPort) (int, error) { return 1500, nil }

type narrowConn struct {
	*netsim.PacketConn
	most int
}

// WriteBatch implements netx.BatchConn.
func (c narrowConn) WriteBatch(ds []netx.Datagram) (int, error) {
	for i := range ds {
		if n := ds[i].Segment; n > c.most || n == 0 && len(ds[i].B) > c.most {
			continue
		}
		if _, err := c.PacketConn.WriteBatch(ds[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(ds), nil
}

func TestPathMTU(t *testing.T) {
	link := `"rate": "100mbit", "delay": "20ms", "loss": "1%"`
	for _, mtu := range []int{1280, 1281, 1400, 1437, 1499, 1500} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			var took time.Duration
			r, err := measure(t, world(t, link, link), func(asks, _ *Params) {
				asks.Network = narrowNet{asks.Network, mtu - 28}
				asks.Bytes = -1
				asks.Step = func(string) { took = time.Since(began) }
			})
			if err != nil {
				t.Fatal(err)
			}
			if r.MTU != mtu {
				t.Errorf("got %d, want %d", r.MTU, mtu)
			}
			if narrow := strings.Contains(strings.Join(r.Flags, " "), "narrow"); narrow != (mtu < r.Link) {
				t.Errorf("%d of %d: flags %q", mtu, r.Link, r.Flags)
			}
			if r.There.Rate != 0 || r.Bytes != 0 {
				t.Errorf("trains were sent: %+v", r.There)
			}
			t.Logf("# %d: %v", mtu, r.Took-took)
		})
	}
}

func TestLossIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := measure(t, world(t, `"delay": "10ms", "loss": "30%"`, `"delay": "10ms"`), func(asks, _ *Params) { asks.Bytes = -1 })
		if err != nil {
			t.Fatal(err)
		}
		if r.Lost == 0 || r.LossLow > 0.3 || r.LossHigh < 0.3 {
			t.Errorf("got %d of %d lost, %.2f to %.2f, want around 0.30", r.Lost, r.Echoes, r.LossLow, r.LossHigh)
		}
	})
}

func TestLinkEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := world(t, `"delay": "10ms"`, `"delay": "10ms"`)
		a, b := newLink()
		time.AfterFunc(300*time.Millisecond, func() { a.Close() })
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := Serve(t.Context(), b, params(n.Node("h1"), n.Node("h0"))); err != nil {
				t.Errorf("the answering end: %v", err)
			}
		})
		_, err := Measure(t.Context(), a, params(n.Node("h0"), n.Node("h1")))
		wg.Wait()
		if !errors.Is(err, ErrLink) {
			t.Errorf("got %v, want %v", err, ErrLink)
		}
	})
}

func TestCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := world(t, `"delay": "10ms"`, `"delay": "10ms"`)
		a, b := newLink()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() { _ = Serve(t.Context(), b, params(n.Node("h1"), n.Node("h0"))) })
		began := time.Now()
		_, err := Measure(ctx, a, params(n.Node("h0"), n.Node("h1")))
		wg.Wait()
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
}

// TestAnsweringEndIsBounded: what an answering end is told by somebody who may
// speak to it does not make it send more than it may, nor fail.
func TestAnsweringEndIsBounded(t *testing.T) {
	tests := []struct{ name, first, second string }{
		{"no hello", `{"id":1,"facts":true}`, ""},
		{"another version", fmt.Sprintf(`{"id":1,"hello":{"version":99,"secret":"%s"}}`, strings.Repeat("A", 43)+"="), ""},
		{"no secret", `{"id":1,"hello":{"version":1}}`, ""},
		{"no message", `[]`, ""},
		{"a train without a token", good, `{"id":2,"train":{"train":1,"token":1,"packets":10,"len":100}}`},
		{"a train too long", good, `{"id":2,"train":{"train":1,"token":1,"packets":16384,"len":9000}}`},
		{"nothing asked", good, `{"id":2}`},
		{"to join what is no group", good, `{"id":2,"join":{"group":"10.0.0.1"}}`},
		{"to join nothing", good, `{"id":2,"join":{"group":"x"}}`},
		{"to join a group of another family", good, `{"id":2,"join":{"group":"ff18::1"}}`},
		{"what was heard of no group", good, `{"id":2,"heard":{"want":-1,"wait_ms":-1}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := world(t, `"delay": "10ms"`, `"delay": "10ms"`)
				a, b := newLink()
				var wg sync.WaitGroup
				var err error
				wg.Go(func() { err = Serve(t.Context(), b, params(n.Node("h1"), n.Node("h0"))) })
				a.Send([]byte(tt.first))
				if tt.second == "" {
					wg.Wait()
					if err == nil {
						t.Error("no error")
					}
					return
				}
				if msg, err := a.Recv(); err != nil || !strings.Contains(string(msg), `"ready"`) {
					t.Fatalf("hello: got %s, %v", msg, err)
				}
				a.Send([]byte(tt.second))
				if msg, err := a.Recv(); err != nil || !strings.Contains(string(msg), `"error"`) {
					t.Errorf("got %s, %v, want an error", msg, err)
				}
				a.Close()
				wg.Wait()
			})
		})
	}
}

// good is a hello that is accepted.
var good = fmt.Sprintf(`{"id":1,"hello":{"version":%d,"secret":"%s","bytes":100000}}`, Version, strings.Repeat("A", 43)+"=")

// TestStrangers: whoever does not know the secret gets no answer, and repeating
// what was said gets none either.
func TestStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := world(t, `"delay": "1ms"`, `"delay": "1ms"`)
		h0, h1 := n.Node("h0"), n.Node("h1")
		conn, err := h1.ListenPacket(t.Context(), "udp", ":7")
		if err != nil {
			t.Fatal(err)
		}
		p := newPort(conn.(netx.BatchConn), secret, answering, asking)
		go p.run()
		defer p.close()
		c, err := h0.Dial(t.Context(), "udp", netip.AddrPortFrom(h1.Addr(false), 7).String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		echo := make([]byte, 200)
		newSealer(secret, asking).write(echo, head{kind: kindEcho, seq: 1})
		stranger := make([]byte, 200)
		newSealer(make([]byte, 32), asking).write(stranger, head{kind: kindEcho, seq: 2})
		reflected := make([]byte, 200)
		newSealer(secret, answering).write(reflected, head{kind: kindEcho, seq: 3})
		for _, b := range [][]byte{stranger, reflected, echo[:199], echo, echo, echo, {}} {
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if got := conn.(*netsim.PacketConn).Stats(); got.Received != 7 || got.Sent != 1 {
			t.Errorf("%d datagrams got %d answers, want 7 and 1", got.Received, got.Sent)
		}
		b := make([]byte, 2000)
		if m, err := c.Read(b); err != nil || m != len(echo) {
			t.Errorf("the answer has %d bytes, %v, want %d", m, err, len(echo))
		}
	})
}

// TestFlags: what is odd is said, and nothing else.
func TestFlags(t *testing.T) {
	ms := time.Millisecond
	tests := []struct {
		name string
		r    Report
		want string // part of the only flag; "": none
	}{
		{"nothing", Report{Connect: 50 * ms, RTT: estimate.Delays{Min: 50 * ms}, MTU: 1500, Link: 1500}, ""},
		{"jumbo frames beyond what is looked for", Report{MTU: 9244, Link: 65536}, ""},
		{"somebody answers TCP on the way", Report{Connect: 10 * ms, RTT: estimate.Delays{Min: 50 * ms}}, "split path"},
		{"on a short way that is noise", Report{Connect: 100 * time.Microsecond, RTT: estimate.Delays{Min: 900 * time.Microsecond}}, ""},
		{"a tunnel", Report{MTU: 1420, Link: 1500}, "narrow"},
		{"a shaper", Report{There: Direction{Capacity: estimate.Capacity{Slowed: true}}}, "shaped"},
		{"two paths", Report{Back: Direction{Capacity: estimate.Capacity{Varies: true}}}, "unsteady"},
	}
	for _, tt := range tests {
		m := &measurer{r: &tt.r}
		m.flags()
		if got := tt.r.Flags; len(got) != min(len(tt.want), 1) || len(got) > 0 && !strings.Contains(got[0], tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestOddFacts: shares that the other end tells of itself are shares.
func TestOddFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := measure(t, world(t, `"rate": "10mbit"`, `"rate": "10mbit"`), func(asks, answers *Params) {
			asks.Bytes = -1
			answers.Facts = func(host.Ask) host.Facts {
				return host.Facts{OS: strings.Repeat("x", 10000), Processor: host.Processor{Busy: 1e300, Hottest: -3}, Disk: host.Disk{Busy: 7}}
			}
		})
		if f := &r.Far; err != nil || len(f.OS) > 1000 || f.Processor.Busy != 1 || f.Processor.Hottest != 0 || f.Disk.Busy != 1 {
			t.Errorf("%v: %+v", err, f)
		}
	})
}
