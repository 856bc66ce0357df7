package sealed

import (
	"io"
	"time"

	"github.com/gomover/gomover/internal/stopwatch"
)

// Metered moves bytes over a connection and counts how long it waits for that: the
// part of a Wire which is the same whatever the connection is. Like a Wire's, its
// Write and Read may run at the same time, Blocked at any.
type Metered struct {
	// Conn is the connection.
	Conn       io.ReadWriter
	send, recv stopwatch.Sum
}

// busy is how long a call may take without counting as waiting: copying is not.
const busy = 200 * time.Microsecond

// Write implements [Wire].
func (m *Metered) Write(b []byte) error {
	defer m.send.End(m.send.Begin(), busy)
	_, err := m.Conn.Write(b)
	return err
}

// Read implements [Wire].
func (m *Metered) Read(b []byte, need int) (int, error) {
	defer m.recv.End(m.recv.Begin(), busy)
	n, err := io.ReadAtLeast(m.Conn, b, need)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF // a stream knows by itself whether it was cut
	}
	return n, err
}

// Blocked implements [Wire].
func (m *Metered) Blocked() (send, recv time.Duration) {
	return m.send.Total(busy), m.recv.Total(busy)
}
