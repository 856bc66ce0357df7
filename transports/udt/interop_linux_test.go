package udt

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/netx"
)

// peerProgram compiles the other end against Debian's libudt, once.
var peerProgram = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "udtpeer")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "udtpeer")
	if out, err := exec.Command("g++", "-O2", "-o", program, "../../testdata/udt/udtpeer.cc", "-ludt", "-lpthread").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return os.ReadFile(program)
})

// buildPeer gives the path of the other end.
func buildPeer(t *testing.T) string {
	t.Helper()
	b, err := peerProgram()
	if err != nil {
		t.Fatalf("compiling against libudt (make test-deps installs it): %v", err)
	}
	program := filepath.Join(t.TempDir(), "udtpeer")
	if err := os.WriteFile(program, b, 0o700); err != nil {
		t.Fatal(err)
	}
	return program
}

// serving starts the library's server and gives its address.
func serving(t *testing.T, ctx context.Context, program string, args ...string) (string, *exec.Cmd) {
	t.Helper()
	cmd := exec.CommandContext(ctx, program, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:" + strings.TrimSpace(line), cmd
}

// echoed sends bytes over a connection and compares what comes back.
func echoed(t *testing.T, c *Conn, want []byte) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := c.Write(want); err != nil {
			t.Errorf("writing: %v", err)
		}
	})
	got := make([]byte, len(want))
	n, err := io.ReadFull(c, got)
	if err != nil {
		t.Errorf("reading: %v", err)
	}
	wg.Wait()
	mustEqual(t, "echo", got[:n], want)
	if err := c.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
}

// TestInterop talks with libudt in all roles; every byte goes both ways.
func TestInterop(t *testing.T) {
	program := buildPeer(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tests := []struct {
		name  string
		bytes int
		mss   int // of the library
		ours  int
		loss  float64
	}{
		{"one byte", 1, 1500, 0, 0},
		{"almost a packet", 1455, 1500, 0, 0},
		{"a packet", 1456, 1500, 0, 0},
		{"more than a packet", 1457, 1500, 0, 0},
		{"bulk", 16 << 20, 1500, 0, 0},
		{"their MSS smaller", 1 << 20, 1052, 1400, 0},
		{"our MSS smaller", 1 << 20, 9000, 1400, 0},
		{"loss 1%", 4 << 20, 1500, 0, 0.01},
	}
	for _, tt := range tests {
		want := noise(9, tt.bytes)
		cfg := Config{MSS: tt.ours}
		t.Run("client/"+tt.name, func(t *testing.T) {
			addr, cmd := serving(t, ctx, program, "serve", "0", strconv.Itoa(tt.mss))
			if tt.loss > 0 {
				addr = newRelay(t, addr, wire{loss: tt.loss}).addr()
			}
			start := time.Now()
			c, err := Dial(ctx, &netx.System{}, "udp4", addr, cfg)
			if err != nil {
				t.Fatal(err)
			}
			echoed(t, c, want)
			t.Logf("%v", time.Since(start))
			if err := cmd.Wait(); err != nil {
				t.Errorf("libudt: %v", err)
			}
		})
		t.Run("server/"+tt.name, func(t *testing.T) {
			l, err := Listen(ctx, &netx.System{}, "udp4", "127.0.0.1:0", cfg)
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
				if _, err := io.Copy(c, c); err != nil {
					t.Errorf("echoing: %v", err)
				}
				_ = c.Close()
			})
			addr := l.Addr().String()
			if tt.loss > 0 {
				addr = newRelay(t, addr, wire{loss: tt.loss}).addr()
			}
			host, port, _ := strings.Cut(addr, ":")
			start := time.Now()
			echoProgram(t, ctx, want, program, "echo", host, port, strconv.Itoa(tt.mss))
			t.Logf("%v", time.Since(start))
			wg.Wait()
		})
	}
}

func echoProgram(t *testing.T, ctx context.Context, want []byte, program string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = bytes.NewReader(want)
	var said bytes.Buffer
	cmd.Stderr = &said
	got, err := cmd.Output()
	if err != nil {
		t.Errorf("libudt: %v: %s", err, said.String())
	}
	mustEqual(t, "libudt's echo", got, want)
}

func TestInteropRendezvous(t *testing.T) {
	program := buildPeer(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e, err := Open(ctx, &netx.System{}, "udp4", "127.0.0.1:0", Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	free, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	theirs := netip.MustParseAddrPort(free.LocalAddr().String())
	_ = free.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := e.Meet(ctx, theirs)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := io.Copy(c, c); err != nil {
			t.Errorf("echoing: %v", err)
		}
		_ = c.Close()
	})
	echoProgram(t, ctx, noise(8, 1<<20), program, "meet",
		fmt.Sprint(theirs.Port()), "127.0.0.1", fmt.Sprint(e.local.Port()), "1500")
	wg.Wait()
}

func TestInteropMessages(t *testing.T) {
	program := buildPeer(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	addr, cmd := serving(t, ctx, program, "messages", "0")
	c, err := Dial(ctx, &netx.System{}, "udp4", addr, Config{Messages: true})
	if err != nil {
		t.Fatal(err)
	}
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
	if err := cmd.Wait(); err != nil {
		t.Errorf("libudt: %v", err)
	}
}
