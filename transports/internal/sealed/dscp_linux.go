package sealed

import "golang.org/x/sys/unix"

// SetDSCP sets the traffic class of a socket, the upper six bits of the byte
// (RFC 2474); v6 tells that it may send IPv6.
func SetDSCP(fd uintptr, class int, v6 bool) error {
	tos := class << 2
	err := unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, tos)
	if v6 {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, tos)
	}
	return err
}
