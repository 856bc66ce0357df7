package tcp

import (
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gomover/gomover/internal/stopwatch"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/internal/sealed"
)

// plain is a wire over any net.Conn: a simulated one, or a system without a
// file of its own here.
type plain struct {
	conn net.Conn
	send stopwatch.Sum // of waiting
	recv stopwatch.Sum
}

var _ sealed.Wire = (*plain)(nil)

// busy is how long a call may take without counting as waiting: copying is not.
const busy = 200 * time.Microsecond

// Write implements sealed.Wire.
func (p *plain) Write(b []byte) error {
	defer p.send.End(p.send.Begin(), busy)
	_, err := p.conn.Write(b)
	return err
}

// Read implements sealed.Wire.
func (p *plain) Read(b []byte, need int) (int, error) {
	defer p.recv.End(p.recv.Begin(), busy)
	n, err := io.ReadAtLeast(p.conn, b, need)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

// Blocked implements sealed.Wire.
func (p *plain) Blocked() (send, recv time.Duration) {
	return p.send.Total(busy), p.recv.Total(busy)
}

// Info implements sealed.Wire: nothing is known.
func (p *plain) Info(*transports.Stats) bool { return false }

// Quiet implements sealed.Wire.
func (p *plain) Quiet() time.Duration { return 0 }

// Retune implements sealed.Wire. It sets the buffers if the connection has any; pacing is not known here.
func (p *plain) Retune(s transports.Settings) error {
	if s.CC != "" {
		return fmt.Errorf("congestion control %s: this system does not let programs choose", s.CC)
	}
	c, ok := p.conn.(*net.TCPConn)
	if !ok || s.Window == 0 {
		return nil
	}
	if err := c.SetReadBuffer(s.Window); err != nil {
		return err
	}
	return c.SetWriteBuffer(s.Window)
}
