package tcp

import "syscall"

// controlFunc is what net calls with a socket before it connects or listens.
type controlFunc = func(network, address string, c syscall.RawConn) error

// chain calls first, which may be nil, and then second.
func chain(first, second controlFunc) controlFunc {
	if first == nil {
		return second
	}
	return func(network, address string, c syscall.RawConn) error {
		if err := first(network, address, c); err != nil {
			return err
		}
		return second(network, address, c)
	}
}
