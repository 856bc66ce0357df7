package udt

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/internal/topology"
)

// pair gives two hosts with 50 ms between them.
func pair(t *testing.T, words ...string) (*netsim.Network, *netsim.Node, *netsim.Node) {
	t.Helper()
	top, err := topology.Parse([]byte(`{"hosts": [{"name": "a"}, {"name": "b"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	n, err := netsim.NewNetwork(top)
	if err != nil {
		t.Fatal(err)
	}
	set(t, n, "delay=50ms", "rate=100mbit", "queue=100ms")
	set(t, n, words...)
	return n, n.Node("a"), n.Node("b")
}

// set changes both directions of the path.
func set(t *testing.T, n *netsim.Network, words ...string) {
	t.Helper()
	for _, link := range []string{"a.up", "b.up"} {
		if len(words) == 0 {
			return
		}
		if err := n.Set(append([]string{link}, words...)...); err != nil {
			t.Fatal(err)
		}
	}
}

// connectedPair gives both ends of a connection.
func connectedPair(t *testing.T, a, b netx.Network, at string, cfg Config) (dialled, accepted *Conn) {
	t.Helper()
	l, err := Listen(t.Context(), b, "udp4", at, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err = Dial(t.Context(), a, "udp4", l.Addr().String(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	accepted, err = l.AcceptContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return dialled, accepted
}

// transfer sends bytes from one to the other, which closes first.
func transfer(t *testing.T, from, to *Conn, want []byte) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		if n, err := from.Write(want); n != len(want) || err != nil {
			t.Errorf("wrote %d of %d: %v", n, len(want), err)
		}
		if err := from.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	got, err := io.ReadAll(to)
	if err != nil {
		t.Errorf("reading: %v", err)
	}
	wg.Wait()
	mustEqual(t, "transfer", got, want)
	if err := to.Close(); err != nil {
		t.Errorf("closing the receiver: %v", err)
	}
}

func TestConnBubble(t *testing.T) {
	for _, words := range [][]string{{}, {"loss=1%"}} {
		synctest.Test(t, func(t *testing.T) {
			_, a, b := pair(t, words...)
			start := time.Now()
			x, y := connectedPair(t, a, b, b.Addr(false).String()+":9000", Config{})
			// A request and an answer, twice.
			if d := time.Since(start); len(words) == 0 && d < 200*ms || d > 201*ms {
				t.Errorf("connected after %v, want 200ms", d)
			}
			transfer(t, x, y, noise(5, 4<<20))
			t.Logf("%v", time.Since(start))
		})
	}
}

func TestLoopback(t *testing.T) {
	x, y := connectedPair(t, &netx.System{}, &netx.System{}, "127.0.0.1:0", Config{})
	start := time.Now()
	transfer(t, x, y, noise(5, 32<<20))
	t.Logf("%v; %+v", time.Since(start), x.Stats())
}

func TestDeadlinesAndClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b := pair(t)
		x, y := connectedPair(t, a, b, b.Addr(false).String()+":9000", Config{SendBuffer: 50000, RecvBuffer: 50000})
		_ = x.SetReadDeadline(time.Now().Add(time.Second))
		start := time.Now()
		if _, err := x.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("reading: %v after %v", err, time.Since(start))
		}
		// Nobody reads: both buffers fill, then the writer waits.
		_ = x.SetWriteDeadline(time.Now().Add(20 * time.Second))
		k, err := x.Write(make([]byte, 1<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || k < 80000 || k > 150000 {
			t.Errorf("wrote %d: %v", k, err)
		}
		go func() { time.Sleep(time.Second); _ = y.Close() }()
		_ = x.SetReadDeadline(time.Time{})
		if _, err := x.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("reading from one who has closed: %v", err)
		}
		if _, err := x.Write([]byte{1}); !errors.Is(err, ErrShutdown) {
			t.Errorf("writing to one who has closed: %v", err)
		}
		_ = x.Close()
		if _, err := x.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading after Close: %v", err)
		}
		if err := x.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closing twice: %v", err)
		}

		// A peer that vanishes.
		x, y = connectedPair(t, a, b, b.Addr(false).String()+":9001", Config{})
		set(t, n, "cut=true")
		start = time.Now()
		_, err = x.Read(make([]byte, 1))
		if d := time.Since(start); !errors.Is(err, ErrTimeout) || d < 45*time.Second || d > 52*time.Second {
			t.Errorf("the peer is dead: %v after %v", err, d)
		}
		_ = x.Close()
		_ = y.Close()

		// Nobody there.
		start = time.Now()
		_, err = Dial(t.Context(), a, "udp4", "10.9.9.9:9", Config{})
		if d := time.Since(start); !errors.Is(err, ErrTimeout) || d != connectTimeout {
			t.Errorf("dialling nobody: %v after %v", err, d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err = Dial(ctx, a, "udp4", "10.9.9.9:9", Config{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dialling nobody with a context: %v", err)
		}
	})
}

func TestRendezvousBubble(t *testing.T) {
	for _, skew := range []time.Duration{0, 30 * ms, 2 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			_, a, b := pair(t)
			open := func(h *netsim.Node) *Endpoint {
				e, err := Open(t.Context(), h, "udp4", h.Addr(false).String()+":7000", Config{})
				if err != nil {
					t.Fatal(err)
				}
				return e
			}
			ea, eb := open(a), open(b)
			defer ea.Close()
			defer eb.Close()
			var x, y *Conn
			var wg sync.WaitGroup
			meet := func(c **Conn, from, to *Endpoint, after time.Duration) {
				wg.Go(func() {
					time.Sleep(after)
					start := time.Now()
					var err error
					if *c, err = from.Meet(t.Context(), to.local); err != nil {
						t.Error(err)
					}
					t.Logf("skew %v: met after %v", skew, time.Since(start))
				})
			}
			meet(&x, ea, eb, 0)
			meet(&y, eb, ea, skew)
			wg.Wait()
			transfer(t, x, y, noise(6, 1<<20))
		})
	}
}

func TestManyOnOnePort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 200
		_, a, b := pair(t)
		l, err := Listen(t.Context(), b, "udp4", b.Addr(false).String()+":9000", Config{Backlog: n})
		if err != nil {
			t.Fatal(err)
		}
		e, err := Open(t.Context(), a, "udp4", a.Addr(false).String()+":0", Config{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range n {
			want := noise(uint64(i), 10000)
			wg.Go(func() {
				c, err := e.Dial(t.Context(), netip.MustParseAddrPort(l.Addr().String()))
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := c.Write(want); err != nil {
					t.Error(err)
				}
				got := make([]byte, len(want))
				if _, err := io.ReadFull(c, got); err != nil {
					t.Error(err)
				}
				mustEqual(t, "echo", got, want)
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			})
			wg.Go(func() {
				c, err := l.Accept()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.Copy(c, c); err != nil {
					t.Error(err)
				}
				_ = c.Close()
			})
		}
		wg.Wait()
		_ = e.Close()
		_ = l.Close()
	})
}

func TestMessagesBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t, "loss=2%")
		x, y := connectedPair(t, a, b, b.Addr(false).String()+":9000", Config{Messages: true})
		sizes := []int{1, 1455, 1456, 1457, 100000, 1 << 20, 7}
		var wg sync.WaitGroup
		wg.Go(func() {
			for i, n := range sizes {
				if err := x.SendMessage(noise(uint64(i), n), 0, true); err != nil {
					t.Error(err)
				}
			}
			_ = x.Close()
		})
		buf := make([]byte, 2<<20)
		for i, n := range sizes {
			k, err := y.ReceiveMessage(buf)
			if err != nil {
				t.Fatal(err)
			}
			mustEqual(t, "message", buf[:k], noise(uint64(i), n))
		}
		if _, err := y.ReceiveMessage(buf); err != io.EOF {
			t.Errorf("after the last message: %v", err)
		}
		_ = y.Close()
		wg.Wait()
	})
}
