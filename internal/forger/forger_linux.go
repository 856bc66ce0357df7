package forger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/internal/netx"
)

// Forger is one attacker, as Open makes it. One goroutine at a time.
type Forger struct {
	group  netip.AddrPort
	source netip.Addr
	hears  net.PacketConn
	raw    int // a socket that may send in anybody's name
}

// Open joins a group, of which it hears what comes from source, in the network namespace
// of the calling thread. Close ends it. Errors: without root; a port in use.
func Open(ctx context.Context, group netip.AddrPort, source netip.Addr) (*Forger, error) {
	pc, err := (&netx.System{}).ListenPacket(ctx, "udp4", group.String())
	if err != nil {
		return nil, fmt.Errorf("opening the group's port: %w", err)
	}
	g, ok := pc.(netx.GroupConn)
	if !ok {
		err = fmt.Errorf("a socket of %T has no groups", pc)
	} else {
		err = g.JoinGroup(group.Addr(), source)
	}
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	raw, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening a raw socket: %w", err), pc.Close())
	}
	// It is not to hear what it sends.
	if err := unix.SetsockoptInt(raw, unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("setting a raw socket: %w", err), unix.Close(raw), pc.Close())
	}
	return &Forger{group: group, source: source, hears: pc, raw: raw}, nil
}

// Close leaves the group.
func (f *Forger) Close() error { return errors.Join(f.hears.Close(), unix.Close(f.raw)) }

// Attack is what a forger does.
type Attack struct {
	// Ports get what is sent to the group as well: those at which receivers wait for the
	// sender.
	Ports []netip.AddrPort
	// Key is asked for the key of a datagram as long as none opens what is heard; nil: the
	// forger has no way to learn it.
	Key func(datagram []byte) *Key
	// Tell, if not nil, is told the counts twice a second and at the end.
	Tell func(Counts)
}

// tellEvery is how often counts are told.
const tellEvery = 500 * time.Millisecond

// Run attacks until the context ends. Errors: of the socket.
func (f *Forger) Run(ctx context.Context, a Attack) (n Counts, err error) {
	stop := context.AfterFunc(ctx, func() { _ = f.hears.SetReadDeadline(time.Now()) })
	defer stop()
	var key *Key
	told := time.Now()
	targets := append(slices.Clone(a.Ports), f.group)
	if a.Tell != nil {
		defer func() { a.Tell(n) }()
	}
	b := make([]byte, 1<<16)
	for {
		size, from, err := f.hears.ReadFrom(b)
		if err != nil {
			if ctx.Err() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
				err = nil
			}
			return n, err
		}
		at, err := netip.ParseAddrPort(from.String())
		d := b[:size]
		if err != nil || at.Addr().Unmap() != f.source || size < shimLen+headerLen+tagLen || d[0] != kindGroup && d[0] != kindRepair {
			continue
		}
		f.answer(&n, a.Key, &key, at, d, targets)
		if a.Tell != nil && time.Since(told) > tellEvery {
			told = time.Now()
			a.Tell(n)
		}
	}
}

// answer sends what follows from one datagram that was heard.
func (f *Forger) answer(n *Counts, find func([]byte) *Key, key **Key, from netip.AddrPort, d []byte, targets []netip.AddrPort) {
	send := func(count *int64, d []byte) {
		*count++
		for _, to := range targets {
			_ = f.spoof(from, to, d) // what is lost is lost
		}
	}
	n.Heard++
	if n.Heard%repeatEvery == 0 {
		send(&n.Repeated, d)
	}
	if n.Heard%alterEvery == 0 {
		other := append([]byte(nil), d...)
		other[len(other)/2] ^= 4
		send(&n.Altered, other)
	}
	if n.Heard%forgeEvery != 1 || find == nil || d[0] != kindGroup {
		return
	}
	if *key == nil || (*key).open(d) == nil {
		*key = find(d)
	}
	if *key == nil {
		return
	}
	if other := (*key).forge(d); other != nil {
		send(&n.Forged, other)
	}
}

// spoof sends a datagram in the name of another host, without a checksum.
func (f *Forger) spoof(from, to netip.AddrPort, d []byte) error {
	const ip, udp = 20, 8
	b := make([]byte, ip+udp, ip+udp+len(d))
	b[0], b[8], b[9] = 0x45, 32, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(b[2:], uint16(ip+udp+len(d)))
	src, dst := from.Addr().Unmap().As4(), to.Addr().Unmap().As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[ip:], from.Port())
	binary.BigEndian.PutUint16(b[ip+2:], to.Port())
	binary.BigEndian.PutUint16(b[ip+4:], uint16(udp+len(d)))
	return unix.Sendto(f.raw, append(b, d...), 0, &unix.SockaddrInet4{Addr: dst})
}
