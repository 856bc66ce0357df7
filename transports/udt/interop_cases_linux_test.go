package udt

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
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

// TestInteropCrowd has many connections with libudt over one port of ours.
func TestInteropCrowd(t *testing.T) {
	const members, bytesEach = 100, 50_000
	p := interop(t, 2*time.Minute)
	t.Run("clients", func(t *testing.T) {
		host, port, done := p.in(t).echoes(members)
		cmd := exec.CommandContext(p.ctx, p.program, "crowd", host, port, strconv.Itoa(members), strconv.Itoa(bytesEach))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("libudt: %v: %s", err, out)
		}
		done()
	})
	t.Run("servers", func(t *testing.T) {
		addr, _, ended := p.in(t).serve("many", "0", strconv.Itoa(members))
		e, err := Open(p.ctx, &netx.System{}, "udp4", "127.0.0.1:0", Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		var wg sync.WaitGroup
		for i := range members {
			wg.Go(func() {
				c, err := e.Dial(p.ctx, netip.MustParseAddrPort(addr))
				if err != nil {
					t.Error(err)
					return
				}
				echoed(t, c, noise(uint64(i), bytesEach))
			})
		}
		wg.Wait()
		ended()
	})
}

// TestInteropQuiet: ends that say nothing for a while stay connected.
func TestInteropQuiet(t *testing.T) {
	p := interop(t, time.Minute+2*(*quiet))
	want := noise(5, 1<<20)
	t.Run("client", func(t *testing.T) {
		t.Parallel()
		p := p.in(t)
		addr, _, ended := p.serve("serve", "0", p.packet())
		c := p.dial(addr)
		time.Sleep(*quiet)
		echoed(t, c, want)
		ended()
	})
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		p := p.in(t)
		host, port, done := p.echoes(1)
		cmd := exec.CommandContext(p.ctx, p.program, "echo", host, port, p.packet())
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
	t.Parallel()
	p := interop(t, 2*time.Minute)
	least := 5 * time.Second // a busy machine is not silent for so long
	p.cfg.Idle = least
	if *quiet > 50*time.Second {
		p.cfg.Idle, least = 0, 45*time.Second
	}
	addr, cmd, ended := p.serve("serve", "0", p.packet())
	c := p.dial(addr)
	exchange(t, c, make([]byte, 10))
	start := time.Now()
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, err := c.Read(make([]byte, 1))
	// It may have been heard for the last time a little before it was stopped.
	if d := time.Since(start); !errors.Is(err, ErrTimeout) || d < least-time.Second || d > least+30*time.Second {
		t.Errorf("after %v: %v, want %v after %v", d, err, ErrTimeout, least)
	}
	if err := c.Close(); !errors.Is(err, ErrTimeout) {
		t.Errorf("closing: %v, want %v", err, ErrTimeout)
	}
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	ended() // it learns of the end from the last packets
}

// TestInteropCut: each end closes while the other one sends.
func TestInteropCut(t *testing.T) {
	p := interop(t, time.Minute)
	t.Run("libudt closes", func(t *testing.T) {
		t.Parallel()
		p := p.in(t)
		addr, _, ended := p.serve("take", "0", "1000000", "0")
		c := p.dial(addr)
		var err error
		for err == nil {
			_, err = c.Write(make([]byte, 100_000))
		}
		if !errors.Is(err, ErrShutdown) {
			t.Errorf("writing: %v, want %v", err, ErrShutdown)
		}
		if err := c.Close(); !errors.Is(err, ErrShutdown) {
			t.Errorf("closing: %v, want %v", err, ErrShutdown)
		}
		ended()
	})
	for _, linger := range []time.Duration{-1, 0} {
		t.Run(fmt.Sprintf("we close, linger %v", linger), func(t *testing.T) {
			t.Parallel()
			p := p.in(t)
			p.cfg.Linger = linger
			c, cmd := p.pours()
			if _, err := io.ReadFull(c, make([]byte, 1_000_000)); err != nil {
				t.Error(err)
			}
			start := time.Now()
			if err := c.Close(); err != nil || time.Since(start) > 30*time.Second {
				t.Errorf("closing: %v after %v", err, time.Since(start))
			}
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
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
	t.Parallel()
	p := interop(t, 2*time.Minute)
	begun := time.Now()
	addr, _, ended := p.serve("many", "0", strconv.Itoa(dials))
	p.path.delay = 200 * ms // so that it takes a while to bring a cookie
	var wg sync.WaitGroup
	time.Sleep(min(*quiet, 58500*ms) - time.Since(begun))
	for range dials {
		time.Sleep(apart)
		wg.Go(func() {
			start := time.Now()
			c, err := Dial(p.ctx, &netx.System{}, "udp4", p.through(addr), Config{})
			if err != nil {
				t.Errorf("after %v: %v", time.Since(start), err)
				return
			}
			echoed(t, c, []byte("hello"))
		})
	}
	wg.Wait()
	ended()
}

// TestInteropStream takes from libudt as much as comes, for a while, and gives it as
// much as it takes: neither breaks, nor drowns the other one in reports of losses.
func TestInteropStream(t *testing.T) {
	p := interop(t, time.Minute+2*(*quiet))
	t.Run("from libudt", func(t *testing.T) {
		c, cmd := p.in(t).pours()
		b, total := make([]byte, 1<<20), 0
		for start := time.Now(); time.Since(start) < *quiet || total < 1<<20; {
			n, err := c.Read(b)
			if err != nil {
				t.Fatalf("after %d bytes: %v", total, err)
			}
			total += n
		}
		n := c.Stats().Counters
		t.Logf("%d bytes in %v; %+v", total, *quiet, n)
		if n.SentNaks > n.Received/20 {
			t.Errorf("%d bytes in %v, %d packets, %d loss reports", total, *quiet, n.Received, n.SentNaks)
		}
		_ = c.Close()
		_ = cmd.Wait() // with an error, as it was cut off: see TestInteropCut
	})
	t.Run("to libudt", func(t *testing.T) {
		if n := p.in(t).takes(64<<20, 0); n.Resent > n.Sent/10 {
			t.Errorf("of %d packets %d were sent again", n.Sent, n.Resent)
		}
	})
}

// TestInteropSlowReader: readers that rest while the other end sends, until its
// window is full, and go on then.
func TestInteropSlowReader(t *testing.T) {
	const rest = 2 * time.Second
	p := interop(t, time.Minute)
	t.Run("libudt", func(t *testing.T) {
		t.Parallel()
		start := time.Now()
		n := p.in(t).takes(40<<20, rest) // its buffers hold 12 MB
		if took := time.Since(start); n.Timeouts > 0 || took > rest+40*time.Second {
			t.Errorf("%d timeouts, and all in %v with a rest of %v", n.Timeouts, took, rest)
		}
	})
	t.Run("ours", func(t *testing.T) {
		t.Parallel()
		p := p.in(t)
		p.cfg.RecvBuffer = 1 << 20
		c, cmd := p.pours()
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
		if took := time.Since(start); took > 40*time.Second {
			t.Errorf("%d bytes took %v after a rest", len(b), took)
		}
		_ = c.Close()
		_ = cmd.Wait() // with an error, as it was cut off: see TestInteropCut
	})
}

// TestInteropRates: over a path that loses, delays and reorders, libudt takes data
// from here at least twice as fast as from itself, if there is time to see it.
func TestInteropRates(t *testing.T) {
	size, least := 64<<10, time.Duration(0)
	if *quiet > 50*time.Second {
		size, least = 1<<20, 2
	}
	t.Parallel()
	p := interop(t, 2*time.Minute)
	p.path = wire{loss: 0.01, delay: 15 * ms, jitter: 20 * ms}
	start := time.Now()
	addr, _, ended := p.serve("take", "0", strconv.Itoa(size), "0")
	host, port, _ := strings.Cut(addr, ":")
	cmd := exec.CommandContext(p.ctx, p.program, "pour", host, port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended()
	theirs := time.Since(start)
	_ = cmd.Wait() // with an error, as it was cut off: see TestInteropCut
	start = time.Now()
	n := p.takes(size, 0)
	ours := time.Since(start)
	t.Logf("libudt %v, ours %v", theirs, ours)
	if least*ours > theirs {
		t.Errorf("%d bytes took %v, from libudt %v; %+v", size, ours, theirs, n)
	}
}
