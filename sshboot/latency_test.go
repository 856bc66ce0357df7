package sshboot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/sshboot/boottest"
)

// tripClock counts half round trips along the longest chain of cause and effect
// at one end: receiving what was sent at n makes it at least n+1. It needs no
// time, so a busy machine does not blur the count.
type tripClock struct {
	mu  sync.Mutex // guards now
	now int
}

func (c *tripClock) read() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *tripClock) atLeast(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = max(c.now, n)
}

// halfPipe carries bytes one way, without a limit.
type halfPipe struct {
	mu    sync.Mutex // guards what follows
	cond  *sync.Cond
	queue []packet
	eof   bool
}

type packet struct {
	sent int // the sender's clock
	data []byte
}

func newHalfPipe() *halfPipe {
	h := &halfPipe{}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *halfPipe) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.eof = true
	h.cond.Broadcast()
}

// tripConn is one end of a connection that counts round trips.
type tripConn struct {
	in, out *halfPipe
	clock   *tripClock
}

func tripPipe() (a, b *tripConn) {
	x, y := newHalfPipe(), newHalfPipe()
	return &tripConn{x, y, &tripClock{}}, &tripConn{y, x, &tripClock{}}
}

func (c *tripConn) Write(p []byte) (int, error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.out.eof {
		return 0, io.ErrClosedPipe
	}
	c.out.queue = append(c.out.queue, packet{c.clock.read(), bytes.Clone(p)})
	c.out.cond.Broadcast()
	return len(p), nil
}

func (c *tripConn) Read(p []byte) (int, error) {
	h := c.in
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.queue) == 0 {
		if h.eof {
			return 0, io.EOF
		}
		h.cond.Wait()
	}
	c.clock.atLeast(h.queue[0].sent + 1)
	n := copy(p, h.queue[0].data)
	if h.queue[0].data = h.queue[0].data[n:]; len(h.queue[0].data) == 0 {
		h.queue = h.queue[1:]
	}
	return n, nil
}

func (c *tripConn) Close() error                     { c.out.close(); c.in.close(); return nil }
func (c *tripConn) LocalAddr() net.Addr              { return pipeAddr{} }
func (c *tripConn) RemoteAddr() net.Addr             { return pipeAddr{} }
func (c *tripConn) SetDeadline(time.Time) error      { return errNoDeadline }
func (c *tripConn) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (c *tripConn) SetWriteDeadline(time.Time) error { return errNoDeadline }

// tripListener hands out the server's ends.
type tripListener struct {
	conns chan net.Conn
	last  *tripConn     // the client's end of the last connection
	done  chan struct{} // closed by Close
	once  sync.Once
}

func (l *tripListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *tripListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *tripListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2222} }

// dial costs what a TCP handshake does: the client may send after one round
// trip, the server, which sees the third packet, after one and a half.
func (l *tripListener) dial(context.Context) (net.Conn, error) {
	a, b := tripPipe()
	a.clock.atLeast(2)
	b.clock.atLeast(3)
	l.last = a
	l.conns <- b
	return a, nil
}

// TestRoundTrips counts what a start costs at a distance. The budget is part of
// the product: small copies over long paths consist of little else.
func TestRoundTrips(t *testing.T) {
	l := &tripListener{conns: make(chan net.Conn), done: make(chan struct{})}
	srv, err := boottest.Start(l, boottest.Options{Home: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	config, err := srv.WriteClient(filepath.Join(t.TempDir(), "ssh"), "far")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{ConfigFiles: []string{config}, Home: t.TempDir(), LocalUser: "me", carrier: l.dial}
	// The upload itself is not counted: window updates cross the data, and the
	// clock cannot know that nobody waits for them.
	for _, name := range []string{"with upload", "cached"} {
		sh, err := Dial(t.Context(), Target{Host: "far"}, o)
		if err != nil {
			t.Fatal(err)
		}
		login := l.last.clock.read()
		b, err := Boot(t.Context(), sh, bootOptions(t))
		if err != nil {
			t.Fatal(err)
		}
		boot := l.last.clock.read() - login
		t.Logf("%s: login %d round trips, boot %d", name, login/2, boot/2)
		// Connection, version and key lists, key exchange, service, none,
		// publickey offer, publickey signature: 7. A packet that happens to be
		// written after one that it did not wait for counts one more.
		if login > 8*2 {
			t.Errorf("%s: login took %.1f round trips, want 7", name, float64(login)/2)
		}
		// Session, command.
		if !b.Uploaded && boot > 2*2 {
			t.Errorf("%s: boot took %.1f round trips, want 2", name, float64(boot)/2)
		}
		if b.Uploaded != (name == "with upload") {
			t.Errorf("%s: uploaded %v", name, b.Uploaded)
		}
		b.Close()
		sh.Close()
	}
	if srv.Execs() != 2 {
		t.Errorf("%d commands for two boots", srv.Execs())
	}
}

func TestRace(t *testing.T) {
	addr := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	refused := errors.New("refused")
	type plan struct {
		after time.Duration
		err   error
	}
	for _, c := range []struct {
		name  string
		plans map[string]plan
		order []string
		want  string
		took  time.Duration
	}{
		{"first answers", map[string]plan{"::1": {}, "127.0.0.1": {}}, []string{"::1", "127.0.0.1"}, "::1", 0},
		{"first refuses", map[string]plan{"::1": {10 * time.Millisecond, refused}, "127.0.0.1": {10 * time.Millisecond, nil}}, []string{"::1", "127.0.0.1"}, "127.0.0.1", 20 * time.Millisecond},
		{"first is silent", map[string]plan{"::1": {time.Hour, nil}, "127.0.0.1": {10 * time.Millisecond, nil}}, []string{"::1", "127.0.0.1"}, "127.0.0.1", attemptDelay + 10*time.Millisecond},
		{"third of three", map[string]plan{"::1": {time.Hour, nil}, "127.0.0.1": {time.Hour, nil}, "::2": {0, nil}}, []string{"::1", "127.0.0.1", "::2"}, "::2", 2 * attemptDelay},
		{"slow first still wins", map[string]plan{"::1": {attemptDelay + 50*time.Millisecond, nil}, "127.0.0.1": {time.Hour, nil}}, []string{"::1", "127.0.0.1"}, "::1", attemptDelay + 50*time.Millisecond},
		{"all refuse", map[string]plan{"::1": {0, refused}, "127.0.0.1": {0, refused}}, []string{"::1", "127.0.0.1"}, "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var addrs []netip.Addr
				for _, s := range c.order {
					addrs = append(addrs, addr(s))
				}
				won := make(map[net.Conn]string)
				var mu sync.Mutex
				start := time.Now()
				conn, err := race(t.Context(), addrs, func(ctx context.Context, a netip.Addr) (net.Conn, error) {
					p := c.plans[a.String()]
					select {
					case <-time.After(p.after):
					case <-ctx.Done():
						return nil, ctx.Err()
					}
					if p.err != nil {
						return nil, p.err
					}
					x, _ := tripPipe()
					mu.Lock()
					won[x] = a.String()
					mu.Unlock()
					return x, nil
				})
				if c.want == "" {
					if !errors.Is(err, refused) {
						t.Errorf("got %v", err)
					}
					return
				}
				if err != nil || won[conn] != c.want || time.Since(start) != c.took {
					t.Errorf("got %s after %v, %v; want %s after %v", won[conn], time.Since(start), err, c.want, c.took)
				}
			})
		})
	}
}

func TestInterleave(t *testing.T) {
	var in []netip.Addr
	for _, s := range []string{"::1", "::2", "::3", "10.0.0.1", "10.0.0.2"} {
		in = append(in, netip.MustParseAddr(s))
	}
	got := ""
	for _, a := range interleave(in) {
		got += a.String() + " "
	}
	if want := "::1 10.0.0.1 ::2 10.0.0.2 ::3 "; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
