//go:build darwin || freebsd

package netx

import (
	"os"

	"golang.org/x/sys/unix"
)

// setDontFragment sets the don't-fragment bit of what a socket sends.
func setDontFragment(fd uintptr, v6, on bool) error {
	value := 0
	if on {
		value = 1
	}
	if v6 {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, value))
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_DONTFRAG, value))
}
