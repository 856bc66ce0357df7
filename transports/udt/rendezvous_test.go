package udt

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/internal/netsim"
)

// TestRendezvousStrangers: a packet to no ID, which takes no more than knowing
// the addresses, ends no connection that stands.
func TestRendezvousStrangers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		e, err := Open(t.Context(), a, "udp4", a.Addr(false).String()+":7000", Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		peer, err := b.ListenPacket(t.Context(), "udp4", b.Addr(false).String()+":7000")
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		to := net.UDPAddrFromAddrPort(e.local)
		say := func(b []byte) {
			if _, err := peer.WriteTo(b, to); err != nil {
				t.Error(err)
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			hs := handshake{version: version, kind: typeStream, isn: 5, mss: 1500, window: 100, id: 77}
			for _, hs.req = range []request{reqRendezvous, reqConclude, reqConclude} {
				say(hs.append(nil, 0))
				time.Sleep(200 * ms)
			}
		})
		defer wg.Wait()
		c, err := e.Meet(t.Context(), netip.MustParseAddrPort(peer.LocalAddr().String()))
		if err != nil {
			t.Fatal(err)
		}
		say(append(dataHeader(5, partOnly, 0, 0).append(nil), "forged"...))
		say(appendEmpty(nil, kindShutdown, 0, 0))
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := c.Read(make([]byte, 10)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d: %v", n, err)
		}
	})
}

// TestRendezvousMSS: the library takes the MSS of the packet that connects it,
// so that has to be the smaller one already.
func TestRendezvousMSS(t *testing.T) {
	p := netsim.Params{Delay: 10 * ms}
	s := newSim(t, 1, p, p)
	a := s.listen(s.a, Config{MSS: 1500})
	b := s.listen(s.b, Config{MSS: 1052})
	for _, e := range []*end{a, b} {
		other := map[*end]*end{a: b, b: a}[e]
		e.c = newCore(e.cfg, control(t, e.cfg), 0, other.sock.LocalAddr(), 0x1000, 9)
		e.c.dial(0, true)
		e.sent = func(_ time.Duration, h header, body []byte) {
			if h.control() && h.kind() == kindHandshake {
				hs, err := parseHandshake(body)
				if err != nil || hs.req != reqRendezvous && hs.mss != 1052 {
					t.Errorf("%v told %+v, %v", e, hs, err)
				}
			}
		}
	}
	a.pump()
	b.pump()
	s.run(time.Second, "meeting", func() bool { return a.c.state == connected && b.c.state == connected })
	want := noise(1, 100000)
	a.give(want)
	s.run(time.Second, "transfer", func() bool { return len(b.got) == len(want) })
	mustEqual(t, "bytes", b.got, want)
}

// TestAcceptClosed: a connection that was closed before it was made stays so.
func TestAcceptClosed(t *testing.T) {
	c := newCore(Config{MSS: 1500}, control(t, Config{}), 0, netip.MustParseAddrPort("192.0.2.1:5"), 3, 9)
	c.close(0, -1)
	hs := handshake{version: version, kind: typeStream, isn: 9, mss: 1500, window: 100, req: reqConclude, id: 3}
	if c.accept(0, &hs) || c.state != closed {
		t.Errorf("accepted: %v", c.state)
	}
}
