package lab_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gomover/gomover/internal/lab"
	"github.com/gomover/gomover/internal/lab/labtest"
	"github.com/gomover/gomover/internal/topology"
	"golang.org/x/sys/unix"
)

// patience is how long a test waits for what should take milliseconds.
const patience = 2 * time.Minute

// TestLab runs what needs a lab, with one program for all.
func TestLab(t *testing.T) {
	p := labtest.Build(t)
	t.Run("without root", func(t *testing.T) { testWithoutRoot(t, p) })
	t.Run("failed up", func(t *testing.T) { testFailedUp(t, p) })
	t.Run("down while it starts", func(t *testing.T) { testDownMeanwhile(t, p) })
	t.Run("asked to end", func(t *testing.T) { testAskedToEnd(t, p) })
	t.Run("packets", func(t *testing.T) { testPackets(t, p) })
	t.Run("multicast", func(t *testing.T) { testMulticast(t, p) })
	t.Run("hosts", func(t *testing.T) { testHosts(t, p) })
	t.Run("crash", func(t *testing.T) { testCrash(t, p) })
	t.Run("end of the starter", func(t *testing.T) { testTied(t, p) })
}

func testWithoutRoot(t *testing.T, p labtest.Program) {
	for _, args := range [][]string{{"up", "/dev/null"}, {"down"}, {"exec", "h0", "true"}, {"sshd"}} {
		cmd := exec.Command(p.Path, args...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("%v: %v, want exit code 1: %s", args, err, out)
		}
		if text := string(out); !strings.Contains(text, "needs root") || strings.Count(text, "\n") != 1 {
			t.Errorf("%v prints %q, want one line with the reason", args, text)
		}
	}
}

// testFailedUp has the emulator fail to start, and the caller lose patience.
func testFailedUp(t *testing.T, p labtest.Program) {
	text := []byte(`{"hosts": [{"name": "h0"}, {"name": "h1"}]}`)
	err := lab.Up(t.Context(), lab.Config{Topology: text, Emulator: []string{"/bin/false"}})
	if err == nil || errors.Is(err, lab.ErrUp) {
		t.Fatalf("an emulator that ends at once: %v", err)
	}
	nothingLeft(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- lab.Up(ctx, lab.Config{Topology: text, Emulator: []string{"/bin/sleep", "1000"}})
	}()
	until(t, "the emulator is started", func() bool { return exists(lab.StateDir + "/log") })
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	nothingLeft(t)
	if err := lab.Down(t.Context()); !errors.Is(err, lab.ErrNotUp) {
		t.Errorf("down without a lab: %v", err)
	}

	// What the emulator says is passed on, also when it cleans up itself.
	life, held, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	defer life.Close()
	text = []byte(`{"cc": "nosuch", "hosts": [{"name": "h0"}]}`)
	for _, life := range []*os.File{nil, life} {
		// The garbage collector is kept busy: it must not close what Up waits for.
		emulator := []string{"/usr/bin/env", "GOGC=1", p.Path, "emulate"}
		err := lab.Up(t.Context(), lab.Config{Topology: text, Emulator: emulator, Life: life})
		if err == nil || !strings.Contains(err.Error(), "tcp_congestion_control") {
			t.Errorf("a congestion control that is not there, tied %t: %v", life != nil, err)
		}
		nothingLeft(t)
	}
}

func testPackets(t *testing.T, p labtest.Program) {
	l := p.Start(t, `{
		"hosts": [
			{"name": "h0", "up": {"delay": "3ms"}, "down": {"delay": "2ms"}},
			{"name": "h1", "down": {"delay": "5ms"}}],
		"paths": [{"from": "h0", "to": "h1", "delay": "10ms"}]}`)
	conn := echo(t, l)

	// The shortest of many: who sends and who answers may have to wait for a processor.
	const trip = 20 * time.Millisecond
	least := time.Hour
	for n, end := 0, time.Now().Add(patience); n < 20 || least > trip+time.Millisecond && time.Now().Before(end); n++ {
		start := time.Now()
		if !returns(t, conn, "ping") {
			t.Fatal("no echo")
		}
		least = min(least, time.Since(start))
	}
	if least < trip || least > trip+time.Millisecond {
		t.Errorf("the shortest round trip is %v, want %v to 1 ms more", least, trip)
	}

	t.Run("loss", func(t *testing.T) {
		const packets = 3000
		l.Set("h1.down", "loss=10%")
		l.Reset()
		for i := range packets {
			if _, err := conn.Write(binary.BigEndian.AppendUint32(nil, uint32(i))); err != nil {
				t.Fatal(err)
			}
		}
		got := 0
		until(t, "every packet is counted", func() bool {
			s := l.Stats()
			return s.Link("h1.down").Out.Packets+s.Link("h1.down").Drop() == packets
		})
		l.Set("h1.down", "loss=0")
		// What comes behind all the others says that there are no more.
		if _, err := conn.Write([]byte("end")); err != nil {
			t.Fatal(err)
		}
		for {
			b := receive(t, conn)
			if string(b) == "end" {
				break
			}
			got++
		}
		dropped := l.Stats().Link("h1.down").Drop("loss")
		if missing := int64(packets - got); missing != dropped {
			t.Errorf("%d packets are missing, the link says that it dropped %d", missing, dropped)
		}
		if dropped < packets*8/100 || dropped > packets*12/100 {
			t.Errorf("%d of %d packets were dropped, want about a tenth", dropped, packets)
		}
	})

	t.Run("partition", func(t *testing.T) {
		if err := lab.Partition(t.Context(), "h1"); err != nil {
			t.Fatal(err)
		}
		l.Reset()
		if _, err := conn.Write([]byte("lost")); err != nil {
			t.Fatal(err)
		}
		until(t, "the packet is dropped", func() bool { return l.Stats().Link("h1.down").Drop("cut") == 1 })
		if err := lab.Heal(t.Context(), "h1"); err != nil {
			t.Fatal(err)
		}
		if !returns(t, conn, "again") {
			t.Error("no echo after the link was mended")
		}
	})

	t.Run("rate", func(t *testing.T) {
		const rate, start, size = 5_000_000, 1 << 20, 2 << 20
		l.Set("h0.up", "rate=40mbit", "queue=1s")
		want := time.Second * size * 1500 / 1448 / rate
		var took time.Duration
		for range 20 { // the one who looks at the clock may have to wait for a processor
			l.Reset()
			if took = transfer(t, l, start, size); took >= want*97/100 && took <= want*103/100 {
				break
			}
		}
		up := l.Stats().Link("h0.up")
		if took < want*97/100 || took > want*103/100 {
			t.Errorf("%d bytes took %v, want %v", size, took, want)
		}
		if sent := int64(start + size); up.Out.Bytes < sent || up.Out.Bytes > sent*112/100 {
			t.Errorf("the link carried %d bytes for %d", up.Out.Bytes, sent)
		}
		l.Set("h0.up", "rate=0")
	})

	t.Run("damage", func(t *testing.T) {
		const packets = 200
		l.Set("h1.down", "mangle=1")
		got := map[string]bool{}
		for range packets {
			if _, err := conn.Write([]byte("0123456789abcdef")); err != nil {
				t.Fatal(err)
			}
		}
		for range packets {
			got[string(receive(t, conn))] = true
		}
		if got["0123456789abcdef"] || len(got) < 10 {
			t.Errorf("of %d mangled packets there are %d kinds, the right one among them: %v", packets, len(got), got["0123456789abcdef"])
		}
		l.Set("h1.down", "mangle=0", "corrupt=1")
		l.Reset()
		if _, err := conn.Write([]byte("corrupted")); err != nil {
			t.Fatal(err)
		}
		until(t, "the packet has passed", func() bool { return l.Stats().Link("h1.down").Out.Packets == 1 })
		l.Set("h1.down", "corrupt=0")
		if !returns(t, conn, "intact") { // and not the corrupted one
			t.Error("no echo after the corrupted packet")
		}
	})

	t.Run("bad words", func(t *testing.T) {
		for _, words := range [][]string{{"h1.down", "loss=2"}, {"h9", "cut=true"}, {"h1", "speed=1"}, {"h1"}, {"cut=true"}, {}} {
			if err := lab.Set(t.Context(), words...); err == nil {
				t.Errorf("%q is accepted", words)
			}
		}
		if err := lab.Up(t.Context(), lab.Config{Topology: []byte(`{"hosts": [{"name": "h0"}]}`), Emulator: []string{p.Path, "emulate"}}); !errors.Is(err, lab.ErrUp) {
			t.Errorf("a second lab: %v", err)
		}
	})
}

func testMulticast(t *testing.T, p labtest.Program) {
	l := p.Start(t, `{"min_ttl": 2, "hosts": [
		{"name": "h0", "multicast": true}, {"name": "h1", "multicast": true}, {"name": "h2", "multicast": true},
		{"name": "h3"}, {"name": "h4", "multicast": true}]}`)
	for _, group := range []netip.AddrPort{netip.MustParseAddrPort("239.1.2.3:5001"), netip.MustParseAddrPort("[ff0e::123%wan0]:5001")} {
		members := map[string]*net.UDPConn{}
		for _, h := range []string{"h0", "h1", "h2", "h3"} {
			members[h] = join(t, l, h, group)
		}
		var near, far *net.UDPConn // the sender with the default TTL of 1, and with 8
		l.In("h0", func() (err error) {
			if near, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(group)); err != nil {
				return err
			}
			far, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(group))
			return err
		})
		defer near.Close()
		defer far.Close()
		setHops(t, far, group.Addr(), 8)

		// How soon is the group known? Packets of a byte until they come through.
		start := time.Now()
		for _, h := range []string{"h1", "h2"} {
			got := make(chan struct{})
			go func() {
				defer close(got)
				members[h].Read(make([]byte, 10))
			}()
			until(t, h+" gets packets of "+group.String(), func() bool {
				far.Write([]byte{0})
				select {
				case <-got:
					return true
				default:
					return false
				}
			})
		}
		t.Logf("# %v: known after %v", group, time.Since(start))

		l.Reset()
		const packets = 50
		for i := range packets {
			if _, err := far.Write([]byte(fmt.Sprint("number ", i))); err != nil {
				t.Fatal(err)
			}
		}
		for _, h := range []string{"h1", "h2"} {
			for next := 0; next < packets; {
				b := receive(t, members[h])
				if len(b) == 1 {
					continue // from before
				}
				if want := fmt.Sprint("number ", next); string(b) != want {
					t.Fatalf("%s got %q, want %q", h, b, want)
				}
				next++
			}
		}
		if _, err := near.Write([]byte("too near")); err != nil {
			t.Fatal(err)
		}
		until(t, "the packet of TTL 1 is dropped", func() bool { return l.Stats().Link("h0.up").Drop("scope") == 1 })
		s := l.Stats()
		for name, want := range map[string]int64{"h0.up": packets, "h1.down": packets, "h2.down": packets, "h0.down": 0, "h3.down": 0, "h4.down": 0} {
			if got := s.Link(name).Multicast.Packets; got != want {
				t.Errorf("%v: %s carried %d multicast packets, want %d", group, name, got, want)
			}
		}
		for _, m := range members {
			m.Close()
		}
	}
}

func testHosts(t *testing.T, p labtest.Program) {
	home := filepath.Join(t.TempDir(), "home")
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(home, ".ssh/config")
	if err := os.WriteFile(config, []byte("Host elsewhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("up", func(t *testing.T) {
		l := p.Start(t, `{"cc": "reno", "mtu": 1400, "hosts": [{"name": "h0", "nic": "100mbit"}, {"name": "h1"}]}`)
		for _, c := range []struct{ command, want string }{
			{"hostname", "h0"},
			{"getent ahostsv4 h1 | head -1 | cut -d ' ' -f 1", "10.77.0.2"},
			{"getent hosts h1-v6 | cut -d ' ' -f 1", "fd77::2"},
			{"cat /sys/class/net/wan0/mtu", "1400"},
			{"cat /proc/sys/net/ipv4/tcp_congestion_control", "reno"},
			{"cut -f 3 /proc/sys/net/ipv4/tcp_wmem", "64000000"},
			{"tc qdisc show dev wan0 | cut -d ' ' -f 2", "tbf"},
		} {
			if got := strings.TrimSpace(l.Exec("h0", "sh", "-c", c.command)); got != c.want {
				t.Errorf("%s prints %q, want %q", c.command, got, c.want)
			}
		}
		if got := strings.TrimSpace(l.Exec("h0", "ssh", "-F", l.SSH(), "h1", "hostname")); got != "h1" {
			t.Errorf("ssh from h0 leads to %q, want h1", got)
		}
		if err := lab.InstallHome(home); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(l.Exec("h0", "ssh", "-F", config, "h1-v6", "hostname")); got != "h1" {
			t.Errorf("ssh with the installed files leads to %q, want h1", got)
		}
	})
	if text, err := os.ReadFile(config); err != nil || string(text) != "Host elsewhere\n" {
		t.Errorf("%s is now %q, %v", config, text, err)
	}
	if files, err := os.ReadDir(filepath.Dir(config)); err != nil || len(files) != 1 {
		t.Errorf("files left beside it: %v, %v", files, err)
	}
	nothingLeft(t)
}

// testCrash kills the emulator and has down, and up, cope.
func testCrash(t *testing.T, p labtest.Program) {
	const topology = `{"hosts": [{"name": "h0"}, {"name": "h1"}]}`
	outside := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := outside.Start(); err != nil {
		t.Fatal(err)
	}
	for _, next := range []string{"down", "up"} {
		l := p.Start(t, topology)
		inside := l.Command("h0", "sleep", "1000")
		if err := inside.Start(); err != nil {
			t.Fatal(err)
		}
		until(t, "the command is on its host", func() bool {
			a, err1 := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", inside.Process.Pid))
			b, err2 := os.Readlink("/proc/self/ns/net")
			name, err3 := os.ReadFile(fmt.Sprintf("/proc/%d/comm", inside.Process.Pid))
			return errors.Join(err1, err2, err3) == nil && a != b && string(name) == "sleep\n"
		})
		if err := syscall.Kill(l.Stats().PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		until(t, "the crash is noticed", func() bool {
			_, err := lab.ReadStats(t.Context(), false)
			return errors.Is(err, lab.ErrCrashed)
		})
		if next == "up" {
			l = p.Start(t, topology)
			l.Exec("h0", "true")
		}
		if err := lab.Down(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := inside.Wait(); err == nil || inside.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("the command on a host ended with %v, want that it was killed", err)
		}
		nothingLeft(t)
	}
	if err := outside.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("a process outside: %v", err)
	}
	outside.Process.Kill()
	if err := outside.Wait(); err == nil {
		t.Error("the process outside has ended by itself")
	}
}

func testTied(t *testing.T, p labtest.Program) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	err = lab.Up(t.Context(), lab.Config{Topology: []byte(`{"hosts": [{"name": "h0"}]}`), Emulator: []string{p.Path, "emulate"}, Life: r})
	r.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.ReadStats(t.Context(), false); err != nil {
		t.Error(err)
	}
	w.Close()
	until(t, "the lab has ended", func() bool { return !exists(lab.StateDir + ".lock") })
	nothingLeft(t)
}

// TestLabsInTurn has several who want a lab of their own, one of them at a time: the
// end of one must not take the next one's with it.
func TestLabsInTurn(t *testing.T) {
	p := labtest.Build(t)
	for i := range 4 {
		host := fmt.Sprintf("h%d", i)
		config := lab.Config{Topology: fmt.Appendf(nil, `{"hosts": [{"name": %q}]}`, host), Emulator: []string{p.Path, "emulate"}}
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			for range 3 {
				// At once, so that it comes while another's Down is under way.
				err := lab.Up(t.Context(), config)
				for ; errors.Is(err, lab.ErrUp) && t.Context().Err() == nil; err = lab.Up(t.Context(), config) {
					runtime.Gosched()
				}
				if err != nil {
					t.Fatal(err)
				}
				for range 20 {
					if err := lab.InHost(host, func() error { return nil }); err != nil {
						t.Errorf("while the lab is up: %v", err)
						break
					}
					if _, err := lab.ReadStats(t.Context(), false); err != nil {
						t.Errorf("while the lab is up: %v", err)
						break
					}
				}
				if err := lab.Down(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// nothingLeft checks that there are no traces of a lab.
func nothingLeft(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob("/run/netns/gomover-lab.*")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob(lab.StateDir + "*")
	if err != nil {
		t.Fatal(err)
	}
	if files = append(files, more...); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// until waits until something is so.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("still not so: %s", what)
		}
	}
}

// echo starts a server on h1 that sends back what it gets, and connects to it
// from h0.
func echo(t *testing.T, l *labtest.Lab) *net.UDPConn {
	t.Helper()
	var server, client *net.UDPConn
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(topology.Address(1, false), 7))
	l.In("h1", func() (err error) {
		server, err = net.ListenUDP("udp", to)
		return err
	})
	l.In("h0", func() (err error) {
		client, err = net.DialUDP("udp", nil, to)
		return err
	})
	for _, c := range []*net.UDPConn{server, client} {
		if err := c.SetReadBuffer(8 << 20); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2000)
		for {
			n, from, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			server.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	t.Cleanup(func() {
		server.Close()
		client.Close()
		<-done
	})
	return client
}

// receive gives the next packet.
func receive(t *testing.T, conn *net.UDPConn) []byte {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 2000)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// returns sends a text and tells whether it comes back next.
func returns(t *testing.T, conn *net.UDPConn, text string) bool {
	t.Helper()
	if _, err := conn.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return string(receive(t, conn)) == text
}

// transfer sends bytes over TCP from h0 to h1: some to get going, then size more,
// and gives the time in which those arrive.
func transfer(t *testing.T, l *labtest.Lab, start, size int64) time.Duration {
	t.Helper()
	var listener net.Listener
	var out net.Conn
	at := netip.AddrPortFrom(topology.Address(1, false), 5001)
	l.In("h1", func() (err error) {
		listener, err = net.Listen("tcp", at.String())
		return err
	})
	defer listener.Close()
	l.In("h0", func() (err error) {
		out, err = dialHere(at)
		return err
	})
	in, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := out.Write(make([]byte, start+size))
		sent <- errors.Join(err, out.Close())
	}()
	if _, err := io.CopyN(io.Discard, in, start); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	n, err := io.Copy(io.Discard, in)
	took := time.Since(began)
	if err := errors.Join(err, <-sent); err != nil || n != size {
		t.Fatalf("%d of %d bytes arrived: %v", n, size, err)
	}
	return took
}

// dialHere connects in the network namespace of the calling thread; package net
// might do it on another.
func dialHere(to netip.AddrPort) (net.Conn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "tcp")
	defer f.Close()
	return net.FileConn(f)
}

// join opens a socket on a host that has joined a group.
func join(t *testing.T, l *labtest.Lab, host string, group netip.AddrPort) (conn *net.UDPConn) {
	t.Helper()
	l.In(host, func() error {
		ifi, err := net.InterfaceByName("wan0")
		if err != nil {
			return err
		}
		network := "udp4"
		if group.Addr().Is6() {
			network = "udp6"
		}
		conn, err = net.ListenMulticastUDP(network, ifi, &net.UDPAddr{IP: group.Addr().WithZone("").AsSlice(), Port: int(group.Port())})
		return err
	})
	t.Cleanup(func() { conn.Close() })
	return conn
}

// setHops sets how far multicast packets of a socket go.
func setHops(t *testing.T, conn *net.UDPConn, group netip.Addr, hops int) {
	t.Helper()
	level, option := unix.IPPROTO_IP, unix.IP_MULTICAST_TTL
	if group.Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var setErr error
	err = raw.Control(func(fd uintptr) { setErr = unix.SetsockoptInt(int(fd), level, option, hops) })
	if err := errors.Join(err, setErr); err != nil {
		t.Fatal(err)
	}
}
