package sealed

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/seal"
	"github.com/gomover/gomover/transports/transporttest"
)

// closeNoter is a connection that knows whether it was closed.
type closeNoter struct {
	net.Conn
	closed bool
}

func (c *closeNoter) Close() error { c.closed = true; return nil }

func TestGate(t *testing.T) {
	from := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32)
	}
	g := newGate(4)
	var conns []*closeNoter
	var vs []*visitor
	enter := func(who int) *visitor {
		c := &closeNoter{}
		v := g.enter(c, from(who))
		conns, vs = append(conns, c), append(vs, v)
		return v
	}
	closed := func() string {
		s := ""
		for i, c := range conns {
			if c.closed {
				s += fmt.Sprint(i, " ")
			}
		}
		return s
	}
	check := func(what, want string) {
		t.Helper()
		if got := closed(); got != want {
			t.Errorf("%s: closed %q, want %q", what, got, want)
		}
	}
	enter(1) // 0: a slow true peer
	for range 3 {
		enter(2) // 1 2 3: a flood
	}
	check("room for all", "")
	enter(2) // 4
	check("the flood displaces its own oldest", "1 ")
	enter(3) // 5
	check("a newcomer displaces the flood", "1 2 ")
	if !g.vouch(vs[0]) || g.total != 3 {
		t.Errorf("vouched peers count as strangers: %d", g.total)
	}
	for range 10 {
		enter(2)
	}
	if conns[0].closed || conns[5].closed {
		t.Errorf("a flood displaced others: %q", closed())
	}
	if g.vouch(vs[1]) || g.leave(vs[2]) {
		t.Error("a displaced visitor goes on")
	}
	if !g.leave(vs[0]) || conns[0].closed {
		t.Error("leaving closed the connection")
	}
	g.shed()
	if g.total != 2 {
		t.Errorf("%d strangers left after shedding half of 4", g.total)
	}
	g.close()
	if g.enter(&closeNoter{}, from(1)) != nil {
		t.Error("entered a closed gate")
	}
	if len(g.inside) != 0 || g.total != 0 {
		t.Errorf("left inside a closed gate: %d, %d", len(g.inside), g.total)
	}
}

func TestPeerOf(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32",
		"2001:db8:1:2:3::4": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
	} {
		c := fakeRemote{addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(in), 9))}
		if got := peerOf(c).String(); got != want {
			t.Errorf("peerOf(%s) = %s, want %s", in, got, want)
		}
	}
}

type fakeRemote struct {
	net.Conn
	addr net.Addr
}

func (f fakeRemote) RemoteAddr() net.Addr { return f.addr }

// TestStrangers floods the port from the true peer's own address and from
// another, and holds on to what it gets, while a stream moves data and new
// streams are made: nothing of that may suffer, and no stranger hears a byte.
func TestStrangers(t *testing.T) {
	const atLeast, workers, streams = 2000, 400, 25
	p := transporttest.Params("127.0.0.1", transports.SealOn)
	far := newEnd(t, p)
	p.Listen = false
	near := newEnd(t, p)
	target := far.Offer().Addrs[0].String()
	d, a := transporttest.Connect(t, near, far, 1)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var flood, work sync.WaitGroup
	var came atomic.Int32
	full := make(chan struct{})
	for range workers {
		flood.Go(func() {
			for ctx.Err() == nil {
				n := came.Add(1)
				if err := stranger(ctx, target, int(n)); err != nil {
					t.Error(err)
				}
				if n == atLeast {
					close(full)
				}
			}
		})
	}
	<-full // now the true peer
	work.Go(func() {
		f := transports.NewFrame(transporttest.MaxBody)
		for range 300 {
			f.Resize(100_000)
			if err := d.Send(f); err != nil {
				t.Errorf("sending during the flood: %v", err)
				return
			}
		}
	})
	work.Go(func() {
		f := transports.NewFrame(transporttest.MaxBody)
		for range 300 {
			if err := a.Recv(f); err != nil {
				t.Errorf("receiving during the flood: %v", err)
				return
			}
		}
	})
	most := 0
	for label := uint32(2); label < 2+streams; label++ {
		nd, na := transporttest.Connect(t, near, far, label)
		transporttest.Exchange(t, nd, na, "a true one")
		far.gate.mu.Lock()
		most = max(most, far.gate.total, len(far.gate.inside))
		far.gate.mu.Unlock()
	}
	work.Wait()
	stop()
	flood.Wait()
	if most < maxStrangers || most > maxStrangers+streams {
		t.Errorf("up to %d strangers were inside, want the full %d and no more", most, maxStrangers)
	}
	t.Logf("# %d strangers came", came.Load())
}

// stranger bothers the listener in one of several ways and waits until it is
// thrown out or tires.
func stranger(ctx context.Context, target string, i int) error {
	var dialer net.Dialer
	if i%2 == 0 {
		dialer.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}
	}
	c, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return nil // thrown out early
	}
	defer c.Close()
	garbage := make([]byte, 500)
	if _, err := rand.Read(garbage); err != nil {
		return err
	}
	switch i % 4 {
	case 0: // says nothing
	case 1:
		_, _ = c.Write(garbage)
	case 2:
		_, _ = c.Write(garbage[:seal.HelloLen-1])
	case 3:
		return nil // hangs up at once
	}
	if err := c.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	// The listener's answer, if there were one, would come now; it closes the
	// connection later, or when others push in.
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if n, _ := c.Read(garbage); n > 0 {
		return fmt.Errorf("stranger %d heard %d bytes", i, n)
	}
	return nil
}

// TestSlowLoris: a caller that sends a byte now and then is thrown out when its
// time is up, and replayed greetings hold no place.
func TestSlowLoris(t *testing.T) {
	t.Parallel() // takes the handshake's full time
	far := newEnd(t, transporttest.Params("127.0.0.1", transports.SealOn))
	c, err := net.Dial("tcp", far.Offer().Addrs[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	start := time.Now()
	gone := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(c, make([]byte, 1))
		gone <- err
	}()
	late := time.After(10 * helloTimeout) // a busy machine may notice it late
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-gone:
			if took := time.Since(start); took < helloTimeout/2 {
				t.Errorf("thrown out after %v, want %v", took, helloTimeout)
			}
			if err == nil {
				t.Error("the listener spoke")
			}
			return
		case <-tick.C:
			_, _ = c.Write([]byte{'G'})
		case <-late:
			t.Fatal("still connected")
		}
	}
}

// TestReplayedHello records a true dialler's first words and says them again.
func TestReplayedHello(t *testing.T) {
	p := transporttest.Params("127.0.0.1", transports.SealOff)
	far := newEnd(t, p)
	guard, err := seal.NewGuard(p.Secret, p.Seal)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", far.Offer().Addrs[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var rec recorder
	rec.Conn = c
	if _, err := guard.Greet(&rec, 1); err != nil {
		t.Fatal(err)
	}
	again, err := net.Dial("tcp", far.Offer().Addrs[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := again.Write(rec.said); err != nil {
		t.Fatal(err)
	}
	if err := again.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		t.Fatal(err)
	}
	n, err := again.Read(make([]byte, 100))
	var ne net.Error
	if n != 0 || err == nil || errors.As(err, &ne) && ne.Timeout() {
		t.Errorf("a replayed hello: %d bytes, %v; want a closed connection and silence", n, err)
	}
}

type recorder struct {
	net.Conn
	said []byte
}

func (r *recorder) Write(b []byte) (int, error) {
	r.said = append(r.said, b...)
	return r.Conn.Write(b)
}
