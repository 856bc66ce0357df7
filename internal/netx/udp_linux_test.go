package netx

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setsockopt sets an option that nothing in the package sets.
func setsockopt(t *testing.T, u *UDPConn, level, option, value int) {
	t.Helper()
	if err := u.control(func(fd int) error { return unix.SetsockoptInt(fd, level, option, value) }); err != nil {
		t.Fatal(err)
	}
}

// waiting tells whether something came that is not read yet. A short deadline would not
// tell: on a busy machine it may pass before reading begins.
func waiting(t *testing.T, u *UDPConn) bool {
	t.Helper()
	var is int
	if err := u.control(func(fd int) (err error) {
		for is, err = -1, unix.EINTR; err == unix.EINTR; {
			is, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return is > 0
}

// sends sends one batch and checks what comes, and what Stats says of trains.
func sends(t *testing.T, a, b *UDPConn, refused error) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	ds, want := randomBatch(r, at(b, "127.0.0.1"))
	if n, err := a.WriteBatch(ds); err != nil || n != len(ds) {
		t.Fatalf("sent %d of %d: %v", n, len(ds), err)
	}
	same(t, receive(t, b, len(want), uint16(a.LocalAddr().(*net.UDPAddr).Port)), want)
	if s := a.Stats(); s.Sent != int64(len(want)) || !errors.Is(s.SegmentationRefused, refused) {
		t.Errorf("counted %+v, want %d, %v", s, len(want), refused)
	}
}

func pair(t *testing.T) (a, b *UDPConn) {
	t.Helper()
	a, b = listen(t, "udp4", "127.0.0.1:0"), listen(t, "udp4", "127.0.0.1:0")
	if err := b.SetReadBuffer(4 << 20); err != nil {
		t.Log(err)
	}
	return a, b
}

// TestTrainsThatTheKernelRefuses has a socket without checksums, for which the
// kernel sends single datagrams but no trains.
func TestTrainsThatTheKernelRefuses(t *testing.T) {
	a, b := pair(t)
	setsockopt(t, a, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1)
	sends(t, a, b, unix.EINVAL)
}

// TestNarrowPaths: a path that takes no trains of long datagrams, since it would
// have to cut them, costs other peers nothing, nor shorter datagrams.
func TestNarrowPaths(t *testing.T) {
	for _, errno := range []syscall.Errno{unix.EINVAL, unix.EMSGSIZE} {
		a, b := listen(t, "udp4", "127.0.0.1:0"), listen(t, "udp4", "0.0.0.0:0")
		s, refused, trains := &a.fast.out, 0, 0
		narrow := netip.MustParseAddr("127.0.0.2")
		s.write = func(fd uintptr) bool {
			if s.messages[0].hdr.Control == nil {
				return s.call(fd)
			}
			if s.controls[0].size > 1000 && netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&s.names[0])).Addr) == narrow {
				refused++
				s.errno = errno
				return true
			}
			trains++
			return s.call(fd)
		}
		for i, tt := range []struct {
			to              string
			size            int
			refused, trains int // so far
		}{
			{"127.0.0.2", 1400, 1, 0}, {"127.0.0.2", 1400, 1, 0}, {"127.0.0.1", 1400, 1, 1}, {"127.0.0.2", 1000, 1, 2}, {"127.0.0.2", 1400, 1, 2},
		} {
			if _, err := a.WriteBatch([]Datagram{{B: make([]byte, 3*tt.size), Segment: tt.size, Peer: at(b, tt.to)}}); err != nil {
				t.Fatal(err)
			}
			for n := 0; n < 3; n++ {
				ds := room(1, CoalescedSize)
				if _, err := b.ReadBatch(ds); err != nil || ds[0].N != tt.size {
					t.Fatalf("%v, %d: a datagram of %d bytes, %v, want %d", errno, i, ds[0].N, err, tt.size)
				}
			}
			if refused != tt.refused || trains != tt.trains {
				t.Errorf("%v, %d: %d trains were refused, %d were sent, want %d and %d", errno, i, refused, trains, tt.refused, tt.trains)
			}
		}
		if err := a.Stats().SegmentationRefused; err != nil {
			t.Errorf("%v: all trains are refused: %v", errno, err)
		}
	}
}

// TestErrorsOfTheCall lets the call for batches fail as it does on other kernels
// and with other devices.
func TestErrorsOfTheCall(t *testing.T) {
	train := func(s *sender) bool { return s.messages[0].hdr.Control != nil }
	for name, tt := range map[string]struct {
		errno   syscall.Errno
		when    func(s *sender) bool
		refused error
	}{
		"device without checksums": {unix.EIO, train, unix.EIO},
		"interrupted":              {unix.EINTR, func(*sender) bool { return true }, nil},
		"one at a time": {0, func(s *sender) bool {
			s.used = 1
			return false
		}, nil},
		"no such call": {unix.ENOSYS, func(s *sender) bool { return !s.single }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			s, times := &a.fast.out, 0
			s.write = func(fd uintptr) bool {
				if tt.when(s) && times < 3 {
					times++
					s.errno = tt.errno
					return true
				}
				return s.call(fd)
			}
			sends(t, a, b, tt.refused)
			if tt.refused != nil && times != 1 {
				t.Errorf("tried %d times", times)
			}
		})
	}
	t.Run("receiving", func(t *testing.T) {
		a, b := pair(t)
		if err := b.SetReceiveCoalescing(true); err != nil {
			t.Fatal(err)
		}
		r, errnos := &b.fast.in, []syscall.Errno{unix.EINTR, unix.ENOSYS}
		r.read = func(fd uintptr) bool {
			if len(errnos) > 0 {
				r.errno, errnos = errnos[0], errnos[1:]
				return true
			}
			if !r.single {
				t.Error("asked again for what there is not")
			}
			return r.call(fd)
		}
		sends(t, a, b, nil)
	})
}

// TestCoalescing checks that trains come as they were sent: loopback hands on
// packets whole.
func TestCoalescing(t *testing.T) {
	a, b := pair(t)
	if err := b.SetReceiveCoalescing(true); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 10_500)
	for i := range p {
		p[i] = byte(i)
	}
	to := at(b, "127.0.0.1")
	single := Datagram{B: p[:1000], Peer: to}
	if _, err := a.WriteBatch([]Datagram{{B: p, Segment: 1000, Peer: to}, single, single, single}); err != nil {
		t.Fatal(err)
	}
	ds := room(4, CoalescedSize)
	n := 0
	for n < 2 { // a busy kernel may deliver the second train later
		m, err := b.ReadBatch(ds[n:])
		if err != nil {
			t.Fatalf("after %d entries of 2: %v", n, err)
		}
		n += m
	}
	if n != 2 {
		t.Fatalf("%d entries, want 2", n)
	}
	for i, want := range []struct{ n, segment int }{{10_500, 1000}, {3000, 1000}} {
		if ds[i].N != want.n || ds[i].Segment != want.segment {
			t.Errorf("entry %d: %d bytes in segments of %d, want %+v", i, ds[i].N, ds[i].Segment, want)
		}
	}
	if !bytes.Equal(ds[0].B[:ds[0].N], p) || b.Stats().Received != 14 {
		t.Errorf("other bytes came, or %+v", b.Stats())
	}
	if _, _, err := b.ReadFrom(p); !errors.Is(err, errCoalescing) {
		t.Errorf("ReadFrom: %v", err)
	}
	if err := b.SetReceiveCoalescing(false); err != nil {
		t.Fatal(err)
	}
	if _, err := a.WriteBatch([]Datagram{{B: p[:2000], Segment: 1000, Peer: to}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if n, _, err := b.ReadFrom(p); n != 1000 || err != nil {
			t.Errorf("read %d, %v", n, err)
		}
	}
}

func TestTimestamps(t *testing.T) {
	a, b := pair(t)
	if err := b.SetTimestamps(true); err != nil {
		t.Fatal(err)
	}
	ds := room(1, 100)
	for _, on := range []bool{true, false} {
		if err := b.SetTimestamps(on); err != nil {
			t.Fatal(err)
		}
		start := time.Now().Round(0)
		if _, err := a.WriteBatch([]Datagram{{B: []byte("x"), Peer: at(b, "127.0.0.1")}}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.ReadBatch(ds); err != nil {
			t.Fatal(err)
		}
		// The kernel switches its stamping on a little after it says so; what
		// has no stamp gets one when it is read.
		if got := ds[0].At; on == got.IsZero() || on && (got.Before(start) || got.After(time.Now())) {
			t.Errorf("on %t: came at %v, sent at %v", on, got, start)
		}
	}
}

func TestDropsAreCounted(t *testing.T) {
	a, b := pair(t)
	if err := b.SetReadBuffer(20_000); err != nil {
		t.Fatal(err)
	}
	const sent = 200
	to := at(b, "127.0.0.1")
	if _, err := a.WriteBatch([]Datagram{{B: make([]byte, sent*1000), Segment: 1000, Peer: to}}); err != nil {
		t.Fatal(err)
	}
	for waiting(t, b) {
		if _, err := b.ReadBatch(room(16, 2000)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.WriteBatch([]Datagram{{B: []byte("x"), Peer: to}}); err != nil {
		t.Fatal(err)
	}
	for ds := room(1, 2000); ds[0].N != 1; {
		if _, err := b.ReadBatch(ds); err != nil {
			t.Fatal(err)
		}
	}
	if s := b.Stats(); s.Dropped == 0 || s.Received+s.Dropped != sent+1 {
		t.Errorf("counted %+v, want %d in all", s, sent+1)
	}
}

func TestBuffers(t *testing.T) {
	u := listen(t, "udp4", "127.0.0.1:0")
	if err := u.SetReadBuffer(1 << 20); err != nil {
		t.Error(err)
	}
	if err := u.SetWriteBuffer(1 << 20); err != nil {
		t.Error(err)
	}
	// Without root's rights the system's limit holds. Only this thread loses
	// them; it ends with the test.
	runtime.LockOSThread()
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&hdr, &none[0]); err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string]func(int) error{"receive": u.SetReadBuffer, "send": u.SetWriteBuffer} {
		var short *ShortBufferError
		if err := set(1 << 30); !errors.As(err, &short) || short.Buffer != name || short.Granted < 4096 || short.Granted >= 1<<30 {
			t.Errorf("%s buffer of 1 GiB: %v", name, err)
		}
	}
}

// TestNoAllocation holds the calls to what they promise.
func TestNoAllocation(t *testing.T) {
	a, b := pair(t)
	out := []Datagram{{B: make([]byte, 4000), Segment: 1000}, {B: make([]byte, 1000)}, {B: make([]byte, 10)}}
	for i := range out {
		out[i].Peer = at(b, "127.0.0.1")
	}
	in := room(8, 2000)
	n := testing.AllocsPerRun(100, func() {
		if _, err := a.WriteBatch(out); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < 6; {
			n, err := b.ReadBatch(in)
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestMessages checks how batches become messages: as few as the kernel takes.
func TestMessages(t *testing.T) {
	peer, other := netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:2")
	of := func(n, segment int) Datagram { return Datagram{B: make([]byte, n), Segment: segment, Peer: peer} }
	elsewhere := of(100, 0)
	elsewhere.Peer = other
	many := make([]Datagram, 100)
	for i := range many {
		many[i] = of(100, 0)
	}
	type message struct{ bytes, segment, pieces int }
	for name, tt := range map[string]struct {
		ds     []Datagram
		trains bool
		want   []message
	}{
		"one":            {[]Datagram{of(100, 0)}, true, []message{{100, 0, 1}}},
		"empty":          {[]Datagram{of(0, 0), of(0, 50), of(100, 0), of(0, 0)}, true, []message{{0, 0, 1}, {0, 0, 1}, {100, 0, 1}, {0, 0, 1}}},
		"cut":            {[]Datagram{of(1000, 300)}, true, []message{{1000, 300, 1}}},
		"cut, no trains": {[]Datagram{of(1000, 300)}, false, []message{{300, 0, 1}, {300, 0, 1}, {300, 0, 1}, {100, 0, 1}}},
		"equal":          {[]Datagram{of(100, 0), of(100, 0), of(40, 0), of(40, 0)}, true, []message{{240, 100, 3}, {40, 0, 1}}},
		"longer":         {[]Datagram{of(100, 0), of(101, 0), of(101, 0)}, true, []message{{100, 0, 1}, {202, 101, 2}}},
		"peers":          {[]Datagram{of(100, 0), elsewhere, of(100, 0)}, true, []message{{100, 0, 1}, {100, 0, 1}, {100, 0, 1}}},
		"joined":         {[]Datagram{of(300, 100), of(500, 100), of(70, 100), of(70, 0)}, true, []message{{870, 100, 3}, {70, 0, 1}}},
		"other segment":  {[]Datagram{of(300, 100), of(160, 80)}, true, []message{{300, 100, 1}, {160, 80, 1}}},
		"many":           {many, true, []message{{6400, 100, 64}, {3600, 100, 36}}},
		"long":           {[]Datagram{of(100_000, 1472)}, true, []message{{44 * 1472, 1472, 1}, {100_000 - 44*1472, 1472, 1}}},
		"too long":       {[]Datagram{of(70_000, 0), of(70_000, 0)}, true, []message{{70_000, 0, 1}, {70_000, 0, 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			u := &UDPConn{}
			u.fast.out.init()
			s := &u.fast.out
			if err := u.fill(tt.ds, position{}, position{entry: len(tt.ds)}, tt.trains); err != nil {
				t.Fatal(err)
			}
			var got []message
			for i := range s.used {
				m := message{pieces: int(s.messages[i].hdr.Iovlen)}
				if s.messages[i].hdr.Control != nil {
					m.segment = int(s.controls[i].size)
				}
				got = append(got, m)
			}
			piece := 0
			for i := range got {
				for range got[i].pieces {
					got[i].bytes += int(s.pieces[piece].Len)
					piece++
				}
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %v, want %v", got, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("got %v, want %v", got, tt.want)
				}
			}
		})
	}
}
