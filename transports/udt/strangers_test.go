package udt

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestReplayedHandshakes: the last packet of a handshake makes one connection,
// however often it comes, and is answered by no more than one packet each time; a
// packet with the right ID from a wrong address does nothing.
func TestReplayedHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		l, err := Listen(t.Context(), b, "udp4", b.Addr(false).String()+":9000", Config{})
		if err != nil {
			t.Fatal(err)
		}
		pc, err := a.ListenPacket(t.Context(), "udp4", a.Addr(false).String()+":0")
		if err != nil {
			t.Fatal(err)
		}
		p := &hostile{t: t, pc: pc, to: l.Addr(), isn: 5}
		last := p.connect(Config{})
		c, err := l.AcceptContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(500 * ms)
		before := p.seen.Load()
		for range 100 {
			p.say(last)
		}
		time.Sleep(500 * ms)
		if n := p.seen.Load() - before; n < 100 || n > 105 { // some keep-alives
			t.Errorf("100 repetitions were answered by %d packets", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.AcceptContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("another connection: %v", err)
		}
		other, err := a.ListenPacket(t.Context(), "udp4", a.Addr(false).String()+":0")
		if err != nil {
			t.Fatal(err)
		}
		for _, forged := range [][]byte{
			appendEmpty(nil, kindShutdown, 0, p.id), append(dataHeader(5, partOnly, 0, p.id).append(nil), 1),
		} {
			if _, err := other.WriteTo(forged, l.Addr()); err != nil {
				t.Error(err)
			}
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := c.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read %d: %v", n, err)
		}
		_ = other.Close()
		_ = l.Close()
		_ = c.Close()
		_ = pc.Close()
		p.wg.Wait()
	})
}

// TestFlood: first requests from a hundred thousand addresses cost nothing that
// stays, and get one answer of the same length at most.
func TestFlood(t *testing.T) {
	g := newGreeter(Config{}, [32]byte{7})
	hs := handshake{version: version, kind: typeStream, isn: 9, mss: 1500, window: 100, req: reqClient, id: 3}
	h, body, err := parseHeader(hs.append(nil, 0))
	if err != nil {
		t.Fatal(err)
	}
	var out outbox
	flood := func() {
		for i := range uint32(100000) {
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 5)
			if _, ok := g.greet(time.Duration(i)*time.Microsecond, from, h, body, &out); ok {
				t.Fatal("let in without a cookie")
			}
			if len(out.ds) > 1 || len(out.ds) == 1 && len(out.ds[0].B) > headerLen+len(body) {
				t.Fatalf("%d answers, the first one of %d bytes", len(out.ds), len(out.ds[0].B))
			}
			out.reset()
		}
	}
	// What one request needs for its cookie is gone when the next one comes.
	if n := testing.AllocsPerRun(1, flood) / 100000; n > 12 {
		t.Errorf("%v allocations for a request", n)
	}
}
