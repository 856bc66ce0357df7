package netx

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Limits of what one datagram carries and of what one call takes.
const (
	// maxPayload is the most that one call sends, and one datagram carries: what
	// the 16 bits of the lengths leave (RFC 768, RFC 791). Unit: bytes.
	maxPayload = 65535 - 20 - 8
	// CoalescedSize is the room that an entry of ReadBatch needs while receive
	// coalescing is on: what is longer would be cut. Unit: bytes.
	CoalescedSize = 65535
	// batchMax is how many entries one system call takes. Ours: each may be a
	// train of datagrams; beyond some tens the call itself costs nothing any more.
	batchMax = 64
)

// UDPConn is a UDP socket of the system. Where the system can, it moves many
// datagrams in one call, and trains of equal datagrams as one packet: see
// docs/udp.md. Elsewhere the same calls work, one datagram at a time.
//
// Any number of goroutines may call it; those that read wait for each other, and
// so do those that write. Errors are *net.OpError; net.ErrClosed after Close,
// os.ErrDeadlineExceeded after a deadline, syscall.EMSGSIZE for a datagram longer
// than the path takes (see SetFragmentation).
type UDPConn struct {
	network string
	conn    *net.UDPConn
	raw     syscall.RawConn
	remote  netip.AddrPort // of a dialled socket
	v6      bool           // the socket's family; a v6 socket may send IPv4, too

	coalescing atomic.Bool
	sent       atomic.Int64
	received   atomic.Int64
	fast       fastPath

	groupMu   sync.Mutex // guards what follows
	groupFace *net.Interface
}

var (
	_ BatchConn = (*UDPConn)(nil)
	_ GroupConn = (*UDPConn)(nil)
	_ net.Conn  = (*UDPConn)(nil)
)

// UDPStats count what went through a socket.
type UDPStats struct {
	Sent, Received int64 // datagrams, those of a train one by one
	// Dropped counts datagrams that found a full receive buffer, until the last
	// datagram that was read came. Where the system does not tell, it stays 0.
	Dropped int64
	// SegmentationRefused tells why trains are no longer sent as one packet, nil
	// while they are. It is nil, too, where only the path to a peer is too narrow.
	SegmentationRefused error
}

// ShortBufferError tells that the system grants a smaller socket buffer than
// was asked for. The socket works, with what was granted.
type ShortBufferError struct {
	Buffer         string // "receive" or "send"
	Asked, Granted int    // bytes
	Limit          string // what the administrator would raise
}

// Error implements error.
func (e *ShortBufferError) Error() string {
	return fmt.Sprintf("the system grants a %s buffer of %d bytes, not %d; the limit is %s", e.Buffer, e.Granted, e.Asked, e.Limit)
}

// Fragmentation says what becomes of datagrams that are longer than a link takes.
type Fragmentation int

// What SetFragmentation takes.
const (
	// Fragment lets hosts and routers cut packets. A lost piece loses all.
	Fragment Fragmentation = iota
	// Refuse sets don't-fragment and heeds what routers say: longer packets than
	// the path is known to take are refused with EMSGSIZE (RFC 1191, RFC 8201).
	Refuse
	// Probe sets don't-fragment and ignores what routers say: only what the
	// first link does not take is refused; for those who find the path MTU
	// themselves (RFC 8899).
	Probe
)

func newUDPConn(network string, c *net.UDPConn) (*UDPConn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reaching the descriptor of a socket: %w", err), c.Close())
	}
	u := &UDPConn{network: network, conn: c, raw: raw}
	if a, ok := c.RemoteAddr().(*net.UDPAddr); ok {
		u.remote = unmap(a.AddrPort())
	}
	if err := u.init(); err != nil {
		return nil, errors.Join(u.fail("set", netip.AddrPort{}, err), c.Close())
	}
	return u, nil
}

// Close implements net.PacketConn. Readers and writers return.
func (u *UDPConn) Close() error { return u.conn.Close() }

// LocalAddr implements net.PacketConn.
func (u *UDPConn) LocalAddr() net.Addr { return u.conn.LocalAddr() }

// RemoteAddr gives the peer of a dialled socket, else nil.
func (u *UDPConn) RemoteAddr() net.Addr { return u.conn.RemoteAddr() }

// SetDeadline implements net.PacketConn.
func (u *UDPConn) SetDeadline(t time.Time) error { return u.conn.SetDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (u *UDPConn) SetReadDeadline(t time.Time) error { return u.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn.
func (u *UDPConn) SetWriteDeadline(t time.Time) error { return u.conn.SetWriteDeadline(t) }

// SyscallConn gives the descriptor, for options that nothing here sets.
func (u *UDPConn) SyscallConn() (syscall.RawConn, error) { return u.conn.SyscallConn() }

// Stats counts what went through the socket.
func (u *UDPConn) Stats() UDPStats {
	return UDPStats{
		Sent:                u.sent.Load(),
		Received:            u.received.Load(),
		Dropped:             u.Dropped(),
		SegmentationRefused: u.segmentationRefused(),
	}
}

// ReadFrom implements net.PacketConn. A datagram longer than b is cut.
func (u *UDPConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := u.ReadFromUDPAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// errCoalescing refuses reads that cannot tell the datagrams of a train apart.
var errCoalescing = errors.New("receive coalescing is on, which only batches can tell")

// ReadFromUDPAddrPort is ReadFrom without allocation. IPv4 addresses come as
// such, also on sockets of both families.
func (u *UDPConn) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	if u.coalescing.Load() {
		return 0, netip.AddrPort{}, u.fail("read", netip.AddrPort{}, errCoalescing)
	}
	n, from, err := u.conn.ReadFromUDPAddrPort(b)
	if err == nil {
		u.received.Add(1)
	}
	return n, unmap(from), err
}

// Read implements net.Conn.
func (u *UDPConn) Read(b []byte) (int, error) {
	n, _, err := u.ReadFromUDPAddrPort(b)
	return n, err
}

// WriteTo implements net.PacketConn.
func (u *UDPConn) WriteTo(b []byte, to net.Addr) (int, error) {
	a, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, u.fail("write", netip.AddrPort{}, syscall.EINVAL)
	}
	return u.WriteToUDPAddrPort(b, a.AddrPort())
}

// WriteToUDPAddrPort is WriteTo without allocation.
func (u *UDPConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	n, err := u.conn.WriteToUDPAddrPort(b, to)
	if err == nil {
		u.sent.Add(1)
	}
	return n, err
}

// Write implements net.Conn; it needs a dialled socket.
func (u *UDPConn) Write(b []byte) (int, error) {
	n, err := u.conn.Write(b)
	if err == nil {
		u.sent.Add(1)
	}
	return n, err
}

// fail is the error of an operation.
func (u *UDPConn) fail(op string, to netip.AddrPort, err error) error {
	var e *net.OpError
	if errors.As(err, &e) {
		err = e.Err // another name of the operation is of no use
	}
	e = &net.OpError{Op: op, Net: u.network, Source: u.LocalAddr(), Addr: u.RemoteAddr(), Err: err}
	if to.IsValid() {
		e.Addr = net.UDPAddrFromAddrPort(to)
	}
	return e
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
