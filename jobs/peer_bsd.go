//go:build darwin || freebsd

package jobs

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// tellsPeer says that the system tells who has connected to a Unix socket.
const tellsPeer = true

// peerUID is the user at the other end (unix(4), LOCAL_PEERCRED).
func peerUID(c *net.UnixConn) (int, error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Xucred
	if cerr := rc.Control(func(fd uintptr) { cred, err = unix.GetsockoptXucred(int(fd), solLocal, unix.LOCAL_PEERCRED) }); cerr != nil {
		return 0, cerr
	}
	if err != nil {
		return 0, err
	}
	return int(cred.Uid), nil
}

// solLocal is the level of LOCAL_PEERCRED (sys/un.h).
const solLocal = 0

// maxPath is the longest path of a socket in bytes: sun_path less its final zero.
const maxPath = 103

// reach gives the path of a socket, which must not be longer than the system takes.
func reach(path string) (at string, release func(), err error) {
	if len(path) > maxPath {
		return "", nil, fmt.Errorf("%s is too long a name for a socket", path)
	}
	return path, func() {}, nil
}
