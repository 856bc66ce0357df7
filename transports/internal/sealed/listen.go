package sealed

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"strconv"

	"github.com/gomover/gomover/transports"
)

// ErrInUse is in the chain of Listen's error when no port of the range is free.
var ErrInUse = errors.New("in use")

// Listen opens the first free port that p permits. open is given network, which
// is base with the family that p asks for appended, and an address to listen at.
//
// Errors: ErrInUse in the chain, with the text "all ports in A-B are in use",
// when p.Ports has no free port; what open said otherwise.
func Listen[T any](p transports.Params, base string, open func(network, addr string) (T, error)) (T, error) {
	network, host := place(p, base)
	ports, only := p.Ports, true
	if ports == [2]uint16{} {
		ports, only = transports.DefaultPorts, false
	}
	var none T
	for port := int(ports[0]); port <= int(ports[1]); port++ {
		ln, err := open(network, net.JoinHostPort(host, strconv.Itoa(port)))
		if err == nil {
			return ln, nil
		}
		if !inUse(runtime.GOOS, err) {
			return none, fmt.Errorf("listening for data connections: %w", err)
		}
	}
	if only {
		return none, fmt.Errorf("all ports in %d-%d are %w", ports[0], ports[1], ErrInUse)
	}
	ln, err := Open(p, base, open)
	if err != nil {
		return none, fmt.Errorf("listening for data connections: %w", err)
	}
	return ln, nil
}

// Open is Listen for any port of the system's choice. Errors: what open said.
func Open[T any](p transports.Params, base string, open func(network, addr string) (T, error)) (T, error) {
	network, host := place(p, base)
	return open(network, net.JoinHostPort(host, "0"))
}

// place gives the network with the family that is permitted, and the local
// address.
func place(p transports.Params, base string) (network, host string) {
	switch {
	case !p.IPv6 && p.IPv4:
		base += "4"
	case !p.IPv4 && p.IPv6:
		base += "6"
	}
	if p.Bind.IsValid() {
		host = p.Bind.Unmap().String()
	}
	return base, host
}
