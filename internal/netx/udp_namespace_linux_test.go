package netx

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// enterNamespace gives the test a network of its own, with these commands done.
// It vanishes with the test's thread.
func enterNamespace(t *testing.T, lines ...string) {
	t.Helper()
	runtime.LockOSThread() // for ever: the thread ends with the goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("making a network namespace (needs root): %v", err)
	}
	for _, line := range append([]string{"ip link set lo up"}, lines...) {
		words := strings.Fields(line)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
}

// cable is two interfaces that are plugged into each other.
var cable = []string{"ip link add left type veth peer name right", "ip link set left up", "ip link set right up",
	"ip addr add 10.0.0.1/24 dev left", "ip addr add 2001:db8::1/64 dev left nodad"}

// awaitCable waits for the kernel to report the cable as plugged in, which is a
// little after the command that plugs it.
func awaitCable(t *testing.T) {
	t.Helper()
	for start := time.Now(); time.Since(start) < patience; {
		out, err := exec.Command("ip", "link", "show", "dev", "left").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if strings.Contains(string(out), "state UP") {
			return
		}
	}
	t.Fatal("the cable is not plugged in")
}

// TestLongerThanThePath has links and a route that take less than others.
func TestLongerThanThePath(t *testing.T) {
	for _, tt := range []struct {
		name     string
		lines    []string
		network  string
		to       string
		headers  int
		mtu, now int // of the path as the system knows it, and of the first link
	}{
		{"ethernet", []string{"ip link set lo mtu 1500"}, "udp4", "127.0.0.1", 28, 1500, 1500},
		{"jumbo", []string{"ip link set lo mtu 9000"}, "udp4", "127.0.0.1", 28, 9000, 9000},
		{"ethernet 6", []string{"ip link set lo mtu 1500"}, "udp6", "::1", 48, 1500, 1500},
		{"both families", []string{"ip link set lo mtu 1500"}, "udp", "127.0.0.1", 28, 1500, 1500},
		{"narrow route", []string{"ip link set lo mtu 1500", "ip route add local 10.9.0.0/24 dev lo mtu 1300"}, "udp", "10.9.0.1", 28, 1300, 1500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			enterNamespace(t, tt.lines...)
			sys := &System{}
			b := listen(t, tt.network, ":0")
			a := listen(t, tt.network, ":0")
			to := at(b, tt.to)
			if mtu, err := sys.PathMTU(context.Background(), to); err != nil || mtu != tt.mtu {
				t.Errorf("path MTU is %d, %v, want %d", mtu, err, tt.mtu)
			}
			try := func(n, count int) error {
				_, err := a.WriteBatch([]Datagram{{B: make([]byte, count*n), Segment: n, Peer: to}})
				if err != nil {
					return err
				}
				for ds := room(1, 10_000); count > 0; count-- {
					if m, err := b.ReadBatch(ds); err != nil || ds[0].N != n {
						t.Fatalf("received %d entries, %d bytes, %v, want %d", m, ds[0].N, err, n)
					}
				}
				return nil
			}
			for _, f := range []struct {
				f   Fragmentation
				mtu int
			}{{Fragment, 9900}, {Refuse, tt.mtu}, {Probe, tt.now}} {
				if err := a.SetFragmentation(f.f); err != nil {
					t.Fatal(err)
				}
				for _, count := range []int{1, 5} {
					if err := try(f.mtu-tt.headers, count); err != nil {
						t.Errorf("mode %d, %d times %d bytes with headers: %v", f.f, count, f.mtu, err)
					}
					if f.f == Fragment {
						continue
					}
					if err := try(f.mtu-tt.headers+1, count); !errors.Is(err, unix.EMSGSIZE) {
						t.Errorf("mode %d, %d times %d bytes with headers: %v, want EMSGSIZE", f.f, count, f.mtu+1, err)
					}
				}
			}
		})
	}
}

// members are sockets on one port that have joined, or not, and a sender.
type members struct {
	t      *testing.T
	sender *UDPConn
	group  netip.AddrPort
	list   []*UDPConn
}

// counts sends one datagram to the group and tells how often each has received it.
// Loopback delivers before sending returns, or a little later when the kernel is busy:
// those of whom it is wanted are waited for.
func (m *members) counts(want string) (s string) {
	m.t.Helper()
	if _, err := m.sender.WriteBatch([]Datagram{{B: []byte("news"), Peer: m.group}}); err != nil {
		m.t.Fatal(err)
	}
	for start := time.Now(); !m.have(want) && time.Since(start) < patience; {
		runtime.Gosched()
	}
	for _, u := range m.list {
		n := 0
		for ; waiting(m.t, u); n++ {
			if _, err := u.ReadBatch(room(1, 10)); err != nil {
				m.t.Fatal(err)
			}
		}
		s += string(rune('0' + n))
	}
	return s
}

// have tells whether something came wherever it is wanted.
func (m *members) have(want string) bool {
	for i, u := range m.list {
		if want[i] != '0' && !waiting(m.t, u) {
			return false
		}
	}
	return true
}

func TestGroups(t *testing.T) {
	for _, tt := range []struct {
		name, network, listen string
		group, source, other  string
	}{
		{"IPv4", "udp4", "239.1.2.3:0", "239.1.2.3", "10.0.0.1", "10.0.0.2"},
		{"IPv6", "udp6", "[ff15::1234]:0", "ff15::1234", "2001:db8::1", "2001:db8::2"},
		{"IPv4 on both", "udp", "[ff15::1234]:0", "239.1.2.3", "10.0.0.1", "10.0.0.2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			enterNamespace(t, cable...)
			awaitCable(t)
			group, nobody := netip.MustParseAddr(tt.group), netip.Addr{}
			m := &members{t: t, sender: listen(t, tt.network, ":0")}
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			addr := tt.listen
			for range 3 {
				u := listen(t, tt.network, addr)
				m.list = append(m.list, u)
				must(u.SetMulticastInterface("left"))
				m.group = netip.AddrPortFrom(group, uint16(u.LocalAddr().(*net.UDPAddr).Port))
				addr = net.JoinHostPort(strings.Trim(strings.TrimSuffix(tt.listen, ":0"), "[]"), strconv.Itoa(int(m.group.Port())))
			}
			must(m.sender.SetMulticastInterface("left"))
			expect := func(what, want string) {
				t.Helper()
				if got := m.counts(want); got != want {
					t.Errorf("%s: sockets got %s, want %s", what, got, want)
				}
			}
			a, b := m.list[0], m.list[1]
			expect("nobody has joined", "000")
			must(a.JoinGroup(group, nobody))
			must(b.JoinGroup(group, nobody))
			expect("two have joined", "110")
			must(b.LeaveGroup(group, nobody))
			expect("one has left", "100")
			must(b.JoinGroup(group, netip.MustParseAddr(tt.other)))
			expect("from another source", "100")
			must(b.LeaveGroup(group, netip.MustParseAddr(tt.other)))
			must(b.JoinGroup(group, netip.MustParseAddr(tt.source)))
			expect("from this source", "110")
			must(m.sender.SetMulticastTTL(255))
			expect("with a long life", "110")
			must(m.sender.SetMulticastLoopback(false))
			expect("without loopback", "000")

			for name, e := range map[string]struct{ got, want error }{
				"not a group":       {a.JoinGroup(netip.MustParseAddr(tt.source), nobody), unix.EINVAL},
				"twice":             {a.JoinGroup(group, nobody), unix.EADDRINUSE},
				"not joined":        {m.list[2].LeaveGroup(group, nobody), unix.EADDRNOTAVAIL},
				"ttl":               {a.SetMulticastTTL(256), unix.EINVAL},
				"family of source":  {a.JoinGroup(netip.MustParseAddr("ff02::1"), netip.MustParseAddr("127.0.0.1")), unix.EINVAL},
				"no such interface": {errors.Join(a.SetMulticastInterface("nonesuch")), nil},
			} {
				if e.want == nil && e.got == nil || e.want != nil && !errors.Is(e.got, e.want) {
					t.Errorf("%s: got %v, want %v", name, e.got, e.want)
				}
			}
		})
	}
}

// TestGroupsOverACable checks that what is sent leaves through the interface that
// was chosen, and how far it may go.
func TestGroupsOverACable(t *testing.T) {
	enterNamespace(t, append(cable, "ip link add spare type veth peer name unused",
		"ip link set spare up", "ip link set unused up", "ip addr add 10.0.1.1/24 dev spare")...)
	awaitCable(t)
	u := listen(t, "udp4", ":0")
	group := netip.MustParseAddrPort("239.5.6.7:9")
	tap := capture(t, "right")
	for _, name := range []string{"spare", "left"} {
		if err := u.SetMulticastInterface(name); err != nil {
			t.Fatal(err)
		}
		if err := u.SetMulticastTTL(7); err != nil {
			t.Fatal(err)
		}
		if _, err := u.WriteBatch([]Datagram{{B: []byte(name), Peer: group}}); err != nil {
			t.Fatal(err)
		}
	}
	packet := make([]byte, 2000)
	for {
		n, err := unix.Read(tap, packet)
		if err != nil {
			t.Fatalf("the group's packet did not come: %v", err)
		}
		const header = 20
		if p := packet[:n]; n > header+8 && p[9] == unix.IPPROTO_UDP && [4]byte(p[16:20]) == group.Addr().As4() {
			if p[8] != 7 || string(p[header+8:]) != "left" {
				t.Errorf("time to live %d, %q", p[8], p[header+8:])
			}
			return
		}
	}
}

// capture reads the IPv4 packets that come in at an interface: packet(7).
func capture(t *testing.T, name string) int {
	t.Helper()
	ipv4 := swap(unix.ETH_P_IP)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(ipv4))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	face, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: ipv4, Ifindex: face.Index}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience / time.Second)}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// TestZones sends to a link-local address of IPv6, which needs an interface.
func TestZones(t *testing.T) {
	enterNamespace(t, "ip addr add fe80::1/64 dev lo nodad")
	for _, zone := range []string{"lo", "1"} {
		b := listen(t, "udp6", ":0")
		a := listen(t, "udp6", ":0")
		to := netip.AddrPortFrom(netip.MustParseAddr("fe80::1%"+zone), at(b, "::1").Port())
		// The kernel delivers to a new address a little after the command that
		// gives it, so what is sent too early is sent again.
		ds, err := room(1, 10), os.ErrDeadlineExceeded
		for start := time.Now(); errors.Is(err, os.ErrDeadlineExceeded) && time.Since(start) < patience; {
			if _, err := a.WriteBatch([]Datagram{{B: []byte("x"), Peer: to}}); err != nil {
				t.Fatal(err)
			}
			if err := b.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			_, err = b.ReadBatch(ds)
		}
		if err != nil || ds[0].Peer.Addr() != netip.MustParseAddr("fe80::1%lo") {
			t.Errorf("came from %s, %v", ds[0].Peer, err)
		}
	}
	a := listen(t, "udp6", ":0")
	to := netip.MustParseAddrPort("[fe80::1%nonesuch]:9")
	if _, err := a.WriteBatch([]Datagram{{B: []byte("x"), Peer: to}}); err == nil {
		t.Error("sent through no such interface")
	}
}
