package tcp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gomover/gomover/internal/stopwatch"
	"github.com/gomover/gomover/transports"
	"github.com/gomover/gomover/transports/internal/sealed"
)

// raw is a wire that calls the system itself, so that it can tell waiting from
// copying and wake up only for as much as it needs.
type raw struct {
	rc         syscall.RawConn
	sendWaited stopwatch.Sum
	recvWaited stopwatch.Sum
	w          writing
	r          reading
	onWrite    func(fd uintptr) bool // made once: no allocation per frame
	onRead     func(fd uintptr) bool
}

// writing is the state of the write under way.
type writing struct {
	rest  []byte
	err   error
	since time.Time // of waiting; zero: not
}

// reading is the state of the read under way.
type reading struct {
	buf   []byte
	n     int // bytes read
	need  int
	err   error
	since time.Time
	lowat int // SO_RCVLOWAT as it stands
}

var _ sealed.Wire = (*raw)(nil)

// newWire returns a raw wire for the system's own connections.
func newWire(conn net.Conn, _ int) sealed.Wire {
	c, ok := conn.(*net.TCPConn)
	if !ok {
		return &plain{conn: conn}
	}
	rc, err := c.SyscallConn()
	if err != nil {
		return &plain{conn: conn}
	}
	w := &raw{rc: rc}
	w.r.lowat = 1
	w.onWrite, w.onRead = w.writeSome, w.readSome
	w.makeRoom()
	return w
}

// Constants of our choice.
const (
	// farRTT is the round trip from which a stream gets room for more than what
	// the kernel grants a new connection.
	farRTT = 2 * time.Millisecond
	// farRoom is the receive window, in bytes, that it may then grow to at once:
	// what one stream can carry is this much a round trip.
	farRoom = 4 << 20
)

// makeRoom lifts the limit of the receive window of a stream over a long path.
// The kernel's own tuning starts at 64 KiB and follows what the program has read
// some round trips later, which slows a sender down that doubles its rate each
// round trip. SO_RCVBUF would be bounded by net.core.rmem_max and end the tuning;
// asking for a wake-up at farRoom bytes, and taking that back, makes the kernel
// provide for them (tcp_set_rcvlowat) up to half of net.ipv4.tcp_rmem, and leaves
// the tuning on. Memory is only taken for what really waits to be read.
func (w *raw) makeRoom() {
	ti, _ := w.tcpInfo()
	if ti == nil || time.Duration(ti.Rtt)*time.Microsecond < farRTT {
		return
	}
	// Refused, the stream is slower to start.
	_ = w.rc.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, farRoom)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, 1)
	})
}

// Write implements sealed.Wire.
func (w *raw) Write(b []byte) error {
	w.w = writing{rest: b}
	err := w.rc.Write(w.onWrite)
	if err == nil {
		err = w.w.err
	}
	waited(&w.sendWaited, &w.w.since) // an end while it waited
	w.w = writing{}
	return err
}

// writeSome writes until all is written or the socket is full; true ends write.
func (w *raw) writeSome(fd uintptr) bool {
	waited(&w.sendWaited, &w.w.since)
	for len(w.w.rest) > 0 {
		n, err := unix.Write(int(fd), w.w.rest)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			w.w.since = w.sendWaited.Begin()
			return false
		case err != nil:
			w.w.err = os.NewSyscallError("write", err)
			return true
		default:
			w.w.rest = w.w.rest[n:]
		}
	}
	return true
}

// waited ends the time of waiting, if there was one.
func waited(total *stopwatch.Sum, since *time.Time) {
	if !since.IsZero() {
		total.End(*since, 0)
		*since = time.Time{}
	}
}

// Read implements sealed.Wire.
func (w *raw) Read(b []byte, need int) (int, error) {
	w.r = reading{buf: b, need: need, lowat: w.r.lowat}
	err := w.rc.Read(w.onRead)
	if err == nil {
		err = w.r.err
	}
	n := w.r.n
	waited(&w.recvWaited, &w.r.since)
	w.r = reading{lowat: w.r.lowat}
	return n, err
}

// readSome reads until enough is there or nothing more; true ends read.
func (w *raw) readSome(fd uintptr) bool {
	r := &w.r
	waited(&w.recvWaited, &r.since)
	for r.n < r.need {
		n, err := unix.Read(int(fd), r.buf[r.n:])
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			r.since = w.recvWaited.Begin()
			w.wakeFor(int(fd), r.need-r.n)
			return false
		case err != nil:
			r.err = os.NewSyscallError("read", err)
			return true
		case n == 0:
			r.err = io.EOF
			return true
		default:
			r.n += n
		}
	}
	return true
}

// Constants of our choice.
const (
	// wakeMost bounds for how many bytes a reader sleeps. The kernel makes room
	// for twice as many and, where its buffer is smaller, holds the window down
	// to them for long (tcp_set_rcvlowat sets window_clamp): at 256 KiB streams
	// over 100 ms stood at 225 KB a round trip for ten seconds. Twice this fits
	// the 128 KiB that sockets start with.
	wakeMost = 48 << 10
	// wakeLeast is below what waking up early is not worth a system call.
	wakeLeast = 16 << 10
)

// wakeFor has the system wake the reader when rest bytes are there, never more:
// no further byte may come before the other end hears from us. The kernel looks
// at once whether they are, so bytes that came meanwhile are not overlooked, and
// wakes early when its buffer cannot hold them (tcp_set_rcvlowat).
func (w *raw) wakeFor(fd, rest int) {
	want := min(rest, wakeMost)
	if want < wakeLeast {
		want = 1
	}
	if want == w.r.lowat || w.r.lowat <= want && w.r.lowat*2 > want {
		return
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, want) == nil {
		w.r.lowat = want
	}
}

// Blocked implements sealed.Wire.
func (w *raw) Blocked() (send, recv time.Duration) {
	return w.sendWaited.Total(0), w.recvWaited.Total(0)
}

// tcpInfo asks for TCP_INFO; nil when the connection is closed. An old kernel
// fills in less and leaves the rest zero. cc is the congestion control, ""
// when it is not known.
func (w *raw) tcpInfo() (ti *unix.TCPInfo, cc string) {
	err := w.rc.Control(func(fd uintptr) {
		cc, _ = unix.GetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		if got, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			ti = got
		}
	})
	if err != nil {
		return nil, ""
	}
	return ti, cc
}

// Info implements sealed.Wire. Source of the fields: include/uapi/linux/tcp.h; times
// there are microseconds, counts segments.
func (w *raw) Info(st *transports.Stats) bool {
	ti, cc := w.tcpInfo()
	if ti == nil {
		return false
	}
	us := func(n uint64) time.Duration { return time.Duration(n) * time.Microsecond }
	mss := int64(ti.Snd_mss)
	st.RTT = us(uint64(ti.Rtt))
	if ti.Min_rtt != ^uint32(0) { // never measured
		st.MinRTT = us(uint64(ti.Min_rtt))
	}
	st.Retrans = int64(ti.Total_retrans)
	st.Lost = int64(ti.Lost)
	st.Cwnd = int64(ti.Snd_cwnd) * mss
	// While a lost segment is sent again, those behind it have arrived.
	st.Unacked = max(0, int64(ti.Unacked)-int64(ti.Sacked)) * mss
	st.NotSent, st.MSS = int64(ti.Notsent_bytes), int(mss)
	st.Acked = int64(ti.Bytes_acked) + int64(ti.Sacked)*mss
	st.DeliveryRate = int64(ti.Delivery_rate)
	st.RwndLimited = us(ti.Rwnd_limited)
	st.BufLimited = us(ti.Sndbuf_limited)
	st.CC = cc
	return true
}

// unanswered is how many window probes must have gone without an answer before
// silence counts against the other end while its window is shut: they become
// rare by themselves. Source: ours.
const unanswered = 4

// Quiet implements sealed.Wire.
func (w *raw) Quiet() time.Duration {
	ti, _ := w.tcpInfo()
	if ti == nil || ti.Unacked == 0 && ti.Probes < unanswered {
		return 0
	}
	return time.Duration(ti.Last_ack_recv) * time.Millisecond
}

// Retune implements sealed.Wire.
func (w *raw) Retune(s transports.Settings) error {
	var errs []error
	err := w.rc.Control(func(fd uintptr) {
		if s.Window > 0 {
			setBuffers(int(fd), s.Window)
		}
		if s.PacingRate > 0 {
			// With no fq queue on the interface TCP paces by its own timers.
			if err := unix.SetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, uint64(s.PacingRate)); err != nil {
				errs = append(errs, os.NewSyscallError("setsockopt", err))
			}
		}
		if s.CC != "" {
			if err := unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, s.CC); err != nil {
				errs = append(errs, fmt.Errorf("congestion control %s: %s", s.CC, ccWhy(err)))
			}
		}
	})
	return errors.Join(append(errs, err)...)
}
