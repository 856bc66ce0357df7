package netsim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// connect gives both ends of a stream from h0 to h1.
func connect(t *testing.T, n *Network) (a, b *Conn) {
	t.Helper()
	ln := listen(t, n, "h1", ":80")
	c, err := n.Node("h0").Dial(t.Context(), "tcp", "h1:80")
	if err != nil {
		t.Fatal(err)
	}
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*Conn), s.(*Conn)
}

func listen(t *testing.T, n *Network, host, addr string) net.Listener {
	t.Helper()
	ln, err := n.Node(host).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func noise(seed uint64, size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// transfer sends size random bytes from a to b, which must get the same, and
// tells how long that took.
func transfer(t *testing.T, a, b *Conn, size int) time.Duration {
	t.Helper()
	start := time.Now()
	data := noise(1, size)
	var wg sync.WaitGroup
	wg.Go(func() {
		if m, err := a.Write(data); m != size || err != nil {
			t.Errorf("wrote %d of %d: %v", m, size, err)
		}
		if err := a.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, equal %t, %v", len(got), bytes.Equal(got, data), err)
	}
	took := time.Since(start)
	wg.Wait()
	return took
}

func TestStreamTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := build(t, "", `, "link": {"delay": "25ms"}`, `, "link": {"delay": "25ms"}`)
		start := time.Now()
		a, b := connect(t, n)
		if got, want := time.Since(start), 150*time.Millisecond; got != want {
			t.Errorf("connecting took %v, want %v: a round trip and a way", got, want)
		}
		for i := range 3 {
			start = time.Now()
			a.Write([]byte{byte(i)})
			var one [1]byte
			if _, err := io.ReadFull(b, one[:]); err != nil || one[0] != byte(i) || time.Since(start) != 50*time.Millisecond {
				t.Errorf("byte %d came after %v, %v", one[0], time.Since(start), err)
			}
		}
		// Ten segments at first, then twice as many each round trip.
		time.Sleep(time.Second) // until the last byte is acknowledged
		if got, want := transfer(t, a, b, 30*1448), 150*time.Millisecond; got != want {
			t.Errorf("30 segments took %v, want %v: a round trip and a way", got, want)
		}
		if s := a.Stats(); s.RTT != 100*time.Millisecond || s.MinRTT != s.RTT || s.Retransmitted != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestStreamFillsLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// RTT 40 ms, 20 Mbit/s: 100 kB, and a queue of as much.
		n := build(t, "", `, "link": {"rate": "20mbit", "delay": "10ms", "queue": "100KB"}`, `, "link": {"delay": "10ms"}`)
		a, b := connect(t, n)
		const size = 10 << 20
		took := transfer(t, a, b, size)
		least := time.Duration(size) * 1500 / 1448 * 400 // ns for a byte
		if took < least || took > least*120/100 {
			t.Errorf("took %v, at least %v are needed; %+v", took, least, a.Stats())
		}
		c, _ := n.Counters("h0.up")
		if s := a.Stats(); c.Drops[DropQueue] == 0 || s.Retransmitted < c.Drops[DropQueue] {
			t.Errorf("link %+v, stream %+v", c, s)
		}
	})
}

// TestStreamFollowsLoss compares with the model of Mathis and others (1997): the
// rate is MSS/RTT * sqrt(3/2p).
func TestStreamFollowsLoss(t *testing.T) {
	for _, loss := range []string{"0.2%", "1%", "3%"} {
		t.Run(loss, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := build(t, "", `, "link": {"rate": "100mbit", "delay": "25ms"}`, `, "link": {"rate": "100mbit", "delay": "25ms"}`)
				if err := n.Set("h0.up", "loss="+loss); err != nil {
					t.Fatal(err)
				}
				a, b := connect(t, n)
				took := transfer(t, a, b, 8<<20)
				n.lock()
				p := n.Node("h0").up.Params().Loss
				n.unlock()
				want := 1448 / 0.1 * math.Sqrt(1.5/p)
				if rate := (8 << 20) / took.Seconds(); rate < want*0.6 || rate > want*1.5 {
					t.Errorf("%.0f bytes per second, the model has %.0f; %+v", rate, want, a.Stats())
				}
			})
		})
	}
}

func TestStreamOverBadPaths(t *testing.T) {
	for _, set := range []string{
		"loss=20%", "reorder=20%", "duplicate=20%", "corrupt=10%", "burst=0.02,0.4", "jitter=10ms", "rate=2mbit queue=3KB",
		"loss=5% reorder=10% duplicate=10% corrupt=2% rate=10mbit cross=2mbit",
	} {
		t.Run(set, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := build(t, "", `, "link": {"delay": "5ms"}`, `, "link": {"delay": "5ms"}`)
				a, b := connect(t, n)
				if err := n.Set(append(strings.Fields(set), "all")...); err != nil {
					t.Fatal(err)
				}
				transfer(t, a, b, 300_000)
				transfer(t, b, a, 300_000)
			})
		})
	}
}

func TestMangledStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := build(t, "", `, "up": {"mangle": 1}`, "")
		a, b := connect(t, n)
		sent := noise(1, 1000)
		got := make([]byte, 1000)
		a.Write(sent)
		if _, err := io.ReadFull(b, got); err != nil || bytes.Equal(got, sent) {
			t.Errorf("equal %t, %v", bytes.Equal(got, sent), err)
		}
	})
}

func TestSlowReaderHoldsWriterBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := build(t, "", `, "link": {"delay": "5ms"}`, `, "link": {"delay": "5ms"}`)
		a, b := connect(t, n)
		a.SetWriteBuffer(100_000)
		b.SetReadBuffer(200_000)
		// The peer learns of the smaller buffer when the promise is used up.
		first := make(chan time.Duration, 1)
		start := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			a.SetWriteDeadline(start.Add(5 * time.Minute))
			m, err := a.Write(make([]byte, 20<<20))
			if !errors.Is(err, os.ErrDeadlineExceeded) || m > streamBuffer+100_000 || m < streamBuffer {
				t.Errorf("wrote %d: %v", m, err)
			}
			first <- time.Since(start)
		})
		if got := <-first; got != 5*time.Minute {
			t.Errorf("waited %v", got)
		}
		wg.Wait()
		if s := a.Stats(); s.Unacked != 100_000 {
			t.Errorf("stats %+v", s)
		}
		// A long pause does not break the stream, and all comes at last.
		time.Sleep(2 * time.Hour)
		a.SetWriteDeadline(time.Time{})
		wg.Go(func() { a.CloseWrite() })
		if m, err := io.Copy(io.Discard, b); err != nil || m < streamBuffer {
			t.Errorf("read %d, %v", m, err)
		}
		wg.Wait()
	})
}

func TestDialFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := build(t, "", `, "link": {"delay": "10ms"}`, `, "link": {"delay": "10ms"}`)
		listen(t, n, "h1", ":80")
		dial := func(ctx context.Context, addr string) (time.Duration, error) {
			start := time.Now()
			c, err := n.Node("h0").Dial(ctx, "tcp", addr)
			if err == nil {
				c.Close()
			}
			return time.Since(start), err
		}
		check := func(what string, took, want time.Duration, err, wantErr error) {
			t.Helper()
			if took != want || !errors.Is(err, wantErr) {
				t.Errorf("%s: %v after %v, want %v after %v", what, err, took, wantErr, want)
			}
		}
		took, err := dial(t.Context(), "h1:81")
		check("nobody listens", took, 40*time.Millisecond, err, syscall.ECONNREFUSED)
		took, err = dial(t.Context(), "192.0.2.1:80")
		check("no host", took, 0, err, syscall.EHOSTUNREACH)
		lift := n.Block(Rule{To: "h1", Network: "tcp", Port: 80, Reject: true})
		took, err = dial(t.Context(), "h1:80")
		check("rejected", took, 40*time.Millisecond, err, syscall.ECONNREFUSED)
		lift()
		lift = n.Block(Rule{To: "h1", Port: 80})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		took, err = dial(ctx, "h1:80")
		cancel()
		check("swallowed", took, 5*time.Second, err, context.DeadlineExceeded)
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("%v is no timeout", err)
		}
		took, err = dial(t.Context(), "h1:80")
		check("swallowed for long", took, 127*time.Second, err, syscall.ETIMEDOUT)
		lift()
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel)
		took, err = dial(ctx, "h1:80")
		check("cancelled", took, time.Millisecond, err, context.Canceled)
		took, err = dial(t.Context(), "h1:80")
		check("in the end", took, 40*time.Millisecond, err, nil)
		time.Sleep(time.Minute)
		for _, name := range []string{"h0", "h1"} {
			n.lock()
			left := len(n.Node(name).streams)
			n.unlock()
			if left > 1 { // one was never accepted
				t.Errorf("%s: %d streams are left", name, left)
			}
		}
	})
}

// TestStreamAtTheEndOfTime: when time can pass no more, nothing waits for it.
func TestStreamAtTheEndOfTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := connect(t, build(t, "", `, "link": {"delay": "5ms"}`, `, "link": {"delay": "5ms"}`))
		transfer(t, a, b, 1000)
		time.Sleep(math.MaxInt64)
		if m, err := b.Write(make([]byte, 1000)); m != 1000 || err != nil {
			t.Errorf("wrote %d, %v", m, err)
		}
	})
}

func TestDialThroughLoss(t *testing.T) {
	for lost, want := range map[string]time.Duration{
		"h0.up":   time.Second + 30*time.Millisecond, // the SYN
		"h1.up":   time.Second + 30*time.Millisecond, // its answer, which both repeat
		"h1.down": time.Second + 30*time.Millisecond, // the SYN, later
	} {
		synctest.Test(t, func(t *testing.T) {
			n := build(t, "", `, "link": {"delay": "5ms"}`, `, "link": {"delay": "5ms"}`)
			if err := n.DropPackets(lost, 1); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			a, b := connect(t, n)
			if got := time.Since(start); got < want-20*time.Millisecond || got > want {
				t.Errorf("%s: took %v, want %v", lost, got, want)
			}
			transfer(t, a, b, 10_000)
		})
	}
}

func TestStreamBreaks(t *testing.T) {
	start := func(t *testing.T) (*Network, *Conn, *Conn) {
		n := build(t, "", `, "link": {"delay": "5ms"}`, `, "link": {"delay": "5ms"}`)
		a, b := connect(t, n)
		return n, a, b
	}
	for name, play := range map[string]func(t *testing.T){
		"reset on the way": func(t *testing.T) {
			n, a, b := start(t)
			time.AfterFunc(time.Second, func() {
				if got := n.ResetStreams("h0", "h1"); got != 1 {
					t.Errorf("%d streams were reset", got)
				}
			})
			for _, c := range []*Conn{a, b} {
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("reading: %v", err)
				}
				if _, err := c.Write(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("writing: %v", err)
				}
			}
		},
		"closed with something unread": func(t *testing.T) {
			_, a, b := start(t)
			a.Write([]byte("hello"))
			time.Sleep(time.Second)
			b.Close()
			time.Sleep(time.Second)
			if _, err := a.Write([]byte("more")); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("writing: %v", err)
			}
		},
		"written to the closed": func(t *testing.T) {
			_, a, b := start(t)
			b.Close()
			if _, err := a.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("reading: %v", err)
			}
			if _, err := a.Write([]byte("hello")); err != nil {
				t.Errorf("writing: %v", err)
			}
			time.Sleep(time.Second)
			if _, err := a.Write([]byte("more")); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("writing again: %v", err)
			}
		},
		"not when something comes again that was read": func(t *testing.T) {
			n, a, b := start(t)
			answer := noise(2, 100*1448)
			n.Set("h1.up", "delay=500ms") // the RTO is 200 ms
			a.Write(make([]byte, 5*1448))
			if _, err := io.ReadFull(b, make([]byte, 5*1448)); err != nil {
				t.Error(err)
			}
			b.Write(answer)
			b.Close()
			if got, err := io.ReadAll(a); err != nil || !bytes.Equal(got, answer) {
				t.Errorf("got %d of %d bytes, %v", len(got), len(answer), err)
			}
			if s := a.Stats(); s.Timeouts == 0 {
				t.Errorf("nothing was sent again: %+v", s)
			}
		},
		"lingers not": func(t *testing.T) {
			_, a, b := start(t)
			a.SetLinger(0)
			a.Close()
			if _, err := b.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("reading: %v", err)
			}
		},
		"silence": func(t *testing.T) {
			n, a, b := start(t)
			n.Set("h1", "cut=true")
			began := time.Now()
			a.Write([]byte("hello"))
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) || time.Since(began) < 10*time.Minute || time.Since(began) > 30*time.Minute {
				t.Errorf("reading: %v after %v", err, time.Since(began))
			}
			b.SetReadDeadline(time.Now().Add(time.Hour))
			if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the other end, reading: %v", err)
			}
		},
		"a pause": func(t *testing.T) {
			n, a, b := start(t)
			n.Set("all", "rate=10mbit")
			time.AfterFunc(100*time.Millisecond, func() { n.Set("h1", "cut=true") })
			time.AfterFunc(30*time.Second, func() { n.Set("h1", "cut=false") })
			if took := transfer(t, a, b, 1<<20); took < 30*time.Second || took > 2*time.Minute {
				t.Errorf("took %v", took)
			}
		},
		"half closed": func(t *testing.T) {
			_, a, b := start(t)
			a.Write([]byte("question"))
			a.CloseWrite()
			if got, err := io.ReadAll(b); err != nil || string(got) != "question" {
				t.Errorf("got %q, %v", got, err)
			}
			if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("writing after the end: %v", err)
			}
			time.Sleep(time.Hour)
			b.Write([]byte("answer"))
			b.Close()
			if got, err := io.ReadAll(a); err != nil || string(got) != "answer" {
				t.Errorf("got %q, %v", got, err)
			}
		},
		"closed while used": func(t *testing.T) {
			_, a, b := start(t)
			time.AfterFunc(time.Second, func() { a.Close() })
			if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
				t.Errorf("reading: %v", err)
			}
			for what, err := range map[string]error{"close": a.Close(), "deadline": a.SetDeadline(time.Time{}), "close write": a.CloseWrite()} {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s: %v", what, err)
				}
			}
			time.AfterFunc(time.Second, func() { b.Close() })
			b.SetWriteBuffer(1000)
			if _, err := b.Write(make([]byte, 10<<20)); !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("writing: %v", err)
			}
		},
		"deadlines": func(t *testing.T) {
			_, a, _ := start(t)
			began := time.Now()
			a.SetDeadline(began.Add(time.Second))
			_, err := a.Read(make([]byte, 1))
			var ne net.Error
			if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() || time.Since(began) != time.Second {
				t.Errorf("reading: %v after %v", err, time.Since(began))
			}
			if _, err := a.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("writing: %v", err)
			}
			a.SetDeadline(time.Time{})
			if _, err := a.Write([]byte("x")); err != nil {
				t.Errorf("writing: %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, play) })
	}
}

func TestListenerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := build(t, "", "", "")
		ln := listen(t, n, "h1", "h1:80")
		if _, err := n.Node("h1").Listen(t.Context(), "tcp", ":80"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("the same port again: %v", err)
		}
		if _, err := n.Node("h0").Listen(t.Context(), "tcp", "h1:80"); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("another host's address: %v", err)
		}
		c, err := n.Node("h0").Dial(t.Context(), "tcp4", "h1:80")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ln.Close()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a stream that nobody took: %v", err)
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepting: %v", err)
		}
		ln = listen(t, n, "h1", "h1:80")
		time.AfterFunc(time.Second, func() { ln.Close() })
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accepting: %v", err)
		}
	})
}

// TestStreamsShare lets two streams and datagrams use one bottleneck.
func TestStreamsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := build(t, "", `, "link": {"delay": "5ms"}`, `, "link": {"delay": "5ms"}, "down": {"rate": "20mbit", "queue": "50ms"}`)
		udp, sink := socket(t, n, "h0", ":0"), socket(t, n, "h1", ":9")
		sink.SetReadBuffer(1 << 30)
		var wg sync.WaitGroup
		ln := listen(t, n, "h1", ":80")
		stop := time.Now().Add(20 * time.Second)
		var got [2]int64
		for i := range got {
			wg.Go(func() {
				c, err := n.Node("h0").Dial(t.Context(), "tcp", "h1:80")
				if err != nil {
					t.Error(err)
					return
				}
				c.SetDeadline(stop)
				for err == nil {
					_, err = c.Write(make([]byte, 64<<10))
				}
				c.Close()
			})
			c, err := ln.Accept()
			if err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				c.SetDeadline(stop)
				got[i], _ = io.Copy(io.Discard, c)
				c.Close()
			})
		}
		wg.Go(func() {
			for time.Now().Before(stop) { // 4 Mbit/s
				udp.WriteToUDPAddrPort(make([]byte, 972), at(n, "h1", 9))
				time.Sleep(2 * time.Millisecond)
			}
		})
		wg.Wait()
		sum := float64(got[0]+got[1]) * 8 / 20
		jain := Jain(float64(got[0]), float64(got[1]))
		if sum < 13e6 || sum > 16e6 || jain < 0.8 {
			t.Errorf("streams got %v, together %.0f bit/s, Jain's index %.2f", got, sum, jain)
		}
	})
}
