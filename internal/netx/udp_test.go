package netx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

// patience is how long a test waits for what must come.
const patience = time.Minute

func listen(t testing.TB, network, addr string) *UDPConn {
	t.Helper()
	c, err := (&System{}).ListenPacket(context.Background(), network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	u, ok := c.(*UDPConn)
	if !ok {
		t.Fatalf("listening gave a %T", c)
	}
	if err := u.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return u
}

func dial(t testing.TB, to netip.AddrPort) *UDPConn {
	t.Helper()
	c, err := (&System{}).Dial(context.Background(), "udp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	u, ok := c.(*UDPConn)
	if !ok {
		t.Fatalf("dialling gave a %T", c)
	}
	return u
}

// at is the address of a socket on loopback, in the family of ip.
func at(u *UDPConn, ip string) netip.AddrPort {
	port := u.LocalAddr().(*net.UDPAddr).Port
	return netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(port))
}

// room is entries to receive into.
func room(n, size int) []Datagram {
	ds := make([]Datagram, n)
	for i := range ds {
		ds[i].B = make([]byte, size)
	}
	return ds
}

// receive reads n datagrams, those of trains one by one.
func receive(t testing.TB, u BatchConn, n int, from uint16) [][]byte {
	t.Helper()
	var got [][]byte
	for ds := room(8, CoalescedSize); len(got) < n; {
		m, err := u.ReadBatch(ds)
		if err != nil {
			t.Fatalf("after %d of %d datagrams: %v", len(got), n, err)
		}
		for _, d := range ds[:m] {
			if d.Peer.Port() != from || !d.Peer.Addr().IsLoopback() || d.Peer.Addr().Is4In6() {
				t.Fatalf("came from %s, want port %d", d.Peer, from)
			}
			got = append(got, cut(d.B[:d.N], d.Segment)...)
		}
	}
	return got
}

// cut is what an entry stands for.
func cut(b []byte, segment int) [][]byte {
	if segment <= 0 || len(b) == 0 {
		return [][]byte{bytes.Clone(b)}
	}
	var list [][]byte
	for len(b) > 0 {
		n := min(segment, len(b))
		list, b = append(list, bytes.Clone(b[:n])), b[n:]
	}
	return list
}

func same(t testing.TB, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d datagrams came, want %d", len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("datagram %d: %d bytes came, want %d, or others", i, len(got[i]), len(want[i]))
		}
	}
}

// randomBatch is entries of all kinds: alone and to be cut, equal ones in a row,
// empty ones.
func randomBatch(r *rand.Rand, to netip.AddrPort) (ds []Datagram, want [][]byte) {
	sizes := []int{0, 1, 50, 50, 50, 1000, 1000, 1472, r.IntN(3000)}
	for total := 0; total < 60_000 && len(want) < 100; {
		d := Datagram{Peer: to, B: make([]byte, sizes[r.IntN(len(sizes))])}
		if r.IntN(3) == 0 && len(d.B) > 0 {
			d.Segment = len(d.B)
			d.B = make([]byte, r.IntN(20*d.Segment))
		}
		for i := range d.B {
			d.B[i] = byte(r.Uint32())
		}
		for range 1 + r.IntN(3)*r.IntN(10) {
			ds, want, total = append(ds, d), append(want, cut(d.B, d.Segment)...), total+len(d.B)
		}
	}
	return ds, want
}

// TestBatches sends what WriteBatch may get over all kinds of sockets, with and
// without what the system has for batches.
func TestBatches(t *testing.T) {
	for _, tt := range []struct{ network, addr, to string }{
		{"udp4", "127.0.0.1:0", "127.0.0.1"},
		{"udp6", "[::1]:0", "::1"},
		{"udp", "[::]:0", "127.0.0.1"},
		{"udp", "[::]:0", "::1"},
	} {
		for _, dialled := range []bool{false, true} {
			for _, way := range []string{"plain", "batched", "coalesced"} {
				t.Run(fmt.Sprintf("%s %s to %s, dialled %t", way, tt.network, tt.to, dialled), func(t *testing.T) {
					b := listen(t, tt.network, tt.addr)
					to := at(b, tt.to)
					var a *UDPConn
					if dialled {
						a = dial(t, to)
					} else {
						a = listen(t, tt.network, tt.addr)
					}
					if err := b.SetReadBuffer(4 << 20); err != nil {
						t.Log(err)
					}
					switch way {
					case "plain":
						batches(t, plain{a}, plain{b}, to, dialled)
					case "coalesced":
						if err := b.SetReceiveCoalescing(true); err != nil && !errors.Is(err, errors.ErrUnsupported) {
							t.Fatal(err)
						}
						fallthrough
					default:
						batches(t, a, b, to, dialled)
					}
				})
			}
		}
	}
}

// plain is a socket on a system that has nothing for batches.
type plain struct{ *UDPConn }

func (p plain) ReadBatch(ds []Datagram) (int, error)  { return p.readOne(ds) }
func (p plain) WriteBatch(ds []Datagram) (int, error) { return p.writeEach(ds) }

// counted is a socket of either kind.
type counted interface {
	BatchConn
	Stats() UDPStats
}

func batches(t *testing.T, a, b counted, to netip.AddrPort, dialled bool) {
	r := rand.New(rand.NewPCG(1, 2))
	from := uint16(a.LocalAddr().(*net.UDPAddr).Port)
	var count int64
	for range 20 {
		ds, want := randomBatch(r, to)
		if dialled {
			for i := range ds {
				ds[i].Peer = netip.AddrPort{}
			}
		}
		n, err := a.WriteBatch(ds)
		if err != nil || n != len(ds) {
			t.Fatalf("sent %d of %d: %v", n, len(ds), err)
		}
		same(t, receive(t, b, len(want), from), want)
		count += int64(len(want))
	}
	if s, r := a.Stats(), b.Stats(); s.Sent != count || r.Received != count || r.Dropped != 0 {
		t.Errorf("counted %+v and %+v, want %d", s, r, count)
	}
}

func TestSingleDatagrams(t *testing.T) {
	b := listen(t, "udp", "[::]:0")
	a := listen(t, "udp4", "127.0.0.1:0")
	to := at(b, "127.0.0.1")
	if _, err := a.WriteTo([]byte("one"), net.UDPAddrFromAddrPort(to)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2)
	n, from, err := b.ReadFrom(buf)
	if err != nil || string(buf[:n]) != "on" || from.String() != a.LocalAddr().String() {
		t.Errorf("got %q from %v, %v; want it cut to %q", buf[:n], from, err, "on")
	}
	c := dial(t, to)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Read(buf); n != 1 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if _, err := c.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(to)); !errors.Is(err, net.ErrWriteToConnected) {
		t.Errorf("WriteTo on a dialled socket: %v", err)
	}
	if _, err := a.WriteBatch([]Datagram{{B: buf}}); err == nil {
		t.Error("a datagram to nobody was sent")
	}
	if s := b.Stats(); s.Received != 2 {
		t.Errorf("counted %+v", s)
	}
}

func TestLongDatagramsAreCut(t *testing.T) {
	b := listen(t, "udp4", "127.0.0.1:0")
	a := dial(t, at(b, "127.0.0.1"))
	if _, err := a.WriteBatch([]Datagram{{B: []byte("longer than it may be")}, {B: []byte("short")}}); err != nil {
		t.Fatal(err)
	}
	ds := room(1, 6)
	for _, want := range []string{"longer", "short"} {
		n, err := b.ReadBatch(ds)
		if err != nil || n != 1 || string(ds[0].B[:ds[0].N]) != want {
			t.Fatalf("got %q, %d, %v, want %q", ds[0].B[:ds[0].N], n, err, want)
		}
	}
}

func TestDeadlines(t *testing.T) {
	u := listen(t, "udp", "[::]:0")
	for _, d := range []time.Duration{-time.Second, 20 * time.Millisecond} {
		start := time.Now()
		if err := u.SetReadDeadline(start.Add(d)); err != nil {
			t.Fatal(err)
		}
		_, err := u.ReadBatch(room(2, 100))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) < d {
			t.Errorf("deadline of %v: %v after %v", d, err, time.Since(start))
		}
	}
	if err := u.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := u.WriteBatch([]Datagram{{B: []byte("x"), Peer: at(u, "::1")}}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("writing after the deadline: %v", err)
	}
	if err := u.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := u.WriteBatch([]Datagram{{B: []byte("x"), Peer: at(u, "::1")}}); err != nil {
		t.Fatal(err)
	}
	if n, err := u.ReadBatch(room(2, 100)); n != 1 || err != nil {
		t.Errorf("without a deadline: %d, %v", n, err)
	}
}

func TestCloseEndsReadersAndWriters(t *testing.T) {
	u := listen(t, "udp4", "127.0.0.1:0")
	if err := u.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	sink := listen(t, "udp4", "127.0.0.1:0")
	var wg sync.WaitGroup
	started := make(chan bool, 4)
	end := func(f func() error) {
		wg.Go(func() {
			started <- true
			for {
				if err := f(); err != nil {
					if !errors.Is(err, net.ErrClosed) {
						t.Errorf("got %v, want net.ErrClosed", err)
					}
					return
				}
			}
		})
	}
	for range 2 {
		end(func() error { _, err := u.ReadBatch(room(2, 2000)); return err })
		end(func() error {
			_, err := u.WriteBatch([]Datagram{{B: make([]byte, 3000), Segment: 1000, Peer: at(sink, "127.0.0.1")}})
			return err
		})
	}
	for range 4 {
		<-started
	}
	if err := u.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if err := u.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closing twice: %v", err)
	}
}

// TestManyAtOnce lets goroutines share both sockets; nothing may be mixed up.
func TestManyAtOnce(t *testing.T) {
	b := listen(t, "udp4", "127.0.0.1:0")
	a := dial(t, at(b, "127.0.0.1"))
	if err := b.SetReadBuffer(8 << 20); err != nil {
		t.Log(err)
	}
	const writers, rounds, train = 4, 25, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range rounds {
				p := bytes.Repeat([]byte{byte(w)}, train*(100+w))
				if _, err := a.WriteBatch([]Datagram{{B: p, Segment: 100 + w}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := make(chan int, writers*rounds*train)
	for range 3 {
		wg.Go(func() {
			for ds := room(4, 2000); ; {
				n, err := b.ReadBatch(ds)
				if err != nil {
					return // the deadline, after the last one
				}
				for _, d := range ds[:n] {
					if d.N == 0 || d.N != 100+int(d.B[0]) || !bytes.Equal(d.B[:d.N], bytes.Repeat(d.B[:1], d.N)) {
						t.Errorf("got %d bytes of %v", d.N, d.B[:min(d.N, 1)])
					}
					got <- 1
				}
			}
		})
	}
	for range cap(got) {
		select {
		case <-got:
		case <-time.After(patience):
			t.Fatal("not all came")
		}
	}
	if err := b.SetReadDeadline(time.Now()); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func TestPathMTUOfLoopback(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		addr := netip.MustParseAddr(ip)
		want, err := linkMTU(addr)
		if err != nil {
			t.Fatal(err)
		}
		got, err := (&System{}).PathMTU(context.Background(), netip.AddrPortFrom(addr, 9))
		if err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", ip, got, err, want)
		}
	}
	if _, err := linkMTU(netip.MustParseAddr("192.0.2.1")); err == nil {
		t.Error("an address of nobody has an MTU")
	}
}
