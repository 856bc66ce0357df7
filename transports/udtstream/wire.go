package udtstream

import (
	"io"
	"math"
	"net"
	"sync/atomic"
	"time"

	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/internal/sealed"
	"github.com/gomover/gomover/transports/udt"
)

// wire moves bytes over a UDT connection.
type wire struct {
	conn       *udt.Conn
	control    string
	most       int          // bytes that may wait to be read, at the most
	send, recv atomic.Int64 // nanoseconds of waiting
}

var _ sealed.Wire = (*wire)(nil)

// newWire is called when the other end has proved itself: from here on it may
// send as much as was asked for.
func newWire(conn net.Conn, o Options, window int) sealed.Wire {
	w := &wire{conn: conn.(released).Conn, control: o.Control, most: o.Room(math.MaxInt)}
	if w.control == "" {
		w.control = udt.DefaultControl
	}
	_ = w.conn.SetReadBuffer(o.Room(window)) // refused by a connection that has ended, which the next call tells
	return w
}

// busy is how long a call may take without counting as waiting: copying is not.
const busy = 200 * time.Microsecond

func note(total *atomic.Int64, since time.Time) {
	if d := time.Since(since); d > busy {
		total.Add(int64(d))
	}
}

// Write implements sealed.Wire.
func (w *wire) Write(b []byte) error {
	defer note(&w.send, time.Now())
	_, err := w.conn.Write(b)
	return err
}

// Read implements sealed.Wire.
func (w *wire) Read(b []byte, need int) (int, error) {
	defer note(&w.recv, time.Now())
	n, err := io.ReadAtLeast(w.conn, b, need)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

// Blocked implements sealed.Wire.
func (w *wire) Blocked() (send, recv time.Duration) {
	return time.Duration(w.send.Load()), time.Duration(w.recv.Load())
}

// Info implements sealed.Wire.
func (w *wire) Info(st *transports.Stats) bool {
	s := w.conn.Stats()
	size := int64(s.Payload)
	st.RTT, st.MinRTT = s.RTT, s.MinRTT
	st.Retrans = s.Resent
	st.Cwnd, st.Unacked, st.NotSent = int64(s.Window)*size, int64(s.InFlight)*size, s.NotSent*size
	st.DeliveryRate = int64(s.PeerSpeed) * size
	st.CC = w.control
	return true
}

// Quiet implements sealed.Wire: connections find out for themselves that nothing
// is heard any more; see udt.Config.Idle.
func (w *wire) Quiet() time.Duration { return 0 }

// Retune implements sealed.Wire. The congestion control of a connection that
// stands cannot be changed, nor can its rate be bounded.
func (w *wire) Retune(s transports.Settings) error {
	if s.CC != "" && s.CC != w.control {
		return &controlError{s.CC, w.control}
	}
	if s.Window > 0 {
		return w.conn.SetReadBuffer(min(s.Window, w.most))
	}
	return nil
}

// controlError says that the congestion control stays as it is.
type controlError struct{ asked, now string }

// Error implements error.
func (e *controlError) Error() string {
	return "congestion control " + e.asked + ": a UDT connection keeps the one it began with, " + e.now
}
