//go:build !linux

package tcp

import (
	"net"
	"syscall"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/internal/sealed"
)

// control has no options to set before connecting here.
func (e *endpoint) control(string, string, syscall.RawConn) error { return nil }

// Permitted says whether this process may choose the congestion control cc for
// its connections; never on this system.
func Permitted(cc string) bool { return false }

// newWire returns the portable wire; window bytes of buffers if not 0.
func newWire(conn net.Conn, window int) sealed.Wire {
	p := &plain{conn: conn}
	// Buffers only make the stream faster, so a refusal is no reason to stop.
	_ = p.Retune(transports.Settings{Window: window})
	return p
}
