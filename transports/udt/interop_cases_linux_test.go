package udt

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netx"
)

// quiet is short, since what it shows begins after a second; with 61s the library's
// own limits are met, too: the age at which it takes a peer for dead, and the minute
// of its cookies.
var quiet = flag.Duration("udt.interopquiet", 1500*time.Millisecond, "how long ends say nothing in the tests beside libudt: `duration`")

// TestInteropIPv6 talks with libudt over IPv6, with different longest packets.
func TestInteropIPv6(t *testing.T) {
	program := buildPeer(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	want := noise(3, 2<<20)
	for _, tt := range []struct{ theirs, ours, payload int }{
		{1500, 0, 1436}, {1052, 1400, 1008}, {9000, 1400, 1336}, {1400, 9000, 1356},
	} {
		cfg := Config{MSS: tt.ours}
		name := fmt.Sprintf("%d and %d", tt.theirs, tt.ours)
		t.Run("client/"+name, func(t *testing.T) {
			addr, cmd := serving(t, ctx, program, "serve6", "0", strconv.Itoa(tt.theirs))
			c, err := Dial(ctx, &netx.System{}, "udp6", strings.Replace(addr, "127.0.0.1", "[::1]", 1), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if n := c.Stats().Payload; n != tt.payload {
				t.Errorf("packets of %d bytes, want %d", n, tt.payload)
			}
			echoed(t, c, want)
			if err := cmd.Wait(); err != nil {
				t.Errorf("libudt: %v", err)
			}
		})
		t.Run("server/"+name, func(t *testing.T) {
			l, err := Listen(ctx, &netx.System{}, "udp6", "[::1]:0", cfg)
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
			port := l.Addr().(*net.UDPAddr).Port
			echoProgram(t, ctx, want, program, "echo6", strconv.Itoa(port), strconv.Itoa(tt.theirs))
			wg.Wait()
		})
	}
}

// TestInteropJitter talks with libudt over a path that loses, delays and reorders.
func TestInteropJitter(t *testing.T) {
	program := buildPeer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	path := wire{loss: 0.01, delay: 15 * ms, jitter: 20 * ms}
	want := noise(4, 512<<10)
	t.Run("client", func(t *testing.T) {
		addr, cmd := serving(t, ctx, program, "serve", "0", "1500")
		c, err := Dial(ctx, &netx.System{}, "udp4", newRelay(t, addr, path).addr(), Config{})
		if err != nil {
			t.Fatal(err)
		}
		echoed(t, c, want)
		if err := cmd.Wait(); err != nil {
			t.Errorf("libudt: %v", err)
		}
	})
	t.Run("server", func(t *testing.T) {
		l, done := echoing(t, ctx, Config{}, 1)
		host, port, _ := strings.Cut(newRelay(t, l.Addr().String(), path).addr(), ":")
		echoProgram(t, ctx, want, program, "echo", host, port, "1500")
		done()
	})
}

// echoing listens, and sends back what comes on so many connections; done waits
// for their ends.
func echoing(t *testing.T, ctx context.Context, cfg Config, n int) (l *Listener, done func()) {
	t.Helper()
	l, err := Listen(ctx, &netx.System{}, "udp4", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for range n {
			c, err := l.AcceptContext(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			wg.Go(func() { echo(t, c) })
		}
	})
	return l, func() {
		wg.Wait()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestInteropCrowd has many connections with libudt over one port of ours.
func TestInteropCrowd(t *testing.T) {
	const members, bytesEach = 100, 50_000
	program := buildPeer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	t.Run("clients", func(t *testing.T) {
		l, done := echoing(t, ctx, Config{}, members)
		host, port, _ := strings.Cut(l.Addr().String(), ":")
		cmd := exec.CommandContext(ctx, program, "crowd", host, port, strconv.Itoa(members), strconv.Itoa(bytesEach))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("libudt: %v: %s", err, out)
		}
		done()
	})
	t.Run("servers", func(t *testing.T) {
		addr, cmd := serving(t, ctx, program, "many", "0", strconv.Itoa(members))
		e, err := Open(ctx, &netx.System{}, "udp4", "127.0.0.1:0", Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		var wg sync.WaitGroup
		for i := range members {
			wg.Go(func() {
				c, err := e.Dial(ctx, netip.MustParseAddrPort(addr))
				if err != nil {
					t.Error(err)
					return
				}
				echoed(t, c, noise(uint64(i), bytesEach))
			})
		}
		wg.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("libudt: %v", err)
		}
	})
}

// TestInteropQuiet: ends that say nothing for a while stay connected.
func TestInteropQuiet(t *testing.T) {
	program := buildPeer(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+2*(*quiet))
	defer cancel()
	want := noise(5, 1<<20)
	t.Run("client", func(t *testing.T) {
		addr, cmd := serving(t, ctx, program, "serve", "0", "1500")
		c, err := Dial(ctx, &netx.System{}, "udp4", addr, Config{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(*quiet)
		echoed(t, c, want)
		if err := cmd.Wait(); err != nil {
			t.Errorf("libudt: %v", err)
		}
	})
	t.Run("server", func(t *testing.T) {
		l, done := echoing(t, ctx, Config{}, 1)
		host, port, _ := strings.Cut(l.Addr().String(), ":")
		cmd := exec.CommandContext(ctx, program, "echo", host, port, "1500")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(*quiet) // it has connected, and waits for what it is to send
		if _, err := in.Write(want); err != nil {
			t.Error(err)
		}
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("libudt: %v", err)
		}
		mustEqual(t, "libudt's echo", out.Bytes(), want)
		done()
	})
}

// TestInteropStopped: a library that says nothing is dead after the time that was
// set, or that of the protocol if there is time for it; and its coming back disturbs
// nobody.
func TestInteropStopped(t *testing.T) {
	program := buildPeer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cfg, least := Config{Idle: time.Second}, time.Second
	if *quiet > 50*time.Second {
		cfg, least = Config{}, 45*time.Second
	}
	addr, cmd := serving(t, ctx, program, "serve", "0", "1500")
	c, err := Dial(ctx, &netx.System{}, "udp4", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, err = c.Read(b)
	if d := time.Since(start); !errors.Is(err, ErrTimeout) || d < least || d > least+4*time.Second {
		t.Errorf("after %v: %v, want %v after %v", d, err, ErrTimeout, least)
	}
	if err := c.Close(); !errors.Is(err, ErrTimeout) {
		t.Errorf("closing: %v, want %v", err, ErrTimeout)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil { // it learns of the end from the last packets
		t.Errorf("libudt: %v", err)
	}
}

// TestInteropCut: each end closes while the other one sends.
func TestInteropCut(t *testing.T) {
	program := buildPeer(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	t.Run("libudt closes", func(t *testing.T) {
		addr, cmd := serving(t, ctx, program, "take", "0", "1000000", "0")
		c, err := Dial(ctx, &netx.System{}, "udp4", addr, Config{})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = c.Write(make([]byte, 100_000))
		}
		if !errors.Is(err, ErrShutdown) {
			t.Errorf("writing: %v, want %v", err, ErrShutdown)
		}
		if err := c.Close(); !errors.Is(err, ErrShutdown) {
			t.Errorf("closing: %v, want %v", err, ErrShutdown)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("libudt: %v", err)
		}
	})
	for _, linger := range []time.Duration{-1, 0} {
		t.Run(fmt.Sprintf("we close, linger %v", linger), func(t *testing.T) {
			l, err := Listen(ctx, &netx.System{}, "udp4", "127.0.0.1:0", Config{Linger: linger})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			host, port, _ := strings.Cut(l.Addr().String(), ":")
			cmd := exec.CommandContext(ctx, program, "pour", host, port)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			c, err := l.AcceptContext(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 1_000_000)); err != nil {
				t.Error(err)
			}
			start := time.Now()
			if err := c.Close(); err != nil || time.Since(start) > 5*time.Second {
				t.Errorf("closing: %v after %v", err, time.Since(start))
			}
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 || time.Since(start) > 10*time.Second {
				t.Errorf("libudt: %v after %v, want code 3", err, time.Since(start))
			}
		})
	}
}

// TestInteropCookieMinute dials a listener of libudt whose cookies change, when
// there is time for it, and often enough that one is asked for just before that and
// brought just after.
func TestInteropCookieMinute(t *testing.T) {
	const dials, apart = 25, 100 * ms
	program := buildPeer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	begun := time.Now()
	addr, cmd := serving(t, ctx, program, "many", "0", strconv.Itoa(dials))
	path := wire{delay: 200 * ms} // so that it takes a while to bring a cookie
	var wg sync.WaitGroup
	time.Sleep(min(*quiet, 58500*ms) - time.Since(begun))
	for range dials {
		time.Sleep(apart)
		wg.Go(func() {
			start := time.Now()
			c, err := Dial(ctx, &netx.System{}, "udp4", newRelay(t, addr, path).addr(), Config{})
			if err != nil {
				t.Errorf("after %v: %v", time.Since(start), err)
				return
			}
			echoed(t, c, []byte("hello"))
		})
	}
	wg.Wait()
	if err := cmd.Wait(); err != nil {
		t.Errorf("libudt: %v", err)
	}
}

// TestInteropStream takes from libudt as much as comes, for a while, and gives it as
// much as it takes: neither breaks, nor drowns the other one in reports of losses.
func TestInteropStream(t *testing.T) {
	program := buildPeer(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute+2*(*quiet))
	defer cancel()
	t.Run("from libudt", func(t *testing.T) {
		l, err := Listen(ctx, &netx.System{}, "udp4", "127.0.0.1:0", Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		host, port, _ := strings.Cut(l.Addr().String(), ":")
		cmd := exec.CommandContext(ctx, program, "pour", host, port)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c, err := l.AcceptContext(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b, total := make([]byte, 1<<20), 0
		for start := time.Now(); time.Since(start) < *quiet; {
			n, err := c.Read(b)
			if err != nil {
				t.Fatalf("after %d bytes: %v", total, err)
			}
			total += n
		}
		n := c.Stats().Counters
		t.Logf("%d bytes in %v; %+v", total, *quiet, n)
		if total < 1<<20 || n.SentNaks > n.Received/20 {
			t.Errorf("%d bytes in %v, %d packets, %d loss reports", total, *quiet, n.Received, n.SentNaks)
		}
		_ = c.Close()
		_ = cmd.Wait() // with an error, as it was cut off: see TestInteropCut
	})
	t.Run("to libudt", func(t *testing.T) {
		const size = 64 << 20
		addr, cmd := serving(t, ctx, program, "take", "0", strconv.Itoa(size), "0")
		c, err := Dial(ctx, &netx.System{}, "udp4", addr, Config{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Errorf("writing: %v", err)
		}
		_ = c.Close() // it may have closed before its last acknowledgement came
		n := c.Stats().Counters
		t.Logf("%+v", n)
		if n.Resent > n.Sent/10 {
			t.Errorf("of %d packets %d were sent again", n.Sent, n.Resent)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("libudt: %v", err)
		}
	})
}

// TestInteropSlowReader: readers that rest while the other end sends, until its
// window is full, and go on then.
func TestInteropSlowReader(t *testing.T) {
	const rest = 2 * time.Second
	program := buildPeer(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	t.Run("libudt", func(t *testing.T) {
		const size = 40 << 20 // its buffers hold 12 MB
		addr, cmd := serving(t, ctx, program, "take", "0", strconv.Itoa(size), strconv.Itoa(int(rest/ms)))
		c, err := Dial(ctx, &netx.System{}, "udp4", addr, Config{})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Errorf("writing: %v", err)
		}
		_ = c.Close() // it may have closed before its last acknowledgement came
		n, took := c.Stats().Counters, time.Since(start)
		t.Logf("%v; %+v", took, n)
		if n.Timeouts > 0 || took > rest+5*time.Second {
			t.Errorf("%d timeouts, and all in %v with a rest of %v", n.Timeouts, took, rest)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("libudt: %v", err)
		}
	})
	t.Run("ours", func(t *testing.T) {
		l, err := Listen(ctx, &netx.System{}, "udp4", "127.0.0.1:0", Config{RecvBuffer: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		host, port, _ := strings.Cut(l.Addr().String(), ":")
		cmd := exec.CommandContext(ctx, program, "pour", host, port)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		c, err := l.AcceptContext(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4<<20)
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rest)
		start := time.Now()
		if _, err := io.ReadFull(c, b); err != nil {
			t.Fatal(err)
		}
		// The library heeds a window only when one of its timers ends, after 0.3 s or
		// more, or with an acknowledgement of something new.
		t.Logf("%v; %+v", time.Since(start), c.Stats().Counters)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%d bytes took %v after a rest", len(b), took)
		}
		_ = c.Close()
		_ = cmd.Wait() // with an error, as it was cut off: see TestInteropCut
	})
}
