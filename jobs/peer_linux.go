package jobs

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// tellsPeer says that the system tells who has connected to a Unix socket.
const tellsPeer = true

// peerUID is the user at the other end (unix(7), SO_PEERCRED).
func peerUID(c *net.UnixConn) (int, error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if cerr := rc.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil {
		return 0, cerr
	}
	if err != nil {
		return 0, err
	}
	return int(cred.Uid), nil
}

// maxPath is the longest path of a socket in bytes: sun_path less its final zero.
const maxPath = 107

// reach gives a path by which a socket can be made and found though its own is too long
// for that: through the open directory. release closes that.
func reach(path string) (at string, release func(), err error) {
	if len(path) <= maxPath {
		return path, func() {}, nil
	}
	d, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), filepath.Base(path)), func() { d.Close() }, nil
}
