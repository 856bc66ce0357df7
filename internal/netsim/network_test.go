package netsim

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/internal/topology"
)

// build makes the network of a topology, whose hosts are h0, h1 and so on with
// the members given.
func build(tb testing.TB, head string, hosts ...string) *Network {
	tb.Helper()
	text := "{" + head + `"hosts": [`
	for i, h := range hosts {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf(`{"name": "h%d"%s}`, i, h)
	}
	top, err := topology.Parse([]byte(text + "]}"))
	if err != nil {
		tb.Fatal(err)
	}
	n, err := NewNetwork(top)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// socket opens a datagram socket, which the test closes.
func socket(tb testing.TB, n *Network, host, addr string) *PacketConn {
	tb.Helper()
	c, err := n.Node(host).ListenPacket(tb.Context(), "udp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c.(*PacketConn)
}

func at(n *Network, host string, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(n.Node(host).Addr(false), port)
}

// sendNumbered sends count datagrams with their numbers in the first two bytes.
func sendNumbered(tb testing.TB, c *PacketConn, to netip.AddrPort, size, count int) {
	tb.Helper()
	for i := range count {
		b := make([]byte, size)
		b[0], b[1] = byte(i>>8), byte(i)
		if _, err := c.WriteToUDPAddrPort(b, to); err != nil {
			tb.Fatal(err)
		}
	}
}

// numbers reads what comes until nothing does for a second.
func numbers(tb testing.TB, c *PacketConn) (list []int) {
	tb.Helper()
	ds := make([]netx.Datagram, 64)
	for i := range ds {
		ds[i].B = make([]byte, 2000)
	}
	for {
		c.SetReadDeadline(time.Now().Add(time.Second))
		m, err := c.ReadBatch(ds)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return list
		}
		if err != nil {
			tb.Fatal(err)
		}
		for _, d := range ds[:m] {
			list = append(list, int(d.B[0])<<8|int(d.B[1]))
		}
	}
}

func TestDatagramTimesAreExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 972 bytes and 28 of headers take 1 ms at 8 Mbit/s, 0.5 ms at 16.
		n := build(t, "", `, "link": {"rate": "8mbit", "delay": "10ms"}`, `, "link": {"rate": "16mbit", "delay": "5ms"}`)
		if err := n.Set("h0:h1", "delay=100ms"); err != nil {
			t.Fatal(err)
		}
		a, b := socket(t, n, "h0", ":1000"), socket(t, n, "h1", "h1:2000")
		start := time.Now()
		sendNumbered(t, a, at(n, "h1", 2000), 972, 3)
		ds := []netx.Datagram{{B: make([]byte, 1000)}, {B: make([]byte, 1000)}}
		for i := range 3 {
			m, err := b.ReadBatch(ds)
			if err != nil || m != 1 || ds[0].N != 972 || ds[0].Peer != at(n, "h0", 1000) {
				t.Fatalf("got %d, %v, %+v", m, err, ds[0])
			}
			want := time.Duration(i+1)*time.Millisecond + 115*time.Millisecond + 500*time.Microsecond
			if got := time.Since(start); got != want || ds[0].At.Sub(start) != want {
				t.Errorf("datagram %d: came after %v, stamped %v; want %v", i, got, ds[0].At.Sub(start), want)
			}
		}
		// A change holds for what is sent later.
		if err := n.Set("all", "h0:h1", "rate=0", "delay=1ms"); err != nil {
			t.Fatal(err)
		}
		start = time.Now()
		sendNumbered(t, a, at(n, "h1", 2000), 100, 1)
		if _, _, err := b.ReadFrom(make([]byte, 10)); err != nil || time.Since(start) != 3*time.Millisecond {
			t.Errorf("after the change: %v, %v", time.Since(start), err)
		}
	})
}

func TestSegmentsAndBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := build(t, "", `, "link": {"delay": "1ms"}`, "")
		a, b := socket(t, n, "h0", ":0"), socket(t, n, "h1", ":2000")
		payload := bytes.Repeat([]byte("0123456789"), 10)
		m, err := a.WriteBatch([]netx.Datagram{{B: payload, Segment: 30, Peer: at(n, "h1", 2000)}, {Peer: at(n, "h1", 2000)}})
		if m != 2 || err != nil {
			t.Fatal(m, err)
		}
		time.Sleep(time.Millisecond)
		ds := make([]netx.Datagram, 10)
		for i := range ds {
			ds[i].B = make([]byte, 100)
		}
		m, err = b.ReadBatch(ds)
		if err != nil || m != 5 {
			t.Fatalf("got %d, %v; want 5", m, err)
		}
		var got []byte
		for i, want := range []int{30, 30, 30, 10, 0} {
			if ds[i].N != want {
				t.Errorf("datagram %d has %d bytes, want %d", i, ds[i].N, want)
			}
			got = append(got, ds[i].B[:ds[i].N]...)
		}
		if !bytes.Equal(got, payload) {
			t.Errorf("got %q", got)
		}
		for name, tt := range map[string]struct {
			d    netx.Datagram
			want error
		}{
			"too long":      {netx.Datagram{B: make([]byte, 1473), Peer: at(n, "h1", 2000)}, syscall.EMSGSIZE},
			"long segments": {netx.Datagram{B: make([]byte, 4000), Segment: 1473, Peer: at(n, "h1", 2000)}, syscall.EMSGSIZE},
			"far too long":  {netx.Datagram{B: make([]byte, 65508), Peer: at(n, "h0", 2000)}, syscall.EMSGSIZE},
			"a long train":  {netx.Datagram{B: make([]byte, 100_000), Segment: 1000, Peer: at(n, "h1", 2000)}, nil},
			"nobody":        {netx.Datagram{B: payload}, syscall.EDESTADDRREQ},
			"no host":       {netx.Datagram{B: payload, Peer: netip.MustParseAddrPort("192.0.2.1:1")}, syscall.EHOSTUNREACH},
		} {
			if _, err := a.WriteBatch([]netx.Datagram{tt.d}); !errors.Is(err, tt.want) {
				t.Errorf("%s: got %v, want %v", name, err, tt.want)
			}
		}
	})
}

func TestLinkTroubles(t *testing.T) {
	const count = 5000
	for name, tt := range map[string]struct {
		set   string
		check func(t *testing.T, n *Network, got []int)
	}{
		"nothing": {"loss=0", func(t *testing.T, _ *Network, got []int) {
			if len(got) != count || !slices.IsSorted(got) {
				t.Errorf("%d came, in order %t", len(got), slices.IsSorted(got))
			}
		}},
		"loss": {"loss=10%", func(t *testing.T, n *Network, got []int) {
			c, err := n.Counters("h0.up")
			if err != nil || int64(len(got)) != c.Out.Packets || c.Drops[DropLoss] != count-c.Out.Packets {
				t.Errorf("%d came, counters %+v, %v", len(got), c, err)
			}
			if len(got) < count*88/100 || len(got) > count*92/100 {
				t.Errorf("%d of %d came", len(got), count)
			}
		}},
		"duplicate": {"duplicate=0.1", func(t *testing.T, n *Network, got []int) {
			c, _ := n.Counters("h0.up")
			if int64(len(got)) != count+c.Duplicated || c.Duplicated < count*8/100 || c.Duplicated > count*12/100 {
				t.Errorf("%d came, counters %+v", len(got), c)
			}
		}},
		"reorder": {"reorder=0.05", func(t *testing.T, n *Network, got []int) {
			late := 0
			for i := 1; i < len(got); i++ {
				if got[i] < got[i-1] {
					late++
				}
			}
			if c, _ := n.Counters("h0.up"); len(got) != count || late == 0 || int64(late) > c.Held {
				t.Errorf("%d came, %d late, counters %+v", len(got), late, c)
			}
		}},
		"corrupt": {"corrupt=0.1", func(t *testing.T, n *Network, got []int) {
			c, _ := n.Counters("h0.up")
			if h := n.Node("h1").Counters(); h.Checksum != c.Corrupted || int64(len(got)) != count-c.Corrupted || c.Corrupted < count*8/100 {
				t.Errorf("%d came, host %+v, link %+v", len(got), h, c)
			}
		}},
		"queue": {"rate=10mbit queue=5ms", func(t *testing.T, n *Network, got []int) {
			// 500 bytes take 0.4 ms and come each 0.2 ms.
			c, _ := n.Counters("h0.up")
			if c.Drops[DropQueue] != count-int64(len(got)) || len(got) < count/2 || len(got) > count*52/100 {
				t.Errorf("%d came, link %+v", len(got), c)
			}
		}},
		"cut": {"cut=true", func(t *testing.T, n *Network, got []int) {
			if len(got) != 0 {
				t.Errorf("%d came", len(got))
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := build(t, "", `, "link": {"delay": "20ms"}`, `, "link": {"delay": "20ms"}`)
				words := append([]string{"h0.up"}, strings.Fields(tt.set)...)
				if err := n.Set(words...); err != nil {
					t.Fatal(err)
				}
				a, b := socket(t, n, "h0", ":0"), socket(t, n, "h1", ":2000")
				b.SetReadBuffer(64 << 20)
				go func() {
					for i := range count {
						sent := make([]byte, 472)
						sent[0], sent[1] = byte(i>>8), byte(i)
						if _, err := a.WriteToUDPAddrPort(sent, at(n, "h1", 2000)); err != nil {
							t.Error(err)
						}
						time.Sleep(200 * time.Microsecond)
					}
				}()
				tt.check(t, n, numbers(t, b))
			})
		})
	}
}

func TestMangledDatagram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := build(t, "", `, "up": {"mangle": 1}`, "")
		a, b := socket(t, n, "h0", ":0"), socket(t, n, "h1", ":2000")
		sent := []byte("all the world's a stage")
		got := make([]byte, 100)
		a.WriteToUDPAddrPort(sent, at(n, "h1", 2000))
		m, _, err := b.ReadFrom(got)
		if err != nil || m != len(sent) || bytes.Equal(got[:m], sent) {
			t.Errorf("got %q, %v", got[:m], err)
		}
		if checksum(got[:m]) != checksum(sent) {
			t.Error("the checksum would notice")
		}
	})
}

func TestReceiveBufferIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := build(t, "", "", "")
		a, b := socket(t, n, "h0", ":0"), socket(t, n, "h1", ":2000")
		b.SetReadBuffer(10 * (1000 + bookkeeping))
		sendNumbered(t, a, at(n, "h1", 2000), 1000, 25)
		if got := numbers(t, b); len(got) != 10 || got[9] != 9 {
			t.Errorf("got %v, want the first ten", got)
		}
		if s := b.Stats(); s.Dropped != 15 || s.Received != 10 || s.QueueMax != 10*(1000+bookkeeping) {
			t.Errorf("stats %+v", s)
		}
		if h := n.Node("h1").Counters(); h.NoRoom != 15 {
			t.Errorf("host %+v", h)
		}
		sendNumbered(t, a, at(n, "h1", 2001), 1000, 2)
		if h := n.Node("h1").Counters(); h.NoSocket != 2 {
			t.Errorf("host %+v", h)
		}
	})
}

func TestInterfaceHoldsSendersBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 1000 bytes take 1 ms.
		n := build(t, "", `, "nic": "8mbit"`, "")
		a, b := socket(t, n, "h0", ":0"), socket(t, n, "h1", ":2000")
		b.SetReadBuffer(1 << 20)
		a.SetWriteBuffer(10_000)
		start := time.Now()
		sendNumbered(t, a, at(n, "h1", 2000), 972, 100)
		if got, want := time.Since(start), 89*time.Millisecond; got != want {
			t.Errorf("sending took %v, want %v", got, want)
		}
		if got := numbers(t, b); len(got) != 100 {
			t.Errorf("%d came", len(got))
		}
		a.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
		var err error
		for range 100 {
			if _, err = a.WriteToUDPAddrPort(make([]byte, 972), at(n, "h1", 2000)); err != nil {
				break
			}
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestPacketConnEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := build(t, "", "", "")
		c := socket(t, n, "h0", ":7000")
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, _, err := c.ReadFrom(nil); !errors.Is(err, net.ErrClosed) {
				t.Errorf("reading when closed: %v", err)
			}
		})
		time.Sleep(time.Second)
		c2, err := n.Node("h0").ListenPacket(t.Context(), "udp", ":7000")
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("the same port again: %v, %v", c2, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		for what, err := range map[string]error{
			"close": c.Close(), "deadline": c.SetDeadline(time.Time{}),
			"write": func() error { _, err := c.WriteToUDPAddrPort(nil, at(n, "h1", 1)); return err }(),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after close: %v", what, err)
			}
		}
		c = socket(t, n, "h0", ":7000")
		start := time.Now()
		c.SetReadDeadline(start.Add(3 * time.Second))
		_, _, err = c.ReadFrom(nil)
		var ne net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() || time.Since(start) != 3*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		// A deadline that is moved while a reader waits counts.
		c.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { c.SetReadDeadline(time.Unix(1, 0)) })
		if _, _, err = c.ReadFrom(nil); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 4*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestDialledDatagramSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := build(t, "", "", "", "")
		server := socket(t, n, "h1", ":53")
		c, err := n.Node("h0").Dial(t.Context(), "udp", "h1:53")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte("question"))
		b := make([]byte, 100)
		m, from, err := server.ReadFrom(b)
		if err != nil || string(b[:m]) != "question" {
			t.Fatal(m, err)
		}
		stranger := socket(t, n, "h2", ":0")
		stranger.WriteTo([]byte("lie"), from)
		server.WriteTo([]byte("answer"), from)
		if m, err = c.Read(b); err != nil || string(b[:m]) != "answer" {
			t.Errorf("got %q, %v", b[:m], err)
		}
		if c.RemoteAddr().String() != "10.77.0.2:53" || n.Node("h0").Counters().NoSocket != 1 {
			t.Errorf("remote %v, host %+v", c.RemoteAddr(), n.Node("h0").Counters())
		}
		v6, err := n.Node("h0").Dial(t.Context(), "udp6", "h1-v6:53")
		if err != nil {
			t.Fatal(err)
		}
		defer v6.Close()
		v6.Write([]byte("six"))
		if m, from, err = server.ReadFrom(b); err != nil || string(b[:m]) != "six" || !from.(*net.UDPAddr).IP.Equal(net.ParseIP("fd77::1")) {
			t.Errorf("got %q from %v, %v", b[:m], from, err)
		}
	})
}

func TestPartitionAndRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := build(t, "", "", "", "")
		a, b, c := socket(t, n, "h0", ":0"), socket(t, n, "h1", ":2000"), socket(t, n, "h2", ":2000")
		count := func() [2]int {
			sendNumbered(t, a, at(n, "h1", 2000), 10, 3)
			sendNumbered(t, a, at(n, "h2", 2000), 10, 3)
			return [2]int{len(numbers(t, b)), len(numbers(t, c))}
		}
		lift := func() {}
		for _, step := range []struct {
			what string
			do   func() error
			want [2]int
		}{
			{"whole", func() error { return nil }, [2]int{3, 3}},
			{"a path is cut", func() error { return n.Set("h0:h2", "cut=true") }, [2]int{3, 0}},
			{"a host is cut off", func() error { return n.Set("h1", "cut=true") }, [2]int{0, 0}},
			{"healed", func() error { return n.Set("all", "h0:h2", "cut=false") }, [2]int{3, 3}},
			{"a rule", func() error { lift = n.Block(Rule{From: "h0", To: "h1", Network: "udp"}); return nil }, [2]int{0, 3}},
			{"lifted", func() error { lift(); return nil }, [2]int{3, 3}},
			{"a rule for tcp", func() error { n.Block(Rule{Network: "tcp"}); return nil }, [2]int{3, 3}},
			{"dropped by number", func() error { return n.DropPackets("h0.up", 43, 45, 47) }, [2]int{1, 2}},
		} {
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.what, err)
			}
			if got := count(); got != step.want {
				t.Errorf("%s: %v came, want %v", step.what, got, step.want)
			}
		}
		if h := n.Node("h1").Counters(); h.Filtered != 3 {
			t.Errorf("host %+v", h)
		}
		for _, words := range [][]string{{"h9", "cut=true"}, {"h0", "cut=perhaps"}} {
			if err := n.Set(words...); err == nil {
				t.Errorf("%v was accepted", words)
			}
		}
	})
}
