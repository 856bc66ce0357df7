package udt

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

// How much TestInteropSoak does; make soak-interop does more of it.
var (
	interopRuns  = flag.Int("udt.interop", 6, "`runs` of TestInteropSoak")
	interopFirst = flag.Int("udt.interopfirst", 0, "`number` of the first one")
	interopBytes = flag.Int("udt.interopbytes", 1<<20, "`bytes` each way in one of them")
)

// TestInteropSoak echoes bytes with libudt, which is server, client and the other
// end of a rendezvous by turns, every other time with 1% loss both ways. Every
// byte has to come back.
func TestInteropSoak(t *testing.T) {
	p := interop(t, 3*time.Hour)
	for i := *interopFirst; i < *interopFirst+*interopRuns; i++ {
		p := p
		p.path.loss = 0.01 * float64(i/3%2)
		name := []string{"client", "server", "rendezvous"}[i%3]
		t.Run(fmt.Sprintf("%d/%s/loss=%v", i, name, p.path.loss), func(t *testing.T) {
			start, p, want := time.Now(), p.in(t), noise(uint64(i), *interopBytes)
			[]func([]byte){p.client, p.server, p.rendezvous}[i%3](want)
			t.Logf("%v", time.Since(start))
		})
	}
}

// bothRoles echoes bytes with libudt as server and as client.
func bothRoles(t *testing.T, p library, name string, want []byte) {
	t.Helper()
	for role, run := range map[string]func(library, []byte){"client": library.client, "server": library.server} {
		t.Run(role+"/"+name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			run(p.in(t), want)
			t.Logf("%v", time.Since(start))
		})
	}
}

// TestInterop echoes bytes with libudt in both roles: lengths around a packet's,
// different longest packets, over paths that lose, delay and reorder.
func TestInterop(t *testing.T) {
	p := interop(t, 2*time.Minute)
	for _, tt := range []struct {
		name        string
		bytes       int
		theirs, mss int
		path        wire
	}{
		{"one byte", 1, 1500, 0, wire{}},
		{"almost a packet", 1455, 1500, 0, wire{}},
		{"a packet", 1456, 1500, 0, wire{}},
		{"more than a packet", 1457, 1500, 0, wire{}},
		{"bulk", 16 << 20, 1500, 0, wire{}},
		{"their MSS smaller", 1 << 20, 1052, 1400, wire{}},
		{"our MSS smaller", 1 << 20, 9000, 1400, wire{}},
		{"loss 1%", 4 << 20, 1500, 0, wire{loss: 0.01}},
		{"jitter", 512 << 10, 1500, 0, wire{loss: 0.01, delay: 15 * ms, jitter: 20 * ms}},
	} {
		p := p
		p.mss, p.cfg, p.path = tt.theirs, Config{MSS: tt.mss}, tt.path
		bothRoles(t, p, tt.name, noise(9, tt.bytes))
	}
}

// TestInteropIPv6 does so over IPv6, with different longest packets.
func TestInteropIPv6(t *testing.T) {
	p := interop(t, time.Minute)
	p.v6 = true
	want := noise(3, 2<<20)
	for _, tt := range []struct{ theirs, ours, payload int }{
		{1500, 0, 1436}, {1052, 1400, 1008}, {9000, 1400, 1336}, {1400, 9000, 1356},
	} {
		p := p
		p.mss, p.cfg.MSS = tt.theirs, tt.ours
		name := fmt.Sprintf("%d and %d", tt.theirs, tt.ours)
		bothRoles(t, p, name, want)
		t.Run("payload/"+name, func(t *testing.T) {
			t.Parallel()
			p := p.in(t)
			addr, _, ended := p.serve("serve6", "0", p.packet())
			c := p.dial(addr)
			if n := c.Stats().Payload; n != tt.payload {
				t.Errorf("packets of %d bytes, want %d", n, tt.payload)
			}
			echoed(t, c, want[:1000])
			ended()
		})
	}
}

// TestInteropRendezvous meets libudt.
func TestInteropRendezvous(t *testing.T) {
	t.Parallel()
	interop(t, time.Minute).in(t).rendezvous(noise(8, 1<<20))
}

// TestInteropMessages sends messages to libudt, which sends them back.
func TestInteropMessages(t *testing.T) {
	t.Parallel()
	p := interop(t, time.Minute)
	p.cfg.Messages = true
	addr, _, ended := p.serve("messages", "0")
	c := p.dial(addr)
	buf := make([]byte, 2<<20)
	for i, n := range []int{1, 1456, 1457, 100000, 1 << 20} {
		want := noise(uint64(i), n)
		if err := c.SendMessage(want, 0, i%2 == 0); err != nil {
			t.Fatal(err)
		}
		k, err := c.ReceiveMessage(buf)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "message", buf[:k], want)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	ended()
}
