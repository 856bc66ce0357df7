package udtstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomover/gomover/internal/netsim"
	"github.com/gomover/gomover/internal/netx"
	"github.com/gomover/gomover/internal/topology"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/transporttest"
	"github.com/gomover/gomover/transports/udt"
)

// sim is two hosts with 25 ms between them, and 100 Mbit/s.
func sim(t *testing.T, words ...string) (n *netsim.Network, a, b *netsim.Node) {
	t.Helper()
	top, err := topology.Parse([]byte(`{"hosts": [{"name": "a"}, {"name": "b"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if n, err = netsim.NewNetwork(top); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"a.up", "b.up"} {
		if err := n.Set(append([]string{link, "delay=25ms", "rate=100mbit", "queue=100ms"}, words...)...); err != nil {
			t.Fatal(err)
		}
	}
	return n, n.Node("a"), n.Node("b")
}

// on is an end at a simulated host.
func on(t *testing.T, host *netsim.Node, o Options) *endpoint {
	t.Helper()
	p := transports.Params{Net: host, Secret: [32]byte{1, 2, 3}, MaxBody: transporttest.MaxBody, Listen: true,
		IPv4: true, Known: []netip.Addr{host.Addr(false)}}
	return newEnd(t, p, o)
}

// end closes ends and lets as much virtual time pass as their ports may need to
// be given back.
func end(l ...*endpoint) {
	for _, e := range l {
		e.Close()
	}
	time.Sleep(linger + time.Second)
}

// TestLossyPath moves frames over streams of one port while 1% of the packets are
// lost.
func TestLossyPath(t *testing.T) {
	const streams, frames, body = 4, 16, 64 << 10
	synctest.Test(t, func(t *testing.T) {
		_, ha, hb := sim(t, "loss=1%")
		near, far := on(t, ha, Options{}), on(t, hb, Options{Control: "native"})
		var wg sync.WaitGroup
		for i := range streams {
			wg.Go(func() {
				s, err := near.Dial(t.Context(), far.Offer(), uint32(i))
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				f := transports.NewFrame(transporttest.MaxBody)
				for k := range frames {
					b := f.Resize(body)
					for j := range b {
						b[j] = byte(i + k + j)
					}
					if err := s.Send(f); err != nil {
						t.Error(err)
						return
					}
				}
				if err := s.Recv(f); !errors.Is(err, io.EOF) {
					t.Errorf("the end of stream %d: %v", i, err)
				}
				if st := s.Stats(); st.CC != udt.DefaultControl || st.Transport != "udt" || st.Retrans == 0 ||
					st.RTT < 50*time.Millisecond || st.MinRTT < 50*time.Millisecond || st.MinRTT > 60*time.Millisecond {
					t.Errorf("stats of stream %d: %+v", i, st)
				}
			})
			wg.Go(func() {
				s, err := far.Accept(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				if st := s.Stats(); st.CC != "native" || st.Local.Port() != far.Offer().Addrs[0].Port() {
					t.Errorf("stats at the other end: %+v", st)
				}
				f := transports.NewFrame(transporttest.MaxBody)
				want := make([]byte, body)
				for k := range frames {
					if err := s.Recv(f); err != nil {
						t.Errorf("frame %d of stream %d: %v", k, s.ID(), err)
						return
					}
					for j := range want {
						want[j] = byte(int(s.ID()) + k + j)
					}
					if !bytes.Equal(f.Body(), want) {
						t.Errorf("frame %d of stream %d is not as sent", k, s.ID())
					}
				}
			})
		}
		wg.Wait()
		end(near, far)
	})
}

// TestSilence: a path that dies under a stream is noticed at both ends, as soon as
// asked.
func TestSilence(t *testing.T) {
	testSilence(t, Options{}, 20*time.Second, 35*time.Second)
	testSilence(t, Options{Silence: 4 * time.Second}, 3*time.Second, 5*time.Second)
}

func testSilence(t *testing.T, o Options, least, most time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		n, ha, hb := sim(t)
		near, far := on(t, ha, o), on(t, hb, o)
		d, a := transporttest.Connect(t, near, far, 1)
		transporttest.Exchange(t, d, a, "still alive")
		for _, link := range []string{"a.up", "b.up"} {
			if err := n.Set(link, "loss=100%"); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		var wg sync.WaitGroup
		for _, s := range []transports.Stream{d, a} {
			wg.Go(func() {
				var ne net.Error
				if err := s.Recv(transports.NewFrame(transporttest.MaxBody)); !errors.As(err, &ne) || !ne.Timeout() {
					t.Errorf("error %v, want a timeout", err)
				}
				if took := time.Since(start); took > most || took < least {
					t.Errorf("noticed after %v", took)
				}
			})
		}
		wg.Wait()
		end(near, far)
	})
}

// TestBothDial: both ends dial at the same time from the ports at which they
// listen, and to themselves under a shared address, too.
func TestBothDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, ha, hb := sim(t)
		near, far := on(t, ha, Options{}), on(t, hb, Options{})
		offer := transports.Offer{Addrs: append(near.Offer().Addrs, far.Offer().Addrs...)}
		var wg sync.WaitGroup
		for i, e := range []*endpoint{near, far} {
			wg.Go(func() {
				s, err := e.Dial(t.Context(), offer, uint32(i))
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				other := []*endpoint{far, near}[i]
				if s.Stats().Remote != other.Offer().Addrs[0] || s.Stats().Local.Port() != e.Offer().Addrs[0].Port() {
					t.Errorf("connected from %v to %v", s.Stats().Local, s.Stats().Remote)
				}
			})
		}
		wg.Wait()
		end(near, far)
	})
}

// TestNoAnswer: addresses at which nobody is end in time, and say so.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, ha, hb := sim(t)
		near := on(t, ha, Options{})
		defer end(near)
		at := netip.AddrPortFrom(hb.Addr(false), 50000)
		start := time.Now()
		_, err := near.Dial(t.Context(), transports.Offer{Addrs: []netip.AddrPort{at}}, 1)
		var de *DialError
		if !errors.As(err, &de) || de.Reason() != "timed out" {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestWrongSecret(t *testing.T) {
	p := transporttest.Params("127.0.0.1", transports.SealOn)
	far := newEnd(t, p, Options{})
	p.Secret[0]++
	near := newEnd(t, p, Options{})
	if _, err := near.Dial(t.Context(), far.Offer(), 1); !errors.Is(err, transports.ErrAuth) {
		t.Errorf("error %v, want ErrAuth", err)
	}
}

// TestSecretsDiffer: what proves something over TCP proves nothing here.
func TestSecretsDiffer(t *testing.T) {
	secret := [32]byte{1, 2, 3}
	if d := derive(secret); d == secret || d != derive(secret) || d == derive([32]byte{1, 2, 4}) {
		t.Errorf("derived %x", d)
	}
}

func TestParams(t *testing.T) {
	p := transporttest.Params("127.0.0.1", transports.SealOn)
	if e, err := New(t.Context(), p, Options{Control: "vegas"}); err == nil {
		e.Close()
		t.Error("an unknown congestion control was taken")
	}
	for name, good := range map[string]bool{"": true, "ledbat": true, "vegas": false} {
		if err := CheckControl(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
	if !strings.Contains(Controls(), "native") {
		t.Errorf("controls %q", Controls())
	}
	first := newEnd(t, p, Options{})
	port := first.Offer().Addrs[0].Port()
	p.Ports = [2]uint16{port, port}
	_, err := New(t.Context(), p, Options{})
	if want := fmt.Sprintf("all ports in %d-%d are in use", port, port); !errors.Is(err, ErrInUse) || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	p.MaxBody = 0
	if e, err := New(t.Context(), p, Options{}); err == nil {
		e.Close()
		t.Error("frames of no bytes were taken")
	}
}

// TestRetune: the control of a connection stays.
func TestRetune(t *testing.T) {
	p := transporttest.Params("127.0.0.1", transports.SealOn)
	p.Window = 1 << 20
	far, near := newEnd(t, p, Options{}), newEnd(t, p, Options{Control: "ledbat"})
	d, a := transporttest.Connect(t, near, far, 1)
	defer d.Close()
	defer a.Close()
	if err := d.Retune(transports.Settings{CC: "ledbat"}); err != nil {
		t.Error(err)
	}
	if err := d.Retune(transports.Settings{CC: "native"}); err == nil || d.Stats().CC != "ledbat" {
		t.Errorf("%v, and the control is %s", err, d.Stats().CC)
	}
	transporttest.Exchange(t, d, a, "goes on")
}

// TestRoom: all streams together have as much as Memory says.
func TestRoom(t *testing.T) {
	for _, tt := range []struct {
		o      Options
		window int
		want   int
	}{
		{Options{}, 0, udt.DefaultBuffer},
		{Options{}, 1 << 20, 1 << 20},
		{Options{Memory: 128 << 20, Streams: 2}, 0, 64 << 20},
		{Options{Memory: 128 << 20}, 0, udt.DefaultBuffer},
		{Options{Memory: 128 << 20, Streams: 16}, 0, 8 << 20},
		{Options{Memory: 128 << 20, Streams: 16}, 1 << 20, 1 << 20},
		{Options{Memory: 128 << 20, Streams: 16}, 1 << 30, 8 << 20},
		{Options{Memory: 1, Streams: 16}, 0, unproved},
	} {
		if got := tt.o.Room(tt.window); got != tt.want {
			t.Errorf("%+v, window %d: %d bytes, want %d", tt.o, tt.window, got, tt.want)
		}
	}
}

// TestMemory: a reader that does not read costs no more than its stream's share,
// also when another window is asked for later.
func TestMemory(t *testing.T) {
	const share = 256 << 10
	synctest.Test(t, func(t *testing.T) {
		_, ha, hb := sim(t)
		o := Options{Memory: 4 * share, Streams: 4}
		near, far := on(t, ha, o), on(t, hb, o)
		d, a := transporttest.Connect(t, near, far, 1)
		for _, s := range []transports.Stream{d, a} {
			if err := s.Retune(transports.Settings{Window: 64 << 20}); err != nil {
				t.Error(err)
			}
		}
		go func() {
			f := transports.NewFrame(transporttest.MaxBody)
			for err := error(nil); err == nil; err = d.Send(f) {
				f.Resize(64 << 10)
			}
		}()
		time.Sleep(5 * time.Second)
		st := d.Stats()
		// What was sent is with the reader or under way; beside it the sender may
		// have written as much.
		if most := int64(2*share + 64<<10); st.SentBytes > most || st.SentBytes < share {
			t.Errorf("%d bytes were taken for a reader that does not read, want %d to %d", st.SentBytes, share, most)
		}
		d.Close()
		a.Close()
		end(near, far)
	})
}

// TestFixedRate: blast=RATE is the rate of all streams together, and what each
// reports to have been asked for.
func TestFixedRate(t *testing.T) {
	const streams, rate, body = 4, 4e6, 64 << 10
	o := Options{Control: "blast=4MB", Streams: streams}
	if got := o.control(); got != "blast=1MB" {
		t.Errorf("each of %d streams has %q", streams, got)
	}
	for control, want := range map[string]string{"bbr": "bbr", "": "", "blast=x": "blast=x", "blast=1B": "blast=1B"} {
		if got := (Options{Control: control, Streams: streams}).control(); got != want {
			t.Errorf("%q: each has %q, want %q", control, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		_, ha, hb := sim(t)
		near, far := on(t, ha, o), on(t, hb, o)
		var total atomic.Int64
		var wg sync.WaitGroup
		for i := range streams {
			d, a := transporttest.Connect(t, near, far, uint32(i))
			if err := d.Retune(transports.Settings{CC: o.Control}); err != nil {
				t.Error(err)
			}
			wg.Go(func() {
				f := transports.NewFrame(transporttest.MaxBody)
				for err := error(nil); err == nil; err = d.Send(f) {
					f.Resize(body)
				}
			})
			wg.Go(func() {
				f := transports.NewFrame(transporttest.MaxBody)
				for a.Recv(f) == nil {
					total.Add(body)
				}
			})
			defer d.Close()
			defer a.Close()
		}
		time.Sleep(5 * time.Second) // past the start
		before := total.Load()
		const span = 10
		time.Sleep(span * time.Second)
		if got := float64(total.Load()-before) / span; got > rate || got < 0.8*rate {
			t.Errorf("%.0f bytes a second by %d streams, want at most %.0f, and not much less", got, streams, float64(rate))
		}
		near.Close()
		far.Close()
		near.port.Close()
		far.port.Close()
		wg.Wait()
	})
}

// TestRefusedForNow: an end that has no room for a connection is asked again, and
// said to have refused it if it never has.
func TestRefusedForNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refusals := 0
		busy := func() (*udt.Conn, error) {
			if refusals++; refusals > 7 {
				return new(udt.Conn), nil
			}
			return nil, fmt.Errorf("connecting: %w", udt.ErrRefused)
		}
		if c, err := persist(t.Context(), busy); err != nil || c == nil || refusals != 8 {
			t.Errorf("after %d attempts: %v", refusals, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		refusals = -1000
		if _, err := persist(ctx, busy); !errors.Is(err, udt.ErrRefused) {
			t.Errorf("error %v, want ErrRefused", err)
		}
		if n := refusals + 1000; n < 5 || n > 20 {
			t.Errorf("asked %d times within 2 s", n)
		}
		if _, err := persist(t.Context(), func() (*udt.Conn, error) { return nil, udt.ErrTimeout }); err != udt.ErrTimeout {
			t.Errorf("error %v, want ErrTimeout at once", err)
		}
	})
}

// TestFullListener: an end is dialled while nobody takes what came before.
func TestFullListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, ha, hb := sim(t)
		near := on(t, ha, Options{})
		full, err := udt.Open(t.Context(), hb, "udp4", ":50000", udt.Config{Backlog: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		ln, err := full.Listen()
		if err != nil {
			t.Fatal(err)
		}
		to := netip.AddrPortFrom(hb.Addr(false), 50000)
		before, err := near.port.Dial(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		defer before.Release()
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, errors.New("enough"))
		defer cancel()
		_, err = near.Dial(ctx, transports.Offer{Addrs: []netip.AddrPort{to}}, 1)
		var de *DialError
		if !errors.As(err, &de) || de.Reason() != "connection refused" || !strings.Contains(err.Error(), "enough") {
			t.Errorf("error %v", err)
		}
		go func() {
			time.Sleep(time.Second)
			for {
				if _, err := ln.Accept(); err != nil {
					return
				}
			}
		}()
		start := time.Now()
		c, err := near.dial(t.Context(), to)
		if took := time.Since(start); err != nil || took < time.Second || took > 2*time.Second {
			t.Errorf("a connection after %v: %v", took, err)
		}
		if err == nil {
			c.Close()
		}
		near.Close()
	})
}

// TestStrangers fills the port with connections that prove nothing: none hears a
// byte of the job, each is thrown out in time, none may bring much, and true
// streams are made and move meanwhile.
func TestStrangers(t *testing.T) {
	p := transporttest.Params("127.0.0.1", transports.SealOn)
	far := newEnd(t, p, Options{})
	p.Listen = false
	near := newEnd(t, p, Options{})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	const strangers = 300 // more than the gate has room for
	var flood, inside sync.WaitGroup
	inside.Add(strangers)
	for i := range strangers {
		flood.Go(func() {
			c, err := udt.Dial(ctx, &netx.System{}, "udp4", far.Offer().Addrs[0].String(), udt.Config{Linger: -1})
			inside.Done()
			if err != nil {
				return // displaced before it was told
			}
			defer c.Close()
			garbage := make([]byte, 1<<20)
			defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })()
			switch i % 3 {
			case 0: // says nothing
			case 1:
				_, _ = c.Write(garbage[:75])
			case 2:
				go func() { _, _ = c.Write(garbage) }()
			}
			if n, err := c.Read(garbage); n > 0 || err == nil {
				t.Errorf("stranger %d heard %d bytes, %v", i, n, err)
			}
		})
	}
	inside.Wait()
	for label := range uint32(10) {
		d, a := transporttest.Connect(t, near, far, label)
		transporttest.Exchange(t, d, a, "a true one")
		d.Close()
		a.Close()
	}
	stop()
	flood.Wait()
}
