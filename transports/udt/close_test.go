package udt

import (
	"context"
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

// TestCloseBesideOthers: closing a connection waits for itself, not for others
// of its port.
func TestCloseBesideOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		l, err := Listen(t.Context(), b, "udp4", b.Addr(false).String()+":9000", Config{RecvBuffer: 50000})
		if err != nil {
			t.Fatal(err)
		}
		var dialled, accepted [2]*Conn
		for i := range dialled {
			if dialled[i], err = Dial(t.Context(), a, "udp4", l.Addr().String(), Config{RecvBuffer: 50000}); err != nil {
				t.Fatal(err)
			}
			if accepted[i], err = l.AcceptContext(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		// The other end goes without reading, and the loop forgets this one at once.
		if _, err := accepted[0].Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			time.Sleep(time.Second)
			dialled[0].abort()
		})
		start := time.Now()
		wg.Go(func() {
			time.Sleep(time.Minute)
			_ = dialled[1].Close()
			_ = accepted[1].Close()
		})
		if err := accepted[0].Close(); !errors.Is(err, ErrShutdown) || time.Since(start) > 2*time.Second {
			t.Errorf("closed after %v: %v", time.Since(start), err)
		}
		wg.Wait()
	})
}

// TestListenAgain: a closed listener has given its port back.
func TestListenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, b := pair(t)
		for range 3 {
			l, err := Listen(t.Context(), b, "udp4", b.Addr(false).String()+":9000", Config{})
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestCloseTellsWhy: bytes that were not acknowledged are told of, with what has
// kept them.
func TestCloseTellsWhy(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
		end  func(t *testing.T, n *netsim.Network, peer *Conn)
		want error
	}{
		{"the other end closes", Config{}, func(_ *testing.T, _ *netsim.Network, peer *Conn) { _ = peer.Close() }, ErrShutdown},
		{"the path is cut", Config{}, func(t *testing.T, n *netsim.Network, _ *Conn) { set(t, n, "cut=true") }, ErrTimeout},
		{"no time left", Config{Linger: 5 * time.Second}, func(*testing.T, *netsim.Network, *Conn) {}, os.ErrDeadlineExceeded},
		{"no time at all", Config{Linger: -1}, func(*testing.T, *netsim.Network, *Conn) {}, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			n, a, b := pair(t)
			tt.cfg.SendBuffer, tt.cfg.RecvBuffer = 200000, 50000
			x, y := connectedPair(t, a, b, b.Addr(false).String()+":9000", tt.cfg)
			if _, err := x.Write(make([]byte, 150000)); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				time.Sleep(2 * time.Second)
				tt.end(t, n, y)
			})
			if err := x.Close(); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
			wg.Wait()
			_ = y.Close()
		})
	}
}

// TestCloseAfterShutdown: that the other end has closed is told also when it did
// so before Close.
func TestCloseAfterShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		x, y := connectedPair(t, a, b, b.Addr(false).String()+":9000", Config{SendBuffer: 200000, RecvBuffer: 50000})
		if _, err := x.Write(make([]byte, 150000)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		_ = y.Close()
		time.Sleep(time.Second)
		if err := x.Close(); !errors.Is(err, ErrShutdown) {
			t.Errorf("%v, want %v", err, ErrShutdown)
		}
	})
}

// TestMeetAgain: after a rendezvous that failed the next one can begin.
func TestMeetAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, _ := pair(t)
		e, err := Open(t.Context(), a, "udp4", a.Addr(false).String()+":7000", Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := e.Meet(ctx, netip.MustParseAddrPort("10.9.9.9:9"))
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("meeting nobody: %v", err)
			}
			cancel()
		}
	})
}

// TestWholeWrites: what one call writes stays together, however many write.
func TestWholeWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		x, y := connectedPair(t, a, b, b.Addr(false).String()+":9000", Config{SendBuffer: 50000})
		const writers, n = 4, 300000
		var wg sync.WaitGroup
		for i := range writers {
			piece := make([]byte, n)
			for k := range piece {
				piece[k] = byte(i + 1)
			}
			wg.Go(func() {
				if k, err := x.Write(piece); k != n || err != nil {
					t.Errorf("wrote %d: %v", k, err)
				}
			})
		}
		got := make([]byte, writers*n)
		for have := 0; have < len(got); {
			k, err := y.Read(got[have:])
			if err != nil {
				t.Fatal(err)
			}
			have += k
		}
		wg.Wait()
		for i := 1; i < len(got); i++ {
			if got[i] != got[i-1] && i%n != 0 {
				t.Fatalf("another writer's byte at %d", i)
			}
		}
		_ = x.Close()
		_ = y.Close()
	})
}

// TestWriteOfMessages: a write that fails has written nothing.
func TestWriteOfMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := pair(t)
		x, y := connectedPair(t, a, b, b.Addr(false).String()+":9000", Config{Messages: true, SendBuffer: 50000})
		if n, err := x.Write(make([]byte, 1<<20)); n != 0 || !errors.Is(err, ErrTooLong) {
			t.Errorf("wrote %d: %v", n, err)
		}
		_ = x.Close()
		_ = y.Close()
		if n, err := x.Write([]byte{1}); n != 0 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("wrote %d after Close: %v", n, err)
		}
	})
}
