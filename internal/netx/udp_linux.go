package netx

import (
	"net/netip"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// fastPath is what the calls of Linux for batches need.
type fastPath struct {
	out sender
	in  receiver

	dropped atomic.Int64
	// refused is why trains are sent as single datagrams, nil while they are not.
	refused atomic.Pointer[os.SyscallError]
}

// control calls f with the descriptor.
func (u *UDPConn) control(f func(fd int) error) error {
	var err error
	if e := u.raw.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

// init learns the socket's family and turns on what is always wanted.
func (u *UDPConn) init() error {
	u.fast.out.init()
	u.fast.in.init()
	return u.control(func(fd int) error {
		family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil {
			return os.NewSyscallError("getsockopt", err)
		}
		u.v6 = family == unix.AF_INET6
		// A count of drops is welcome, not needed.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
		// Without this a socket receives from groups that others have joined
		// (ip(7), IP_MULTICAST_ALL). Kernels before 4.20 know it for IPv4 only.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)
		if u.v6 {
			_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0)
		}
		if _, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT); err != nil {
			u.refuseSegmentation("getsockopt", err)
		}
		return nil
	})
}

// refuseSegmentation switches to single datagrams, for good.
func (u *UDPConn) refuseSegmentation(call string, err error) {
	u.fast.refused.CompareAndSwap(nil, &os.SyscallError{Syscall: call, Err: err})
}

func (u *UDPConn) segmentationRefused() error {
	if err := u.fast.refused.Load(); err != nil {
		return err
	}
	return nil
}

// Dropped counts the datagrams that found a full receive buffer, until the last
// datagram that was read came. Any goroutine may call it.
func (u *UDPConn) Dropped() int64 { return u.fast.dropped.Load() }

// sharesOptions says that IPv6 sockets have the options of IPv4, too.
func (u *UDPConn) sharesOptions() bool { return true }

// option sets one option, and the same one of IPv4 for a socket of both
// families.
func (u *UDPConn) option(v4, v6, value4, value6 int) error {
	err := u.control(func(fd int) error {
		if u.v6 {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, v6, value6); err != nil {
				return os.NewSyscallError("setsockopt", err)
			}
		}
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_IP, v4, value4))
	})
	if err != nil {
		return u.fail("set", netip.AddrPort{}, err)
	}
	return nil
}

// SetFragmentation says what becomes of datagrams longer than a link takes; at
// first that is as the system is configured, on Linux mostly as with Fragment.
func (u *UDPConn) SetFragmentation(f Fragmentation) error {
	v4, v6 := unix.IP_PMTUDISC_DONT, unix.IPV6_PMTUDISC_DONT
	switch f {
	case Refuse:
		v4, v6 = unix.IP_PMTUDISC_DO, unix.IPV6_PMTUDISC_DO
	case Probe:
		v4, v6 = unix.IP_PMTUDISC_PROBE, unix.IPV6_PMTUDISC_PROBE
	}
	return u.option(unix.IP_MTU_DISCOVER, unix.IPV6_MTU_DISCOVER, v4, v6)
}

// SetReceiveCoalescing lets the system join equal datagrams of a peer to trains,
// which ReadBatch then gives as one entry with Segment set. Entries need
// [CoalescedSize] bytes of room then, and other reads are refused. It is off at
// first. Errors: ENOPROTOOPT from kernels before 5.0.
func (u *UDPConn) SetReceiveCoalescing(on bool) error {
	value := 0
	if on {
		value = 1
	}
	err := u.control(func(fd int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, value))
	})
	if err != nil {
		return u.fail("set", netip.AddrPort{}, err)
	}
	u.coalescing.Store(on)
	return nil
}

// SetTimestamps lets ReadBatch say when datagrams came, as the kernel saw it; of
// a train it is one of its datagrams. The times are of the wall clock alone, for
// differences between them; it is off at first.
func (u *UDPConn) SetTimestamps(on bool) error {
	value := 0
	if on {
		value = 1
	}
	err := u.control(func(fd int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, value))
	})
	if err != nil {
		return u.fail("set", netip.AddrPort{}, err)
	}
	return nil
}

// SetReadBuffer sets how much may wait to be read, in bytes; each datagram is
// charged the memory that it occupies, up to twice what it carries, or more if
// it is small. Root may pass the system's limit. Errors: a *[ShortBufferError] if
// the system grants less.
func (u *UDPConn) SetReadBuffer(bytes int) error {
	return u.setBuffer("receive", bytes, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, "net.core.rmem_max")
}

// SetWriteBuffer sets how much may wait to be sent, in bytes. Root may pass the
// system's limit. Errors: a *[ShortBufferError] if the system grants less.
func (u *UDPConn) SetWriteBuffer(bytes int) error {
	return u.setBuffer("send", bytes, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, "net.core.wmem_max")
}

func (u *UDPConn) setBuffer(name string, bytes, force, option int, limit string) error {
	granted := 0
	err := u.control(func(fd int) error {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, bytes) != nil {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, bytes); err != nil {
				return os.NewSyscallError("setsockopt", err)
			}
		}
		got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
		granted = got / 2 // the kernel reports what it adds for itself, too: socket(7)
		return os.NewSyscallError("getsockopt", err)
	})
	switch {
	case err != nil:
		return u.fail("set", netip.AddrPort{}, err)
	case granted < bytes:
		return &ShortBufferError{Buffer: name, Asked: bytes, Granted: granted, Limit: limit}
	}
	return nil
}

// pathMTU is what the kernel knows of a dialled socket's path.
func (u *UDPConn) pathMTU() (int, error) {
	level, option := unix.IPPROTO_IP, unix.IP_MTU
	if u.remote.Addr().Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	mtu := 0
	err := u.control(func(fd int) error {
		var err error
		mtu, err = unix.GetsockoptInt(fd, level, option)
		return os.NewSyscallError("getsockopt", err)
	})
	return mtu, err
}

// mmsghdr is the kernel's struct mmsghdr: recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // bytes that the call has moved
}
