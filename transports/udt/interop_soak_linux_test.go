package udt

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netx"
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
	program := buildPeer(t)
	for i := *interopFirst; i < *interopFirst+*interopRuns; i++ {
		role := []func(*testing.T, context.Context, string, []byte, float64){theyServe, theyDial, theyMeet}[i%3]
		loss := 0.01 * float64(i/3%2)
		t.Run(fmt.Sprintf("%d/%s/loss=%v", i, []string{"client", "server", "rendezvous"}[i%3], loss), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			start := time.Now()
			role(t, ctx, program, noise(uint64(i), *interopBytes), loss)
			t.Logf("%v", time.Since(start))
		})
	}
}

// lossy gives the address that leads to another through a relay.
func lossy(t *testing.T, addr string, loss float64) string {
	t.Helper()
	if loss == 0 {
		return addr
	}
	return newRelay(t, addr, wire{loss: loss}).addr()
}

func theyServe(t *testing.T, ctx context.Context, program string, want []byte, loss float64) {
	addr, cmd := serving(t, ctx, program, "serve", "0", "1500")
	c, err := Dial(ctx, &netx.System{}, "udp4", lossy(t, addr, loss), Config{})
	if err != nil {
		t.Fatal(err)
	}
	echoed(t, c, want)
	if err := cmd.Wait(); err != nil {
		t.Errorf("libudt: %v", err)
	}
}

func theyDial(t *testing.T, ctx context.Context, program string, want []byte, loss float64) {
	l, err := Listen(ctx, &netx.System{}, "udp4", "127.0.0.1:0", Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := l.AcceptContext(ctx)
		if err != nil {
			t.Error(err)
			return
		}
		echo(t, c)
	})
	host, port, _ := strings.Cut(lossy(t, l.Addr().String(), loss), ":")
	echoProgram(t, ctx, want, program, "echo", host, port, "1500")
	wg.Wait()
}

func theyMeet(t *testing.T, ctx context.Context, program string, want []byte, loss float64) {
	e, err := Open(ctx, &netx.System{}, "udp4", "127.0.0.1:0", Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	theirs := freePort(t)
	see, tell := theirs.String(), e.local.String() // how each end reaches the other one
	if loss > 0 {
		r := newRelay(t, see, wire{loss: loss})
		see, tell = r.addr(), r.back.LocalAddr().String()
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := e.Meet(ctx, netip.MustParseAddrPort(see))
		if err != nil {
			t.Error(err)
			return
		}
		echo(t, c)
	})
	host, port, _ := strings.Cut(tell, ":")
	echoProgram(t, ctx, want, program, "meet", strconv.Itoa(int(theirs.Port())), host, port, "1500")
	wg.Wait()
}

// echo sends back what comes, until the other end closes.
func echo(t *testing.T, c *Conn) {
	if _, err := io.Copy(c, c); err != nil {
		t.Errorf("echoing: %v", err)
	}
	_ = c.Close()
}

// freePort gives an address of this machine that nobody uses.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return netip.MustParseAddrPort(c.LocalAddr().String())
}
