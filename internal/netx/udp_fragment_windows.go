package netx

import (
	"os"

	"golang.org/x/sys/windows"
)

// Options of Winsock, from ws2ipdef.h.
const (
	ipDontFragment = 14 // IP_DONTFRAGMENT
	ipv6DontFrag   = 14 // IPV6_DONTFRAG
)

// setDontFragment sets the don't-fragment bit of what a socket sends, on a socket
// of both families for both.
func setDontFragment(fd uintptr, v6, on bool) error {
	value := 0
	if on {
		value = 1
	}
	if v6 {
		if err := windows.SetsockoptInt(windows.Handle(fd), windows.IPPROTO_IPV6, ipv6DontFrag, value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	err := windows.SetsockoptInt(windows.Handle(fd), windows.IPPROTO_IP, ipDontFragment, value)
	if v6 {
		return nil // a socket of IPv6 alone may refuse
	}
	return os.NewSyscallError("setsockopt", err)
}
