//go:build !linux

package netx

import (
	"errors"
	"net"
	"net/netip"
)

// fastPath has nothing here.
type fastPath struct{}

func (u *UDPConn) init() error {
	a, ok := u.conn.LocalAddr().(*net.UDPAddr)
	u.v6 = ok && a.IP.To4() == nil
	return nil
}

// ReadBatch implements BatchConn.
func (u *UDPConn) ReadBatch(ds []Datagram) (int, error) {
	if len(ds) == 0 {
		return 0, nil
	}
	return u.readOne(ds)
}

// WriteBatch implements BatchConn.
func (u *UDPConn) WriteBatch(ds []Datagram) (int, error) { return u.writeEach(ds) }

// Dropped is 0 here: the system does not tell.
func (u *UDPConn) Dropped() int64 { return 0 }

func (u *UDPConn) segmentationRefused() error { return errors.ErrUnsupported }

func (u *UDPConn) sharesOptions() bool { return false }

// SetReceiveCoalescing is not supported here: errors.ErrUnsupported.
func (u *UDPConn) SetReceiveCoalescing(bool) error {
	return u.fail("set", netip.AddrPort{}, errors.ErrUnsupported)
}

// SetTimestamps is not supported here: errors.ErrUnsupported.
func (u *UDPConn) SetTimestamps(bool) error {
	return u.fail("set", netip.AddrPort{}, errors.ErrUnsupported)
}

// SetReadBuffer sets how much may wait to be read, in bytes. Errors: a
// *[ShortBufferError] if the system grants less.
func (u *UDPConn) SetReadBuffer(bytes int) error {
	return setBuffer("receive", bytes, u.conn.SetReadBuffer)
}

// SetWriteBuffer sets how much may wait to be sent, in bytes. Errors: a
// *[ShortBufferError] if the system grants less.
func (u *UDPConn) SetWriteBuffer(bytes int) error {
	return setBuffer("send", bytes, u.conn.SetWriteBuffer)
}

// SetFragmentation says what becomes of datagrams longer than a link takes.
// Errors: errors.ErrUnsupported where don't-fragment cannot be set.
func (u *UDPConn) SetFragmentation(f Fragmentation) error {
	var err error
	if e := u.raw.Control(func(fd uintptr) { err = setDontFragment(fd, u.v6, f != Fragment) }); e != nil {
		err = e
	}
	if err != nil {
		return u.fail("set", netip.AddrPort{}, err)
	}
	return nil
}

// pathMTU is the MTU of a dialled socket's interface.
func (u *UDPConn) pathMTU() (int, error) {
	a, ok := u.conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	return linkMTU(a.AddrPort().Addr())
}

// setBuffer halves until the system agrees: these systems refuse what they would
// not grant whole.
func setBuffer(name string, bytes int, set func(int) error) error {
	first := set(bytes)
	if first == nil {
		return nil
	}
	for n := bytes / 2; n >= 4096; n /= 2 {
		if set(n) == nil {
			return &ShortBufferError{Buffer: name, Asked: bytes, Granted: n, Limit: "kern.ipc.maxsockbuf"}
		}
	}
	return first
}
