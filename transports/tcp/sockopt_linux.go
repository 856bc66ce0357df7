package tcp

import (
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/transports/internal/sealed"
)

// mostUnsent bounds what waits in the kernel without having been sent: it is
// lost with its stream, and stuck behind it when the stream is slow. What is on
// its way is not bounded by it.
//
// Unit: bytes. Ours: two to four frames; on loopback neither rate nor CPU time changes
// measurably (BenchmarkStream), half of it was slower.
const mostUnsent = 1 << 20

// control sets the options that must stand before a socket connects or listens;
// accepted connections inherit them. None of them is needed for the connection
// to work, so a refusal is told to the user and no more.
func (e *endpoint) control(network, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		s := int(fd)
		if e.p.Window > 0 {
			e.setWindow(s)
		}
		_ = unix.SetsockoptInt(s, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, mostUnsent)
		if e.p.CC != "" {
			if err := unix.SetsockoptString(s, unix.IPPROTO_TCP, unix.TCP_CONGESTION, e.p.CC); err != nil {
				e.warn(fmt.Sprintf("congestion control %s: %s", e.p.CC, ccWhy(err)))
			}
		}
		if e.p.DSCP > 0 {
			if err := sealed.SetDSCP(fd, e.p.DSCP, strings.HasSuffix(network, "6")); err != nil {
				e.warn(fmt.Sprintf("traffic class %d: %v", e.p.DSCP, err))
			}
		}
	})
}

// ccWhy says what to do about a refused congestion control. Source: tcp(7),
// tcp_allowed_congestion_control.
func ccWhy(err error) string {
	switch err {
	case unix.EPERM:
		return "not permitted here; the administrator can add it to net.ipv4.tcp_allowed_congestion_control"
	case unix.ENOENT:
		return "not known to this kernel; its module may have to be loaded"
	}
	return err.Error()
}

// setWindow asks for socket buffers and warns once if the system grants less.
func (e *endpoint) setWindow(fd int) {
	granted := setBuffers(fd, e.p.Window)
	if granted < e.p.Window {
		e.warn(fmt.Sprintf("the system grants socket buffers of %s, not %s; the limits are net.core.rmem_max and net.core.wmem_max",
			units.FormatBytes(int64(granted)), units.FormatBytes(int64(e.p.Window))))
	}
}

// setBuffers sets both buffers of fd to n bytes and returns the smaller of what
// was granted. With the right to, the system's limit is passed (socket(7),
// SO_RCVBUFFORCE). The kernel keeps and reports twice the bytes asked for, to
// have room for its own bookkeeping.
func setBuffers(fd, n int) int {
	granted := n
	for _, o := range [][2]int{{unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}, {unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[0], n) != nil {
			// What was granted is read below, so the error tells nothing more.
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o[1], n)
		}
		if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, o[1]); err == nil {
			granted = min(granted, got/2)
		}
	}
	return granted
}

// Permitted says whether this process may choose the congestion control cc for
// its connections, by trying on a socket that goes nowhere. Where it is not,
// naming it in Params.CC only earns a warning. Any goroutine.
func Permitted(cc string) bool {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			continue
		}
		err = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, cc)
		unix.Close(fd)
		return err == nil
	}
	return false
}
