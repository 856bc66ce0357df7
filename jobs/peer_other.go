//go:build !linux && !darwin && !freebsd

package jobs

import (
	"errors"
	"net"
)

// tellsPeer says that the system tells who has connected to a Unix socket.
const tellsPeer = false

func peerUID(*net.UnixConn) (int, error) {
	return 0, errors.New("this system does not tell who connects")
}

func reach(path string) (at string, release func(), err error) { return path, func() {}, nil }
