//go:build unix

package osfs

import "golang.org/x/sys/unix"

// swapUmask learns the mask by setting it for a moment, to the strictest value,
// so that a file created meanwhile gets too few bits rather than too many.
func swapUmask() uint32 {
	m := unix.Umask(0o777)
	unix.Umask(m)
	return uint32(m) & 0o777
}
