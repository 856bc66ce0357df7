package udtstream

import (
	"math"
	"net"
	"time"

	"github.com/gomover/gomover/internal/units"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/internal/sealed"
	"github.com/gomover/gomover/transports/udt"
)

// wire moves bytes over a UDT connection.
type wire struct {
	sealed.Metered
	conn    *udt.Conn
	control string
	most    int // bytes that may wait to be read, at the most
}

var _ sealed.Wire = (*wire)(nil)

// newWire is called when the other end has proved itself: from here on it may
// send as much as was asked for.
func newWire(conn net.Conn, o Options, window int) sealed.Wire {
	c := conn.(released).Conn
	w := &wire{Metered: sealed.Metered{Conn: c}, conn: c, control: o.Control, most: o.Room(math.MaxInt)}
	if w.control == "" {
		w.control = udt.DefaultControl
	}
	_ = w.conn.SetReadBuffer(o.Room(window)) // refused by a connection that has ended, which the next call tells
	return w
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

// headers are those of IP, UDP and UDT of one packet, in bytes.
const headers = 20 + 8 + 16

// fastest is the pacing rate from which on there is none, in bytes per second.
const fastest = 1e12

// Retune implements sealed.Wire. The congestion control of a connection that
// stands cannot be changed.
func (w *wire) Retune(s transports.Settings) error {
	if s.CC != "" && s.CC != w.control {
		return &controlError{s.CC, w.control}
	}
	if s.PacingRate > 0 {
		most := units.Rate(0)
		if s.PacingRate < fastest {
			most = w.onWire(s.PacingRate)
		}
		if err := w.conn.SetMaxRate(most); err != nil {
			return err
		}
	}
	if s.SeenRate > 0 && s.SeenRate < fastest {
		if err := w.conn.Resume(w.onWire(s.SeenRate)); err != nil {
			return err
		}
	}
	if s.Window > 0 {
		return w.conn.SetReadBuffer(min(s.Window, w.most))
	}
	return nil
}

// onWire is a rate of payload with headers.
func (w *wire) onWire(rate int64) units.Rate {
	return units.Rate(float64(rate) * (1 + headers/float64(max(w.conn.Stats().Payload, headers))))
}

// controlError says that the congestion control stays as it is.
type controlError struct{ asked, now string }

// Error implements error.
func (e *controlError) Error() string {
	return "congestion control " + e.asked + ": a UDT connection keeps the one it began with, " + e.now
}
