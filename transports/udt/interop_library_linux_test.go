package udt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
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

// library is the other end, a program with libudt, and how it is reached.
type library struct {
	t       *testing.T
	ctx     context.Context
	program string
	path    wire // between the ends; the zero value is none
	mss     int  // of the library; 0 is 1500
	v6      bool
	cfg     Config // of this end
}

// interop prepares the library for a test that may take so long, and twice as long again
// on a busy machine.
func interop(t *testing.T, limit time.Duration) library {
	t.Helper()
	b, err := peerProgram()
	if err != nil {
		t.Fatalf("compiling against libudt (make test-deps installs it): %v", err)
	}
	program := filepath.Join(t.TempDir(), "udtpeer")
	if err := os.WriteFile(program, b, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*limit)
	t.Cleanup(cancel)
	return library{t: t, ctx: ctx, program: program}
}

// in is the same for a part of the test.
func (p library) in(t *testing.T) library {
	p.t = t
	return p
}

// network gives the network and this machine's address in it.
func (p library) network() (network, host string) {
	if p.v6 {
		return "udp6", "::1"
	}
	return "udp4", "127.0.0.1"
}

// packet is the library's MSS as a word.
func (p library) packet() string {
	if p.mss == 0 {
		return "1500"
	}
	return strconv.Itoa(p.mss)
}

// through gives the address that leads to another over the path.
func (p library) through(addr string) string {
	p.t.Helper()
	if p.path.none() {
		return addr
	}
	return newRelay(p.t, addr, p.path).addr()
}

// serve starts the library's server, which says its port, and gives its address and
// what waits for its end in good order.
func (p library) serve(args ...string) (addr string, cmd *exec.Cmd, ended func()) {
	p.t.Helper()
	cmd = exec.CommandContext(p.ctx, p.program, args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		p.t.Fatal(err)
	}
	_, host := p.network()
	return p.through(net.JoinHostPort(host, strings.TrimSpace(line))), cmd, func() {
		p.t.Helper()
		if err := cmd.Wait(); err != nil {
			p.t.Errorf("libudt: %v", err)
		}
	}
}

// dial connects to a server of the library.
func (p library) dial(addr string) *Conn {
	p.t.Helper()
	network, _ := p.network()
	c, err := Dial(p.ctx, &netx.System{}, network, addr, p.cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// listen listens for the library, and gives the words by which it gets here.
func (p library) listen() (l *Listener, host, port string) {
	p.t.Helper()
	network, host := p.network()
	l, err := Listen(p.ctx, &netx.System{}, network, net.JoinHostPort(host, "0"), p.config())
	if err != nil {
		p.t.Fatal(err)
	}
	host, port, err = net.SplitHostPort(p.through(l.Addr().String()))
	if err != nil {
		p.t.Fatal(err)
	}
	return l, host, port
}

// echoes listens, and sends back what comes on so many connections; done waits for
// their ends.
func (p library) echoes(n int) (host, port string, done func()) {
	p.t.Helper()
	l, host, port := p.listen()
	var wg sync.WaitGroup
	wg.Go(func() {
		for range n {
			c, err := l.AcceptContext(p.ctx)
			if err != nil {
				p.t.Error(err)
				return
			}
			wg.Go(func() { p.back(c) })
		}
	})
	return host, port, func() {
		wg.Wait()
		if err := l.Close(); err != nil {
			p.t.Error(err)
		}
	}
}

// client sends bytes to the library's server and compares what comes back.
func (p library) client(want []byte) {
	p.t.Helper()
	words := []string{"serve", "0", p.packet()}
	if p.v6 {
		words[0] = "serve6"
	}
	addr, _, ended := p.serve(words...)
	echoed(p.t, p.dial(addr), want)
	ended()
}

// server has the library send bytes to a server here and compare.
func (p library) server(want []byte) {
	p.t.Helper()
	host, port, done := p.echoes(1)
	if p.v6 {
		p.echo(want, "echo6", port, p.packet())
	} else {
		p.echo(want, "echo", host, port, p.packet())
	}
	done()
}

// rendezvous meets the library, which sends bytes.
func (p library) rendezvous(want []byte) {
	p.t.Helper()
	e, err := Open(p.ctx, &netx.System{}, "udp4", "127.0.0.1:0", p.config())
	if err != nil {
		p.t.Fatal(err)
	}
	defer e.Close()
	theirs := freePort(p.t)
	see, tell := theirs.String(), e.local.String() // how each end reaches the other one
	if !p.path.none() {
		r := newRelay(p.t, see, p.path)
		see, tell = r.addr(), r.back.LocalAddr().String()
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := e.Meet(p.ctx, netip.MustParseAddrPort(see))
		if err != nil {
			p.t.Error(err)
			return
		}
		p.back(c)
	})
	host, port, _ := strings.Cut(tell, ":")
	p.echo(want, "meet", strconv.Itoa(int(theirs.Port())), host, port, p.packet())
	wg.Wait()
}

// config is the settings of an end that the library ends: it says so once, and where
// that may be lost it is not waited for as long as the protocol would.
func (p library) config() Config {
	if p.path.loss > 0 && p.cfg.Idle == 0 {
		p.cfg.Idle = 10 * time.Second
	}
	return p.cfg
}

// back sends back what comes, until the library closes; see config. It compares
// what it gets.
func (p library) back(c *Conn) {
	if _, err := io.Copy(c, c); err != nil && !(p.path.loss > 0 && errors.Is(err, ErrTimeout)) {
		p.t.Errorf("echoing: %v", err)
	}
	_ = c.Close()
}

// echo has the library send bytes to an end here that sends them back, and compares.
func (p library) echo(want []byte, args ...string) {
	p.t.Helper()
	cmd := exec.CommandContext(p.ctx, p.program, args...)
	cmd.Stdin = bytes.NewReader(want)
	var said bytes.Buffer
	cmd.Stderr = &said
	got, err := cmd.Output()
	if err != nil {
		p.t.Errorf("libudt: %v: %s", err, said.String())
	}
	mustEqual(p.t, "libudt's echo", got, want)
}

// pours has the library send zeros to an end here as long as that takes them.
func (p library) pours() (c *Conn, cmd *exec.Cmd) {
	p.t.Helper()
	l, host, port := p.listen()
	p.t.Cleanup(func() { l.Close() })
	cmd = exec.CommandContext(p.ctx, p.program, "pour", host, port)
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	c, err := l.AcceptContext(p.ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	return c, cmd
}

// takes gives the library's server so many bytes; it rests first. The counters are
// of the connection, which was closed.
func (p library) takes(size int, rest time.Duration) Counters {
	p.t.Helper()
	addr, _, ended := p.serve("take", "0", strconv.Itoa(size), strconv.Itoa(int(rest/ms)))
	c := p.dial(addr)
	if _, err := c.Write(make([]byte, size)); err != nil {
		p.t.Errorf("writing: %v", err)
	}
	_ = c.Close() // it may have closed before its last acknowledgement came
	n := c.Stats().Counters
	p.t.Logf("%+v", n)
	ended()
	return n
}

// exchange sends bytes over a connection and compares what comes back.
func exchange(t *testing.T, c *Conn, want []byte) {
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
}

// echoed is exchange, and closes the connection.
func echoed(t *testing.T, c *Conn, want []byte) {
	t.Helper()
	exchange(t, c, want)
	if err := c.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
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
